#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Realtime sessions over WebSocket (OpenAI Realtime, Gemini Live), by npm `ws` and
# python3-websockets: each golden session's events equal its truth, messages deflated and not, ended
# in order, by a cut on either side, and by the provider; the octets are those of a direct connection.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin realtime

lab_up
lab pod add a
stack_init
clients=$top/tests/harness/clients
sessions=$top/tests/golden/sessions
count=$(find "$sessions" -name '*.json' | wc -l)
total=$(jq -s '[.[].truth | length] | add' "$sessions"/*.json)
# Ended in order by a side that says so: python3-websockets has no cut to offer that ws has not.
in_order=$(jq -r 'select(any(.steps[]; has("client_cut") or has("server_cut")) | not) | .id' "$sessions"/*.json)
in_order_calls=$(jq -s '[.[] | select(any(.steps[]; has("client_cut") or has("server_cut")) | not) | .truth | length] | add' "$sessions"/*.json)

# play NAME CMD...: all sessions, each octet kept on both sides.
play() {
    local name=$1
    shift
    lab sim POST /record "{\"dir\": \"$tmp/sim-$name\"}" >/dev/null
    pod a -- "$@" >"$tmp/$name.out" 2>>"$log/clients"
    sleep 0.5
    lab sim POST /record '{"dir": ""}' >/dev/null
}

# played NAME COUNT: whether the client got, and sent, what the sessions say.
played() {
    same "$1: sessions as the client saw them" "$2" "$(jq -s '[.[] | select(.ok)] | length' "$tmp/$1.out")" ||
        sed 's/^/#   /' "$tmp/$1.out"
}

# What the client wrote is what the provider read, and the other way round.
octets() {
    local name=$1 file id wrong=0 n=0
    for file in "$tmp/$name"/*.sent; do
        id=$(basename "$file" .sent)
        n=$((n + 1))
        # Connections come in the order of the sessions.
        local sim
        sim=$(find "$tmp/sim-$name" -name '*.req' | sort | sed -n "${n}p")
        cmp -s "$file" "$sim" || { wrong=$((wrong + 1)) && note "$name $id: sent differs"; }
        cut_by_client "$id" && continue # what was under way was never read
        cmp -s "${file%.sent}.received" "${sim%.req}.res" || { wrong=$((wrong + 1)) && note "$name $id: received differs"; }
    done
    same "$name: of the octets of $n sessions differ" 0 "$wrong"
}

cut_by_client() { jq -e 'any(.steps[]; has("client_cut"))' "$sessions/$1.json" >/dev/null; }

node_play() { # NAME DEFLATE [FEATURE_PREFIX]
    play "$1" "$node_bin" "$clients/ws-session.mjs" --deflate "$2" --feature "${3:-$1-}" --record "$tmp/$1"
    played "$1" "$count"
}

node_play direct off
octets direct
stack_start nats agent

expected=0
carriages=(off on reset)
[ -z "$FAST" ] || carriages=(on)
for deflate in "${carriages[@]}"; do
    node_play "ws-$deflate" "$deflate"
    octets "ws-$deflate"
    expected=$((expected + total))
    [ $deflate = off ] || same "ws-$deflate: sessions that agreed on permessage-deflate" "$count" \
        "$(jq -s '[.[] | select(.extensions | test("permessage-deflate"))] | length' "$tmp/ws-$deflate.out")"
done

if /usr/bin/python3 -c 'import websockets' 2>/dev/null; then
    for deflate in off on; do
        # shellcheck disable=SC2086 # the ids are words
        play "py-$deflate" /usr/bin/python3 -B "$clients/py-websockets" --deflate $deflate --feature "py-$deflate-" \
            "$sessions" $in_order
        played "py-$deflate" "$(wc -w <<<"$in_order")"
        expected=$((expected + in_order_calls))
    done
else
    skip "python3-websockets is not installed"
fi

wait_for 15 events_reach lectr.v1.call "$expected"
sleep 0.5
events lectr.v1.call >"$tmp/events"
same "events" "$expected" "$(grep -c . "$tmp/events")"
for run in "${carriages[@]/#/ws-}"; do
    tool session_check.py "$sessions" "$run-" "$tmp/events" || e2e_failed=$((e2e_failed + 1))
done
for run in py-off py-on; do
    [ -e "$tmp/$run.out" ] || continue
    # shellcheck disable=SC2086
    tool session_check.py "$sessions" "$run-" "$tmp/events" $in_order || e2e_failed=$((e2e_failed + 1))
done
same "verdicts" metered "$(curl -s "$agent_url/metrics" | sed -n 's/.*result="\([a-z0-9_]*\)".* [1-9][0-9]*$/\1/p' | sort -u | tr '\n' ' ' | sed 's/ $//')"
# Nothing of what was said is in what was told.
check "no key, query or content in the events" bash -c "! grep -aE 'sk-lab|lab-key|Be brief|What is above' '$tmp/events'"
