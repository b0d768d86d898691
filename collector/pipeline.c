/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/pipeline.h"

#include "collector/bus.h"
#include "collector/housekeep.h"
#include "collector/intake.h"
#include "collector/store.h"
#include "collector/text.h"
#include "collector/watch.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FETCH_WAIT_MS 100
/* A commit for a few messages costs as much as one for hundreds. */
#define LINGER_MS 40
#define WHOLE_LANE 0
#define RETRY_MS 500

struct pipeline {
    const struct config *config;
    struct store *store;
    struct intake *intake;
    struct watch *watch;
    struct bus *bus;
    bool is_consuming;
    bool said_away; /* the bus being away is told once */
    struct housekeep housekeep;
    pthread_mutex_t lock; /* of shared */
    struct pipeline_stats shared;
    struct pipeline_stats stats; /* the loop's own */
};

static void share_stats(struct pipeline *p)
{
    p->stats.connected = p->is_consuming && bus_is_connected(p->bus);
    p->stats.tick_mono_ns = clock_mono_ns();
    watch_fill_stats(p->watch, &p->stats);
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

int pipeline_new(const struct config *config, struct pipeline **ret_pipeline)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    int r = p ? 0 : -ENOMEM;

    if (r < 0)
        return r;
    p->config = config;
    housekeep_init(&p->housekeep, &config->retention);
    pthread_mutex_init(&p->lock, NULL);
    p->stats.started_ns = clock_wall_ns();
    r = store_open(config_store_where(config), &p->store);
    if (r < 0) {
        char where[256];

        store_describe(config_store_where(config), where, sizeof(where));
        log_error("store cannot be opened", "store=%s error=%s", where, store_error(NULL));
    }
    if (r == 0)
        r = intake_new(config, p->store, &p->intake);
    if (r == 0)
        r = intake_take_lane(p->intake, WHOLE_LANE);
    if (r == 0)
        r = watch_new(config, p->store, &p->watch);
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
    watch_free(&p->watch);
    intake_free(&p->intake);
    store_close(&p->store);
    pthread_mutex_destroy(&p->lock);
    free(p);
    *pipeline = NULL;
}

static void nap(uint32_t ms)
{
    usleep(ms * 1000);
}

static int take_messages(struct pipeline *p, const struct bus_batch *batch)
{
    int r = 0;

    intake_begin(p->intake);
    for (int i = 0; i < bus_batch_count(batch) && r == 0; i++) {
        const struct bus_message *m = bus_batch_at(batch, i);

        r = intake_message(p->intake, &(struct intake_message){.subject = m->subject,
                                                               .data = m->data,
                                                               .stream_seq = m->stream_seq,
                                                               .lane = m->lane});
    }
    return r < 0 ? r : intake_prepare(p->intake);
}

static int write_batch(struct pipeline *p)
{
    int r = store_begin(p->store);

    if (r < 0)
        return r;
    r = intake_write(p->intake);
    if (r == 0)
        r = watch_keep(p->watch, intake_latest_ns(p->intake));
    if (r == 0)
        r = store_commit(p->store);
    if (r < 0)
        store_rollback(p->store);
    return r;
}

static int note_minute(void *ctx, int64_t minute_s, uint64_t calls)
{
    watch_note(ctx, minute_s, calls);
    return 0;
}

static int tell_watch(struct pipeline *p)
{
    uint64_t latest_ns = intake_latest_ns(p->intake);

    if (latest_ns)
        watch_note_latest(p->watch, latest_ns);
    return intake_each_minute(p->intake, note_minute, p->watch);
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

/* All of the batch or nothing of it. */
static int commit_batch(struct pipeline *p, const struct bus_batch *batch)
{
    uint64_t began_ns = clock_mono_ns();
    int r = take_messages(p, batch);

    if (r == 0)
        r = write_batch(p);
    if (r < 0) {
        log_error("batch not stored, trying again", "error=%s database=%s", strerror(-r),
                  store_error(p->store));
        intake_roll_back(p->intake);
        return r;
    }
    intake_commit(p->intake);
    count_batch(p, clock_mono_ns() - began_ns);
    return tell_watch(p);
}

/* Keeps the batch until the store takes it: nothing is acked before. */
static void take_batch(struct pipeline *p, struct bus_batch *batch, const atomic_bool *stop)
{
    while (!atomic_load(stop)) {
        int r = commit_batch(p, batch);

        p->stats.store_ok = r == 0;
        if (r == 0) {
            bus_ack(p->bus, batch, WHOLE_LANE);
            return;
        }
        p->stats.store_errors++;
        share_stats(p);
        nap(RETRY_MS);
    }
}

static int reach_bus(struct pipeline *p)
{
    const struct config_nats *n = &p->config->nats;
    const struct bus_settings settings = {
        .url = n->url,
        .creds = n->creds,
        .ca_file = n->ca_file,
        .stream = n->stream,
        .stream_max_age_h = n->stream_max_age_h,
        .stream_max_bytes = n->stream_max_bytes,
        .durable = n->durable,
        .name = "lectr-collector",
    };
    char place[256];
    int r = 0;

    text_copy_url(place, sizeof(place), n->url);
    if (!p->bus)
        r = bus_open(&settings, &p->bus);
    if (r == 0)
        r = bus_attach(p->bus, WHOLE_LANE);
    if (r < 0) {
        p->stats.bus_errors++;
        if (!p->said_away)
            log_warn("nats is away, trying again", "url=%s error=%s reason=%s", place, strerror(-r),
                     bus_error(p->bus));
        p->said_away = true;
        return r;
    }
    log_info("consuming", "url=%s stream=%s durable=%s", place, n->stream, n->durable);
    p->said_away = false;
    p->is_consuming = true;
    return 0;
}

static void fetch_turn(struct pipeline *p, const atomic_bool *stop)
{
    struct bus_batch *batch = NULL;
    int r;

    if (!p->is_consuming && reach_bus(p) < 0) {
        nap(RETRY_MS);
        return;
    }
    r = bus_fetch(p->bus, (int)p->config->ingest.batch, FETCH_WAIT_MS, LINGER_MS, &batch);
    if (r < 0) {
        log_warn("fetch failed, consuming anew", "reason=%s", bus_error(p->bus));
        p->stats.bus_errors++;
        p->is_consuming = false;
        nap(RETRY_MS);
        return;
    }
    if (bus_batch_count(batch) > 0)
        take_batch(p, batch, stop);
    bus_batch_free(batch);
}

static void housekeep(struct pipeline *p)
{
    int64_t now_s = (int64_t)(p->stats.watermark_ns / NSEC_PER_SEC);

    if (housekeep_turn(&p->housekeep, p->store, now_s, clock_wall_ns()) < 0)
        log_warn("old data not deleted, trying again later", "database=%s", store_error(p->store));
}

int pipeline_run(struct pipeline *p, const atomic_bool *stop)
{
    while (!atomic_load(stop)) {
        fetch_turn(p, stop);
        watch_turn(p->watch, p->is_consuming ? p->bus : NULL);
        share_stats(p);
        housekeep(p);
    }
    return 0;
}
