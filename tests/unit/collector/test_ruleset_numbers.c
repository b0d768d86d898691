/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever an alert of a rule says can be had again from the minutes.
 *
 * LINK: collector/ruleset.c collector/ruleset_feed.c collector/ruleset_judge.c
 * LINK: collector/ruleset_alert.c collector/ruleset_save.c collector/burn.c
 * LINK: collector/budget.c collector/quiet.c collector/share.c collector/ruling.c
 * LINK: collector/alert.c collector/alerting.c collector/alerting_schema.c
 * LINK: collector/alerting_check.c collector/places.c collector/when.c
 * LINK: collector/sketch.c collector/tally.c collector/text.c
 */
#include "tests/unit/collector/ruleset_told.h"

/* --- the numbers --- */

#define MADE_MIN (4 * 1440)

static struct traffic made[MADE_MIN];

/* Sums over the minutes that were told, apart from the code under test. */
static struct traffic sum_of(int64_t from_s, int64_t to_s)
{
    struct traffic sum = {0};

    for (int i = 0; i < MADE_MIN; i++) {
        int64_t at_s = START_S + i * 60;

        if (at_s < from_s || at_s >= to_s)
            continue;
        sum.calls += made[i].calls;
        sum.errors += made[i].errors;
        sum.retries += made[i].retries;
        sum.unknown += made[i].unknown;
        sum.nanousd += made[i].nanousd;
    }
    return sum;
}

static void assert_recomputes(const struct told_alert *t)
{
    struct traffic in_window = sum_of(t->from_s, t->to_s);
    double usd = 1e-9 * (double)in_window.nanousd;

    if (t->rule == ALERT_ERRORS_BURN_RATE) {
        struct traffic in_short = sum_of(t->to_s - t->burn.short_seconds, t->to_s);

        assert_int_equal(t->samples, in_window.calls);
        assert_int_equal(t->burn.long_calls, in_window.calls);
        assert_int_equal(t->burn.long_bad, in_window.errors);
        if (t->burn.short_seconds <= 6 * 3600)
            assert_int_equal(t->burn.short_bad, in_short.errors);
        assert_float_equal(t->observed, (double)in_window.errors / (double)in_window.calls, 1e-12);
        assert_float_equal(t->burn.long_burn, 100 * t->observed, 1e-9);
    } else if (t->rule == ALERT_COST_BUDGET) {
        assert_float_equal(t->observed, usd, 1e-6);
        assert_float_equal(t->budget.spent_usd, usd, 1e-6);
        assert_int_equal(t->budget.calls, in_window.calls);
        assert_int_equal(t->budget.calls_cost_unknown, in_window.unknown);
    } else if (t->rule == ALERT_RETRIES_AMPLIFYING) {
        uint64_t logical = in_window.calls - in_window.retries;

        assert_int_equal(t->samples, logical);
        assert_float_equal(t->observed, (double)in_window.retries / (double)logical, 1e-12);
    }
}

/* Whatever an alert says of its window can be had again from the minutes. */
static void test_numbers_recompute(void **state)
{
    uint64_t random = 42;
    unsigned kinds = 0;

    (void)state;
    for (int round = 0; round < 5; round++) {
        struct ruleset *set = begin("rules:\n- {name: slo, kind: burn_rate, objective: 99}\n"
                                    "- {name: daily, kind: budget, usd: 300, period: day}\n"
                                    "- {name: again, kind: retries, ratio: 0.4}\n");

        for (int i = 0; i < MADE_MIN; i++) {
            bool is_bad;

            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            is_bad = (i / 90 + round) % 7 == 3;
            made[i] = (struct traffic){
                .calls = 5 + (random >> 33) % 20,
                .errors = is_bad ? (random >> 40) % 5 : 0,
                .retries = is_bad ? (random >> 44) % 6 : 0,
                .unknown = (random >> 50) % 3,
                .nanousd = (int64_t)((random >> 20) % 600000000),
            };
            assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
            tell_cell(set, &made[i], 1);
            assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
        }
        ruleset_free(&set);
        assert_true(heard_count > 10);
        for (unsigned i = 0; i < heard_count; i++) {
            assert_recomputes(&heard[i]);
            kinds |= 1u << heard[i].rule % 32;
        }
    }
    assert_int_equal(__builtin_popcount(kinds), 3);
}

static int end(void **state)
{
    (void)state;
    alerting_free(&file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers_recompute)};

    return cmocka_run_group_tests(tests, NULL, end);
}
