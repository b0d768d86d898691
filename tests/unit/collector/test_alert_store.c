/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded traffic through a real store and the detector. Every number of every alert is
 * had again from the stored roll-ups by sums of this file's own, what rests on learning
 * by a second detector from the same store, and the sentence says the same.
 *
 * LINK: @detect @store collector/enrich.c collector/attribution.c collector/snapshot.c
 * LINK: tests/detect/traffic.c tests/detect/fleet.c
 */
#include "collector/detect.h"
#include "collector/enrich.h"
#include "collector/snapshot.h"
#include "collector/store.h"
#include "collector/store_query.h"
#include "tests/detect/fleet.h"
#include "tests/harness/stores.h"
#include "tests/unit/collector/store_fill.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>

#define START_S INT64_C(1767225600)
#define FEATURES 3
#define SERIES (4 * FEATURES)
#define DAYS 3
#define MINUTES (DAYS * 1440)
#define ALERTS_MAX 128
#define SEEDS 2

struct told {
    struct store *store;
    struct alert alerts[ALERTS_MAX];
    unsigned count;
};

static int keep(void *ctx, const struct alert *a)
{
    struct told *t = ctx;

    assert_true(t->count < ALERTS_MAX);
    t->alerts[t->count] = *a;
    assert_int_equal(enrich_alert(t->store, &t->alerts[t->count]), 0);
    t->count++;
    return 0;
}

/* --- writing --- */

struct writing {
    struct store *store;
    int64_t numbers[SERIES];
    struct rollup_cell days[SERIES];
};

static int write_cell(void *ctx, const struct store_series_name *name,
                      const struct rollup_cell *cell)
{
    struct writing *w = ctx;
    unsigned i = (unsigned)cell->series - 1;
    struct rollup_cell copy = *cell;
    struct record rec = {0};

    if (!w->numbers[i]) {
        snprintf(rec.org, sizeof(rec.org), "%s", name->org);
        snprintf(rec.feature, sizeof(rec.feature), "%s", name->feature);
        snprintf(rec.provider, sizeof(rec.provider), "%s", name->provider);
        snprintf(rec.model, sizeof(rec.model), "%s", name->model);
        snprintf(rec.workload, sizeof(rec.workload), "%s", name->workload);
        w->numbers[i] = fill_series(w->store, &rec);
    }
    copy.series = w->numbers[i];
    fill_cell(w->store, &copy);
    return rollup_cell_merge(&w->days[i], cell);
}

static void write_days(struct writing *w, int64_t bucket)
{
    for (unsigned i = 0; i < SERIES; i++) {
        w->days[i].seconds = 86400;
        w->days[i].bucket = bucket;
        w->days[i].series = w->numbers[i];
        if (w->days[i].sums.calls)
            fill_cell(w->store, &w->days[i]);
        rollup_cell_reset(&w->days[i]);
    }
}

static void write_store(struct store *s, uint64_t seed)
{
    static struct fleet fleet;
    static struct writing w;
    uint64_t random = seed;
    struct fleet_event events[12];
    static const enum traffic_kind kinds[] = {TRAFFIC_COST,   TRAFFIC_PRICE, TRAFFIC_CALLS,
                                              TRAFFIC_ERRORS, TRAFFIC_SLOW,  TRAFFIC_OUTAGE};

    for (unsigned i = 0; i < 12; i++) {
        enum traffic_kind kind = kinds[i % 6];

        events[i] = (struct fleet_event){
            .kind = kind,
            .factor = kind == TRAFFIC_ERRORS ? .4 : 3 + 4 * traffic_random(&random),
            .feature = (int)(traffic_random(&random) * (FEATURES + 1)) - 1,
            .provider = (int)(traffic_random(&random) * 3) - 1,
            .from_min = 1500 + i * 230,
            .minutes = 20 + (int64_t)(traffic_random(&random) * 60),
        };
    }
    memset(&w, 0, sizeof(w));
    w.store = s;
    fleet_init(&fleet, FEATURES, 10, seed, events, 12);
    for (int i = 0; i < MINUTES; i++) {
        if (i % 360 == 0)
            assert_int_equal(store_begin(s), 0);
        fleet_next(&fleet, START_S + 60 * (int64_t)i, write_cell, &w);
        if (i % 1440 == 1439)
            write_days(&w, START_S + 60 * (int64_t)(i - 1439));
        if (i % 360 == 359)
            assert_int_equal(store_commit(s), 0);
    }
    for (unsigned i = 0; i < SERIES; i++)
        rollup_cell_fini(&w.days[i]);
    fleet_fini(&fleet);
}

/* --- judging from the store --- */

