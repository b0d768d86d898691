/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/seqs.h"

#include "collector/hash.h"
#include "collector/recent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct piece {
    uint64_t lo, hi;
    bool is_stored; /* under `lo`, maybe with another `hi` */
    bool is_dirty;
};

struct key {
    char instance[SEQS_INSTANCE_BYTES];
    uint32_t part;
};

struct stream {
    struct recent recent; /* first: the lists know only this */
    struct key key;
    unsigned lane;
    bool is_wide; /* the pieces are the batch's only, the others are in the store */
    struct piece *pieces;
    uint32_t count, capacity;
    uint64_t *gone; /* `lo` of stored pieces that were joined to others */
    uint32_t gone_count, gone_capacity;
    UT_hash_handle hh;
};

struct seqs {
    const struct seqs_store *store;
    struct stream *streams;
    struct recent_list list;
};

static size_t bytes_of(const struct stream *s)
{
    return sizeof(*s) + s->capacity * sizeof(s->pieces[0]) + s->gone_capacity * sizeof(s->gone[0]);
}

static void forget(void *ctx, struct recent *item)
{
    struct seqs *q = ctx;
    struct stream *s = (struct stream *)item;

    HASH_DEL(q->streams, s);
    free(s->pieces);
    free(s->gone);
    free(s);
}

int seqs_new(const struct seqs_store *store, size_t bytes_max, struct seqs **ret_seqs)
{
    struct seqs *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    q->store = store;
    recent_init(&q->list, bytes_max, forget, q);
    *ret_seqs = q;
    return 0;
}

void seqs_free(struct seqs **seqs)
{
    if (!*seqs)
        return;
    recent_forget_all(&(*seqs)->list);
    free(*seqs);
    *seqs = NULL;
}

static int insert_piece(struct stream *s, uint32_t at, struct piece piece)
{
    if (s->count == s->capacity) {
        uint32_t capacity = s->capacity ? 2 * s->capacity : 2;
        struct piece *pieces = realloc(s->pieces, capacity * sizeof(*pieces));

        if (!pieces)
            return -ENOMEM;
        s->pieces = pieces;
        s->capacity = capacity;
    }
    memmove(&s->pieces[at + 1], &s->pieces[at], (s->count - at) * sizeof(piece));
    s->pieces[at] = piece;
    s->count++;
    return 0;
}

static int note_gone(struct stream *s, const struct piece *piece)
{
    if (!piece->is_stored)
        return 0;
    if (s->gone_count == s->gone_capacity) {
        uint32_t capacity = s->gone_capacity ? 2 * s->gone_capacity : 2;
        uint64_t *gone = realloc(s->gone, capacity * sizeof(*gone));

        if (!gone)
            return -ENOMEM;
        s->gone = gone;
        s->gone_capacity = capacity;
    }
    s->gone[s->gone_count++] = piece->lo;
    return 0;
}

