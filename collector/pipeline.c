/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/pipeline.h"

#include "collector/again.h"
#include "collector/intake.h"
#include "collector/judge.h"
#include "collector/lanes.h"
#include "collector/store.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FETCH_WAIT_MS 100
/* A commit for a few messages costs as much as one for hundreds. */
#define LINGER_MS 40
#define RETRY_MS 500
/* Messages in a batch: at first, and when the store is slow, least. */
#define BATCH_FIRST 2000
#define BATCH_LEAST 250
#define BATCH_LONG_NS (2 * NSEC_PER_SEC)
/* So long messages are added to one, and so many at a time. */
#define FILL_NS (NSEC_PER_SEC / 2)
#define SLICE 8000
#define POSITION_BYTES 48
/* So many messages of others' lanes are passed, or for so long, before the position is worth a
 * commit. */
#define PASSED_MANY 100000
#define PASSED_NS (60 * NSEC_PER_SEC)

struct pipeline {
    const struct config *config;
    struct lanes *lanes;
    struct store *store;
    struct intake *intake;
    struct judge *judge;
    struct bus *bus;
    uint64_t owned;       /* lanes of which the intake knows what the store has */
    uint64_t attached;    /* those that are consumed */
    uint64_t batch;       /* those of the batch under way */
    uint64_t stored_seq;  /* where lanes are shared: the position that was stored last */
    uint64_t stored_ns;   /* on the monotonic clock */
    uint64_t streamed_ns; /* when the stream had it */
    uint64_t fetched_ns;  /* when the batch that is not stored yet was; 0: there is none */
    int taken;            /* messages of it that the intake has */
    uint64_t began_ns;    /* when its first one was there, or when it is tried again */
    uint32_t batch_max;   /* messages of the next one */
    bool said_away;       /* the bus being away is told once */
    pthread_mutex_t lock; /* of shared */
    struct pipeline_stats shared;
    struct pipeline_stats stats; /* the loop's own */
};

static uint64_t bit(unsigned lane)
{
    return UINT64_C(1) << lane;
}

/* What the stream dropped, and what it lost, is told once. */
static void note_stream(struct pipeline *p)
{
    const struct bus_state before = p->stats.stream;
    struct bus_state *now = &p->stats.stream;

    if (!p->bus)
        return;
    bus_get_state(p->bus, now);
    p->stats.behind_ns = now->pending && p->streamed_ns ? p->streamed_ns : p->fetched_ns;
    if (now->cuts > before.cuts)
        log_warn("the stream lost its end, or was made anew: it is read from its beginning",
                 "stream=%s", p->config->nats.stream);
    if (now->gone > before.gone)
        log_warn("the stream dropped messages before they were taken", "stream=%s messages=%llu",
                 p->config->nats.stream, (unsigned long long)(now->gone - before.gone));
}

static void share_stats(struct pipeline *p)
{
    p->stats.connected = p->bus && p->attached == p->owned && bus_is_connected(p->bus);
    p->stats.tick_mono_ns = clock_mono_ns();
    note_stream(p);
    judge_fill_stats(p->judge, &p->stats);
    p->stats.collectors = lanes_collectors(p->lanes);
    p->stats.lanes = (unsigned)__builtin_popcountll(p->owned);
    for (int d = 0; d < GUARD__COUNT; d++)
        guard_get_stats(intake_guard(p->intake), (enum guard_dimension)d, &p->stats.names[d]);
    pthread_mutex_lock(&p->lock);
    p->shared = p->stats;
    pthread_mutex_unlock(&p->lock);
}

void pipeline_get_stats(struct pipeline *p, struct pipeline_stats *ret_stats)
{
    pthread_mutex_lock(&p->lock);
    *ret_stats = p->shared;
    pthread_mutex_unlock(&p->lock);
}

/* No transaction without the lanes that it writes. */
static int check_lanes(void *ctx, struct store *store)
{
    const struct pipeline *p = ctx;

    return lanes_check(p->lanes, store, (struct lease_lanes){.parts = p->batch});
}

