/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/db.c collector/db_sqlite.c collector/db_postgres.c collector/db_pg.c
 * collector/db_pg_many.c */
/* The same statements on both kinds of database, and what only one of them can do. */
#include "collector/db.h"
#include "tests/harness/stores.h"

#include <errno.h>
#include <sys/wait.h>

enum {
    PUT,
    GET,
    COUNT,
    EACH,
    DUPLICATE,
    BROKEN,
    RETURNING,
    CLOCK,
    IS_TLS,
    PUT_MANY,
    STMT_COUNT,
};

static const char *const sql[STMT_COUNT] = {
    [PUT] = "INSERT INTO t(id, n, x, s, b) VALUES(?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT(id) DO UPDATE SET n = excluded.n",
    [GET] = "SELECT n, x, s, b FROM t WHERE id = ?1",
    [COUNT] = "SELECT count(*) FROM t",
    [EACH] = "$SCAN SELECT id FROM t WHERE id > ?1 ORDER BY id",
    [DUPLICATE] = "INSERT INTO t(id, n, x, s, b) VALUES(?1, 0, 0, '', ?2)",
    [BROKEN] = "SELECT x FROM nowhere WHERE id = ?1",
    [RETURNING] = "INSERT INTO named(name) VALUES(?1) ON CONFLICT(name) DO NOTHING RETURNING id",
    [IS_TLS] = "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl",
    [PUT_MANY] = "$MANY INSERT INTO t(id, n, x, s, b) VALUES(?1, ?2, ?3, ?4, ?5)"
                 " ON CONFLICT(id) DO UPDATE SET n = excluded.n",
    [CLOCK] = "SELECT $NOW_MS",
};

static struct db *open_db(void)
{
    struct db_error_text error;
    struct db *db = NULL;

    assert_int_equal(db_open(stores_where, DB_WRITER, sql, STMT_COUNT, &db, &error), 0);
    return db;
}

static struct db *open_with_tables(void)
{
    struct db *db = open_db();

    assert_int_equal(db_exec(db, "CREATE TABLE t(id BIGINT PRIMARY KEY, n BIGINT NOT NULL,"
                                 "  x DOUBLE PRECISION NOT NULL, s TEXT NOT NULL,"
                                 "  b BYTEA NOT NULL)$END;"
                                 "CREATE TABLE named(id $ID, name TEXT NOT NULL UNIQUE);"),
                     0);
    return db;
}

static int put(struct db *db, int64_t id, int64_t n)
{
    struct db_stmt *stmt = db_stmt(db, PUT);

    db_bind_int(stmt, 1, id);
    db_bind_int(stmt, 2, n);
    db_bind_real(stmt, 3, 0.5);
    db_bind_text(stmt, 4, "text");
    db_bind_blob(stmt, 5, slice_of("\0\1\377", 3));
    return db_run(stmt);
}

static int64_t count(struct db *db)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(db, COUNT);

    assert_int_equal(db_step(stmt), 1);
    return db_int(stmt, 0);
}

static void test_values_come_back(void **state)
{
    static const int64_t numbers[] = {0, -1, INT64_MAX, INT64_MIN};
    struct db *db;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    for (int i = 0; i < 4; i++) {
        CLEAN_STMT struct db_stmt *stmt = NULL;

        assert_int_equal(put(db, i, numbers[i]), 0);
        stmt = db_stmt(db, GET);
        db_bind_int(stmt, 1, i);
        assert_int_equal(db_step(stmt), 1);
        assert_true(db_int(stmt, 0) == numbers[i]);
        assert_true(db_real(stmt, 1) == 0.5);
        assert_string_equal(db_text(stmt, 2), "text");
        assert_true(slice_eq(db_blob(stmt, 3), slice_of("\0\1\377", 3)));
        assert_int_equal(db_step(stmt), 0);
    }
    db_close(&db);
}

