/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/intake.h"

#include "collector/aside.h"
#include "collector/cells.h"
#include "collector/hash.h"
#include "collector/ingest.h"
#include "collector/seqs.h"
#include "collector/series.h"
#include "collector/sightings.h"
#include "collector/store_lane.h"
#include "collector/store_rules.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define SEQS_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define CELLS_BYTES_MAX ((size_t)192 * 1024 * 1024)
#define DAY_S INT64_C(86400)
#define SERIES_NAMES_MAX 200000
/* Minutes up to so old are read when a lane is taken. */
#define AHEAD_S 600
/* Others wait for the lanes: beyond this time cells are read one by one. */
#define AHEAD_NS NSEC_PER_SEC

/* Messages that cannot be used; their content is borrowed from the batch. */
struct malformed {
    struct intake_message message;
    const char *reason;
};

/* What a batch has of one lane. */
struct lane {
    bool has_batch;
    uint64_t watermark_ns; /* as stored */
    uint64_t latest_ns;    /* of the batch */
    uint64_t duplicates;
    struct rollup *rollup;
    struct call_block *blocks;
    unsigned blocks_count, blocks_capacity;
};

struct intake {
    const struct config *config;
    struct store *store;
    struct event_arena arena;
    struct guard *guard;
    uint64_t guard_ns; /* when it was made */
    struct series *series;
    struct seqs *seqs;
    struct cells *cells;
    struct aside *aside;
    struct sightings *sightings;
    struct seqs_store seqs_store;
    struct cells_store cells_store;
    struct lane lanes[INTAKE_LANES];
    struct malformed *malformed;
    unsigned malformed_count, malformed_capacity;
    uint64_t keep_from_ns; /* calls that ended before are not kept */
    uint64_t wall_ns;      /* when the batch began */
    uint64_t ahead_ns;     /* time that is left for reading ahead */
    struct intake_counts counts;
    struct record rec; /* the message's under way */
};

/* --- between the caches and the store --- */

struct interval_reader {
    int (*each)(void *each_ctx, uint64_t lo, uint64_t hi);
    void *ctx;
};

static int on_interval(void *ctx, const struct store_interval *interval)
{
    const struct interval_reader *reader = ctx;

    return reader->each(reader->ctx, interval->lo, interval->hi);
}

static int load_seqs(void *ctx, const char *instance, uint32_t part,
                     int (*each)(void *each_ctx, uint64_t lo, uint64_t hi), void *each_ctx)
{
    struct intake *in = ctx;
    struct interval_reader reader = {.each = each, .ctx = each_ctx};

    return store_each_interval_of(in->store, instance, part, on_interval, &reader);
}

static int put_seqs(void *ctx, const char *instance, uint32_t part, uint64_t lo, uint64_t hi)
{
    struct intake *in = ctx;

    return store_put_interval(
        in->store,
        &(struct store_interval){.instance = instance, .part = part, .lo = lo, .hi = hi});
}

static int drop_seqs(void *ctx, const char *instance, uint32_t part, uint64_t lo)
{
    struct intake *in = ctx;

    return store_delete_interval(in->store, instance, part, lo);
}

static int has_seq(void *ctx, const char *instance, uint32_t part, uint64_t seq, bool *ret_has)
{
    struct intake *in = ctx;

    return store_has_seq(in->store, instance, part, seq, ret_has);
}

static int claim_seq(void *ctx, const char *instance, uint32_t part, uint64_t seq)
{
    struct intake *in = ctx;
    bool is_new = false;

    return store_claim(in->store, instance, part, seq, &is_new);
}

static int load_cell(void *ctx, unsigned lane, struct rollup_cell *cell, int64_t *ret_revision)
{
    struct intake *in = ctx;

    return store_load_cell(in->store, lane, cell, ret_revision);
}

static int put_cell(void *ctx, unsigned lane, const struct rollup_cell *cell, int64_t revision)
{
    struct intake *in = ctx;

    return store_put_cell(in->store, lane, cell, revision);
}

static int touch(void *ctx, unsigned lane, uint32_t seconds, int64_t bucket)
{
    struct intake *in = ctx;

    return store_touch(in->store, lane, seconds, bucket);
}

/* --- life --- */

static int learn_name(void *ctx, const struct store_series_name *n, bool is_series)
{
    return guard_learn(ctx,
                       &(struct guard_names){n->org, is_series ? n->feature : NULL, n->provider,
                                             is_series ? n->model : NULL, n->workload});
}

