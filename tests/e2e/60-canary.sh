#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Strings in prompts, completions, API keys (header and ?key=) and the caller's environment are in no
# event, log, spool or SQLite file, nor in core images of helper and proxy taken while idle
# afterwards; under load only those of live connections are in memory. The same strings are looked
# for in base64 and hexadecimal.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin canary
command -v gcore >/dev/null || skip_all "gcore (gdb) is not installed"

new_word() { echo "$1$(openssl rand -hex 10)"; }
completion=$(new_word CanaryCompletion)
prompt=$(new_word CanaryPrompt)
key=$(new_word CanaryKey)
query=$(new_word CanaryQuery)
environment=$(new_word CanaryEnvironment)
org_key=$(new_word CanaryOrgKey)
header=$(new_word CanaryHeader)
noise=$(new_word CanaryNoise)
live=$(new_word CanaryLive)
long=$(new_word CanaryLong)
feature=$(new_word Feature) # metadata: this one is allowed to be anywhere

exchanges=$tmp/exchanges
tool canaries.py exchanges "$exchanges" "$completion" "$long"
lab_up
stack_init
cat >>"$agent_config" <<EOF
org_keys:
  - org: canary-org
    sha256: $(printf %s "$org_key" | sha256sum | cut -d' ' -f1)
EOF
stack_start nats agent collector
lab pod add a
words=$tmp/words
printf '%s\n' "completion $completion" "prompt $prompt" "key $key" "query $query" \
    "environment $environment" "org-key $org_key" "header $header" "noise $noise" >"$words"

call() {
    pod a SECRET="$environment" LECTR_ORG_KEY="$org_key" OPENAI_API_KEY="$environment" -- \
        /usr/bin/python3 -B "$top/tests/e2e/tools/client.py" "$@" --prompt "$prompt" \
        --header "x-secret: $header" >>"$tmp/rows" 2>>"$log/client"
}

# Everything that a connection can do: plain, streamed, compressed, broken off on either side,
# refused, nonsense.
hosts=(api.openai.com api.anthropic.com api.groq.com generativelanguage.googleapis.com)
for host in "${hosts[@]}"; do
    for encoding in identity gzip br deflate zstd; do
        for stream in "" --stream; do
            call "$host" $stream --keep-alive --calls 2 --header "Authorization: Bearer $key" \
                --header "x-api-key: $key" --header "x-goog-api-key: $key" \
                --header "x-sim-encoding: $encoding" --header "x-sim-split: random:3"
        done
    done
    call "$host" --stream --header "Authorization: Bearer $key" --header 'x-sim-cut-body: 300'
    call "$host" --stream --header "Authorization: Bearer $key" --header 'x-sim-cut-wire: 500' --header 'x-sim-end: reset'
    call "$host" --header 'x-sim-status: 500'
    call "$host" --stream --header 'x-sim-event-ms: 300' --timeout 0.5 # the client leaves
done
call generativelanguage.googleapis.com --path "/v1beta/models/gemini-2.5-flash:generateContent?key=$query"
call generativelanguage.googleapis.com --stream --path "/v1beta/models/gemini-2.5-flash:streamGenerateContent?key=$query&alt=sse"
call api.openai.com --path /v1/embeddings --header "x-replay-id: canary-8" # an error that repeats the prompt
call api.openai.com --path "/v1/unknown/$noise"
nonsense=("GET / $noise\r\n\r\n" "$noise" "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 60\r\n\r\n{\"model\":\"$noise" "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n$noise")
for bytes in "${nonsense[@]}"; do
    printf '%b' "$bytes" | pod a -- timeout 3 openssl s_client -quiet -connect api.openai.com:443 \
        -servername api.openai.com -CAfile "$trust" >>"$log/s_client" 2>&1
done

cores() { # label: core images of both processes
    local what pid
    for what in helper proxy; do
        [ $what = helper ] && pid=$helper_pid || pid=$(proxy_pid)
        gcore -a -o "$tmp/core.$1.$what" "$pid" >>"$log/gcore" 2>&1 || not_ok "$1: no core of the $what"
    done
}

