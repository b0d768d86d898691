/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ruling.h"

#include "proto/base/clock.h"

#define SET(m, field, value) ((m)->has_##field = true, (m)->field = (value))

static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text; /* packed only: never freed or written */
}

static void fill_burn(const struct ruling *ruling, Lectr__V1__Alert__BurnRate *m)
{
    const struct alerting_rule *rule = ruling->rule;
    const struct burn_verdict *v = ruling->burn;

    lectr__v1__alert__burn_rate__init(m);
    SET(m, objective_pct, rule->burn.objective);
    if (rule->burn.latency_above_ms)
        SET(m, latency_above_us, rule->burn.latency_above_ms * UINT64_C(1000));
    SET(m, long_seconds, v->window.long_min * 60);
    SET(m, short_seconds, v->window.short_min * 60);
    SET(m, burn_limit, v->window.burn);
    SET(m, long_burn, v->long_burn);
    SET(m, short_burn, v->short_burn);
    SET(m, long_calls, v->in_long.calls);
    SET(m, long_bad, v->in_long.hits);
    SET(m, short_calls, v->in_short.calls);
    SET(m, short_bad, v->in_short.hits);
    SET(m, period_days, rule->burn.period_d);
    SET(m, budget_left, v->budget_left);
    SET(m, period_calls, v->in_period.calls);
    SET(m, period_bad, v->in_period.hits);
}

static void fill_budget(const struct ruling *ruling, Lectr__V1__Alert__Budget *m)
{
    const struct alerting_rule *rule = ruling->rule;
    const struct budget_verdict *v = ruling->budget;
    unsigned reached = budget_reached(rule, v->used);

    lectr__v1__alert__budget__init(m);
    SET(m, from_unix_nano, (uint64_t)v->from_s * NSEC_PER_SEC);
    SET(m, until_unix_nano, (uint64_t)v->until_s * NSEC_PER_SEC);
    SET(m, limit_usd, rule->budget.usd);
    SET(m, spent_usd, v->spent.expected_usd);
    SET(m, spent_low_usd, v->spent.low_usd);
    SET(m, spent_high_usd, v->spent.high_usd);
    SET(m, calls, v->spent.calls);
    SET(m, calls_cost_unknown, v->spent.unknown);
    if (reached)
        SET(m, threshold_pct, rule->budget.thresholds[reached - 1]);
    if (!v->has_forecast)
        return;
    SET(m, forecast_usd, v->forecast);
    SET(m, forecast_low_usd, v->forecast_low);
    SET(m, forecast_high_usd, v->forecast_high);
    SET(m, days_learned, v->days_learned);
}

static void fill_values(const struct ruling *ruling, struct ruling_parts *parts)
{
    static const char *const names[ALERTING_DIM__COUNT] = {
        [ALERTING_DIM_MODEL] = "model",   [ALERTING_DIM_PROVIDER] = "provider",
        [ALERTING_DIM_KEY] = "key",       [ALERTING_DIM_FEATURE] = "feature",
        [ALERTING_DIM_REGION] = "region",
    };
    Lectr__V1__Alert__FirstSeen *m = &parts->first_seen;

    lectr__v1__alert__first_seen__init(m);
    m->dimension = borrow(names[ruling->rule->dimension]);
    for (uint32_t i = 0; i < ruling->values->count; i++)
        parts->values[i] = borrow(ruling->values->list[i]);
    m->values = parts->values;
    m->n_values = ruling->values->count;
    SET(m, count, ruling->values->total);
}

void ruling_fill(const struct ruling *ruling, struct ruling_parts *parts, Lectr__V1__Alert *m)
{
    m->rule_name = ruling->rule->name;
    m->reason = borrow(ruling->reason);
    if (ruling->burn) {
        fill_burn(ruling, &parts->burn);
        m->burn_rate = &parts->burn;
    }
    if (ruling->budget) {
        fill_budget(ruling, &parts->budget);
        m->budget = &parts->budget;
    }
    if (ruling->values) {
        fill_values(ruling, parts);
        m->first_seen = &parts->first_seen;
    }
}