static int open_store(struct pipeline *p)
{
    int r = store_open(config_store_where(p->config), &p->store);

    if (r == 0)
        r = lanes_name(p->lanes, p->store);
    if (r == 0)
        r = intake_new(p->config, p->store, &p->intake);
    if (r < 0)
        log_error("store cannot be opened", "error=%s database=%s", strerror(-r),
                  store_error(p->store));
    else
        store_set_fence(p->store, check_lanes, p);
    return r;
}

int pipeline_new(const struct config *config, struct pipeline **ret_pipeline)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    int r = p ? 0 : -ENOMEM;

    if (r < 0)
        return r;
    p->config = config;
    /* The first ones tell how fast the store is. */
    p->batch_max = config->ingest.batch < BATCH_FIRST ? config->ingest.batch : BATCH_FIRST;
    pthread_mutex_init(&p->lock, NULL);
    p->stats.started_ns = clock_wall_ns();
    r = lanes_start(config, &p->lanes);
    if (r == 0)
        r = open_store(p);
    if (r == 0)
        r = judge_start(config, p->lanes, &p->judge);
    if (r == 0) {
        p->stats.store_ok = true;
        share_stats(p);
        *ret_pipeline = TAKE_PTR(p);
    }
    pipeline_free(&p);
    return r;
}

void pipeline_free(struct pipeline **pipeline)
{
    struct pipeline *p = *pipeline;

    if (!p)
        return;
    bus_close(&p->bus);
    judge_stop(&p->judge);
    intake_free(&p->intake);
    store_close(&p->store);
    lanes_stop(&p->lanes);
    pthread_mutex_destroy(&p->lock);
    free(p);
    *pipeline = NULL;
}

void pipeline_set_hooks(struct pipeline *p, const struct judge_hooks *hooks)
{
    judge_set_hooks(p->judge, hooks);
}

static void nap(uint32_t ms)
{
    usleep(ms * 1000);
}

/* --- lanes --- */

/* Where several collectors share the parts, the store knows how far each lane has got. */
static bool is_shared(const struct pipeline *p)
{
    return p->config->store.url[0] != '\0';
}

static void drop_lanes(struct pipeline *p, uint64_t lanes)
{
    for (unsigned i = 0; i < INTAKE_LANES; i++) {
        if (lanes & p->owned & bit(i))
            intake_drop_lane(p->intake, i);
        if (lanes & p->attached & bit(i) && p->bus)
            bus_detach(p->bus, i);
    }
    p->owned &= ~lanes;
    p->attached &= ~lanes;
}

static int take_lanes(struct pipeline *p, uint64_t lanes)
{
    int r = 0;

    for (unsigned i = 0; i < INTAKE_LANES && r == 0; i++) {
        if (!(lanes & bit(i)))
            continue;
        r = intake_take_lane(p->intake, i);
        if (r == 0)
            p->owned |= bit(i);
    }
    return r;
}

/* Of the lanes that were just taken. */
static void try_again(struct pipeline *p, uint64_t lanes)
{
    uint64_t taken = 0;

    if (!lanes)
        return;
    p->batch = lanes;
    if (again_malformed(&(struct again){p->intake, p->store, lanes}, &taken) < 0)
        log_warn("messages kept aside are not tried again now", "database=%s",
                 store_error(p->store));
    else if (taken)
        log_info("messages kept aside are understood", "messages=%llu", (unsigned long long)taken);
}

/* Between batches: what is let go of is not on its way any more. */
static void follow_lanes(struct pipeline *p)
{
    struct lanes_change change;
    int r;

    lanes_take_change(p->lanes, &change);
    drop_lanes(p, change.lost | change.leaving);
    if (change.leaving)
        lanes_released(p->lanes, change.leaving);
    r = take_lanes(p, change.gained);
    if (r == 0)
        try_again(p, change.gained);
    if (r < 0) {
        log_error("parts cannot be taken over, trying again", "error=%s database=%s", strerror(-r),
                  store_error(p->store));
        p->stats.store_errors++;
        lanes_doubt(p->lanes);
    }
}

/* --- a batch --- */

