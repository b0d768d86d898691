/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store */
/* Files of every version that was released, opened by this one, and a PostgreSQL of version 3. */
#include "collector/store_publish.h"
#include "proto/base/clock.h"

#include "tests/harness/stores.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>

#define NOON_S INT64_C(1767268800)
#define CALLS 24

static char folder[] = "/tmp/lectr-test-schema-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static int empty_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -f '%s'/*", folder);
    return system(command);
}

static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* The caller's to free. */
static char *read_sql(const char *name)
{
    CLEAN_FILE FILE *f = NULL;
    char *sql = calloc(1, 64 * 1024);
    char place[96];

    snprintf(place, sizeof(place), "tests/unit/collector/store-%s.sql", name);
    f = fopen(place, "re");
    assert_non_null(f);
    assert_non_null(sql);
    assert_true(fread(sql, 1, 64 * 1024 - 1, f) > 0);
    return sql;
}

static void write_version(int version)
{
    CLEAN_FREE char *sql = NULL;
    char name[16];

    snprintf(name, sizeof(name), "v%d", version);
    sql = read_sql(name);
    run_sql(sql);
}

struct sums {
    unsigned rows;
    uint64_t calls, errors, timeouts, unknown, latencies;
    int64_t expected;
};

static int add_cell(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct sums *sums = ctx;

    assert_string_equal(name->org, "acme");
    sums->rows++;
    sums->calls += cell->sums.calls;
    sums->errors += cell->sums.errors;
    sums->timeouts += tally_get(&cell->error_types, "timeout");
    sums->unknown += cell->sums.output_unknown;
    sums->latencies += cell->latency.count;
    sums->expected += cell->sums.cost_expected_nanousd;
    return 0;
}

static int add_error(void *ctx, const struct store_error_row *row)
{
    *(uint64_t *)ctx += strcmp(row->type, "rate_limit") == 0 ? row->calls : 0;
    return 0;
}

static int add_gap(void *ctx, const struct store_gap_row *row)
{
    *(uint64_t *)ctx += row->connections;
    return 0;
}

static int add_coverage(void *ctx, const struct store_coverage_row *row)
{
    *(uint64_t *)ctx += row->seen;
    return 0;
}

static int add_unpriced(void *ctx, const struct store_unpriced_row *row)
{
    *(uint64_t *)ctx += row->calls;
    return 0;
}

static int count_touched(void *ctx, const struct store_touched *touched)
{
    (void)touched;
    ++*(unsigned *)ctx;
    return 0;
}

static void assert_rollups(struct store *s)
{
    static const unsigned rows[] = {CALLS, CALLS, 6};
    unsigned touched = 0;

    for (int res = 0; res < ROLLUP__COUNT; res++) {
        struct sums sums = {0};
        uint64_t limits = 0, connections = 0, seen = 0;

        assert_int_equal(store_each_cell(s, res, 0, INT64_MAX, add_cell, &sums), 0);
        assert_int_equal(sums.rows, rows[res]);
        assert_int_equal(sums.calls, CALLS);
        assert_int_equal(sums.errors, 8);
        assert_int_equal(sums.timeouts, 4);
        assert_int_equal(sums.unknown, 6);
        assert_int_equal(sums.latencies, CALLS);
        assert_int_equal(sums.expected, 19000);
        assert_int_equal(store_each_error(s, res, 0, INT64_MAX, add_error, &limits), 0);
        assert_int_equal(limits, 4);
        assert_int_equal(store_each_gap(s, res, 0, INT64_MAX, add_gap, &connections), 0);
        assert_int_equal(connections, 6);
        assert_int_equal(store_each_coverage(s, res, 0, INT64_MAX, add_coverage, &seen), 0);
        assert_int_equal(seen, 30);
    }
    /* What was published before is not published again. */
    assert_int_equal(store_each_touched(s, 10, count_touched, &touched), 0);
    assert_int_equal(touched, 0);
}

/* "call 23" ... "call 0" */
static int next_call(void *ctx, struct slice payload)
{
    unsigned *left = ctx;
    char expected[32];

    snprintf(expected, sizeof(expected), "call %u", --*left);
    assert_true(slice_eq(payload, slice_str(expected)));
    return 0;
}

static int find_malformed(void *ctx, const struct store_malformed *m)
{
    ++*(unsigned *)ctx;
    assert_int_equal(m->stream_seq, 77);
    assert_string_equal(m->reason, "not a Call");
    assert_int_equal(m->payload.len, 0);
    return 0;
}

static int find_alert(void *ctx, const struct store_alert *alert)
{
    ++*(unsigned *)ctx;
    assert_string_equal(alert->id, "id-2");
    return 0;
}

