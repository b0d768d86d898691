/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes after a deviation that lasted and was taken for the usual: other incidents
 * are told, it is not told twice, and what is said of its end is true.
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
#define FEATURES 6
#define WARM_MIN (15 * 1440 + 60) /* the slow rule judges from two weeks on */
#define PER_MIN 8.0
#define SEEDS 3
#define TOLD_MAX 64
#define EVERY FLEET_EVERY
#define STAYS 2000
#define EVENTS_MAX 4

struct told {
    struct alert alerts[TOLD_MAX];
    unsigned count;
};

/* Two weeks as usual, which every test goes on from. */
static struct warm {
    struct fleet fleet;
    struct buf state;
} warm[SEEDS];

static int keep(void *ctx, const struct alert *a)
{
    struct told *t = ctx;

    assert_true(t->count < TOLD_MAX);
    t->alerts[t->count++] = *a;
    return 0;
}

static int forget(void *ctx, const struct alert *a)
{
    (void)ctx;
    (void)a;
    return 0;
}

static void go_on(struct detect *d, struct fleet *f, int64_t from, int64_t to, detect_emit emit,
                  void *ctx)
{
    for (int64_t i = from; i < to; i++) {
        assert_int_equal(detect_begin(d, START_S + 60 * i), 0);
        fleet_next(f, START_S + 60 * i, detect_add, d);
        assert_int_equal(detect_close(d, false, emit, ctx), 0);
    }
}

static int warm_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SEEDS; i++) {
        struct detect *d = NULL;
        bool done = false;

        fleet_init(&warm[i].fleet, FEATURES, PER_MIN, i + 1, NULL, 0);
        buf_init(&warm[i].state, SIZE_MAX);
        assert_int_equal(detect_new(&fleet_settings, &d), 0);
        go_on(d, &warm[i].fleet, 0, WARM_MIN, forget, NULL);
        detect_save_begin(d);
        assert_int_equal(detect_save_some(d, SIZE_MAX, &warm[i].state, &done), 0);
        assert_true(done);
        detect_free(&d);
    }
    return 0;
}

static int cool_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SEEDS; i++) {
        fleet_fini(&warm[i].fleet);
        buf_fini(&warm[i].state);
    }
    return 0;
}

static void begin(struct detect **d, struct slice state)
{
    *d = NULL;
    assert_int_equal(detect_new(&fleet_settings, d), 0);
    assert_int_equal(detect_load(*d, state), 0);
    assert_int_equal(detect_load_end(*d), 0);
}

static void save_and_load(struct detect **d)
{
    struct buf state;
    bool done = false;

    buf_init(&state, SIZE_MAX);
    detect_save_begin(*d);
    assert_int_equal(detect_save_some(*d, SIZE_MAX, &state, &done), 0);
    assert_true(done);
    detect_free(d);
    begin(d, buf_slice(&state));
    buf_fini(&state);
}

/* Events begin so many minutes after two weeks. `stop_every` minutes the detector is
 * stopped and started, 0: never. */
static void play_on(unsigned seed, const struct fleet_event *events, unsigned count,
                    unsigned minutes, unsigned stop_every, struct told *ret_told)
{
    static struct fleet fleet;
    struct fleet_event later[EVENTS_MAX];
    struct detect *d;

    assert_true(count <= EVENTS_MAX);
    for (unsigned i = 0; i < count; i++) {
        later[i] = events[i];
        later[i].from_min += WARM_MIN;
    }
    fleet_init(&fleet, FEATURES, PER_MIN, seed + 1, later, count);
    for (unsigned i = 0; i < 2 * FEATURES; i++) {
        const struct traffic fresh = fleet.traffic[i];
        struct traffic *t = &fleet.traffic[i];

        *t = warm[seed].fleet.traffic[i];
        memcpy(t->events, fresh.events, sizeof(t->events));
        t->events_count = fresh.events_count;
    }
    ret_told->count = 0;
    begin(&d, buf_slice(&warm[seed].state));
    for (unsigned i = 0; i < minutes; i++) {
        if (stop_every && i % stop_every == 0)
            save_and_load(&d);
        go_on(d, &fleet, WARM_MIN + i, WARM_MIN + i + 1, keep, ret_told);
    }
    detect_free(&d);
    fleet_fini(&fleet);
}

