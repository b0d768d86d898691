#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The file of rules at work: a new model, a budget, a burning error budget, a silence, a person's
# word on an alert; a broken file leaves the old rules, a good one is taken without a restart, and a
# collector that is killed goes on where it was. Calls are made up, the collector takes event time.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin rules
export LECTR_STACK_LAB=0
stack_init
rules=$tmp/alerting.yaml
printf 'detect:\n  clock: event\n  enabled: false\nalerting:\n  file: %s\n' "$rules" >>"$collector_config"
cat >"$rules" <<'YAML'
rules:
- {name: new-model, kind: first_seen, dimension: model, warmup_h: 1}
- {name: daily, kind: budget, usd: 10, period: day, match: {feature: chat}}
- name: errors-slo
  kind: burn_rate
  objective: 99
  by: [feature]
  windows: [{long_min: 60, short_min: 5, burn: 10}]
YAML

# Yesterday from 08:00 UTC on, so that no day ends within.
begin=$(($(date +%s) / 86400 * 86400 - 86400 + 8 * 3600))
seq=0

# calls FROM TO EACH FIELDS: EACH calls in every minute FROM..TO-1, with further fields as jq has them.
calls() {
    jq -nc --argjson from "$1" --argjson to "$2" --argjson each "$3" --argjson begin "$begin" --argjson seq "$seq" '
        range($from; $to) as $m | range($each) as $i | {
            at: ($begin + $m * 60 + $i * 60 / $each), org: "e2e", provider: "openai", operation: "chat",
            seq: ($seq + ($m - $from) * $each + $i + 1), outcome: "OUTCOME_OK", status_code: 200,
            model_requested: "gpt-4o", feature: {value: "chat"},
            cost: {low_nanousd: "1000000", expected_nanousd: "1000000", high_nanousd: "1000000", basis: "table"}
        } + '"${4:-{\}}"
    seq=$((seq + ($2 - $1) * $3))
}
publish() { tool tell.py "$NATS_PORT" >/dev/null; }
dear='{cost: {low_nanousd: "900000000", expected_nanousd: "900000000", high_nanousd: "900000000", basis: "table"}}'
failed='{outcome: "OUTCOME_PROVIDER_ERROR", error_type: "server_error", status_code: 500}'

