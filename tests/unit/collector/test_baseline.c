/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @baseline collector/rate.c collector/latency.c collector/sketch.c */
#include "collector/baseline.h"
#include "collector/latency.h"
#include "collector/rate.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIDNIGHT_MIN (INT64_C(1767225600) / 60)

static const struct baseline_settings settings = {
    .windows_min = {1, 5, 15, 60},
    .windows_count = 4,
    .history_min = 1440,
    .target_weeks = 100,
    .ratio_min = 1.3,
};

static struct baseline_minute minute_of(double calls)
{
    return (struct baseline_minute){
        .count = (float)calls, .sum = (float)calls, .squares = (float)calls};
}

/* Calls by the hour of the day, twice as many at its height as at its depth. */
static double daily(int64_t minute)
{
    return 30 + 10 * sin(6.2831853 * (double)(minute % 1440) / 1440);
}

static void learn(struct baseline *b, int64_t from, int64_t minutes)
{
    for (int64_t m = from; m < from + minutes; m++) {
        struct baseline_minute minute = minute_of(round(daily(m)));

        assert_int_equal(baseline_learn(b, &settings, m, &minute, false), 0);
    }
}

static struct finding judge(const struct baseline *b, bool down)
{
    struct finding f;

    baseline_judge(b, &settings, down, UINT32_MAX, NULL, 0, &f);
    return f;
}

static void test_warming(void **state)
{
    struct baseline *b = NULL;

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    learn(b, MIDNIGHT_MIN, 1439);
    assert_false(baseline_is_warm(b, &settings));
    assert_false(judge(b, false).fires);
    learn(b, MIDNIGHT_MIN + 1439, 1);
    assert_true(baseline_is_warm(b, &settings));
    baseline_free(&b);
}

/* Wherever in the day it starts: after a day it is warm, after two it knows the day. */
static void test_knows_the_day(void **state)
{
    static const int64_t starts[] = {0, 17, 59, 60 * 11 + 37};

    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct baseline *b = NULL;
        int64_t minute = MIDNIGHT_MIN + starts[i];

        assert_int_equal(baseline_new(NULL, &b), 0);
        learn(b, minute, 1440);
        assert_true(baseline_is_warm(b, &settings));
        learn(b, minute + 1440, 2 * 1440);
        for (int64_t m = minute + 3 * 1440; m < minute + 4 * 1440; m++) {
            struct finding f;

            learn(b, m, 1);
            f = judge(b, false);
            assert_true(fabs(f.baseline / f.observed - 1) < 0.15);
            assert_false(f.fires);
            assert_false(judge(b, true).fires);
        }
        baseline_free(&b);
    }
}

/* Saturday and Sunday have less than half: after one week they are known, and the days
 * beside them are what they were. */
static void test_knows_the_weekend(void **state)
{
    struct baseline *b = NULL;
    int64_t minute = MIDNIGHT_MIN; /* a Thursday */

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    for (; minute < MIDNIGHT_MIN + 14 * 1440; minute++) {
        int64_t day = (minute - MIDNIGHT_MIN) / 1440, time = minute % 1440;
        bool is_rest = day % 7 == 2 || day % 7 == 3;
        struct baseline_minute m = minute_of(round((is_rest ? 0.4 : 1.0) * daily(minute)));
        double expected;

        assert_int_equal(baseline_learn(b, &settings, minute, &m, false), 0);
        expected = (double)b->expected.minutes[minute % BASELINE_MINUTES];
        if (day > 8 && time > 360 && time < 1080) /* far from where they meet */
            assert_true(fabs(expected / (double)m.sum - 1) < 0.15);
    }
    baseline_free(&b);
}

/* Hours that were held are not learned of the first week, and those after it are. */
static void test_first_week_with_holes(void **state)
{
    struct baseline *b = NULL;
    struct baseline_minute none = minute_of(0);
    int64_t minute = MIDNIGHT_MIN;

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    for (; minute < MIDNIGHT_MIN + 9 * 1440; minute++) {
        /* from 10:00 to 12:00, on each day of it but the first */
        bool hold = minute >= MIDNIGHT_MIN + 1440 && minute % 1440 >= 600 && minute % 1440 < 720;
        struct baseline_minute there = minute_of(round(daily(minute)));

        assert_int_equal(baseline_learn(b, &settings, minute, hold ? &none : &there, hold), 0);
    }
    learn(b, minute, 720);
    minute += 719;
    assert_true(fabs((double)b->expected.minutes[minute % BASELINE_MINUTES] / daily(minute) - 1) <
                0.15);
    baseline_free(&b);
}

