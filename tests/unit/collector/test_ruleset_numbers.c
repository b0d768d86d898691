/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever an alert of a rule says can be had again from the minutes.
 *
 * LINK: collector/ruleset.c collector/ruleset_feed.c collector/ruleset_judge.c
 * LINK: collector/ruleset_alert.c collector/ruleset_save.c collector/burn.c
 * LINK: collector/budget.c collector/quiet.c collector/share.c collector/ruling.c
 * LINK: collector/alert.c collector/alerting.c collector/alerting_schema.c
 * LINK: collector/alerting_check.c collector/places.c collector/yamlread.c collector/when.c
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

/* --- shares, first values, silence --- */

#define DAYS 9
#define SILENT_FROM_MIN (8 * 1440 + 12 * 60 + 17)
#define SILENT_TO_MIN (SILENT_FROM_MIN + 200)

struct minute {
    uint64_t calls, unpriced, seen, metered, models;
};
static struct minute minutes[DAYS * 1440];

static struct minute minutes_sum(int64_t from_s, int64_t to_s)
{
    struct minute sum = {0};

    for (int i = 0; i < DAYS * 1440; i++) {
        int64_t at_s = START_S + i * 60;

        if (at_s < from_s || at_s >= to_s)
            continue;
        sum.calls += minutes[i].calls;
        sum.unpriced += minutes[i].unpriced;
        sum.seen += minutes[i].seen;
        sum.metered += minutes[i].metered;
        sum.models += minutes[i].models;
    }
    return sum;
}

static void make_minute(int i, uint64_t *random)
{
    const bool is_silent = i >= SILENT_FROM_MIN && i < SILENT_TO_MIN;
    struct minute *m = &minutes[i];

    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    *m = (struct minute){.calls = is_silent ? 0 : 1 + (*random >> 33) % 5,
                         .seen = (*random >> 40) % 9,
                         .models = (*random >> 45) % 500 == 0 ? 1 + (*random >> 54) % 3 : 0};
    if (i / 70 % 9 == 5)
        m->unpriced = m->calls / 2;
    m->metered = i / 130 % 7 == 2 ? m->seen / 2 : m->seen;
}

static void tell_made(struct ruleset *set, int i)
{
    static unsigned models;
    const struct minute *m = &minutes[i];
    const struct traffic t = {.calls = m->calls, .unknown = m->unpriced};
    const struct store_coverage_row coverage = {"acme", "w", "openai", m->seen, m->metered};
    const struct store_unpriced_row unpriced = {"acme", "openai", "gpt-4o", "unknown_model",
                                                m->unpriced};

    assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
    if (m->calls)
        tell_cell(set, &t, 1);
    if (m->seen)
        assert_int_equal(ruleset_add_coverage(set, &coverage), 0);
    if (m->unpriced)
        assert_int_equal(ruleset_add_unpriced(set, &unpriced), 0);
    for (uint64_t k = 0; k < m->models; k++) {
        char name[32];
        const struct ruleset_new_value value = {.org = "acme",
                                                .dimension = ALERTING_DIM_MODEL,
                                                .value = name,
                                                .feature = "chat",
                                                .provider = "openai",
                                                .model = name,
                                                .age_s = 30 * 86400};

        snprintf(name, sizeof(name), "model-%u", models++);
        assert_int_equal(ruleset_add_new_value(set, &value), 0);
    }
    assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
}

/* The whole day before the hour of the clock in which the alert's hour began. */
static struct minute day_before(const struct told_alert *t)
{
    int64_t end_s = t->from_s - t->from_s % 3600;

    return minutes_sum(end_s - 86400, end_s);
}

/* What the sentence says after the scope. */
static const char *said(const struct told_alert *t)
{
    const char *numbers = strstr(t->reason, ": ");

    if (numbers && t->status == ALERT_RESOLVED) /* "Over: " */
        numbers = strstr(numbers + 2, ": ");
    assert_non_null(numbers);
    return numbers + 2;
}

static void assert_unpriced(const struct told_alert *t, struct minute sum)
{
    unsigned long long hits = 0, all = 0;
    const char *numbers;

    assert_int_equal(t->to_s - t->from_s, 3600);
    assert_int_equal(t->samples, sum.calls);
    assert_float_equal(t->observed, (double)sum.unpriced, 1e-9);
    assert_int_equal(sscanf(said(t), "%llu calls in the hour", &hits), 1);
    assert_int_equal(hits, sum.unpriced);
    numbers = strstr(t->reason, "the provider's ");
    assert_non_null(numbers);
    assert_int_equal(sscanf(numbers, "the provider's %llu;", &all), 1);
    assert_int_equal(all, sum.calls);
}

