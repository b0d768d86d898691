/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detection from minutes to alerts, on generated traffic of many seeds.
 *
 * LINK: collector/ruling.c collector/alert_told.c
 * LINK: @detect
 */
#include "collector/detect.h"
#include "collector/text.h"
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

/* The episode ends once, after the spike did, and does not come back. */
static void test_spike_is_resolved(void **state)
{
    const struct change dear = {.cost = 5, .calls = 1, .latency = 1};

    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct run r;
        int64_t over_s;

        run_init(&r, seed, 20);
        run_minutes(&r, 26 * HOUR_MIN, &as_usual);
        run_minutes(&r, 30, &dear);
        over_s = r.next_s;
        run_minutes(&r, 180, &as_usual);
        assert_int_equal(count_of(&r.told, ALERT_COST_SPIKE, ALERT_FIRING), 1);
        assert_int_equal(count_of(&r.told, ALERT_COST_SPIKE, ALERT_RESOLVED), 1);
        assert_int_equal(count_firing(&r.told), 1);
        assert_true(r.told.alerts[r.told.count - 1].ends_s > over_s);
        assert_true(r.told.alerts[r.told.count - 1].ends_s <= over_s + 30 * 60);
        assert_string_equal(r.told.alerts[0].fingerprint,
                            r.told.alerts[r.told.count - 1].fingerprint);
        run_fini(&r);
    }
}

/* A series that is not a day old never fires, whatever happens. */
static void test_nothing_while_warming(void **state)
{
    const struct change wild = {.cost = 50, .calls = 3, .latency = 10, .errors = 0.5};
    struct run r;

    (void)state;
    run_init(&r, 1, 20);
    run_minutes(&r, 22 * HOUR_MIN, &as_usual);
    run_minutes(&r, 100, &wild);
    assert_int_equal(r.told.count, 0);
    run_fini(&r);
}

/* Two days of ordinary traffic of every size: silence. */
static void test_ordinary_days_are_quiet(void **state)
{
    static const double per_min[] = {200, 20, 2, 0.2};

    (void)state;
    for (size_t i = 0; i < sizeof(per_min) / sizeof(per_min[0]); i++)
        for (uint64_t seed = 1; seed <= 6; seed++) {
            struct run r;

            run_init(&r, 100 * seed + i, per_min[i]);
            run_minutes(&r, 48 * HOUR_MIN, &as_usual);
            assert_int_equal(count_firing(&r.told), 0);
            run_fini(&r);
        }
}

