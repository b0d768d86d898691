/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/refuse.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define WAYS 8
#define SETS (REFUSE_MAX / WAYS)

struct refusal {
    uint64_t cgroup_id, fingerprint, host_hash; /* host_hash 0: free */
    uint64_t until_ms;
};

struct refuse {
    unsigned count;
    struct refusal entries[REFUSE_MAX];
};

int refuse_new(struct refuse **ret_refuse)
{
    struct refuse *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    *ret_refuse = r;
    return 0;
}

void refuse_free(struct refuse **refuse)
{
    free(*refuse);
    *refuse = NULL;
}

static uint64_t hash_host(const char *host)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (; *host; host++)
        h = (h ^ (uint8_t)*host) * 0x100000001b3ULL;
    return h | 1;
}

static struct refusal *set_of(struct refuse *r, const struct refuse_key *key, uint64_t host_hash)
{
    uint64_t h = (key->cgroup_id ^ (key->fingerprint << 7) ^ host_hash) * 0x9e3779b97f4a7c15ULL;

    return &r->entries[(h >> 40) % SETS * WAYS];
}

static struct refusal *find(struct refuse *r, const struct refuse_key *key)
{
    uint64_t host_hash = hash_host(key->host);
    struct refusal *set = set_of(r, key, host_hash);

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].host_hash == host_hash && set[i].cgroup_id == key->cgroup_id &&
            set[i].fingerprint == key->fingerprint)
            return &set[i];
    }
    return NULL;
}

enum refuse_answer refuse_ask(struct refuse *r, const struct refuse_key *key, uint64_t now_ms)
{
    struct refusal *e = find(r, key);

    if (!e)
        return REFUSE_NO;
    if (now_ms < e->until_ms)
        return REFUSE_SPLICE;
    e->until_ms = now_ms + REFUSE_PROBE_MS;
    return REFUSE_PROBE;
}

void refuse_add(struct refuse *r, const struct refuse_key *key, uint64_t now_ms)
{
    struct refusal *e = find(r, key);

    if (!e) {
        struct refusal *set = set_of(r, key, hash_host(key->host));

        e = &set[0];
        for (unsigned i = 1; i < WAYS && e->host_hash != 0; i++) {
            if (set[i].host_hash == 0 || set[i].until_ms < e->until_ms)
                e = &set[i];
        }
        if (e->host_hash == 0)
            r->count++;
        *e = (struct refusal){
            .cgroup_id = key->cgroup_id,
            .fingerprint = key->fingerprint,
            .host_hash = hash_host(key->host),
        };
    }
    e->until_ms = now_ms + REFUSE_MS;
}

void refuse_forget(struct refuse *r, const struct refuse_key *key)
{
    struct refusal *e = find(r, key);

    if (!e)
        return;
    *e = (struct refusal){0};
    r->count--;
}

unsigned refuse_count(const struct refuse *r)
{
    return r->count;
}
