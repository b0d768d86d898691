/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/burn.c collector/share.c */
#include "collector/burn.h"
#include "collector/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_S INT64_C(1767261600) /* a whole hour */
#define MINUTE(n) (START_S + (int64_t)(n)*60)

static struct alerting_window windows[] = {
    {60, 5, 14.4, ALERTING_CRITICAL},
    {360, 30, 6, ALERTING_CRITICAL},
    {4320, 360, 1, ALERTING_WARNING},
};
static const struct alerting_rule rule = {
    .calls_min = 20,
    .burn =
        {.objective = 99.5, .windows = windows, .windows_count = 3, .period_d = 30, .hits_min = 5},
};

static struct burn *new_burn(void)
{
    struct burn *b = calloc(1, burn_bytes(&rule));

    assert_non_null(b);
    return b;
}

static void feed(struct burn *b, int from, int to, uint64_t calls, uint64_t hits)
{
    for (int i = from; i < to; i++)
        burn_add(b, &rule, MINUTE(i), calls, hits);
}

/* 0.5% may fail. 10% failing is a burn of 20: it is told when the hour has seen enough of it. */
static void test_fast_burn(void **state)
{
    CLEAN_FREE struct burn *b = new_burn();
    struct burn_verdict v;
    int fired = -1;

    (void)state;
    feed(b, 0, 600, 100, 0);
    burn_judge(b, &rule, MINUTE(599), &v);
    assert_false(v.fires);
    assert_true(v.budget_left == 1);
    for (int i = 600; i < 700 && fired < 0; i++) {
        feed(b, i, i + 1, 100, 10);
        burn_judge(b, &rule, MINUTE(i), &v);
        fired = v.fires && v.window.long_min == 60 ? i : -1;
    }
    /* 10% * m / 60 >= 7.2% from m = 43.2 on */
    assert_int_equal(fired, 643);
    assert_int_equal(v.severity, ALERTING_CRITICAL);
    assert_int_equal(v.in_long.calls, 6000);
    assert_int_equal(v.in_long.hits, 440);
    assert_int_equal(v.in_long.from_s, MINUTE(644 - 60));
    assert_int_equal(v.in_long.to_s, MINUTE(644));
    assert_int_equal(v.in_short.hits, 50);
    assert_float_equal(v.long_burn, 440.0 / 6000 / 0.005, 1e-9);
    assert_float_equal(v.short_burn, 20, 1e-9);
    assert_float_equal(v.budget_left, 1 - 440.0 / 64400 / 0.005, 1e-9);
    /* It is over as soon as the short window says so. */
    feed(b, 644, 648, 100, 0);
    burn_judge(b, &rule, MINUTE(647), &v);
    assert_false(v.fires && v.window.long_min == 60);
}

/* The slow windows are hours: 1% failing for hours burns at 2. */
static void test_slow_burn(void **state)
{
    CLEAN_FREE struct burn *b = new_burn();
    struct burn_verdict v;

    (void)state;
    for (int h = -72; h < 0; h++)
        burn_recall(b, &rule, START_S + h * 3600, 6000, 0);
    feed(b, 0, 35 * 60, 100, 1);
    burn_judge(b, &rule, MINUTE(35 * 60 - 1), &v);
    assert_false(v.fires);
    feed(b, 35 * 60, 36 * 60, 100, 1);
    burn_judge(b, &rule, MINUTE(36 * 60 - 1), &v);
    assert_true(v.fires);
    assert_int_equal(v.severity, ALERTING_WARNING);
    assert_int_equal(v.window.long_min, 4320);
    assert_int_equal(v.in_long.from_s, START_S - 36 * 3600);
    assert_int_equal(v.in_long.calls, 72 * 6000);
    assert_float_equal(v.long_burn, 1, 1e-9);
}

/* Three of four failing calls at night are no outage. */
static void test_low_traffic(void **state)
{
    CLEAN_FREE struct burn *b = new_burn();
    struct burn_verdict v;

    (void)state;
    burn_add(b, &rule, MINUTE(0), 4, 3);
    burn_judge(b, &rule, MINUTE(0), &v);
    assert_false(v.fires);
    assert_true(v.long_burn > 100);
    burn_add(b, &rule, MINUTE(1), 16, 1);
    burn_judge(b, &rule, MINUTE(1), &v);
    assert_false(v.fires);
    burn_add(b, &rule, MINUTE(2), 1, 1);
    burn_judge(b, &rule, MINUTE(2), &v);
    assert_true(v.fires);
}

/* Gaps empty the windows, and what comes too late does not disturb newer counts. */
static void test_gap_and_late(void **state)
{
    CLEAN_FREE struct burn *b = new_burn();
    struct burn_verdict v;

    (void)state;
    feed(b, 0, 60, 100, 50);
    burn_add(b, &rule, MINUTE(60 + 360), 100, 0);
    burn_judge(b, &rule, MINUTE(60 + 360), &v);
    assert_int_equal(v.in_long.calls, 100);
    assert_int_equal(v.in_long.hits, 0);
    burn_add(b, &rule, MINUTE(60), 1000, 1000);
    burn_judge(b, &rule, MINUTE(60 + 360), &v);
    assert_int_equal(v.in_long.calls, 100);
    assert_false(burn_is_empty(b, &rule, MINUTE(0)));
    assert_true(burn_is_empty(b, &rule, MINUTE(40 * 1440)));
}

static void test_share(void **state)
{
    struct share s = {0};
    struct share_count c;

    (void)state;
    for (int i = 0; i < 30 * 60; i++)
        share_add(&s, MINUTE(i), 10, i >= 28 * 60 ? 6 : 1);
    c = share_hour(&s, MINUTE(30 * 60 - 1));
    assert_int_equal(c.all, 600);
    assert_int_equal(c.hits, 360);
    assert_int_equal(c.to_s - c.from_s, 3600);
    c = share_day_before(&s, MINUTE(30 * 60 - 1));
    assert_int_equal(c.from_s, START_S + 5 * 3600);
    assert_int_equal(c.to_s, START_S + 29 * 3600);
    assert_int_equal(c.all, 24 * 600);
    assert_int_equal(c.hits, 23 * 60 + 360);
    /* In the first minute of an hour the day ends an hour earlier. */
    share_add(&s, MINUTE(30 * 60), 10, 6);
    c = share_day_before(&s, MINUTE(30 * 60));
    assert_int_equal(c.to_s, START_S + 29 * 3600);
    assert_int_equal(c.all, 24 * 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast_burn),   cmocka_unit_test(test_slow_burn),
        cmocka_unit_test(test_low_traffic), cmocka_unit_test(test_gap_and_late),
        cmocka_unit_test(test_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
