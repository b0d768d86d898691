#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Streams that the client cuts at random events, by close and by reset: one event each and no more,
# the outcome by what the client had read, the tokens that had passed as a measured count with its
# range, the input as an estimate. What is learned outlives the proxy. Then, with recordings at
# hand, the ranges are judged (estimate_eval): usage hidden, and streams cut at random bytes.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin cut
streams=${FAST:+40}
streams=${streams:-150}

recordings=${LECTR_RECORDINGS:-$top/../shared/exchanges}
cuts=${FAST:+2000}
if [ -d "$recordings" ]; then
    (cd "$top" && "$B/tests/harness/estimate_eval" --cuts "${cuts:-10000}" --check "$recordings") >"$tmp/eval"
    judged=$?
    grep -E '^(input|output|all|[0-9])' "$tmp/eval" | sed 's/^/# /'
    same "ranges hold the truth in 88 to 96 % of the recordings, one event a cut" 0 "$judged"
else
    skip "no recordings to judge the ranges by; test_estimate judges them on made-up models"
fi

lab_up
stack_init
stack_start nats agent
lab pod add a
for pair in api.openai.com=openai-chat-stream-001 api.anthropic.com=anthropic-messages-stream-001; do
    pod a -- /usr/bin/python3 -B "$top/tests/e2e/tools/cut_client.py" "${pair%=*}" \
        --exchange "${pair#*=}" --streams "$streams" --seed "${#pair}" >>"$tmp/rows" 2>>"$log/client"
done
total=$((2 * streams))
same "streams that broke otherwise" 0 "$(jq -s '[.[] | select(.error)] | length' "$tmp/rows")"
note "$(jq -s '[.[] | select(.cut)] | length' "$tmp/rows") of $total streams cut"
wait_for 30 events_reach lectr.v1.call "$total"
events lectr.v1.call >"$tmp/calls"
same "events, one a stream" "$total" "$(grep -c . "$tmp/calls")"
same "streams with exactly one event" "$total" \
    "$(jq -r .trace_id "$tmp/calls" | sort | uniq -u | comm -12 - <(jq -r .trace_id "$tmp/rows" | sort) | wc -l)"
jq -s 'map({key: .trace_id, value: .}) | from_entries' "$tmp/rows" >"$tmp/told"
# judge FILTER: over the calls of cut streams, with what the client told as $c.
judge() {
    jq -r --slurpfile told "$tmp/told" \
        "(\$told[0][.trace_id]) as \$c | select($1) | .trace_id" "$tmp/calls" | wc -l
}
cut=$(jq -s '[.[] | select(.cut)] | length' "$tmp/rows")
same "cut streams that say so" "$cut" "$(judge '$c.cut and .outcome == "OUTCOME_CLIENT_ABORT"')"
same "whole streams that are whole" $((total - cut)) "$(judge '($c.cut | not) and .outcome == "OUTCOME_OK"')"
# Where some text had passed it was counted; the count is within its range.
counted='any(.usage[]?; .kind == "output" and .source == "SOURCE_MEASURED" and (.low | tonumber) >= 1
    and (.low | tonumber) <= (.count | tonumber) and (.count | tonumber) <= (.high | tonumber))'
some=$(judge '$c.cut and $c.events >= 6')
check "some streams were cut after text" [ "$some" -gt 10 ]
same "of these, output measured" "$some" "$(judge "\$c.cut and \$c.events >= 6 and ($counted)")"
same "no count of a cut stream is said to be reported" 0 \
    "$(judge '$c.cut and $c.events >= 6 and any(.usage[]?; .kind == "output" and .source == "SOURCE_REPORTED")')"
check "input of OpenAI's cut streams is estimated" [ "$(judge '$c.cut and .provider == "openai" and
    any(.usage[]?; .kind == "input" and .source == "SOURCE_ESTIMATED")')" -gt 10 ]
check "a cut stream costs a range" [ "$(judge '$c.cut and $c.events >= 6 and .cost.basis == "table" and
    (.cost.low_nanousd | tonumber) < (.cost.high_nanousd | tonumber)')" -gt 10 ]

stack stop agent
check "what was learned is kept" grep -q '^m:openai/' "$tmp/stack/state/estimates/learned"
