#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The plaintext octets of both directions, headers included, are the same with and without Lectr:
# every exchange of the four providers (EXCHANGES=DIR, else the fixtures), sent by a raw TLS client
# that keeps what it wrote and read, answered by a simulator that keeps what it read and wrote. Once
# in whole pieces, once in random ones.
[ -z "${LECTR_RECORDINGS:-}" ] || export EXCHANGES=$LECTR_RECORDINGS
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin octets

lab_up
lab pod add a
stack_init
octets() { /usr/bin/python3 -B "$top/tests/e2e/tools/octets.py" "$@"; }

# send NAME [--split SEED]: one run, with the simulator's records beside it.
send() {
    local name=$1
    shift
    lab sim POST /reset >/dev/null
    lab sim POST /record "{\"dir\": \"$tmp/sim-$name\"}" >/dev/null
    pod a -- /usr/bin/python3 -B "$top/tests/e2e/tools/octets.py" send "$exchanges" "$tmp/$name" "$@" \
        >"$tmp/$name.out" 2>&1
    sleep 0.5
    lab sim POST /record '{"dir": ""}' >/dev/null
    sed "s/^/# $name: /" "$tmp/$name.out"
    check "$name: every exchange could be sent" grep -q '"not_connected": 0' "$tmp/$name.out"
}

send direct
send direct-split --split 7
stack_start nats agent
send lectr
send lectr-split --split 7

for kind in "" -split; do
    if octets compare "$tmp/direct$kind" "$tmp/sim-direct$kind" "$tmp/lectr$kind" "$tmp/sim-lectr$kind" \
        >"$tmp/compare$kind" 2>&1; then
        ok "octets${kind:- whole}:$(tail -n 1 "$tmp/compare$kind")"
    else
        not_ok "octets${kind:- whole}:$(tail -n 1 "$tmp/compare$kind")"
        head -n 40 "$tmp/compare$kind" | sed 's/^/#/'
    fi
done
# Through Lectr means metered: one event per exchange that a provider profile knows.
sent=$(find "$tmp/lectr" -name '*.sent' | wc -l)
wait_for 10 events_reach lectr.v1.call $((2 * sent))
note "$(count_events lectr.v1.call) call events for $((2 * sent)) exchanges"
check "calls were metered while the octets passed" [ "$(count_events lectr.v1.call)" -ge "$sent" ]