static int take_message(struct pipeline *p, const struct bus_message *m)
{
    p->batch |= bit(m->lane);
    return intake_message(p->intake, &(struct intake_message){.subject = m->subject,
                                                              .data = m->data,
                                                              .stream_seq = m->stream_seq,
                                                              .lane = m->lane});
}

/* Those that were not taken yet. */
static int take_messages(struct pipeline *p, const struct bus_batch *batch)
{
    int r = 0;

    while (p->taken < bus_batch_count(batch) && r == 0)
        r = take_message(p, bus_batch_at(batch, p->taken++));
    return r;
}

static void begin_batch(struct pipeline *p)
{
    /* The position is all lanes'. */
    p->batch = is_shared(p) ? p->attached : 0;
    p->taken = 0;
    intake_begin(p->intake);
}

/* Of this stream: one that is made anew counts from 1. */
struct position_names {
    char seq[POSITION_BYTES], time[POSITION_BYTES];
};

static struct position_names position_names(const struct pipeline *p)
{
    const long long made_ns = bus_stream_made(p->bus);
    struct position_names names;

    snprintf(names.seq, sizeof(names.seq), "taken of stream %lld", made_ns);
    snprintf(names.time, sizeof(names.time), "time taken of stream %lld", made_ns);
    return names;
}

static int write_position(struct pipeline *p)
{
    const struct position_names names = position_names(p);
    int r = 0;

    for (unsigned i = 0; i < INTAKE_LANES && r == 0; i++) {
        const struct bus_position position = bus_position(p->bus, i);

        if (!(p->attached & bit(i)))
            continue;
        r = store_number_put_lane(p->store, i, names.seq, (int64_t)position.seq);
        if (r == 0)
            r = store_number_put_lane(p->store, i, names.time, position.time_ns);
    }
    return r;
}

static int read_position(struct pipeline *p, unsigned lane, struct bus_position *ret_position)
{
    const struct position_names names = position_names(p);
    int64_t seq = 0, time_ns = 0;
    int r = store_number_get_lane(p->store, lane, names.seq, &seq);

    if (r == 0)
        r = store_number_get_lane(p->store, lane, names.time, &time_ns);
    if (r == 0)
        *ret_position = (struct bus_position){(uint64_t)seq, time_ns};
    return r;
}

static int write_batch(struct pipeline *p)
{
    int r = store_begin(p->store);

    if (r < 0)
        return r;
    r = intake_write(p->intake);
    if (r == 0 && is_shared(p))
        r = write_position(p);
    if (r == 0)
        r = store_commit(p->store);
    if (r < 0)
        store_rollback(p->store);
    return r;
}

static int note_minute(void *ctx, int64_t minute_s, uint64_t calls)
{
    judge_note(ctx, minute_s, calls);
    return 0;
}

static int tell_judge(struct pipeline *p)
{
    uint64_t latest_ns = intake_latest_ns(p->intake);
    /* The other way round the judge might close a minute first, and hear of its calls as late. */
    int r = intake_each_minute(p->intake, note_minute, p->judge);

    if (latest_ns)
        judge_note_latest(p->judge, latest_ns);
    return r;
}

/* While a batch is written nothing else turns, and a process that does not turn for long is taken
 * for one that hangs: on a slow database batches are smaller. */
static void fit_batch(struct pipeline *p, uint32_t count, uint64_t took_ns)
{
    const uint32_t most = p->config->ingest.batch;

    if (took_ns > BATCH_LONG_NS)
        p->batch_max = p->batch_max > 2 * BATCH_LEAST ? p->batch_max / 2 : BATCH_LEAST;
    else if (took_ns < BATCH_LONG_NS / 4 && count >= p->batch_max / 2)
        p->batch_max *= 2;
    if (p->batch_max > most)
        p->batch_max = most;
}

static void count_batch(struct pipeline *p, uint64_t took_ns)
{
    struct intake_counts counts;

    intake_get_counts(p->intake, &counts);
    p->stats.calls += counts.calls;
    p->stats.gaps += counts.gaps;
    p->stats.coverages += counts.coverages;
    p->stats.others += counts.others;
    p->stats.duplicates += counts.duplicates;
    p->stats.malformed += counts.malformed;
    p->stats.batches++;
    p->stats.commit_ns_total += took_ns;
    if (took_ns > p->stats.commit_ns_max)
        p->stats.commit_ns_max = took_ns;
}

