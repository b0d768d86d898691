/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay-history over a real store: what was told is found again, what other rules hold
 * back is said to be, and what would not fire any more is listed.
 *
 * LINK: @detect @store collector/enrich.c collector/attribution.c collector/history.c
 * LINK: collector/baselines.c collector/snapshot.c
 * LINK: collector/rules.c collector/rules_store.c collector/ruleset.c collector/ruleset_alert.c
 * LINK: collector/ruleset_feed.c collector/ruleset_judge.c collector/ruleset_save.c
 * LINK: collector/budget.c collector/burn.c collector/quiet.c collector/share.c
 * LINK: collector/places.c collector/yamlread.c collector/sightings.c collector/silence.c
 * collector/when.c collector/alerting.c collector/alerting_check.c LINK:
 * collector/alerting_schema.c collector/config.c tests/detect/traffic.c LINK: tests/detect/fleet.c
 */
#include "collector/alerting.h"
#include "collector/baselines.h"
#include "collector/detect.h"
#include "collector/enrich.h"
#include "collector/history.h"
#include "collector/snapshot.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/detect/fleet.h"
#include "tests/harness/stores.h"
#include "tests/unit/collector/store_fill.h"

#define START_S INT64_C(1767225600)
#define MINUTES (27 * 60)

/* Of the store at hand. */
static int64_t numbers[8];

static int write_cell(void *ctx, const struct store_series_name *name,
                      const struct rollup_cell *cell)
{
    struct rollup_cell copy = *cell;
    struct record rec = {0};

    snprintf(rec.org, sizeof(rec.org), "%s", name->org);
    snprintf(rec.feature, sizeof(rec.feature), "%s", name->feature);
    snprintf(rec.provider, sizeof(rec.provider), "%s", name->provider);
    snprintf(rec.model, sizeof(rec.model), "%s", name->model);
    snprintf(rec.workload, sizeof(rec.workload), "%s", name->workload);
    if (!numbers[cell->series])
        numbers[cell->series] = fill_series(ctx, &rec);
    copy.series = numbers[cell->series];
    return fill_cell(ctx, &copy);
}

static int put_alert(struct store *s, const struct alert *a)
{
    struct buf packed;
    struct store_alert row = {.id = a->id,
                              .fingerprint = a->fingerprint,
                              .status = a->status,
                              .org = a->org,
                              .kind = alert_rule_kind(a->rule),
                              .at_ns = a->detected_s * (int64_t)NSEC_PER_SEC};

    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(alert_pack(a, &packed), 0);
    row.payload = buf_slice(&packed);
    assert_int_equal(store_add_alert(s, &row), 0);
    buf_fini(&packed);
    return 0;
}

static int on_alert(void *ctx, const struct alert *a)
{
    struct alert told = *a;

    assert_int_equal(enrich_alert(ctx, &told), 0);
    return put_alert(ctx, &told);
}

static void fill(struct store *s, const struct config_detect *settings)
{
    static const struct fleet_event spike = {TRAFFIC_COST, 8, 0, 1, 26 * 60, 30};
    static struct fleet fleet;
    struct detect *d = NULL;

    memset(numbers, 0, sizeof(numbers));
    fleet_init(&fleet, 1, 20, 3, &spike, 1);
    assert_int_equal(detect_new(settings, &d), 0);
    assert_int_equal(store_begin(s), 0);
    for (int64_t at = START_S; at < START_S + 60 * MINUTES; at += 60) {
        fleet_next(&fleet, at, write_cell, s);
        assert_int_equal(detect_begin(d, at), 0);
        assert_int_equal(store_each_cell(s, ROLLUP_MINUTE, at, at + 60, detect_add, d), 0);
        assert_int_equal(detect_close(d, false, on_alert, s), 0);
    }
    assert_int_equal(store_commit(s), 0);
    detect_free(&d);
    fleet_fini(&fleet);
}

/* One that nothing stored speaks for. */
static void put_stray_at(struct store *s, enum alert_rule rule, int64_t at_s)
{
    struct alert a = {.status = ALERT_FIRING,
                      .rule = rule,
                      .org = "acme",
                      .feature = "gone",
                      .window_start_s = at_s - 300,
                      .window_end_s = at_s,
                      .starts_s = at_s - 60,
                      .detected_s = at_s,
                      .method = "m",
                      .confidence = "provisional"};

    alert_name(&a);
    alert_number(&a);
    put_alert(s, &a);
}

static void put_stray(struct store *s, enum alert_rule rule)
{
    put_stray_at(s, rule, START_S + 60 * 1005);
}

static char *run(const struct config *config, const struct history_args *args)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    assert_non_null(f);
    assert_int_equal(history_run(config, args, f), 0);
    fclose(f);
    return text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

