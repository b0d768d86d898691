/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spending against a budget per day, week or month, and where it will end. Pure,
 * event time only.
 *
 * The forecast is what was spent, plus for every hour that is left the usual cost
 * of this hour of the week, scaled by the last week against that shape. Its
 * interval comes from how the last four weeks' days differed from the shape:
 *   sd = rest * s * sqrt(1 / days_left + 1 / days_learned), 90% is +-1.645 sd,
 * where s is that spread of the days, at least BUDGET_SPREAD_LEAST +
 * BUDGET_SPREAD_YOUNG / days_learned. Calls of unknown cost are in neither and are
 * counted apart. Hours are UTC's: where the offset is no whole hour, what is told by
 * the hour falls to the period in which the hour begins.
 *
 * Zeroed memory is a new budget; its bytes are its whole state.
 */
#pragma once

#include "collector/alerting.h"

#define BUDGET_DAYS 28
#define BUDGET_DAYS_LEAST 3 /* learned before there is a forecast */
#define BUDGET_SPREAD_LEAST 0.05
#define BUDGET_SPREAD_YOUNG 0.3

struct budget_cost {
    uint64_t calls, unknown; /* unknown: calls without a known cost, not in the sums */
    double low_usd, expected_usd, high_usd;
};

struct budget_day {
    double actual, usual;
};

struct budget {
    int64_t period_s; /* when the running period began; 0: nothing told yet */
    struct budget_cost spent;
    int64_t hour_s; /* the running one */
    double hour_usd;
    double day_usd, day_usual; /* the running local day, whole hours of it */
    uint32_t day_hours, day_known_hours;
    float of_week[168];
    uint8_t weeks[168]; /* hours of the week: how often seen */
    struct budget_day days[BUDGET_DAYS];
    uint32_t days_count; /* ever */
};

struct budget_verdict {
    int64_t from_s, until_s; /* the period */
    struct budget_cost spent;
    double used; /* share of the budget */
    bool has_forecast;
    double forecast_low, forecast, forecast_high; /* USD at the period's end */
    uint32_t days_learned;
};

/* The period that holds a time, by the rule's kind and offset. */
void budget_period(const struct alerting_rule *rule, int64_t at_s, int64_t *ret_from_s,
                   int64_t *ret_until_s);
/* What an hour (or a minute of it) cost, in rising order. Time that is left out cost nothing. */
void budget_add(struct budget *b, const struct alerting_rule *rule, int64_t at_s,
                const struct budget_cost *cost);
/* As of `now_s`, not before what was added last. */
void budget_judge(struct budget *b, const struct alerting_rule *rule, int64_t now_s,
                  struct budget_verdict *ret_verdict);
/* How many of the rule's thresholds are reached. */
static inline unsigned budget_reached(const struct alerting_rule *rule, double used)
{
    unsigned reached = 0;

    while (reached < rule->budget.thresholds_count &&
           used * 100 >= rule->budget.thresholds[reached])
        reached++;
    return reached;
}