static void test_empty_text_and_bytes(void **state)
{
    struct db *db;
    struct db_stmt *stmt;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    stmt = db_stmt(db, PUT);
    db_bind_int(stmt, 1, 1);
    db_bind_int(stmt, 2, 1);
    db_bind_real(stmt, 3, 0);
    db_bind_text(stmt, 4, NULL);
    db_bind_blob(stmt, 5, slice_of(NULL, 0));
    assert_int_equal(db_run(stmt), 0);
    stmt = db_stmt(db, GET);
    db_bind_int(stmt, 1, 1);
    assert_int_equal(db_step(stmt), 1);
    assert_string_equal(db_text(stmt, 2), "");
    assert_int_equal(db_blob(stmt, 3).len, 0);
    db_reset(&stmt);
    db_close(&db);
}

/* More than is ever on its way without being looked at. */
static void test_many_writes_in_a_transaction(void **state)
{
    struct db *db;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    assert_int_equal(db_begin(db), 0);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(put(db, i, i), 0);
    assert_int_equal(count(db), 3000);
    db_rollback(db);
    assert_int_equal(count(db), 0);
    assert_int_equal(db_begin(db), 0);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(put(db, i % 1000, i), 0);
    assert_int_equal(db_commit(db), 0);
    assert_int_equal(count(db), 1000);
    db_close(&db);
}

static int put_many(struct db *db, int64_t id, int64_t n, struct slice bytes)
{
    struct db_stmt *stmt = db_stmt(db, PUT_MANY);

    db_bind_int(stmt, 1, id);
    db_bind_int(stmt, 2, n);
    db_bind_real(stmt, 3, -0.25);
    db_bind_text(stmt, 4, id % 2 ? "" : "{\"a\", NULL}");
    db_bind_blob(stmt, 5, bytes);
    return db_run(stmt);
}

static void expect_row(struct db *db, int64_t id, int64_t n, struct slice bytes)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(db, GET);

    db_bind_int(stmt, 1, id);
    assert_int_equal(db_step(stmt), 1);
    assert_int_equal(db_int(stmt, 0), n);
    assert_true(db_real(stmt, 1) == -0.25);
    assert_string_equal(db_text(stmt, 2), id % 2 ? "" : "{\"a\", NULL}");
    assert_true(slice_eq(db_blob(stmt, 3), bytes));
}

/* What is written together is there for whoever reads next, and gone with the transaction. */
static void test_rows_written_together(void **state)
{
    static char large[600 * 1024];
    const struct slice few = slice_of("\0\1\377", 3), much = slice_of(large, sizeof(large));
    struct db *db;

    (void)state;
    STORES_NEEDED();
    memset(large, 7, sizeof(large));
    db = open_with_tables();
    assert_int_equal(put_many(db, 5000, 1, few), 0);
    expect_row(db, 5000, 1, few);
    assert_int_equal(db_begin(db), 0);
    for (int i = 0; i < 1300; i++)
        assert_int_equal(put_many(db, i, i, i == 3 || i == 5 || i == 700 ? much : few), 0);
    expect_row(db, 1299, 1299, few);
    assert_int_equal(count(db), 1301);
    assert_int_equal(put_many(db, 1300, 0, few), 0);
    db_rollback(db);
    assert_int_equal(count(db), 1);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(put_many(db, 1, 1, few), 0);
    assert_int_equal(put_many(db, 2, 2, much), 0);
    /* Another statement comes after them: in this order. */
    assert_int_equal(put(db, 1, 7), 0);
    assert_int_equal(put_many(db, 3, 3, few), 0);
    assert_int_equal(db_commit(db), 0);
    expect_row(db, 1, 7, few);
    expect_row(db, 2, 2, much);
    expect_row(db, 3, 3, few);
    assert_int_equal(count(db), 4);
    db_close(&db);
}

static int duplicate(struct db *db, int64_t id)
{
    struct db_stmt *stmt = db_stmt(db, DUPLICATE);

    db_bind_int(stmt, 1, id);
    db_bind_blob(stmt, 2, slice_of("", 0));
    return db_run(stmt);
}

