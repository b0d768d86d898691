/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/sightings.h"

#include "collector/text.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

#define SETS_BATCH_MAX 4096
#define FIRST_CAPACITY 1024
/* Combinations of names that held nothing new. */
#define COMBINATIONS 8192

/* Hashes in open addressing; 0 is an empty place. */
struct set {
    uint64_t *places;
    uint32_t capacity, count;
};

struct counter {
    UT_hash_handle hh;
    uint64_t key; /* of organisation and dimension */
    uint32_t values;
};

struct news {
    UT_hash_handle hh;
    uint64_t hash, counter;
    struct sighting sighting;
};

struct sightings {
    uint64_t seed;
    struct set known;
    struct counter *counters;
    struct news *news;
    uint64_t combinations[COMBINATIONS];
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    __uint128_t product = (__uint128_t)(h ^ v) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    size_t len = strlen(text), i = 0;
    uint64_t word;

    for (; i + 8 <= len; i += 8) {
        memcpy(&word, text + i, 8);
        h = mix(h, word);
    }
    word = 0;
    memcpy(&word, text + i, len - i);
    return mix(mix(h, word), len + UINT64_C(0x632be59bd9b4e019));
}

static uint64_t nonzero(uint64_t h)
{
    return h ? h : 1;
}

static bool set_has(const struct set *set, uint64_t hash)
{
    for (uint64_t i = hash; set->capacity; i++) {
        uint64_t place = set->places[i & (set->capacity - 1)];

        if (place == hash)
            return true;
        if (place == 0)
            return false;
    }
    return false;
}

static void set_put(struct set *set, uint64_t hash)
{
    uint64_t i = hash;

    while (set->places[i & (set->capacity - 1)])
        i++;
    set->places[i & (set->capacity - 1)] = hash;
    set->count++;
}

/* Room for `more` further ones, so that adding them cannot fail. */
static int set_reserve(struct set *set, uint32_t more)
{
    uint32_t capacity = set->capacity ? set->capacity : FIRST_CAPACITY;
    struct set grown = {0};

    while ((uint64_t)(set->count + more) * 2 > capacity)
        capacity *= 2;
    if (capacity == set->capacity)
        return 0;
    grown.places = calloc(capacity, sizeof(*grown.places));
    if (!grown.places)
        return -ENOMEM;
    grown.capacity = capacity;
    for (uint32_t i = 0; i < set->capacity; i++)
        if (set->places[i])
            set_put(&grown, set->places[i]);
    free(set->places);
    *set = grown;
    return 0;
}

int sightings_new(uint64_t seed, struct sightings **ret_sightings)
{
    struct sightings *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->seed = seed;
    *ret_sightings = s;
    return 0;
}

void sightings_begin(struct sightings *s)
{
    struct news *n, *next;

    HASH_ITER(hh, s->news, n, next)
    {
        HASH_DEL(s->news, n);
        free(n);
    }
}

void sightings_free(struct sightings **sightings)
{
    struct counter *c, *next;

    if (!*sightings)
        return;
    sightings_begin(*sightings);
    HASH_ITER(hh, (*sightings)->counters, c, next)
    {
        HASH_DEL((*sightings)->counters, c);
        free(c);
    }
    free((*sightings)->known.places);
    free(*sightings);
    *sightings = NULL;
}

static uint64_t counter_key(const struct sightings *s, const char *org,
                            enum alerting_dimension dimension)
{
    return hash_text(mix(s->seed, (uint64_t)dimension + 1), org);
}

static struct counter *find_counter(const struct sightings *s, uint64_t key)
{
    struct counter *c;

    HASH_FIND(hh, s->counters, &key, sizeof(key), c);
    return c;
}

/* -ENOSPC: the organisation, or all of them, have enough of it. */
static int count_value(struct sightings *s, uint64_t key, struct counter **ret_counter)
{
    struct counter *c = find_counter(s, key);

    if (s->known.count >= SIGHTINGS_MAX || (c && c->values >= SIGHTINGS_VALUES_MAX))
        return -ENOSPC;
    if (!c) {
        c = calloc(1, sizeof(*c));
        if (!c)
            return -ENOMEM;
        c->key = key;
        HASH_ADD(hh, s->counters, key, sizeof(c->key), c);
    }
    *ret_counter = c;
    return 0;
}