static void tell(struct detect *d, struct store *s, int64_t from_s, int64_t to_s, bool quiet,
                 struct told *told)
{
    for (int64_t at = from_s; at < to_s; at += 60) {
        assert_int_equal(detect_begin(d, at), 0);
        assert_int_equal(store_each_cell(s, ROLLUP_MINUTE, at, at + 60, detect_add, d), 0);
        assert_int_equal(detect_close(d, quiet, quiet ? NULL : keep, told), 0);
    }
}

/* --- sums of our own --- */

struct own {
    const struct alert *alert;
    int64_t from_s, to_s;
    const char *dimension, *value; /* NULL: any */
    double calls, errors, tokens, cost;
    uint64_t cost_unknown;
    struct sketch latency;
};

static const char *name_in(const struct store_series_name *n, const char *dimension)
{
    return strcmp(dimension, "workload") == 0   ? n->workload
           : strcmp(dimension, "model") == 0    ? n->model
           : strcmp(dimension, "provider") == 0 ? n->provider
                                                : n->feature;
}

static int add_own(void *ctx, const struct store_series_name *n, const struct rollup_cell *cell)
{
    struct own *o = ctx;
    const struct alert *a = o->alert;

    if (strcmp(a->org, n->org) != 0 || (a->feature[0] && strcmp(a->feature, n->feature) != 0) ||
        (a->provider[0] && strcmp(a->provider, n->provider) != 0) ||
        (a->model[0] && strcmp(a->model, n->model) != 0) ||
        (o->value && strcmp(name_in(n, o->dimension), o->value) != 0))
        return 0;
    o->calls += (double)cell->sums.calls;
    o->errors += (double)cell->sums.errors;
    o->tokens += (double)(cell->sums.input_total + cell->sums.output_total);
    o->cost += (double)cell->sums.cost_expected_nanousd / 1e9;
    o->cost_unknown += cell->sums.cost_unknown;
    return sketch_merge(&o->latency, &cell->latency);
}

static struct own sum_up(struct store *s, const struct alert *a, enum rollup_resolution res,
                         int64_t from_s, int64_t to_s, const char *dimension, const char *value)
{
    struct own o = {.alert = a, .dimension = dimension, .value = value};

    assert_int_equal(store_each_cell(s, res, from_s, to_s, add_own, &o), 0);
    return o;
}

static double metric_of(const struct alert *a, const struct own *o)
{
    switch (a->rule) {
    case ALERT_COST_SPIKE:
    case ALERT_COST_DROP:
    case ALERT_COST_SHIFT:
        return o->cost;
    case ALERT_TOKENS_SPIKE:
    case ALERT_TOKENS_DROP:
        return o->tokens;
    case ALERT_ERRORS_RATE:
        return o->calls > 0 ? o->errors / o->calls : 0;
    case ALERT_LATENCY_P95:
        return sketch_quantile(&o->latency, 0.95);
    default:
        return o->calls;
    }
}

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 2e-5 * fmax(fabs(a), fabs(b)) + 1e-9;
}

static void check_window(struct store *s, const struct alert *a)
{
    struct own o = sum_up(s, a, ROLLUP_MINUTE, a->window_start_s, a->window_end_s, "feature", NULL);

    assert_true(a->window_start_s < a->window_end_s);
    assert_true(is_near(a->observed, metric_of(a, &o)));
    if (a->rule == ALERT_COST_SPIKE || a->rule == ALERT_COST_DROP)
        assert_true(is_near((double)a->samples, o.calls - (double)o.cost_unknown));
    else
        assert_true(is_near((double)a->samples,
                            a->rule == ALERT_LATENCY_P95 ? (double)o.latency.count : o.calls));
    assert_int_equal(a->cost_unknown, o.cost_unknown);
    sketch_fini(&o.latency);
}

