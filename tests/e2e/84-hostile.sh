#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files, words and peers that mean ill: settings, an API that lies to lectrctl, queries that mean
# nothing, clients that are slow for ever.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin hostile
export LECTR_STACK_LAB=0
stack_init

# --- settings --------------------------------------------------------------------------------------

"$B/lectr-collector" check-config "$tmp/nothing.yaml" -c "$collector_config" >"$tmp/out" 2>&1
same "check-config does not call a file good that it did not read" 2 $?

# --- silences and feedback by word ---------------------------------------------------------------

# bad WORDS...: refused with exit 2 and a reason, before anything is written.
bad() {
    local status
    "$B/lectr-collector" "$@" -c "$collector_config" >"$tmp/out" 2>"$tmp/err"
    status=$?
    same "$(printf '%.60q ' "$@" | tr -d '\n')" "2 0" "$status $(wc -c <"$tmp/out")"
    [ -s "$tmp/err" ] || not_ok "and says nothing"
    LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$tmp/err" && not_ok "and acts on the terminal"
}
bad silence add --match $'feature=x\e[2J' --for 2h
bad silence add --match $'feature=\xff\xfe' --for 2h
bad silence add --match "feature=$(head -c 5000 /dev/zero | tr '\0' x)" --for 2h
bad silence add --match feature=a --match feature=b --for 2h
bad silence add --match severity=crit --for 2h
bad silence add --match feature=a --for 2h --comment $'a\nb'
bad silence add --match feature= --for 2h
bad silence add --match feature=a --for 2h --until 2030-01-01T00:00:00Z
bad silence add --match feature=a --from 2030-01-01T00:00:00Z --until 2029-01-01T00:00:00Z
bad silence add --match feature=a --for 99999999999d
bad silence remove ''
bad feedback '' true
bad feedback nobody maybe
same "no silence was written" "" "$("$B/lectr-collector" silence list -c "$collector_config")"

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

# --- the collector's own API ------------------------------------------------------------------------

cat >"$tmp/alerting.yaml" <<'YAML'
receivers:
- {name: "quote\" back\\slash\nline \u009b é", type: webhook, url: "http://127.0.0.1:1/"}
- {name: "\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d\u540d\u524d", type: slack, url: "http://127.0.0.1:1/"}
YAML
printf 'alerting:\n  file: %s\n' "$tmp/alerting.yaml" >>"$collector_config"
stack_start nats collector

# refused STATUS PARAMETER QUERY: in JSON that names the parameter.
refused() {
    local got
    got=$(curl -s -g -o "$tmp/out" -w '%{http_code} %{content_type}' "$collector_url$3")
    same "$(cut -c1-80 <<<"$3")" "$1 application/json $2" "$got $(jq -r '.parameter // "-"' "$tmp/out")" || note "$(head -c 300 "$tmp/out")"
}
refused 400 window '/api/v1/top?window=15m%00junk'
refused 400 window '/api/v1/top?window=%2015m'
refused 400 window '/api/v1/top?window=-1m'
refused 400 window '/api/v1/top?window=99999999999999999999w'
refused 400 window '/api/v1/top?window=3661d'
refused 400 window '/api/v1/top?window=1m&window=2m'
refused 400 window "/api/v1/top?window=$(head -c 20000 /dev/zero | tr '\0' a)"
refused 400 windw '/api/v1/top?windw=7d'
refused 400 window '/api/v1/report?by=minute&window=60d'
refused 400 by '/api/v1/report?by=day%00'
refused 400 to '/api/v1/top?to=1e9'
refused 400 limit '/api/v1/alerts?limit=-1'
refused 400 limit '/api/v1/calls?limit=10001'
refused 400 active '/api/v1/alerts?active=yes'
refused 400 - "/api/v1/top?$(printf 'a%d=1&' {1..20})"
refused 404 - '/api/v2'
same "POST" "405 application/json" "$(curl -s -o /dev/null -w '%{http_code} %{content_type}' -d x "$collector_url/api/v1/top")"
same "HEAD has no body" 200 "$(curl -s -I -o /dev/null -w '%{http_code}' "$collector_url/api/v1/top")"
same "metrics are scraped whatever is added" 200 "$(curl -s -o /dev/null -w '%{http_code}' "$collector_url/metrics?a=1&a=2")"

# Slow clients hold all places, and more of them come; a probe is heard nevertheless.
background slow /usr/bin/python3 -B "$top/tests/e2e/tools/slow_clients.py" "${collector_url##*:}" 100
wait_for 30 grep -q 100 "$log/slow" || not_ok "the slow clients are not there"
for path in /healthz /metrics /api/v1/status; do
    same "$path while 100 slow clients hang on" 200 "$(curl -s -m 10 -o /dev/null -w '%{http_code}' "$collector_url$path")"
