/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/cells.h"

#include "collector/hash.h"
#include "collector/recent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct key {
    int64_t series;
    int64_t bucket;
    uint32_t seconds;
    uint32_t lane;
};

struct entry {
    struct recent recent; /* first: the lists know only this */
    struct key key;
    struct rollup_cell cell;
    int64_t revision;
    UT_hash_handle hh;
};

struct touch_key {
    int64_t bucket;
    uint32_t seconds;
    uint32_t lane;
};

struct touch {
    struct touch_key key;
    UT_hash_handle hh;
};

struct cells {
    const struct cells_store *store;
    struct entry *entries;
    struct recent_list list;
    struct touch *touches; /* buckets of the batch */
    struct entry **order;  /* what the batch changed, as it is written */
    unsigned order_count, order_capacity;
    /* Buckets from here on that are not in memory are not in the store. */
    int64_t fresh_from[CELLS_LANES][ROLLUP__COUNT];
};

static size_t bytes_of(const struct entry *e)
{
    const struct rollup_cell *c = &e->cell;
    size_t bins = sketch_bytes(&c->latency) + sketch_bytes(&c->ttft) + sketch_bytes(&c->added);
    size_t names = (size_t)c->error_types.count + c->usage.count;

    /* A name's text is shared by the cells that had it from one another: by three at least. */
    return sizeof(*e) + bins + names * (sizeof(struct tally_item) + 16);
}

static enum rollup_resolution resolution_of(uint32_t seconds)
{
    return seconds == rollup_seconds[ROLLUP_MINUTE] ? ROLLUP_MINUTE
           : seconds == rollup_seconds[ROLLUP_HOUR] ? ROLLUP_HOUR
                                                    : ROLLUP_DAY;
}

static void forget(void *ctx, struct recent *item)
{
    struct cells *c = ctx;
    struct entry *e = (struct entry *)item;
    int64_t *fresh_from = &c->fresh_from[e->key.lane][resolution_of(e->key.seconds)];

    if (e->key.bucket >= *fresh_from)
        *fresh_from = e->key.bucket + e->key.seconds;
    HASH_DEL(c->entries, e);
    rollup_cell_fini(&e->cell);
    free(e);
}

int cells_new(const struct cells_store *store, size_t bytes_max, struct cells **ret_cells)
{
    struct cells *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->store = store;
    recent_init(&c->list, bytes_max, forget, c);
    for (unsigned lane = 0; lane < CELLS_LANES; lane++)
        for (int i = 0; i < ROLLUP__COUNT; i++)
            c->fresh_from[lane][i] = INT64_MAX;
    *ret_cells = c;
    return 0;
}

static void clear_touches(struct cells *c)
{
    struct touch *t, *next;

    HASH_ITER(hh, c->touches, t, next)
    {
        HASH_DEL(c->touches, t);
        free(t);
    }
}

void cells_free(struct cells **cells)
{
    if (!*cells)
        return;
    clear_touches(*cells);
    recent_forget_all(&(*cells)->list);
    free((*cells)->order);
    free(*cells);
    *cells = NULL;
}

static bool is_of_lane(const void *ctx, const struct recent *item)
{
    return ((const struct entry *)(const void *)item)->key.lane == *(const unsigned *)ctx;
}

void cells_drop_lane(struct cells *c, unsigned lane)
{
    recent_forget_if(&c->list, is_of_lane, &lane);
    for (int i = 0; i < ROLLUP__COUNT; i++)
        c->fresh_from[lane][i] = INT64_MAX;
}

void cells_take_lane(struct cells *c, unsigned lane, int64_t newest_s)
{
    cells_drop_lane(c, lane);
    for (int i = 0; i < ROLLUP__COUNT; i++)
        c->fresh_from[lane][i] = newest_s == INT64_MIN ? INT64_MIN : newest_s + 1;
}

int64_t cells_floor(int64_t time_s, uint32_t seconds)
{
    int64_t rest = time_s % seconds;

    return time_s - (rest < 0 ? rest + seconds : rest);
}

int cells_know(struct cells *c, unsigned lane, struct rollup_cell *cell, int64_t revision)
{
    struct entry *e;

    /* The other half is for what the batches need. */
    if (c->list.bytes > c->list.bytes_max / 2)
        return -ENOSPC;
    e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->key = (struct key){
        .series = cell->series, .bucket = cell->bucket, .seconds = cell->seconds, .lane = lane};
    e->cell = *cell;
    *cell = (struct rollup_cell){.seconds = cell->seconds};
    e->revision = revision;
    HASH_ADD(hh, c->entries, key, sizeof(e->key), e);
    recent_add(&c->list, &e->recent, bytes_of(e));
    return 0;
}

void cells_know_all(struct cells *c, unsigned lane, enum rollup_resolution res, int64_t from_s)
{
    c->fresh_from[lane][res] = from_s;
}

/* --- a batch --- */