/* The factors add up to the deviation, each value is its own difference. */
static void check_parts(struct store *s, const struct alert *a)
{
    int64_t day_s = a->window_start_s / 86400 * 86400 - 86400;
    struct own usual = sum_up(s, a, ROLLUP_DAY, day_s, day_s + 86400, "feature", NULL);
    struct own now =
        sum_up(s, a, ROLLUP_MINUTE, a->window_start_s, a->window_end_s, "feature", NULL);
    const double k = metric_of(a, &usual) > 0 ? a->baseline / metric_of(a, &usual) : 0;
    double factors = 0;
    unsigned factors_count = 0;

    for (unsigned i = 0; i < a->parts_count; i++) {
        const struct alert_part *p = &a->parts[i];
        struct own before, after;
        double amount;

        assert_true(is_near(p->share, p->amount / (a->observed - a->baseline)) ||
                    fabs(p->share) < 1e-3);
        if (!p->value[0]) {
            factors += p->amount;
            factors_count++;
            continue;
        }
        before = sum_up(s, a, ROLLUP_DAY, day_s, day_s + 86400, p->dimension, p->value);
        after =
            sum_up(s, a, ROLLUP_MINUTE, a->window_start_s, a->window_end_s, p->dimension, p->value);
        amount = a->rule == ALERT_ERRORS_RATE
                     ? (after.errors - a->baseline * after.calls) / now.calls
                     : metric_of(a, &after) - k * metric_of(a, &before);
        assert_true(is_near(p->amount, amount));
        sketch_fini(&before.latency);
        sketch_fini(&after.latency);
    }
    if (factors_count)
        assert_true(fabs(factors - (a->observed - a->baseline)) <=
                    1e-4 * (a->observed + a->baseline));
    sketch_fini(&usual.latency);
    sketch_fini(&now.latency);
}

/* --- the sentence --- */

/* "$1.20", "38%", "1.31 s", "412 ms", "17": in the alert's unit. */
static double read_value(const char *text)
{
    double v = strtod(text[0] == '$' ? text + 1 : text, NULL);
    const char *rest = text + (text[0] == '$');

    while (isdigit((unsigned char)*rest) || strchr(".e+-", *rest))
        rest++;
    if (*rest == '%')
        return v / 100;
    if (strncmp(rest, " ms", 3) == 0)
        return v * 1e3;
    return strncmp(rest, " s", 2) == 0 ? v * 1e6 : v;
}

static const char *after(const char *text, const char *mark)
{
    const char *found = strstr(text, mark);

    assert_non_null(found);
    return found + strlen(mark);
}

static bool says(const char *text, double value)
{
    return fabs(read_value(text) - value) <= 0.051 * fabs(value) + 1e-9;
}

static void check_sentence(const struct alert *a)
{
    char reason[1024];
    const char *usual;

    alert_reason(a, reason, sizeof(reason));
    assert_true(says(after(reason, " was "), a->observed));
    usual = after(reason, "the usual ");
    assert_true(says(usual, a->baseline));
    assert_true(says(after(usual, "("), a->baseline_lower));
    assert_true(says(after(usual, "-"), a->baseline_upper));
    assert_int_equal(strtoull(after(usual, "), "), NULL, 10), a->samples);
    if (a->samples_expected > 0)
        assert_true(says(after(reason, " calls ("), a->samples_expected));
    assert_true(fabs(strtod(after(reason, "; "), NULL) - a->history_hours) <= 0.51);
    if (a->has_return && a->status != ALERT_RESOLVED)
        assert_true(says(after(reason, "once in "), alert_return_weeks(a)));
    if (a->has_impact)
        assert_true(says(strrchr(reason, '$'), fabs(a->impact_usd)));
    if (a->level == ALERT_LEVEL_FEATURE || a->level == ALERT_LEVEL_MODEL)
        assert_non_null(strstr(reason, a->feature));
    if (a->level == ALERT_LEVEL_PROVIDER || a->level == ALERT_LEVEL_MODEL)
        assert_non_null(strstr(reason, a->provider));
    for (unsigned i = 0; i < a->parts_count && a->status != ALERT_RESOLVED; i++)
        if (strstr(reason, "of it by ") &&
            strncmp(after(reason, "of it by "), a->parts[i].dimension,
                    strlen(a->parts[i].dimension)) == 0) {
            char share[16];

            snprintf(share, sizeof(share), "%.0f%% of it", 100 * a->parts[i].share);
            assert_non_null(strstr(reason, share));
        }
}

static void check_fields(const struct alert *a)
{
    assert_true(a->history_hours >= 24 && a->baseline_samples > 0);
    assert_non_null(a->confidence);
    assert_non_null(a->method);
    assert_non_null(a->season);
    assert_true(a->baseline_lower <= a->baseline && a->baseline <= a->baseline_upper);
    assert_true(a->onset_s > 0 && a->onset_s <= a->detected_s);
    assert_true(a->onset_s >= a->window_start_s - ENRICH_ONSET_MIN * 60);
    assert_true(a->limits_count > 0); /* three days of history: it says so */
    if (a->status == ALERT_FIRING && a->has_impact)
        assert_int_equal(a->impact_from_s, a->window_start_s);
    if (a->status == ALERT_FIRING && (a->rule == ALERT_COST_SPIKE || a->rule == ALERT_COST_DROP))
        assert_true(is_near(a->impact_usd, a->observed - a->baseline));
    if (a->rule <= ALERT_TOKENS_DROP)
        assert_true(a->samples_expected > 0 && a->band_pct > 0 && a->has_impact);
}