status() { curl -s "$collector_url/api/v1/status" | jq ".$1"; }
stored() { [ "$(status events_received)" -ge "$seq" ]; }
metric() { curl -s "$collector_url/metrics" | awk -v name="lectr_collector_$1" '$1 == name { print $2 }'; }
is_metric() { [ "$(metric "$1")" = "$2" ]; }
alerts() { events lectr.v1.alert | jq -s "$1"; }
fired() { [ "$(alerts "map(select(.rule == \"$1\")) | length")" -ge "${2:-1}" ]; }
collector() { "$B/lectr-collector" "$@" -c "$collector_config"; }

same "check-config takes both files" ok "$(collector check-config 2>&1)"
sed 's/usd: 10/usd: -1/' "$rules" >"$tmp/bad.yaml"
sed "s,$rules,$tmp/bad.yaml," "$collector_config" >"$tmp/bad-config.yaml"
check "check-config names file, line and field of a bad rule" \
    grep -q "bad.yaml:3: rules\[1\].usd: " <("$B/lectr-collector" check-config -c "$tmp/bad-config.yaml" 2>&1)

stack_start nats collector
silence=$(collector silence add --match feature=batch --from "$(date -u -d "@$begin" +%FT%TZ)" \
    --until "$(date -u -d "@$((begin + 86400))" +%FT%TZ)" --comment migration)
check "a silence has an id ($silence)" [ -n "$silence" ]
check "the silence is listed" grep -q "^$silence .* feature=batch # migration" \
    <(sqlite3 "$tmp"/stack/collector.db "SELECT id || ' feature=' || feature || ' # ' || comment FROM silence" | sed 's/ /  /')
sleep 1.5 # silences are looked for every second

# Three quiet hours, then all of it at once.
{
    calls 0 180 5
    calls 60 180 2 '{feature: {value: "search"}, model_requested: "gpt-4o-mini"}'
    calls 180 240 5
    calls 180 181 1 '{model_requested: "gpt-9", feature: {value: "chat"}}'
    calls 180 220 4 "$failed + {feature: {value: \"search\"}}"
    calls 180 220 4 "$failed + {feature: {value: \"batch\"}}"
    calls 215 216 6 "$dear"
    calls 220 221 6 "$dear"
    calls 240 250 5
} | publish || not_ok "the calls were not published"
wait_for 60 stored || not_ok "the collector stored $(status events_received) of $seq events"
wait_for 60 fired cost.budget 2 || note "no budget alert"

new=$(alerts 'map(select(.rule == "model.first_seen" and .status == "STATUS_FIRING"))')
same "alerts on new models: gpt-4o-mini came in the second hour, gpt-9 in the fourth" \
    '[["gpt-4o-mini"],["gpt-9"]]' "$(jq -c 'map(.first_seen.values)' <<<"$new")"
note "$(jq -r '.[-1].reason' <<<"$new")"

budget=$(alerts 'map(select(.rule == "cost.budget"))')
check "half of the budget, then all of it ($(jq -c 'map([.status, .severity, .budget.threshold_pct])' <<<"$budget"))" \
    holds 'map([.status, .severity, .budget.threshold_pct]) ==
        [["STATUS_FIRING", "info", 50], ["STATUS_UPDATED", "critical", 100]]' <<<"$budget"
check "the numbers of the budget are those of the calls" holds \
    'last | .budget.limit_usd == 10 and .budget.spent_usd > 10 and .budget.spent_usd < 13 and .observed == .budget.spent_usd' <<<"$budget"
same "one episode of the budget" 1 "$(jq 'map(.fingerprint) | unique | length' <<<"$budget")"
note "$(jq -r 'last.reason' <<<"$budget")"

burn=$(alerts 'map(select(.rule == "errors.burn_rate"))')
search=$(jq 'map(select(any(.labels[]; .value == "search"))) | .[0]' <<<"$burn")
check "the error budget of search burns ($(jq -c '.burn_rate | [.long_burn, .short_burn, .budget_left]' <<<"$search"))" holds \
    '.status == "STATUS_FIRING" and .severity == "critical" and .rule_name == "errors-slo" and .burn_rate.long_burn >= 10
        and .burn_rate.short_burn >= 10 and .burn_rate.budget_left < 1 and (.silenced_by // "") == ""
        and .observed == .burn_rate.long_bad / .burn_rate.long_calls' <<<"$search"
note "$(jq -r .reason <<<"$search")"
same "the alert on batch is silenced, by" "$silence" \
    "$(jq -r 'map(select(any(.labels[]; .value == "batch"))) | .[0].silenced_by' <<<"$burn")"
check "nothing fires on chat's errors" [ "$(jq 'map(select(any(.labels[]; .value == "chat"))) | length' <<<"$burn")" = 0 ]

# A person's word.
fingerprint=$(jq -r .fingerprint <<<"$search")
collector feedback "$fingerprint" false || not_ok "feedback is refused"
told() { [ "$(alerts "map(select(.fingerprint == \"$fingerprint\" and .feedback == \"false\")) | length")" = 1 ]; }
check "the feedback is published with the alert" wait_for 20 told
check "feedback on what nobody knows is refused" bash -c "! '$B/lectr-collector' feedback nobody true -c '$collector_config' 2>/dev/null"

# A broken file leaves the old rules.
sed 's/dimension: model/dimension: moon/' "$rules" >"$rules.new" && mv "$rules.new" "$rules"
check "a broken file is counted" wait_for 20 is_metric alerting_reload_failures_total 1
check "and told with line and field" grep -q "alerting.yaml:2: rules\[0\].dimension" "$tmp"/stack/log/collector.log
calls 250 251 1 '{model_requested: "gpt-10", feature: {value: "chat"}}' | publish
calls 251 255 5 | publish
check "the old rules go on" wait_for 30 fired model.first_seen 4

# A good one is taken: no new models any more, a rule for regions.
sed -i 's/{name: new-model.*/{name: regions, kind: first_seen, dimension: region, warmup_h: 1}/' "$rules"
check "a good file is taken" wait_for 20 is_metric alerting_reloads_total 1
ended() { [ "$(alerts '[group_by(.fingerprint)[] | last | select(.rule == "model.first_seen" and .status != "STATUS_RESOLVED")] | length')" = 0 ]; }
check "the episodes of a rule that is gone are over" wait_for 20 ended

# Killed, it goes on where it was.
before=$(alerts 'map(select(.rule == "cost.budget")) | length')
stack stop collector KILL
stack_start collector
calls 255 280 5 | publish
wait_for 60 stored || not_ok "the collector stored $(status events_received) of $seq events"
sleep 3
same "transitions of the budget after a kill" "$before" "$(alerts 'map(select(.rule == "cost.budget")) | length')"
same "transitions that are twice in the stream" 0 "$(alerts 'group_by(.id) | map(select(length > 1)) | length')"