/* A write that fails is told, at the commit at the latest, and leaves nothing. */
static void test_a_failed_write_spoils_the_transaction(void **state)
{
    struct db *db;
    int r;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    assert_int_equal(put(db, 1, 1), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(db_begin(db), 0);
        r = put(db, 2, 2);
        if (r == 0)
            r = duplicate(db, 1);
        if (r == 0)
            r = put(db, 3, 3);
        if (r == 0)
            r = db_commit(db);
        assert_int_equal(r, -EIO);
        assert_true(strstr(db_error(db), "UNIQUE") || strstr(db_error(db), "unique"));
        db_rollback(db);
        assert_int_equal(count(db), 1);
    }
    assert_int_equal(duplicate(db, 1), -EIO);
    assert_int_equal(duplicate(db, 2), 0);
    assert_int_equal(count(db), 2);
    db_close(&db);
}

/* In and out of transactions: what comes after is not harmed. */
static void test_a_broken_statement(void **state)
{
    struct db *db;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    for (int round = 0; round < 4; round++) {
        struct db_stmt *stmt;

        if (round % 2)
            assert_int_equal(db_begin(db), 0);
        stmt = db_stmt(db, BROKEN);
        db_bind_int(stmt, 1, 1);
        assert_int_equal(db_step(stmt), -EIO);
        assert_non_null(strstr(db_error(db), "nowhere"));
        if (round % 2)
            db_rollback(db);
        assert_int_equal(put(db, round, 1), 0);
        assert_int_equal(count(db), round + 1);
    }
    db_bind_int(db_stmt(db, GET), DB_PARAMS_MAX + 1, 0);
    db_close(&db);
}

static void test_rows_are_counted(void **state)
{
    struct db *db;
    struct db_stmt *stmt;
    uint64_t rows = 9;
    int64_t id;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    stmt = db_stmt(db, RETURNING);
    db_bind_text(stmt, 1, "a");
    assert_int_equal(db_step(stmt), 1);
    id = db_int(stmt, 0);
    assert_true(id > 0);
    assert_int_equal(db_step(stmt), 0);
    stmt = db_stmt(db, RETURNING);
    db_bind_text(stmt, 1, "a");
    assert_int_equal(db_step(stmt), 0);
    assert_int_equal(put(db, 1, 1), 0);
    stmt = db_stmt(db, DUPLICATE);
    db_bind_int(stmt, 1, 2);
    db_bind_blob(stmt, 2, slice_of("", 0));
    assert_int_equal(db_run_counted(stmt, &rows), 0);
    assert_int_equal(rows, 1);
    db_close(&db);
}

/* A scan has as many rows as there are, whatever else is read meanwhile, and whatever
 * is written when it is in a transaction. */
static void test_scan(void **state)
{
    struct db *db;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    assert_int_equal(db_begin(db), 0);
    for (int i = 1; i <= 1024; i++)
        assert_int_equal(put(db, i, i), 0);
    assert_int_equal(db_commit(db), 0);
    for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
        struct db_stmt *scan;
        int64_t expected = 512;

        if (in_transaction)
            assert_int_equal(db_begin(db), 0);
        scan = db_stmt(db, EACH);
        db_bind_int(scan, 1, expected);
        while (db_step(scan) > 0) {
            assert_true(db_int(scan, 0) == ++expected);
            if (expected % 100 == 0)
                assert_int_equal(count(db), 1024);
            if (in_transaction)
                assert_int_equal(put(db, expected, 0), 0);
        }
        assert_int_equal(expected, 1024);
        if (in_transaction)
            assert_int_equal(db_commit(db), 0);
    }
    db_close(&db);
}

/* Left in the middle, it holds nothing up. */
static void test_scan_that_is_left(void **state)
{
    struct db *db;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    for (int i = 1; i <= 3; i++)
        assert_int_equal(put(db, i, i), 0);
    for (int round = 0; round < 3; round++) {
        struct db_stmt *scan = db_stmt(db, EACH);

        db_bind_int(scan, 1, 0);
        assert_int_equal(db_step(scan), 1);
        if (stores_is_postgres()) {
            assert_int_equal(put(db, 9, 9), -EBUSY);
            assert_int_equal(db_begin(db), -EBUSY);
        }
        db_reset(&scan);
        assert_int_equal(put(db, 9, round), 0);
    }
    assert_int_equal(count(db), 4);
    db_close(&db);
}