static void assert_rest(struct store *s)
{
    struct store_loss loss;
    unsigned left = CALLS, malformed = 0, alerts = 0;
    uint64_t unreadable = 0;
    int64_t number = 0;
    bool is_new = true;

    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.streams, 2);
    assert_int_equal(loss.received, CALLS);
    assert_int_equal(store_claim(s, "0198-a", 3, 2, &is_new), 0);
    assert_false(is_new);
    assert_int_equal(store_each_call(s, 0, INT64_MAX, 100, next_call, &left, &unreadable), 0);
    assert_int_equal(unreadable, 0);
    assert_int_equal(left, 0);
    assert_int_equal(store_number_get(s, "duplicates", &number), 0);
    assert_int_equal(number, 4);
    assert_int_equal(store_number_get(s, "closed_s", &number), 0);
    assert_int_equal(number, NOON_S + 600);
    assert_int_equal(store_each_malformed(s, 0, 10, find_malformed, &malformed), 0);
    assert_int_equal(malformed, 1);
    assert_int_equal(store_each_unpublished_alert(s, 0, 10, find_alert, &alerts), 0);
    assert_int_equal(alerts, 1);
}

static void test_version_1(void **state)
{
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    write_version(1);
    assert_int_equal(store_open(path, &s), 0);
    assert_rollups(s);
    assert_rest(s);
}

static void test_version_2(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    uint64_t unpriced = 0;

    (void)state;
    write_version(2);
    assert_int_equal(store_open(path, &s), 0);
    assert_rollups(s);
    assert_int_equal(store_each_unpriced(s, 0, INT64_MAX, 10, add_unpriced, &unpriced), 0);
    assert_int_equal(unpriced, 5);
    assert_rest(s);
}

static int note_untold(void *ctx, const struct store_untold_cell *cell)
{
    int64_t *found = ctx;

    found[0]++;
    found[1] = cell->revision;
    found[2] = cell->told;
    return 0;
}

static void assert_untold(struct store *s, int64_t minute_s, int64_t count)
{
    int64_t found[3] = {0};

    assert_int_equal(
        store_each_untold_cell(s, &(struct store_bucket){60, minute_s}, 0, 10, note_untold, found),
        0);
    assert_int_equal(found[0], count);
    if (count) {
        assert_int_equal(found[1], 3);
        assert_int_equal(found[2], 1);
    }
}

/* What was told of a cell stays told, and what was not is found. */
static void test_version_3(void **state)
{
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    write_version(3);
    assert_int_equal(store_open(path, &s), 0);
    assert_rollups(s);
    assert_rest(s);
    assert_untold(s, NOON_S, 0);
    assert_untold(s, NOON_S + 660, 1);
}

static void test_version_2_is_told(void **state)
{
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    write_version(2);
    assert_int_equal(store_open(path, &s), 0);
    assert_untold(s, NOON_S, 0);
    assert_untold(s, NOON_S + 660, 0);
}

/* Nothing is moved a second time, and what moved can be written to. */
static void test_opened_again(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct store_series_name name = {"acme", "new", "p", "m", "w"};
    int64_t series = 0, again = 0;

    (void)state;
    write_version(2);
    assert_int_equal(store_open(path, &s), 0);
    assert_int_equal(store_add_series(s, &name, &series), 0);
    store_close(&s);
    assert_int_equal(store_open(path, &s), 0);
    assert_rollups(s);
    assert_int_equal(store_add_series(s, &name, &again), 0);
    assert_int_equal(series, again);
    assert_true(series > 6);
}

/* A step that fails leaves the file as it was. */
static void test_failed_migration_changes_nothing(void **state)
{
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    write_version(2);
    run_sql("CREATE TABLE old_call(x INTEGER)");
    assert_true(store_open(path, &s) < 0);
    assert_non_null(strstr(store_error(NULL), "old_call"));
    run_sql("DROP TABLE old_call");
    assert_int_equal(store_open(path, &s), 0);
    assert_rollups(s);
    assert_rest(s);
}

/* What no later version would write keeps nobody from the rest. */
static void take_odd_rows(int version)
{
    CLEAN_STORE struct store *s = NULL;
    static const char *const odd[] = {
        "INSERT INTO gap VALUES(1767268800, 'o', 'w', 'p', 'x', 0, 1, 9223372036854775807)",
        "INSERT INTO gap VALUES(1767268860, 'o', 'w', 'p', 'x', 0, 1, 9223372036854775807)",
        "INSERT INTO coverage VALUES(1767268800, 'o', 'w', 'p', 0, 9223372036854775807)",
        "INSERT INTO coverage VALUES(1767268860, 'o', 'w', 'p', 0, 9223372036854775807)",
        "INSERT INTO call VALUES('x', 1, 1, 1767268800000000000, zeroblob(3000000))",
        "INSERT INTO rollup_error SELECT seconds, bucket, series, char(9) || 'a' || char(10), 1"
        " FROM rollup WHERE seconds = 86400 LIMIT 1",
        "INSERT INTO seq_interval VALUES(999, 1, 5)",
        "INSERT INTO stream VALUES(998, 'far', 500)",
        "INSERT INTO seq_interval VALUES(998, 1, 5)",
        "INSERT INTO number VALUES('of another', -1)",
    };

    write_version(version);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        run_sql(odd[i]);
    if (store_open(path, &s) < 0)
        fail_msg("version %d: %s", version, store_error(NULL));
    assert_rollups(s);
}

