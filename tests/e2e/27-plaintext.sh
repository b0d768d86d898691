#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Model servers that speak HTTP in clear on a port of their own: Ollama in the pod itself and at
# other machines' addresses, IPv4 and IPv6, whole answers and NDJSON streams. Metered, octets
# unchanged, getpeername() as it was; what is no HTTP, or no call, passes; without the agent all
# goes direct.
source "$(dirname "$0")/../harness/e2e-lib.sh"
export EXCHANGES=$top/tests/golden/exchanges
exchanges=$EXCHANGES
e2e_begin plaintext

lab_up
lab pod add a
lab pod add four --family 4
lab serve a 11434
lab serve four 11434
stack_init
far4=$(awk '$1 == "www.example.com" { print $2 }' "$tmp/lab/$id/hosts")
far6=$(awk '$1 == "www.example.com" { print $3 }' "$tmp/lab/$id/hosts")
mkdir "$tmp/out"

# plain POD ADDRESS NAME [option...]: a line of tools/plain.py; its octets are in $tmp/out/NAME.
plain() { pod "$1" -- /usr/bin/python3 -B "$top/tests/e2e/tools/plain.py" "$2" "${port:-11434}" "$tmp/out/$3" "${@:4}"; }
golden() { echo "$exchanges/$1"; }
chat=$(golden ollama/ollama-clear-plain-001.json)
stream=$(golden ollama/ollama-clear-stream-001.json)

# The port that the server saw a client come from last; another than the client's own: captured.
seen_from() { # POD: the server in it, or the internet's
    case $1 in
    inet) lab sim GET /connections ;;
    *) lab sim "@$1" GET /connections ;;
    esac | jq -r '.[-1] | "\(.client) \(.client_port)"'
}

# --- without Lectr ---------------------------------------------------------------------------------
plain a 127.0.0.1 direct-chat --exchange "$chat" --calls 3 >"$tmp/line"
same "without Lectr: the server answers" 200 "$(jq -r .status "$tmp/line")"
plain a 127.0.0.1 direct-stream --exchange "$stream" >/dev/null

stack_start nats agent collector
client a www.example.com >/dev/null # the first connection of a namespace is another script's matter
client four www.example.com >/dev/null

# --- captured, wherever it is ------------------------------------------------------------------------
calls=0
captured() { # POD ADDRESS SERVER SOURCE
    local what="$1 to $2" line seen
    for kind in chat stream; do
        line=$(plain "$1" "$2" "$kind" --exchange "${!kind}")
        seen=$(seen_from "$3")
        same "$what, $kind: answered, and getpeername()" "200 $2 11434" \
            "$(jq -r '"\(.status) \(.peer | join(" "))"' <<<"$line")" || note "$line"
        same "$what, $kind: source address at the server" "$4" "${seen% *}"
        check "$what, $kind: went through Lectr" [ "${seen#* }" != "$(jq -r .local_port <<<"$line")" ]
        calls=$((calls + 1))
    done
    wait_for 10 events_reach lectr.v1.call $calls
    same "$what: calls told" $calls "$(count_events lectr.v1.call)"
}
captured a 127.0.0.1 a 127.0.0.1
captured a ::1 a ::1
captured a "$far4" inet "$(pod_address a)"
captured a "$far6" inet "$(ip -n "$lab_prefix.pod.a" -j -6 addr show eth0 scope global | jq -r '.[0].addr_info[0].local')"
# Loopback needs no default route.
captured four ::1 four ::1

events lectr.v1.call >"$tmp/calls"
same "provider, operation, model and tokens of every call" "$calls" "$(jq -s '[.[] | select(.provider == "ollama"
    and .operation == "chat" and .model_responded == "llama3.2" and .status_code == 200 and
    .reported.input_tokens == 26 and .reported.output_tokens == 4 and .server_port == 11434)] | length' "$tmp/calls")" ||
    head -n 1 "$tmp/calls"
same "streams are told apart" $((calls / 2)) "$(jq -s '[.[] | select(.streaming)] | length' "$tmp/calls")"
same "the address is what the client called the server" "127.0.0.1 localhost" \
    "$(jq -r .server_address "$tmp/calls" | sort -u | xargs)"