static void test_clock(void **state)
{
    struct db *db;
    struct db_stmt *stmt;
    int64_t now_ms;

    (void)state;
    STORES_NEEDED();
    db = open_db();
    stmt = db_stmt(db, CLOCK);
    assert_int_equal(db_step(stmt), 1);
    now_ms = db_int(stmt, 0);
    assert_true(now_ms > INT64_C(1700000000000) && now_ms < INT64_C(9000000000000));
    db_reset(&stmt);
    db_close(&db);
}

static void test_reader_cannot_write(void **state)
{
    struct db_error_text error;
    struct db *db, *reader = NULL;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    assert_int_equal(db_open(stores_where, DB_READER, sql, STMT_COUNT, &reader, &error), 0);
    assert_int_equal(count(reader), 0);
    assert_true(put(reader, 1, 1) < 0);
    assert_int_equal(put(db, 1, 1), 0);
    assert_int_equal(count(reader), 1);
    db_close(&reader);
    db_close(&db);
}

/* --- PostgreSQL only --- */

static void end_connections(void)
{
    stores_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               " WHERE backend_type = 'client backend' AND pid != pg_backend_pid()");
}

/* Outside a transaction the next statement but one works again; a transaction is lost. */
static void test_connection_breaks(void **state)
{
    struct db *db;
    int r;

    (void)state;
    STORES_NEEDED();
    db = open_with_tables();
    assert_int_equal(put(db, 1, 1), 0);
    end_connections();
    assert_int_equal(put(db, 2, 2), -ENOTCONN);
    assert_true(strlen(db_error(db)) > 0);
    assert_int_equal(put(db, 2, 2), 0);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(put(db, 3, 3), 0);
    assert_int_equal(count(db), 3);
    end_connections();
    r = put(db, 4, 4);
    assert_true(r == 0 || r == -ENOTCONN);
    assert_int_equal(db_commit(db), -ENOTCONN);
    db_rollback(db);
    assert_int_equal(count(db), 2);
    db_close(&db);
}

/* Two that wait for each other: one of them is told to try again. */
static void test_deadlock(void **state)
{
    struct db *a, *b;
    pid_t pid;
    int r;

    (void)state;
    STORES_NEEDED();
    a = open_with_tables();
    assert_int_equal(put(a, 1, 0), 0);
    assert_int_equal(put(a, 2, 0), 0);
    pid = fork();
    if (pid == 0) {
        b = open_db();
        for (int i = 0; i < 50; i++) {
            r = db_begin(b);
            r = r < 0 ? r : put(b, 2, i);
            count(b);
            usleep(2000);
            r = r < 0 ? r : put(b, 1, i);
            r = r < 0 ? r : db_commit(b);
            if (r < 0)
                db_rollback(b);
        }
        _exit(0);
    }
    for (int i = 0; i < 50; i++) {
        r = db_begin(a);
        r = r < 0 ? r : put(a, 1, i);
        usleep(2000);
        r = r < 0 ? r : put(a, 2, i);
        r = r < 0 ? r : db_commit(a);
        assert_true(r == 0 || r == -EAGAIN);
        if (r < 0)
            db_rollback(a);
    }
    assert_int_equal(waitpid(pid, &r, 0), pid);
    assert_int_equal(count(a), 2);
    db_close(&a);
}

static void test_passwords_are_not_told(void **state)
{
    static const char *const urls[] = {
        "postgresql://lectr:sesame@127.0.0.1:1/db",
        "postgresql://lectr:sesame%zz@127.0.0.1:1/db",
        "postgresql://lectr:sesame/@127.0.0.1:1/db?sesame=1",
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct db_error_text error = {.text = ""};
        struct db *db = NULL;

        assert_true(db_open(urls[i], DB_WRITER, sql, STMT_COUNT, &db, &error) < 0);
        assert_true(strlen(error.text) > 0);
        assert_null(strstr(error.text, "sesame"));
        db_describe(urls[i], text, sizeof(text));
        assert_null(strstr(text, "sesame"));
    }
    db_describe(urls[0], text, sizeof(text));
    assert_string_equal(text, "postgresql://127.0.0.1:1/db");
    db_describe("/var/lib/x.db", text, sizeof(text));
    assert_string_equal(text, "/var/lib/x.db");
}

/* --- PostgreSQL with TLS and a password --- */