static void test_spike_of_calls(void **state)
{
    const struct change many = {.cost = 1, .calls = 5, .latency = 1};
    struct run r;

    (void)state;
    run_init(&r, 3, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    run_minutes(&r, 15, &many);
    assert_int_equal(count_of(&r.told, ALERT_CALLS_SPIKE, ALERT_FIRING), 1);
    /* More calls cost more: that is said with them. */
    assert_int_equal(count_firing(&r.told), 1);
    assert_true(r.told.alerts[0].has_impact && r.told.alerts[0].impact_usd > 0);
    run_fini(&r);
}

static void test_calls_stop(void **state)
{
    const struct change none = {.cost = 1, .calls = 0, .latency = 1};
    struct run r;

    (void)state;
    run_init(&r, 4, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    run_minutes(&r, 15, &none);
    assert_int_equal(count_of(&r.told, ALERT_CALLS_DROP, ALERT_FIRING), 1);
    assert_int_equal(count_firing(&r.told), 1);
    assert_true(r.told.alerts[0].observed < r.told.alerts[0].baseline_lower);
    run_fini(&r);
}

static void test_errors_rise(void **state)
{
    const struct change failing = {.cost = 1, .calls = 1, .latency = 1, .errors = 0.3};
    struct run r;

    (void)state;
    run_init(&r, 5, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    run_minutes(&r, 15, &failing);
    assert_int_equal(count_of(&r.told, ALERT_ERRORS_RATE, ALERT_FIRING), 1);
    assert_int_equal(count_firing(&r.told), 1);
    assert_true(r.told.alerts[0].observed > 0.15);
    assert_true(r.told.alerts[0].baseline < 0.03);
    run_fini(&r);
}

static void test_latency_rises(void **state)
{
    const struct change slow = {.cost = 1, .calls = 1, .latency = 3};
    struct run r;

    (void)state;
    run_init(&r, 6, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    run_minutes(&r, 15, &slow);
    assert_int_equal(count_of(&r.told, ALERT_LATENCY_P95, ALERT_FIRING), 1);
    assert_int_equal(count_firing(&r.told), 1);
    /* p95 of a lognormal with sigma 0.4: 1.93 times the median. */
    assert_true(fabs(r.told.alerts[0].baseline / 1e3 - 2895) < 150);
    assert_true(r.told.alerts[0].observed > 1.5 * r.told.alerts[0].baseline);
    run_fini(&r);
}

/* A new normal is told, and then becomes the normal: no storm. */
static void test_lasting_shift(void **state)
{
    const struct change shifted = {.cost = 4, .calls = 1, .latency = 1};

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct run r;

        run_init(&r, seed, 100);
        run_minutes(&r, 48 * HOUR_MIN, &as_usual);
        run_minutes(&r, 48 * HOUR_MIN, &shifted);
        assert_in_range(count_of(&r.told, ALERT_COST_SPIKE, ALERT_FIRING), 1, 2);
        assert_int_equal(count_of(&r.told, ALERT_COST_SPIKE, ALERT_FIRING),
                         count_of(&r.told, ALERT_COST_SPIKE, ALERT_RESOLVED));
        run_fini(&r);
    }
}

/* The running minute is enough when it is bad enough, and is told once. */
static void test_running_minute(void **state)
{
    struct rollup_cell cell = {.seconds = 60};
    struct run r;

    (void)state;
    run_init(&r, 7, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    make_minute(&r.traffic, r.next_s, &(struct change){.cost = 100, .calls = 1, .latency = 1},
                &cell);
    assert_int_equal(detect_begin(r.detect, r.next_s), 0);
    assert_int_equal(detect_add(r.detect, &checkout, &cell), 0);
    assert_int_equal(detect_peek(r.detect, 30, keep, &r.told), 0);
    assert_int_equal(count_firing(&r.told), 1);
    assert_int_equal(r.told.alerts[0].window_end_s, r.next_s + 30);
    assert_int_equal(detect_begin(r.detect, r.next_s), 0);
    assert_int_equal(detect_add(r.detect, &checkout, &cell), 0);
    assert_int_equal(detect_close(r.detect, false, keep, &r.told), 0);
    assert_int_equal(count_firing(&r.told), 1);
    sketch_fini(&cell.latency);
    run_fini(&r);
}

/* What was told of a minute that was not over goes on in a process that learned whole minutes. */
static void test_told_episode_is_adopted(void **state)
{
    const struct change dear = {.cost = 100, .calls = 1, .latency = 1};
    struct rollup_cell cell = {.seconds = 60};
    struct alert told = {.observed = 0};
    struct buf packed;
    struct run r;

    (void)state;
    run_init(&r, 7, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    make_minute(&r.traffic, r.next_s, &dear, &cell);
    assert_int_equal(detect_begin(r.detect, r.next_s), 0);
    assert_int_equal(detect_add(r.detect, &checkout, &cell), 0);
    assert_int_equal(detect_peek(r.detect, 30, keep, &r.told), 0);
    assert_int_equal(r.told.count, 1);
    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(alert_pack(&r.told.alerts[0], &packed), 0);
    run_fini(&r);

    run_init(&r, 7, 20);
    run_minutes(&r, 26 * HOUR_MIN, &as_usual);
    assert_int_equal(r.told.count, 0);
    assert_int_equal(alert_read_told(buf_slice(&packed), &told), 0);
    assert_int_equal(detect_adopt(r.detect, &told), 0);
    assert_int_equal(detect_adopt(r.detect, &told), 0);
    assert_true(detect_has_episode(r.detect, told.fingerprint));
    detect_drop_untold(r.detect);
    assert_int_equal(detect_begin(r.detect, r.next_s), 0);
    assert_int_equal(detect_add(r.detect, &checkout, &cell), 0);
    assert_int_equal(detect_peek(r.detect, 40, keep, &r.told), 0);
    assert_int_equal(r.told.count, 0);
    run_minutes(&r, 20, &as_usual);
    assert_int_equal(r.told.count, 1);
    assert_int_equal(r.told.alerts[0].status, ALERT_RESOLVED);
    assert_string_equal(r.told.alerts[0].fingerprint, told.fingerprint);
    /* Of a series that is not known there is nothing to go on with. */
    text_copy(told.model, sizeof(told.model), "gone");
    text_copy(told.fingerprint, sizeof(told.fingerprint), "another");
    assert_int_equal(detect_adopt(r.detect, &told), 0);
    assert_false(detect_has_episode(r.detect, "another"));
    buf_fini(&packed);
    sketch_fini(&cell.latency);
    run_fini(&r);
}

static bool is_planned(void *ctx, const struct store_series_name *name, int64_t minute_s)
{
    assert_string_equal(name->feature, "checkout");
    return minute_s >= *(const int64_t *)ctx;
}

/* A migration that was planned: told, and not taken for the new normal. */
static void test_planned_is_not_learned(void **state)
{
    const struct change many = {.cost = 1, .calls = 5, .latency = 1};

    (void)state;
    for (int planned = 0; planned < 2; planned++) {
        int64_t from_s;
        struct run r;

        run_init(&r, 12, 20);
        run_minutes(&r, 26 * HOUR_MIN, &as_usual);
        from_s = r.next_s;
        if (planned)
            detect_set_planned(r.detect, is_planned, &from_s);
        run_minutes(&r, 8 * HOUR_MIN, &many);
        assert_int_equal(count_of(&r.told, ALERT_CALLS_SPIKE, ALERT_FIRING), 1);
        assert_int_equal(count_of(&r.told, ALERT_CALLS_SPIKE, ALERT_RESOLVED), !planned);
        run_fini(&r);
    }
}

static void learn_again(struct run *r, unsigned minutes)
{
    struct rollup_cell cell = {.seconds = 60};
    struct traffic traffic;

    run_init(r, 8, 20);
    traffic = r->traffic;
    for (unsigned i = 0; i < minutes; i++, r->next_s += 60) {
        const struct change dear = {.cost = 5, .calls = 1, .latency = 1};

        make_minute(&traffic, r->next_s, i < 26 * HOUR_MIN ? &as_usual : &dear, &cell);
        assert_int_equal(detect_begin(r->detect, r->next_s), 0);
        assert_int_equal(detect_add(r->detect, &checkout, &cell), 0);
        assert_int_equal(detect_close(r->detect, true, NULL, NULL), 0);
    }
    sketch_fini(&cell.latency);
    r->traffic = traffic;
}

/* After a restart the same minutes lead to the same episode, told to nobody twice. */
static void test_learning_again(void **state)
{
    const struct change dear = {.cost = 5, .calls = 1, .latency = 1};
    struct run first, again;
    char fingerprint[64];

    (void)state;
    run_init(&first, 8, 20);
    run_minutes(&first, 26 * HOUR_MIN, &as_usual);
    run_minutes(&first, 12, &dear);
    assert_int_equal(count_firing(&first.told), 1);
    strcpy(fingerprint, first.told.alerts[0].fingerprint);
    run_fini(&first);

    learn_again(&again, 26 * HOUR_MIN + 12);
    assert_true(detect_has_episode(again.detect, fingerprint));
    detect_set_told(again.detect, fingerprint);
    detect_drop_untold(again.detect);
    run_minutes(&again, 3, &dear);
    assert_int_equal(count_firing(&again.told), 0);
    run_minutes(&again, 60, &as_usual);
    assert_int_equal(count_of(&again.told, ALERT_COST_SPIKE, ALERT_RESOLVED), 1);
    run_fini(&again);

    /* Nobody was told: it begins anew. */
    learn_again(&again, 26 * HOUR_MIN + 8);
    detect_drop_untold(again.detect);
    run_minutes(&again, 4, &dear);
    assert_int_equal(count_of(&again.told, ALERT_COST_SPIKE, ALERT_FIRING), 1);
    run_fini(&again);
}

static void test_minutes_must_follow(void **state)
{
    struct run r;

    (void)state;
    run_init(&r, 9, 20);
    run_minutes(&r, 2, &as_usual);
    assert_int_equal(detect_begin(r.detect, r.next_s + 60), -EINVAL);
    assert_int_equal(detect_begin(r.detect, r.next_s - 60), -EINVAL);
    assert_int_equal(detect_begin(r.detect, r.next_s + 1), -EINVAL);
    run_fini(&r);
}

static struct alert an_alert(void)
{
    struct alert a = {
        .status = ALERT_FIRING,
        .rule = ALERT_COST_SPIKE,
        .org = "acme",
        .feature = "checkout",
        .provider = "openai",
        .model = "gpt-4o",
        .window_start_s = 1767276000,
        .window_end_s = 1767276300,
        .observed = 12.4,
        .samples = 812,
        .baseline = 2.48,
        .baseline_lower = 2.1,
        .baseline_upper = 2.9,
        .method = "hour_of_day+local",
        .history_hours = 26,
        .confidence = "provisional",
        .starts_s = 1767276240,
        .detected_s = 1767276300,
    };

    alert_name(&a);
    alert_number(&a);
    return a;
}

static void test_sentence(void **state)
{
    struct alert a = an_alert();
    char text[512];

    (void)state;
    alert_reason(&a, text, sizeof(text));
    assert_string_equal(text, "Cost of feature checkout on openai/gpt-4o in 5 min to 14:05 UTC was "
                              "$12.40, 5.0x the usual $2.48 ($2.10-$2.90), 812 calls; 26 h of "
                              "history.");
    a.feature[0] = '\0';
    a.baseline = 0;
    alert_reason(&a, text, sizeof(text));
    assert_non_null(strstr(text, "feature ?"));
    assert_null(strstr(text, "inf"));
}

static void test_wire(void **state)
{
    struct alert a = an_alert();
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    CLEAN_EVENT ProtobufCMessage *resolved = NULL;
    const Lectr__V1__Alert *m;
    char id[EVENT_UUID_BYTES];
    struct buf out, after;

    (void)state;
    buf_init(&out, EVENT_MAX_BYTES);
    buf_init(&after, EVENT_MAX_BYTES);
    assert_int_equal(alert_pack(&a, &out), 0);
    assert_int_equal(event_unpack(EVENT_ALERT, buf_slice(&out), &message), 0);
    m = (const void *)message;
    assert_int_equal(m->status, LECTR__V1__ALERT__STATUS__STATUS_FIRING);
    assert_string_equal(m->rule, "cost.spike");
    assert_string_equal(m->metric, "cost_usd");
    assert_int_equal(m->n_labels, 3);
    assert_string_equal(m->labels[0]->value, "checkout");
    assert_string_equal(m->labels[2]->value, "gpt-4o");
    assert_true(fabs(m->deviation_ratio - 5) < 1e-9);
    assert_true(fabs(m->deviation_absolute - 9.92) < 1e-9);
    assert_int_equal(m->samples, 812);
    assert_int_equal(m->window_end_unix_nano - m->window_start_unix_nano, 300000000000ull);
    assert_false(m->has_ends_at_unix_nano);
    assert_int_equal(alert_pack_resolved(buf_slice(&out), 1767277000, "why", &after, id), 0);
    assert_int_equal(event_unpack(EVENT_ALERT, buf_slice(&after), &resolved), 0);
    m = (const void *)resolved;
    assert_int_equal(m->status, LECTR__V1__ALERT__STATUS__STATUS_RESOLVED);
    assert_string_equal(m->fingerprint, a.fingerprint);
    assert_string_equal(m->id, id);
    assert_string_not_equal(m->id, a.id);
    assert_string_equal(m->reason, "why");
    buf_fini(&out);
    buf_fini(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spike_of_cost),
        cmocka_unit_test(test_spike_is_resolved),
        cmocka_unit_test(test_nothing_while_warming),
        cmocka_unit_test(test_ordinary_days_are_quiet),
        cmocka_unit_test(test_spike_of_calls),
        cmocka_unit_test(test_calls_stop),
        cmocka_unit_test(test_errors_rise),
        cmocka_unit_test(test_latency_rises),
        cmocka_unit_test(test_lasting_shift),
        cmocka_unit_test(test_running_minute),
        cmocka_unit_test(test_told_episode_is_adopted),
        cmocka_unit_test(test_planned_is_not_learned),
        cmocka_unit_test(test_learning_again),
        cmocka_unit_test(test_minutes_must_follow),
        cmocka_unit_test(test_sentence),
        cmocka_unit_test(test_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
