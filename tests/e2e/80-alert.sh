#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A quiet day raises no alert; a five-fold cost of one feature's calls raises one that names
# feature, provider, model, observed, baseline, deviation and window. The events are made up, 27
# hours of them, and go through NATS; the collector takes event time.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin alert
synth=$B/tests/harness/synth
[ -x "$synth" ] || skip_all "$synth is not built"
seeds=(1 2 3)
[ -z "$FAST" ] || seeds=(1)
export LECTR_STACK_LAB=0
stack_init
printf 'detect:\n  clock: event\n' >>"$collector_config"

# told OPTION...: a fresh store and stream; publishes 27 hours and waits until all is stored. Sets
# $sent and writes the alerts, oldest first, to $tmp/alerts.
told() {
    stack stop collector
    stack stop nats
    rm -rf "$tmp"/stack/nats "$tmp"/stack/collector.db*
    stack_start nats collector
    "$synth" --nats "nats://127.0.0.1:$NATS_PORT" --hours 27 --end "$end" "$@" >"$tmp/synth.out" 2>&1 ||
        not_ok "synth: $(tail -n 1 "$tmp/synth.out")"
    sent=$(awk '{ print $1 }' "$tmp/synth.out")
    wait_for 120 stored || not_ok "the collector stored $(received) of $sent events"
    sleep 3
    events lectr.v1.alert >"$tmp/alerts"
}

received() { curl -s "$collector_url/api/v1/status" | jq '.events_received'; }
stored() { [ "$(received)" -ge "$sent" ]; }
alerts() { jq -s "$1" "$tmp/alerts"; }

spike_minutes=20
end=$(($(date +%s) / 60 * 60 - 120))
spike_ns=$(((end - spike_minutes * 60) * 1000000000))

# The first minute of the spike may be enough, in a window of five: less than twice the usual then.
for seed in "${seeds[@]}"; do
    told --seed "$seed"
    same "seed $seed: alerts on three quiet hours, $sent calls" 0 "$(alerts 'map(select(.status == "STATUS_FIRING")) | length')"
    jq -r '"# " + .reason' "$tmp/alerts"

    told --seed "$seed" --spike-minutes $spike_minutes --spike-factor 5 --spike-feature checkout
    same "seed $seed: alerts before the spike" 0 \
        "$(alerts "map(select(.window_end_unix_nano <= $spike_ns)) | length")"
    first=$(alerts 'map(select(.status == "STATUS_FIRING" and .rule == "cost.spike"))[0] // {}')
    label() { jq -r --arg n "$1" '.labels[]? | select(.name == $n) | .value' <<<"$first"; }
    same "seed $seed: the alert names the feature" checkout "$(label feature)"
    same "seed $seed: the alert names provider and model" "openai gpt-4o" "$(label provider) $(label model)"
    check "seed $seed: observed, baseline and deviation ($(jq -c '[.observed, .baseline, .deviation_ratio, .deviation_sigmas]' <<<"$first"))" \
        holds '.baseline > 0 and .observed > 1.3 * .baseline and .deviation_absolute > 0
            and (.observed / .baseline - .deviation_ratio | fabs) < 1e-9 and .deviation_sigmas > 3 and .baseline_lower <= .baseline and .baseline <= .baseline_upper
            and .samples > 0 and .history_hours >= 24' <<<"$first"
    check "seed $seed: the window is in the spike" holds \
        '.window_start_unix_nano < .window_end_unix_nano and .window_end_unix_nano > $s
            and .window_end_unix_nano <= $e' --argjson s $spike_ns --argjson e $((end * 1000000000)) <<<"$first"
    reason=$(jq -r '.reason // ""' <<<"$first")
    check "seed $seed: the sentence names them too" eval '[[ $reason == *checkout*gpt-4o* ]]'
    note "$reason"
    note "seed $seed: $(jq -r '((.window_end_unix_nano - '$spike_ns') / 60e9 | floor)' <<<"$first") min after the spike began"
    # Of the whole provider it may be told first, when that is beyond its noise a minute sooner.
    same "seed $seed: alerts that neither are on the feature nor say that most of it is the feature's" 0 \
        "$(alerts 'map(select(.status == "STATUS_FIRING"
            and (any(.labels[]?; .name == "feature" and .value == "checkout") | not)
            and (any(.labels[]?; .name == "feature")
                or (any(.attribution[]?; .dimension == "feature" and .value == "checkout" and .share > 0.8) | not)))) | length')"
done

# What a person sees is the same alert.
stack ctl alerts --format json >"$tmp/ctl" 2>"$log/ctl"
check "lectrctl alerts shows it" holds 'any(.reason == $r)' -s --arg r "$reason" <"$tmp/ctl"
