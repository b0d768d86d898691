/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/view.h"

#include "collector/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

struct slot {
    unsigned index;
    UT_hash_handle hh;
    char key[]; /* the names, each with its NUL, and the bucket */
};

struct view {
    bool by_bucket;
    bool is_cut;
    uint32_t bucket_seconds;
    struct slot *slots;
    struct view_row *rows;
    unsigned count, capacity;
};

int view_new(bool by_bucket, uint32_t bucket_seconds, struct view **ret_view)
{
    struct view *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    v->by_bucket = by_bucket;
    v->bucket_seconds = bucket_seconds;
    *ret_view = v;
    return 0;
}

void view_free(struct view **view)
{
    struct view *v = *view;
    struct slot *slot, *next;

    if (!v)
        return;
    HASH_ITER(hh, v->slots, slot, next)
    {
        HASH_DEL(v->slots, slot);
        free(slot);
    }
    for (unsigned i = 0; i < v->count; i++)
        rollup_cell_fini(&v->rows[i].cell);
    free(v->rows);
    free(v);
    *view = NULL;
}

static int grow(struct view *v)
{
    unsigned capacity = v->capacity ? 2 * v->capacity : 64;
    struct view_row *rows;

    if (v->count < v->capacity)
        return 0;
    rows = realloc(v->rows, capacity * sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    v->rows = rows;
    v->capacity = capacity;
    return 0;
}

static size_t make_key(const struct store_series_name *n, int64_t bucket, char *ret_key,
                       size_t size)
{
    int len = snprintf(ret_key, size, "%s%c%s%c%s%c%s%c%lld", n->org, 0, n->feature, 0, n->provider,
                       0, n->model, 0, (long long)bucket);

    return len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1;
}

static int add_row(struct view *v, const struct store_series_name *name, int64_t bucket,
                   const char *key, size_t key_len)
{
    struct slot *slot;
    struct view_row *row;
    int r = grow(v);

    if (r < 0)
        return r;
    slot = calloc(1, sizeof(*slot) + key_len);
    if (!slot)
        return -ENOMEM;
    slot->index = v->count;
    memcpy(slot->key, key, key_len);
    HASH_ADD(hh, v->slots, key, key_len, slot);
    row = &v->rows[v->count++];
    memset(row, 0, sizeof(*row));
    row->bucket = bucket;
    text_copy(row->org, sizeof(row->org), name->org);
    text_copy(row->feature, sizeof(row->feature), name->feature);
    text_copy(row->provider, sizeof(row->provider), name->provider);
    text_copy(row->model, sizeof(row->model), name->model);
    return 0;
}

int view_add(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct view *v = ctx;
    int64_t bucket = v->by_bucket ? cell->bucket - cell->bucket % v->bucket_seconds : 0;
    char key[512];
    size_t key_len = make_key(name, bucket, key, sizeof(key));
    struct rollup_cell *into;
    struct slot *slot;
    int r;

    HASH_FIND(hh, v->slots, key, key_len, slot);
    if (!slot) {
        if (v->count == VIEW_ROWS_MAX) {
            v->is_cut = true;
            return 0;
        }
        r = add_row(v, name, bucket, key, key_len);
        if (r < 0)
            return r;
        into = &v->rows[v->count - 1].cell;
    } else {
        into = &v->rows[slot->index].cell;
    }
    return rollup_cell_merge(into, cell);
}

static int compare_rows(const void *left, const void *right)
{
    const struct view_row *a = left, *b = right;
    const struct rollup_sums *x = &a->cell.sums, *y = &b->cell.sums;

    if (a->bucket != b->bucket)
        return a->bucket < b->bucket ? -1 : 1;
    if (x->cost_expected_nanousd != y->cost_expected_nanousd)
        return x->cost_expected_nanousd > y->cost_expected_nanousd ? -1 : 1;
    if (x->calls != y->calls)
        return x->calls > y->calls ? -1 : 1;
    return strcmp(a->feature, b->feature);
}

/* The slots point to old places afterwards, so nothing may be added. */
const struct view_row *view_rows(struct view *v, unsigned *ret_count)
{
    if (v->count)
        qsort(v->rows, v->count, sizeof(*v->rows), compare_rows);
    *ret_count = v->count;
    return v->rows;
}

bool view_is_cut(const struct view *v)
{
    return v->is_cut;
}
