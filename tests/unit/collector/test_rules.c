/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of rules, read again while minutes go on.
 *
 * LINK: @store collector/rules.c collector/rules_store.c collector/store_rules.c
 * LINK: collector/silence.c collector/ruleset.c collector/ruleset_feed.c
 * LINK: collector/ruleset_judge.c collector/ruleset_alert.c collector/ruleset_save.c
 * LINK: collector/burn.c collector/budget.c collector/quiet.c collector/share.c
 * LINK: collector/ruling.c collector/alert.c collector/alerting.c
 * LINK: collector/alerting_schema.c collector/alerting_check.c collector/places.c
 * collector/yamlread.c LINK: collector/when.c collector/sightings.c collector/config.c
 */
#include "collector/rules.h"
#include "collector/silence.h"
#include "collector/store_query.h"
#include "collector/store_rules.h"
#include "proto/base/clock.h"
#include "tests/harness/stores.h"
#include "tests/unit/collector/store_fill.h"

#include <errno.h>
#include <sys/stat.h>

#define NOON_S INT64_C(1767268800)
#define DAILY "rules:\n- {name: daily, kind: budget, usd: 400, period: day}\n"

static struct config *config;
static struct store *store;

static void write_file(const char *text)
{
    FILE *f = fopen(config->alerting.file, "we");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int prepare(void **state)
{
    struct config_error error;

    (void)state;
    if (!stores_where[0])
        return 0;
    assert_int_equal(config_load(NULL, &config, &error), 0);
    free(config->alerting.file);
    assert_true(asprintf(&config->alerting.file, "/tmp/lectr-test-rules-%d", (int)getpid()) > 0);
    assert_int_equal(store_open(stores_where, &store), 0);
    return 0;
}

static int clean(void **state)
{
    if (config)
        unlink(config->alerting.file);
    config_free(&config);
    store_close(&store);
    return stores_empty(state);
}

static int hear(void *ctx, const struct alert *a)
{
    (void)ctx;
    (void)a;
    return 0;
}

static void catch_up(struct rules *r, int64_t closed_s)
{
    int ret;

    while ((ret = rules_turn(r, closed_s)) == -EAGAIN)
        ;
    assert_int_equal(ret, 0);
}

static void close_minutes(struct rules *r, int64_t from_s, int64_t to_s)
{
    for (int64_t at = from_s; at < to_s; at += 60) {
        catch_up(r, at);
        assert_int_equal(store_begin(store), 0);
        assert_int_equal(rules_close(r, at, hear, NULL), 0);
        assert_int_equal(store_commit(store), 0);
    }
}

static void fill_minutes(int64_t from_s, int64_t to_s)
{
    struct record rec = {.kind = RECORD_CALL,
                         .org = "acme",
                         .feature = "chat",
                         .provider = "openai",
                         .model = "gpt-4o"};

    assert_int_equal(store_begin(store), 0);
    for (int64_t at = from_s; at < to_s; at += 600) {
        rec.end_ns = (uint64_t)at * NSEC_PER_SEC;
        fill_calls(store, &rec, 10);
    }
    assert_int_equal(store_commit(store), 0);
}

/* A rule with a history comes to one that has a state, while it runs and with a start. */
static void test_rule_is_added(void **state)
{
    static const char more[] = DAILY "- {name: slo, kind: burn_rate, objective: 99}\n";
    struct rules_stats stats;
    struct rules *r = NULL;

    (void)state;
    STORES_NEEDED();
    fill_minutes(NOON_S - 8 * 3600, NOON_S + 1800);
    write_file(DAILY);
    assert_int_equal(rules_new(config, store, &r), 0);
    close_minutes(r, NOON_S, NOON_S + 600);
    write_file(more);
    rules_request_reload();
    rules_free(&r);
    assert_int_equal(rules_new(config, store, &r), 0);
    close_minutes(r, NOON_S + 600, NOON_S + 1200);
    rules_get_stats(r, &stats);
    assert_int_equal(stats.groups, 2);
    rules_free(&r);
}

/* More state than is kept in the store: the file is read again all the same. */
static void test_large_state(void **state)
{
    static const char large[] = "rules:\n- {name: slo, kind: burn_rate, objective: 99, by: [model],"
                                " period_d: 365}\n";
    struct record rec = {.kind = RECORD_CALL,
                         .org = "acme",
                         .feature = "chat",
                         .provider = "openai",
                         .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC};
    struct rules_stats stats = {0};
    struct rules *r = NULL;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_begin(store), 0);
    for (int i = 0; i < 1300; i++) {
        snprintf(rec.model, sizeof(rec.model), "m%d", i);
        fill_calls(store, &rec, 1);
    }
    assert_int_equal(store_commit(store), 0);
    write_file(large);
    assert_int_equal(rules_new(config, store, &r), 0);
    close_minutes(r, NOON_S, NOON_S + 120);
    write_file(DAILY);
    rules_request_reload();
    while (stats.reloads + stats.reload_failures == 0) {
        catch_up(r, NOON_S + 120);
        rules_get_stats(r, &stats);
        usleep(10000);
    }
    assert_int_equal(stats.reload_failures, 0);
    assert_int_equal(stats.reloads, 1);
    rules_free(&r);
}

