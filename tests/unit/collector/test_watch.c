/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Late calls and turns that fail.
 *
 * LINK: @detect @store collector/watch.c collector/watch_learn.c collector/watch_alert.c
 * LINK: collector/enrich.c collector/attribution.c collector/alert_told.c
 * LINK: collector/minutes.c collector/snapshot.c
 * LINK: collector/rules.c collector/rules_store.c collector/ruleset.c collector/ruleset_alert.c
 * LINK: collector/ruleset_feed.c collector/ruleset_judge.c collector/ruleset_save.c
 * LINK: collector/budget.c collector/burn.c collector/quiet.c collector/share.c
 * LINK: collector/places.c collector/yamlread.c collector/sightings.c collector/silence.c
 * collector/when.c LINK: collector/alerting.c collector/alerting_check.c
 * collector/alerting_schema.c LINK: collector/config.c
 */
#include "collector/alert.h"
#include "collector/publish.h"
#include "collector/watch.h"
#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/harness/stores.h"
#include "tests/unit/collector/store_fill.h"

#include <errno.h>

#define START_S INT64_C(1767225600)
#define HOUR_S 3600
#define HOURS 5

/* --- nothing is published --- */

int publish_new(const struct config *config, struct store *store, struct publish **ret_publish)
{
    (void)config;
    (void)store;
    *ret_publish = NULL;
    return 0;
}

void publish_free(struct publish **publish)
{
    (void)publish;
}

void publish_turn(struct publish *p, struct bus *bus, int64_t closed_s, uint64_t now_ns)
{
    (void)p;
    (void)bus;
    (void)closed_s;
    (void)now_ns;
}

unsigned publish_take_late(struct publish *p, int64_t *ret_from_s)
{
    (void)p;
    *ret_from_s = 0;
    return 0;
}

uint64_t publish_pending(const struct publish *p)
{
    (void)p;
    return 0;
}

uint64_t publish_given_up(const struct publish *p)
{
    (void)p;
    return 0;
}

void publish_get_rollup_stats(const struct publish *p, struct publish_rollup_stats *ret_stats)
{
    (void)p;
    (void)ret_stats;
}

/* --- */

static int refuse(void *ctx, struct store *s)
{
    (void)ctx;
    (void)s;
    return -EIO;
}

static void fill_hours(struct store *s)
{
    struct record rec = {.kind = RECORD_CALL,
                         .org = "acme",
                         .feature = "chat",
                         .provider = "openai",
                         .model = "gpt-4o"};

    assert_int_equal(store_begin(s), 0);
    for (int64_t at = START_S; at < START_S + HOURS * HOUR_S; at += 60) {
        rec.end_ns = (uint64_t)at * NSEC_PER_SEC;
        fill_calls(s, &rec, 5);
    }
    assert_int_equal(store_commit(s), 0);
}

static int64_t newest_snapshot(struct store *s)
{
    int64_t at_s = 0;
    unsigned count = 0;

    assert_int_equal(store_find_baselines(s, INT64_MAX, 1, &at_s, &count), 0);
    return count ? at_s : 0;
}

/* Late calls wait to be learned, a turn fails: what is learned then has them. */
static void test_late_and_failed(void **state)
{
    CLEAN_CONFIG struct config *config = NULL;
    CLEAN_STORE struct store *s = NULL;
    struct config_error error;
    struct watch *w = NULL;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(config_load(NULL, &config, &error), 0);
    free(config->detect.clock);
    config->detect.clock = strdup("event");
    assert_int_equal(store_open(stores_where, &s), 0);
    fill_hours(s);
    assert_int_equal(watch_new(config, s, &w), 0);
    watch_note_latest(w, (uint64_t)(START_S + HOURS * HOUR_S) * NSEC_PER_SEC +
                             config->detect.lateness_ms * NSEC_PER_MSEC);
    for (int i = 0; i < 1000 && newest_snapshot(s) < START_S + HOURS * HOUR_S; i++)
        watch_turn(w, NULL);
    assert_int_equal(newest_snapshot(s), START_S + HOURS * HOUR_S);
    watch_note(w, START_S + 4 * HOUR_S + 600, 200);
    watch_note_latest(w, (uint64_t)(START_S + HOURS * HOUR_S + 60) * NSEC_PER_SEC +
                             config->detect.lateness_ms * NSEC_PER_MSEC);
    store_set_fence(s, refuse, NULL);
    watch_turn(w, NULL);
    watch_turn(w, NULL);
    store_set_fence(s, NULL, NULL);
    watch_turn(w, NULL);
    assert_int_equal(newest_snapshot(s), START_S + 4 * HOUR_S);
    watch_free(&w);
}

static int count_alert(void *ctx, const struct store_alert *row)
{
    (void)row;
    ++*(unsigned *)ctx;
    return 0;
}

static void put_alerts(struct store *s, unsigned count)
{
    struct alert a = {.status = ALERT_FIRING,
                      .rule = ALERT_CALLS_DROP,
                      .org = "acme",
                      .method = "m",
                      .confidence = "provisional",
                      .starts_s = START_S,
                      .detected_s = START_S,
                      .window_start_s = START_S,
                      .window_end_s = START_S + 60};
    struct buf packed;

    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(store_begin(s), 0);
    for (unsigned i = 0; i < count; i++) {
        snprintf(a.feature, sizeof(a.feature), "gone-%u", i);
        alert_name(&a);
        alert_number(&a);
        buf_reset(&packed);
        assert_int_equal(alert_pack(&a, &packed), 0);
        assert_int_equal(store_add_alert(s, &(struct store_alert){.id = a.id,
                                                                  .fingerprint = a.fingerprint,
                                                                  .status = a.status,
                                                                  .org = a.org,
                                                                  .kind = "calls",
                                                                  .payload = buf_slice(&packed)}),
                         0);
    }
    assert_int_equal(store_commit(s), 0);
    buf_fini(&packed);
}

/* Whatever their number, what is not found again after a start is over. */
static void test_all_active_are_looked_at(void **state)
{
    enum { ALERTS = 10050 };
    CLEAN_CONFIG struct config *config = NULL;
    CLEAN_STORE struct store *s = NULL;
    struct config_error error;
    struct watch *w = NULL;
    unsigned active = 0, all = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(config_load(NULL, &config, &error), 0);
    free(config->detect.clock);
    config->detect.clock = strdup("event");
    assert_int_equal(store_open(stores_where, &s), 0);
    put_alerts(s, ALERTS);
    assert_int_equal(watch_new(config, s, &w), 0);
    for (int i = 0; i < 10; i++)
        watch_turn(w, NULL);
    watch_free(&w);
    assert_int_equal(store_each_alert(s, 0, true, 2 * ALERTS, count_alert, &active), 0);
    assert_int_equal(active, 0);
    assert_int_equal(store_each_alert(s, 0, false, 3 * ALERTS, count_alert, &all), 0);
    assert_int_equal(all, 2 * ALERTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_late_and_failed, stores_empty),
        cmocka_unit_test_teardown(test_all_active_are_looked_at, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
