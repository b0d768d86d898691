#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What calls cost: every model of the table with made-up usage, and every recorded answer as the
# meter counts it, equal to the nano-dollar to the calculator that the table is from; what providers
# say it cost agrees with the table, or the difference is explained.
[ -z "${LECTR_RECORDINGS:-}" ] || export EXCHANGES=$LECTR_RECORDINGS
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin prices

module=$top/tests/harness/node_modules/@pydantic/genai-prices
[ -f "$module/package.json" ] || skip_all "no npm package @pydantic/genai-prices; make deps"

# compared FOLDER
compared() {
    (cd "$top" && node tests/harness/prices-compare.mjs --exchanges "$1" --module "$module" \
        --replay "$B/tests/harness/meter_replay" --probe "$B/tests/harness/price_probe") >"$tmp/compare" 2>&1
    local status=$?
    grep -E '^(# |not ok)' "$tmp/compare"
    [ "$status" = 0 ]
}

same "the table is of the package's version" \
    "\"genai-prices $(jq -r .version "$module/package.json")\"" "$(jq .version "$top/agent/prices.json")"
check "made-up and golden answers cost what the calculator says" compared tests/golden/exchanges
if [ "$exchanges" != "$top/tests/golden/exchanges" ]; then
    check "recorded answers cost what the calculator says" compared "$exchanges"
else
    skip "recorded answers: there are no recordings beside the tree"
fi

# The comparison can fail: with one price changed it does.
sed '0,/"input_mtok":"3"/s//"input_mtok":"3.000001"/' "$top/agent/prices.json" >"$tmp/prices.json"
wrong() {
    ! (cd "$top" && node tests/harness/prices-compare.mjs --module "$module" --prices "$tmp/prices.json" \
        --probe "$B/tests/harness/price_probe") >"$tmp/wrong" 2>&1 && grep -q '^not ok - anthropic/' "$tmp/wrong"
}
check "a price that is wrong by a millionth is found" wrong

checked() { "$B/lectr-agent" prices check "$top/agent/prices.json" >"$tmp/check"; }
check "lectr-agent prices check passes" checked
check "it says what is unpriced" grep -q unpriced "$tmp/check"
cp "$top/agent/prices-supplement.yaml" "$tmp/"
cp "$top/agent/prices.json" "$tmp/"
sed -i '0,/factor: "0.5"/s//factor: "half"/' "$tmp/prices-supplement.yaml"
refused() { ! "$B/lectr-agent" prices check "$tmp/prices.json" 2>"$tmp/refused" && grep -qE 'prices-supplement\.yaml:[0-9]+: rules\[0\]\.factor' "$tmp/refused"; }
check "a wrong supplement is refused with file, line and field" refused
