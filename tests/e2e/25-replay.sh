#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every exchange of the providers through the captured path, each event compared with
# its truth: whole, in random pieces, byte by byte, compressed, and with the simulator's header
# renamed, which nothing of Lectr may know. EXCHANGES=DIR adds a folder of recordings.
[ -z "${LECTR_RECORDINGS:-}" ] || export EXCHANGES=$LECTR_RECORDINGS
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin replay

# Those that speak TLS, at hosts of their own.
providers=openai,anthropic,groq,gemini,azure,bedrock,vertex,cohere,mistral,deepseek,xai,openrouter
providers+=,perplexity,together,fireworks,cerebras,huggingface,zai,alibaba,voyage,crusoe,heroku

# replayed WHAT WORDS...: one run; every exchange passes and none is skipped.
replayed() {
    local what=$1
    shift
    env -u LECTR_LAB_NAME -u LECTR_LAB_DIR -u LECTR_STACK_DIR \
        "$top/tests/harness/replay" "$@" --providers "$providers" \
        >"$tmp/replay.out" 2>&1
    local status=$? last
    last=$(tail -n 1 "$tmp/replay.out")
    if [ "$status" = 0 ] && [[ $last =~ ^[1-9][0-9]*\ passed,\ 0\ failed,\ 0\ skipped$ ]]; then
        ok "$what: $last"
    else
        not_ok "$what: $last"
        tail -n 20 "$tmp/replay.out" | sed 's/^/# /'
    fi
}

folders=("$top/tests/golden/exchanges")
[ "$exchanges" = "${folders[0]}" ] || folders+=("$exchanges")
for folder in "${folders[@]}"; do
    name=${folder##*/tests/}
    replayed "$name, whole" "EXCHANGES=$folder"
    replayed "$name, random pieces" "EXCHANGES=$folder" --split random
    replayed "$name, gzip, byte by byte" "EXCHANGES=$folder" --encoding gzip --split 1
    REPLAY_HEADER=x-some-other-name replayed "$name, header renamed" "EXCHANGES=$folder"
done