int sightings_learn(struct sightings *s, const char *org, enum alerting_dimension dimension,
                    const char *value)
{
    uint64_t key = counter_key(s, org, dimension);
    uint64_t hash = nonzero(hash_text(key, value));
    struct counter *c = NULL;
    int r;

    if (set_has(&s->known, hash))
        return 0;
    r = count_value(s, key, &c);
    if (r < 0)
        return r == -ENOSPC ? 0 : r;
    r = set_reserve(&s->known, 1);
    if (r < 0)
        return r;
    c->values++;
    set_put(&s->known, hash);
    return 0;
}

static int note(struct sightings *s, const struct record *call, enum alerting_dimension dimension,
                const char *value)
{
    uint64_t key = counter_key(s, call->org, dimension);
    uint64_t hash = nonzero(hash_text(key, value));
    struct counter *c = NULL;
    struct news *n;
    int r;

    if (!value[0] || strcmp(value, "(other)") == 0 || set_has(&s->known, hash))
        return 0;
    HASH_FIND(hh, s->news, &hash, sizeof(hash), n);
    if (n || HASH_COUNT(s->news) >= SETS_BATCH_MAX)
        return 0;
    r = count_value(s, key, &c);
    if (r < 0)
        return r == -ENOSPC ? 0 : r;
    n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->hash = hash;
    n->counter = key;
    n->sighting.dimension = dimension;
    n->sighting.first_s = (int64_t)(call->end_ns / NSEC_PER_SEC);
    text_copy(n->sighting.org, sizeof(n->sighting.org), call->org);
    text_copy(n->sighting.value, sizeof(n->sighting.value), value);
    text_copy(n->sighting.feature, sizeof(n->sighting.feature), call->feature);
    text_copy(n->sighting.provider, sizeof(n->sighting.provider), call->provider);
    text_copy(n->sighting.model, sizeof(n->sighting.model), call->model);
    HASH_ADD(hh, s->news, hash, sizeof(n->hash), n);
    return 0;
}

int sightings_take(struct sightings *s, const struct record *call)
{
    const char *const values[ALERTING_DIM__COUNT] = {
        [ALERTING_DIM_MODEL] = call->model,         [ALERTING_DIM_PROVIDER] = call->provider,
        [ALERTING_DIM_KEY] = call->key_fingerprint, [ALERTING_DIM_FEATURE] = call->feature,
        [ALERTING_DIM_REGION] = call->region,
    };
    uint64_t all = hash_text(s->seed, call->org), *place;
    int r = 0;

    /* Nearly every call is one like those before. */
    for (int d = 0; d < ALERTING_DIM__COUNT; d++)
        all = hash_text(all, values[d]);
    place = &s->combinations[all % COMBINATIONS];
    if (*place == all)
        return 0;
    for (int d = 0; d < ALERTING_DIM__COUNT && r == 0; d++)
        r = note(s, call, (enum alerting_dimension)d, values[d]);
    if (r == 0 && HASH_COUNT(s->news) == 0)
        *place = all;
    return r < 0 ? r : set_reserve(&s->known, HASH_COUNT(s->news));
}

int sightings_each(const struct sightings *s,
                   int (*each)(void *ctx, const struct sighting *sighting), void *ctx)
{
    for (const struct news *n = s->news; n; n = n->hh.next) {
        int r = each(ctx, &n->sighting);

        if (r < 0)
            return r;
    }
    return 0;
}

void sightings_commit(struct sightings *s)
{
    for (const struct news *n = s->news; n; n = n->hh.next) {
        struct counter *c = find_counter(s, n->counter);

        set_put(&s->known, n->hash);
        if (c)
            c->values++;
    }
    sightings_begin(s);
}
