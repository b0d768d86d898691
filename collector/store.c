/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include <errno.h>
#include <string.h>

static _Thread_local struct db_error_text open_error;

static int open_with(const char *where, enum db_mode mode, struct store **ret_store)
{
    CLEAN_STORE struct store *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    r = db_open(where, mode, store_sql, STMT__COUNT, &s->db, &open_error);
    if (r == 0 && mode == DB_WRITER)
        r = store_migrate(s->db, &open_error);
    if (r == 0)
        *ret_store = TAKE_PTR(s);
    return r;
}

int store_open(const char *where, struct store **ret_store)
{
    return open_with(where, DB_WRITER, ret_store);
}

int store_open_reader(const char *where, struct store **ret_store)
{
    return open_with(where, DB_READER, ret_store);
}

void store_close(struct store **store)
{
    if (!*store)
        return;
    db_close(&(*store)->db);
    store_forget_reasons(*store);
    free(*store);
    *store = NULL;
}

const char *store_error(const struct store *s)
{
    return s ? db_error(s->db) : open_error.text;
}

void store_set_fence(struct store *s, int (*fence)(void *ctx, struct store *s), void *ctx)
{
    s->fence = fence;
    s->fence_ctx = ctx;
}

int store_begin(struct store *s)
{
    int r = db_begin(s->db);

    memset(s->rooms, 0, sizeof(s->rooms));
    if (r < 0 || !s->fence)
        return r;
    r = s->fence(s->fence_ctx, s);
    if (r < 0)
        db_rollback(s->db);
    return r;
}

int store_commit(struct store *s)
{
    return db_commit(s->db);
}

void store_rollback(struct store *s)
{
    db_rollback(s->db);
}

/* --- numbers --- */

int store_number_get(struct store *s, const char *name, int64_t *ret_value)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_NUMBER_GET);
    int r;

    db_bind_text(stmt, 1, name);
    r = db_step(stmt);
    if (r < 0)
        return r;
    *ret_value = r ? db_int(stmt, 0) : 0;
    return 0;
}

static int change_number(struct store *s, enum store_stmt which, int64_t lane, const char *name,
                         int64_t value)
{
    struct db_stmt *stmt = db_stmt(s->db, which);

    db_bind_text(stmt, 1, name);
    db_bind_int(stmt, 2, lane);
    db_bind_int(stmt, 3, value);
    return db_run(stmt);
}

int store_number_set(struct store *s, const char *name, int64_t value)
{
    return change_number(s, STMT_NUMBER_SET, 0, name, value);
}

int store_number_add_lane(struct store *s, int64_t lane, const char *name, int64_t by)
{
    return by == 0 ? 0 : change_number(s, STMT_NUMBER_ADD, lane, name, by);
}

int store_number_put_lane(struct store *s, int64_t lane, const char *name, int64_t value)
{
    return change_number(s, STMT_NUMBER_PUT, lane, name, value);
}

int store_number_get_lane(struct store *s, int64_t lane, const char *name, int64_t *ret_value)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_NUMBER_LANE);
    int r;

    db_bind_text(stmt, 1, name);
    db_bind_int(stmt, 2, lane);
    r = db_step(stmt);
    *ret_value = r > 0 ? db_int(stmt, 0) : 0;
    return r < 0 ? r : 0;
}

/* --- lanes --- */

unsigned store_lanes(const struct store *s)
{
    return db_is_shared(s->db) ? STORE_PARTS : 1;
}

int64_t store_lane_of(const struct store *s, uint32_t part)
{
    return part % store_lanes(s);
}

int store_touch(struct store *s, int64_t lane, uint32_t seconds, int64_t bucket)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_TOUCH);

    db_bind_int(stmt, 1, lane);
    db_bind_int(stmt, 2, seconds);
    db_bind_int(stmt, 3, bucket);
    db_bind_int(stmt, 4, 1);
    return db_run(stmt);
}

int store_each_touched(struct store *s, unsigned limit,
                       int (*each)(void *ctx, const struct store_touched *touched), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_TOUCHED_EACH);
    int r;

    db_bind_int(stmt, 1, limit);
    while ((r = db_step(stmt)) > 0) {
        struct store_touched touched = {
            .lane = db_int(stmt, 0),
            .seconds = (uint32_t)db_int(stmt, 1),
            .bucket = db_int(stmt, 2),
            .revision = db_int(stmt, 3),
        };

        r = each(ctx, &touched);
        if (r < 0)
            return r;
    }
    return r;
}

int store_clear_touched(struct store *s, const struct store_touched *touched)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_TOUCHED_CLEAR);

    db_bind_int(stmt, 1, touched->lane);
    db_bind_int(stmt, 2, touched->seconds);
    db_bind_int(stmt, 3, touched->bucket);
    db_bind_int(stmt, 4, touched->revision);
    return db_run(stmt);
}

int store_get_lane_state(struct store *s, int64_t lane, struct store_lane_state *ret_state)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LANE_GET);
    int r;

    db_bind_int(stmt, 1, lane);
    r = db_step(stmt);
    if (r < 0)
        return r;
    *ret_state = (struct store_lane_state){.lane = lane};
    if (r)
        ret_state->watermark_ns = (uint64_t)db_int(stmt, 0);
    return 0;
}

int store_put_lane_state(struct store *s, const struct store_lane_state *state)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LANE_PUT);

    db_bind_int(stmt, 1, state->lane);
    db_bind_int(stmt, 2, (int64_t)state->watermark_ns);
    return db_run(stmt);
}

int store_each_lane_state(struct store *s,
                          int (*each)(void *ctx, const struct store_lane_state *state), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LANE_EACH);
    int r;

    while ((r = db_step(stmt)) > 0) {
        struct store_lane_state state = {
            .lane = db_int(stmt, 0),
            .watermark_ns = (uint64_t)db_int(stmt, 1),
        };

        r = each(ctx, &state);
        if (r < 0)
            return r;
    }
    return r;
}