static void test_spike_and_drop(void **state)
{
    struct baseline *b = NULL;
    struct baseline_minute many = minute_of(200), none = minute_of(0);
    int64_t minute = MIDNIGHT_MIN + 1600;

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    learn(b, MIDNIGHT_MIN, 1600);
    for (int i = 0; i < 5; i++)
        assert_int_equal(baseline_learn(b, &settings, minute++, &many, false), 0);
    assert_true(judge(b, false).fires);
    assert_false(judge(b, true).fires);
    for (int i = 0; i < 10; i++)
        assert_int_equal(baseline_learn(b, &settings, minute++, &none, false), 0);
    assert_true(judge(b, true).fires);
    assert_false(judge(b, false).is_calm && judge(b, true).is_calm);
    baseline_free(&b);
}

/* What comes after an outage is what came before it, no spike. */
static void test_after_an_outage(void **state)
{
    struct baseline *b = NULL;
    struct baseline_minute none = minute_of(0);
    int64_t minute = MIDNIGHT_MIN + 5 * 1440 + 600;

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    learn(b, MIDNIGHT_MIN, minute - MIDNIGHT_MIN);
    for (int i = 0; i < 240; i++)
        assert_int_equal(baseline_learn(b, &settings, minute++, &none, false), 0);
    for (int i = 0; i < 240; i++) {
        learn(b, minute++, 1);
        assert_false(judge(b, false).fires);
    }
    baseline_free(&b);
}

/* An interval that is held is judged and teaches nothing. */
static void test_held_is_not_learned(void **state)
{
    struct baseline *b[2] = {0};
    struct baseline_minute many = minute_of(400);
    int64_t planned = MIDNIGHT_MIN + 4 * 1440 + 600;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(baseline_new(NULL, &b[i]), 0);
        learn(b[i], MIDNIGHT_MIN, planned - MIDNIGHT_MIN);
        for (int64_t m = planned; m < planned + 180; m++)
            assert_int_equal(baseline_learn(b[i], &settings, m, &many, i == 0), 0);
        assert_true(judge(b[i], false).fires == (i == 0));
        learn(b[i], planned + 180, 1440 - 60);
    }
    assert_int_equal(b[0]->hours + 3, b[1]->hours);
    /* The same hour of the next day. */
    assert_true(fabs(judge(b[0], false).baseline / judge(b[0], false).observed - 1) < 0.1);
    for (int i = 0; i < 2; i++)
        baseline_free(&b[i]);
}

static void test_what_would_be_told(void **state)
{
    struct baseline *busy = NULL, *quiet = NULL;
    struct baseline_minute one = minute_of(1), none = minute_of(0);
    uint32_t window_min;

    (void)state;
    assert_int_equal(baseline_new(NULL, &busy), 0);
    assert_int_equal(baseline_new(NULL, &quiet), 0);
    learn(busy, MIDNIGHT_MIN, 100);
    assert_true(baseline_ratio_least(busy, &settings, &window_min) == 0);
    assert_string_equal(baseline_confidence(busy, &settings), "warming");
    learn(busy, MIDNIGHT_MIN + 100, 3000);
    assert_string_equal(baseline_confidence(busy, &settings), "provisional");
    for (int64_t m = MIDNIGHT_MIN; m < MIDNIGHT_MIN + 3100; m++)
        assert_int_equal(
            baseline_learn(quiet, &settings, m, (m - MIDNIGHT_MIN) % 20 ? &none : &one, false), 0);
    assert_true(baseline_ratio_least(busy, &settings, &window_min) >= 1.3);
    assert_true(baseline_ratio_least(quiet, &settings, &window_min) >
                2 * baseline_ratio_least(busy, &settings, &window_min));
    assert_true(window_min > 0);
    baseline_free(&busy);
    baseline_free(&quiet);
}

/* Three calls where one is usual say nothing; the band says so. */
static void test_sparse_is_wide(void **state)
{
    struct baseline *b = NULL;
    struct baseline_minute one = minute_of(1), none = minute_of(0), three = minute_of(3);
    struct finding f;

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    for (int64_t m = 0; m < 3000; m++)
        assert_int_equal(
            baseline_learn(b, &settings, MIDNIGHT_MIN + m, m % 20 == 0 ? &one : &none, false), 0);
    assert_int_equal(baseline_learn(b, &settings, MIDNIGHT_MIN + 3000, &three, false), 0);
    f = judge(b, false);
    assert_false(f.fires);
    assert_true(f.upper > 3 * f.baseline);
    baseline_free(&b);
}

static void test_minutes_in_order(void **state)
{
    struct baseline *b = NULL;
    struct baseline_minute one = minute_of(1);

    (void)state;
    assert_int_equal(baseline_new(NULL, &b), 0);
    assert_int_equal(baseline_learn(b, &settings, MIDNIGHT_MIN, &one, false), 0);
    assert_int_equal(baseline_learn(b, &settings, MIDNIGHT_MIN, &one, false), -EINVAL);
    assert_int_equal(baseline_learn(b, &settings, MIDNIGHT_MIN + 2, &one, false), -EINVAL);
    baseline_free(&b);
}