/* One look at the file. */
static struct rules_stats look(struct rules *r)
{
    struct rules_stats stats;

    usleep(1100000);
    catch_up(r, NOON_S + 600);
    rules_get_stats(r, &stats);
    return stats;
}

/* A file that is empty for a moment, or gone, leaves the rules as they are. */
static void test_file_is_being_written(void **state)
{
    static const char more[] = DAILY "- {name: slo, kind: burn_rate, objective: 99}\n";
    struct rules *r = NULL;
    struct rules_stats stats;

    (void)state;
    STORES_NEEDED();
    write_file(DAILY);
    assert_int_equal(rules_new(config, store, &r), 0);
    close_minutes(r, NOON_S, NOON_S + 600);
    write_file("");
    assert_int_equal(look(r).rules, 1);
    write_file(more);
    assert_int_equal(look(r).rules, 1);
    stats = look(r);
    assert_int_equal(stats.rules, 2);
    assert_int_equal(stats.reloads, 1);
    unlink(config->alerting.file);
    look(r);
    stats = look(r);
    assert_int_equal(stats.rules, 2);
    assert_int_equal(stats.reload_failures, 1);
    write_file(DAILY);
    look(r);
    stats = look(r);
    assert_int_equal(stats.rules, 1);
    assert_int_equal(stats.reload_failures, 1);
    rules_free(&r);
}

static void format_path(char *ret_path, size_t size, const char *dir, const char *name)
{
    assert_true((size_t)snprintf(ret_path, size, "%s/%s", dir, name) < size);
}

/* What kubelet does with a ConfigMap: a folder for each version, ..data names the newest. */
static void publish_version(const char *dir, const char *version, const char *text)
{
    char folder[128], file[160], next[128], data[128];
    FILE *f;

    format_path(folder, sizeof(folder), dir, version);
    format_path(file, sizeof(file), folder, "alerting.yaml");
    format_path(next, sizeof(next), dir, "..data_tmp");
    format_path(data, sizeof(data), dir, "..data");
    assert_int_equal(mkdir(folder, 0755), 0);
    f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(symlink(version, next), 0);
    assert_int_equal(rename(next, data), 0);
}

