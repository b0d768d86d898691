/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/guard.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Open addressing over keyed hashes; 0 is an empty place. */
struct names {
    uint64_t *hashes;
    uint32_t count, capacity; /* capacity: 0 or a power of two */
};

struct org {
    uint64_t hash;
    uint32_t met; /* bit d: the limit of dimension d was met */
    struct names names[GUARD__COUNT];
};

struct guard {
    struct guard_settings settings;
    struct org *orgs; /* by hash; "(other)" is always one of them */
    uint32_t orgs_count, orgs_capacity;
    uint64_t other_hash;
    uint32_t series_count;
    uint64_t folded[GUARD__COUNT];
};

static const struct dimension {
    const char *name;
    size_t offset, size; /* in the record; size 0: none of its own */
} dimensions[GUARD__COUNT] = {
#define OF(field) offsetof(struct record, field), sizeof(((struct record *)NULL)->field)
    [GUARD_ORG] = {"org", OF(org)},
    [GUARD_FEATURE] = {"feature", OF(feature)},
    [GUARD_PROVIDER] = {"provider", OF(provider)},
    [GUARD_MODEL] = {"model", OF(model)},
    [GUARD_WORKLOAD] = {"workload", OF(workload)},
    [GUARD_SERIES] = {"series", 0, 0},
#undef OF
};

/* What is given up, in this order, for a combination that has no place. */
static const enum guard_dimension given_up[] = {GUARD_WORKLOAD, GUARD_MODEL, GUARD_FEATURE};

const char *guard_dimension_name(enum guard_dimension d)
{
    return dimensions[d].name;
}

/* --- sets of hashes --- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t hash_text(uint64_t seed, const char *text)
{
    size_t len = strlen(text);
    uint64_t h = mix(seed ^ len);

    for (; len >= 8; text += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, text, sizeof(word));
        h = mix(h ^ word);
    }
    for (; len; text++, len--)
        h = mix(h ^ (uint8_t)*text ^ (len << 8));
    return h ? h : 1;
}

static uint32_t place_of(const struct names *n, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (n->capacity - 1);

    while (n->hashes[i] && n->hashes[i] != hash)
        i = (i + 1) & (n->capacity - 1);
    return i;
}

static bool names_has(const struct names *n, uint64_t hash)
{
    return n->capacity && n->hashes[place_of(n, hash)] == hash;
}

static int names_grow(struct names *n)
{
    struct names bigger = {.capacity = n->capacity ? 2 * n->capacity : 16};

    bigger.hashes = calloc(bigger.capacity, sizeof(*bigger.hashes));
    if (!bigger.hashes)
        return -ENOMEM;
    for (uint32_t i = 0; i < n->capacity; i++)
        if (n->hashes[i])
            bigger.hashes[place_of(&bigger, n->hashes[i])] = n->hashes[i];
    bigger.count = n->count;
    free(n->hashes);
    *n = bigger;
    return 0;
}

/* Of a hash that is not in it. */
static int names_add(struct names *n, uint64_t hash)
{
    int r = n->count * 2 < n->capacity ? 0 : names_grow(n);

    if (r < 0)
        return r;
    n->hashes[place_of(n, hash)] = hash;
    n->count++;
    return 0;
}

/* --- organisations --- */

