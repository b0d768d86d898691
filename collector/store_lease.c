/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_lease.h"

#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include <errno.h>

int store_own(struct store *s)
{
    return db_own(s->db);
}

bool store_is_shared(const struct store *s)
{
    return db_is_shared(s->db);
}

int store_set_name(struct store *s, const char *id)
{
    return db_set_name(s->db, id);
}

int store_add_leases(struct store *s)
{
    int r = 0;

    for (int64_t lane = STORE_JUDGE; lane < (int64_t)store_lanes(s) && r == 0; lane++) {
        struct db_stmt *stmt = db_stmt(s->db, STMT_LEASE_ADD);

        db_bind_int(stmt, 1, lane);
        r = db_run(stmt);
    }
    return r;
}

static int run_for(struct store *s, enum store_stmt which, const char *id)
{
    struct db_stmt *stmt = db_stmt(s->db, which);

    db_bind_text(stmt, 1, id);
    return db_run(stmt);
}

int store_heartbeat(struct store *s, const char *id)
{
    return run_for(s, STMT_COLLECTOR_SEEN, id);
}

int store_leave(struct store *s, const char *id)
{
    return run_for(s, STMT_COLLECTOR_LEAVE, id);
}

int store_evict(struct store *s, const char *id)
{
    return run_for(s, STMT_COLLECTOR_EVICT, id);
}

int store_forget_collectors(struct store *s, uint32_t age_ms)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_COLLECTOR_FORGET);

    db_bind_int(stmt, 1, age_ms);
    return db_run(stmt);
}

int store_each_collector(struct store *s, uint32_t ttl_ms,
                         int (*each)(void *ctx, const char *id, bool is_alive), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_COLLECTOR_EACH);
    int r;

    db_bind_int(stmt, 1, ttl_ms);
    while ((r = db_step(stmt)) > 0) {
        r = each(ctx, db_text(stmt, 0), db_int(stmt, 1) != 0);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_lease(struct store *s,
                     int (*each)(void *ctx, int64_t lane, const char *owner, int64_t epoch),
                     void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LEASE_EACH);
    int r;

    while ((r = db_step(stmt)) > 0) {
        r = each(ctx, db_int(stmt, 0), db_text(stmt, 1), db_int(stmt, 2));
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_held(struct store *s, const char *owner,
                    int (*each)(void *ctx, int64_t lane, int64_t epoch), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LEASE_HELD);
    int r;

    db_bind_text(stmt, 1, owner);
    while ((r = db_step(stmt)) > 0) {
        r = each(ctx, db_int(stmt, 0), db_int(stmt, 1));
        if (r < 0)
            return r;
    }
    return r;
}

int store_take_lease(struct store *s, int64_t lane, int64_t epoch, const char *owner,
                     bool *ret_taken)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LEASE_TAKE);
    uint64_t rows = 0;
    int r;

    db_bind_text(stmt, 1, owner);
    db_bind_int(stmt, 2, lane);
    db_bind_int(stmt, 3, epoch);
    r = db_run_counted(stmt, &rows);
    if (r == 0)
        *ret_taken = rows > 0;
    return r;
}

int store_release_lease(struct store *s, int64_t lane, int64_t epoch, const char *owner)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LEASE_RELEASE);

    db_bind_int(stmt, 1, lane);
    db_bind_text(stmt, 2, owner);
    db_bind_int(stmt, 3, epoch);
    return db_run(stmt);
}