done

kill "$started"

# --- names in /metrics ---------------------------------------------------------------------------

# Quotes, ends of lines, what is no UTF-8 when it is cut, nothing at all; and the longest of each.
/usr/bin/python3 -B - >"$tmp/names" <<'PY'
import json, time
names = ['"', '\\', 'a\nb', 'a" 1\n# TYPE x counter', '\x1b[2J\u009b', 'é' * 200, '"' * 400, '"' * 95, '"' * 94,
         'x' * 94 + 'é', '', ' ', '{}', 'a,b="c"', '\U0001f600' * 60, '(other)', 'a\rb', '\u2028', '\ufeff', '\ufffe']
now = time.time()
for i, name in enumerate(names):
    print(json.dumps({"seq": i + 1, "at": now, "org": "e2e", "provider": name[:8] or "p", "model_requested": name,
                      "feature": {"value": name}, "outcome": "OUTCOME_OK", "status_code": 200}))
print(json.dumps({"seq": len(names) + 1, "at": now, "org": '"\\\n' * 5, "provider": "p", "outcome": "OUTCOME_OK"}))
PY
tool tell.py "$NATS_PORT" <"$tmp/names" >/dev/null || not_ok "tell.py failed"
count=$(wc -l <"$tmp/names")
told() { [ "$(curl -s "$collector_url/api/v1/status" | jq .events_received)" = "$count" ]; }
wait_for 20 told || not_ok "the collector has $(curl -s "$collector_url/api/v1/status" | jq -c '[.events_received, .malformed]') of $count"
curl -s "$collector_url/metrics" >"$tmp/metrics"
if command -v promtool >/dev/null; then
    promtool check metrics <"$tmp/metrics" >"$tmp/out" 2>&1
    same "promtool on /metrics with such names" 0 $? || note "$(head -n 5 "$tmp/out")"
else
    skip "promtool is not installed"
fi
same "series that are told twice" 0 "$(grep -v '^#' "$tmp/metrics" | sed 's/ [^ ]*$//' | sort | uniq -d | wc -l)"
check "all calls are in them" [ "$(awk '/^lectr_calls_total/ { n += $NF } END { print n }' "$tmp/metrics")" = "$count" ]
for path in top report coverage calls alerts; do
    check "$path with such names is JSON" holds 'type == "object"' < <(curl -s "$collector_url/api/v1/$path?window=1h")
done
same "the rows of top have all of them" "$count" "$(curl -s "$collector_url/api/v1/top?window=1h" | jq '[.rows[].calls] | add')"

# --- the default file of rules comes late, and goes ------------------------------------------------

# /etc of its own, in a mount namespace.
cp -a /etc "$tmp/etc" 2>/dev/null
mkdir -p "$tmp/etc/lectr"
rm -f "$tmp"/etc/lectr/*
read -r -a ports < <(LECTR_STACK_DIR=$tmp/other LECTR_STACK_PORTS='' stack init >/dev/null 2>&1 && cat "$tmp/other/ports")
cat >"$tmp/etc/late.yaml" <<YAML
nats: {url: "nats://127.0.0.1:1"}
store: {path: "$tmp/late.db"}
http: {listen: "127.0.0.1:${ports[2]}"}
YAML
# shellcheck disable=SC2016
background late unshare -m bash -c 'mount --bind "$1/etc" /etc && exec "$2" serve -c /etc/late.yaml' - "$tmp" "$B/lectr-collector"
late() { curl -s "http://127.0.0.1:${ports[2]}/metrics" | awk -v name="lectr_collector_$1" '$1 ~ name { print $2 }'; }
is_late() { [ "$(late "$1")" = "$2" ]; }
wait_for 20 is_late 'alerting_rules$' 0 || not_ok "the collector without a file of rules does not start"
printf 'rules: [{name: a, kind: unpriced}]\nreceivers: [{name: hook, type: webhook, url: "http://127.0.0.1:1/"}]\n' >"$tmp/etc/lectr/alerting.yaml"
check "a file that comes later is taken" wait_for 20 is_late 'alerting_rules$' 1
check "and its receivers as well" wait_for 20 is_late 'letters_pending.*hook' 0
rm "$tmp/etc/lectr/alerting.yaml"
check "that it is gone is counted as a failure" wait_for 20 is_late alerting_reload_failures_total 1
same "and the rules stay" 1 "$(late 'alerting_rules$')"
