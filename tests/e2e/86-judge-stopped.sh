#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two collectors on PostgreSQL. The one that judges is stopped (as a machine that is paused) in the
# middle of its turns, beyond its lease; the other takes over; the first goes on later. What is told
# of every alert is what one collector tells that nobody stops.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin judge-stopped
ROUNDS=${ROUNDS:-4}
TTL_MS=1000
export LECTR_STACK_LAB=0
stack_init
stack_start nats
url=$("$top/tests/harness/postgres" start "$tmp/pg" 2>"$log/pg") || {
    [ $? != 77 ] || skip_all "$(tail -n 1 "$log/pg")"
    not_ok "PostgreSQL: $(tail -n 3 "$log/pg")"
    exit 1
}
end_postgres() { "$top/tests/harness/postgres" stop "$tmp/pg" >>"$log/pg" 2>&1; }
trap 'e2e_stop_all; end_postgres; e2e_end' EXIT

rules=$tmp/alerting.yaml
cat >"$rules" <<'YAML'
rules:
- {name: new-model, kind: first_seen, dimension: model, warmup_h: 1}
- {name: daily, kind: budget, usd: 10, period: day, match: {feature: chat}}
- name: errors-slo
  kind: burn_rate
  objective: 99
  by: [feature]
  windows: [{long_min: 30, short_min: 5, burn: 10}]
YAML

# settings NAME STREAM STORE
settings() {
    cat >"$tmp/$1.yaml" <<YAML
nats: {url: "nats://127.0.0.1:$NATS_PORT", stream: LECTR, durable: "$2"}
store: {$3, lease_ttl_ms: $TTL_MS}
http: {listen: ""}
detect: {clock: event}
alerting: {file: $rules}
YAML
}
settings one whole "path: $tmp/whole.db"
settings a shared "url: \"$url\""
settings b shared "url: \"$url\""

begin=$(($(date +%s) / 86400 * 86400 - 86400 + 2 * 3600))
seq=0
# calls FROM TO EACH FIELDS, as of four agents, whose parts are four.
calls() {
    jq -nc --argjson from "$1" --argjson to "$2" --argjson each "$3" --argjson begin "$begin" --argjson seq "$seq" '
        range($from; $to) as $m | range($each) as $i | ($seq + ($m - $from) * $each + $i) as $n | {
            at: ($begin + $m * 60 + $i * 60 / $each), org: "e2e", provider: "openai", operation: "chat",
            agent_instance: "0190b5a0-0000-7000-8000-00000000000\($n % 4)", part: ($n % 4 * 16),
            seq: (($n / 4 | floor) + 1), outcome: "OUTCOME_OK", status_code: 200,
            model_requested: "gpt-4o", feature: {value: "chat"},
            cost: {low_nanousd: "1000000", expected_nanousd: "1000000", high_nanousd: "1000000", basis: "table"}
        } + '"${4:-{\}}"
    seq=$((seq + ($2 - $1) * $3))
}
publish() { tool tell.py "$NATS_PORT" >/dev/null; }
dear='{cost: {low_nanousd: "900000000", expected_nanousd: "900000000", high_nanousd: "900000000", basis: "table"}}'
failed='{outcome: "OUTCOME_PROVIDER_ERROR", error_type: "server_error", status_code: 500}'

sql() { psql -qAtX "$url" -c "$1"; }
judge() { sql "SELECT owner FROM lease WHERE lane = -1" | sed 's/.*-\([0-9]*\)-[0-9a-f]*$/\1/'; }
judges() { [ "$(judge)" = "$1" ]; }

background a "$B/lectr-collector" serve -c "$tmp/a.yaml"
a=$started
wait_for 30 judges "$a" || not_ok "nobody judges"
background b "$B/lectr-collector" serve -c "$tmp/b.yaml"
b=$started
sleep 3

# Three quiet hours, then a new model, an error storm and its end, and money, in every round.
calls 0 180 4 >"$tmp/wave"
publish <"$tmp/wave"
minute=180
for ((round = 1; round <= ROUNDS; round++)); do
    now=$(judge)
    other=$a
    [ "$now" != "$a" ] || other=$b
    { # the storm of a round is of its own feature
        calls $minute $((minute + 20)) 4
        calls $((minute + 1)) $((minute + 2)) 1 "{model_requested: \"gpt-$round\"}"
        calls $((minute + 3)) $((minute + 18)) 4 "$failed + {feature: {value: \"storm-$round\"}}"
        calls $((minute + 5)) $((minute + 6)) 3 "$dear"
        calls $((minute + 20)) $((minute + 60)) 4
        calls $((minute + 20)) $((minute + 60)) 4 "{feature: {value: \"storm-$round\"}}"
    } >"$tmp/wave"
    publish <"$tmp/wave" &
    sleep "0.$((RANDOM % 10))"
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    kill -STOP "$now"
    check "round $round: the other judges" wait_for 20 judges "$other"
    wait $!
    sleep "$((RANDOM % 5))"
    kill -CONT "$now"
    minute=$((minute + 60))
    sleep 2
done
calls $minute $((minute + 30)) 4 >"$tmp/wave"
publish <"$tmp/wave"


received() { sql "SELECT coalesce(sum(hi - lo + 1), 0) FROM seq_interval"; }
alone() { sqlite3 "$tmp/whole.db" "SELECT coalesce(sum(hi - lo + 1), 0) FROM seq_interval"; }
has_all() { [ "$("$1")" = "$seq" ]; }
check "every call is stored ($seq)" wait_for 60 has_all received
# The minutes of the last calls are not closed: nothing comes behind them.
settled() {
    local before
    before=$(sql "SELECT count(*) || coalesce(max(seq), 0) FROM alert")
    sleep 3
    [ "$before" = "$(sql "SELECT count(*) || coalesce(max(seq), 0) FROM alert")" ]
}
wait_for 60 settled || not_ok "alerts never come to an end"
events lectr.v1.alert >"$tmp/told"

# The same by one that nobody stops.
background one "$B/lectr-collector" serve -c "$tmp/one.yaml"
wait_for 60 has_all alone || not_ok "the single collector has $(alone) of $seq"
whole() { sqlite3 "$tmp/whole.db" "SELECT count(*) FROM alert"; }
is_quiet() {
    local before
    before=$(whole)
    sleep 3
    [ "$before" = "$(whole)" ]
}
wait_for 60 is_quiet || not_ok "the single collector's alerts never come to an end"

# Of each episode what was told in its order; the fingerprint is what it hangs on. From the stores:
# in the stream both tell the same with the same ids, and the second is a duplicate.
query="SELECT fingerprint || ' ' || kind || ' ' || status FROM alert ORDER BY seq"
story() { awk '{ told[$1 " " $2] = told[$1 " " $2] " " $3 } END { for (e in told) print e told[e] }' | sort; }
sql "$query" | story >"$tmp/two"
sqlite3 "$tmp/whole.db" "$query" | story >"$tmp/one"
note "$(wc -l <"$tmp/one") episodes; fingerprint, rule, statuses (1 firing, 2 updated, 3 resolved):"
sed 's/^/#   /' "$tmp/one"
check "there is something to compare" [ "$(wc -l <"$tmp/one")" -ge $((ROUNDS + 2)) ]
same "two collectors tell of each episode what one does; differences" "" "$(diff "$tmp/one" "$tmp/two")"
same "in the stream is what the store has" "$(sql 'SELECT count(*) FROM alert')" "$(jq .id "$tmp/told" | sort -u | wc -l)"
same "and nothing twice" 0 "$(jq -s 'group_by(.id) | map(select(length > 1)) | length' "$tmp/told")"
