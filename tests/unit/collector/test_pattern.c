/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/pattern.c */
#include "collector/pattern.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROWS 4000
#define PER_HOUR 12

static struct pattern *fresh(void)
{
    struct pattern *p = NULL;

    assert_int_equal(pattern_new(&pattern_params_frozen, &p), 0);
    return p;
}

static double usual(int i)
{
    return 100 + 30 * sin(i * 6.2831853 / (24 * PER_HOUR)) + (i * 7919 % 13);
}

static double feed(struct pattern *p, int i, double value)
{
    return pattern_feed(p, value, (unsigned)(i / PER_HOUR % 24));
}

static void test_tells_a_jump_once(void **state)
{
    struct pattern *p = fresh();
    int told = 0;

    (void)state;
    for (int i = 0; i < ROWS; i++)
        feed(p, i, usual(i));
    for (int i = ROWS; i < ROWS + 40; i++) {
        double score = feed(p, i, 4 * usual(i));

        assert_true(score >= 0 && score <= 1);
        told += score > 0.25;
    }
    assert_in_range(told, 1, 4);
    pattern_free(&p);
}

static void test_says_nothing_early(void **state)
{
    struct pattern *p = fresh();

    (void)state;
    for (uint32_t i = 0; i < pattern_params_frozen.warmup; i++)
        assert_true(feed(p, (int)i, i % 50 ? 1 : 1e9) == 0);
    pattern_free(&p);
}

/* Cents or dollars: the same score. */
static void test_scale_does_not_matter(void **state)
{
    struct pattern *a = fresh(), *b = fresh();

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        double value = i % 977 == 976 ? 900 : usual(i);

        assert_true(fabs(feed(a, i, value) - feed(b, i, value * 1024)) < 1e-9);
    }
    pattern_free(&a);
    pattern_free(&b);
}

/* A constant, zeros, values far out, and what is no number: no trap, a score within bounds. */
static void test_odd_values(void **state)
{
    static const double odd[] = {0, -1, 1e308, -1e308, NAN, INFINITY, 1e-300, 5};
    struct pattern *p = fresh();

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        double score = feed(p, i, i < 500 ? 0 : odd[i % 8]);

        assert_true(score >= 0 && score <= 1);
    }
    assert_true(pattern_feed(p, 1, 24) == 0);
    pattern_free(&p);
}

static void test_bad_params(void **state)
{
    struct pattern_params params = pattern_params_frozen;
    struct pattern *p = NULL;

    (void)state;
    params.bins = PATTERN_BINS_MAX + 1;
    assert_int_equal(pattern_new(&params, &p), -EINVAL);
    params = pattern_params_frozen;
    params.warmup = 0;
    assert_int_equal(pattern_new(&params, &p), -EINVAL);
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_a_jump_once),
        cmocka_unit_test(test_says_nothing_early),
        cmocka_unit_test(test_scale_does_not_matter),
        cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_bad_params),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