/* A longer wait for a larger deviation; far peaks are not learned. */
static void test_tail(void **state)
{
    struct tail t;
    double before, z;

    (void)state;
    tail_init(&t);
    before = tail_return_weeks(&t, 8, 1, 5);
    assert_true(tail_return_weeks(&t, 0, 1, 5) == 0);
    for (z = 3; z < 10; z += 0.5)
        assert_true(tail_return_weeks(&t, z + 0.5, 1, 5) > tail_return_weeks(&t, z, 1, 5));
    for (int64_t m = 1; m < 5000; m++)
        tail_learn(&t, m % 100 == 0 ? 40 : 0.1, m, 5);
    assert_int_equal(t.clusters, 0);
    assert_true(tail_return_weeks(&t, 8, 1, 5) >= before);
}

static struct rate_counts counts_of(float calls, float hits)
{
    return (struct rate_counts){.calls = calls, .hits = hits};
}

static void test_rate(void **state)
{
    struct rate r = {0};
    struct rate_counts usual = counts_of(50, 1), bad = counts_of(50, 12), few = counts_of(3, 3);
    struct finding f;
    int64_t m;

    (void)state;
    for (m = 1; m <= 1500; m++)
        rate_learn(&r, m, &usual, false);
    rate_judge(&r, &settings, 0.05, NULL, 0, &f);
    assert_false(f.fires);
    assert_true(fabs(f.baseline - 0.02) < 0.002);
    rate_learn(&r, m++, &bad, false);
    rate_judge(&r, &settings, 0.05, NULL, 0, &f);
    assert_true(f.fires);
    /* All of three calls failed: too few to say. */
    r = (struct rate){0};
    for (m = 1; m <= 1500; m++)
        rate_learn(&r, m, &(struct rate_counts){0}, false);
    rate_learn(&r, m, &few, false);
    rate_judge(&r, &settings, 0.05, NULL, 0, &f);
    assert_false(f.fires);
}

/* Hours that are bad every day are usual. */
static void test_rate_of_bad_hours(void **state)
{
    struct rate r = {0};
    struct rate_counts good = counts_of(50, 0), bad = counts_of(50, 10);
    struct finding f;

    (void)state;
    for (int64_t m = 0; m < 3 * 1440 + 100; m++) {
        rate_learn(&r, m + 1, m % 1440 < 120 ? &bad : &good, false);
        if (m < 1440)
            continue;
        rate_judge(&r, &settings, 0.05, NULL, 0, &f);
        assert_false(f.fires);
    }
}

/* --- memory and snapshots --- */

static uint32_t dice(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* A whole series, as a detector holds it. */
struct series {
    struct baseline *calls, *cost, *tokens;
    struct rate errors;
    struct latency latency;
    uint64_t random;
};

static void series_new(struct series *s)
{
    *s = (struct series){.random = 1};
    assert_int_equal(baseline_new(NULL, &s->calls), 0);
    assert_int_equal(baseline_new(s->calls, &s->cost), 0);
    assert_int_equal(baseline_new(s->calls, &s->tokens), 0);
}

static void series_free(struct series *s)
{
    baseline_free(&s->cost);
    baseline_free(&s->tokens);
    baseline_free(&s->calls);
    latency_fini(&s->latency);
}

static void series_learn(struct series *s, int64_t minute, uint32_t per_min)
{
    struct sketch took = {0};
    struct baseline_minute calls, cost = {0};
    uint32_t n = dice(&s->random) % (2 * per_min + 1);

    for (uint32_t i = 0; i < n; i++) {
        float usd = (float)(dice(&s->random) % 1000) * 1e-5f;

        cost.count++;
        cost.sum += usd;
        cost.squares += usd * usd;
        assert_int_equal(sketch_add(&took, 500000 + dice(&s->random) % 3000000), 0);
    }
    calls = minute_of(n);
    assert_int_equal(baseline_learn(s->calls, &settings, minute, &calls, false), 0);
    assert_int_equal(baseline_learn(s->cost, &settings, minute, &cost, minute % 500 < 20), 0);
    assert_int_equal(baseline_learn(s->tokens, &settings, minute, &cost, false), 0);
    rate_learn(&s->errors, minute, &(struct rate_counts){(float)n, n % 20 == 0}, false);
    assert_int_equal(latency_learn(&s->latency, minute, &took, false), 0);
    sketch_fini(&took);
}

static size_t series_bytes(const struct series *s)
{
    return baseline_bytes(s->calls) + baseline_bytes(s->cost) + baseline_bytes(s->tokens) +
           sizeof(s->errors) + sizeof(s->latency) +
           s->latency.recent_room * sizeof(struct latency_recent);
}

/* What a quiet series may take leaves room in 4 KiB for whoever holds it. */
static void test_is_small(void **state)
{
    struct series s;

    (void)state;
    series_new(&s);
    for (int64_t m = 0; m < 9 * 1440; m++) {
        series_learn(&s, MIDNIGHT_MIN + 17 + m, 1);
        assert_true(series_bytes(&s) <= 3900);
    }
    assert_true(series_bytes(&s) <= 3900);
    series_free(&s);
}

static struct buf save_series(const struct series *s)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(baseline_save(s->calls, &b), 0);
    assert_int_equal(baseline_save(s->cost, &b), 0);
    assert_int_equal(baseline_save(s->tokens, &b), 0);
    assert_int_equal(rate_save(&s->errors, &b), 0);
    assert_int_equal(latency_save(&s->latency, &b), 0);
    return b;
}

