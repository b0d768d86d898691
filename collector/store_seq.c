/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the messages that were taken in, as intervals. */
#include "collector/store_priv.h"

#include <errno.h>

static int stream_id(struct store *s, const char *instance, uint32_t part, int64_t *ret_id)
{
    CLEAN_STMT sqlite3_stmt *get = store_stmt(s, STMT_STREAM_GET);
    sqlite3_stmt *add;
    int r;

    if (!get)
        return -EIO;
    store_bind_text(get, 1, instance);
    sqlite3_bind_int64(get, 2, part);
    r = store_step(get);
    if (r < 0)
        return r;
    if (r) {
        *ret_id = sqlite3_column_int64(get, 0);
        return 0;
    }
    add = store_stmt(s, STMT_STREAM_ADD);
    if (!add)
        return -EIO;
    store_bind_text(add, 1, instance);
    sqlite3_bind_int64(add, 2, part);
    r = store_run(add);
    if (r == 0)
        *ret_id = sqlite3_last_insert_rowid(s->db);
    return r;
}

struct interval {
    bool found;
    int64_t lo, hi;
};

static int interval_at(struct store *s, int64_t stream, int64_t seq, struct interval *ret_interval)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_INTERVAL_AT);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, stream);
    sqlite3_bind_int64(stmt, 2, seq);
    r = store_step(stmt);
    if (r < 0)
        return r;
    *ret_interval = (struct interval){.found = r > 0};
    if (r) {
        ret_interval->lo = sqlite3_column_int64(stmt, 0);
        ret_interval->hi = sqlite3_column_int64(stmt, 1);
    }
    return 0;
}

static int change_interval(struct store *s, enum store_stmt which, int64_t stream, int64_t lo,
                           int64_t hi)
{
    sqlite3_stmt *stmt = store_stmt(s, which);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, stream);
    sqlite3_bind_int64(stmt, 2, lo);
    if (which != STMT_INTERVAL_DELETE)
        sqlite3_bind_int64(stmt, 3, hi);
    return store_run(stmt);
}

/* `before` ends below `seq`; the interval that starts right after it is joined. */
static int insert_seq(struct store *s, int64_t stream, int64_t seq, const struct interval *before)
{
    struct interval after = {0};
    bool joins_before = before->found && before->hi == seq - 1;
    bool joins_after;
    int64_t hi;
    int r = interval_at(s, stream, seq + 1, &after);

    if (r < 0)
        return r;
    joins_after = after.found && after.lo == seq + 1;
    hi = joins_after ? after.hi : seq;
    if (joins_after) {
        r = change_interval(s, STMT_INTERVAL_DELETE, stream, after.lo, 0);
        if (r < 0)
            return r;
    }
    if (joins_before)
        return change_interval(s, STMT_INTERVAL_EXTEND, stream, before->lo, hi);
    return change_interval(s, STMT_INTERVAL_ADD, stream, seq, hi);
}

int store_claim(struct store *s, const char *instance, uint32_t part, uint64_t seq,
                bool *ret_is_new)
{
    struct interval before = {0};
    int64_t stream = 0;
    int r = stream_id(s, instance, part, &stream);

    if (r == 0)
        r = interval_at(s, stream, (int64_t)seq, &before);
    if (r < 0)
        return r;
    if (before.found && before.hi >= (int64_t)seq) {
        *ret_is_new = false;
        return 0;
    }
    r = insert_seq(s, stream, (int64_t)seq, &before);
    if (r == 0)
        *ret_is_new = true;
    return r;
}

int store_loss(struct store *s, struct store_loss *ret_loss)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_LOSS);
    int r = store_step(stmt);

    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_loss = (struct store_loss){
        .streams = (uint64_t)sqlite3_column_int64(stmt, 0),
        .received = (uint64_t)sqlite3_column_int64(stmt, 1),
        .missing = (uint64_t)sqlite3_column_int64(stmt, 2),
    };
    return 0;
}

int store_each_hole(struct store *s, unsigned limit,
                    int (*each)(void *ctx, const struct store_hole *hole), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_HOLES);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, limit);
    while ((r = store_step(stmt)) > 0) {
        struct store_hole hole = {
            .instance = store_column_text(stmt, 0),
            .part = (uint32_t)sqlite3_column_int64(stmt, 1),
            .first = (uint64_t)sqlite3_column_int64(stmt, 2),
            .last = (uint64_t)sqlite3_column_int64(stmt, 3),
        };

        r = each(ctx, &hole);
        if (r < 0)
            return r;
    }
    return r;
}
