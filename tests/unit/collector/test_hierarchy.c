/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cause, one alert, at the level that explains it: an organisation of 20 features,
 * two models each (one of either provider), seeded traffic.
 *
 * LINK: @detect tests/detect/traffic.c tests/detect/fleet.c
 */
#include "collector/detect.h"
#include "tests/detect/fleet.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_S INT64_C(1767225600)
#define FEATURES 20
#define WARM_MIN (26 * 60)
#define EVENT_MIN 30
#define TOLD_MAX 64
#define EVERY FLEET_EVERY
#define PER_MIN 8.0
#define SEEDS 3

struct told {
    struct alert alerts[TOLD_MAX];
    unsigned count;
};

static int keep(void *ctx, const struct alert *a)
{
    struct told *t = ctx;

    assert_true(t->count < TOLD_MAX);
    t->alerts[t->count++] = *a;
    return 0;
}

/* Both models of a feature at one provider, where there are two features. */
static int add_at_one(void *ctx, const struct store_series_name *name,
                      const struct rollup_cell *cell)
{
    struct store_series_name at_one = *name;

    at_one.provider = strcmp(name->feature, "f07") >= 0 && strcmp(name->feature, "f09") < 0
                          ? "openai"
                          : "anthropic";
    return detect_add(ctx, &at_one, cell);
}

/* A day as usual, half an hour of what happens, and `after_min`. */
static void play_at(uint64_t seed, const struct fleet_event *events, unsigned count,
                    unsigned after_min, bool at_one, struct told *ret_told)
{
    static struct fleet fleet;
    struct detect *d = NULL;

    ret_told->count = 0;
    fleet_init(&fleet, FEATURES, PER_MIN, seed, events, count);
    assert_int_equal(detect_new(&fleet_settings, &d), 0);
    for (int64_t i = 0; i < WARM_MIN + EVENT_MIN + after_min; i++) {
        assert_int_equal(detect_begin(d, START_S + 60 * i), 0);
        fleet_next(&fleet, START_S + 60 * i, at_one ? add_at_one : detect_add, d);
        assert_int_equal(detect_close(d, false, keep, ret_told), 0);
    }
    detect_free(&d);
    fleet_fini(&fleet);
}

static void play(uint64_t seed, const struct fleet_event *events, unsigned count,
                 unsigned after_min, struct told *ret_told)
{
    play_at(seed, events, count, after_min, false, ret_told);
}

static unsigned count_of(const struct told *t, enum alert_status status)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->count; i++)
        n += t->alerts[i].status == status;
    return n;
}

static unsigned count_firing(const struct told *t)
{
    return count_of(t, ALERT_FIRING);
}

static void show(const char *what, const struct told *t)
{
    for (unsigned i = 0; i < t->count; i++)
        if (1) {
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
        play(seed, &(struct fleet_event){TRAFFIC_COST, 8, 7, 1, WARM_MIN, EVENT_MIN}, 1, 60, &told);
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
        play(seed, &(struct fleet_event){TRAFFIC_CALLS, 8, 7, EVERY, WARM_MIN, EVENT_MIN}, 1, 60,
             &told);
        show("feature", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_FEATURE);
        assert_string_equal(told.alerts[0].feature, "f07");
        assert_string_equal(told.alerts[0].model, "");
    }
}

/* The provider may depart first, for more calls make it surer; none of its models explains it
 * alone, but the feature that two of them are of does. */
static void test_feature_at_one_provider(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++) {
        play_at(seed,
                &(struct fleet_event){TRAFFIC_COST, 3 + (double)(seed % 7), 7, EVERY, WARM_MIN,
                                      EVENT_MIN},
                1, 60, true, &told);
        show("feature at one", &told);
        for (unsigned i = 0; i < told.count; i++) {
            assert_string_equal(told.alerts[i].feature, "f07");
        }
    }
}

static void test_provider_outage(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, &(struct fleet_event){TRAFFIC_OUTAGE, 0, EVERY, 1, WARM_MIN, EVENT_MIN}, 1, 60,
             &told);
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
        play(seed, &(struct fleet_event){TRAFFIC_ERRORS, .3, EVERY, 0, WARM_MIN, EVENT_MIN}, 1, 60,
             &told);
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
        play(seed, &(struct fleet_event){TRAFFIC_CALLS, 2, EVERY, EVERY, WARM_MIN, EVENT_MIN}, 1,
             60, &told);
        show("doubled", &told);
        assert_int_equal(count_firing(&told), 1);
        assert_int_equal(told.alerts[0].level, ALERT_LEVEL_ORG);
        assert_string_equal(told.alerts[0].org, "acme");
        assert_string_equal(told.alerts[0].provider, "");
    }
}

/* Whoever reads that it is over reads whether it went back. */
static void test_new_usual(void **state)
{
    static struct told told;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (int lasts = 0; lasts < 2; lasts++) {
            const struct fleet_event event = {TRAFFIC_COST, 8, 7, 1, WARM_MIN, lasts ? 600 : 15};
            const struct alert *last;
            char text[1024];

            play(seed, &event, 1, 240, &told);
            show(lasts ? "lasts" : "short", &told);
            assert_int_equal(count_firing(&told), 1);
            assert_int_equal(count_of(&told, ALERT_RESOLVED), 1);
            last = &told.alerts[told.count - 1];
            assert_int_equal(last->status, ALERT_RESOLVED);
            assert_int_equal(last->is_new_usual, lasts);
            alert_reason(last, text, sizeof(text));
            assert_ptr_equal(strstr(text, lasts ? "Taken for the new usual: " : "Back to normal: "),
                             text);
        }
    }
}

/* Two causes at once are two alerts, and each knows of the other only when they share
 * calls. */
static void test_two_causes(void **state)
{
    static const struct fleet_event both[] = {{TRAFFIC_COST, 10, 3, 0, WARM_MIN, EVENT_MIN},
                                              {TRAFFIC_COST, 10, 12, 1, WARM_MIN, EVENT_MIN}};
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
        cmocka_unit_test(test_model_of_a_feature),
        cmocka_unit_test(test_feature),
        cmocka_unit_test(test_feature_at_one_provider),
        cmocka_unit_test(test_provider_outage),
        cmocka_unit_test(test_provider_fails),
        cmocka_unit_test(test_everything_doubles),
        cmocka_unit_test(test_new_usual),
        cmocka_unit_test(test_two_causes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