static int load(struct cells *c, const struct key *key, struct entry **ret_entry)
{
    struct entry *e = calloc(1, sizeof(*e));
    int r = 0;

    if (!e)
        return -ENOMEM;
    e->key = *key;
    e->cell.seconds = key->seconds;
    e->cell.bucket = key->bucket;
    e->cell.series = key->series;
    if (key->bucket < c->fresh_from[key->lane][resolution_of(key->seconds)])
        r = c->store->load(c->store->ctx, key->lane, &e->cell, &e->revision);
    if (r < 0) {
        rollup_cell_fini(&e->cell);
        free(e);
        return r;
    }
    HASH_ADD(hh, c->entries, key, sizeof(e->key), e);
    recent_add(&c->list, &e->recent, bytes_of(e));
    *ret_entry = e;
    return 0;
}

static int note_touch(struct cells *c, const struct key *key)
{
    struct touch_key wanted = {.bucket = key->bucket, .seconds = key->seconds, .lane = key->lane};
    struct touch *t;

    HASH_FIND(hh, c->touches, &wanted, sizeof(wanted), t);
    if (t)
        return 0;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->key = wanted;
    HASH_ADD(hh, c->touches, key, sizeof(t->key), t);
    return 0;
}

static int merge(struct cells *c, const struct key *key, const struct rollup_cell *minute)
{
    struct entry *e;
    int r = 0;

    HASH_FIND(hh, c->entries, key, sizeof(*key), e);
    if (!e)
        r = load(c, key, &e);
    if (r < 0)
        return r;
    if (!e->recent.is_used)
        r = note_touch(c, key);
    recent_use(&c->list, &e->recent);
    return r < 0 ? r : rollup_cell_merge(&e->cell, minute);
}

int cells_merge(struct cells *c, unsigned lane, const struct rollup_cell *minute)
{
    int r = 0;

    for (int i = 0; i < ROLLUP__COUNT && r == 0; i++) {
        struct key key = {
            .series = minute->series,
            .bucket = cells_floor(minute->bucket, rollup_seconds[i]),
            .seconds = rollup_seconds[i],
            .lane = lane,
        };

        r = merge(c, &key, minute);
    }
    return r;
}

int cells_touch(struct cells *c, unsigned lane, int64_t minute_s)
{
    int r = 0;

    for (int i = 0; i < ROLLUP__COUNT && r == 0; i++)
        r = note_touch(c, &(struct key){.bucket = cells_floor(minute_s, rollup_seconds[i]),
                                        .seconds = rollup_seconds[i],
                                        .lane = lane});
    return r;
}

static int put_in_order(void *ctx, struct recent *item)
{
    struct cells *c = ctx;

    if (c->order_count == c->order_capacity) {
        unsigned capacity = c->order_capacity ? 2 * c->order_capacity : 1024;
        struct entry **order = realloc(c->order, capacity * sizeof(struct entry *));

        if (!order)
            return -ENOMEM;
        c->order = order;
        c->order_capacity = capacity;
    }
    c->order[c->order_count++] = (struct entry *)item;
    return 0;
}

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_key(const void *a, const void *b)
{
    const struct key *one = &(*(struct entry *const *)a)->key;
    const struct key *other = &(*(struct entry *const *)b)->key;
    int r = compare(one->seconds, other->seconds);

    if (r == 0)
        r = compare(one->bucket, other->bucket);
    if (r == 0)
        r = compare(one->series, other->series);
    return r ? r : compare(one->lane, other->lane);
}

static int touch_by_key(const struct touch *a, const struct touch *b)
{
    int r = compare(a->key.seconds, b->key.seconds);

    if (r == 0)
        r = compare(a->key.bucket, b->key.bucket);
    return r ? r : compare(a->key.lane, b->key.lane);
}

int cells_save(struct cells *c)
{
    int r;

    c->order_count = 0;
    r = recent_each_used(&c->list, put_in_order, c);
    if (r == 0 && c->order_count)
        qsort(c->order, c->order_count, sizeof(struct entry *), by_key);
    for (unsigned i = 0; i < c->order_count && r == 0; i++) {
        struct entry *e = c->order[i];

        r = c->store->put(c->store->ctx, e->key.lane, &e->cell, ++e->revision);
    }
    HASH_SORT(c->touches, touch_by_key);
    for (const struct touch *t = c->touches; t && r == 0; t = t->hh.next)
        r = c->store->touch(c->store->ctx, t->key.lane, t->key.seconds, t->key.bucket);
    return r;
}

static int count_bytes(void *ctx, struct recent *item)
{
    (void)ctx;
    item->bytes = bytes_of((const struct entry *)(const void *)item);
    return 0;
}

void cells_committed(struct cells *c)
{
    int r = recent_each_used(&c->list, count_bytes, c);

    (void)r; /* counting cannot fail */
    clear_touches(c);
    recent_settle(&c->list);
}

void cells_rolled_back(struct cells *c)
{
    clear_touches(c);
    recent_forget_used(&c->list);
}

size_t cells_bytes(const struct cells *c)
{
    return c->list.bytes;
}