static void play(unsigned seed, const struct fleet_event *events, unsigned count, unsigned minutes,
                 struct told *ret_told)
{
    play_on(seed, events, count, minutes, 0, ret_told);
    for (unsigned i = 0; i < ret_told->count; i++) {
        const struct alert *a = &ret_told->alerts[i];
        char text[1024];

        alert_reason(a, text, sizeof(text));
        print_message("%u: %lld min, status %d: %s\n", seed,
                      (long long)(a->detected_s - START_S) / 60 - WARM_MIN, (int)a->status, text);
    }
}

/* The alerts of a status from a minute on. */
static unsigned count_since(const struct told *t, enum alert_status status, int64_t from_min,
                            const struct alert **ret_last)
{
    const int64_t from_s = START_S + 60 * (WARM_MIN + from_min);
    unsigned n = 0;

    for (unsigned i = 0; i < t->count; i++)
        if (t->alerts[i].status == status && t->alerts[i].detected_s > from_s) {
            n++;
            *ret_last = &t->alerts[i];
        }
    return n;
}

/* One alert since, of this rule and level. */
static const struct alert *assert_one(const struct told *t, int64_t from_min, enum alert_rule rule,
                                      enum alert_level level)
{
    const struct alert *a = NULL;

    assert_int_equal(count_since(t, ALERT_FIRING, from_min, &a), 1);
    assert_int_equal(a->rule, rule);
    assert_int_equal(a->level, level);
    return a;
}

static void assert_none(const struct told *t, int64_t from_min)
{
    const struct alert *a = NULL;

    assert_int_equal(count_since(t, ALERT_FIRING, from_min, &a), 0);
}

/* How the last one since then ended, in what is said, too. */
static void assert_ended(const struct told *t, int64_t from_min, bool is_new_usual)
{
    const struct alert *a = NULL;
    char text[1024];

    assert_true(count_since(t, ALERT_RESOLVED, from_min, &a) > 0);
    assert_int_equal(a->is_new_usual, is_new_usual);
    alert_reason(a, text, sizeof(text));
    assert_ptr_equal(strstr(text, is_new_usual ? "Taken for the new usual: " : "Back to normal: "),
                     text);
}

/* --- the same series --- */

/* Three times the usual stay; more of it later is something else, though less than the
 * first peak may have been. */
static void test_more_of_it(void **state)
{
    static const struct fleet_event more[] = {{TRAFFIC_CALLS, 3, 2, 1, 0, STAYS},
                                              {TRAFFIC_CALLS, 2, 2, 1, 400, 30}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, more, 2, 600, &told);
        assert_int_equal(count_since(&told, ALERT_FIRING, 0, &a), 2);
        assert_int_equal(count_since(&told, ALERT_FIRING, 400, &a), 1);
        assert_int_equal(a->rule, ALERT_CALLS_SPIKE);
        assert_string_equal(a->feature, "f02");
        assert_ended(&told, 400, false);
    }
}

/* Ten times at first, less of it stays: it is not back, and ten times again are told. */
static void test_peak_again(void **state)
{
    static const struct fleet_event again[] = {{TRAFFIC_CALLS, 10, 2, 1, 0, 10},
                                               {TRAFFIC_CALLS, 2.5, 2, 1, 10, STAYS},
                                               {TRAFFIC_CALLS, 4, 2, 1, 300, 30}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, again, 2, 290, &told);
        assert_one(&told, 0, ALERT_CALLS_SPIKE, ALERT_LEVEL_MODEL);
        assert_ended(&told, 0, true);
        play(seed, again, 3, 400, &told);
        assert_int_equal(count_since(&told, ALERT_FIRING, 300, &a), 1);
        assert_int_equal(a->rule, ALERT_CALLS_SPIKE);
        assert_string_equal(a->feature, "f02");
        assert_ended(&told, 300, false);
    }
}

/* What begins and ends at a level that is new itself did go back, each time. */
static void test_spikes_of_a_new_level(void **state)
{
    static const struct fleet_event spikes[] = {{TRAFFIC_CALLS, 2, 2, 1, 0, STAYS},
                                                {TRAFFIC_CALLS, 3, 2, 1, 500, 20},
                                                {TRAFFIC_CALLS, 3, 2, 1, 600, 20}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, spikes, 3, 700, &told);
        assert_int_equal(count_since(&told, ALERT_FIRING, 500, &a), 2);
        for (unsigned i = 0; i < told.count; i++) {
            a = &told.alerts[i];
            if (a->rule == ALERT_CALLS_SHIFT && a->status == ALERT_RESOLVED)
                assert_true(a->is_new_usual);
            if (a->starts_s >= START_S + 60 * (WARM_MIN + 500))
                assert_false(a->is_new_usual);
        }
    }
}

