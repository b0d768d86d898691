#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 and SIGSTOP of the proxy and of the helper while 50 streams run, and short calls beside
# them. The next connection of every client succeeds; the gaps say exactly how many calls were in
# flight and how many connections went by; what the census saw is what was metered plus the gaps;
# capture comes back by itself; nothing pinned is left after cleanup.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin kill
streams=50
beside=4

lab_up
stack_init
stack_start nats agent
lab pod add a
# A stream takes some seconds; the calls after it are answered at once.
slow='{"when": {"header": ["x-slow", "1"]}, "event_ms": 20, "hold_ms": 4000}'
client a api.openai.com >/dev/null # the namespace is known from here on
wait_for 10 events_reach lectr.v1.call 1

# Nothing that began before this can have met the process; /proc/uptime is cut to 10 ms. Its first
# thread may be gone while others still hold the listeners.
gone_ns() {
    for ((i = 0; i < 100000; i++)); do
        gone "$1" && [ "$(ls "/proc/$1/task" 2>/dev/null | wc -l)" -le 1 ] && break
    done
    awk '{ printf "%.0f", $1 * 1000000000 + 10000000 }' /proc/uptime
}

in_flight() { # at the simulator
    lab sim GET /stats | jq '.requests_begun - .requests_completed - .requests_broken'
}

rows() { jq -s "$1" "$tmp/$label.rows"; }

# Connections that went by because nobody was there for them.
gone_by() { gap_connections agent_down no_listener overload; }

