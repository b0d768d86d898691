/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/aside.h"

#include "collector/hash.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define MINUTE_NS (60 * NSEC_PER_SEC)
#define KEY_BYTES_MAX (3 * sizeof(uint64_t) + 64 + 64 + 160 + 160)

struct entry {
    unsigned lane;
    uint64_t calls;
    struct record rec;
    UT_hash_handle hh;
    uint8_t key[];
};

struct aside {
    struct entry *entries;
};

int aside_new(struct aside **ret_aside)
{
    struct aside *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    *ret_aside = a;
    return 0;
}

void aside_reset(struct aside *a)
{
    struct entry *e, *next;

    HASH_ITER(hh, a->entries, e, next)
    {
        HASH_DEL(a->entries, e);
        free(e);
    }
}

void aside_free(struct aside **aside)
{
    if (!*aside)
        return;
    aside_reset(*aside);
    free(*aside);
    *aside = NULL;
}

static size_t put(uint8_t *key, size_t len, const void *bytes, size_t count)
{
    memcpy(key + len, bytes, count);
    return len + count;
}

static size_t put_text(uint8_t *key, size_t len, const char *text)
{
    return put(key, len, text, strlen(text) + 1);
}

static size_t key_of(unsigned lane, const struct record *rec, uint8_t ret_key[KEY_BYTES_MAX])
{
    const uint64_t numbers[] = {lane, rec->kind, rec->end_ns / MINUTE_NS};
    const bool is_call = rec->kind == RECORD_CALL;
    size_t len = put(ret_key, 0, numbers, sizeof(numbers));

    len = put_text(ret_key, len, rec->org);
    len = put_text(ret_key, len, rec->provider);
    len = put_text(ret_key, len, is_call ? rec->model_billed : rec->workload);
    return put_text(ret_key, len, is_call ? rec->cost_basis : rec->reason);
}

static void add_sums(struct record *into, const struct record *rec)
{
    into->connections += rec->connections;
    into->calls_in_flight += rec->calls_in_flight;
    into->events_lost += rec->events_lost;
    into->seen += rec->seen;
    into->metered += rec->metered;
}

int aside_add(struct aside *a, unsigned lane, const struct record *rec)
{
    uint8_t key[KEY_BYTES_MAX];
    size_t len = key_of(lane, rec, key);
    struct entry *e;

    HASH_FIND(hh, a->entries, key, len, e);
    if (e) {
        e->calls++;
        add_sums(&e->rec, rec);
        return 0;
    }
    e = malloc(sizeof(*e) + len);
    if (!e)
        return -ENOMEM;
    memset(&e->hh, 0, sizeof(e->hh));
    memcpy(e->key, key, len);
    e->lane = lane;
    e->calls = 1;
    e->rec = *rec;
    HASH_ADD_KEYPTR(hh, a->entries, e->key, len, e);
    return 0;
}

int aside_each(const struct aside *a,
               int (*each)(void *ctx, unsigned lane, const struct record *rec, uint64_t calls),
               void *ctx)
{
    for (const struct entry *e = a->entries; e; e = e->hh.next) {
        int r = each(ctx, e->lane, &e->rec, e->calls);

        if (r < 0)
            return r;
    }
    return 0;
}
