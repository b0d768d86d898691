#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The four SDKs, plain and streaming, unmodified, on Node 24; python3-httpx, python3-requests and
# curl: each call gives one event that agrees with what the client library printed.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin sdks

lab_up
stack_init
stack_start nats agent
lab pod add a
clients=$top/tests/harness/clients
note "node $("$node_bin" --version)"

# Calls that were made: name, what the client printed, what the event must say besides.
names=() lines=() expects=()

# run NAME EXPECT CMD...
run() {
    local name=$1 expect=$2 line
    shift 2
    line=$(pod a LECTR_FEATURE="$name" -- "$@" 2>>"$log/clients" | tail -n 1)
    if [ "$(jq -r '.ok' <<<"$line" 2>/dev/null)" != true ]; then
        not_ok "$name: the call itself failed: ${line:0:300}"
        return
    fi
    names+=("$name") lines+=("$line") expects+=("$expect")
}

expect() { # provider streaming http_version
    printf '{"provider": "%s", "streaming": %s, "status_code": 200, "outcome": "OUTCOME_OK", "http_version": "1.1", "operation": "chat"}' "$1" "$2"
}

for sdk in openai anthropic groq google; do
    provider=$sdk
    [ $sdk != google ] || provider=gemini
    run "sdk-$sdk-plain" "$(expect $provider false)" "$node_bin" "$clients/sdk-$sdk.mjs"
    run "sdk-$sdk-stream" "$(expect $provider true)" "$node_bin" "$clients/sdk-$sdk.mjs" --stream
done
run sdk-openai-responses-plain "$(expect openai false)" "$node_bin" "$clients/sdk-openai.mjs" --api responses
run sdk-openai-responses-stream "$(expect openai true)" "$node_bin" "$clients/sdk-openai.mjs" --api responses --stream

for client in httpx requests aiohttp; do
    if ! /usr/bin/python3 -c "import $client" 2>/dev/null; then
        skip "python3-$client is not installed"
        continue
    fi
    for host in api.openai.com:openai api.anthropic.com:anthropic generativelanguage.googleapis.com:gemini; do
        provider=${host#*:}
        run "$client-$provider-plain" "$(expect "$provider" false)" /usr/bin/python3 -B "$clients/py-$client" --host "${host%:*}"
        run "$client-$provider-stream" "$(expect "$provider" true)" /usr/bin/python3 -B "$clients/py-$client" --host "${host%:*}" --stream
    done
done
run curl-openai "$(expect openai false)" "$clients/curl-client" --http1.1 api.openai.com
run curl-compressed "$(expect openai false)" "$clients/curl-client" --http1.1 api.openai.com --compressed

wait_for 15 events_reach lectr.v1.call ${#names[@]}
sleep 1
events lectr.v1.call >"$tmp/events"
for i in "${!names[@]}"; do
    case ${names[i]} in
    curl-*) # prints no usage: the event's own is taken, everything else compared
        usage=$(jq -s --arg f "${names[i]}" '[.[] | select(.feature.value == $f)][0].usage_reported // false' "$tmp/events")
        lines[i]=$(jq -c --argjson u "$usage" '{usage: (if $u then {prompt_tokens: null} else null end)}' <<<"${lines[i]}")
        ;;
    esac
    if ! tool sdk_check.py "${names[i]}" "${lines[i]}" "$tmp/events" "${expects[i]}" >"$tmp/said"; then
        e2e_failed=$((e2e_failed + 1))
    fi
    cat "$tmp/said"
done
same "events" ${#names[@]} "$(grep -c . "$tmp/events")"
# What the SDKs say about themselves is metadata worth having.
note "sdk: $(jq -r '.sdk // "none"' "$tmp/events" | sort | uniq -c | tr -s ' ' | tr '\n' ',')"
