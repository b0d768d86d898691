#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The collector is killed (-9) again and again while it takes in a day of made-up events, NATS goes
# away once, some messages are garbage, and in the end the whole stream is delivered once more: every
# event is counted exactly once, every alert is published exactly once.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin crash
synth=$B/tests/harness/synth
[ -x "$synth" ] || skip_all "$synth is not built"
kills=${FAST:+5}
kills=${kills:-15}
export LECTR_STACK_LAB=0
stack_init
printf 'ingest:\n  batch: 500\ndetect:\n  clock: event\n' >>"$collector_config"
stack_start nats collector

status() { curl -s "$collector_url/api/v1/status" | jq ".$1"; }
reported() { curl -s "$collector_url/api/v1/report?by=$1&window=30d" | jq '[.rows[].calls] | add // 0'; }
stored() { [ "$(status events_received)" -ge "$sent" ]; }
up() { curl -sf -o "$tmp/ready" "$collector_url/readyz"; }

# garbage SUBJECT BYTES: as any NATS client may publish it.
garbage() {
    exec 3<>"/dev/tcp/127.0.0.1/$NATS_PORT"
    printf 'CONNECT {"verbose":false}\r\nPUB %s %d\r\n%s\r\nPING\r\n' "$1" "${#2}" "$2" >&3
    timeout 5 grep -q -m 1 PONG <&3
    exec 3>&-
}

garbage lectr.v1.call.e2e.openai.3 'no protobuf at all'
garbage lectr.v1.nonsense ''
end=$(($(date +%s) / 60 * 60 - 120))
background synth "$synth" --nats "nats://127.0.0.1:$NATS_PORT" --org e2e --hours 26.5 --end "$end" \
    --spike-minutes 10 --seed 11
synth_pid=$started

killed=0
for ((i = 0; i < kills; i++)); do
    sleep "0.$((RANDOM % 7 + 1))"
    [ "$(status events_received)" = 0 ] || killed=$((killed + 1))
    stack stop collector KILL
    if [ $i = 2 ]; then
        gone "$synth_pid" || wait "$synth_pid"
        stack stop nats KILL
        stack_start nats
    fi
    stack_start collector
done
wait "$synth_pid"
check "the generator ended well" [ $? = 0 ]
sent=$(awk 'END { print $1 }' "$log/synth")
check "events were being taken in when it was killed ($killed of $kills times)" [ "$killed" -gt 0 ]
wait_for 120 stored || not_ok "the collector stored $(status events_received) of $sent events"
same "events in the store, of $sent" "$sent" "$(status events_received)"
same "events missing" 0 "$(status events_missing)"
for step in minute hour day; do
    same "calls in the roll-ups by $step" "$sent" "$(reported $step)"
done
same "malformed messages" 2 "$(status malformed)"

# The spike was told, once, whatever died meanwhile.
alerts() { events lectr.v1.alert | jq -s "$1"; }
wait_for 20 eval '[ "$(alerts "map(select(.rule == \"cost.spike\")) | length")" -gt 0 ]'
same "alerts on the cost of checkout that fire" 1 \
    "$(alerts 'map(select(.rule == "cost.spike" and .status == "STATUS_FIRING")) | length')"
same "transitions that are twice in the stream" 0 \
    "$(alerts 'group_by(.id) | map(select(length > 1)) | length')"
same "alerts waiting to be published" 0 "$(status alerts_pending)"

# Everything once more, under another consumer.
stack stop collector
sed -i '/^nats:/a\  durable: again' "$collector_config"
stack_start collector
again() { [ "$(status duplicates)" -ge "$sent" ]; }
wait_for 120 again || not_ok "only $(status duplicates) duplicates were seen"
same "events in the store after all was delivered again" "$sent" "$(status events_received)"
same "calls in the roll-ups after that" "$sent" "$(reported day)"
same "malformed messages after that" 2 "$(status malformed)"
check "it is ready" up
