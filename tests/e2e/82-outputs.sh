#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Alerts at the places where people are: a real Alertmanager (read back through its own API, and by
# what it sends on), a real Prometheus, webhooks that are signed, fail at first, refuse, hang or are
# not there; the collector is killed meanwhile. NATS has TLS and a password.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin outputs
synth=$B/tests/harness/synth
[ -x "$synth" ] || skip_all "$synth is not built"
for tool in prometheus prometheus-alertmanager promtool; do
    command -v "$tool" >/dev/null || skip_all "$tool is not installed"
done
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export LECTR_STACK_LAB=0
stack_init

read -r receivers_port am_port prometheus_port later_port < <(/usr/bin/python3 -c '
import socket
held = [socket.socket() for _ in range(4)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
am=http://127.0.0.1:$am_port
hooks=http://127.0.0.1:$receivers_port
got=$tmp/received
: >"$got"

# --- NATS with TLS and a password ---

export NATS_USER=e2e NATS_PASSWORD=n4ts-s3cret NATS_CA=$tmp/ca.pem
nats_url=tls://$NATS_USER:$NATS_PASSWORD@127.0.0.1:$NATS_PORT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=e2e-ca \
    -keyout "$tmp/ca.key" -out "$tmp/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 -keyout "$tmp/nats.key" \
    -out "$tmp/nats.csr" 2>/dev/null
openssl x509 -req -in "$tmp/nats.csr" -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" -CAcreateserial -days 2 \
    -extfile <(echo 'subjectAltName = IP:127.0.0.1, DNS:localhost') -out "$tmp/nats.pem" 2>/dev/null
cat >"$tmp/nats.conf" <<EOF
listen: 127.0.0.1:$NATS_PORT
jetstream { store_dir: "$tmp/jetstream" }
authorization { user: $NATS_USER, password: $NATS_PASSWORD }
tls { cert_file: "$tmp/nats.pem", key_file: "$tmp/nats.key" }
EOF
background nats nats-server -c "$tmp/nats.conf"
wait_for 20 events || { not_ok "nats-server with TLS does not answer"; exit 1; }

# --- receivers ---

echo hm4c-s3cret >"$tmp/hmac"
echo r0uting-k3y >"$tmp/routing"
echo "$hooks/slack/T0/SL4CK" >"$tmp/slack-url"
background receivers /usr/bin/python3 -B "$top/tests/e2e/tools/receivers.py" "$receivers_port" "$tmp/hmac" "$got"

start_alertmanager() {
    background alertmanager prometheus-alertmanager --config.file="$tmp/alertmanager.yml" \
        --storage.path="$tmp/am" --web.listen-address="127.0.0.1:$am_port" --cluster.listen-address=
    am_pid=$started
    wait_for 20 curl -sf "$am/-/ready"
}
cat >"$tmp/alertmanager.yml" <<EOF
route: {receiver: back, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: back
    webhook_configs: [{url: "$hooks/alertmanager", send_resolved: true}]
EOF
check "Alertmanager starts" start_alertmanager

cat >"$tmp/alerting.yaml" <<EOF
external_url: https://lectr.example/alerts
runbook_url: https://runbooks.example/lectr
receivers:
  - {name: am, type: alertmanager, url: "$am"}
  - {name: hook, type: webhook, url: "$hooks/hook", secret_file: "$tmp/hmac"}
  - {name: busy, type: webhook, url: "$hooks/busy"}
  - {name: chat, type: slack, url_file: "$tmp/slack-url"}
  - {name: pager, type: pagerduty, url: "$hooks/pagerduty", routing_key_file: "$tmp/routing"}
  - {name: refuses, type: webhook, url: "$hooks/refuse", send_updates: false, send_resolved: false}
  - {name: moved, type: webhook, url: "$hooks/moved", send_updates: false, send_resolved: false}
  - {name: hangs, type: webhook, url: "$hooks/hang", timeout_ms: 60000}
  - {name: away, type: webhook, url: "http://127.0.0.1:$later_port/later", max_attempts: 2,
     send_updates: false, send_resolved: false}
EOF
cat >"$collector_config" <<EOF
nats: {url: "$nats_url", ca_file: "$tmp/ca.pem"}
store: {path: "$tmp/stack/collector.db"}
http: {listen: "${collector_url#http://}", metrics_series: 2}
detect: {clock: event}
alerting: {file: "$tmp/alerting.yaml"}
EOF
check "check-config" eval "$B/lectr-collector check-config -c $collector_config >$log/check-config 2>&1"
stack_start collector

cat >"$tmp/prometheus.yml" <<EOF
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: lectr, static_configs: [{targets: ["${collector_url#http://}"]}]}
EOF
background prometheus prometheus --config.file="$tmp/prometheus.yml" --storage.tsdb.path="$tmp/tsdb" \
    --web.listen-address="127.0.0.1:$prometheus_port"

# --- a spike, and what everybody hears of it ---

# jq -e takes no input at all for a success.
some() { grep . >/dev/null; }
# bodies PATH [FILTER]: what was taken there, as JSON lines.
bodies() { jq -c --arg p "$1" "select(.path == \$p and .status < 300) | .body | ${2:-.}" "$got"; }
received() { curl -s "$collector_url/api/v1/status" | jq '.events_received'; }
stored() { [ "$(received)" -ge "$sent" ]; }
publish() {
    "$synth" --nats "$nats_url" --ca-file "$tmp/ca.pem" --unmarked "$@" >"$tmp/synth.out" 2>&1 ||
        not_ok "synth: $(tail -n 1 "$tmp/synth.out")"
    sent=$((${sent:-0} + $(awk '{ print $1 }' "$tmp/synth.out")))
    wait_for 120 stored || not_ok "the collector stored $(received) of $sent events"
}
am_alerts() { curl -s "$am/api/v2/alerts?filter=alertname%3D%22cost.spike%22&filter=feature%3D%22checkout%22"; }
am_has() { am_alerts | holds 'length > 0'; }
am_is_empty() { am_alerts | holds 'length == 0'; }

end=$(($(date +%s) / 60 * 60 - 3600))
publish --hours 27 --end "$end" --seed 1 --spike-minutes 15 --spike-factor 5 --spike-feature checkout
check "Alertmanager has the alert" wait_for 60 am_has || note "$(curl -s "$am/api/v2/alerts" | head -c 500)"
stack stop collector KILL
stack_start collector
hook_has() { bodies /hook ".data | select(.status == \"$1\" and .rule == \"cost.spike\" and .labels.feature == \"checkout\")" | some; }
check "the webhook that failed at first has it, after the collector was killed" wait_for 60 hook_has firing

first=$(bodies /hook 'select(.data.rule == "cost.spike" and .data.labels.feature == "checkout")' | head -n 1)
name() { jq -r "$1 // \"\"" <<<"$first"; }
fingerprint=$(name .data.fingerprint)
entry=$(am_alerts | jq -c '.[0] // {}')
same "labels at Alertmanager" "{\"alertname\":\"cost.spike\",\"feature\":\"checkout\",\"model\":\"$(name .data.labels.model)\",\"org\":\"default\",\"provider\":\"$(name .data.labels.provider)\",\"severity\":\"$(name .data.severity)\"}" \
    "$(jq -cS .labels <<<"$entry")"
events lectr.v1.alert >"$tmp/alerts"
check "annotations there are those of a transition on NATS" holds \
    'any(.[]; .fingerprint == $e.annotations.fingerprint and .reason == $e.annotations.description and
        (.observed - ($e.annotations.observed | tonumber) | fabs) <= 1e-12 * .observed and
        (.baseline - ($e.annotations.baseline | tonumber) | fabs) <= 1e-12 * .baseline)' -s --argjson e "$entry" <"$tmp/alerts"
same "links there" "https://lectr.example/alerts https://runbooks.example/lectr#cost-spike" \
    "$(jq -r '"\(.generatorURL) \(.annotations.runbook_url)"' <<<"$entry")"
same "its start is the episode's" "$(name .data.starts_at)" "$(jq -r '.startsAt | sub("\\.000Z"; "Z")' <<<"$entry")"
check "Alertmanager sends it on" wait_for 30 eval "bodies /alertmanager '.alerts[] | select(.status == \"firing\")' | some"

same "every request to the signed webhook was signed rightly" 0 "$(jq -c 'select(.path == "/hook" and .status == 401)' "$got" | wc -l)"
same "its type" "application/cloudevents+json; charset=utf-8" "$(jq -r 'select(.path == "/hook") | .headers["Content-Type"]' "$got" | sort -u)"
events lectr.v1.cloudevent >"$tmp/cloudevents"
check "the same CloudEvent is on NATS" holds 'any(.[]; del(.subject, .stream_seq) == ($f | del(.subject)))' \
    -s --argjson f "$first" <"$tmp/cloudevents"
same "CloudEvents on NATS, one for each alert" "$(jq -r .id "$tmp/alerts" | sort | paste -sd' ')" "$(jq -r .id "$tmp/cloudevents" | sort | paste -sd' ')"
check "Slack's shape" wait_for 30 eval 'jq -c "select(.path == \"/slack/T0/SL4CK\") | .body.blocks[0].text.text" "$got" | grep -q "firing.*cost.spike.*checkout"'
pages() { bodies /pagerduty "select(.dedup_key == \"$fingerprint\") | .event_action"; }
check "PagerDuty's shape, by its key" wait_for 30 eval 'bodies /pagerduty "select(.dedup_key == \"$fingerprint\" and .routing_key == \"r0uting-k3y\" and .event_action == \"trigger\") | .payload.severity" | grep -q warning'
check "who asked for a moment gets it in the end" wait_for 30 eval 'bodies /busy ".id" | some'

# --- who will not have it ---

metric() { curl -s "$collector_url/metrics" | awk -v n="$1" '$1 == n { print $2 }'; }
letters() { "$B/lectr-collector" dead-letters list -c "$collector_config" --format json; }
dead_of() { letters | jq -r "select(.receiver == \"$1\") | .reason" | sort -u; }
check "dead letters" wait_for 60 eval '[ -n "$(dead_of refuses)" ] && [ -n "$(dead_of moved)" ] && [ -n "$(dead_of away)" ]'
same "a refusal is not tried again" "status 400" "$(dead_of refuses)"
same "a redirect is not followed" "status 302" "$(dead_of moved)"
same "attempts at who is away" 2 "$(letters | jq -r 'select(.receiver == "away") | .attempts' | sort -u)"
check "counted" [ "$(metric 'lectr_collector_letters_dead{receiver="refuses",type="webhook"}')" -ge 1 ]
check "who hangs has letters waiting, and nobody waited for it" \
    [ "$(metric 'lectr_collector_letters_pending{receiver="hangs",type="webhook"}')" -ge 1 ]
background later /usr/bin/python3 -B "$top/tests/e2e/tools/receivers.py" "$later_port" "$tmp/hmac" "$tmp/later"
waiting=$(letters | jq -r 'select(.receiver == "away") | .alert' | sort)
sleep 1
"$B/lectr-collector" dead-letters retry away -c "$collector_config" >"$log/retry" 2>&1 || not_ok "$(cat "$log/retry")"
arrived() { [ "$(jq -r .body.id "$tmp/later" 2>/dev/null | sort)" = "$waiting" ]; }
check "tried again by hand they arrive" wait_for 30 arrived || note "$(cat "$log/retry")"

# --- Alertmanager forgets, and hears again ---

if [ -n "$FAST" ]; then
    skip "Alertmanager without its memory: takes a minute"
else
    kill -KILL "$am_pid"
    wait_for 5 gone "$am_pid"
    rm -rf "$tmp/am"
    check "Alertmanager starts again, without memory" start_alertmanager
    check "it has the alert again, which it was told before" wait_for 90 am_has
fi

# --- it is over ---

publish --hours 0.5 --end $((end + 1800)) --seed 2
check "the end arrives at the webhook" wait_for 60 hook_has resolved
check "Alertmanager has it no more" wait_for 60 am_is_empty
check "and sends the end on" wait_for 60 eval "bodies /alertmanager '.alerts[] | select(.status == \"resolved\" and .labels.feature == \"checkout\")' | some"
check "PagerDuty is told to resolve" wait_for 30 eval 'pages | tail -n 1 | grep -q resolve'
same "PagerDuty's order, of one incident" "trigger resolve" "$(pages | uniq | tr -d '"' | paste -sd' ')"
order=$(bodies /hook "select(.data.fingerprint == \"$fingerprint\") | .data.status" | uniq | tr -d '"' | paste -sd' ')
check "the webhook's order ($order)" eval '[[ $order =~ ^firing( updated)?\ resolved$ ]]'
# Sent again after the kill at most: the same id.
same "transitions at the webhook, each at least once" "$(events lectr.v1.alert | jq -r .id | sort -u | paste -sd' ')" "$(bodies /hook .id | tr -d '"' | sort -u | paste -sd' ')"

# --- the programs of proto/examples that listen for alerts ---

source "$top/tests/harness/subscribers-lib.sh"
subscribers_init
export NATS_URL=${nats_url/127.0.0.1/localhost} # Node wants a name in the certificate, not an address
# What is not over, by the transitions themselves.
events lectr.v1.alert | jq -sS '{
    transitions: ({firing: 0, updated: 0, resolved: 0} +
        (group_by(.status) | map({key: (.[0].status | sub("STATUS_"; "") | ascii_downcase), value: length}) | from_entries)),
    active: (group_by(.fingerprint) | map(max_by(.stream_seq) | select(.status != "STATUS_RESOLVED") |
        {key: .fingerprint, value: {rule, reason, observed: (.observed // 0), baseline: (.baseline // 0),
            scope: (.labels // [] | map({key: .name, value}) | from_entries)}}) | from_entries)}' >"$tmp/alerts-truth"
note "$(jq -c '.transitions, (.active | length)' "$tmp/alerts-truth" | paste -sd' ')"
check "something fired and was resolved" holds '.transitions | .firing > 0 and .resolved > 0' <"$tmp/alerts-truth"
for language in "${languages[@]}"; do
    subscriber "$language" alerts --once >"$tmp/$language-alerts" || not_ok "$language: alerts ended with $?"
    # Numbers in clear are decimal, and one program's 0.1 is another's 0.10000000000000001.
    same "$language: the episodes that are not over, and all transitions" "$(jq -cS . "$tmp/alerts-truth")" \
        "$(jq -cS . "$tmp/$language-alerts")"
    same "$language: of another organisation there are none" '{"firing":0,"resolved":0,"updated":0}' \
        "$(subscriber "$language" alerts --once globex | jq -cS .transitions)"
done

# --- Prometheus ---

ask_prometheus() { curl -s "http://127.0.0.1:$prometheus_port/api/v1/query" --data-urlencode "query=$1" | jq -r '.data.result[0].value[1] // "nothing"'; }
prometheus_knows() { [ "$(ask_prometheus "$1")" = "$2" ]; }
check "Prometheus counts every call ($sent)" wait_for 30 prometheus_knows 'sum(lectr_calls_total)' "$sent" ||
    note "it says $(ask_prometheus 'sum(lectr_calls_total)')"
check "series beyond the limit are one" prometheus_knows 'count(lectr_calls_total)' 3
check "and it is visible" prometheus_knows 'lectr_collector_metrics_series_shown' 2
check "letters that arrived are counted" eval '[ "$(ask_prometheus "lectr_collector_delivered_total{receiver=\"hook\"}")" -ge 1 ]'
curl -s "$collector_url/metrics" | promtool check metrics >"$log/promtool" 2>&1
same "promtool has nothing to say" "0 " "$? $(cat "$log/promtool")"

# --- what must be told nowhere ---

for secret in "$NATS_PASSWORD" hm4c-s3cret r0uting-k3y SL4CK; do
    ! grep -rqF "$secret" "$tmp/stack/log" "$tmp"/stack/collector.db* || not_ok "$secret is in the logs or the store"
done
ok "no secret in the logs or the store"
