/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/shift.c collector/tail.c */
#include "collector/shift.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static double noise(int i)
{
    return 0.1 * sin(i * 12.9898) + 0.08 * sin(i * 0.7);
}

static struct shift_found feed(struct shift *s, int i, double by)
{
    struct shift_hour hour = {
        .minute = 60 * (int64_t)(i + 1) - 1,
        .sum = 100 * exp(noise(i) + by),
        .expected = 100,
        .samples = 100,
        .departure = noise(i) + by,
    };

    return shift_learn(s, &hour, i / 168.0, 100, 1.3);
}

static void test_finds_a_shift(void **state)
{
    static const double shifts[] = {0.7, -0.7};

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct shift s;
        struct shift_found f = {0};
        int i = 0, hours = 0;

        shift_init(&s);
        for (; i < 4 * 168; i++)
            assert_int_equal(feed(&s, i, 0).direction, 0);
        for (; !f.direction && hours < 12; hours++)
            f = feed(&s, i++, shifts[k]);
        assert_int_equal(f.direction, k ? -1 : 1);
        assert_true(f.hours >= 2 && f.hours <= 24);
        assert_true(k ? f.sum < f.expected : f.sum > f.expected);
        assert_true(f.weeks >= 100 && f.samples > 0);
    }
}

/* One hour, however far out, is no shift; nor is anything in the first two weeks. */
static void test_says_nothing(void **state)
{
    struct shift s;
    int i = 0;

    (void)state;
    shift_init(&s);
    for (; i < 3 * 168; i++)
        assert_int_equal(feed(&s, i, 0).direction, 0);
    assert_int_equal(feed(&s, i++, 3).direction, 0);
    shift_init(&s);
    for (i = 0; i < 2 * 168; i++)
        assert_int_equal(feed(&s, i, i > 100 ? 1 : 0).direction, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_a_shift),
        cmocka_unit_test(test_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