# --- octets --------------------------------------------------------------------------------------------
same_octets() { cmp -s "$tmp/out/$1" "$tmp/out/$2"; }
plain a 127.0.0.1 lectr-chat --exchange "$chat" --calls 3 >/dev/null
plain a 127.0.0.1 lectr-stream --exchange "$stream" >/dev/null
plain a 127.0.0.1 lectr-split --exchange "$stream" --split 5 >"$tmp/line"
calls=$((calls + 5))
for kind in chat stream; do
    check "$kind: the request's octets are the same" same_octets direct-$kind.sent lectr-$kind.sent
    check "$kind: the answer's octets are the same ($(stat -c %s "$tmp/out/direct-$kind.got"))" \
        same_octets direct-$kind.got lectr-$kind.got
done
same "a request in pieces is answered" 200 "$(jq -r .status "$tmp/line")"
wait_for 10 events_reach lectr.v1.call $calls
same "a kept-alive connection's calls, and one in pieces, are told" $calls "$(count_events lectr.v1.call)"

# --- what is no call -------------------------------------------------------------------------------------
plain a 127.0.0.1 other --text 'GET /health HTTP/1.1\r\nHost: localhost:11434\r\nConnection: close\r\n\r\n' >/dev/null
check "a request that is no operation of the provider passes" grep -q 'no_exchange' "$tmp/out/other.got"
lab sim @a POST /modes '{":11434": "echo"}' >/dev/null
plain a 127.0.0.1 echo --text 'PING\r\nnot HTTP at all\r\n' >/dev/null
check "what is no HTTP passes" same_octets echo.sent echo.got
plain a 127.0.0.1 half --text '\x00\x01\xff' --half-close >/dev/null
check "and is ended as the client ends it" same_octets half.sent half.got
lab sim @a POST /modes '{}' >/dev/null
refused=0
pod four -- curl -s -o /dev/null --max-time 5 http://127.0.0.1:11435/ || refused=$?
lab pod add empty
client empty www.example.com >/dev/null
pod empty -- curl -s -o /dev/null --max-time 5 http://localhost:11434/ || refused+=" $?"
same "where nobody listens the client is refused" "7 7" "$refused"
same "none of them is a call" $calls "$(count_events lectr.v1.call)"

row() {
    curl -s "$collector_url/api/v1/coverage" | jq -c --arg w "$1" '
        def mine: select(.workload | endswith($w));
        {seen: ([.workloads[] | mine | .seen] | add // 0), metered: ([.workloads[] | mine | .metered] | add // 0),
         gaps: ([.gaps[] | mine | {key: .reason, value: .connections}] | from_entries)}'
}
covered() { [ "$(row "$1")" = "$2" ]; }
want='{"seen":14,"metered":11,"gaps":{"not_http":2,"not_provider":1}}'
wait_for 20 covered a "$want"
same "coverage: seen, metered and why not" "$want" "$(row a)"
same "coverage: nobody listened, nothing was missed" '{"seen":0,"metered":0,"gaps":{}}' "$(row empty)"

# --- without the agent -------------------------------------------------------------------------------------
direct() {
    local line seen
    line=$(plain a "$1" dead --exchange "$chat")
    seen=$(seen_from "$2")
    same "$3: $1 is reached" 200 "$(jq -r .status <<<"$line")" || note "$line"
    same "$3: directly" "$(jq -r .local_port <<<"$line")" "${seen#* }"
}
kill -KILL "$helper_pid" "$(proxy_pid)"
wait_for 5 gone "$helper_pid"
direct 127.0.0.1 a "agent killed"
direct ::1 a "agent killed"
direct "$far4" inet "agent killed"
stack_start agent
again() {
    plain a 127.0.0.1 again --exchange "$chat" >"$tmp/line" &&
        [ "$(seen_from a | cut -d' ' -f2)" != "$(jq -r .local_port "$tmp/line")" ]
}
check "started again: captured again" wait_for 10 again
kill -STOP "$(proxy_pid)"
sleep 1
direct 127.0.0.1 a "proxy stopped"
