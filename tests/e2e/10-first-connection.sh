#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The first connection of a namespace that did not exist when the agent started is captured: 100
# fresh pods with the four SDKs in turn, nothing delayed; then again with both cores loaded. In
# every fifth pod the time from the first DNS query to the connect is taken from the wire and
# printed (the others are not watched: a packet capture costs time itself). Whatever was missed must
# be a no_listener gap. In between a client that connects sooner than any SDK does: there only the
# counting is judged, and how often it was captured is printed.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin first
command -v tcpdump >/dev/null || skip_all "tcpdump is not installed"
hogs=""
rounds=${FAST:+20}
rounds=${rounds:-100}
sdks=(openai anthropic groq google)

lab_up
stack_init
stack_start nats agent

# watch POD FILE: DNS queries leaving and SYNs inside a pod. tcpdump is in no captured cgroup, so
# the agent learns nothing from it.
watch() {
    nsenter --net="/run/netns/$lab_prefix.pod.$1" tcpdump -i any -n -tt -l --immediate-mode \
        'udp dst port 53 or (tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn) or (ip6 and tcp and ip6[53] & 0x12 == 2)' \
        >"$2" 2>"$2.err" &
    watch_pid=$!
    e2e_pids+=("$watch_pid")
    wait_for 5 grep -q 'listening on' "$2.err"
}

# [ms] from the first query to the first SYN after it.
dns_to_connect() {
    awk '/\.53: / && !q { q = $1 } /Flags \[S\]/ && q && !s { s = $1 }
         END { if (s) printf "%.2f\n", (s - q) * 1000 }' "$1"
}

# one_pod NAME SDK LABEL WATCHED
one_pod() {
    local name=$1 sdk=$2 label=$3 watched=$4
    lab pod add "$name" || return 1
    [ "$watched" = 0 ] || watch "$name" "$tmp/$name.dump"
    if [ "$sdk" = raw ]; then
        client "$name" api.openai.com
    else
        pod "$name" -- "$node_bin" "$top/tests/harness/clients/sdk-$sdk.mjs"
    fi >>"$tmp/$label.lines" 2>&1 || echo "$name $sdk failed" >>"$tmp/$label.failed"
    if [ "$watched" != 0 ]; then
        sleep 0.05
        kill "$watch_pid" 2>/dev/null
        wait "$watch_pid" 2>/dev/null
        dns_to_connect "$tmp/$name.dump" >>"$tmp/$label.ms"
    fi
    lab pod del "$name"
}

captured_pods() { # distinct pods of a label that have a call event
    events lectr.v1.call | jq -r '.workload.cgroup // ""' | grep -oE "/$1[0-9]+(/|\$)" | sort -u | wc -l
}

# round LABEL MINIMUM: with $sdks in turn.
round() {
    local label=$1 minimum=$2 i got missed gap_before
    : >"$tmp/$label.failed"
    gap_before=$(gap_connections no_listener)
    for ((i = 0; i < rounds; i++)); do one_pod "$label$i" "${sdks[i % ${#sdks[@]}]}" "$label" $((i % 5 == 4)); done
    wait_for 10 eval "[ \$(captured_pods $label) -ge $rounds ]"
    got=$(captured_pods "$label")
    same "$label: all calls succeeded" 0 "$(grep -c . "$tmp/$label.failed")"
    if [ "$got" -ge "$minimum" ]; then
        ok "$label: first connection captured in $got of $rounds fresh namespaces"
    else
        not_ok "$label: first connection captured in $got of $rounds fresh namespaces, wanted $minimum"
    fi
    sort -n "$tmp/$label.ms" | awk -v l="$label" '{ v[NR] = $1 } END { if (NR) printf \
        "# %s: DNS query to connect [ms]: min %s, median %s, p99 %s, max %s (%d pods)\n",
        l, v[1], v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.5)], v[NR], NR }'
    missed=$((rounds - got))
    [ "$missed" = 0 ] || wait_for 15 gaps_reach no_listener $((gap_before + missed))
    same "$label: every miss is a no_listener gap" "$missed" "$(($(gap_connections no_listener) - gap_before))"
}

round idle "$rounds"
sdks=(raw)
round fastest 0
sdks=(openai anthropic groq google)

# Bounded hogs: they end by themselves whatever happens to this script.
for _ in $(seq "$(nproc)"); do
    timeout 900 sh -c 'while :; do :; done' &
    e2e_pids+=($!)
    hogs+=" $!"
done
round loaded $((rounds * 99 / 100))
for pid in $hogs; do kill "$pid" 2>/dev/null; done