/* It ends in the minute in which it would have become the usual. */
static void test_ends_just_then(void **state)
{
    static const struct fleet_event hour = {TRAFFIC_CALLS, 8, 2, 1, 0, 60};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, &hour, 1, 400, &told);
        assert_one(&told, 0, ALERT_CALLS_SPIKE, ALERT_LEVEL_MODEL);
        assert_ended(&told, 0, false);
    }
}

/* An hour and more becomes the usual within it: that it ends is no event, and the next
 * one like it is one again. */
static void test_back_to_before(void **state)
{
    static const struct fleet_event twice[] = {{TRAFFIC_COST, 8, 2, 1, 0, 75},
                                               {TRAFFIC_COST, 8, 2, 1, 300, 75}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, twice, 1, 290, &told);
        assert_one(&told, 0, ALERT_COST_SPIKE, ALERT_LEVEL_MODEL);
        play(seed, twice, 2, 600, &told);
        assert_true(count_since(&told, ALERT_FIRING, 300, &a) > 0);
        for (unsigned i = 0; i < told.count; i++)
            assert_int_equal(told.alerts[i].rule, ALERT_COST_SPIKE);
    }
}

/* That all ends is no return to what was before. */
static void test_outage_of_a_new_level(void **state)
{
    static const struct fleet_event out[] = {{TRAFFIC_CALLS, 8, 2, 1, 0, 120},
                                             {TRAFFIC_OUTAGE, 0, 2, 1, 120, 40}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, out, 2, 400, &told);
        a = assert_one(&told, 120, ALERT_CALLS_DROP, ALERT_LEVEL_MODEL);
        assert_true(a->detected_s <= START_S + 60 * (WARM_MIN + 130));
        assert_ended(&told, 120, false);
    }
}

/* A tenth of it stays: told once, it is not back, and what is new of it goes down. */
static void test_drop_stays(void **state)
{
    static const struct fleet_event drop = {TRAFFIC_CALLS, .1, 2, 1, 0, STAYS};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        double ratio = INFINITY;

        play(seed, &drop, 1, 600, &told);
        assert_one(&told, 0, ALERT_CALLS_DROP, ALERT_LEVEL_MODEL);
        assert_ended(&told, 0, true);
        for (unsigned i = 0; i < told.count && told.alerts[i].status != ALERT_RESOLVED; i++) {
            assert_true(told.alerts[i].observed / told.alerts[i].baseline < ratio);
            ratio = told.alerts[i].observed / told.alerts[i].baseline;
        }
    }
}

/* Up, down beyond what was before, up: both ways back are no event. */
static void test_back_from_a_drop(void **state)
{
    static const struct fleet_event there[] = {{TRAFFIC_CALLS, 2, 2, 1, 0, STAYS},
                                               {TRAFFIC_CALLS, .125, 2, 1, 500, 60}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, there, 2, 700, &told);
        assert_int_equal(count_since(&told, ALERT_FIRING, 500, &a), 1);
        assert_int_equal(a->rule, ALERT_CALLS_DROP);
        assert_none(&told, 560);
    }
}

/* --- what shares its calls --- */

/* All doubled; one model has eight times as much of that: it, and at once. So it is of
 * less while others may still settle. */
static void test_part_of_it(void **state)
{
    static const struct fleet_event part[] = {{TRAFFIC_CALLS, 2, EVERY, EVERY, 0, STAYS},
                                              {TRAFFIC_CALLS, 8, 2, 1, 400, 30}},
                                    soon[] = {{TRAFFIC_CALLS, 2, EVERY, EVERY, 0, STAYS},
                                              {TRAFFIC_CALLS, 2.5, 2, 1, 100, 25}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        const struct alert *a = NULL;

        play(seed, part, 2, 500, &told);
        a = assert_one(&told, 400, ALERT_CALLS_SPIKE, ALERT_LEVEL_MODEL);
        assert_true(a->detected_s <= START_S + 60 * (WARM_MIN + 402));
        play(seed, soon, 2, 200, &told);
        assert_one(&told, 100, ALERT_CALLS_SPIKE, ALERT_LEVEL_MODEL);
    }
}

