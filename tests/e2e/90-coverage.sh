#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lectrctl coverage: for every workload, what the kernel's census saw is what was metered plus what
# the gaps tell of, each with its reason; calls without a cost are told with theirs.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin coverage

# An answer of a model that no price table knows.
exchanges=$tmp/exchanges
cp -r "$top/tests/golden/exchanges" "$exchanges"
sed -e 's/gpt-4o-mini-2024-07-18/gpt-unheard-of/g; s/gpt-4o-mini/gpt-unheard-of/g; s/openai-chat-plain-001/openai-chat-unheard-001/' \
    "$exchanges/openai/openai-chat-plain-001.json" >"$exchanges/openai/openai-chat-unheard-001.json"

lab_up
stack_init
stack_start nats agent collector
for name in good plain h2 refuses mixed unheard; do lab pod add $name; done
lab pod add silent --no-consent
curl_client() { pod "$1" -- "$top/tests/harness/clients/curl-client" "${@:2}" >>"$tmp/curl" 2>>"$log/curl"; }

# Connections to providers per pod, and what is to become of them.
client good api.openai.com --calls 12 >"$tmp/good"
client plain api.anthropic.com --workers 3 --calls 5 --keep-alive >"$tmp/plain"
for _ in 1 2 3; do curl_client h2 --http2 api.openai.com; done
client silent api.groq.com --calls 4 >"$tmp/silent"
for _ in 1 2 3; do
    pod refuses -- curl -sS --http1.1 -o /dev/null --cacert "$lab_trust" -d '{}' https://api.groq.com/openai/v1/chat/completions 2>>"$log/curl"
done
client mixed generativelanguage.googleapis.com --calls 2 >"$tmp/mixed"
client unheard api.openai.com --calls 7 --header 'x-replay-id: openai-chat-unheard-001' >"$tmp/unheard"
curl_client mixed --http2 generativelanguage.googleapis.com

# row WORKLOAD: {seen, metered, gaps: {reason: connections}} of everything whose workload ends so.
api() { curl -s "$collector_url/api/v1/coverage"; }
row() {
    api | jq -c --arg w "$1" '
        def mine: select(.workload | endswith($w));
        {seen: ([.workloads[] | mine | .seen] | add // 0), metered: ([.workloads[] | mine | .metered] | add // 0),
         gaps: ([.gaps[] | mine | {key: .reason, value: .connections}] | group_by(.key) |
             map({key: .[0].key, value: (map(.value) | add)}) | from_entries)}'
}
balanced() { row "$1" | holds '.seen > 0 and .seen == .metered + ([.gaps[]] | add // 0)'; }

# expect WORKLOAD SEEN METERED GAPS
expect() {
    wait_for 20 eval "balanced $1 && [ \$(row $1 | jq .seen) -ge $2 ]"
    same "$1: seen, metered and why not" "{\"seen\":$2,\"metered\":$3,\"gaps\":$4}" "$(row "$1")"
}
expect good 12 12 '{}'
expect plain 3 3 '{}'
expect h2 3 3 '{}'
expect silent 4 0 '{"no_consent":4}'
expect refuses 3 0 '{"untrusted_ca":3}'
expect mixed 3 3 '{}'

stack ctl coverage --format json >"$tmp/ctl" 2>"$log/ctl"
check "lectrctl coverage --format json is JSON" holds 'length > 0' -s <"$tmp/ctl"
stack ctl coverage >"$tmp/ctl.text" 2>>"$log/ctl"
for reason in no_consent untrusted_ca; do
    check "lectrctl coverage tells of $reason" grep -q $reason "$tmp/ctl.text"
done

# Costs: seven calls of the unheard-of model and nothing else are without one.
same "lectrctl coverage tells how many calls have no cost, and why" \
    "7 unknown_model: openai gpt-unheard-of" "$(grep -o '7 unknown_model.*' "$tmp/ctl.text")"
unpriced() { events lectr.v1.call | jq -s '[.[] | select(.cost.expected_nanousd == null)] | length'; }
same "they are the events without a cost" "calls without a cost: $(unpriced) (they are in no sum of costs)" \
    "$(grep '^calls without a cost' "$tmp/ctl.text")"
same "the agent counts them" 'lectr_agent_calls_cost_total{basis="unknown_model"} 7' \
    "$(curl -s "$agent_url/metrics" | grep '^lectr_agent_calls_cost_total{basis="unknown_model"}')"
sed 's/^/# /' "$tmp/ctl.text" | head -n 30
