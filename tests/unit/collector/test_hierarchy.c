/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cause, one alert, at the level that explains it: an organisation of 20 features,
 * two models each (one of either provider), seeded traffic.
 *
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
#define FEATURES 20
#define LEAVES (2 * FEATURES)
#define WARM_MIN (26 * 60)
#define EVENT_MIN 30
#define TOLD_MAX 64
#define EVERY -1
#define SEEDS 3

static const struct config_detect settings = {
    .windows_s = {60, 300, 900, 3600},
    .windows_count = 4,
    .history_h = 24,
    .target_weeks = 100,
    .ratio_min = 1.3,
    .resolve_after_min = 5,
};
static const struct traffic_class class = {
    .per_min = 8,
    .noise_low = .1,
    .noise_high = .2,
    .cv_low = 1,
    .cv_high = 1.5,
    .daily = .2,
    .weekend = 1,
};

struct told {
    struct alert alerts[TOLD_MAX];
    unsigned count;
};

/* What happens to the leaves of a feature and provider, EVERY: all of them. */
struct happening {
    enum traffic_kind kind;
    double factor;
    int feature, provider;
};

static int keep(void *ctx, const struct alert *a)
{
    struct told *t = ctx;

    assert_true(t->count < TOLD_MAX);
    t->alerts[t->count++] = *a;
    return 0;
}

static void tell_minute(struct detect *d, struct traffic *traffic, int64_t minute_s,
                        struct told *told)
{
    struct rollup_cell cell = {.seconds = 60, .bucket = minute_s};

    assert_int_equal(detect_begin(d, minute_s), 0);
    for (int i = 0; i < LEAVES; i++) {
        char feature[16];
        const struct store_series_name name = {"acme", feature, i % 2 ? "openai" : "anthropic",
                                               i % 2 ? "gpt" : "claude", "w"};
        struct traffic_minute m;

        snprintf(feature, sizeof(feature), "f%02d", i / 2);
        traffic_next(&traffic[i], &m);
        sketch_reset(&cell.latency);
        for (uint32_t k = 0; k < m.latencies; k++)
            assert_int_equal(sketch_add(&cell.latency, m.latencies_us[k]), 0);
        cell.sums = (struct rollup_sums){
            .calls = m.calls,
            .errors = m.errors,
            .cost_expected_nanousd = llround(m.cost_usd * 1e9),
            .cost_squares = m.cost_squares,
            .input_total = (uint64_t)llround(m.tokens),
        };
        if (m.calls)
            assert_int_equal(detect_add(d, &name, &cell), 0);
    }
    assert_int_equal(detect_close(d, false, keep, told), 0);
    sketch_fini(&cell.latency);
}

static void play(uint64_t seed, const struct happening *h, unsigned happenings, unsigned after_min,
                 struct told *ret_told)
{
    static struct traffic traffic[LEAVES];
    struct detect *d = NULL;

    ret_told->count = 0;
    for (int i = 0; i < LEAVES; i++) {
        traffic_init(&traffic[i], &class, seed * 1000 + (uint64_t)i);
        for (unsigned k = 0; k < happenings; k++)
            if ((h[k].feature == EVERY || h[k].feature == i / 2) &&
                (h[k].provider == EVERY || h[k].provider == i % 2))
                traffic[i].events[traffic[i].events_count++] =
                    (struct traffic_event){h[k].kind, WARM_MIN, WARM_MIN + EVENT_MIN, h[k].factor};
    }
    assert_int_equal(detect_new(&settings, &d), 0);
    for (int64_t i = 0; i < WARM_MIN + EVENT_MIN + after_min; i++)
        tell_minute(d, traffic, START_S + 60 * i, ret_told);
    detect_free(&d);
}

static unsigned count_firing(const struct told *t)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->count; i++)
        n += t->alerts[i].status == ALERT_FIRING;
    return n;
}

static void show(const char *what, const struct told *t)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->alerts[i].status == ALERT_FIRING) {
            char text[1024];

            alert_reason(&t->alerts[i], text, sizeof(text));
            print_message("%s: %s (%u affected)\n", what, text, t->alerts[i].affected);
        }
}

static void test_model_of_a_feature(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, &(struct happening){TRAFFIC_COST, 8, 7, 1}, 1, 60, &told);
        show("model", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_MODEL);
        assert_string_equal(told.alerts[0].feature, "f07");
        assert_string_equal(told.alerts[0].model, "gpt");
    }
}

static void test_feature(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, &(struct happening){TRAFFIC_CALLS, 8, 7, EVERY}, 1, 60, &told);
        show("feature", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_FEATURE);
        assert_string_equal(told.alerts[0].feature, "f07");
        assert_string_equal(told.alerts[0].model, "");
    }
}

static void test_provider_outage(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, &(struct happening){TRAFFIC_OUTAGE, 0, EVERY, 1}, 1, 60, &told);
        show("outage", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_PROVIDER);
        assert_string_equal(told.alerts[0].provider, "openai");
        assert_string_equal(told.alerts[0].feature, "");
        assert_int_equal(told.alerts[0].rule, ALERT_CALLS_DROP);
    }
}

static void test_provider_fails(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, &(struct happening){TRAFFIC_ERRORS, .3, EVERY, 0}, 1, 60, &told);
        show("errors", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_PROVIDER);
        assert_string_equal(told.alerts[0].provider, "anthropic");
        assert_int_equal(told.alerts[0].rule, ALERT_ERRORS_RATE);
    }
}

static void test_everything_doubles(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, &(struct happening){TRAFFIC_CALLS, 2, EVERY, EVERY}, 1, 60, &told);
        show("doubled", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_ORG);
        assert_string_equal(told.alerts[0].org, "acme");
        assert_string_equal(told.alerts[0].provider, "");
    }
}

/* Two causes at once are two alerts, and each knows of the other only when they share
 * calls. */
static void test_two_causes(void **state)
{
    static const struct happening both[] = {{TRAFFIC_COST, 10, 3, 0}, {TRAFFIC_COST, 10, 12, 1}};
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, both, 2, 60, &told);
        show("two", &told);
        assert_in_range(count_firing(&told), 1, 2);
        for (unsigned i = 0; i < told.count; i++)
            assert_int_equal(told.alerts[i].related_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_of_a_feature), cmocka_unit_test(test_feature),
        cmocka_unit_test(test_provider_outage),    cmocka_unit_test(test_provider_fails),
        cmocka_unit_test(test_everything_doubles), cmocka_unit_test(test_two_causes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