static int try_open(const char *url, struct db **ret_db, struct db_error_text *ret_error)
{
    ret_error->text[0] = '\0';
    return db_open(url, DB_WRITER, sql, STMT_COUNT, ret_db, ret_error);
}

/* The URL's own, with its password at ret_password and without it at ret_url. */
static void split_url(char ret_url[256], char ret_password[64])
{
    char user[32], rest[200];

    assert_int_equal(
        sscanf(stores_where, "postgresql://%31[^:]:%63[^@]@%199s", user, ret_password, rest), 3);
    snprintf(ret_url, 256, "postgresql://%s@%s", user, rest);
}

static void test_tls_is_verified(void **state)
{
    struct db_error_text error;
    struct db *db = NULL;
    struct db_stmt *stmt;
    char url[256], password[64];

    (void)state;
    STORES_NEEDED();
    split_url(url, password);
    assert_int_equal(try_open(stores_where, &db, &error), 0);
    stmt = db_stmt(db, IS_TLS);
    assert_int_equal(db_step(stmt), 1);
    assert_int_equal(db_int(stmt, 0), 1);
    db_reset(&stmt);
    db_close(&db);
    snprintf(url, sizeof(url), "%.*s?sslmode=disable", (int)strcspn(stores_where, "?"),
             stores_where);
    assert_int_equal(try_open(url, &db, &error), -ENOTCONN);
    assert_null(strstr(error.text, password));
    /* A CA that has not signed it. */
    snprintf(url, sizeof(url), "%.*s?sslmode=verify-full&sslrootcert=%s/server.crt",
             (int)strcspn(stores_where, "?"), stores_where, stores_folder);
    assert_int_equal(try_open(url, &db, &error), -ENOTCONN);
    assert_non_null(strstr(error.text, "certificate"));
    assert_null(strstr(error.text, password));
}

static void test_password_from_a_file(void **state)
{
    struct db_error_text error;
    struct db *db = NULL;
    char url[256], password[64], file[96];

    (void)state;
    STORES_NEEDED();
    split_url(url, password);
    assert_int_equal(try_open(url, &db, &error), -ENOTCONN);
    snprintf(file, sizeof(file), "%s/pgpass", stores_folder);
    setenv("PGPASSFILE", file, 1);
    assert_int_equal(try_open(url, &db, &error), 0);
    db_close(&db);
    unsetenv("PGPASSFILE");
}

#define BOTH                                                                                       \
    cmocka_unit_test_teardown(test_values_come_back, stores_empty),                                \
        cmocka_unit_test_teardown(test_empty_text_and_bytes, stores_empty),                        \
        cmocka_unit_test_teardown(test_many_writes_in_a_transaction, stores_empty),                \
        cmocka_unit_test_teardown(test_rows_written_together, stores_empty),                       \
        cmocka_unit_test_teardown(test_a_failed_write_spoils_the_transaction, stores_empty),       \
        cmocka_unit_test_teardown(test_a_broken_statement, stores_empty),                          \
        cmocka_unit_test_teardown(test_rows_are_counted, stores_empty),                            \
        cmocka_unit_test_teardown(test_scan, stores_empty),                                        \
        cmocka_unit_test_teardown(test_scan_that_is_left, stores_empty),                           \
        cmocka_unit_test_teardown(test_clock, stores_empty),                                       \
        cmocka_unit_test_teardown(test_reader_cannot_write, stores_empty)

int main(void)
{
    const struct CMUnitTest sqlite[] = {BOTH};
    const struct CMUnitTest postgres[] = {
        BOTH,
        cmocka_unit_test_teardown(test_connection_breaks, stores_empty),
        cmocka_unit_test_teardown(test_deadlock, stores_empty),
        cmocka_unit_test(test_passwords_are_not_told),
    };

    const struct CMUnitTest tls[] = {
        cmocka_unit_test(test_tls_is_verified),
        cmocka_unit_test(test_password_from_a_file),
    };

    return cmocka_run_group_tests_name("SQLite", sqlite, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", postgres, stores_setup_postgres,
                                       stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL with TLS", tls, stores_setup_postgres_tls,
                                       stores_teardown);
}
