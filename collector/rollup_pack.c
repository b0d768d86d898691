/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/rollup_pack.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SKETCHES 3

struct packed_sketch {
    Lectr__V1__Rollup__Sketch message;
    uint32_t bucket[SKETCH_BUCKETS];
    uint64_t bucket_count[SKETCH_BUCKETS];
};

struct packed_usage {
    Lectr__V1__Rollup__Usage message;
    char name[TALLY_NAME_BYTES_MAX + 1]; /* its words, each ended */
};

struct rollup_packer {
    Lectr__V1__Rollup message;
    struct packed_sketch sketches[SKETCHES];
    struct packed_usage usage[TALLY_NAMES_MAX];
    Lectr__V1__Rollup__Usage *usage_list[TALLY_NAMES_MAX];
    Lectr__V1__Rollup__ErrorType errors[TALLY_NAMES_MAX];
    Lectr__V1__Rollup__ErrorType *error_list[TALLY_NAMES_MAX];
    Lectr__V1__Rollup__Coverage coverage;
    Lectr__V1__Rollup__Coverage__Gap gaps[ROLLUP_PACK_REASONS_MAX];
    Lectr__V1__Rollup__Coverage__Gap *gap_list[ROLLUP_PACK_REASONS_MAX];
    char id[EVENT_UUID_BYTES];
    uint8_t packed[EVENT_MAX_BYTES];
};

#define SET(message, field, value) ((message)->has_##field = true, (message)->field = (value))

int rollup_packer_new(struct rollup_packer **ret_packer)
{
    struct rollup_packer *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    *ret_packer = p;
    return 0;
}

void rollup_packer_free(struct rollup_packer **packer)
{
    free(*packer);
    *packer = NULL;
}

static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text; /* packed only, never freed or written */
}

/* By names, not by the store's numbers: another store gives the same id. */
static int make_id(const struct rollup_pack_key *key, char ret_id[EVENT_UUID_BYTES])
{
    const char *const names[] = {key->org, key->feature, key->provider, key->model, key->workload};
    struct buf b;
    int r;

    buf_init(&b, 4096);
    r = buf_printf(&b, "rollup %u %lld", key->seconds, (long long)key->bucket);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && r == 0; i++)
        r = names[i] ? buf_printf(&b, " %zu:%s", strlen(names[i]), names[i])
                     : buf_append_str(&b, " -");
    if (r == 0)
        event_uuid_named(buf_slice(&b), ret_id);
    buf_fini(&b);
    return r;
}

static int begin(struct rollup_packer *p, const struct rollup_pack_key *key, uint64_t revision)
{
    Lectr__V1__Rollup *m = &p->message;

    lectr__v1__rollup__init(m);
    m->id = p->id;
    m->org = borrow(key->org);
    m->feature = borrow(key->feature);
    m->provider = borrow(key->provider);
    m->model = borrow(key->model);
    m->workload = borrow(key->workload);
    SET(m, bucket_start_unix_nano, (uint64_t)key->bucket * NSEC_PER_SEC);
    SET(m, window_seconds, key->seconds);
    SET(m, revision, revision);
    return make_id(key, p->id);
}

static int finish(struct rollup_packer *p, struct slice *ret_packed, char ret_id[EVENT_UUID_BYTES])
{
    size_t bytes = 0;
    int r = event_pack(&p->message.base, p->packed, sizeof(p->packed), &bytes);

    if (r < 0)
        return r;
    *ret_packed = slice_of(p->packed, bytes);
    memcpy(ret_id, p->id, EVENT_UUID_BYTES);
    return 0;
}

/* Absent is unknown: a sum of nothing that is known is not zero. */
static void set_sums(Lectr__V1__Rollup *m, const struct rollup_sums *s)
{
    SET(m, calls, s->calls);
    SET(m, errors, s->errors);
    SET(m, calls_synthetic, s->synthetic);
    SET(m, calls_retried, s->retries);
    SET(m, calls_input_unknown, s->input_unknown);
    SET(m, calls_output_unknown, s->output_unknown);
    SET(m, calls_tokens_unknown,
        s->input_unknown > s->output_unknown ? s->input_unknown : s->output_unknown);
    SET(m, calls_tokens_estimated, s->tokens_estimated);
    SET(m, calls_cost_unknown, s->cost_unknown);
    if (s->input_unknown < s->calls) {
        SET(m, input_tokens, s->input_total);
        SET(m, cached_input_tokens, s->cached_input);
    }
    if (s->output_unknown < s->calls)
        SET(m, output_tokens, s->output_total);
    if (s->cost_unknown < s->calls) {
        SET(m, cost_low_nanousd, s->cost_low_nanousd);
        SET(m, cost_expected_nanousd, s->cost_expected_nanousd);
        SET(m, cost_high_nanousd, s->cost_high_nanousd);
    }
}

