/* SPDX-License-Identifier: Apache-2.0 */
/* Single calls: blocks of them are rows. */
#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include <errno.h>
#include <string.h>

int store_add_call_block(struct store *s, int64_t lane, const struct call_block *block)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_CALL_BLOCK_ADD);
    struct buf packed;
    int r;

    if (block->calls == 0)
        return 0;
    buf_init(&packed, CALL_BLOCK_ENCODED_MAX);
    r = call_block_encode(block, &packed);
    if (r == 0) {
        db_bind_int(stmt, 1, lane);
        db_bind_int(stmt, 2, (int64_t)block->first_ns);
        db_bind_int(stmt, 3, (int64_t)block->last_ns);
        db_bind_int(stmt, 4, block->calls);
        db_bind_blob(stmt, 5, buf_slice(&packed));
        r = db_run(stmt);
    }
    buf_fini(&packed);
    return r;
}

/* --- reading: the newest `limit` of all blocks --- */

struct kept {
    uint64_t end_ns;
    uint64_t order; /* of equal times the one written last is the newer */
    struct slice payload;
};

/* A heap with the oldest on top. */
/* What one request may hold: the newest that fit. */
#define NEWEST_BYTES_MAX (16u * 1024 * 1024)

struct newest {
    uint64_t from_ns, to_ns;
    uint64_t order;
    struct kept *kept;
    unsigned count, limit;
    size_t bytes; /* of the payloads */
    uint64_t unreadable;
};

static bool is_older(const struct kept *a, const struct kept *b)
{
    return a->end_ns != b->end_ns ? a->end_ns < b->end_ns : a->order < b->order;
}

static void swap(struct kept *a, struct kept *b)
{
    struct kept c = *a;

    *a = *b;
    *b = c;
}

static void sift_up(struct kept *heap, unsigned at)
{
    while (at > 0 && is_older(&heap[at], &heap[(at - 1) / 2])) {
        swap(&heap[at], &heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct kept *heap, unsigned count)
{
    for (unsigned at = 0, child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && is_older(&heap[child + 1], &heap[child]))
            child++;
        if (!is_older(&heap[child], &heap[at]))
            return;
        swap(&heap[child], &heap[at]);
        at = child;
    }
}

static void drop_oldest(struct newest *n)
{
    n->bytes -= n->kept[0].payload.len;
    free((void *)(uintptr_t)n->kept[0].payload.data);
    n->kept[0] = n->kept[--n->count];
    sift_down(n->kept, n->count);
}

static int keep_call(void *ctx, uint64_t end_ns, struct slice payload)
{
    struct newest *n = ctx;
    struct kept call = {.end_ns = end_ns, .order = n->order++};
    uint8_t *copy;

    if (end_ns < n->from_ns || end_ns >= n->to_ns || n->limit == 0)
        return 0;
    if (n->count == n->limit && is_older(&call, &n->kept[0]))
        return 0;
    while (n->count && n->bytes + payload.len > NEWEST_BYTES_MAX)
        drop_oldest(n);
    copy = malloc(payload.len ? payload.len : 1);
    if (!copy)
        return -ENOMEM;
    n->bytes += payload.len;
    memcpy(copy, payload.data, payload.len);
    call.payload = slice_of(copy, payload.len);
    if (n->count == n->limit)
        drop_oldest(n);
    n->kept[n->count] = call;
    sift_up(n->kept, n->count++);
    return 0;
}

/* Blocks come by their latest call: what ends before all that is kept is not opened. */
static int read_blocks(struct store *s, struct newest *n)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_CALLS);
    int r;

    db_bind_int(stmt, 1, (int64_t)n->from_ns);
    db_bind_int(stmt, 2, (int64_t)n->to_ns);
    while ((r = db_step(stmt)) > 0) {
        if (n->count == n->limit &&
            (n->limit == 0 || (uint64_t)db_int(stmt, 1) < n->kept[0].end_ns))
            return 0;
        r = call_block_each(db_blob(stmt, 2), keep_call, n);
        if (r == -EBADMSG)
            n->unreadable += (uint64_t)db_int(stmt, 3);
        else if (r < 0)
            return r;
    }
    return r;
}

static int newest_first(const void *a, const void *b)
{
    return is_older(a, b) ? 1 : -1;
}

int store_each_call(struct store *s, uint64_t from_ns, uint64_t to_ns, unsigned limit,
                    int (*each)(void *ctx, struct slice payload), void *ctx,
                    uint64_t *ret_unreadable)
{
    struct newest n = {.from_ns = from_ns, .to_ns = to_ns, .limit = limit};
    int r;

    n.kept = calloc(limit ? limit : 1, sizeof(*n.kept));
    if (!n.kept)
        return -ENOMEM;
    r = read_blocks(s, &n);
    qsort(n.kept, n.count, sizeof(*n.kept), newest_first);
    for (unsigned i = 0; i < n.count && r == 0; i++)
        r = each(ctx, n.kept[i].payload);
    for (unsigned i = 0; i < n.count; i++)
        free((void *)(uintptr_t)n.kept[i].payload.data);
    free(n.kept);
    if (r == 0)
        *ret_unreadable = n.unreadable;
    return r;
}