static int new_guard(struct intake *in)
{
    const struct config_limits *l = &in->config->limits;
    struct guard_settings settings = {
        .limits = {[GUARD_ORG] = l->orgs,
                   [GUARD_FEATURE] = l->features,
                   [GUARD_PROVIDER] = l->providers,
                   [GUARD_MODEL] = l->models,
                   [GUARD_WORKLOAD] = l->workloads,
                   [GUARD_SERIES] = l->series},
        .series_all = in->config->store.series_max,
    };
    CLEAN_GUARD struct guard *guard = NULL;
    uint64_t now_ns = clock_wall_ns();
    int64_t since_s = (int64_t)(now_ns / NSEC_PER_SEC) - (int64_t)l->forget_d * DAY_S;
    int r;

    if (getrandom(&settings.seed, sizeof(settings.seed), 0) != sizeof(settings.seed))
        return -EIO;
    r = guard_new(&settings, &guard);
    if (r == 0)
        r = store_each_name(in->store, since_s, learn_name, guard);
    if (r < 0)
        return r;
    if (in->guard)
        guard_take_counts(guard, in->guard);
    guard_free(&in->guard);
    in->guard = TAKE_PTR(guard);
    in->guard_ns = now_ns;
    return 0;
}

/* Names that are gone make room, once a day. */
static void renew_guard(struct intake *in)
{
    if (in->wall_ns < in->guard_ns + DAY_S * NSEC_PER_SEC)
        return;
    in->guard_ns = in->wall_ns;
    if (new_guard(in) < 0)
        log_warn("names not read, the old ones stay known", "database=%s", store_error(in->store));
}

static int learn_seen(void *ctx, const struct store_seen *seen)
{
    return sightings_learn(ctx, seen->org, (enum alerting_dimension)seen->dimension, seen->value);
}

static int new_sightings(struct intake *in)
{
    uint64_t seed;
    int r;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return -EIO;
    r = sightings_new(seed, &in->sightings);
    return r < 0 ? r : store_each_seen(in->store, learn_seen, in->sightings);
}

int intake_new(const struct config *config, struct store *store, struct intake **ret_intake)
{
    struct intake *in = calloc(1, sizeof(*in));
    int r;

    if (!in)
        return -ENOMEM;
    hash_init();
    in->config = config;
    in->store = store;
    in->seqs_store = (struct seqs_store){in, load_seqs, put_seqs, drop_seqs, has_seq, claim_seq};
    in->cells_store = (struct cells_store){in, load_cell, put_cell, touch};
    in->ahead_ns = AHEAD_NS;
    r = new_guard(in);
    if (r == 0)
        r = series_new(SERIES_NAMES_MAX, &in->series);
    if (r == 0)
        r = seqs_new(&in->seqs_store, SEQS_BYTES_MAX, &in->seqs);
    if (r == 0)
        r = cells_new(&in->cells_store, CELLS_BYTES_MAX, &in->cells);
    if (r == 0)
        r = aside_new(&in->aside);
    if (r == 0)
        r = new_sightings(in);
    if (r == 0)
        *ret_intake = TAKE_PTR(in);
    intake_free(&in);
    return r;
}

void intake_free(struct intake **intake)
{
    struct intake *in = *intake;

    if (!in)
        return;
    for (unsigned i = 0; i < INTAKE_LANES; i++) {
        rollup_free(&in->lanes[i].rollup);
        for (unsigned k = 0; k < in->lanes[i].blocks_capacity; k++)
            call_block_fini(&in->lanes[i].blocks[k]);
        free(in->lanes[i].blocks);
    }
    free(in->malformed);
    sightings_free(&in->sightings);
    aside_free(&in->aside);
    cells_free(&in->cells);
    seqs_free(&in->seqs);
    series_free(&in->series);
    guard_free(&in->guard);
    event_arena_fini(&in->arena);
    free(in);
    *intake = NULL;
}

struct reader {
    struct intake *in;
    unsigned lane;
    uint64_t until_ns;
};

static int know_cell(void *ctx, const struct rollup_cell *stored, int64_t revision)
{
    const struct reader *reader = ctx;
    struct rollup_cell cell = {
        .seconds = stored->seconds, .bucket = stored->bucket, .series = stored->series};
    int r = clock_mono_ns() > reader->until_ns ? -ENOSPC : rollup_cell_merge(&cell, stored);

    if (r == 0)
        r = cells_know(reader->in->cells, reader->lane, &cell, revision);
    rollup_cell_fini(&cell);
    return r;
}

