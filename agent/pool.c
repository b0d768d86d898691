/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pool.h"

#include <errno.h>

struct shelf {
    uint64_t netns_cookie;
    int family;
    unsigned count, target, ordered;
    uint64_t ordered_ms;
    bool ran_empty; /* since the last look of pool_tend() */
    struct shelf *next;
    int fds[POOL_SOCKETS_MAX];
};

#define BUCKETS 256

struct pool {
    unsigned target, sockets_max;
    unsigned ordered; /* of all shelves */
    uint64_t tended_ms;
    struct shelf *buckets[BUCKETS];
    struct pool_stats stats;
};

int pool_new(unsigned target, unsigned sockets_max, struct pool **ret_pool)
{
    struct pool *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->target = target < 1 ? 1 : target > POOL_SOCKETS_MAX ? POOL_SOCKETS_MAX : target;
    p->sockets_max = sockets_max;
    *ret_pool = p;
    return 0;
}

static struct shelf **bucket(struct pool *p, uint64_t netns_cookie)
{
    return &p->buckets[(netns_cookie * 0x9e3779b97f4a7c15ULL) >> 56];
}

static struct shelf *find(struct pool *p, uint64_t netns_cookie, int family)
{
    struct shelf *s = *bucket(p, netns_cookie);

    while (s && (s->netns_cookie != netns_cookie || s->family != family))
        s = s->next;
    return s;
}

static struct shelf *find_or_make(struct pool *p, uint64_t netns_cookie, int family)
{
    struct shelf *s = find(p, netns_cookie, family), **head = bucket(p, netns_cookie);

    if (s || p->stats.keys >= POOL_KEYS_MAX)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->netns_cookie = netns_cookie;
    s->family = family;
    s->target = p->target;
    s->next = *head;
    *head = s;
    p->stats.keys++;
    return s;
}

static void shelf_free(struct pool *p, struct shelf *s)
{
    while (s->count > 0)
        close(s->fds[--s->count]), p->stats.sockets--;
    p->ordered -= s->ordered;
    p->stats.keys--;
    free(s);
}

void pool_free(struct pool **pool)
{
    struct pool *p = *pool;

    *pool = NULL;
    if (!p)
        return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (p->buckets[i]) {
            struct shelf *s = p->buckets[i];

            p->buckets[i] = s->next;
            shelf_free(p, s);
        }
    }
    free(p);
}

int pool_put(struct pool *p, uint64_t netns_cookie, int family, int fd)
{
    struct shelf *s = find_or_make(p, netns_cookie, family);

    bool asked_for = s && s->ordered > 0;

    if (asked_for)
        s->ordered--, p->ordered--;
    if (!s || s->count >= POOL_SOCKETS_MAX || (!asked_for && p->stats.sockets >= p->sockets_max)) {
        close(fd);
        return s ? -ENOSPC : -ENOMEM;
    }
    s->fds[s->count++] = fd;
    p->stats.sockets++;
    return 0;
}

int pool_take(struct pool *p, uint64_t netns_cookie, int family)
{
    struct shelf *s = find(p, netns_cookie, family);

    if (!s || s->count == 0) {
        p->stats.empty++;
        if (s)
            s->ran_empty = true;
        if (s && s->target < POOL_SOCKETS_MAX)
            s->target = s->target * 2 > POOL_SOCKETS_MAX ? POOL_SOCKETS_MAX : s->target * 2;
        return -EAGAIN;
    }
    p->stats.taken++;
    p->stats.sockets--;
    return s->fds[--s->count];
}

unsigned pool_order(struct pool *p, uint64_t netns_cookie, int family, unsigned waiting,
                    uint64_t now_ms)
{
    struct shelf *s = find_or_make(p, netns_cookie, family);
    unsigned want, have, room;

    if (!s)
        return 0;
    if (s->ordered > 0 && now_ms - s->ordered_ms >= POOL_ORDER_MS)
        p->ordered -= s->ordered, s->ordered = 0;
    want = s->target + waiting;
    if (want > POOL_SOCKETS_MAX)
        want = POOL_SOCKETS_MAX;
    have = s->count + s->ordered;
    /* Orders are made in lots, but nobody is let wait. */
    if (have >= want || (waiting == 0 && have > want / 2))
        return 0;
    want -= have;
    have = p->stats.sockets + p->ordered;
    room = p->sockets_max > have ? p->sockets_max - have : 0;
    /* Beyond the limit only what is used at once. */
    if (want > room)
        want = room > waiting ? room : waiting < want ? waiting : want;
    if (want == 0)
        return 0;
    s->ordered += want;
    p->ordered += want;
    s->ordered_ms = now_ms;
    return want;
}

static void decay(struct pool *p, struct shelf *s)
{
    bool needed = s->ran_empty;

    s->ran_empty = false;
    if (needed || s->target <= p->target)
        return;
    s->target = s->target / 2 > p->target ? s->target / 2 : p->target;
    while (s->count > s->target)
        close(s->fds[--s->count]), p->stats.sockets--;
}

void pool_tend(struct pool *p, uint64_t now_ms)
{
    if (now_ms - p->tended_ms < POOL_DECAY_MS)
        return;
    p->tended_ms = now_ms;
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct shelf *s = p->buckets[i]; s; s = s->next)
            decay(p, s);
    }
}

void pool_drop(struct pool *p, uint64_t netns_cookie)
{
    struct shelf **at = bucket(p, netns_cookie);

    while (*at) {
        struct shelf *s = *at;

        if (s->netns_cookie != netns_cookie) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        shelf_free(p, s);
    }
}

void pool_stats(const struct pool *p, struct pool_stats *ret_stats)
{
    *ret_stats = p->stats;
}
