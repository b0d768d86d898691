/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/shift.c */
#include "collector/shift.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define QUARTERS_A_WEEK 672

static double noise(int i)
{
    return 0.1 * sin(i * 0.129898) + 0.08 * sin(i * 0.037);
}

static struct shift_found feed(struct shift *s, int i, double by, bool hold)
{
    const struct shift_context context = {
        .mark = 1,
        .spread = 1,
        .weeks = (double)i / QUARTERS_A_WEEK,
        .target_weeks = 100,
        .ratio_min = 1.3,
    };

    for (int m = 0; m < SHIFT_PART_MIN; m++)
        shift_add(s, 6 * exp(noise(i) + by), 6, 6, hold);
    return shift_close(s, &context);
}

/* A quiet history of so many quarters. */
static struct shift quiet(int quarters)
{
    struct shift s;

    shift_init(&s);
    assert_int_equal(shift_begin(&s), 0);
    for (int i = 0; i < quarters; i++)
        assert_int_equal(feed(&s, i, 0, false).direction, 0);
    return s;
}

static void test_finds_a_shift(void **state)
{
    static const double shifts[] = {0.7, -0.7};

    (void)state;
    for (int k = 0; k < 2; k++) {
        int i = 4 * QUARTERS_A_WEEK, parts = 0;
        struct shift s = quiet(i);
        struct shift_found f = {0};

        for (; !f.direction && parts < 24; parts++)
            f = feed(&s, i++, shifts[k], false);
        assert_int_equal(f.direction, k ? -1 : 1);
        /* Its own beginning, within a quarter. */
        assert_in_range(f.minutes, SHIFT_PART_MIN * (parts - 1), SHIFT_PART_MIN * (parts + 1));
        assert_true(k ? f.sum < 0.8f * f.expected : f.sum > 1.5f * f.expected);
        assert_true(f.weeks >= 100 && f.samples > 0);
        shift_fini(&s);
    }
}

/* What has become the level goes on and is told no more; nor is the way back, as long
 * as it is half of the way. */
static void test_tells_it_once(void **state)
{
    int i = 4 * QUARTERS_A_WEEK;
    struct shift s = quiet(i);
    struct shift_found f = {0};

    (void)state;
    while (!f.direction)
        f = feed(&s, i++, 0.7, false);
    for (int k = 0; k < 96; k++)
        assert_int_equal(feed(&s, i++, k < 48 ? 0 : -0.3, false).direction, 0);
    shift_fini(&s);
}

/* A short burst, however far out, is no shift; nor is anything in the first two weeks,
 * an outage, or what is held. */
static void test_says_nothing(void **state)
{
    static const struct {
        int from, quarters;
        double by;
        bool hold;
    } events[] = {
        {3 * QUARTERS_A_WEEK, 2, 3, false},
        {QUARTERS_A_WEEK / 2, QUARTERS_A_WEEK, 1, false},
        {3 * QUARTERS_A_WEEK, 24, -9, false},
        {3 * QUARTERS_A_WEEK, 24, 1, true},
    };

    (void)state;
    for (size_t e = 0; e < sizeof(events) / sizeof(events[0]); e++) {
        int i = events[e].from;
        struct shift s = quiet(i);

        for (int k = 0; k < events[e].quarters; k++)
            assert_int_equal(feed(&s, i++, events[e].by, events[e].hold).direction, 0);
        for (int k = 0; e != 1 && k < 24; k++)
            assert_int_equal(feed(&s, i++, 0, false).direction, 0);
        shift_fini(&s);
    }
}

/* Where a quarter has too few calls several are one. */
static void test_waits_for_calls(void **state)
{
    const struct shift_context few = {
        .mark = 1, .spread = 1, .weeks = 1.5, .target_weeks = 100, .ratio_min = 1.3};
    struct shift s = quiet(0);

    (void)state;
    for (int m = 0; m < 3 * SHIFT_PART_MIN; m++) {
        shift_add(&s, 0.25, 0.25, 0.25, false);
        if ((m + 1) % SHIFT_PART_MIN)
            continue;
        shift_close(&s, &few);
        assert_int_equal(s.minutes, m + 1 < 3 * SHIFT_PART_MIN ? m + 1 : 0);
    }
    shift_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_a_shift),
        cmocka_unit_test(test_tells_it_once),
        cmocka_unit_test(test_says_nothing),
        cmocka_unit_test(test_waits_for_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