static bool is_same(const struct alert *a, const struct alert *b)
{
    struct buf x, y;
    bool same;

    buf_init(&x, 1 << 20);
    buf_init(&y, 1 << 20);
    assert_int_equal(alert_pack(a, &x), 0);
    assert_int_equal(alert_pack(b, &y), 0);
    same = slice_eq(buf_slice(&x), buf_slice(&y));
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

static void check_all(struct store *s, const struct told *told)
{
    unsigned rules = 0, levels = 0;

    for (unsigned i = 0; i < told->count; i++) {
        const struct alert *a = &told->alerts[i];

        check_window(s, a);
        check_parts(s, a);
        check_fields(a);
        check_sentence(a);
        rules |= 1u << a->rule;
        levels |= 1u << a->level;
    }
    assert_true(__builtin_popcount(rules) >= 4);
    assert_true(__builtin_popcount(levels) >= 2);
}

static void test_every_number(void **state)
{
    static struct told told, again;

    (void)state;
    STORES_NEEDED();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        CLEAN_STORE struct store *s = NULL;
        char where[300];
        struct detect *d = NULL;
        struct snapshot snapshot = {0};
        int64_t at_s = 0, middle_s = START_S + 60 * (MINUTES - 2000);
        unsigned before = 0;

        snprintf(where, sizeof(where), "%s%d", stores_where, (int)seed);
        assert_int_equal(store_open(where, &s), 0);
        write_store(s, seed);
        told = (struct told){.store = s};
        again = (struct told){.store = s};
        assert_int_equal(detect_new(&fleet_settings, &d), 0);
        tell(d, s, START_S, middle_s, false, &told);
        before = told.count;
        snapshot_begin(&snapshot, d);
        while (snapshot.is_under_way)
            assert_int_equal(snapshot_step(&snapshot, s, d), 0);
        tell(d, s, middle_s, START_S + 60 * MINUTES, false, &told);
        detect_free(&d);
        check_all(s, &told);

        /* What rests on learning: once more from the store, and from the snapshot in it. */
        assert_int_equal(detect_new(&fleet_settings, &d), 0);
        tell(d, s, START_S, middle_s, true, &again);
        detect_free(&d);
        assert_int_equal(snapshot_load(s, &fleet_settings, INT64_MAX, &d, &at_s), 0);
        assert_int_equal(at_s, middle_s);
        tell(d, s, at_s, START_S + 60 * MINUTES, false, &again);
        detect_free(&d);
        assert_true(told.count > before);
        assert_int_equal(again.count, told.count - before);
        for (unsigned i = 0; i < again.count; i++)
            assert_true(is_same(&again.alerts[i], &told.alerts[before + i]));
    }
}

/* One that broke off is not taken; old ones go. */
static void test_snapshots(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct snapshot snapshot = {0};
    struct detect *d = NULL, *loaded = NULL;
    int64_t at_s = 0, times[8];
    unsigned count = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(snapshot_load(s, &fleet_settings, INT64_MAX, &loaded, &at_s), -ENOENT);
    assert_int_equal(detect_new(&fleet_settings, &d), 0);
    for (int64_t at = START_S; at < START_S + 5 * 60; at += 60) {
        assert_int_equal(detect_begin(d, at), 0);
        assert_int_equal(detect_close(d, true, NULL, NULL), 0);
        snapshot_begin(&snapshot, d);
        while (snapshot.is_under_way)
            assert_int_equal(snapshot_step(&snapshot, s, d), 0);
    }
    assert_int_equal(store_find_baselines(s, INT64_MAX, 8, times, &count), 0);
    assert_int_equal(count, SNAPSHOT_KEPT);
    assert_int_equal(times[0], START_S + 300);
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_put_baseline(s, START_S + 360, 0, false, slice_str("half")), 0);
    assert_int_equal(store_put_baseline(s, START_S + 300, 7, true, slice_str("bad")), 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(snapshot_load(s, &fleet_settings, INT64_MAX, &loaded, &at_s), 0);
    assert_int_equal(at_s, START_S + 240); /* the one before the bad one */
    detect_free(&loaded);
    assert_int_equal(snapshot_load(s, &fleet_settings, START_S, &loaded, &at_s), -ENOENT);
    detect_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_number, stores_empty),
        cmocka_unit_test_teardown(test_snapshots, stores_empty),
    };
    const struct CMUnitTest shared[] = {
        cmocka_unit_test_teardown(test_snapshots, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", shared, stores_setup_postgres,
                                       stores_teardown);
}