static void note_stored(struct pipeline *p)
{
    p->stored_seq = bus_seen_seq(p->bus);
    p->stored_ns = clock_mono_ns();
    p->streamed_ns = bus_seen_ns(p->bus);
}

/* All of the batch or nothing of it. `taken`: how taking it in went. */
static int commit_batch(struct pipeline *p, const struct bus_batch *batch, int taken)
{
    int r = taken < 0 ? taken : intake_prepare(p->intake);
    uint64_t took_ns;

    if (r == 0)
        r = write_batch(p);
    if (r < 0) {
        intake_roll_back(p->intake);
        return r;
    }
    intake_commit(p->intake);
    note_stored(p);
    took_ns = clock_mono_ns() - p->began_ns;
    count_batch(p, took_ns);
    fit_batch(p, (uint32_t)bus_batch_count(batch), took_ns);
    return tell_judge(p);
}

static void ack_batch(struct pipeline *p, const struct bus_batch *batch)
{
    for (unsigned i = 0; i < INTAKE_LANES; i++)
        if (p->batch & bit(i))
            bus_ack(p->bus, batch, i);
}

/* Another one has some of its lanes, or may have had: its messages come again, to whom they
 * belong. */
static void give_back(struct pipeline *p, const struct bus_batch *batch, int error)
{
    log_warn("batch given back", "error=%s messages=%d", strerror(-error), bus_batch_count(batch));
    for (unsigned i = 0; i < INTAKE_LANES; i++)
        if (p->batch & bit(i))
            bus_give_back(p->bus, i);
    if (error == -ENOTCONN)
        lanes_doubt(p->lanes);
}

static int slice_left(const struct pipeline *p, int count)
{
    int left = (int)p->batch_max - count;

    return left < SLICE ? left : SLICE;
}

/* Takes the batch in as it comes, while its messages are at hand: until there is no more, it is
 * full, or it has been long enough. Waits once for more when few are there. */
static int fill_batch(struct pipeline *p, struct bus_batch *batch)
{
    bool has_lingered = false;
    int r;

    p->began_ns = clock_mono_ns();
    begin_batch(p);
    while ((r = take_messages(p, batch)) == 0) {
        const int count = bus_batch_count(batch), left = slice_left(p, count);

        if (left <= 0 || clock_mono_ns() - p->began_ns > FILL_NS)
            break;
        bus_fetch_more(p->bus, left, 0);
        if (bus_batch_count(batch) > count)
            continue;
        if (has_lingered || (uint32_t)count >= p->batch_max / 2)
            break;
        has_lingered = true;
        bus_fetch_more(p->bus, left, LINGER_MS);
    }
    return r;
}

static void note_failure(struct pipeline *p, int error)
{
    p->stats.store_errors++;
    log_error("batch not stored, trying again", "error=%s database=%s", strerror(-error),
              store_error(p->store));
    share_stats(p);
    nap(error == -EAGAIN ? 1 : RETRY_MS);
}

/* Keeps the batch until the store takes it: nothing is acked before. What failed is rolled back
 * and taken in from the beginning. */
static void take_batch(struct pipeline *p, struct bus_batch *batch, const atomic_bool *stop)
{
    int r = fill_batch(p, batch);

    while (!atomic_load(stop)) {
        r = commit_batch(p, batch, r);
        p->stats.store_ok = r == 0 || r == -EAGAIN;
        if (r == 0) {
            ack_batch(p, batch);
            return;
        }
        if (r == -ESTALE || r == -ENOTCONN) {
            p->stats.store_errors++;
            give_back(p, batch, r);
            nap(RETRY_MS / 5);
            return;
        }
        note_failure(p, r);
        p->began_ns = clock_mono_ns();
        begin_batch(p);
        r = take_messages(p, batch);
    }
    intake_roll_back(p->intake);
}

