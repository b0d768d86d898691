/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the messages that were taken in, as intervals. */
#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include <errno.h>

static int each_interval(struct db_stmt *stmt,
                         int (*each)(void *ctx, const struct store_interval *interval), void *ctx)
{
    int r;

    while ((r = db_step(stmt)) > 0) {
        struct store_interval interval = {
            .part = (uint32_t)db_int(stmt, 0),
            .instance = db_text(stmt, 1),
            .lo = (uint64_t)db_int(stmt, 2),
            .hi = (uint64_t)db_int(stmt, 3),
        };

        r = each(ctx, &interval);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_interval(struct store *s, int64_t lane,
                        int (*each)(void *ctx, const struct store_interval *interval), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_INTERVALS_LANE);
    const bool is_all = store_lanes(s) == 1;

    db_bind_int(stmt, 1, is_all ? 0 : lane);
    db_bind_int(stmt, 2, is_all ? UINT32_MAX : lane);
    return each_interval(stmt, each, ctx);
}

int store_each_interval_of(struct store *s, const char *instance, uint32_t part,
                           int (*each)(void *ctx, const struct store_interval *interval), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_INTERVALS_STREAM);

    db_bind_int(stmt, 1, part);
    db_bind_text(stmt, 2, instance);
    return each_interval(stmt, each, ctx);
}

int store_put_interval(struct store *s, const struct store_interval *interval)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_INTERVAL_PUT);

    db_bind_int(stmt, 1, interval->part);
    db_bind_text(stmt, 2, interval->instance);
    db_bind_int(stmt, 3, (int64_t)interval->lo);
    db_bind_int(stmt, 4, (int64_t)interval->hi);
    return db_run(stmt);
}

int store_delete_interval(struct store *s, const char *instance, uint32_t part, uint64_t lo)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_INTERVAL_DELETE);

    db_bind_int(stmt, 1, part);
    db_bind_text(stmt, 2, instance);
    db_bind_int(stmt, 3, (int64_t)lo);
    return db_run(stmt);
}

/* --- the plain form --- */

struct interval {
    bool found;
    uint64_t lo, hi;
};

/* The last one that begins at or below `seq`. */
static int interval_at(struct store *s, const char *instance, uint32_t part, uint64_t seq,
                       struct interval *ret_interval)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_INTERVAL_AT);
    int r;

    db_bind_int(stmt, 1, part);
    db_bind_text(stmt, 2, instance);
    db_bind_int(stmt, 3, (int64_t)seq);
    r = db_step(stmt);
    if (r < 0)
        return r;
    *ret_interval = (struct interval){.found = r > 0};
    if (r) {
        ret_interval->lo = (uint64_t)db_int(stmt, 0);
        ret_interval->hi = (uint64_t)db_int(stmt, 1);
    }
    return 0;
}

/* `before` ends below `seq`; the interval that starts right after it is joined. */
static int insert_seq(struct store *s, const char *instance, uint32_t part, uint64_t seq,
                      const struct interval *before)
{
    struct store_interval put = {.instance = instance, .part = part, .lo = seq, .hi = seq};
    struct interval after = {0};
    int r = interval_at(s, instance, part, seq + 1, &after);

    if (r < 0)
        return r;
    if (before->found && before->hi == seq - 1)
        put.lo = before->lo;
    if (after.found && after.lo == seq + 1) {
        put.hi = after.hi;
        r = store_delete_interval(s, instance, part, after.lo);
        if (r < 0)
            return r;
    }
    return store_put_interval(s, &put);
}

int store_has_seq(struct store *s, const char *instance, uint32_t part, uint64_t seq, bool *ret_has)
{
    struct interval before = {0};
    int r = interval_at(s, instance, part, seq, &before);

    if (r == 0)
        *ret_has = before.found && before.hi >= seq;
    return r;
}

int store_claim(struct store *s, const char *instance, uint32_t part, uint64_t seq,
                bool *ret_is_new)
{
    struct interval before = {0};
    int r = interval_at(s, instance, part, seq, &before);

    if (r < 0)
        return r;
    if (before.found && before.hi >= seq) {
        *ret_is_new = false;
        return 0;
    }
    r = insert_seq(s, instance, part, seq, &before);
    if (r == 0)
        *ret_is_new = true;
    return r;
}

int store_loss(struct store *s, struct store_loss *ret_loss)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LOSS);
    int r = db_step(stmt);

    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_loss = (struct store_loss){
        .streams = (uint64_t)db_int(stmt, 0),
        .received = (uint64_t)db_int(stmt, 1),
        .missing = (uint64_t)db_int(stmt, 2),
    };
    return 0;
}

int store_each_hole(struct store *s, unsigned limit,
                    int (*each)(void *ctx, const struct store_hole *hole), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_HOLES);
    int r;

    db_bind_int(stmt, 1, limit);
    while ((r = db_step(stmt)) > 0) {
        struct store_hole hole = {
            .instance = db_text(stmt, 0),
            .part = (uint32_t)db_int(stmt, 1),
            .first = (uint64_t)db_int(stmt, 2),
            .last = (uint64_t)db_int(stmt, 3),
        };

        r = each(ctx, &hole);
        if (r < 0)
            return r;
    }
    return r;
}
