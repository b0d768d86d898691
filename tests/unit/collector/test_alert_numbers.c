/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever an alert says can be had again from the roll-ups that were stored.
 *
 * LINK: collector/ruling.c
 * LINK: @detect tests/detect/traffic.c
 */
#include "collector/detect.h"
#include "tests/detect/traffic.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_S INT64_C(1767225600)
#define DAYS 5
#define MINUTES (DAYS * 1440)
#define ALERTS_MAX 64

static const struct config_detect settings = {
    .windows_s = {60, 300, 900, 3600},
    .windows_count = 4,
    .history_h = 24,
    .target_weeks = 100,
    .ratio_min = 1.3,
    .resolve_after_min = 5,
};
static const struct traffic_class class = {
    .per_min = 30,
    .noise_low = .1,
    .noise_high = .2,
    .cv_low = 1,
    .cv_high = 1.5,
    .daily = .3,
    .weekend = 1,
};
static const struct store_series_name name = {"acme", "checkout", "openai", "gpt-4o", "w"};

/* The store: what there was of each minute. */
static struct rollup_cell stored[MINUTES];

struct told {
    struct alert alerts[ALERTS_MAX];
    unsigned count;
};

static int keep(void *ctx, const struct alert *a)
{
    struct told *t = ctx;

    assert_true(t->count < ALERTS_MAX);
    t->alerts[t->count++] = *a;
    return 0;
}

static void fill_store(uint64_t seed)
{
    struct traffic t;

    traffic_init(&t, &class, seed);
    t.events[0] = (struct traffic_event){TRAFFIC_COST, 2 * 1440 + 100, 2 * 1440 + 160, 5};
    t.events[1] = (struct traffic_event){TRAFFIC_OUTAGE, 1 * 1440 + 600, 1 * 1440 + 660, 0};
    t.events[2] = (struct traffic_event){TRAFFIC_ERRORS, 3 * 1440 + 600, 3 * 1440 + 660, .3};
    t.events[3] = (struct traffic_event){TRAFFIC_SLOW, 4 * 1440 + 100, 4 * 1440 + 160, 5};
    t.events[4] = (struct traffic_event){TRAFFIC_RETRY, 4 * 1440 + 600, 4 * 1440 + 660, 4};
    t.events_count = 5;
    for (int i = 0; i < MINUTES; i++) {
        struct rollup_cell *c = &stored[i];
        struct traffic_minute m;

        traffic_next(&t, &m);
        sketch_reset(&c->latency);
        c->seconds = 60;
        c->bucket = START_S + 60 * (int64_t)i;
        c->sums = (struct rollup_sums){
            .calls = m.calls,
            .errors = m.errors,
            .cost_expected_nanousd = llround(m.cost_usd * 1e9),
            .cost_squares = m.cost_squares,
            .input_total = (uint64_t)llround(m.tokens),
        };
        for (uint32_t k = 0; k < m.latencies; k++)
            assert_int_equal(sketch_add(&c->latency, m.latencies_us[k]), 0);
    }
}

static void free_store(void)
{
    for (int i = 0; i < MINUTES; i++)
        sketch_fini(&stored[i].latency);
}

/* Tells the store's minutes from the first; quiet ones before `loud_from`. */
static void tell(struct detect *d, int from, int to, bool quiet, struct told *told)
{
    for (int i = from; i < to; i++) {
        assert_int_equal(detect_begin(d, stored[i].bucket), 0);
        if (stored[i].sums.calls)
            assert_int_equal(detect_add(d, &name, &stored[i]), 0);
        assert_int_equal(detect_close(d, quiet, quiet ? NULL : keep, told), 0);
    }
}

/* Sum over the alert's window of what the rule looks at. */
static double sum_of(const struct alert *a, double *ret_calls)
{
    double sum = 0, calls = 0, hits = 0;
    struct sketch latency = {0};

    for (int i = 0; i < MINUTES; i++) {
        const struct rollup_sums *s = &stored[i].sums;

        if (stored[i].bucket < a->window_start_s || stored[i].bucket >= a->window_end_s)
            continue;
        calls += (double)s->calls;
        hits += (double)s->errors;
        assert_int_equal(sketch_merge(&latency, &stored[i].latency), 0);
        if (strcmp(alert_rule_kind(a->rule), "cost") == 0)
            sum += 1e-9 * (double)s->cost_expected_nanousd;
        else if (strcmp(alert_rule_kind(a->rule), "tokens") == 0)
            sum += (double)(s->input_total + s->output_total);
        else
            sum += (double)s->calls;
    }
    if (a->rule == ALERT_ERRORS_RATE)
        sum = hits / calls;
    if (a->rule == ALERT_LATENCY_P95) {
        sum = sketch_quantile(&latency, 0.95);
        calls = (double)latency.count;
    }
    sketch_fini(&latency);
    *ret_calls = calls;
    return sum;
}

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 1e-5 * fmax(fabs(a), fabs(b)) + 1e-9;
}