static void test_history(void **state)
{
    CLEAN_CONFIG struct config *config = NULL;
    CLEAN_STORE struct store *s = NULL;
    struct config_error error;
    char rules[300];
    char *text;
    FILE *f;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(config_load(NULL, &config, &error), 0);
    free(config->store.path);
    config->store.path = strdup(stores_where);
    assert_int_equal(store_open(stores_where, &s), 0);
    fill(s, &config->detect);
    put_stray(s, ALERT_CALLS_DROP);
    /* Which is no matter of minutes. */
    put_stray(s, ALERT_MODEL_FIRST_SEEN);

    text = run(config, &(struct history_args){.since = "1d"});
    assert_int_equal(count(text, "= 2026"), 1);
    assert_int_equal(count(text, "+ 2026"), 0);
    assert_int_equal(count(text, "- 2026"), 1);
    assert_non_null(strstr(text, "cost.spike"));
    assert_non_null(strstr(text, "1 would fire: 1 that were told (=), 0 that were not (+); 1 were "
                                 "told and would not fire (-)"));
    assert_non_null(strstr(text, "Minutes are kept from 27 h before the end"));
    free(text);

    /* Nothing of it lies within the last minutes. */
    text = run(config, &(struct history_args){.since = "10m"});
    assert_int_equal(count(text, "2026-"), 0);
    free(text);

    snprintf(rules, sizeof(rules), "%s.rules", stores_where);
    f = fopen(rules, "we");
    assert_non_null(f);
    fputs("rules:\n  - {name: no-cost, kind: return_period, metric: cost, enabled: false}\n"
          "  - {name: monthly, kind: budget, usd: 0.5, period: day}\n",
          f);
    fclose(f);
    text = run(config, &(struct history_args){.since = "1d", .rules = rules, .format = "json"});
    assert_int_equal(count(text, "\"held_back\":true"), 1);
    assert_true(count(text, "\"rule\":\"cost.budget\"") >= 1);
    assert_int_equal(count(text, "\"was_told\":true"), 2);
    free(text);
    text = run(config, &(struct history_args){.since = "1d", .rules = rules});
    assert_non_null(strstr(text, "\n1 of them a rule holds back.\n"));
    free(text);
    unlink(rules);
    assert_int_equal(history_run(config, &(struct history_args){.since = "soon"}, stdout), 2);
}

static void put_cost(struct store *s, int64_t minute_s)
{
    const struct record rec = {.org = "acme", .feature = "f", .provider = "p", .model = "m"};
    struct rollup_cell cell = {.seconds = 60, .bucket = minute_s, .series = fill_series(s, &rec)};

    cell.sums.calls = 1;
    cell.sums.cost_expected_nanousd = INT64_C(10000000000);
    assert_int_equal(fill_cell(s, &cell), 0);
}

/* One call of a clock that was wrong does not make history begin with it, nor is what was told
 * judged where there are no minutes any more. */
static void test_history_is_bounded(void **state)
{
    const int64_t end_s = START_S + 60 * MINUTES;
    CLEAN_CONFIG struct config *config = NULL;
    CLEAN_STORE struct store *s = NULL;
    struct config_error error;
    char rules[300], *text;
    FILE *f;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(config_load(NULL, &config, &error), 0);
    free(config->store.path);
    config->store.path = strdup(stores_where);
    assert_int_equal(store_open(stores_where, &s), 0);
    put_cost(s, end_s - 20 * INT64_C(86400));
    put_cost(s, end_s - 13 * INT64_C(86400));
    put_cost(s, end_s - 60);
    put_stray_at(s, ALERT_CALLS_DROP, end_s - 20 * INT64_C(86400));
    put_stray_at(s, ALERT_CALLS_SPIKE, end_s - 13 * INT64_C(86400));
    snprintf(rules, sizeof(rules), "%s.rules", stores_where);
    f = fopen(rules, "we");
    assert_non_null(f);
    fputs("rules:\n  - {name: daily, kind: budget, usd: 0.5, period: day}\n", f);
    fclose(f);
    text = run(config, &(struct history_args){.since = "56d", .rules = rules});
    assert_int_equal(count(text, "2025-12-13"), 0);
    assert_int_equal(count(text, "+ 2025-12-20"), 1);
    assert_int_equal(count(text, "+ 2026-01-02"), 1);
    assert_int_equal(count(text, "- 2025-12-20"), 1);
    assert_non_null(strstr(text, "Minutes are kept from 336 h before the end"));
    free(text);
    if (getenv("X"))
        put_cost(s, 60); /* would be half a hundred years */
    text = run(config, &(struct history_args){.since = "1d", .rules = rules});
    assert_int_equal(count(text, "+ 2026-01-02"), 1);
    free(text);
    unlink(rules);
}

/* Quiet ones are listed with what it takes; without a snapshot that is said. */
static void test_baselines(void **state)
{
    CLEAN_CONFIG struct config *config = NULL;
    CLEAN_STORE struct store *s = NULL;
    struct snapshot snapshot = {0};
    struct config_error error;
    struct detect *d = NULL;
    char *text = NULL;
    size_t bytes = 0;
    FILE *f;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(config_load(NULL, &config, &error), 0);
    free(config->store.path);
    config->store.path = strdup(stores_where);
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(baselines_run(config, NULL, stdout), 1);
    fill(s, &config->detect);
    assert_int_equal(detect_new(&config->detect, &d), 0);
    for (int64_t at = START_S; at < START_S + 60 * MINUTES; at += 60) {
        assert_int_equal(detect_begin(d, at), 0);
        assert_int_equal(store_each_cell(s, ROLLUP_MINUTE, at, at + 60, detect_add, d), 0);
        assert_int_equal(detect_close(d, true, NULL, NULL), 0);
    }
    snapshot_begin(&snapshot, d);
    while (snapshot.is_under_way)
        assert_int_equal(snapshot_step(&snapshot, s, d), 0);
    detect_free(&d);
    f = open_memstream(&text, &bytes);
    assert_int_equal(baselines_run(config, "json", f), 0);
    fclose(f);
    /* The feature and its two models; provider and organisation are one of these. */
    assert_int_equal(count(text, "\"confidence\":\"provisional\""), 3);
    assert_int_equal(count(text, "\"calls\":{\"ratio\":"), 3);
    assert_int_equal(count(text, "\"level\":\"feature\""), 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_history, stores_empty),
        cmocka_unit_test_teardown(test_history_is_bounded, stores_empty),
        cmocka_unit_test_teardown(test_baselines, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown);
}
