/* SPDX-License-Identifier: Apache-2.0 */
/* The driver for SQLite: one file, in WAL mode. */
#include "collector/db_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/file.h>

/* A writer waits this long for another (a backup, a command). */
#define BUSY_MS 5000

static const struct db_word words[] = {
    {"$SCAN ", ""},
    {"$MANY ", ""},
    {"$BIGSCAN ", ""},
    {"$ID", "INTEGER PRIMARY KEY"},
    {"$END", " WITHOUT ROWID"},
    {"$NOW_MS", "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"},
    {"$FOR_SHARE", ""},
    {"$SKIP_BUSY", ""},
    {"$EVICTED", " WHERE ?1 = ''"},
    {"BYTEA", "BLOB"},
    {NULL, NULL},
};

struct lite {
    sqlite3 *db;
    int lock_fd;
    const char *complaint; /* of ours, instead of SQLite's */
};

static sqlite3 *lite_of(const struct db *db)
{
    return ((const struct lite *)db->conn)->db;
}

static int errno_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EAGAIN;
    default:
        return -EIO;
    }
}

static int lite_exec(struct db *db, const char *script)
{
    int code = sqlite3_exec(lite_of(db), script, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : errno_of(code);
}

static int lite_open(struct db *db)
{
    /* NORMAL would survive a kill; FULL also keeps an acked batch through a power loss.
     * auto_vacuum is heeded by a file that is still empty. */
    static const char *const settings[] = {
        [DB_WRITER] = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
                      "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000;"
                      "PRAGMA cache_size = -32000; PRAGMA temp_store = MEMORY;",
        [DB_READER] = "PRAGMA query_only = 1; PRAGMA cache_size = -16000;",
    };
    int flags =
        SQLITE_OPEN_NOMUTEX |
        (db->mode == DB_READER ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    struct lite *lite = calloc(1, sizeof(*lite));
    int code;

    if (!lite)
        return -ENOMEM;
    lite->lock_fd = -1;
    db->conn = lite;
    code = sqlite3_open_v2(db->where, &lite->db, flags, NULL);
    if (code != SQLITE_OK)
        return lite->db && sqlite3_system_errno(lite->db) ? -sqlite3_system_errno(lite->db) : -EIO;
    sqlite3_busy_timeout(lite->db, BUSY_MS);
    return lite_exec(db, settings[db->mode]);
}

static void lite_close(struct db *db)
{
    struct lite *lite = db->conn;

    sqlite3_close(lite->db);
    lectr_cleanup_fd(&lite->lock_fd);
    free(lite);
    db->conn = NULL;
}

static const char *lite_error(const struct db *db)
{
    const struct lite *lite = db->conn;

    return lite->complaint ? lite->complaint : sqlite3_errmsg(lite->db);
}

static int lite_set_name(struct db *db, const char *name)
{
    (void)db;
    (void)name;
    return 0;
}

/* The lock ends with the process, however that ends. */
static int lite_own(struct db *db)
{
    struct lite *lite = db->conn;
    char path[4096];
    CLEAN_FD int fd = -1;

    if (lite->lock_fd >= 0)
        return 0;
    if (snprintf(path, sizeof(path), "%s.lock", db->where) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        lite->complaint = "another collector has this file; several share a PostgreSQL store";
        return -EBUSY;
    }
    lite->lock_fd = TAKE_FD(fd);
    return 0;
}

static int lite_give_back(struct db *db, unsigned pages)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%u)", pages);
    return lite_exec(db, sql);
}

static int lite_get_version(struct db *db, int *ret_version)
{
    sqlite3_stmt *stmt = NULL;
    int r = -EIO;

    if (sqlite3_prepare_v2(lite_of(db), "PRAGMA user_version", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        *ret_version = sqlite3_column_int(stmt, 0);
        r = 0;
    }
    sqlite3_finalize(stmt);
    return r;
}

static int lite_set_version(struct db *db, int version)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", version);
    return lite_exec(db, sql);
}

static int lite_lock_schema(struct db *db)
{
    (void)db; /* BEGIN IMMEDIATE did */
    return 0;
}

static int lite_begin(struct db *db)
{
    return lite_exec(db, "BEGIN IMMEDIATE");
}

