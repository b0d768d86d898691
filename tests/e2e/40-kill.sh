#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 and SIGSTOP of the proxy and of the helper while 50 streams run. The next connection of
# every client succeeds; the gaps say exactly how many calls were in flight and how many connections
# went by; capture comes back by itself; nothing pinned is left after cleanup.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin kill
streams=50

lab_up
stack_init
stack_start nats agent
lab pod add a
# A stream takes some seconds; the calls after it are answered at once.
slow='{"when": {"header": ["x-slow", "1"]}, "event_ms": 20, "hold_ms": 4000}'
client a api.openai.com >/dev/null # the namespace is known from here on
wait_for 10 events_reach lectr.v1.call 1

in_flight() { # at the simulator
    lab sim GET /stats | jq '.requests_begun - .requests_completed - .requests_broken'
}

rows() { jq -s "$1" "$tmp/$label.rows"; }

# Calls of this scenario that made an event: by trace id, so that others do not count.
metered() {
    events lectr.v1.call | jq -r '.trace_id // empty' | sort >"$tmp/$label.traces"
    jq -r .trace_id "$tmp/$label.rows" | sort | comm -12 - "$tmp/$label.traces" | grep -c .
}

# Connections that the gaps tell of, whatever the reason, since the scenario began.
gone_by() { gap_connections agent_down no_listener overload; }

# scenario LABEL ACTION UNDO: 50 clients, one long stream each, then short calls, a connection each.
# Sets rows, kill_ns. ACTION happens while all streams run, UNDO three seconds later.
scenario() {
    label=$1
    local action=$2 undo=$3 client_pid
    gone_before=$(gone_by)
    died_before=$(gap_in_flight)
    lab sim POST /reset >/dev/null
    lab sim POST /rules "[$slow]" >/dev/null
    rm -f "$tmp/stop"
    # Only the first call of a worker asks for a stream, and only streams carry the slow header.
    client a api.openai.com --workers $streams --first-stream --stop-file "$tmp/stop" --interval 0.25 \
        --first-header 'x-slow: 1' >"$tmp/$label.rows" 2>"$log/$label.client" &
    client_pid=$!
    e2e_pids+=("$client_pid")
    wait_for 15 eval "[ \$(in_flight) -ge $streams ]"
    same "$label: streams running" $streams "$(in_flight)"
    kill_ns=$(awk '{ printf "%d", $1 * 1000000000 }' /proc/uptime)
    eval "$action"
    sleep 3
    eval "$undo"
    sleep 5
    touch "$tmp/stop"
    wait "$client_pid"
}

# judge LABEL BROKEN_MAX: what holds in every scenario.
judge() {
    local second direct broken
    same "$label: the next connection of every client succeeds" $streams \
        "$(rows '[.[] | select(.n == 2 and .ok)] | length')"
    note "$label: of these $(rows '[.[] | select(.n == 2 and .captured == false)] | length') direct," \
        "$(rows '[.[] | select(.n == 2 and .captured)] | length') through a new generation"
    same "$label: later calls that failed" 0 "$(rows '[.[] | select(.n > 1 and (.ok | not))] | length')"
    rows '[.[] | select(.n > 1 and (.ok | not))] | .[0:3] | .[]' | jq -c . | sed 's/^/# /'
    check "$label: capture is back at the end" [ "$(rows 'group_by(.worker) | map(last) |
        all(.captured)')" = true ]
    # All is told: every call that was captured is an event or was in flight, and every direct
    # connection is in a gap.
    direct=$(rows '[.[] | select(.captured == false)] | length')
    broken=$(rows '[.[] | select(.ok | not)] | length')
    wait_for 20 eval "[ \$((\$(gone_by) - gone_before)) -ge $direct ]"
    same "$label: connections that went by, as the gaps tell it" "$direct" "$(($(gone_by) - gone_before))"
    wait_for 10 eval "[ \$((\$(gap_in_flight) - died_before)) -ge $broken ]"
    same "$label: calls in flight, as the gaps tell it" "$broken" "$(($(gap_in_flight) - died_before))"
    local captured_ok
    captured_ok=$(rows '[.[] | select(.captured and .ok)] | length')
    wait_for 10 eval "[ \$(metered) -ge $captured_ok ]"
    same "$label: finished captured calls and their events" "$captured_ok" "$(metered)"
}

# --- the proxy -----------------------------------------------------------------------------------
old=$(proxy_pid)
scenario proxy-killed 'kill -KILL $old' true
same "proxy-killed: streams that broke" $streams "$(rows '[.[] | select(.n == 1 and (.ok | not))] | length')"
judge
check "proxy-killed: a new proxy runs" [ "$(proxy_pid)" != "$old" ]

old=$(proxy_pid)
scenario proxy-stopped 'kill -STOP $old' true
judge
check "proxy-stopped: the helper ended it" gone "$old"

# --- the helper ----------------------------------------------------------------------------------
old=$helper_pid
scenario helper-killed 'kill -KILL $old' 'stack_start agent'
same "helper-killed: streams that broke" 0 "$(rows '[.[] | select(.n == 1 and (.ok | not))] | length')"
check "helper-killed: connections went direct meanwhile" \
    [ "$(rows '[.[] | select(.captured == false)] | length')" -gt 0 ]
judge

scenario helper-stopped 'kill -STOP $helper_pid' 'kill -CONT $helper_pid'
same "helper-stopped: streams that broke" 0 "$(rows '[.[] | select(.n == 1 and (.ok | not))] | length')"
judge

# --- and nothing is left -------------------------------------------------------------------------
stack stop agent
check "the daemon ended" gone "$helper_pid"
check "cleanup says it is done" "$B/lectr-agent" cleanup -c "$agent_config"
same "pinned objects after cleanup" 0 "$(find "$tmp/stack/bpf" -mindepth 1 | wc -l)"
if command -v bpftool >/dev/null; then
    same "programs on the lab's cgroups after cleanup" 0 \
        "$(bpftool cgroup tree "$(lab env | sed -n s/^LECTR_LAB_CGROUP=//p)" 2>/dev/null | grep -c lectr)"
fi
same "the next connection is direct" false "$(client a api.openai.com | jq -r .captured)"
