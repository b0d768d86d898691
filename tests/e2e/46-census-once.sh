#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A row of the census is told once, whoever dies between its event and its acknowledgement. Both
# processes are stopped and let go in an order that makes these moments certain: the helper is killed
# with the acknowledgements unread; it is killed while its rows still wait in the old proxy's socket,
# which reads them after its successor told them; the proxy is killed after it told them.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin census-once
connections=10

lab_up
lab pod add a
stack_init
# Who is stopped here is to be let go by us, not ended by the watchdog.
sed -i 's/^capture:/&\n  heartbeat_stale_ms: 20000/' "$agent_config"
stack_start nats agent

doubles() { { events lectr.v1.coverage; events lectr.v1.gap; } | jq -r .id | sort | uniq -d | wc -l; }
told_before() { curl -s "$agent_url/metrics" | awk '$1 == "lectr_agent_told_before_total" { print $2 }'; }
knows() { [ "$(told_before)" -ge "$1" ]; }

# Connections pass a stopped proxy by; a row of each kind about all of them is sent to it, and the
# helper is stopped.
rows_under_way() {
    before=$(conns_told)
    proxy=$(proxy_pid)
    kill -STOP "$proxy"
    wait_for 5 grep -q '^State:.*T' "/proc/$proxy/status"
    sleep 0.3 # the kernel is told to steer nobody there
    kill -STOP "$helper_pid"
    client a api.openai.com --workers $connections --calls 1 --timeout 15 >"$tmp/rows" 2>>"$log/client"
    made=$(grep -c . "$tmp/rows")
    same "$1: connections that went by" "$connections" "$(jq -s 'map(select(.ok and .captured == false)) | length' "$tmp/rows")"
    kill -CONT "$helper_pid"
    sleep 1.5 # three polls of the census
    kill -STOP "$helper_pid"
}

tell_it() {
    kill -CONT "$proxy"
    check "$1: told, and the helper does not know it" wait_for 10 conns_all_told "$before" "$made"
}

# A connection later, so that all of it went through.
once() {
    wait_for 15 conns_all_told "$before" "$made"
    client a api.openai.com >"$tmp/rows"
    wait_for 15 conns_all_told "$before" $((made + 1))
    sleep 6 # a row without an answer is sent again
    same "$1: connections seen, and metered or in a gap" "$((made + 1)) $((made + 1))" "$(conns_told_since "$before")"
    same "$1: events told twice" 0 "$(doubles)"
}

# The old proxy has its metrics port as long as it drains.
other_port() {
    local nats agent collector old
    read -r nats old collector <"$tmp/stack/ports"
    agent=$((old + 1))
    while (: <"/dev/tcp/127.0.0.1/$agent") 2>/dev/null; do agent=$((agent + 1)); done
    echo "$nats $agent $collector" >"$tmp/stack/ports"
    sed -i "s/127.0.0.1:$old\$/127.0.0.1:$agent/" "$agent_config"
    agent_url=http://127.0.0.1:$agent
}

client a api.openai.com >"$tmp/rows"
wait_for 10 conns_all_told "0 0" 1

rows_under_way "helper killed"
tell_it "helper killed"
kill -KILL "$helper_pid"
check "helper killed: its proxy ends" wait_for 15 gone "$proxy"
stack_start agent
check "helper killed: the next proxy gets the rows again and knows them" wait_for 10 knows 2
once "helper killed"

rows_under_way "rows in the socket"
kill -KILL "$helper_pid"
other_port
stack_start agent
check "rows in the socket: the next proxy tells them" wait_for 15 conns_all_told "$before" "$made"
kill -CONT "$proxy"
check "rows in the socket: the old proxy ends" wait_for 15 gone "$proxy"
once "rows in the socket"

rows_under_way "proxy killed"
tell_it "proxy killed"
kill -KILL "$proxy"
kill -CONT "$helper_pid"
check "proxy killed: another runs" wait_for 10 eval '[ -n "$(proxy_pid)" ] && [ "$(proxy_pid)" != "$proxy" ]'
once "proxy killed"
