/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detection from minutes to alerts, on generated traffic of many seeds.
 *
 * LINK: collector/detect.c collector/baseline.c collector/rate.c collector/tail.c collector/alert.c collector/rollup.c collector/sketch.c collector/text.c
 */
#include "collector/detect.h"
#include "proto/event.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define START_S (1767225600 + 9 * 3600) /* a day in UTC, 09:00 */
#define HOUR_MIN 60

static const struct config_detect settings = {
    .enabled = true,
    .windows_s = {60, 300, 900, 3600},
    .windows_count = 4,
    .history_h = 24,
    .target_weeks = 100,
    .ratio_min = 1.3,
    .resolve_after_min = 5,
};

/* --- traffic --- */

static uint64_t random_state;

static double random_unit(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static double random_normal(void)
{
    return sqrt(-2 * log(random_unit())) * cos(6.283185307179586 * random_unit());
}

static unsigned random_poisson(double mean)
{
    double product = 1, limit = exp(-mean);
    unsigned n = 0;

    if (mean > 60)
        return (unsigned)fmax(0, mean + sqrt(mean) * random_normal() + 0.5);
    do {
        product *= random_unit();
        n++;
    } while (product > limit);
    return n - 1;
}

struct traffic {
    double per_min;   /* calls */
    double usd;       /* median of a call */
    double amplitude; /* of the day */
    double noise;     /* of the rate, correlated over an hour or two */
    double errors;
    double latency_us;
    double state; /* of the correlated noise */
};

struct change {
    double cost, calls, latency;
    double errors; /* added */
};

static const struct change as_usual = {.cost = 1, .calls = 1, .latency = 1};

static void make_minute(struct traffic *t, int64_t minute_s, const struct change *change,
                        struct rollup_cell *ret_cell)
{
    double day = 1 + t->amplitude * sin(6.2831853 * (double)(minute_s % 86400) / 86400);
    unsigned calls;

    t->state = 0.99 * t->state + sqrt(1 - 0.99 * 0.99) * t->noise * random_normal();
    calls = random_poisson(t->per_min * day * exp(t->state) * change->calls);
    ret_cell->sums = (struct rollup_sums){.calls = calls};
    sketch_reset(&ret_cell->latency);
    for (unsigned i = 0; i < calls; i++) {
        double usd = t->usd * exp(0.8 * random_normal()) * change->cost;
        double us = t->latency_us * exp(0.4 * random_normal()) * change->latency;

        ret_cell->sums.cost_expected_nanousd += (int64_t)(usd * 1e9);
        ret_cell->sums.cost_squares += usd * usd;
        ret_cell->sums.errors += random_unit() < t->errors + change->errors;
        assert_int_equal(sketch_add(&ret_cell->latency, (uint64_t)us), 0);
    }
}

/* --- what was told --- */

struct told {
    unsigned count;
    struct alert alerts[64];
};

static int keep(void *ctx, const struct alert *a)
{
    struct told *told = ctx;

    assert_true(told->count < 64);
    told->alerts[told->count++] = *a;
    return 0;
}

static unsigned count_of(const struct told *told, enum alert_rule rule, enum alert_status status)
{
    unsigned n = 0;

    for (unsigned i = 0; i < told->count; i++)
        n += told->alerts[i].rule == rule && told->alerts[i].status == status;
    return n;
}

static unsigned count_firing(const struct told *told)
{
    unsigned n = 0;

    for (int rule = 0; rule < ALERT_RULE__COUNT; rule++)
        n += count_of(told, (enum alert_rule)rule, ALERT_FIRING);
    return n;
}

static const struct store_series_name checkout = {
    .org = "acme", .feature = "checkout", .provider = "openai", .model = "gpt-4o", .workload = "w"};

struct run {
    struct detect *detect;
    struct traffic traffic;
    int64_t next_s;
    struct told told;
};

static void run_init(struct run *r, uint64_t seed, double per_min)
{
    memset(r, 0, sizeof(*r));
    random_state = seed;
    r->traffic = (struct traffic){.per_min = per_min,
                                  .usd = 0.003,
                                  .amplitude = 0.5,
                                  .noise = 0.15,
                                  .errors = 0.01,
                                  .latency_us = 1500e3};
    r->next_s = START_S;
    assert_int_equal(detect_new(&settings, &r->detect), 0);
}

static void run_minutes(struct run *r, unsigned minutes, const struct change *change)
{
    struct rollup_cell cell = {.seconds = 60};

    for (unsigned i = 0; i < minutes; i++, r->next_s += 60) {
        make_minute(&r->traffic, r->next_s, change, &cell);
        assert_int_equal(detect_begin(r->detect, r->next_s), 0);
        if (cell.sums.calls)
            assert_int_equal(detect_add(r->detect, &checkout, &cell), 0);
        assert_int_equal(detect_close(r->detect, false, keep, &r->told), 0);
    }
    sketch_fini(&cell.latency);
}

static void run_fini(struct run *r)
{
    detect_free(&r->detect);
}

/* --- tests --- */

/* 26 h as usual, among them the quiet hour: nothing; then five times the cost:
 * one alert, with everything a person needs. */
static void test_spike_of_cost(void **state)
{
    const struct change dear = {.cost = 5, .calls = 1, .latency = 1};
    unsigned late = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        const struct alert *a;
        struct run r;
        int64_t spike_s;

        run_init(&r, seed, 20);
        run_minutes(&r, 26 * HOUR_MIN, &as_usual);
        assert_int_equal(count_firing(&r.told), 0);
        spike_s = r.next_s;
        run_minutes(&r, 15, &dear);
        assert_int_equal(count_of(&r.told, ALERT_COST_SPIKE, ALERT_FIRING), 1);
        assert_int_equal(count_firing(&r.told), 1);
        a = &r.told.alerts[0];
        assert_string_equal(a->feature, "checkout");
        assert_string_equal(a->provider, "openai");
        assert_string_equal(a->model, "gpt-4o");
        assert_string_equal(a->org, "acme");
        assert_true(a->window_end_s > spike_s && a->window_end_s <= spike_s + 15 * 60);
        late += a->window_end_s > spike_s + 5 * 60;
        assert_true(a->observed > a->baseline_upper);
        assert_true(a->baseline_lower < a->baseline && a->baseline < a->baseline_upper);
        assert_true(a->history_hours >= 26 && a->history_hours < 26.5);
        run_fini(&r);
    }
    /* Most of them within five minutes. */
    print_message("alerts later than 5 min: %u of 40\n", late);
    assert_true(late <= 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spike_of_cost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
