/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/series.h"

#include "collector/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* Five names with their NULs, one after the other. */
#define NAMES_BYTES_MAX (64 + 96 + 64 + 160 + 160)
#define NAMES 5

struct entry {
    int64_t number;
    uint32_t handle;
    uint32_t bytes;
    UT_hash_handle hh;
    char names[];
};

struct series {
    struct entry *entries; /* by names */
    struct entry **list;   /* by handle */
    struct entry **unknown;
    uint32_t count, unknown_count, capacity, names_max;
};

int series_new(uint32_t names_max, struct series **ret_series)
{
    struct series *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->names_max = names_max;
    *ret_series = s;
    return 0;
}

void series_forget(struct series *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        HASH_DEL(s->entries, s->list[i]);
        free(s->list[i]);
    }
    s->count = s->unknown_count = 0;
}

void series_free(struct series **series)
{
    if (!*series)
        return;
    series_forget(*series);
    free((*series)->list);
    free((*series)->unknown);
    free(*series);
    *series = NULL;
}

void series_begin(struct series *s)
{
    if (s->count > s->names_max)
        series_forget(s);
}

static uint32_t join(const struct record *rec, char ret_names[NAMES_BYTES_MAX])
{
    const char *const names[NAMES] = {rec->org, rec->feature, rec->provider, rec->model,
                                      rec->workload};
    uint32_t len = 0;

    for (int i = 0; i < NAMES; i++) {
        size_t bytes = strlen(names[i]) + 1;

        memcpy(ret_names + len, names[i], bytes);
        len += (uint32_t)bytes;
    }
    return len;
}

static int grow(struct series *s)
{
    uint32_t capacity = s->capacity ? 2 * s->capacity : 256;
    struct entry **list = realloc(s->list, capacity * sizeof(struct entry *));

    if (!list)
        return -ENOMEM;
    s->list = list;
    list = realloc(s->unknown, capacity * sizeof(struct entry *));
    if (!list)
        return -ENOMEM;
    s->unknown = list;
    s->capacity = capacity;
    return 0;
}

int series_find(const struct series *s, const struct record *rec, uint32_t *ret_handle)
{
    char names[NAMES_BYTES_MAX];
    uint32_t bytes = join(rec, names);
    struct entry *e;

    HASH_FIND(hh, s->entries, names, bytes, e);
    if (!e)
        return -ENOENT;
    *ret_handle = e->handle;
    return 0;
}

int series_handle(struct series *s, const struct record *rec, uint32_t *ret_handle)
{
    char names[NAMES_BYTES_MAX];
    uint32_t bytes = join(rec, names);
    struct entry *e;

    HASH_FIND(hh, s->entries, names, bytes, e);
    if (e) {
        *ret_handle = e->handle;
        return 0;
    }
    if (s->count == s->capacity && grow(s) < 0)
        return -ENOMEM;
    e = calloc(1, sizeof(*e) + bytes);
    if (!e)
        return -ENOMEM;
    memcpy(e->names, names, bytes);
    e->bytes = bytes;
    e->handle = s->count;
    HASH_ADD_KEYPTR(hh, s->entries, e->names, bytes, e);
    s->list[s->count++] = e;
    s->unknown[s->unknown_count++] = e;
    *ret_handle = e->handle;
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct entry *a = *(struct entry *const *)left, *b = *(struct entry *const *)right;
    int order = memcmp(a->names, b->names, a->bytes < b->bytes ? a->bytes : b->bytes);

    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static struct series_names names_of(const struct entry *e)
{
    const char *names[NAMES];
    const char *at = e->names;

    for (int i = 0; i < NAMES; i++) {
        names[i] = at;
        at += strlen(at) + 1;
    }
    return (struct series_names){names[0], names[1], names[2], names[3], names[4]};
}

int series_create(struct series *s,
                  int (*create)(void *ctx, const struct series_names *names, int64_t *ret_number),
                  void *ctx)
{
    qsort(s->unknown, s->unknown_count, sizeof(struct entry *), compare);
    for (uint32_t i = 0; i < s->unknown_count; i++) {
        struct series_names names = names_of(s->unknown[i]);
        int r = create(ctx, &names, &s->unknown[i]->number);

        if (r < 0) {
            series_forget(s);
            return r;
        }
    }
    s->unknown_count = 0;
    return 0;
}

uint32_t series_unknown(const struct series *s)
{
    return s->unknown_count;
}

int64_t series_number(const struct series *s, uint32_t handle)
{
    return s->list[handle]->number;
}