/* Where the organisation is, or where it would be. */
static uint32_t org_place(const struct guard *g, uint64_t hash)
{
    uint32_t from = 0, to = g->orgs_count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (g->orgs[middle].hash < hash)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct org *org_find(struct guard *g, uint64_t hash)
{
    uint32_t i = org_place(g, hash);

    return i < g->orgs_count && g->orgs[i].hash == hash ? &g->orgs[i] : NULL;
}

/* Of a hash that is not there. */
static int org_add(struct guard *g, uint64_t hash, struct org **ret_org)
{
    uint32_t i = org_place(g, hash);

    if (g->orgs_count == g->orgs_capacity) {
        uint32_t capacity = g->orgs_capacity ? 2 * g->orgs_capacity : 4;
        struct org *orgs = realloc(g->orgs, capacity * sizeof(*orgs));

        if (!orgs)
            return -ENOMEM;
        g->orgs = orgs;
        g->orgs_capacity = capacity;
    }
    memmove(&g->orgs[i + 1], &g->orgs[i], (g->orgs_count - i) * sizeof(*g->orgs));
    g->orgs_count++;
    g->orgs[i] = (struct org){.hash = hash};
    *ret_org = &g->orgs[i];
    return 0;
}

int guard_new(const struct guard_settings *settings, struct guard **ret_guard)
{
    struct guard *g = calloc(1, sizeof(*g));
    struct org *other;
    int r;

    if (!g)
        return -ENOMEM;
    g->settings = *settings;
    g->other_hash = hash_text(settings->seed, GUARD_OTHER);
    r = org_add(g, g->other_hash, &other);
    if (r == 0)
        *ret_guard = TAKE_PTR(g);
    guard_free(&g);
    return r;
}

void guard_free(struct guard **guard)
{
    struct guard *g = *guard;

    if (!g)
        return;
    for (uint32_t i = 0; i < g->orgs_count; i++)
        for (int d = 0; d < GUARD__COUNT; d++)
            free(g->orgs[i].names[d].hashes);
    free(g->orgs);
    free(g);
    *guard = NULL;
}

/* --- passing --- */

static char *field_of(struct record *rec, enum guard_dimension d)
{
    return (char *)rec + dimensions[d].offset;
}

static void fold(struct guard *g, struct org *org, struct record *rec, enum guard_dimension d,
                 uint32_t *first)
{
    const uint32_t bit = UINT32_C(1) << d;

    if (dimensions[d].size)
        memcpy(field_of(rec, d), GUARD_OTHER, sizeof(GUARD_OTHER));
    g->folded[d]++;
    *first |= bit & ~org->met;
    org->met |= bit;
}

static int pass_org(struct guard *g, struct record *rec, struct org **ret_org, uint32_t *first)
{
    uint64_t hash = hash_text(g->settings.seed, rec->org);
    struct org *org = org_find(g, hash);

    if (!org && g->orgs_count <= g->settings.limits[GUARD_ORG]) {
        int r = org_add(g, hash, &org);

        if (r < 0)
            return r;
    }
    if (!org) {
        org = org_find(g, g->other_hash);
        fold(g, org, rec, GUARD_ORG, first);
    }
    *ret_org = org;
    return 0;
}

static int pass_name(struct guard *g, struct org *org, struct record *rec, enum guard_dimension d,
                     uint32_t *first)
{
    const char *name = field_of(rec, d);
    uint64_t hash;

    if (!*name || strcmp(name, GUARD_OTHER) == 0)
        return 0;
    hash = hash_text(g->settings.seed, name);
    if (names_has(&org->names[d], hash))
        return 0;
    if (org->names[d].count < g->settings.limits[d])
        return names_add(&org->names[d], hash);
    fold(g, org, rec, d, first);
    return 0;
}

static uint64_t series_hash(const struct guard *g, const struct guard_names *n)
{
    const char *const parts[] = {n->feature, n->provider, n->model, n->workload};
    uint64_t h = g->settings.seed;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        h = hash_text(h, parts[i]);
    return h;
}

static bool has_room(const struct guard *g, const struct org *org)
{
    return org->names[GUARD_SERIES].count < g->settings.limits[GUARD_SERIES] &&
           g->series_count < g->settings.series_all;
}

static int add_series(struct guard *g, struct org *org, uint64_t hash)
{
    int r = names_add(&org->names[GUARD_SERIES], hash);

    g->series_count += r == 0;
    return r;
}

/* A combination without a place gives up one dimension after the other; the last one that is
 * left, the provider alone, is always let in. */
static int pass_series(struct guard *g, struct org *org, struct record *rec, uint32_t *first)
{
    const size_t steps = sizeof(given_up) / sizeof(given_up[0]);
    bool has_folded = false;

    for (size_t i = 0;; i++) {
        const struct guard_names n = {rec->org, rec->feature, rec->provider, rec->model,
                                      rec->workload};
        uint64_t hash = series_hash(g, &n);

        if (names_has(&org->names[GUARD_SERIES], hash))
            return 0;
        if (i == steps || has_room(g, org))
            return add_series(g, org, hash);
        if (!has_folded)
            fold(g, org, rec, GUARD_SERIES, first);
        has_folded = true;
        fold(g, org, rec, given_up[i], first);
    }
}

int guard_pass(struct guard *g, struct record *rec, uint32_t *ret_first)
{
    uint32_t first = 0;
    struct org *org;
    int r = pass_org(g, rec, &org, &first);

    for (int d = GUARD_FEATURE; d <= GUARD_WORKLOAD && r == 0; d++)
        r = pass_name(g, org, rec, (enum guard_dimension)d, &first);
    if (r == 0 && rec->kind == RECORD_CALL)
        r = pass_series(g, org, rec, &first);
    if (r == 0)
        *ret_first = first;
    return r;
}

int guard_learn(struct guard *g, const struct guard_names *n)
{
    const char *const names[] = {[GUARD_FEATURE] = n->feature,
                                 [GUARD_PROVIDER] = n->provider,
                                 [GUARD_MODEL] = n->model,
                                 [GUARD_WORKLOAD] = n->workload};
    uint64_t hash = hash_text(g->settings.seed, n->org);
    struct org *org = org_find(g, hash);
    int r = org ? 0 : org_add(g, hash, &org);

    for (int d = GUARD_FEATURE; d <= GUARD_WORKLOAD && r == 0; d++) {
        if (!names[d] || !*names[d] || strcmp(names[d], GUARD_OTHER) == 0)
            continue;
        hash = hash_text(g->settings.seed, names[d]);
        if (!names_has(&org->names[d], hash))
            r = names_add(&org->names[d], hash);
    }
    if (r < 0 || !n->feature || !n->model)
        return r;
    hash = series_hash(g, n);
    if (!names_has(&org->names[GUARD_SERIES], hash))
        r = add_series(g, org, hash);
    return r;
}

void guard_take_counts(struct guard *g, const struct guard *from)
{
    memcpy(g->folded, from->folded, sizeof(g->folded));
}

void guard_get_stats(const struct guard *g, enum guard_dimension d, struct guard_stats *ret_stats)
{
    struct guard_stats s = {.limit = g->settings.limits[d], .folded = g->folded[d]};

    if (d == GUARD_ORG) {
        s.names = g->orgs_count - 1;
        s.full = s.names >= s.limit;
    } else {
        for (uint32_t i = 0; i < g->orgs_count; i++) {
            const struct names *n = &g->orgs[i].names[d];

            s.names = n->count > s.names ? n->count : s.names;
            s.full += n->count >= s.limit;
        }
    }
    *ret_stats = s;
}