static void drop_version(const char *dir, const char *version)
{
    char folder[128], file[160];

    format_path(folder, sizeof(folder), dir, version);
    format_path(file, sizeof(file), folder, "alerting.yaml");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* A volume of a ConfigMap: the path stays the same symbolic link. */
static void test_config_map(void **state)
{
    static const char more[] = DAILY "- {name: slo, kind: burn_rate, objective: 99}\n";
    char dir[] = "/tmp/lectr-test-map-XXXXXX", data[128];
    struct rules *r = NULL;
    struct rules_stats stats;

    (void)state;
    STORES_NEEDED();
    assert_non_null(mkdtemp(dir));
    free(config->alerting.file);
    assert_true(asprintf(&config->alerting.file, "%s/alerting.yaml", dir) > 0);
    assert_int_equal(symlink("..data/alerting.yaml", config->alerting.file), 0);
    publish_version(dir, "..1", DAILY);
    assert_int_equal(rules_new(config, store, &r), 0);
    close_minutes(r, NOON_S, NOON_S + 600);
    look(r);
    assert_int_equal(look(r).reloads, 0);

    publish_version(dir, "..2", more);
    drop_version(dir, "..1");
    look(r);
    stats = look(r);
    assert_int_equal(stats.rules, 2);
    assert_int_equal(stats.reloads, 1);

    publish_version(dir, "..3", "rules: [\n");
    drop_version(dir, "..2");
    look(r);
    stats = look(r);
    assert_int_equal(stats.rules, 2);
    assert_int_equal(stats.reload_failures, 1);
    rules_free(&r);

    drop_version(dir, "..3");
    format_path(data, sizeof(data), dir, "..data");
    assert_int_equal(unlink(data), 0);
    assert_int_equal(unlink(config->alerting.file), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* What a rule holds back is not told when a silence that covers it too is over. */
static void test_held_back_and_silenced(void **state)
{
    struct alert a = {.rule = ALERT_COST_SPIKE,
                      .org = "acme",
                      .feature = "chat",
                      .detected_s = NOON_S,
                      .observed = 2,
                      .baseline = 1};
    struct rules *r = NULL;

    (void)state;
    STORES_NEEDED();
    write_file("rules:\n- {name: no-cost, kind: return_period, metric: cost, enabled: false}\n"
               "silences:\n- {match: {feature: chat}, from: '2026-01-01T11:00:00Z',"
               " until: '2026-01-01T13:00:00Z', planned: true}\n");
    assert_int_equal(rules_new(config, store, &r), 0);
    catch_up(r, NOON_S);
    rules_mark(r, &a);
    assert_string_equal(a.silenced_by, "rule:no-cost");
    assert_true(a.is_planned);
    rules_free(&r);
}

/* However many silences are over: one that begins now is kept. */
static void test_silences_that_are_over(void **state)
{
    const struct alerting_scope scope = {.org = "acme", .feature = "chat"};
    struct store_silence silence = {.org = "",
                                    .feature = "chat",
                                    .provider = "",
                                    .model = "",
                                    .severity = "",
                                    .rule = "",
                                    .is_planned = true,
                                    .comment = ""};
    struct rules *r = NULL;

    (void)state;
    STORES_NEEDED();
    write_file(DAILY);
    assert_int_equal(store_begin(store), 0);
    for (int i = 0; i <= SILENCES_MAX; i++) {
        char id[16];

        snprintf(id, sizeof(id), "s%08x", (unsigned)i);
        silence.id = id;
        silence.from_s = NOON_S - (SILENCES_MAX - i) * 60;
        silence.until_s = silence.from_s + 60;
        assert_int_equal(store_add_silence(store, &silence), 0);
    }
    assert_int_equal(store_commit(store), 0);
    assert_int_equal(rules_new(config, store, &r), 0);
    catch_up(r, NOON_S);
    assert_true(rules_is_planned(r, &scope, NOON_S));
    assert_true(rules_is_planned(r, &scope, NOON_S - 60));
    rules_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rule_is_added, prepare, clean),
        cmocka_unit_test_setup_teardown(test_large_state, prepare, clean),
        cmocka_unit_test_setup_teardown(test_file_is_being_written, prepare, clean),
        cmocka_unit_test_setup_teardown(test_config_map, prepare, clean),
        cmocka_unit_test_setup_teardown(test_held_back_and_silenced, prepare, clean),
        cmocka_unit_test_setup_teardown(test_silences_that_are_over, prepare, clean),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
