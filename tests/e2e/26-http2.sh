#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# HTTP/2 through the captured path: every exchange with a TLS host as a stream of one connection per
# host, many at a time, each event compared with its truth; 500 streams of one connection at once;
# and the octets of both directions as they were written. EXCHANGES=DIR adds a folder of recordings.
[ -z "${LECTR_RECORDINGS:-}" ] || export EXCHANGES=$LECTR_RECORDINGS
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin http2

# replayed AT_LEAST WHAT WORDS...: one run; every exchange passes, and so many do.
replayed() {
    local least=$1 what=$2
    shift 2
    env -u LECTR_LAB_NAME -u LECTR_LAB_DIR -u LECTR_STACK_DIR \
        "$top/tests/harness/replay" --http2 "$@" >"$tmp/replay.out" 2>&1
    local status=$? last
    last=$(tail -n 1 "$tmp/replay.out")
    if [ "$status" = 0 ] && [[ $last =~ ^([1-9][0-9]*)\ passed,\ 0\ failed, ]] && [ "${BASH_REMATCH[1]}" -ge "$least" ]; then
        ok "$what: $last"
    else
        not_ok "$what: $last"
        tail -n 20 "$tmp/replay.out" | sed 's/^/# /'
    fi
}

golden=$top/tests/golden/exchanges
folders=("$golden")
[ "$exchanges" = "$golden" ] || folders+=("$exchanges")
for folder in "${folders[@]}"; do
    name=${folder##*/tests/}
    replayed 1 "$name, whole" "EXCHANGES=$folder"
    replayed 1 "$name, random pieces, small frames" "EXCHANGES=$folder" --split random
    [ -n "${FAST:-}" ] || replayed 1 "$name, gzip" "EXCHANGES=$folder" --encoding gzip
done

# --- 500 at a time -------------------------------------------------------------------------------
# The simulator waits before each answer, so that all are open before the first one comes.
ids=$(cd "$golden" && jq -r 'select(.request.host == "api.openai.com" and .request.scheme == "https") | .id' openai/*.json)
count=$(wc -l <<<"$ids")
repeat=$(((500 + count - 1) / count))
replayed 500 "500 streams of one connection, $count shapes" "EXCHANGES=$golden" --ids "${ids//$'\n'/,}" \
    --concurrent 500 --repeat $repeat --sim latency-ms=4000

# --- octets ---------------------------------------------------------------------------------------
exchanges=$golden # whose hosts the lab then knows
lab_up
lab pod add a
stack_init
stack_start nats agent
mkdir -p "$tmp/client"
tr ' ' '\n' <<<"$(jq -r 'select(.request.scheme == "https" and .provider != "none") | .id' "$golden"/*/*.json)" >"$tmp/ids"
lab sim POST /record "{\"dir\": \"$tmp/sim\"}" >/dev/null
pod a -- "$top/tests/harness/clients/replay-client" "$golden" --list "$tmp/ids" --http2 --record "$tmp/client" \
    --split 5 >"$tmp/lines" 2>"$log/client"
sleep 0.5
lab sim POST /record '{"dir": ""}' >/dev/null
same "every exchange was answered" "$(wc -l <"$tmp/ids")" "$(jq -s 'map(select(.status > 0)) | length' "$tmp/lines")"
check "by way of Lectr" jq -es 'all(.[]; .certificate_issuer | test("Lectr"))' "$tmp/lines"
# The client leaves after the last answer's end; a GOAWAY (type 7) may still have been on its way.
received() { # CLIENT'S SERVER'S
    local have
    have=$(stat -c %s "$1")
    cmp -n "$have" "$1" "$2" || return 1
    [ "$(stat -c %s "$2")" = "$have" ] || [ "$(od -An -t u1 -j $((have + 3)) -N 1 "$2" | tr -d ' ')" = 7 ]
}
digit='[0-9]'
number=$digit$digit$digit$digit$digit$digit
hosts=0
for sent in "$tmp"/client/*.sent; do
    host=$(basename "$sent" .sent)
    hosts=$((hosts + 1))
    check "$host: what the client sent arrived, octet by octet" cmp "$sent" "$tmp"/sim/$number-"$host".req
    check "$host: what the server sent arrived, octet by octet" received "$tmp/client/$host.received" "$tmp"/sim/$number-"$host".res
done
check "several hosts were asked" [ $hosts -ge 3 ]