static void test_odd_rows(void **state)
{
    (void)state;
    take_odd_rows(1);
}

static void test_odd_rows_of_2(void **state)
{
    (void)state;
    take_odd_rows(2);
}

static void test_newer_version_is_refused(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    char sql[64];

    (void)state;
    snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", STORE_SCHEMA_VERSION + 1);
    run_sql(sql);
    assert_int_equal(store_open(path, &s), -ENOTSUP);
    assert_string_equal(store_error(NULL), "written by a newer version");
    run_sql("PRAGMA user_version = -1");
    assert_int_equal(store_open(path, &s), -ENOTSUP);
}

/* All that CREATE said, and whether pages can be given back. */
static void read_schema(char *ret_schema, size_t size)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    size_t used = 0;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT sql FROM sqlite_master WHERE sql NOT NULL UNION ALL"
                                        " SELECT auto_vacuum FROM pragma_auto_vacuum"
                                        " ORDER BY 1",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        used += (size_t)snprintf(ret_schema + used, size - used, "%s\n",
                                 (const char *)sqlite3_column_text(stmt, 0));
        assert_true(used < size);
    }
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* An old file becomes what a new one is from the start. */
static void test_moved_is_like_new(void **state)
{
    static char fresh[16384], moved[16384];
    struct store *s = NULL;

    (void)state;
    assert_int_equal(store_open(path, &s), 0);
    store_close(&s);
    read_schema(fresh, sizeof(fresh));
    assert_int_equal(empty_folder(NULL), 0);
    write_version(1);
    assert_int_equal(store_open(path, &s), 0);
    store_close(&s);
    read_schema(moved, sizeof(moved));
    assert_string_equal(fresh, moved);
    assert_non_null(strstr(fresh, "2\n"));
    assert_int_equal(empty_folder(NULL), 0);
    write_version(3);
    assert_int_equal(store_open(path, &s), 0);
    store_close(&s);
    read_schema(moved, sizeof(moved));
    assert_string_equal(fresh, moved);
}

/* --- PostgreSQL --- */

static void load_version_3(void)
{
    CLEAN_FREE char *sql = read_sql("v3-postgres");

    stores_sql(sql);
}

/* The rows of one column, one a line; the caller's to free. */
static char *ask(const char *sql)
{
    PGconn *conn = PQconnectdb(stores_where);
    PGresult *result = PQexec(conn, sql);
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        print_message("%s", PQerrorMessage(conn));
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    assert_non_null(f);
    for (int i = 0; i < PQntuples(result); i++)
        fprintf(f, "%s\n", PQgetvalue(result, i, 0));
    fclose(f);
    PQclear(result);
    PQfinish(conn);
    return text;
}

static void assert_answer(const char *sql, const char *expected)
{
    CLEAN_FREE char *answer = ask(sql);

    assert_string_equal(answer, expected);
}

/* Every row of every table that was there, without the column that went. */
static char *ask_rows(void)
{
    static const char *const tables[] = {
        "alert",  "baseline_state", "call_block", "collector",    "coverage", "coverage_told",
        "gap",    "feedback",       "lane_state", "lease",        "letter",   "malformed",
        "number", "rollup",         "rule_state", "seq_interval", "seen",     "series",
        "told",   "silence",        "unpriced",   "touched",
    };
    char *all = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&all, &bytes);

    assert_non_null(f);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        CLEAN_FREE char *rows = NULL;
        char sql[160];

        snprintf(sql, sizeof(sql),
                 "SELECT CAST(to_jsonb(t) - 'published' AS TEXT) FROM %s t"
                 " ORDER BY 1",
                 tables[i]);
        rows = ask(sql);
        fprintf(f, "%s:\n%s", tables[i], rows);
    }
    fclose(f);
    return all;
}

#define TOLD "SELECT CAST(to_jsonb(t) AS TEXT) FROM "
#define AS_TOLD " AS t ORDER BY seconds, bucket, series"

