/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LINK: collector/ruling.c
 * LINK: collector/attribution.c collector/alert.c collector/text.c
 */
#include "collector/attribution.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void add(struct attribution *a, enum attribution_side side, const char *model,
                const char *workload, uint64_t calls, uint64_t tokens, double usd)
{
    const struct store_series_name name = {"acme", "chat", "openai", model, workload};
    const struct rollup_sums sums = {
        .calls = calls,
        .input_total = tokens,
        .cost_expected_nanousd = llround(usd * 1e9),
    };

    assert_int_equal(attribution_add(a, side, &name, &sums), 0);
}

static const struct alert_part *part_of(const struct alert *a, const char *dimension,
                                        const char *value)
{
    for (unsigned i = 0; i < a->parts_count; i++)
        if (strcmp(a->parts[i].dimension, dimension) == 0 && strcmp(a->parts[i].value, value) == 0)
            return &a->parts[i];
    return NULL;
}

static double factors_sum(const struct alert *a)
{
    double sum = 0;

    for (unsigned i = 0; i < a->parts_count; i++)
        if (!a->parts[i].value[0])
            sum += a->parts[i].amount;
    return sum;
}

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) + 1e-12;
}

/* One thing at a time changes: it has all of the deviation. */
static void test_one_factor(void **state)
{
    static const struct {
        uint64_t calls, tokens;
        double usd;
        const char *factor;
    } cases[] = {
        {300, 30000, 3, "volume"},
        {100, 30000, 3, "tokens_per_call"},
        {100, 10000, 3, "price"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEAN_ATTRIBUTION struct attribution *a = NULL;
        struct alert alert = {.rule = ALERT_COST_SPIKE, .baseline = 1, .observed = 3};

        assert_int_equal(attribution_new(alert.rule, &a), 0);
        add(a, ATTRIBUTION_USUAL, "m", "w", 24 * 100, 24 * 10000, 24);
        add(a, ATTRIBUTION_OBSERVED, "m", "w", cases[i].calls, cases[i].tokens, cases[i].usd);
        assert_true(attribution_fill(a, &alert));
        assert_non_null(part_of(&alert, cases[i].factor, ""));
        assert_true(is_near(part_of(&alert, cases[i].factor, "")->share, 1));
        assert_true(is_near(factors_sum(&alert), 2));
        assert_true(is_near(part_of(&alert, "workload", "w")->share, 1));
    }
}

/* As many calls, but to the dear model: the mix. */
static void test_mix(void **state)
{
    CLEAN_ATTRIBUTION struct attribution *a = NULL;
    struct alert alert = {
        .rule = ALERT_COST_SPIKE, .level = ALERT_LEVEL_FEATURE, .baseline = 2, .observed = 6.5};

    (void)state;
    assert_int_equal(attribution_new(alert.rule, &a), 0);
    add(a, ATTRIBUTION_USUAL, "cheap", "w", 90, 9000, 0.9);
    add(a, ATTRIBUTION_USUAL, "dear", "w", 10, 1000, 1.1);
    add(a, ATTRIBUTION_OBSERVED, "cheap", "w", 45, 4500, 0.45);
    add(a, ATTRIBUTION_OBSERVED, "dear", "w", 55, 5500, 6.05);
    assert_true(attribution_fill(a, &alert));
    assert_true(is_near(part_of(&alert, "mix", "")->amount, 4.5));
    assert_null(part_of(&alert, "price", ""));
    assert_true(part_of(&alert, "model", "dear")->amount > 4.5);
    assert_null(part_of(&alert, "model", "cheap"));
}

/* A model nobody had used, at no known time before. */
static void test_new_model(void **state)
{
    CLEAN_ATTRIBUTION struct attribution *a = NULL;
    struct alert alert = {.rule = ALERT_COST_SPIKE, .level = ALERT_LEVEL_FEATURE, .baseline = 1};

    (void)state;
    assert_int_equal(attribution_new(alert.rule, &a), 0);
    add(a, ATTRIBUTION_USUAL, "old", "w", 100, 1000, 1);
    add(a, ATTRIBUTION_OBSERVED, "old", "w", 100, 1000, 1);
    add(a, ATTRIBUTION_OBSERVED, "new", "w2", 100, 1000, 9);
    assert_true(attribution_fill(a, &alert));
    assert_true(is_near(factors_sum(&alert), 9));
    assert_true(part_of(&alert, "mix", "")->amount > part_of(&alert, "volume", "")->amount);
    assert_true(is_near(part_of(&alert, "workload", "w2")->share, 1));

    /* Without a time before, only what is there is told. */
    attribution_free(&a);
    assert_int_equal(attribution_new(alert.rule, &a), 0);
    add(a, ATTRIBUTION_OBSERVED, "new", "w2", 100, 1000, 9);
    assert_false(attribution_fill(a, &alert));
    assert_true(is_near(part_of(&alert, "workload", "w2")->amount, 9));
    assert_null(part_of(&alert, "volume", ""));
}

/* Everything stops: the volume. */
static void test_nothing_observed(void **state)
{
    CLEAN_ATTRIBUTION struct attribution *a = NULL;
    struct alert alert = {.rule = ALERT_CALLS_DROP, .level = ALERT_LEVEL_PROVIDER, .baseline = 50};

    (void)state;
    assert_int_equal(attribution_new(alert.rule, &a), 0);
    add(a, ATTRIBUTION_USUAL, "m", "w1", 75, 1000, 1);
    add(a, ATTRIBUTION_USUAL, "m", "w2", 25, 0, 0);
    assert_true(attribution_fill(a, &alert));
    assert_true(is_near(part_of(&alert, "volume", "")->amount, -50));
    assert_true(is_near(part_of(&alert, "workload", "w1")->amount, -37.5));
    assert_true(is_near(part_of(&alert, "workload", "w2")->share, 0.25));
}

static void test_errors(void **state)
{
    CLEAN_ATTRIBUTION struct attribution *a = NULL;
    struct alert alert = {
        .rule = ALERT_ERRORS_RATE, .level = ALERT_LEVEL_PROVIDER, .baseline = 0.01};
    const struct store_series_name bad = {"acme", "chat", "openai", "m", "bad"};
    const struct store_series_name good = {"acme", "chat", "openai", "m", "good"};

    (void)state;
    assert_int_equal(attribution_new(alert.rule, &a), 0);
    assert_int_equal(attribution_add(a, ATTRIBUTION_OBSERVED, &bad,
                                     &(struct rollup_sums){.calls = 100, .errors = 21}),
                     0);
    assert_int_equal(attribution_add(a, ATTRIBUTION_OBSERVED, &good,
                                     &(struct rollup_sums){.calls = 100, .errors = 1}),
                     0);
    assert_true(attribution_fill(a, &alert));
    assert_true(is_near(part_of(&alert, "workload", "bad")->amount, 0.1));
    assert_true(is_near(part_of(&alert, "workload", "bad")->share, 1));
    assert_null(part_of(&alert, "workload", "good"));
}

static uint64_t seed = 1;

static uint64_t below(uint64_t bound)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ (z >> 31)) % bound;
}