/* How many pieces begin at or below `seq`. */
static uint32_t count_below(const struct stream *s, uint64_t seq)
{
    uint32_t low = 0, high = s->count;

    /* Nearly always the number follows the last one. */
    if (high && s->pieces[high - 1].lo <= seq)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (s->pieces[middle].lo <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int join_after(struct stream *s, struct piece *after, uint64_t seq)
{
    int r = note_gone(s, after);

    if (r < 0)
        return r;
    after->lo = seq;
    after->is_stored = false;
    after->is_dirty = true;
    return 0;
}

static int join_both(struct stream *s, uint32_t at)
{
    struct piece *before = &s->pieces[at - 1], *after = &s->pieces[at];
    int r = note_gone(s, after);

    if (r < 0)
        return r;
    before->hi = after->hi;
    before->is_dirty = true;
    s->count--;
    memmove(after, after + 1, (s->count - at) * sizeof(*after));
    return 0;
}

static int claim(struct stream *s, uint64_t seq, bool *ret_is_new)
{
    uint32_t at = count_below(s, seq);
    struct piece *before = at > 0 ? &s->pieces[at - 1] : NULL;
    struct piece *after = at < s->count ? &s->pieces[at] : NULL;
    bool joins_before, joins_after;

    *ret_is_new = !before || before->hi < seq;
    if (!*ret_is_new)
        return 0;
    joins_before = before && before->hi == seq - 1;
    joins_after = after && after->lo == seq + 1;
    if (joins_before && joins_after)
        return join_both(s, at);
    if (joins_after)
        return join_after(s, after, seq);
    if (!joins_before)
        return insert_piece(s, at, (struct piece){.lo = seq, .hi = seq, .is_dirty = true});
    before->hi = seq;
    before->is_dirty = true;
    return 0;
}

/* --- loading --- */

static int on_interval(void *ctx, uint64_t lo, uint64_t hi)
{
    struct stream *s = ctx;

    if (s->count == SEQS_PIECES_MAX) {
        s->is_wide = true;
        return -E2BIG;
    }
    return insert_piece(s, s->count, (struct piece){.lo = lo, .hi = hi, .is_stored = true});
}

static int load(struct seqs *q, unsigned lane, const struct key *key, struct stream **ret_stream)
{
    struct stream *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->key = *key;
    s->lane = lane;
    r = q->store->load(q->store->ctx, key->instance, key->part, on_interval, s);
    if (s->is_wide) {
        s->count = 0;
        r = 0;
    }
    if (r < 0) {
        free(s->pieces);
        free(s);
        return r;
    }
    HASH_ADD(hh, q->streams, key, sizeof(s->key), s);
    recent_add(&q->list, &s->recent, bytes_of(s));
    *ret_stream = s;
    return 0;
}

int seqs_claim(struct seqs *q, unsigned lane, const char *instance, uint32_t part, uint64_t seq,
               bool *ret_is_new)
{
    struct key key = {.part = part};
    struct stream *s;
    int r = 0;

    memccpy(key.instance, instance, 0, sizeof(key.instance) - 1);
    HASH_FIND(hh, q->streams, &key, sizeof(key), s);
    if (!s)
        r = load(q, lane, &key, &s);
    if (r < 0)
        return r;
    recent_use(&q->list, &s->recent);
    if (s->is_wide) {
        bool has = false;

        r = q->store->has(q->store->ctx, key.instance, part, seq, &has);
        if (r < 0 || has) {
            *ret_is_new = false;
            return r;
        }
    }
    return claim(s, seq, ret_is_new);
}

/* --- the end of a batch --- */

static int save_wide(const struct seqs *q, const struct stream *s)
{
    int r = 0;

    for (uint32_t i = 0; i < s->count; i++)
        for (uint64_t seq = s->pieces[i].lo; seq <= s->pieces[i].hi && r == 0; seq++)
            r = q->store->claim(q->store->ctx, s->key.instance, s->key.part, seq);
    return r;
}

static int save_stream(void *ctx, struct recent *item)
{
    const struct seqs *q = ctx;
    struct stream *s = (struct stream *)item;
    int r = 0;

    if (s->is_wide)
        return save_wide(q, s);
    for (uint32_t i = 0; i < s->gone_count && r == 0; i++)
        r = q->store->drop(q->store->ctx, s->key.instance, s->key.part, s->gone[i]);
    for (uint32_t i = 0; i < s->count && r == 0; i++)
        if (s->pieces[i].is_dirty)
            r = q->store->put(q->store->ctx, s->key.instance, s->key.part, s->pieces[i].lo,
                              s->pieces[i].hi);
    return r;
}

int seqs_save(struct seqs *q)
{
    return recent_each_used(&q->list, save_stream, q);
}

static int settle_stream(void *ctx, struct recent *item)
{
    struct stream *s = (struct stream *)item;

    (void)ctx;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->pieces[i].is_dirty) {
            s->pieces[i].is_dirty = false;
            s->pieces[i].is_stored = true;
        }
    s->gone_count = 0;
    if (s->is_wide || s->count > SEQS_PIECES_MAX) {
        free(s->pieces);
        s->pieces = NULL;
        s->count = s->capacity = 0;
        s->is_wide = true;
    }
    item->bytes = bytes_of(s);
    return 0;
}

void seqs_committed(struct seqs *q)
{
    int r = recent_each_used(&q->list, settle_stream, q);

    (void)r; /* settling cannot fail */
    recent_settle(&q->list);
}

void seqs_rolled_back(struct seqs *q)
{
    recent_forget_used(&q->list);
}

static bool is_of_lane(const void *ctx, const struct recent *item)
{
    return ((const struct stream *)(const void *)item)->lane == *(const unsigned *)ctx;
}

void seqs_drop_lane(struct seqs *q, unsigned lane)
{
    recent_forget_if(&q->list, is_of_lane, &lane);
}

size_t seqs_bytes(const struct seqs *q)
{
    return q->list.bytes;
}
