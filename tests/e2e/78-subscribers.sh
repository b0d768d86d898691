#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The subscribers of proto/examples that add up, in Node, Python and Go, against a real server: what each adds up
# from the single calls and from the roll-ups is what the collector reports, to the nano-dollar, with
# events that came twice, events that are missing, and roll-ups that were told again. A reader who may
# see one organisation sees that one.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin subscribers
synth=$B/tests/harness/synth
[ -x "$synth" ] || skip_all "$synth is not built"
export LECTR_STACK_LAB=0
stack_init
printf 'detect:\n  clock: event\n' >>"$collector_config"

source "$top/tests/harness/subscribers-lib.sh"
subscribers_init

# --- what is told ------------------------------------------------------------------------------

tell() { tool tell.py "$NATS_PORT" >/dev/null || not_ok "tell.py failed"; }
status() { curl -s "$collector_url/api/v1/status" | jq ".$1"; }
report() { curl -s "$collector_url/api/v1/report?by=day&window=4d"; }
settled() { [ "$(status events_received)" = "$1" ] && [ "$(status closed)" -ge "$2" ]; }

stack_start nats collector
export NATS_URL=nats://127.0.0.1:$NATS_PORT
day=86400
now=$(date +%s)
end=$((now / day * day - day)) # the end of a whole day that is over
hours=${FAST:+2}
hours=${hours:-6}
"$synth" --nats "$NATS_URL" --org e2e --hours "$hours" --end $end --seed 5 >"$log/synth" 2>&1 ||
    not_ok "synth: $(tail -n 1 "$log/synth")"
sent=$(awk 'END { print $1 }' "$log/synth")
at=$((end - 3600))
# Numbers 1, 2, 3, 6, 7; the second one twice; the sixth comes before the third.
jq -nc --argjson at $at '
    {org: "e2e", provider: "openai", workload: {namespace: "shop", owner: "web"}, model_requested: "gpt-4o"} as $call |
    ($call + {seq: 1, at: $at, feature: {value: "voice"}, status_code: 200, outcome: "OUTCOME_OK", attempt: 2,
        usage: [{kind: "input", modality: "audio", count: 500, source: "SOURCE_REPORTED"},
                {kind: "output", count: 70, source: "SOURCE_ESTIMATED", low: 60, high: 80},
                {kind: "search", unit: "search", count: 2, source: "SOURCE_MEASURED"}],
        input_tokens_total: 500, output_tokens_total: 70,
        cost: {low_nanousd: 100, expected_nanousd: 123456789012, high_nanousd: 123456789099}}),
    ($call + {seq: 2, at: ($at + 1), times: 2, feature: {value: "voice"}, status_code: 429,
        outcome: "OUTCOME_PROVIDER_ERROR", error_type: "rate_limit_exceeded", latency: {total_us: 31000}}),
    ($call + {seq: 6, at: ($at + 61), feature: {value: "voice"}, outcome: "OUTCOME_CLIENT_ABORT",
        cost: {expected_nanousd: 1}, latency: {total_us: 5000000, first_token_us: 400000, added_us: 90}}),
    ($call + {type: "Gap", seq: 3, at: ($at + 2), reason: "ech", connections: 4}),
    ($call + {type: "Coverage", seq: 7, at: ($at + 3), seen_connections: 10, metered_connections: 6}) |
    if .type then del(.model_requested) else . end' | tell
wait_for 60 settled $((sent + 5)) 1 || not_ok "the collector has $(status events_received) of $((sent + 5)) events"
# Somebody's clock goes on by days: all of it is closed, told, and then changed.
closed=$((end + 2 * day))
jq -nc --argjson at $closed '{org: "e2e", provider: "openai", feature: {value: "later"}, seq: 1, part: 1, at: $at},
    {org: "e2e", provider: "openai", feature: {value: "later"}, seq: 2, part: 1, at: ($at + 62)}' | tell
wait_for 60 settled $((sent + 7)) $closed || not_ok "closed to $(status closed), not $closed"
sleep 2
jq -nc --argjson at $at '{org: "e2e", provider: "openai", workload: {namespace: "shop", owner: "web"}, model_requested: "gpt-4o",
    seq: 8, at: ($at + 5), feature: {value: "voice"}, cost: {expected_nanousd: 1000}, latency: {total_us: 40000},
    usage: [{kind: "output", count: 5, source: "SOURCE_REPORTED"}], output_tokens_total: 5}' | tell
wait_for 60 settled $((sent + 8)) $closed || not_ok "the late event is not stored"
last_told() { events lectr.v1.rollup | jq -e 'select(.feature == "voice" and .window_seconds == 86400 and .calls == 4)' >/dev/null; }
wait_for 60 last_told || not_ok "the day is not told again with the late event"

# --- from the single calls ---------------------------------------------------------------------