static Lectr__V1__Source source_of(const char *name)
{
    static const char *const names[] = {
        [LECTR__V1__SOURCE__SOURCE_UNKNOWN] = "unknown",
        [LECTR__V1__SOURCE__SOURCE_REPORTED] = "reported",
        [LECTR__V1__SOURCE__SOURCE_MEASURED] = "measured",
        [LECTR__V1__SOURCE__SOURCE_ESTIMATED] = "estimated",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return (Lectr__V1__Source)i;
    return LECTR__V1__SOURCE__SOURCE_UNKNOWN;
}

/* kind[.modality]/unit/source; what is not of this form is a kind. */
static void set_usage(struct packed_usage *u, const struct tally_item *item)
{
    char *unit, *source, *modality;

    lectr__v1__rollup__usage__init(&u->message);
    snprintf(u->name, sizeof(u->name), "%s", item->name);
    u->message.kind = u->name;
    SET(&u->message, count, item->count);
    SET(&u->message, source, LECTR__V1__SOURCE__SOURCE_UNKNOWN);
    unit = strchr(u->name, '/');
    source = unit ? strchr(unit + 1, '/') : NULL;
    if (!source)
        return;
    *unit++ = '\0';
    *source++ = '\0';
    u->message.source = source_of(source);
    if (strcmp(unit, "token") != 0)
        u->message.unit = unit;
    modality = strchr(u->name, '.');
    if (modality) {
        *modality++ = '\0';
        u->message.modality = modality;
    }
}

static void set_tallies(struct rollup_packer *p, const struct rollup_cell *cell)
{
    Lectr__V1__Rollup *m = &p->message;

    for (uint32_t i = 0; i < cell->usage.count && i < TALLY_NAMES_MAX; i++) {
        set_usage(&p->usage[i], &cell->usage.items[i]);
        p->usage_list[m->n_usage++] = &p->usage[i].message;
    }
    m->usage = p->usage_list;
    for (uint32_t i = 0; i < cell->error_types.count && i < TALLY_NAMES_MAX; i++) {
        Lectr__V1__Rollup__ErrorType *e = &p->errors[i];

        lectr__v1__rollup__error_type__init(e);
        e->type = borrow(cell->error_types.items[i].name);
        SET(e, calls, cell->error_types.items[i].count);
        p->error_list[m->n_error_types++] = e;
    }
    m->error_types = p->error_list;
}

static Lectr__V1__Rollup__Sketch *pack_sketch(struct packed_sketch *p, const struct sketch *s)
{
    Lectr__V1__Rollup__Sketch *m = &p->message;
    struct sketch_walk w = {0};

    if (s->count == 0)
        return NULL;
    lectr__v1__rollup__sketch__init(m);
    SET(m, relative_error, SKETCH_RELATIVE_ERROR);
    SET(m, bucket_last, SKETCH_BUCKETS - 1);
    SET(m, count, s->count);
    SET(m, sum, s->sum);
    while (sketch_walk(s, &w)) {
        p->bucket[m->n_bucket++] = w.bucket;
        p->bucket_count[m->n_bucket_count++] = w.calls;
    }
    m->bucket = p->bucket;
    m->bucket_count = p->bucket_count;
    return m;
}

int rollup_pack_cell(struct rollup_packer *p, const struct rollup_pack_key *key, uint64_t revision,
                     const struct rollup_cell *cell, struct slice *ret_packed,
                     char ret_id[EVENT_UUID_BYTES])
{
    int r = begin(p, key, revision);

    if (r < 0)
        return r;
    set_sums(&p->message, &cell->sums);
    set_tallies(p, cell);
    p->message.latency_us = pack_sketch(&p->sketches[0], &cell->latency);
    p->message.first_token_us = pack_sketch(&p->sketches[1], &cell->ttft);
    p->message.added_us = pack_sketch(&p->sketches[2], &cell->added);
    return finish(p, ret_packed, ret_id);
}

int rollup_pack_coverage(struct rollup_packer *p, const struct rollup_pack_key *key,
                         uint64_t revision, const struct rollup_pack_coverage *c,
                         struct slice *ret_packed, char ret_id[EVENT_UUID_BYTES])
{
    int r = begin(p, key, revision);

    if (r < 0)
        return r;
    lectr__v1__rollup__coverage__init(&p->coverage);
    if (c->is_seen) {
        SET(&p->coverage, seen_connections, c->seen);
        SET(&p->coverage, metered_connections, c->metered);
    }
    for (uint32_t i = 0; i < c->gaps_count; i++) {
        Lectr__V1__Rollup__Coverage__Gap *g = &p->gaps[i];

        lectr__v1__rollup__coverage__gap__init(g);
        g->reason = borrow(c->gaps[i].reason);
        SET(g, connections, c->gaps[i].connections);
        SET(g, calls_in_flight, c->gaps[i].calls_in_flight);
        SET(g, events_lost, c->gaps[i].events_lost);
        p->gap_list[p->coverage.n_gaps++] = g;
    }
    p->coverage.gaps = p->gap_list;
    p->message.coverage = &p->coverage;
    return finish(p, ret_packed, ret_id);
}

void rollup_pack_add_gap(struct rollup_pack_coverage *c, const char *reason, uint64_t connections,
                         uint64_t calls_in_flight, uint64_t events_lost)
{
    struct rollup_pack_gap *g = NULL;

    for (uint32_t i = 0; i < c->gaps_count && !g; i++)
        if (strcmp(c->gaps[i].reason, reason) == 0)
            g = &c->gaps[i];
    if (!g && c->gaps_count == ROLLUP_PACK_REASONS_MAX)
        g = &c->gaps[ROLLUP_PACK_REASONS_MAX - 1];
    if (!g) {
        g = &c->gaps[c->gaps_count++];
        /* The last place is for what has none. */
        snprintf(g->reason, sizeof(g->reason), "%s",
                 c->gaps_count == ROLLUP_PACK_REASONS_MAX ? "other" : reason);
    }
    g->connections += connections;
    g->calls_in_flight += calls_in_flight;
    g->events_lost += events_lost;
}

uint64_t rollup_pack_coverage_revision(const struct rollup_pack_coverage *c)
{
    uint64_t sum = 1 + c->seen + c->metered;

    for (uint32_t i = 0; i < c->gaps_count; i++)
        sum += c->gaps[i].connections + c->gaps[i].calls_in_flight + c->gaps[i].events_lost;
    return sum;
}