static void assert_coverage(const struct told_alert *t, struct minute sum)
{
    struct minute before = day_before(t);
    unsigned long long metered = 0, seen = 0;

    assert_int_equal(t->to_s - t->from_s, 3600);
    assert_int_equal(t->samples, sum.seen);
    assert_float_equal(t->observed, (double)sum.metered / (double)sum.seen, 1e-12);
    assert_int_equal(t->baseline_samples, before.seen);
    if (before.seen)
        assert_float_equal(t->baseline, (double)before.metered / (double)before.seen, 1e-12);
    assert_int_equal(sscanf(said(t), "%llu of %llu connections", &metered, &seen), 2);
    assert_int_equal(metered, sum.metered);
    assert_int_equal(seen, sum.seen);
}

/* Calls of whole hours without any, and of the running one, as they were a week ago. */
static double missing_at(const struct told_alert *t)
{
    double missing = 0;

    for (int64_t hour_s = t->from_s - t->from_s % 3600; hour_s < t->to_s; hour_s += 3600) {
        double part = hour_s + 3600 <= t->to_s ? 1 : (double)(t->to_s - hour_s) / 3600;

        if (minutes_sum(hour_s, hour_s + 3600).calls == 0 || hour_s + 3600 > t->to_s)
            missing += part * (double)minutes_sum(hour_s - 604800, hour_s - 604800 + 3600).calls;
        if (hour_s < t->from_s) /* it had calls before */
            missing = 0;
    }
    return missing;
}

static void assert_silent(const struct told_alert *t, struct minute sum)
{
    long long pause_min = 0;
    const char *numbers;

    if (t->status == ALERT_RESOLVED)
        return;
    assert_int_equal(sum.calls, 0);
    assert_true(minutes_sum(t->from_s - 60, t->from_s).calls > 0);
    assert_float_equal(t->observed, 0, 1e-12);
    assert_float_equal(t->baseline, missing_at(t), 1e-3);
    numbers = strstr(t->reason, "UTC (");
    assert_non_null(numbers);
    assert_int_equal(sscanf(numbers, "UTC (%lld min)", &pause_min), 1);
    assert_int_equal(pause_min, (t->to_s - t->from_s) / 60);
}

static void assert_novel(const struct told_alert *t, struct minute sum)
{
    unsigned long long total = 0;

    if (t->status != ALERT_FIRING)
        return;
    assert_int_equal(t->to_s - t->from_s, 60);
    assert_int_equal(t->values, sum.models);
    assert_float_equal(t->observed, (double)sum.models, 1e-12);
    assert_int_equal(sscanf(t->reason, "organisation acme: %llu model", &total), 1);
    assert_int_equal(total, sum.models);
}

static void test_categories_recompute(void **state)
{
    static const struct {
        enum alert_rule rule;
        void (*check)(const struct told_alert *t, struct minute sum);
    } RULES[] = {
        {ALERT_MODEL_UNPRICED, assert_unpriced},
        {ALERT_COVERAGE_LOW, assert_coverage},
        {ALERT_FEATURE_SILENT, assert_silent},
        {ALERT_MODEL_FIRST_SEEN, assert_novel},
    };
    uint64_t random = 4711;
    struct ruleset *set = begin("rules:\n- {name: unpriced, kind: unpriced, calls_min: 5}\n"
                                "- {name: coverage, kind: coverage, below: 0.9}\n"
                                "- {name: silent, kind: silent, for_min: 130}\n"
                                "- {name: new-model, kind: first_seen, dimension: model}\n");

    (void)state;
    for (int i = 0; i < DAYS * 1440; i++) {
        make_minute(i, &random);
        tell_made(set, i);
    }
    ruleset_free(&set);
    for (size_t k = 0; k < sizeof(RULES) / sizeof(RULES[0]); k++) {
        assert_true(count_heard(RULES[k].rule, ALERT_FIRING) > 0);
        for (unsigned i = 0; i < heard_count; i++)
            if (heard[i].rule == RULES[k].rule)
                RULES[k].check(&heard[i], minutes_sum(heard[i].from_s, heard[i].to_s));
    }
}

static int end(void **state)
{
    (void)state;
    alerting_free(&file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers_recompute),
                                       cmocka_unit_test(test_categories_recompute)};

    return cmocka_run_group_tests(tests, NULL, end);
}