static void check_numbers(const struct alert *a)
{
    double calls, sum = sum_of(a, &calls);
    char reason[512], samples[32];

    assert_true(is_near(a->observed, sum));
    assert_true(is_near((double)a->samples, calls));
    assert_true(a->window_end_s > a->window_start_s);
    assert_true(is_near(a->history_hours, (double)(a->window_end_s - START_S) / 3600) ||
                a->status == ALERT_RESOLVED);
    assert_true(a->baseline_samples > 0);
    assert_true(a->baseline_lower <= a->baseline && a->baseline <= a->baseline_upper);
    alert_reason(a, reason, sizeof(reason));
    snprintf(samples, sizeof(samples), " %llu calls", (unsigned long long)a->samples);
    assert_non_null(strstr(reason, samples));
    if (a->rule == ALERT_COST_SPIKE && a->observed >= 1) {
        snprintf(samples, sizeof(samples), "$%.2f", a->observed);
        assert_non_null(strstr(reason, samples));
    }
    if (a->has_return && a->status != ALERT_RESOLVED) {
        snprintf(samples, sizeof(samples), "once in %.3g weeks", alert_return_weeks(a));
        assert_non_null(strstr(reason, samples));
    }
}

/* The sums from the window's minutes; everything else by telling a fresh detector
 * the stored minutes up to the window's end. */
static void test_numbers_recompute(void **state)
{
    static struct told told, again;
    unsigned seen[ALERT_RULE__COUNT] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct detect *d = NULL;

        told.count = 0;
        fill_store(seed);
        assert_int_equal(detect_new(&settings, &d), 0);
        tell(d, 0, MINUTES, false, &told);
        detect_free(&d);
        for (unsigned i = 0; i < told.count; i++) {
            check_numbers(&told.alerts[i]);
            seen[told.alerts[i].rule]++;
        }
        again.count = 0;
        assert_int_equal(detect_new(&settings, &d), 0);
        tell(d, 0, (int)((told.alerts[0].window_end_s - START_S) / 60), false, &again);
        detect_free(&d);
        assert_int_equal(again.count, 1);
        assert_memory_equal(&again.alerts[0].observed, &told.alerts[0].observed, sizeof(double));
        assert_memory_equal(&again.alerts[0].baseline, &told.alerts[0].baseline, sizeof(double));
        assert_true(again.alerts[0].return_weeks == told.alerts[0].return_weeks);
        assert_string_equal(again.alerts[0].id, told.alerts[0].id);
    }
    assert_true(seen[ALERT_COST_SPIKE] && seen[ALERT_CALLS_DROP] && seen[ALERT_ERRORS_RATE] &&
                seen[ALERT_LATENCY_P95] && seen[ALERT_CALLS_SPIKE]);
    free_store();
}

/* A detector that learned the store quietly says what one says that never stopped. */
static void test_restart_is_the_same(void **state)
{
    static struct told whole, after;
    struct detect *d = NULL;
    const int stop = 4 * 1440;
    unsigned first = 0;

    (void)state;
    fill_store(7);
    assert_int_equal(detect_new(&settings, &d), 0);
    tell(d, 0, MINUTES, false, &whole);
    detect_free(&d);
    assert_int_equal(detect_new(&settings, &d), 0);
    tell(d, 0, stop, true, NULL);
    tell(d, stop, MINUTES, false, &after);
    detect_free(&d);
    while (whole.alerts[first].detected_s <= START_S + 60 * (int64_t)stop)
        first++;
    assert_true(after.count > 0);
    assert_int_equal(after.count, whole.count - first);
    for (unsigned i = 0; i < after.count; i++) {
        assert_string_equal(after.alerts[i].id, whole.alerts[first + i].id);
        assert_true(after.alerts[i].baseline == whole.alerts[first + i].baseline);
    }
    free_store();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_recompute),
        cmocka_unit_test(test_restart_is_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