/* What the next batches will most likely add to, in one go instead of cell by cell. */
static int read_ahead(struct intake *in, unsigned lane, int64_t last_s)
{
    const uint64_t began_ns = clock_mono_ns();
    struct reader reader = {in, lane, began_ns + in->ahead_ns};
    uint64_t took_ns;

    for (int i = 0; i < ROLLUP__COUNT && in->ahead_ns; i++) {
        int64_t from_s = cells_floor(last_s - AHEAD_S, rollup_seconds[i]);
        int r = store_load_cells(in->store, lane, (enum rollup_resolution)i, from_s, INT64_MAX,
                                 know_cell, &reader);

        if (r == -ENOSPC)
            continue;
        if (r < 0)
            return r;
        cells_know_all(in->cells, lane, (enum rollup_resolution)i, from_s);
    }
    took_ns = clock_mono_ns() - began_ns;
    in->ahead_ns = took_ns < in->ahead_ns ? in->ahead_ns - took_ns : 0;
    return 0;
}

int intake_take_lane(struct intake *in, unsigned lane)
{
    struct store_lane_state state = {0};
    int64_t first_s = 0, last_s = 0;
    int r = store_get_lane_state(in->store, lane, &state);

    /* Of all lanes: newer than this lane's, maybe, and never older. */
    if (r == 0)
        r = store_span(in->store, ROLLUP_MINUTE, &first_s, &last_s);
    if (r == 0 && !in->lanes[lane].rollup)
        r = rollup_new(&in->lanes[lane].rollup);
    if (r < 0)
        return r;
    seqs_drop_lane(in->seqs, lane);
    cells_take_lane(in->cells, lane, last_s ? last_s : INT64_MIN);
    in->lanes[lane].watermark_ns = state.watermark_ns;
    return last_s ? read_ahead(in, lane, last_s) : 0;
}

void intake_drop_lane(struct intake *in, unsigned lane)
{
    seqs_drop_lane(in->seqs, lane);
    cells_drop_lane(in->cells, lane);
}

/* --- a batch --- */

void intake_begin(struct intake *in)
{
    const uint64_t keep_ns = in->config->retention.calls_h * 3600 * NSEC_PER_SEC;

    for (unsigned i = 0; i < INTAKE_LANES; i++) {
        struct lane *l = &in->lanes[i];

        if (!l->has_batch)
            continue;
        rollup_reset(l->rollup);
        for (unsigned k = 0; k < l->blocks_count; k++)
            call_block_reset(&l->blocks[k]);
        l->blocks_count = 0;
        l->latest_ns = l->duplicates = 0;
        l->has_batch = false;
    }
    aside_reset(in->aside);
    sightings_begin(in->sightings);
    series_begin(in->series);
    in->malformed_count = 0;
    in->ahead_ns = AHEAD_NS;
    in->wall_ns = clock_wall_ns();
    in->keep_from_ns = keep_ns && keep_ns < in->wall_ns ? in->wall_ns - keep_ns : 0;
    in->counts = (struct intake_counts){0};
}

static int set_aside(struct intake *in, const struct intake_message *m, const char *reason)
{
    if (in->malformed_count == in->malformed_capacity) {
        unsigned capacity = in->malformed_capacity ? 2 * in->malformed_capacity : 16;
        struct malformed *list = realloc(in->malformed, capacity * sizeof(*list));

        if (!list)
            return -ENOMEM;
        in->malformed = list;
        in->malformed_capacity = capacity;
    }
    in->malformed[in->malformed_count++] = (struct malformed){.message = *m, .reason = reason};
    in->counts.malformed++;
    return 0;
}

static int next_block(struct lane *l)
{
    if (l->blocks_count == l->blocks_capacity) {
        unsigned capacity = l->blocks_capacity + 4;
        struct call_block *blocks = realloc(l->blocks, capacity * sizeof(*blocks));

        if (!blocks)
            return -ENOMEM;
        for (unsigned i = l->blocks_capacity; i < capacity; i++)
            call_block_init(&blocks[i]);
        l->blocks = blocks;
        l->blocks_capacity = capacity;
    }
    l->blocks_count++;
    return 0;
}

static int keep_call(struct lane *l, const struct record *rec, struct slice payload)
{
    int r = l->blocks_count == 0 ? next_block(l) : 0;

    if (r == 0)
        r = call_block_add(&l->blocks[l->blocks_count - 1], rec->end_ns, payload);
    if (r != -ENOSPC)
        return r;
    r = next_block(l);
    return r < 0 ? r : call_block_add(&l->blocks[l->blocks_count - 1], rec->end_ns, payload);
}

static int pass_guard(struct intake *in, struct record *rec)
{
    uint32_t first = 0;
    int r = guard_pass(in->guard, rec, &first);

    for (int d = 0; d < GUARD__COUNT && first; d++)
        if (first & 1u << d)
            log_warn("more names than are told apart, further ones are counted as (other)",
                     "org=%s dimension=%s", rec->org,
                     guard_dimension_name((enum guard_dimension)d));
    return r;
}

