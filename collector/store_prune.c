/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_prune.h"

#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include "proto/base/clock.h"

#include <errno.h>

#define BLOCKS_AT_ONCE 64
/* A block that has as many calls, or bytes in the store, is left alone. */
#define SMALL_CALLS 1024
#define SMALL_BYTES (256 * 1024)

/* --- pruning --- */

struct slice_of_rows {
    unsigned rows_left;
    uint64_t rows;
};

static int prune_rows(struct store *s, enum store_stmt which, int64_t seconds, int64_t before,
                      struct slice_of_rows *slice)
{
    struct db_stmt *stmt = db_stmt(s->db, which);
    uint64_t rows = 0;
    int r;

    if (slice->rows_left == 0)
        return 0;
    db_bind_int(stmt, 1, seconds);
    db_bind_int(stmt, 2, before);
    db_bind_int(stmt, 3, slice->rows_left);
    r = db_run_counted(stmt, &rows);
    slice->rows += rows;
    slice->rows_left -= (unsigned)rows;
    return r;
}

static int prune_slice(struct store *s, const struct store_keep *keep, struct slice_of_rows *slice)
{
    static const enum store_stmt stmts[] = {STMT_PRUNE_CELLS, STMT_PRUNE_GAPS, STMT_PRUNE_COVERAGE,
                                            STMT_PRUNE_COVERAGE_TOLD, STMT_PRUNE_CELLS_TOLD};
    int r = 0;

    for (int res = 0; res < ROLLUP__COUNT && r == 0; res++)
        for (size_t i = 0; i < sizeof(stmts) / sizeof(stmts[0]) && r == 0; i++)
            r = prune_rows(s, stmts[i], rollup_seconds[res], keep->from_s[res], slice);
    if (r == 0)
        r = prune_rows(s, STMT_PRUNE_UNPRICED, rollup_seconds[ROLLUP_MINUTE],
                       keep->from_s[ROLLUP_MINUTE], slice);
    if (r == 0)
        r = prune_rows(s, STMT_PRUNE_CALLS, 0, (int64_t)keep->calls_from_ns, slice);
    if (r == 0)
        r = prune_rows(s, STMT_PRUNE_ALERTS, 0, keep->alerts_from_s * (int64_t)NSEC_PER_SEC, slice);
    if (r == 0)
        r = prune_rows(s, STMT_PRUNE_SILENCES, 0, keep->alerts_from_s, slice);
    return r;
}

int store_prune_some(struct store *s, const struct store_keep *keep, unsigned rows_max,
                     uint64_t *ret_rows)
{
    struct slice_of_rows slice = {.rows_left = rows_max};
    int r = store_begin(s);

    if (r < 0)
        return r;
    r = prune_slice(s, keep, &slice);
    if (r == 0)
        r = store_commit(s);
    if (r < 0) {
        store_rollback(s);
        return r;
    }
    *ret_rows = slice.rows;
    return 0;
}

/* --- joining blocks --- */

struct joining {
    struct call_block block;
    int64_t ids[BLOCKS_AT_ONCE];
    int64_t lane;
    unsigned count;
    uint64_t held_ns; /* latest call of the first that is held */
    uint64_t seen_ns; /* of the last that was looked at */
    unsigned seen;
    bool is_full;
};

static int add_call(void *ctx, uint64_t end_ns, struct slice payload)
{
    return call_block_add(ctx, end_ns, payload);
}

/* All of its calls, or none. */
static int add_block(struct joining *j, struct db_stmt *stmt)
{
    const struct call_block before = j->block;
    int r = call_block_each(db_blob(stmt, 2), add_call, &j->block);

    if (r < 0) {
        struct buf raw = j->block.raw;

        raw.len = before.raw.len;
        j->block = before;
        j->block.raw = raw;
        return r;
    }
    if (j->count == 0) {
        j->lane = db_int(stmt, 1);
        j->held_ns = j->seen_ns;
    }
    j->ids[j->count++] = db_int(stmt, 0);
    return 0;
}

/* One that is alone when the next has no place finds no company: the next may. */
static int start_anew(struct joining *j, struct db_stmt *stmt)
{
    call_block_reset(&j->block);
    j->count = 0;
    return add_block(j, stmt);
}

static int take_block(struct joining *j, struct db_stmt *stmt)
{
    int r;

    j->seen++;
    j->seen_ns = (uint64_t)db_int(stmt, 3);
    r = add_block(j, stmt);
    if (r == -ENOSPC && j->count < 2)
        r = start_anew(j, stmt);
    j->is_full = r == -ENOSPC;
    return r == -ENOSPC || r == -EBADMSG ? 0 : r;
}

static int read_small(struct store *s, uint64_t from_ns, uint64_t to_ns, struct joining *j)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_BLOCKS_SMALL);
    int r;

    db_bind_int(stmt, 1, (int64_t)from_ns);
    db_bind_int(stmt, 2, (int64_t)to_ns);
    db_bind_int(stmt, 3, SMALL_CALLS);
    db_bind_int(stmt, 4, BLOCKS_AT_ONCE);
    db_bind_int(stmt, 5, SMALL_BYTES);
    while (!j->is_full && (r = db_step(stmt)) > 0) {
        r = take_block(j, stmt);
        if (r < 0)
            return r;
    }
    return j->is_full ? 0 : r;
}

/* What was joined, or is alone, may go with what follows. */
static uint64_t next_ns(const struct joining *j, uint64_t from_ns, uint64_t to_ns)
{
    if (!j->is_full && j->seen < BLOCKS_AT_ONCE)
        return to_ns;
    return j->count > 1 || (j->count == 1 && j->held_ns > from_ns) ? j->held_ns : j->seen_ns + 1;
}

/* A block that is gone was joined, or deleted, by somebody else. */
static int replace(struct store *s, const struct joining *j)
{
    int r = 0;

    for (unsigned i = 0; i < j->count && r == 0; i++) {
        struct db_stmt *stmt = db_stmt(s->db, STMT_BLOCK_DELETE);
        uint64_t rows = 0;

        db_bind_int(stmt, 1, j->ids[i]);
        r = db_run_counted(stmt, &rows);
        if (r == 0 && rows == 0)
            r = -EAGAIN;
    }
    return r < 0 ? r : store_add_call_block(s, j->lane, &j->block);
}

int store_join_calls(struct store *s, uint64_t *from_ns, uint64_t to_ns, unsigned *ret_fewer)
{
    struct joining j = {0};
    int r = store_begin(s);

    if (r < 0)
        return r;
    call_block_init(&j.block);
    r = read_small(s, *from_ns, to_ns, &j);
    if (r == 0 && j.count > 1)
        r = replace(s, &j);
    if (r == 0)
        r = store_commit(s);
    if (r < 0) {
        store_rollback(s);
    } else {
        *ret_fewer = j.count > 1 ? j.count - 1 : 0;
        *from_ns = next_ns(&j, *from_ns, to_ns);
    }
    call_block_fini(&j.block);
    return r;
}

int store_give_back(struct store *s, unsigned pages)
{
    return db_give_back(s->db, pages);
}