/* Others see how long it takes. */
static void keep_batch(struct pipeline *p, struct bus_batch *batch, const atomic_bool *stop)
{
    p->fetched_ns = clock_wall_ns();
    share_stats(p);
    take_batch(p, batch, stop);
    p->fetched_ns = 0;
}

/* --- the bus --- */

struct bus_settings pipeline_bus_settings(const struct config *config, const char *name)
{
    const struct config_nats *n = &config->nats;

    return (struct bus_settings){
        .url = n->url,
        .creds = n->creds,
        .nkey_seed = n->nkey_seed,
        .ca_file = n->ca_file,
        .cert_file = n->cert_file,
        .key_file = n->key_file,
        .stream = n->stream,
        .stream_max_age_h = n->stream_max_age_h,
        .stream_max_bytes = n->stream_max_bytes,
        .durable = n->durable,
        .name = name,
    };
}

static int attach_lanes(struct pipeline *p)
{
    int r = is_shared(p) ? bus_look(p->bus) : 0;

    for (unsigned i = 0; i < INTAKE_LANES && r == 0; i++) {
        struct bus_position taken = {0};

        if (!(p->owned & ~p->attached & bit(i)))
            continue;
        if (is_shared(p))
            r = read_position(p, i, &taken);
        if (r == 0)
            r = bus_attach(p->bus, i, taken);
        if (r == 0)
            p->attached |= bit(i);
    }
    return r;
}

static int reach_bus(struct pipeline *p)
{
    const struct config_nats *n = &p->config->nats;
    struct bus_settings settings = pipeline_bus_settings(p->config, "lectr-collector");
    char place[256], error[BUS_ERROR_BYTES] = "";
    int r = 0;

    text_copy_url(place, sizeof(place), n->url);
    settings.share_id = is_shared(p) ? lanes_id(p->lanes) : NULL;
    if (!p->bus)
        r = bus_open(&settings, &p->bus, error);
    if (r == 0)
        r = attach_lanes(p);
    if (r < 0) {
        p->stats.bus_errors++;
        if (!p->said_away)
            log_warn("nats is away, trying again", "url=%s error=%s reason=%s", place, strerror(-r),
                     p->bus ? bus_error(p->bus) : error);
        p->said_away = true;
        return r;
    }
    log_info("consuming", "url=%s stream=%s durable=%s parts=%d", place, n->stream, n->durable,
             __builtin_popcountll(p->attached));
    p->said_away = false;
    return 0;
}

/* Whoever has the lanes next passes by the same again, and takes what the stream drops meanwhile
 * for messages that were not taken. */
static bool has_passed(struct pipeline *p)
{
    const uint64_t seen_seq = bus_seen_seq(p->bus);

    /* A stream that was made anew. */
    if (seen_seq < p->stored_seq)
        p->stored_seq = seen_seq;
    if (!is_shared(p) || !p->attached || seen_seq == p->stored_seq)
        return false;
    return seen_seq > p->stored_seq + PASSED_MANY || clock_mono_ns() > p->stored_ns + PASSED_NS;
}

static void fetch_turn(struct pipeline *p, const atomic_bool *stop)
{
    struct bus_batch *batch = NULL;
    int r;

    if ((!p->bus || p->attached != p->owned) && reach_bus(p) < 0) {
        nap(RETRY_MS);
        return;
    }
    r = bus_fetch(p->bus, slice_left(p, 0), FETCH_WAIT_MS, &batch);
    if (r < 0) {
        if (!p->said_away)
            log_warn("nothing can be fetched, trying again", "reason=%s", bus_error(p->bus));
        p->said_away = true;
        p->stats.bus_errors++;
        nap(RETRY_MS);
        return;
    }
    p->said_away = false;
    if (bus_batch_count(batch) > 0 || has_passed(p))
        keep_batch(p, batch, stop);
    bus_batch_free(p->bus);
}

int pipeline_run(struct pipeline *p, const atomic_bool *stop)
{
    while (!atomic_load(stop)) {
        follow_lanes(p);
        fetch_turn(p, stop);
        share_stats(p);
    }
    return 0;
}