/* What was told of a cell is the sum over its lanes, and nothing else has changed. */
static void test_postgres_version_3(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    CLEAN_FREE char *before = NULL;
    CLEAN_FREE char *after = NULL;
    CLEAN_FREE char *published = NULL;
    struct store_series_name name = {"acme", "new", "p", "m", "w"};
    int64_t series = 0;

    (void)state;
    STORES_NEEDED();
    load_version_3();
    before = ask_rows();
    published = ask(TOLD "(SELECT seconds, bucket, series, CAST(sum(published) AS BIGINT) AS"
                         " revision FROM rollup GROUP BY 1, 2, 3)" AS_TOLD);
    assert_non_null(strstr(published, "\"revision\": 3"));
    assert_int_equal(store_open(stores_where, &s), 0);
    after = ask_rows();
    assert_string_equal(before, after);
    assert_answer("SELECT version FROM schema_version", "4\n");
    assert_answer(TOLD "rollup_told" AS_TOLD, published);
    assert_rollups(s);
    assert_untold(s, NOON_S, 0);
    assert_untold(s, NOON_S + 660, 1);
    assert_rest(s);
    assert_int_equal(store_add_series(s, &name, &series), 0);
    assert_int_equal(series, 7);
}

#define SCHEMA                                                                                     \
    "SELECT table_name || ' ' || string_agg(column_name || ' ' || data_type || ' ' || is_nullable" \
    " || ' ' || is_identity, ', ' ORDER BY ordinal_position) FROM information_schema.columns"      \
    " WHERE table_schema = 'public' GROUP BY table_name UNION ALL"                                 \
    " SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL"                       \
    " SELECT relname || CAST(reloptions AS TEXT) FROM pg_class WHERE reloptions IS NOT NULL"       \
    " AND relnamespace = CAST('public' AS regnamespace) ORDER BY 1"

static void test_postgres_moved_is_like_new(void **state)
{
    CLEAN_FREE char *fresh = NULL;
    CLEAN_FREE char *moved = NULL;
    struct store *s = NULL;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    store_close(&s);
    fresh = ask(SCHEMA);
    assert_int_equal(stores_empty(NULL), 0);
    load_version_3();
    assert_int_equal(store_open(stores_where, &s), 0);
    store_close(&s);
    moved = ask(SCHEMA);
    assert_non_null(strstr(fresh, "rollup_told seconds bigint NO NO, bucket"));
    assert_string_equal(fresh, moved);
}

static void test_postgres_failed_migration_changes_nothing(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    CLEAN_FREE char *before = NULL;
    CLEAN_FREE char *after = NULL;

    (void)state;
    STORES_NEEDED();
    load_version_3();
    stores_sql("CREATE VIEW looks AS SELECT published FROM rollup");
    before = ask(SCHEMA);
    assert_true(store_open(stores_where, &s) < 0);
    assert_non_null(strstr(store_error(NULL), "published"));
    after = ask(SCHEMA);
    assert_string_equal(before, after);
    assert_answer("SELECT version FROM schema_version", "3\n");
    stores_sql("DROP VIEW looks");
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_rollups(s);
}

static void *open_store(void *ctx)
{
    struct store *s = NULL;
    int *result = ctx;

    *result = store_open(stores_where, &s);
    store_close(&s);
    return NULL;
}

/* Collectors that start together. */
static void test_postgres_moves_once(void **state)
{
    enum { COLLECTORS = 4 };
    pthread_t threads[COLLECTORS];
    int results[COLLECTORS];
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    STORES_NEEDED();
    load_version_3();
    for (int i = 0; i < COLLECTORS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_store, &results[i]), 0);
    for (int i = 0; i < COLLECTORS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(results[i], 0);
    }
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_rollups(s);
    assert_untold(s, NOON_S + 660, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_version_1, empty_folder),
        cmocka_unit_test_teardown(test_version_2, empty_folder),
        cmocka_unit_test_teardown(test_version_2_is_told, empty_folder),
        cmocka_unit_test_teardown(test_version_3, empty_folder),
        cmocka_unit_test_teardown(test_opened_again, empty_folder),
        cmocka_unit_test_teardown(test_failed_migration_changes_nothing, empty_folder),
        cmocka_unit_test_teardown(test_odd_rows, empty_folder),
        cmocka_unit_test_teardown(test_odd_rows_of_2, empty_folder),
        cmocka_unit_test_teardown(test_newer_version_is_refused, empty_folder),
        cmocka_unit_test_teardown(test_moved_is_like_new, empty_folder),
    };

    const struct CMUnitTest shared[] = {
        cmocka_unit_test_teardown(test_postgres_version_3, stores_empty),
        cmocka_unit_test_teardown(test_postgres_moved_is_like_new, stores_empty),
        cmocka_unit_test_teardown(test_postgres_failed_migration_changes_nothing, stores_empty),
        cmocka_unit_test_teardown(test_postgres_moves_once, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, make_folder, remove_folder) +
           cmocka_run_group_tests_name("PostgreSQL", shared, stores_setup_postgres,
                                       stores_teardown);
}