static int lite_commit(struct db *db)
{
    return lite_exec(db, "COMMIT");
}

static void lite_rollback(struct db *db)
{
    /* Fails when SQLite rolled back already: the same result. */
    int r = lite_exec(db, "ROLLBACK");

    (void)r;
}

static int prepare(struct db_stmt *stmt)
{
    sqlite3_stmt *prepared = NULL;
    struct buf sql;
    int r;

    buf_init(&sql, DB_SQL_BYTES_MAX);
    r = db_translate(stmt->db, stmt->sql, &sql);
    if (r == 0) {
        int code = sqlite3_prepare_v3(lite_of(stmt->db), (const char *)sql.data, (int)sql.len,
                                      SQLITE_PREPARE_PERSISTENT, &prepared, NULL);

        r = code == SQLITE_OK ? 0 : errno_of(code);
        stmt->prepared = prepared;
    }
    buf_fini(&sql);
    return r;
}

static void bind_all(const struct db_stmt *stmt)
{
    sqlite3_stmt *to = stmt->prepared;

    for (unsigned i = 0; i < stmt->params_count; i++) {
        const struct db_value *v = &stmt->params[i];
        const int index = (int)i + 1;

        switch (v->type) {
        case DB_NULL:
            sqlite3_bind_null(to, index);
            break;
        case DB_INT:
            sqlite3_bind_int64(to, index, v->number);
            break;
        case DB_REAL:
            sqlite3_bind_double(to, index, v->real);
            break;
        case DB_TEXT:
            sqlite3_bind_text64(to, index, (const char *)v->bytes.data, v->bytes.len, SQLITE_STATIC,
                                SQLITE_UTF8);
            break;
        case DB_BLOB:
            sqlite3_bind_blob64(to, index, v->bytes.data, v->bytes.len, SQLITE_STATIC);
            break;
        }
    }
}

static void lite_reset(struct db_stmt *stmt)
{
    sqlite3_reset(stmt->prepared);
    stmt->is_running = false;
}

static int lite_step(struct db_stmt *stmt)
{
    int r = stmt->prepared ? 0 : prepare(stmt);
    int code;

    if (r < 0)
        return r;
    if (!stmt->is_running)
        bind_all(stmt);
    stmt->is_running = true;
    code = sqlite3_step(stmt->prepared);
    if (code == SQLITE_ROW)
        return 1;
    lite_reset(stmt);
    return code == SQLITE_DONE ? 0 : errno_of(code);
}

static int lite_run(struct db_stmt *stmt, uint64_t *ret_rows)
{
    int r;

    do
        r = lite_step(stmt);
    while (r > 0);
    if (r == 0 && ret_rows)
        *ret_rows = (uint64_t)sqlite3_changes64(lite_of(stmt->db));
    return r;
}

static void lite_forget(struct db_stmt *stmt)
{
    sqlite3_finalize(stmt->prepared);
    stmt->prepared = NULL;
}

static int64_t lite_int(struct db_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt->prepared, column);
}

static double lite_real(struct db_stmt *stmt, int column)
{
    return sqlite3_column_double(stmt->prepared, column);
}

static const char *lite_text(struct db_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt->prepared, column);

    return text ? (const char *)text : "";
}

static struct slice lite_blob(struct db_stmt *stmt, int column)
{
    const void *data = sqlite3_column_blob(stmt->prepared, column);

    return slice_of(data, (size_t)sqlite3_column_bytes(stmt->prepared, column));
}

const struct db_driver db_sqlite = {
    .is_shared = false,
    .words = words,
    .open = lite_open,
    .close = lite_close,
    .error = lite_error,
    .set_name = lite_set_name,
    .own = lite_own,
    .give_back = lite_give_back,
    .exec = lite_exec,
    .get_version = lite_get_version,
    .set_version = lite_set_version,
    .lock_schema = lite_lock_schema,
    .begin = lite_begin,
    .commit = lite_commit,
    .rollback = lite_rollback,
    .step = lite_step,
    .run = lite_run,
    .reset = lite_reset,
    .forget = lite_forget,
    .get_int = lite_int,
    .get_real = lite_real,
    .get_text = lite_text,
    .get_blob = lite_blob,
};