static void copy_baseline(const struct baseline *from, const struct baseline *calls,
                          struct baseline **ret_to)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(baseline_save(from, &b), 0);
    assert_int_equal(baseline_load(buf_slice(&b), calls, ret_to), 0);
    buf_fini(&b);
}

static void copy_series(const struct series *from, struct series *to)
{
    struct buf b;

    *to = (struct series){.random = from->random};
    copy_baseline(from->calls, NULL, &to->calls);
    copy_baseline(from->cost, to->calls, &to->cost);
    copy_baseline(from->tokens, to->calls, &to->tokens);
    buf_init(&b, 1 << 20);
    assert_int_equal(rate_save(&from->errors, &b), 0);
    assert_int_equal(rate_load(buf_slice(&b), &to->errors), 0);
    buf_reset(&b);
    assert_int_equal(latency_save(&from->latency, &b), 0);
    assert_int_equal(latency_load(buf_slice(&b), &to->latency), 0);
    buf_fini(&b);
}

/* Whenever it is saved, what is loaded becomes what the saved one becomes. */
static void test_saved_goes_on(void **state)
{
    static const int64_t cuts[] = {1, 59, 700, 1439, 1440, 1500, 2003, 4000};

    (void)state;
    for (uint32_t per_min = 1; per_min <= 20; per_min += 19)
        for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
            struct series a, b;
            struct buf x, y;
            int64_t m = MIDNIGHT_MIN + 17;

            series_new(&a);
            for (; m < MIDNIGHT_MIN + 17 + cuts[i]; m++)
                series_learn(&a, m, per_min);
            copy_series(&a, &b);
            for (; m < MIDNIGHT_MIN + 17 + cuts[i] + 1500; m++) {
                series_learn(&a, m, per_min);
                series_learn(&b, m, per_min);
            }
            x = save_series(&a);
            y = save_series(&b);
            assert_int_equal(x.len, y.len);
            /* How much room was taken is no part of it. */
            assert_true(slice_eq(buf_slice(&x), buf_slice(&y)));
            buf_fini(&x);
            buf_fini(&y);
            series_free(&a);
            series_free(&b);
        }
}

static void test_damaged_is_refused(void **state)
{
    struct series s;
    struct baseline *b = NULL;
    struct latency l = {0};
    struct rate r = {0};
    struct buf bytes;

    (void)state;
    series_new(&s);
    for (int64_t m = 0; m < 1000; m++)
        series_learn(&s, MIDNIGHT_MIN + m, 20);
    buf_init(&bytes, 1 << 20);
    assert_int_equal(baseline_save(s.calls, &bytes), 0);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(baseline_load(slice_of(bytes.data, len), NULL, &b), -EPROTO);
    bytes.data[0] ^= 1;
    assert_int_equal(baseline_load(buf_slice(&bytes), NULL, &b), -EPROTO);
    buf_reset(&bytes);
    assert_int_equal(latency_save(&s.latency, &bytes), 0);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(latency_load(slice_of(bytes.data, len), &l), -EPROTO);
    buf_reset(&bytes);
    assert_int_equal(rate_save(&s.errors, &bytes), 0);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(rate_load(slice_of(bytes.data, len), &r), -EPROTO);
    buf_fini(&bytes);
    series_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warming),
        cmocka_unit_test(test_knows_the_day),
        cmocka_unit_test(test_knows_the_weekend),
        cmocka_unit_test(test_first_week_with_holes),
        cmocka_unit_test(test_spike_and_drop),
        cmocka_unit_test(test_after_an_outage),
        cmocka_unit_test(test_held_is_not_learned),
        cmocka_unit_test(test_what_would_be_told),
        cmocka_unit_test(test_sparse_is_wide),
        cmocka_unit_test(test_minutes_in_order),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rate_of_bad_hours),
        cmocka_unit_test(test_is_small),
        cmocka_unit_test(test_saved_goes_on),
        cmocka_unit_test(test_damaged_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
