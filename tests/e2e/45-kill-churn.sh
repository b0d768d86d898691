#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The proxy and the helper are killed (-9) while clients open connections as fast as they can, so
# that some are on their way into the listener at that moment. Still the next connection of every
# client succeeds, every connection that the census saw is metered or in a gap, and every finished
# captured call has its event or is among those that the gaps tell as in flight.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin churn
workers=30
rounds=${FAST:+3}
rounds=${rounds:-6}

lab_up
lab pod add a
stack_init
stack_start nats agent

client a api.openai.com >"$tmp/rows"
wait_for 10 conns_all_told "0 0" 1
for ((i = 0; i < rounds; i++)); do
    before=$(conns_told)
    client a api.openai.com --workers $workers --seconds 4 --timeout 15 >"$tmp/rows.$i" 2>>"$log/client" &
    client_pid=$!
    e2e_pids+=("$client_pid")
    sleep 1.5
    if [ $((i % 3)) = 2 ]; then
        what=helper
        kill -KILL "$helper_pid"
        wait "$client_pid"
        stack_start agent
    else
        what=proxy
        kill -KILL "$(proxy_pid)"
        wait "$client_pid"
    fi
    cat "$tmp/rows.$i" >>"$tmp/rows"
    made=$(grep -c . "$tmp/rows.$i")
    wait_for 15 conns_all_told "$before" "$made"
    same "$what killed, round $i: connections seen, and metered or in a gap" "$made $made" "$(conns_told_since "$before")"
    # A client that failed twice in a row: its next connection did not succeed.
    same "$what killed, round $i: clients whose next connection failed too" 0 "$(jq -s 'group_by(.worker) |
        map([.[].ok] | [., .[1:]] | transpose | any(. == [false, false])) | map(select(.)) | length' "$tmp/rows.$i")"
    note "$(jq -s -c '{connections: length, captured: (map(select(.captured)) | length),
        direct: (map(select(.captured == false)) | length), broke: (map(select(.ok | not)) | length)}' "$tmp/rows.$i")"
done
finished=$(jq -s '[.[] | select(.ok and .captured)] | length' "$tmp/rows")
all_finished() { [ "$(without_event "$tmp/rows" '.ok and .captured')" = 0 ]; }
wait_for 10 all_finished
lost=$(without_event "$tmp/rows" '.ok and .captured')
broken=$(without_event "$tmp/rows" '.ok | not')
told=$(gap_in_flight)
note "$finished finished captured calls, $lost of them without an event; $broken broken ones without; $told told as in flight"
# A broken one may have been no call yet: a connection in its handshake, or not taken.
check "finished calls without an event are told as in flight, and no call is that had none ($lost <= $told <= $lost + $broken)" \
    [ "$lost" -le "$told" -a "$told" -le $((lost + broken)) ]
check "a kill loses at most one finished call of a client ($lost)" [ "$lost" -le $((workers * rounds)) ]
same "events that are there twice" 0 "$(events lectr.v1.call | jq -r .trace_id | sort | uniq -d | wc -l)"
