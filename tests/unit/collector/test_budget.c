/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/budget.c collector/when.c */
#include "collector/budget.h"
#include "collector/when.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static double thresholds[] = {50, 80, 100};

static struct alerting_rule rule_of(enum alerting_period period, double usd, int32_t offset_min)
{
    return (struct alerting_rule){.budget = {.usd = usd,
                                             .period = period,
                                             .utc_offset_min = offset_min,
                                             .thresholds = thresholds,
                                             .thresholds_count = 3,
                                             .forecast = true}};
}

static int64_t at(const char *text)
{
    int64_t s = 0;

    assert_int_equal(when_parse(text, &s), 0);
    return s;
}

static void assert_period(const struct alerting_rule *rule, const char *time, const char *from,
                          const char *until)
{
    int64_t from_s = 0, until_s = 0;

    budget_period(rule, at(time), &from_s, &until_s);
    assert_int_equal(from_s, at(from));
    assert_int_equal(until_s, at(until));
}

static void test_periods(void **state)
{
    struct alerting_rule month = rule_of(ALERTING_MONTH, 1, 0);
    struct alerting_rule berlin = rule_of(ALERTING_MONTH, 1, 120);
    struct alerting_rule week = rule_of(ALERTING_WEEK, 1, 0);
    struct alerting_rule day = rule_of(ALERTING_DAY, 1, -330);

    (void)state;
    assert_period(&month, "2026-02-14T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z");
    assert_period(&month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_period(&berlin, "2026-01-31T22:30:00Z", "2026-02-01T00:00:00+02:00",
                  "2026-03-01T00:00:00+02:00");
    assert_period(&week, "2026-11-27T05:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
    assert_period(&week, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
    assert_period(&day, "2026-01-02T05:29:00Z", "2026-01-01T00:00:00-05:30",
                  "2026-01-02T00:00:00-05:30");
}

/* Office hours of one dollar each, weekends at a tenth. */
static double usual(int64_t s)
{
    int64_t hour = s / 3600 % 24, weekday = (s / 86400 + 3) % 7;

    return (hour >= 8 && hour < 18 ? 1.0 : 0.05) * (weekday >= 5 ? 0.1 : 1.0);
}

static void spend(struct budget *b, const struct alerting_rule *rule, int64_t from_s,
                  int64_t until_s, double factor)
{
    for (int64_t s = from_s; s < until_s; s += 3600) {
        struct budget_cost c = {.calls = 10,
                                .unknown = 1,
                                .low_usd = 0.9 * factor * usual(s),
                                .expected_usd = factor * usual(s),
                                .high_usd = 1.2 * factor * usual(s)};

        budget_add(b, rule, s, &c);
    }
}

static void test_spent_and_thresholds(void **state)
{
    struct alerting_rule rule = rule_of(ALERTING_DAY, 10, 0);
    struct budget b = {0};
    struct budget_verdict v;
    struct budget_cost five = {.calls = 1, .expected_usd = 5, .low_usd = 4, .high_usd = 6};
    struct budget_cost unknown = {.calls = 3, .unknown = 3};
    int64_t day = at("2026-03-01T00:00:00Z");

    (void)state;
    budget_add(&b, &rule, day + 600, &five);
    budget_add(&b, &rule, day + 660, &unknown);
    budget_judge(&b, &rule, day + 720, &v);
    assert_true(v.spent.expected_usd == 5 && v.spent.low_usd == 4 && v.spent.high_usd == 6);
    assert_int_equal(v.spent.calls, 4);
    assert_int_equal(v.spent.unknown, 3);
    assert_int_equal(budget_reached(&rule, v.used), 1);
    assert_false(v.has_forecast);
    budget_add(&b, &rule, day + 86400 - 60, &five);
    budget_judge(&b, &rule, day + 86400, &v);
    assert_int_equal(budget_reached(&rule, v.used), 3);
    assert_int_equal(v.until_s, day + 86400);
    budget_judge(&b, &rule, day + 86460, &v);
    assert_true(v.spent.expected_usd == 0 && v.spent.calls == 0);
    assert_int_equal(v.from_s, day + 86400);
}

/* The forecast at the 10th knows office hours and weekends; its interval holds the truth. */
static void test_forecast(void **state)
{
    struct alerting_rule rule = rule_of(ALERTING_MONTH, 1000, 0);
    struct budget b = {0};
    struct budget_verdict v;
    int64_t from = at("2026-05-01T00:00:00Z"), june = at("2026-06-01T00:00:00Z");
    int64_t tenth = at("2026-06-10T12:00:00Z"), july = at("2026-07-01T00:00:00Z");
    double truth = 0;

    (void)state;
    spend(&b, &rule, from, from + 2 * 86400, 1);
    budget_judge(&b, &rule, from + 2 * 86400, &v);
    assert_false(v.has_forecast);
    spend(&b, &rule, from + 2 * 86400, tenth, 1);
    budget_judge(&b, &rule, tenth, &v);
    for (int64_t s = june; s < july; s += 3600)
        truth += usual(s);
    assert_true(v.has_forecast);
    assert_int_equal(v.days_learned, 28);
    assert_true(fabs(v.forecast - truth) < 0.02 * truth);
    assert_true(v.forecast_low < truth && truth < v.forecast_high);
    assert_true(v.forecast_high - v.forecast_low < 0.2 * truth);
}

/* Twice the cost from the 3rd on: the level follows within the week. */
static void test_forecast_follows(void **state)
{
    struct alerting_rule rule = rule_of(ALERTING_MONTH, 300, 0);
    struct budget b = {0};
    struct budget_verdict v;
    int64_t june = at("2026-06-01T00:00:00Z"), third = at("2026-06-03T00:00:00Z");
    int64_t twelfth = at("2026-06-12T00:00:00Z"), july = at("2026-07-01T00:00:00Z");
    double truth = 0;

    (void)state;
    spend(&b, &rule, at("2026-04-20T00:00:00Z"), third, 1);
    budget_judge(&b, &rule, third, &v);
    assert_true(v.forecast_high < 300);
    spend(&b, &rule, third, twelfth, 2);
    budget_judge(&b, &rule, twelfth, &v);
    for (int64_t s = june; s < july; s += 3600)
        truth += usual(s) * (s < third ? 1 : 2);
    assert_true(truth > 300);
    assert_true(v.forecast > 300);
    assert_true(v.forecast_low < truth && truth < v.forecast_high);
}

/* By hours or by minutes: the same. */
static void test_resolution_does_not_matter(void **state)
{
    struct alerting_rule rule = rule_of(ALERTING_WEEK, 300, 0);
    struct budget by_hour = {0}, by_minute = {0};
    struct budget_verdict v, w;
    int64_t from = at("2026-04-20T00:00:00Z"), until = at("2026-05-05T07:00:00Z");

    (void)state;
    spend(&by_hour, &rule, from, until, 1);
    for (int64_t s = from; s < until; s += 60) {
        struct budget_cost c = {.calls = 1, .expected_usd = usual(s) / 60};

        budget_add(&by_minute, &rule, s, &c);
        budget_judge(&by_minute, &rule, s + 60, &w);
    }
    budget_judge(&by_hour, &rule, until, &v);
    assert_float_equal(v.spent.expected_usd, w.spent.expected_usd, 1e-6);
    assert_float_equal(v.forecast, w.forecast, 1e-3);
    assert_float_equal(v.forecast_low, w.forecast_low, 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_periods),
        cmocka_unit_test(test_spent_and_thresholds),
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_forecast_follows),
        cmocka_unit_test(test_resolution_does_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
