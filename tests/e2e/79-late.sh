#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A spool drains a day later, backwards, while the collector is killed (-9): every call is in the
# minute, hour and day in which it ended, and those buckets, and no others, are published again with
# a higher revision. Then a client makes up models and features without end: what is beyond the limits
# counts as (other), in that dimension only, and nothing is missing from the sums.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin late
export LECTR_STACK_LAB=0
stack_init
printf 'detect:\n  clock: event\n  enabled: false\nlimits:\n  models: 50\n  features: 40\n' >>"$collector_config"
stack_start nats collector

tell() { tool tell.py "$NATS_PORT" >/dev/null || not_ok "tell.py failed"; }
status() { curl -s "$collector_url/api/v1/status" | jq ".$1"; }
stored() { [ "$(status events_received)" = "$1" ]; }
closed() { [ "$(status closed)" -ge "$1" ]; }

day=86400
noon=$(($(date +%s) / day * day - 2 * day + day / 2))
# calls PART FIRST LAST AT STEP: numbers FIRST to LAST, in this order, STEP seconds apart.
calls() {
    jq -nc --argjson part "$1" --argjson first "$2" --argjson last "$3" --argjson at "$4" --argjson step "$5" '
        range($first; $last + 1) | {org: "e2e", provider: "openai", model_requested: "gpt-4o", part: $part, seq: .,
            feature: {value: "spool"}, at: ($at + (. - $first) * $step), cost: {expected_nanousd: (1000 + .)}}'
}

# A node that publishes at once, from noon on for an hour, and a day later.
calls 0 1 60 $noon 60 | tell
calls 0 61 62 $((noon + day + day / 2)) 61 | tell
check "62 calls are stored" wait_for 30 stored 62
check "the day is closed" wait_for 60 closed $((noon + day + day / 2))
rollups() { events lectr.v1.rollup; }
told() { [ "$(rollups | jq -s 'map(select(.window_seconds == '"$1"')) | length')" -ge "$2" ]; }
check "its minutes are told" wait_for 30 told 60 60
check "its hour is told" wait_for 30 told 3600 1
check "its day is told" wait_for 30 told 86400 1
rollups >"$tmp/before"

# Another node had no way out for that hour: 30 calls of the even minutes, told now, last first.
calls 1 1 30 $((noon + 5)) 120 | tac | tell
stack stop collector KILL
stack_start collector
check "92 calls are stored" wait_for 30 stored 92
again() {
    rollups >"$tmp/after"
    jq -se '[group_by(.id)[] | max_by(.revision)] | map(select(.window_seconds == 86400)) | map(.calls) | add == 90' "$tmp/after"
}
check "the day is told again, with all of them" wait_for 60 again
stack stop collector KILL
stack_start collector
sleep 2
rollups >"$tmp/after"

newest() { jq -s --argjson s "$1" '[group_by(.id)[] | max_by(.revision)] | map(select(.window_seconds == $s))' "$tmp/after"; }
same "minutes with one call and with two, by their newest revision" "30 30" \
    "$(newest 60 | jq -r --argjson until $((noon + 3600)) 'map(select(.bucket_start_unix_nano / 1e9 < $until).calls) |
        "\(map(select(. == 1)) | length) \(map(select(. == 2)) | length)"')"
same "the even minutes are those with two" "" \
    "$(newest 60 | jq -r --argjson noon $noon '.[] | select(.calls == 2) | (.bucket_start_unix_nano / 1e9 - $noon) / 60 | select(. % 2 != 0)')"
truth=$((60 * 1000 + 60 * 61 / 2 + 30 * 1000 + 30 * 31 / 2))
for seconds in 3600 86400; do
    same "the calls and the cost of the $seconds s bucket" "90 $truth" \
        "$(newest $seconds | jq -r --argjson noon $noon 'map(select(.bucket_start_unix_nano / 1e9 <= $noon))[0] | "\(.calls) \(.cost_expected_nanousd)"')"
done
same "minutes, hours and days told more than once" "30 1 1" "$(jq -rs '[60, 3600, 86400] as $all | [$all[] as $s |
    map(select(.window_seconds == $s)) | group_by(.id) | map(select(length > 1)) | length] | join(" ")' "$tmp/after")"
check "every message of an id has another revision, and they rise" \
    jq -se 'group_by(.id) | all(map(.revision) | . == unique)' "$tmp/after"
same "calls of that day in the report by minute" 90 \
    "$(curl -s "$collector_url/api/v1/report?by=minute&to=$((noon + day))&window=2d" | jq '[.rows[].calls] | add')"

# --- names without end -------------------------------------------------------------------------

flood=${FAST:+20000}
flood=${flood:-100000}
at=$((noon + day + day / 2 + 120))
/usr/bin/python3 - "$flood" "$at" <<'EOF' | tell
import json, sys
for i in range(1, int(sys.argv[1]) + 1):
    print(json.dumps({"org": "e2e", "provider": "openai", "part": 2, "seq": i, "at": int(sys.argv[2]) + i % 600,
                      "model_requested": f"model-{i}", "feature": {"value": f"feature-{i * 7919 % 99991}"},
                      "cost": {"expected_nanousd": 3}}))
EOF
check "the flood of $flood calls is stored" wait_for 120 stored $((92 + flood))
curl -s "$collector_url/api/v1/report?by=day&window=4d" >"$tmp/report"
same "calls in the report" $((92 + flood)) "$(jq '[.rows[].calls] | add' "$tmp/report")"
same "models and features of it, (other) included" "51 41" \
    "$(jq -r '"\([.rows[].model] | unique | length) \([.rows[].feature] | unique | length)"' "$tmp/report")"
check "most of it is (other)" jq -e --argjson n "$flood" '[.rows[] | select(.model == "(other)" and .feature == "(other)").calls] | add > 0.9 * $n' "$tmp/report"
same "the status says so" "50 40" "$(status names | jq -r '"\(.model.most) \(.feature.most)"')"
check "and counts them" eval '[ "$(status names.model.folded)" -gt $((flood - 60)) ]'
curl -s "$collector_url/metrics" >"$tmp/metrics"
check "/metrics, too" grep -q '^lectr_collector_names_full{dimension="model"} 1$' "$tmp/metrics"
stack ctl coverage >"$tmp/ctl" 2>"$log/ctl"
check "lectrctl coverage tells it" grep -q 'names: more than 50 (model) are counted as (other)' "$tmp/ctl"
same "it is logged once for each dimension" 2 "$(grep -c 'more names than are told apart' "$tmp/stack/log/collector.log")"

# A restart knows the same names.
names=$(jq -c '[.rows[].model] | unique' "$tmp/report")
stack stop collector
stack_start collector
calls 3 1 1 $at 1 | jq -c '.model_requested = "model-new"' | tell
check "one more is stored" wait_for 30 stored $((93 + flood))
same "after a restart the models are the same" "$names" \
    "$(curl -s "$collector_url/api/v1/report?by=day&window=4d" | jq -c '[.rows[].model] | unique')"
