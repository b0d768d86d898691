#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files, words and peers that mean ill: settings, an API that lies to lectrctl.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin hostile
export LECTR_STACK_LAB=0
stack_init

# --- settings --------------------------------------------------------------------------------------

"$B/lectr-collector" check-config "$tmp/nothing.yaml" -c "$collector_config" >"$tmp/out" 2>&1
same "check-config does not call a file good that it did not read" 2 $?

# --- lectrctl: no answer may act on the terminal, and none hangs it or ends it badly -----------

background api /usr/bin/python3 -B "$top/tests/e2e/tools/hostile_api.py" "$tmp/api-port"
wait_for 20 test -s "$tmp/api-port" || not_ok "the lying API did not start"
api=http://127.0.0.1:$(cat "$tmp/api-port")

ctl() { timeout 60 "$B/lectrctl" "$@" >"$tmp/out" 2>"$tmp/err"; }
acts_on_terminal() { cat "$tmp/out" "$tmp/err" | LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]'; }

for lie in evil error text raw wide kinds list; do
    bad=
    for words in "top --once" report alerts coverage \
        "top --once --format json" "report --format json" "alerts --format json" "coverage --format json"; do
        # shellcheck disable=SC2086
        ctl $words --collector "$api/$lie"
        [ $? -le 1 ] || bad+=" '$words' ended with a signal;"
        acts_on_terminal && bad+=" '$words' acts on the terminal;"
        [ "$(head -c 100000000 "$tmp/out" | wc -c)" -lt 30000000 ] || bad+=" '$words' prints without end;"
    done
    same "lectrctl and an API that answers '$lie'" "" "$bad"
done
ctl top --once --collector "$api/evil"
check "the name is still told" grep -q '\[2J?\]0;owned' "$tmp/out"
ctl top --once --collector "$api/endless"
check "an answer without end is told as that" grep -q 'longer than 64 MiB' "$tmp/err"
ctl top --once --collector "$api/error"
check "the API's own words are told" grep -q 'answered 400: .*owned' "$tmp/err"
ctl report --window '1h&by=minute' --collector "$api/evil"
same "a window that is none is refused before anybody is asked" 2 $?
ctl alerts --limit -1 --collector "$api/evil"
same "and so is a limit that is none" 2 $?
ctl top --once --collector http://127.0.0.1:1
same "an absent API is exit 1" 1 $?