/* Whatever came, the factors add up to the deviation. */
static void test_adds_up(void **state)
{
    static const enum alert_rule rules[] = {ALERT_COST_SPIKE, ALERT_TOKENS_SPIKE,
                                            ALERT_CALLS_SPIKE};

    (void)state;
    for (int round = 0; round < 500; round++) {
        CLEAN_ATTRIBUTION struct attribution *a = NULL;
        struct alert alert = {.rule = rules[below(3)], .level = ALERT_LEVEL_ORG};
        double observed = 0, usual = 0;

        assert_int_equal(attribution_new(alert.rule, &a), 0);
        for (unsigned i = 0; i < 40; i++) {
            char model[16], workload[16];
            uint64_t calls = below(4) ? below(500) : 0, tokens = calls * below(3) * below(900);
            double usd = calls ? (double)below(1000000) * 1e-5 : 0;
            double metric = alert.rule == ALERT_COST_SPIKE     ? usd
                            : alert.rule == ALERT_TOKENS_SPIKE ? (double)tokens
                                                               : (double)calls;

            snprintf(model, sizeof(model), "m%u", (unsigned)below(6));
            snprintf(workload, sizeof(workload), "w%u", (unsigned)below(9));
            add(a, i % 2 ? ATTRIBUTION_OBSERVED : ATTRIBUTION_USUAL, model, workload, calls, tokens,
                usd);
            *(i % 2 ? &observed : &usual) += metric;
        }
        alert.baseline = usual * (double)(1 + below(1000)) / 500;
        alert.observed = observed;
        assert_true(attribution_fill(a, &alert));
        assert_true(fabs(factors_sum(&alert) - (observed - alert.baseline)) <=
                    1e-6 * (observed + alert.baseline));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_factor), cmocka_unit_test(test_mix),
        cmocka_unit_test(test_new_model),  cmocka_unit_test(test_nothing_observed),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_adds_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