/* Names that are a series already were let pass once. */
static int find_series(struct intake *in, struct record *rec, uint32_t *ret_handle)
{
    int r;

    if (series_find(in->series, rec, ret_handle) == 0)
        return 0;
    r = pass_guard(in, rec);
    return r < 0 ? r : series_handle(in->series, rec, ret_handle);
}

static int take_call(struct intake *in, unsigned lane, struct record *rec, struct slice payload)
{
    struct lane *l = &in->lanes[lane];
    uint32_t handle = 0;
    int r = find_series(in, rec, &handle);

    if (r == 0)
        r = rollup_add(l->rollup, handle, rec);
    if (r == 0)
        r = sightings_take(in->sightings, rec);
    if (r == 0 && !rec->cost.known)
        r = aside_add(in->aside, lane, rec);
    if (r == 0 && in->keep_from_ns && rec->end_ns > in->keep_from_ns)
        r = keep_call(l, rec, payload);
    if (rec->end_ns > l->latest_ns)
        l->latest_ns = rec->end_ns;
    in->counts.calls++;
    return r;
}

static int take_record(struct intake *in, const struct intake_message *m)
{
    struct record *rec = &in->rec;
    struct lane *l = &in->lanes[m->lane];
    bool is_new = false;
    int r = seqs_claim(in->seqs, m->lane, rec->instance, rec->part, rec->seq, &is_new);

    if (r < 0)
        return r;
    if (!is_new) {
        in->counts.duplicates++;
        l->duplicates++;
        return 0;
    }
    if (rec->kind == RECORD_CALL)
        return take_call(in, m->lane, rec, m->data);
    r = pass_guard(in, rec);
    if (r < 0)
        return r;
    if (rec->kind == RECORD_GAP)
        in->counts.gaps++;
    else
        in->counts.coverages++;
    return aside_add(in->aside, m->lane, rec);
}

int intake_message(struct intake *in, const struct intake_message *m)
{
    const char *reason = NULL;
    int r = ingest_decode(&in->arena, m->subject, m->data, &in->rec, &reason);

    in->lanes[m->lane].has_batch = true;
    if (r == -EBADMSG)
        return set_aside(in, m, reason);
    if (r < 0)
        return r;
    if (in->rec.kind == RECORD_OTHER) {
        in->counts.others++;
        return 0;
    }
    if (in->rec.end_ns > in->wall_ns + INTAKE_AHEAD_MAX_NS)
        return set_aside(in, m, "ended in the future");
    return take_record(in, m);
}

/* --- writing --- */

static int create_series(void *ctx, const struct series_names *n, int64_t *ret_number)
{
    struct intake *in = ctx;
    struct store_series_name name = {n->org, n->feature, n->provider, n->model, n->workload};

    return store_add_series(in->store, &name, ret_number);
}

static int number_series(struct intake *in)
{
    int r;

    if (series_unknown(in->series) == 0)
        return 0;
    r = store_begin(in->store);
    if (r < 0)
        return r;
    r = series_create(in->series, create_series, in);
    if (r == 0)
        r = store_commit(in->store);
    if (r < 0) {
        store_rollback(in->store);
        series_forget(in->series);
    }
    return r;
}

struct lane_ref {
    struct intake *in;
    unsigned lane;
};

static int merge_minute(void *ctx, const struct rollup_cell *minute)
{
    const struct lane_ref *ref = ctx;
    struct rollup_cell cell = *minute; /* its memory stays the rollup's */

    cell.series = series_number(ref->in->series, (uint32_t)minute->series);
    return cells_merge(ref->in->cells, ref->lane, &cell);
}

static int touch_minute(void *ctx, unsigned lane, const struct record *rec, uint64_t calls)
{
    struct intake *in = ctx;

    (void)calls;
    return cells_touch(in->cells, lane, (int64_t)(rec->end_ns / NSEC_PER_SEC));
}

int intake_prepare(struct intake *in)
{
    int r = number_series(in);

    renew_guard(in);
    if (r == 0)
        r = aside_each(in->aside, touch_minute, in);
    for (unsigned i = 0; i < INTAKE_LANES && r == 0; i++)
        if (in->lanes[i].has_batch)
            r = rollup_each(in->lanes[i].rollup, merge_minute, &(struct lane_ref){in, i});
    return r;
}

