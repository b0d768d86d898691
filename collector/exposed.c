/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/exposed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define KEY_BYTES 512

struct entry {
    uint64_t calls;
    bool is_shown;
    UT_hash_handle hh;
    char key[]; /* org, feature, provider, model, each with its NUL; of an organisation org alone */
};

struct exposed {
    unsigned max, shown, folded;
    struct entry *series, *orgs;
};

static size_t make_key(const struct store_series_name *n, char ret_key[KEY_BYTES])
{
    int len = snprintf(ret_key, KEY_BYTES, "%s%c%s%c%s%c%s%c", n->org, 0, n->feature, 0,
                       n->provider, 0, n->model, 0);

    return (size_t)len < KEY_BYTES ? (size_t)len : KEY_BYTES - 1;
}

static struct entry *find(struct entry *table, const char *key, size_t len)
{
    struct entry *e;

    HASH_FIND(hh, table, key, len, e);
    return e;
}

static struct entry *add(struct entry **table, const char *key, size_t len)
{
    struct entry *e = calloc(1, sizeof(*e) + len);

    if (!e)
        return NULL;
    memcpy(e->key, key, len);
    HASH_ADD(hh, *table, key, len, e);
    return e;
}

int exposed_new(unsigned series_max, struct exposed **ret_exposed)
{
    struct exposed *e = calloc(1, sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->max = series_max;
    *ret_exposed = e;
    return 0;
}

/* All of them, or those that are folded. */
static void drop(struct entry **table, bool all)
{
    struct entry *e, *next;

    HASH_ITER(hh, *table, e, next)
    {
        if (!all && e->is_shown)
            continue;
        HASH_DEL(*table, e);
        free(e);
    }
}

void exposed_free(struct exposed **exposed)
{
    if (!*exposed)
        return;
    drop(&(*exposed)->series, true);
    drop(&(*exposed)->orgs, true);
    free(*exposed);
    *exposed = NULL;
}

void exposed_begin(struct exposed *e)
{
    drop(&e->series, false);
}

int exposed_offer(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct exposed *e = ctx;
    char key[KEY_BYTES];
    size_t len = make_key(name, key);
    struct entry *entry = find(e->series, key, len);

    if (!entry)
        entry = add(&e->series, key, len);
    if (!entry)
        return -ENOMEM;
    entry->calls += cell->sums.calls;
    return 0;
}

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;

    if (a->is_shown != b->is_shown)
        return a->is_shown ? -1 : 1;
    if (a->calls != b->calls)
        return a->calls > b->calls ? -1 : 1;
    /* Any order will do that is the same the next time. */
    if (a->hh.keylen != b->hh.keylen)
        return a->hh.keylen < b->hh.keylen ? -1 : 1;
    return memcmp(a->key, b->key, a->hh.keylen);
}

void exposed_settle(struct exposed *e)
{
    struct entry *entry, *next;

    HASH_SORT(e->series, compare_entries);
    e->folded = 0;
    HASH_ITER(hh, e->series, entry, next)
    {
        if (!entry->is_shown && e->shown == e->max) {
            e->folded++;
            continue;
        }
        e->shown += !entry->is_shown;
        entry->is_shown = true;
        entry->calls = 0;
        /* Without memory for it the organisation is "(other)", too. */
        if (!find(e->orgs, entry->key, strlen(entry->key)))
            add(&e->orgs, entry->key, strlen(entry->key));
    }
}

struct store_series_name exposed_name(const struct exposed *e, const struct store_series_name *name)
{
    struct store_series_name told = *name;
    char key[KEY_BYTES];
    const struct entry *entry = find(e->series, key, make_key(name, key));

    if (entry && entry->is_shown)
        return told;
    if (!find(e->orgs, name->org, strlen(name->org)))
        told.org = EXPOSED_OTHER;
    told.feature = told.provider = told.model = EXPOSED_OTHER;
    return told;
}

unsigned exposed_shown(const struct exposed *e)
{
    return e->shown;
}

bool exposed_is_full(const struct exposed *e)
{
    return e->shown == e->max;
}

unsigned exposed_folded(const struct exposed *e)
{
    return e->folded;
}