# All that was told: "seen accounted", of all workloads.
told() {
    { events lectr.v1.coverage; events lectr.v1.gap; } | jq -s -r '
        [([.[] | .seen_connections // 0] | add // 0),
         ([.[] | (.metered_connections // 0) + (.connections // 0)] | add // 0)] | join(" ")'
}

# The first connection is told before anything is counted from.
begun() { [ "$(told)" = "1 1" ]; }

balanced() { [ "$(told | awk '{ print $1 - $2 }')" = 0 ]; }

# scenario LABEL ACTION PAUSE UNDO: 50 clients, one long stream each and short calls after it, a
# connection each; some clients with short calls only. ACTION happens while all streams run, UNDO
# comes PAUSE seconds later.
scenario() {
    label=$1
    local action=$2 pause=$3 undo=$4 pids=()
    wait_for 20 balanced
    gone_before=$(gone_by)
    died_before=$(gap_in_flight)
    untaken_before=$(gap_connections agent_died)
    told_before=$(told)
    lab sim POST /reset >/dev/null
    lab sim POST /rules "[$slow]" >/dev/null
    rm -f "$tmp/stop"
    client a api.openai.com --workers $streams --first-stream --first-header 'x-slow: 1' \
        --first-interval 0 --interval 0.3 --stop-file "$tmp/stop" >"$tmp/$label.streams" 2>>"$log/client" &
    pids+=($!)
    client a api.anthropic.com --workers $beside --interval 0.1 --stop-file "$tmp/stop" \
        >"$tmp/$label.beside" 2>>"$log/client" &
    pids+=($!)
    e2e_pids+=("${pids[@]}")
    wait_for 15 eval "[ \$(in_flight) -ge $streams ]"
    check "$label: $streams streams running ($(in_flight) calls in flight)" [ "$(in_flight)" -ge $streams ]
    eval "$action"
    sleep "$pause"
    eval "$undo"
    sleep 4
    touch "$tmp/stop"
    wait "${pids[@]}"
    cat "$tmp/$label.streams" "$tmp/$label.beside" >"$tmp/$label.rows"
}

# judge [SINCE_NS]: what holds in every scenario. Failures of calls that began before SINCE_NS, when
# the old proxy was still there to take them, are no mistake; they count as broken.
judge() {
    local since=${1:-0} direct broken all captured_ok expected
    next="$(jq -s '[.[] | select(.n == 2 and .ok)] | length' "$tmp/$label.streams")"
    same "$label: the next connection of every client succeeds" $streams "$next"
    note "$label: of these $(jq -s '[.[] | select(.n == 2 and .captured == false)] | length' "$tmp/$label.streams") direct," \
        "$(jq -s '[.[] | select(.n == 2 and .captured)] | length' "$tmp/$label.streams") captured"
    same "$label: other calls that failed" 0 \
        "$(rows "[.[] | select((.worker < $streams and .n == 1 | not) and (.ok | not) and .t0_ns > $since)] | length")"
    rows "[.[] | select(.n > 1 and (.ok | not) and .t0_ns > $since) | . + {after_ms: ((.t0_ns - $since) / 1e6)}] | .[0:3] | .[]" | jq -c . | sed "s,^,# ,"
    check "$label: capture is back at the end" [ "$(jq -s 'group_by(.worker) | map(last) | all(.captured)' "$tmp/$label.streams")" = true ]
    # All is told.
    all=$(rows length)
    direct=$(rows '[.[] | select(.captured == false)] | length')
    broken=$(rows '[.[] | select(.ok | not)] | length')
    captured_ok=$(rows '[.[] | select(.captured and .ok)] | length')
    note "$label: $all connections: $captured_ok captured and finished, $direct direct, $broken broke"
    wait_for 20 eval "[ \$((\$(gone_by) - gone_before)) -ge $direct ]"
    same "$label: connections that went by, as the gaps tell it" "$direct" "$(($(gone_by) - gone_before))"
    finished_all() { [ "$(without_event "$tmp/$label.rows" '.ok and .captured')" = 0 ]; }
    wait_for 10 finished_all
    finished_lost=$(without_event "$tmp/$label.rows" '.ok and .captured')
    # A connection may have broken before its call began: the proxy had not taken it yet, or it was
    # in its handshake. Such are told as connections, not as calls.
    lost=$((finished_lost + $(without_event "$tmp/$label.rows" '.ok | not')))
    wait_for 10 eval "[ \$((\$(gap_in_flight) - died_before + \$(gap_connections agent_died) - untaken_before)) -ge $lost ]"
    in_flight_told=$(($(gap_in_flight) - died_before))
    untaken=$(($(gap_connections agent_died) - untaken_before))
    check "$label: calls in flight, as the gaps tell it ($in_flight_told, and $untaken connections, of $lost without an event)" \
        [ "$in_flight_told" -le "$lost" -a "$((in_flight_told + untaken))" -ge "$lost" ]
    check "$label: finished captured calls have their event, or are told as in flight ($finished_lost of $captured_ok)" \
        [ "$finished_lost" -le "$in_flight_told" -a "$finished_lost" -le $((streams + beside)) ]
    expected="$((${told_before% *} + all)) $((${told_before#* } + all))"
    wait_for 20 eval "[ \"\$(told)\" = '$expected' ]"
    same "$label: seen by the census, and metered plus gaps" "$all $all" \
        "$(told | awk -v s="${told_before% *}" -v a="${told_before#* }" '{ print $1 - s, $2 - a }')"
}

streams_broken() { jq -s '[.[] | select(.n == 1 and (.ok | not))] | length' "$tmp/$label.streams"; }

wait_for 20 begun

# --- the proxy -----------------------------------------------------------------------------------
old=$(proxy_pid)
scenario proxy-killed 'kill -KILL $old; dead_ns=$(gone_ns $old)' 4 true
same "proxy-killed: streams that broke" $streams "$(streams_broken)"
judge "$dead_ns"
check "proxy-killed: the streams are among the calls in flight" [ "$in_flight_told" -ge "$streams" ]
check "proxy-killed: a new proxy runs" [ "$(proxy_pid)" != "$old" ]

old=$(proxy_pid)
scenario proxy-stopped 'kill -STOP $old; dead_ns=$(gone_ns $old)' 4 true
check "proxy-stopped: the helper ended it" gone "$old"
judge "$dead_ns"
check "proxy-stopped: the streams are among the calls in flight" [ "$in_flight_told" -ge "$streams" ]

# --- the helper ----------------------------------------------------------------------------------
scenario helper-killed 'kill -KILL $helper_pid' 7 'stack_start agent'
same "helper-killed: streams that broke" 0 "$(streams_broken)"
same "helper-killed: next connections that went direct" $streams \
    "$(jq -s '[.[] | select(.n == 2 and .captured == false)] | length' "$tmp/$label.streams")"
judge

scenario helper-stopped 'kill -STOP $helper_pid' 7 'kill -CONT $helper_pid'
same "helper-stopped: streams that broke" 0 "$(streams_broken)"
same "helper-stopped: next connections that went direct" $streams \
    "$(jq -s '[.[] | select(.n == 2 and .captured == false)] | length' "$tmp/$label.streams")"
judge

# --- and nothing is left -------------------------------------------------------------------------
stack stop agent
check "the daemon ended" gone "$helper_pid"
check "cleanup says it is done" eval '"$B/lectr-agent" cleanup -c "$agent_config" >"$log/cleanup" 2>&1'
same "pinned objects after cleanup" 0 "$(find "$tmp/stack/bpf" -mindepth 1 2>/dev/null | wc -l)"
if command -v bpftool >/dev/null; then
    same "programs on the lab's cgroups after cleanup" 0 \
        "$(bpftool cgroup tree "$(lab env | sed -n s/^LECTR_LAB_CGROUP=//p)" 2>/dev/null | grep -c lectr)"
fi
same "the next connection is direct" false "$(client a api.openai.com | jq -r .captured)"
