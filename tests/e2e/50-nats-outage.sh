#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# NATS is away for a minute under traffic (E2E_FAST=1: 12 s), the proxy is killed (-9) meanwhile,
# then all is there again, and the collector is killed (-9) while it catches up: every event of a
# finished call is in the store exactly once, counted at the client, the simulator, the stream and
# the store; what the killed proxy had in its hands is told as in flight, exactly.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin outage
outage=${FAST:+12}
outage=${outage:-60}

lab_up
stack_init
stack_start nats agent collector
lab pod add a

tool_store() { tool store.py "$tmp/stack/collector.db" "$@"; }

client a api.openai.com >"$tmp/warm" # namespace known
wait_for 10 events_reach lectr.v1.call 1
lab sim POST /reset >/dev/null
lab sim POST /defaults '{"latency_ms": 250}' >/dev/null
# A connection per call; most of them are in flight at any time, so that the kill breaks some.
client a api.openai.com --workers 8 --interval 0.1 \
    --stop-file "$tmp/stop" >"$tmp/rows" 2>"$log/client" &
client_pid=$!
e2e_pids+=("$client_pid")
sleep 3
stack stop nats
note "NATS is down for $outage s"
sleep $((outage / 3))
old=$(proxy_pid)
kill -KILL "$old"
sleep $((outage / 3))
note "$(jq -s length "$tmp/rows") calls so far, of these $(jq -s '[.[] | select(.captured)] | length' "$tmp/rows") captured"
sleep $((outage - 2 * (outage / 3)))
stack_start nats
sleep 2
kill -KILL "$collector_pid"
sleep 1
stack_start collector
touch "$tmp/stop"
wait "$client_pid"

cat "$tmp/warm" >>"$tmp/rows"
count() { jq -s "[.[] | select($1)] | length" "$tmp/rows"; }
captured_ok=$(count '.captured and .ok')
broken=$(count '(.ok | not)')
direct=$(count '.captured == false and .ok')
note "client: $captured_ok finished through Lectr, $direct direct, $broken broken"
check "the client finished calls through Lectr during the outage" [ "$captured_ok" -gt 50 ]
# Of one that broke on its way to the client the simulator may have sent all.
finished=$((captured_ok + direct - 1))
completed=$(lab sim GET /stats | jq .requests_completed)
check "finished calls at client and simulator ($finished <= $completed <= $finished + $broken)" \
    [ "$finished" -le "$completed" -a "$completed" -le $((finished + broken)) ]

# Also when the collector is still busy: it has as long as it needs, up to a minute.
accounted() {
    [ $(($(tool_store calls | grep -c .) + $(gap_in_flight))) -ge $((captured_ok + broken)) ]
}
wait_for 60 accounted
jq -r 'select(.captured and .ok) | .trace_id' "$tmp/rows" | sort >"$tmp/finished"
tool_store calls | jq -r .trace_id | sort >"$tmp/store"
finished_lost=$(without_event "$tmp/rows" '.captured and .ok')
same "finished calls without an event in the store" "$finished_lost" "$(comm -23 "$tmp/finished" <(sort -u "$tmp/store") | wc -l)"
same "events that are twice in the store" 0 "$(uniq -d "$tmp/store" | wc -l)"
same "calls in the one-minute roll-ups and single calls" "$(wc -l <"$tmp/store")" "$(tool_store rollup)"
# What broke with the proxy is told: as an event (its end was seen) or as a call in flight.
with_event=$(jq -r 'select(.ok | not) | .trace_id' "$tmp/rows" | sort | comm -12 - "$tmp/store" | wc -l)
lost=$((broken - with_event + finished_lost)) told=$(gap_in_flight) untaken=$(gap_connections agent_died)
# One that broke in its handshake was no call yet: it is told as a connection.
check "calls without an event are told as in flight ($told, and $untaken connections, of $lost)" \
    [ "$told" -le "$lost" -a $((told + untaken)) -ge "$lost" -a "$finished_lost" -le "$told" ]
check "at most one finished call of a client is among them ($finished_lost)" [ "$finished_lost" -le 8 ]
same "events of calls that no client made" 0 "$(jq -r .trace_id "$tmp/rows" | sort | comm -13 - <(sort -u "$tmp/store") | wc -l)"
gone_by() { gap_connections agent_down no_listener overload; }
wait_for 15 eval "[ \$(gone_by) -ge $direct ]"
same "direct connections and gaps" "$direct" "$(gone_by)"
