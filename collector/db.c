/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/db_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool db_is_url(const char *where)
{
    return strncmp(where, "postgresql://", 13) == 0 || strncmp(where, "postgres://", 11) == 0;
}

void db_describe(const char *where, char *ret_text, size_t size)
{
    const char *end = where + strcspn(where, "?#");
    const char *host;

    if (!db_is_url(where)) {
        snprintf(ret_text, size, "%s", where);
        return;
    }
    host = memrchr(where, '@', (size_t)(end - where));
    host = host ? host + 1 : strstr(where, "://") + 3;
    snprintf(ret_text, size, "postgresql://%.*s", (int)(end - host), host);
}

static int new_stmts(struct db *db, const char *const *statements, unsigned count)
{
    db->stmts = calloc(count ? count : 1, sizeof(*db->stmts));
    if (!db->stmts)
        return -ENOMEM;
    db->stmts_count = count;
    for (unsigned i = 0; i < count; i++)
        db->stmts[i] = (struct db_stmt){.db = db, .sql = statements[i]};
    return 0;
}

int db_open(const char *where, enum db_mode mode, const char *const *statements, unsigned count,
            struct db **ret_db, struct db_error_text *ret_error)
{
    struct db *db = calloc(1, sizeof(*db));
    int r = db ? 0 : -ENOMEM;

    if (r < 0)
        return r;
    db->driver = db_is_url(where) ? &db_postgres : &db_sqlite;
    db->mode = mode;
    db->where = strdup(where);
    r = db->where ? new_stmts(db, statements, count) : -ENOMEM;
    if (r == 0)
        r = db->driver->open(db);
    if (r == 0)
        *ret_db = TAKE_PTR(db);
    else
        snprintf(ret_error->text, sizeof(ret_error->text), "%s",
                 db->conn ? db_error(db) : strerror(-r));
    db_close(&db);
    return r;
}

void db_close(struct db **db)
{
    struct db *d = *db;

    if (!d)
        return;
    for (unsigned i = 0; i < d->stmts_count && d->conn; i++)
        if (d->stmts[i].prepared)
            d->driver->forget(&d->stmts[i]);
    if (d->conn)
        d->driver->close(d);
    free(d->stmts);
    free(d->where);
    free(d);
    *db = NULL;
}

const char *db_error(const struct db *db)
{
    return db && db->conn ? db->driver->error(db) : "not open";
}

bool db_is_shared(const struct db *db)
{
    return db->driver->is_shared;
}

int db_set_name(struct db *db, const char *name)
{
    return db->driver->set_name(db, name);
}

int db_own(struct db *db)
{
    return db->driver->own(db);
}

int db_give_back(struct db *db, unsigned pages)
{
    return db->driver->give_back(db, pages);
}

static const struct db_word *word_at(const struct db_word *words, const char *text)
{
    for (; words->from; words++)
        if (strncmp(text, words->from, strlen(words->from)) == 0)
            return words;
    return NULL;
}

int db_translate(const struct db *db, const char *sql, struct buf *ret_sql)
{
    int r = 0;

    while (*sql && r == 0) {
        const struct db_word *word = word_at(db->driver->words, sql);

        r = word ? buf_append_str(ret_sql, word->to) : buf_append(ret_sql, slice_of(sql, 1));
        sql += word ? strlen(word->from) : 1;
    }
    return r < 0 ? r : buf_append(ret_sql, slice_of("", 1));
}

int db_exec(struct db *db, const char *script)
{
    struct buf sql;
    int r;

    buf_init(&sql, DB_SQL_BYTES_MAX);
    r = db_translate(db, script, &sql);
    if (r == 0)
        r = db->driver->exec(db, (const char *)sql.data);
    buf_fini(&sql);
    return r;
}

int db_get_version(struct db *db, int *ret_version)
{
    return db->driver->get_version(db, ret_version);
}

int db_set_version(struct db *db, int version)
{
    return db->driver->set_version(db, version);
}

int db_lock_schema(struct db *db)
{
    return db->driver->lock_schema(db);
}

int db_begin(struct db *db)
{
    return db->driver->begin(db);
}

int db_commit(struct db *db)
{
    return db->driver->commit(db);
}

void db_rollback(struct db *db)
{
    db->driver->rollback(db);
}

struct db_stmt *db_stmt(struct db *db, unsigned which)
{
    struct db_stmt *stmt = &db->stmts[which];

    if (stmt->is_running)
        db->driver->reset(stmt);
    memset(stmt->params, 0, stmt->params_count * sizeof(stmt->params[0]));
    stmt->params_count = 0;
    stmt->is_running = stmt->is_broken = false;
    return stmt;
}

static void bind(struct db_stmt *stmt, int index, struct db_value value)
{
    if (index < 1 || index > DB_PARAMS_MAX) {
        stmt->is_broken = true;
        return;
    }
    stmt->params[index - 1] = value;
    if ((unsigned)index > stmt->params_count)
        stmt->params_count = (unsigned)index;
}

void db_bind_int(struct db_stmt *stmt, int index, int64_t value)
{
    bind(stmt, index, (struct db_value){.type = DB_INT, .number = value});
}

void db_bind_real(struct db_stmt *stmt, int index, double value)
{
    bind(stmt, index, (struct db_value){.type = DB_REAL, .real = value});
}

void db_bind_text(struct db_stmt *stmt, int index, const char *text)
{
    db_bind_slice(stmt, index, slice_str(text ? text : ""));
}

void db_bind_slice(struct db_stmt *stmt, int index, struct slice text)
{
    if (!text.data)
        text = slice_of("", 0);
    bind(stmt, index, (struct db_value){.type = DB_TEXT, .bytes = text});
}

void db_bind_blob(struct db_stmt *stmt, int index, struct slice blob)
{
    if (!blob.data)
        blob = slice_of("", 0);
    bind(stmt, index, (struct db_value){.type = DB_BLOB, .bytes = blob});
}

int db_step(struct db_stmt *stmt)
{
    return stmt->is_broken ? -EINVAL : stmt->db->driver->step(stmt);
}

int db_run(struct db_stmt *stmt)
{
    return stmt->is_broken ? -EINVAL : stmt->db->driver->run(stmt, NULL);
}

int db_run_counted(struct db_stmt *stmt, uint64_t *ret_rows)
{
    return stmt->is_broken ? -EINVAL : stmt->db->driver->run(stmt, ret_rows);
}

int64_t db_int(struct db_stmt *stmt, int column)
{
    return stmt->db->driver->get_int(stmt, column);
}

double db_real(struct db_stmt *stmt, int column)
{
    return stmt->db->driver->get_real(stmt, column);
}

const char *db_text(struct db_stmt *stmt, int column)
{
    return stmt->db->driver->get_text(stmt, column);
}

struct slice db_blob(struct db_stmt *stmt, int column)
{
    return stmt->db->driver->get_blob(stmt, column);
}

void db_reset(struct db_stmt *const *stmt)
{
    if (*stmt && (*stmt)->is_running)
        (*stmt)->db->driver->reset(*stmt);
}