# clean WHAT FILE...: none of the words in any of the files.
clean() {
    local what=$1 found
    shift
    if [ $# = 0 ]; then
        not_ok "$what: nothing to search"
    elif found=$(tool canaries.py scan "$words" "$@"); then
        ok "$what: no canary ($# files, $(du -cb "$@" | tail -n 1 | cut -f1) bytes)"
    else
        not_ok "$what: canaries found"
        head -n 20 <<<"$found" | cut -c1-300 | sed 's/^/# /'
    fi
}

# The search itself must be able to find.
printf 'x%sx' "$(printf 'ab%sc' "$prompt" | base64 -w0)" >"$tmp/positive"
check "the search finds a word in base64" eval '! tool canaries.py scan "$words" "$tmp/positive" >/dev/null'
check "the search finds a word in plain" eval '! tool canaries.py scan "$words" "$tmp/rows" "$words" >/dev/null'
finished=$(jq -s '[.[] | select(.ok and .captured)] | length' "$tmp/rows")
check "calls went through Lectr ($finished)" [ "$finished" -ge 80 ]

# Under load: streams of living connections, and answers that their clients do not read; their words
# are others.
live_pids=""
for _ in 1 2 3 4 5; do
    client a api.openai.com --stream \
        --prompt "$live" --header "x-sim-event-ms: 2500" >>"$tmp/live.rows" 2>>"$log/client" &
    e2e_pids+=($!)
    live_pids+=" $!"
done
for _ in 1 2 3; do
    pod a LECTR_FEATURE="$feature" -- /usr/bin/python3 -B "$top/tests/e2e/tools/client.py" api.openai.com \
        --path /v1/completions --prompt "$live" --header 'x-replay-id: canary-9' --stall-file "$tmp/read" \
        >>"$tmp/live.rows" 2>>"$log/client" &
    e2e_pids+=($!)
    live_pids+=" $!"
done
sleep 3
# The completion is part of what the living streams carry now; everything else is of finished calls.
grep -v '^completion' "$words" >"$tmp/words.finished"
cores load
all_words=$words
words=$tmp/words.finished
clean "core images under load: words of finished calls" "$tmp"/core.load.*
words=$all_words
printf 'live %s\ncompletion %s\nlong %s\n' "$live" "$completion" "$long" >"$tmp/words.live"
tool canaries.py scan "$tmp/words.live" "$tmp"/core.load.* >"$tmp/said"
note "in memory of live connections: $(grep -oE 'core.load.[a-z]*[.0-9]*: [a-z]* \([a-z0-9]*\) [0-9]* times' "$tmp/said" |
    sed 's/core.load.//' | tr '\n' ';')"
check "an answer that waits for its client is found in memory" grep -q 'long (plain)' "$tmp/said"
echo "feature $feature" >"$tmp/words.feature"
check "metadata is found in memory" eval '! tool canaries.py scan "$tmp/words.feature" "$tmp"/core.load.* >/dev/null'
rm -f "$tmp"/core.load.*
touch "$tmp/read"
# shellcheck disable=SC2086 # a list of pids
wait $live_pids
same "the stalled and the streaming calls finished" 8 "$(jq -s '[.[] | select(.ok and .captured)] | length' "$tmp/live.rows")"
printf 'live %s\nlong %s\n' "$live" "$long" >>"$words"

# Idle.
wait_for 20 events_reach lectr.v1.call "$finished"
sleep 3
cores idle
clean "core images while idle" "$tmp"/core.idle.*
rm -f "$tmp"/core.idle.*
gcore -a -o "$tmp/core.collector" "$collector_pid" >>"$log/gcore" 2>&1
clean "core image of the collector" "$tmp"/core.collector*
rm -f "$tmp"/core.collector*
events lectr.v1 >"$tmp/events.json"
tool events.py lectr.v1 --raw >"$tmp/events.raw"
clean "events" "$tmp/events.json" "$tmp/events.raw"
mapfile -t files < <(find "$tmp/stack/nats" -type f)
clean "JetStream's files" "${files[@]}"
mapfile -t files < <(find "$tmp/stack/state" "$tmp/stack/run" -type f)
clean "spool and state of the agent" "${files[@]}"
mapfile -t files < <(find "$tmp/stack" -maxdepth 1 -name 'collector.db*')
clean "SQLite files" "${files[@]}"
clean "logs" "$tmp"/stack/log/*.log
curl -s "$agent_url/metrics" >"$tmp/metrics.agent"
curl -s "$collector_url/metrics" >"$tmp/metrics.collector"
clean "metrics" "$tmp/metrics.agent" "$tmp/metrics.collector"
check "the organisation was recognised by its key" grep -q '"org": "canary-org"' "$tmp/events.json"