/* One model has eight times as much; then all of its provider double, or everything. */
static void test_whole_of_it(void **state)
{
    static const struct fleet_event provider[] = {{TRAFFIC_CALLS, 8, 2, 1, 0, STAYS},
                                                  {TRAFFIC_CALLS, 2, EVERY, 1, 400, 30}},
                                    org[] = {{TRAFFIC_CALLS, 8, 2, 1, 0, STAYS},
                                             {TRAFFIC_CALLS, 2, EVERY, EVERY, 400, 30}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, provider, 2, 500, &told);
        assert_one(&told, 400, ALERT_CALLS_SPIKE, ALERT_LEVEL_PROVIDER);
        play(seed, org, 2, 500, &told);
        assert_one(&told, 400, ALERT_CALLS_SPIKE, ALERT_LEVEL_ORG);
    }
}

/* A provider has three times as much; a feature, half of it there, five times more. */
static void test_across_it(void **state)
{
    static const struct fleet_event across[] = {{TRAFFIC_CALLS, 3, EVERY, 1, 0, STAYS},
                                                {TRAFFIC_CALLS, 5, 3, EVERY, 300, 30}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, across, 2, 400, &told);
        assert_one(&told, 300, ALERT_CALLS_SPIKE, ALERT_LEVEL_FEATURE);
    }
}

/* It comes and goes all day: told each time, of nothing else. */
static void test_comes_and_goes(void **state)
{
    static const struct fleet_event times[] = {{TRAFFIC_CALLS, 4, 2, 1, 0, 100},
                                               {TRAFFIC_CALLS, 4, 2, 1, 200, 100}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, times, 2, 400, &told);
        assert_one(&told, 200, ALERT_CALLS_SPIKE, ALERT_LEVEL_MODEL);
    }
}

/* Retries after an outage that was told of the provider: they are no return. */
static void test_retries_after_outage(void **state)
{
    static const struct fleet_event storm[] = {{TRAFFIC_OUTAGE, 0, EVERY, 1, 0, 40},
                                               {TRAFFIC_CALLS, 8, 2, 1, 60, 30}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, storm, 2, 200, &told);
        assert_one(&told, 60, ALERT_CALLS_SPIKE, ALERT_LEVEL_MODEL);
    }
}

/* What comes back after hours is no spike: neither of what was told, nor of a part of it
 * or of its cost. */
static void test_back_from_outage(void **state)
{
    static const struct fleet_event out[] = {{TRAFFIC_OUTAGE, 0, EVERY, 1, 0, 150}},
                                    little[] = {{TRAFFIC_CALLS, .1, EVERY, 1, 0, 240}};
    static struct told told;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, out, 1, 400, &told);
        assert_one(&told, 0, ALERT_CALLS_DROP, ALERT_LEVEL_PROVIDER);
        play(seed, little, 1, 500, &told);
        assert_one(&told, 0, ALERT_CALLS_DROP, ALERT_LEVEL_PROVIDER);
    }
}

/* Stopped and started in the middle of it all: the same is told. */
static void test_goes_on(void **state)
{
    static const struct fleet_event all[] = {{TRAFFIC_CALLS, 3, 2, 1, 0, STAYS},
                                             {TRAFFIC_CALLS, .2, EVERY, 0, 100, 200},
                                             {TRAFFIC_CALLS, 2, 2, 1, 400, 30}};
    static struct told straight, stopped;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        play(seed, all, 3, 500, &straight);
        play_on(seed, all, 3, 500, 7, &stopped);
        assert_int_equal(stopped.count, straight.count);
        for (unsigned i = 0; i < straight.count; i++) {
            const struct alert *a = &straight.alerts[i], *b = &stopped.alerts[i];
            char one[1024], other[1024];

            assert_string_equal(a->id, b->id);
            assert_int_equal(a->detected_s, b->detected_s);
            assert_int_equal(a->is_new_usual, b->is_new_usual);
            alert_reason(a, one, sizeof(one));
            alert_reason(b, other, sizeof(other));
            assert_string_equal(one, other);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_of_it),
        cmocka_unit_test(test_peak_again),
        cmocka_unit_test(test_spikes_of_a_new_level),
        cmocka_unit_test(test_ends_just_then),
        cmocka_unit_test(test_back_to_before),
        cmocka_unit_test(test_outage_of_a_new_level),
        cmocka_unit_test(test_drop_stays),
        cmocka_unit_test(test_back_from_a_drop),
        cmocka_unit_test(test_part_of_it),
        cmocka_unit_test(test_whole_of_it),
        cmocka_unit_test(test_across_it),
        cmocka_unit_test(test_comes_and_goes),
        cmocka_unit_test(test_retries_after_outage),
        cmocka_unit_test(test_back_from_outage),
        cmocka_unit_test(test_goes_on),
    };

    return cmocka_run_group_tests(tests, warm_up, cool_down);
}
