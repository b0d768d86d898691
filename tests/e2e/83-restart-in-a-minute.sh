#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The collector is killed (-9) within the minute whose beginning it has just raised an alert for: the
# alert goes on, it is not resolved and raised anew. Wall clock.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin restart-in-a-minute
synth=$B/tests/harness/synth
[ -x "$synth" ] || skip_all "$synth is not built"
[ -z "$FAST" ] || skip_all "takes two minutes of the clock"
export LECTR_STACK_LAB=0
stack_init
stack_start nats collector

status() { curl -s "$collector_url/api/v1/status" | jq ".$1"; }
transitions() {
    curl -s "$collector_url/api/v1/alerts?window=1h" |
        jq -r '[.alerts[] | select(.rule == "cost.spike" and any(.labels[]?; .value == "checkout"))] | sort_by(.detected_at_unix_nano | tonumber) | .[].status' | paste -sd' '
}
fires() { [[ $(transitions) == STATUS_FIRING* ]]; }
closed_beyond() { [ "$(status closed)" -gt "$1" ]; }

# A day, and then the usual traffic as time goes on.
background synth "$synth" --nats "nats://127.0.0.1:$NATS_PORT" --org e2e --hours 27 --end now --seed 3 --unmarked --follow 240
caught_up() { [ "$(status closed)" -ge $(($(date +%s) / 60 * 60)) ]; }
wait_for 150 caught_up || not_ok "the collector is at $(status closed)"

# From the first seconds of a minute.
minute=$(($(date +%s) / 60 * 60 + 60))
sleep $((minute + 2 - $(date +%s)))
for ((i = 1; i <= 400; i++)); do
    printf '{"org": "e2e", "provider": "openai", "model_requested": "gpt-4o", "feature": {"value": "checkout"}, "seq": %d, "at": %d, "status_code": 200, "outcome": "OUTCOME_OK", "cost": {"low_nanousd": 90000000, "expected_nanousd": 90000000, "high_nanousd": 90000000}}\n' $i $((minute + 1))
done >"$tmp/spike"
tool tell.py "$NATS_PORT" <"$tmp/spike" >/dev/null || not_ok "tell.py failed"
check "an alert within the minute" wait_for 40 fires || note "$(transitions)"
stack stop collector KILL
stack_start collector
if [ "$(date +%s)" -ge $((minute + 57)) ]; then
    skip "the minute was over before the collector was there again"
else
    sleep 2
    same "after a start in the same minute" 0 "$(transitions | grep -c RESOLVED || true)"
fi
check "the minute is closed" wait_for 100 closed_beyond "$minute"
sleep 3
told=$(transitions)
note "$told"
same "raised" 1 "$(tr ' ' '\n' <<<"$told" | grep -c FIRING || true)"
same "and not resolved" 0 "$(tr ' ' '\n' <<<"$told" | grep -c RESOLVED || true)"
