/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_priv.h"

#include <errno.h>
#include <stdio.h>

/* A writer waits this long for another process (a backup, say). */
#define BUSY_MS 5000

static int exec_sql(struct store *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int schema_version(struct store *s, int *ret_version)
{
    sqlite3_stmt *stmt = NULL;
    int r = -EIO;

    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        *ret_version = sqlite3_column_int(stmt, 0);
        r = 0;
    }
    sqlite3_finalize(stmt);
    return r;
}

/* Each step and its version number are one transaction. */
static int migrate(struct store *s)
{
    int version = 0;
    int r = schema_version(s, &version);

    if (r < 0)
        return r;
    if (version > STORE_SCHEMA_VERSION)
        return -ENOTSUP;
    for (; version < STORE_SCHEMA_VERSION; version++) {
        char set_version[64];

        snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", version + 1);
        r = exec_sql(s, "BEGIN IMMEDIATE");
        if (r == 0)
            r = exec_sql(s, store_schema[version]);
        if (r == 0)
            r = exec_sql(s, set_version);
        if (r == 0)
            r = exec_sql(s, "COMMIT");
        if (r < 0)
            return r;
    }
    return 0;
}

static int open_with(const char *path, int flags, const char *settings, struct store **ret_store)
{
    CLEAN_STORE struct store *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        return sqlite3_system_errno(s->db) ? -sqlite3_system_errno(s->db) : -EIO;
    sqlite3_busy_timeout(s->db, BUSY_MS);
    r = exec_sql(s, settings);
    if (r < 0)
        return r;
    *ret_store = TAKE_PTR(s);
    return 0;
}

int store_open(const char *path, struct store **ret_store)
{
    /* NORMAL would survive a kill; FULL also keeps an acked batch through a power loss. */
    static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                   "PRAGMA wal_autocheckpoint = 2000; PRAGMA cache_size = -32000;"
                                   "PRAGMA temp_store = MEMORY;";
    CLEAN_STORE struct store *s = NULL;
    int r = open_with(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      settings, &s);

    if (r == 0)
        r = migrate(s);
    if (r < 0)
        return r;
    *ret_store = TAKE_PTR(s);
    return 0;
}

int store_open_reader(const char *path, struct store **ret_store)
{
    return open_with(path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                     "PRAGMA query_only = 1; PRAGMA cache_size = -16000;", ret_store);
}

void store_close(struct store **store)
{
    if (!*store)
        return;
    for (int i = 0; i < STMT__COUNT; i++)
        sqlite3_finalize((*store)->stmts[i]);
    sqlite3_close((*store)->db);
    free(*store);
    *store = NULL;
}

const char *store_error(const struct store *s)
{
    return s && s->db ? sqlite3_errmsg(s->db) : "not open";
}

sqlite3_stmt *store_stmt(struct store *s, enum store_stmt which)
{
    sqlite3_stmt **slot = &s->stmts[which];

    if (!*slot && sqlite3_prepare_v3(s->db, store_sql[which], -1, SQLITE_PREPARE_PERSISTENT, slot,
                                     NULL) != SQLITE_OK)
        return NULL;
    sqlite3_reset(*slot);
    sqlite3_clear_bindings(*slot);
    return *slot;
}

int store_step(sqlite3_stmt *stmt)
{
    int r;

    if (!stmt)
        return -EIO;
    r = sqlite3_step(stmt);
    if (r == SQLITE_ROW)
        return 1;
    sqlite3_reset(stmt);
    return r == SQLITE_DONE ? 0 : -EIO;
}

int store_run(sqlite3_stmt *stmt)
{
    int r;

    do
        r = store_step(stmt);
    while (r > 0);
    return r;
}

void store_reset(sqlite3_stmt *const *stmt)
{
    if (*stmt)
        sqlite3_reset(*stmt);
}

void store_bind_text(sqlite3_stmt *stmt, int index, const char *text)
{
    sqlite3_bind_text(stmt, index, text, -1, SQLITE_STATIC);
}

void store_bind_blob(sqlite3_stmt *stmt, int index, struct slice blob)
{
    sqlite3_bind_blob64(stmt, index, blob.len ? (const void *)blob.data : "", blob.len,
                        SQLITE_STATIC);
}

struct slice store_column_blob(sqlite3_stmt *stmt, int index)
{
    const void *data = sqlite3_column_blob(stmt, index);

    return slice_of(data, (size_t)sqlite3_column_bytes(stmt, index));
}

const char *store_column_text(sqlite3_stmt *stmt, int index)
{
    const unsigned char *text = sqlite3_column_text(stmt, index);

    return text ? (const char *)text : "";
}

int store_begin(struct store *s)
{
    return store_run(store_stmt(s, STMT_BEGIN));
}

int store_commit(struct store *s)
{
    return store_run(store_stmt(s, STMT_COMMIT));
}

void store_rollback(struct store *s)
{
    /* Fails when SQLite rolled back already: the same result. */
    int r = store_run(store_stmt(s, STMT_ROLLBACK));

    (void)r;
}

int store_number_get(struct store *s, const char *name, int64_t *ret_value)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_NUMBER_GET);
    int r;

    if (!stmt)
        return -EIO;
    store_bind_text(stmt, 1, name);
    r = store_step(stmt);
    if (r < 0)
        return r;
    *ret_value = r ? sqlite3_column_int64(stmt, 0) : 0;
    return 0;
}

static int change_number(struct store *s, enum store_stmt which, const char *name, int64_t value)
{
    sqlite3_stmt *stmt = store_stmt(s, which);

    if (!stmt)
        return -EIO;
    store_bind_text(stmt, 1, name);
    sqlite3_bind_int64(stmt, 2, value);
    return store_run(stmt);
}

int store_number_set(struct store *s, const char *name, int64_t value)
{
    return change_number(s, STMT_NUMBER_SET, name, value);
}

int store_number_add(struct store *s, const char *name, int64_t by)
{
    return by == 0 ? 0 : change_number(s, STMT_NUMBER_ADD, name, by);
}
