/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/quiet.c collector/when.c */
#include "collector/quiet.h"
#include "collector/when.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct alerting_rule rule = {.for_min = 60, .calls_min = 20};

static int64_t at(const char *text)
{
    int64_t s = 0;

    assert_int_equal(when_parse(text, &s), 0);
    return s;
}

/* Calls of a minute. */
static uint64_t always(int64_t s)
{
    (void)s;
    return 2;
}

static uint64_t office(int64_t s)
{
    int64_t hour = s / 3600 % 24, weekday = (s / 86400 + 3) % 7;

    return weekday < 5 && hour >= 8 && hour < 18 ? 1 + (uint64_t)(s / 60 % 3) : 0;
}

static uint64_t every_six_hours(int64_t s)
{
    return s % 21600 == 1800 ? 60 : 0;
}

static uint64_t nothing(int64_t s)
{
    (void)s;
    return 0;
}

/* Minutes of the traffic; returns when it was found silent first, 0: never. */
static int64_t tell(struct quiet *q, int64_t from_s, int64_t to_s, uint64_t (*calls)(int64_t s))
{
    int64_t fired_s = 0;

    for (int64_t s = from_s; s < to_s; s += 60) {
        struct quiet_verdict v;

        quiet_add(q, s, 60, calls(s), fired_s != 0, false);
        quiet_judge(q, &rule, s, &v);
        if (v.fires && !fired_s)
            fired_s = s;
    }
    return fired_s;
}

/* Nobody calls at night and on weekends; a dead day is told on that day. */
static void test_office_hours(void **state)
{
    struct quiet q = {0};
    int64_t monday = at("2026-03-02T00:00:00Z"), dead = at("2026-03-25T00:00:00Z"), fired;

    (void)state;
    assert_int_equal(tell(&q, monday, dead, office), 0);
    fired = tell(&q, dead, dead + 86400, nothing);
    assert_true(fired >= at("2026-03-25T08:30:00Z"));
    assert_true(fired < at("2026-03-25T20:00:00Z"));
}

static void test_steady_traffic(void **state)
{
    struct quiet q = {0};
    struct quiet_verdict v;
    int64_t begin = at("2026-03-02T00:00:00Z"), dead = begin + 9 * 86400;

    (void)state;
    assert_int_equal(tell(&q, begin, dead, always), 0);
    assert_int_equal(tell(&q, dead, dead + 7200, nothing), dead + 59 * 60);
    quiet_judge(&q, &rule, dead + 7140, &v);
    assert_int_equal(v.last_s, dead - 60);
    assert_true(v.missing > 200 && v.missing < 250);
    quiet_add(&q, dead + 7200, 60, 1, true, false);
    quiet_judge(&q, &rule, dead + 7200, &v);
    assert_true(v.is_calm);
    assert_false(v.fires);
    /* What was told did not become usual. */
    assert_int_equal(tell(&q, dead + 7260, dead + 7 * 86400, always), 0);
    assert_int_equal(tell(&q, dead + 7 * 86400, dead + 7 * 86400 + 7200, nothing),
                     dead + 7 * 86400 + 59 * 60);
}

/* A job that runs four times a day is not silent between its runs, but soon after one is missing.
 */
static void test_batches(void **state)
{
    struct quiet q = {0};
    int64_t begin = at("2026-03-02T00:00:00Z"), dead = begin + 16 * 86400, fired;

    (void)state;
    assert_int_equal(tell(&q, begin, dead, every_six_hours), 0);
    fired = tell(&q, dead, dead + 86400, nothing);
    assert_true(fired >= dead + 2 * 3600);
    assert_true(fired < dead + 7 * 3600);
}

/* Nothing is known of an hour of the week that was never seen. */
static void test_first_week(void **state)
{
    struct quiet q = {0};
    int64_t begin = at("2026-03-02T00:00:00Z");

    (void)state;
    assert_int_equal(tell(&q, begin, begin + 6 * 86400, always), 0);
    assert_int_equal(tell(&q, begin + 6 * 86400, begin + 7 * 86400, nothing), 0);
}

/* Planned work is no habit, and a feature that is gone for a week is no silence. */
static void test_planned_and_gone(void **state)
{
    struct quiet q = {0};
    struct quiet_verdict v;
    int64_t begin = at("2026-03-02T00:00:00Z"), work = begin + 8 * 86400, dead;

    (void)state;
    assert_int_equal(tell(&q, begin, work, always), 0);
    for (int64_t s = work; s < work + 6 * 3600; s += 60)
        quiet_add(&q, s, 60, 0, false, true);
    quiet_add(&q, work + 6 * 3600, 60, 2, false, true);
    dead = work + 7 * 86400;
    assert_int_equal(tell(&q, work + 6 * 3600 + 60, dead, always), 0);
    assert_int_equal(tell(&q, dead, dead + 86400, nothing), dead + 59 * 60);
    for (int64_t s = dead + 86400; s < dead + 8 * 86400; s += 60)
        quiet_add(&q, s, 60, 0, true, false);
    quiet_judge(&q, &rule, dead + 8 * 86400 - 60, &v);
    assert_true(v.is_gone);
    assert_false(v.fires);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_office_hours),     cmocka_unit_test(test_steady_traffic),
        cmocka_unit_test(test_batches),          cmocka_unit_test(test_first_week),
        cmocka_unit_test(test_planned_and_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