# What a collector's report says of features, as the programs say it.
report | jq -S '[.rows[] | {key: .feature, value: .}] | group_by(.key) | map({key: .[0].key, value: {
    calls: map(.value.calls) | add, cost_unknown: map(.value.cost_unknown) | add,
    cost_nanousd: (map((.value.cost_usd.expected // 0) * 1e9) | add | round)}}) | from_entries' >"$tmp/truth"
note "$(jq -c . "$tmp/truth")"
for language in "${languages[@]}"; do
    subscriber "$language" cost --once >"$tmp/$language-cost" || not_ok "$language: cost ended with $?"
    same "$language: cost of every feature as the collector reports it" \
        "$(jq -cS . "$tmp/truth")" "$(jq -cS .features "$tmp/$language-cost")"
    same "$language: events received, twice, missing" "$((sent + 8)) 1 2" \
        "$(jq -r '.events | "\(.received) \(.duplicates) \(.missing)"' "$tmp/$language-cost")"
    same "$language: what was not metered" 4 "$(jq .unmetered.connections "$tmp/$language-cost")"
done
same "the collector: events received, twice, missing" "$((sent + 8)) 1 2" \
    "$(status events_received) $(status duplicates) $(status events_missing)"

# --- from the roll-ups -------------------------------------------------------------------------

# Without the running buckets: those are not told yet.
for language in "${languages[@]}"; do
    for window in 1m 1h 1d; do
        subscriber "$language" rollups --once $window >"$tmp/$language-$window" || not_ok "$language: rollups ended with $?"
        same "$language: $window roll-ups add up to the report" "$(jq -cS 'del(.later)' "$tmp/truth")" \
            "$(jq -cS '.features | del(.later) | map_values({calls, cost_nanousd, cost_unknown})' "$tmp/$language-$window")"
        same "$language: $window: the feature with everything" \
            '{"errors":{"client_abort":1,"rate_limit_exceeded":1},"p95":40,"usage":{"input.audio/token/reported":500,"output/token/estimated":70,"output/token/reported":5,"search/search/measured":2}}' \
            "$(jq -cS '.features.voice | {errors, usage, p95: (.latency_p95_us / 1000 | round)}' "$tmp/$language-$window")"
        same "$language: $window: coverage" '{"gaps":{"ech":4},"metered":6,"seen":10}' "$(jq -cS .coverage "$tmp/$language-$window")"
        same "$language: $window: roll-ups told again" 1 "$(jq .revised "$tmp/$language-$window")"
    done
done
same "the report's p95 of a feature, in ms" \
    "$(curl -s "$collector_url/api/v1/report?by=day&window=4d" | jq '[.rows[] | select(.feature == "search") | .latency_us.p95][0] / 1000 | round')" \
    "$(jq '.features.search.latency_p95_us / 1000 | round' "$tmp/node-1d")"

# --- who may read what -------------------------------------------------------------------------

cat >"$tmp/nats.conf" <<EOF
port: 0
listen: 127.0.0.1:-1
jetstream { store_dir: "$tmp/jetstream" }
authorization {
  users: [
    {user: all, password: secret, permissions: {publish: ">", subscribe: ">"}}
    {user: acme, password: "a c/me", permissions: {
      subscribe: ["lectr.v1.*.acme.>", "_INBOX.>"]
      publish: ["\$JS.API.CONSUMER.CREATE.LECTR.acme.lectr.v1.*.acme.>",
                "\$JS.API.CONSUMER.INFO.LECTR.acme", "\$JS.API.CONSUMER.DELETE.LECTR.acme",
                "\$JS.API.CONSUMER.MSG.NEXT.LECTR.acme", "\$JS.ACK.LECTR.acme.>"]}}
  ]
}
EOF
sed -i '/^port/d' "$tmp/nats.conf"
background nats-auth nats-server -c "$tmp/nats.conf" --ports_file_dir "$tmp"
listens() { test -s "$tmp"/nats-server_*.ports; }
wait_for 20 listens || not_ok "the server with permissions does not start"
port=$(jq -r '.nats[0]' "$tmp"/nats-server_*.ports | sed 's/.*://')
for org in acme globex; do
    "$synth" --nats "nats://all:secret@127.0.0.1:$port" --org $org --hours 0.5 --end $end --seed 6 >"$log/synth-$org" 2>&1 ||
        not_ok "synth: $(tail -n 1 "$log/synth-$org")"
done
told=$(awk 'END { print $1 }' "$log/synth-acme")
for language in "${languages[@]}"; do
    NATS_URL=nats://acme:a%20c%2Fme@127.0.0.1:$port LECTR_CONSUMER=acme subscriber "$language" cost --once 'lectr.v1.*.acme.>' >"$tmp/acme"
    same "$language: a reader of one organisation" "$told 0" "$(jq -r '.events | "\(.received) \(.missing)"' "$tmp/acme")"
    if NATS_URL=nats://acme:a%20c%2Fme@127.0.0.1:$port LECTR_CONSUMER=acme subscriber "$language" cost --once 'lectr.v1.*.globex.>' >"$tmp/globex"; then
        not_ok "$language: it reads another one, too: $(head -c 200 "$tmp/globex")"
    else
        ok "$language: and of no other"
    fi
done