static int write_aside(void *ctx, unsigned lane, const struct record *rec, uint64_t calls)
{
    struct intake *in = ctx;

    if (rec->kind == RECORD_GAP)
        return store_add_gap(in->store, lane, rec);
    if (rec->kind == RECORD_COVERAGE)
        return store_add_coverage(in->store, lane, rec);
    return store_add_unpriced(in->store, lane, rec, calls);
}

static int write_sighting(void *ctx, const struct sighting *new)
{
    const struct intake *in = ctx;
    int64_t wall_s = (int64_t)(in->wall_ns / NSEC_PER_SEC);

    return store_add_seen(
        in->store, &(struct store_seen){.org = new->org,
                                        .dimension = new->dimension,
                                        .value = new->value,
                                        .first_s = new->first_s < wall_s ? new->first_s : wall_s,
                                        .feature = new->feature,
                                        .provider = new->provider,
                                        .model = new->model});
}

static int write_malformed(struct intake *in)
{
    int r = 0;

    for (unsigned i = 0; i < in->malformed_count && r == 0; i++) {
        const struct malformed *m = &in->malformed[i];

        r = store_add_malformed(in->store, m->message.lane,
                                &(struct store_malformed){.stream_seq = m->message.stream_seq,
                                                          .subject = m->message.subject,
                                                          .reason = m->reason,
                                                          .bytes = m->message.data.len,
                                                          .payload = m->message.data});
    }
    return r;
}

static int write_lane(struct intake *in, unsigned lane)
{
    struct lane *l = &in->lanes[lane];
    /* A clock that is ahead must not stand for everybody's. */
    uint64_t latest_ns = l->latest_ns < in->wall_ns ? l->latest_ns : in->wall_ns;
    int r = 0;

    for (unsigned i = 0; i < l->blocks_count && r == 0; i++)
        r = store_add_call_block(in->store, lane, &l->blocks[i]);
    if (r == 0 && latest_ns > l->watermark_ns)
        r = store_put_lane_state(in->store, &(struct store_lane_state){lane, latest_ns});
    if (r == 0)
        r = store_number_add_lane(in->store, lane, "duplicates", (int64_t)l->duplicates);
    return r;
}

int intake_write(struct intake *in)
{
    int r = seqs_save(in->seqs);

    if (r == 0)
        r = cells_save(in->cells);
    if (r == 0)
        r = aside_each(in->aside, write_aside, in);
    if (r == 0)
        r = sightings_each(in->sightings, write_sighting, in);
    if (r == 0)
        r = write_malformed(in);
    for (unsigned i = 0; i < INTAKE_LANES && r == 0; i++)
        if (in->lanes[i].has_batch)
            r = write_lane(in, i);
    return r;
}

void intake_commit(struct intake *in)
{
    for (unsigned i = 0; i < INTAKE_LANES; i++) {
        struct lane *l = &in->lanes[i];
        uint64_t latest_ns = l->latest_ns < in->wall_ns ? l->latest_ns : in->wall_ns;

        if (l->has_batch && latest_ns > l->watermark_ns)
            l->watermark_ns = latest_ns;
    }
    sightings_commit(in->sightings);
    seqs_committed(in->seqs);
    cells_committed(in->cells);
}

void intake_roll_back(struct intake *in)
{
    seqs_rolled_back(in->seqs);
    cells_rolled_back(in->cells);
}

/* --- what a batch was --- */

void intake_get_counts(const struct intake *in, struct intake_counts *ret_counts)
{
    *ret_counts = in->counts;
}

struct minute_reader {
    int (*each)(void *ctx, int64_t minute_s, uint64_t calls);
    void *ctx;
};

static int on_minute(void *ctx, const struct rollup_cell *minute)
{
    const struct minute_reader *reader = ctx;

    return reader->each(reader->ctx, minute->bucket, minute->sums.calls);
}

int intake_each_minute(struct intake *in, int (*each)(void *ctx, int64_t minute_s, uint64_t calls),
                       void *ctx)
{
    int r = 0;

    for (unsigned i = 0; i < INTAKE_LANES && r == 0; i++)
        if (in->lanes[i].has_batch)
            r = rollup_each(in->lanes[i].rollup, on_minute, &(struct minute_reader){each, ctx});
    return r;
}

uint64_t intake_latest_ns(const struct intake *in)
{
    uint64_t latest_ns = 0;

    for (unsigned i = 0; i < INTAKE_LANES; i++)
        if (in->lanes[i].has_batch && in->lanes[i].latest_ns > latest_ns)
            latest_ns = in->lanes[i].latest_ns;
    return latest_ns;
}

const struct guard *intake_guard(const struct intake *in)
{
    return in->guard;
}
