/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/judge.h"

#include "collector/bus.h"
#include "collector/housekeep.h"
#include "collector/store_lane.h"
#include "collector/store_lease.h"
#include "collector/text.h"
#include "collector/watch.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MS 50
#define BUSY_MS 1 /* there is more to do */
#define RETRY_MS 500
/* Collectors that this process hears nothing of tell by the store how far they are. */
#define LOOK_EVERY_NS NSEC_PER_SEC
/* A lane that changed hands has a backlog; minutes wait this long for it, and no longer than
 * ORPHANS_MAX_NS for lanes that nobody takes. */
#define SETTLE_NS (3 * NSEC_PER_SEC)
#define ORPHANS_MAX_NS (60 * NSEC_PER_SEC)
#define COLLECTORS_MAX 256
/* Minutes told apart between two turns; beyond that calls are told for the oldest of them. */
#define NOTES_MAX 1024

struct note {
    int64_t minute_s;
    uint64_t calls;
};

struct judge {
    const struct config *config;
    struct lanes *lanes;
    struct store *store;
    struct bus *bus;
    struct watch *watch;
    struct housekeep housekeep;
    uint64_t epoch; /* of the watch */
    uint64_t looked_mono_ns, reached_mono_ns;
    uint64_t lanes_ns; /* the lanes' latest, as the watch knows it */
    bool waits_for_owners;
    int64_t epochs;           /* of all lanes, summed: rises when one changes hands */
    uint64_t settled_mono_ns; /* when minutes may be closed again */
    uint64_t orphans_mono_ns; /* since when some lane has no live owner, 0: each has */
    bool told_active;         /* as the hooks know it */
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* of what follows */
    struct note notes[NOTES_MAX];
    unsigned notes_count;
    uint64_t latest_ns;
    struct judge_hooks hooks;
    struct pipeline_stats stats; /* only what watch_fill_stats() fills */
};

void judge_note(struct judge *j, int64_t minute_s, uint64_t calls)
{
    unsigned i = 0;

    pthread_mutex_lock(&j->lock);
    while (i < j->notes_count && j->notes[i].minute_s != minute_s)
        i++;
    if (i == NOTES_MAX) {
        i = NOTES_MAX - 1;
        if (minute_s < j->notes[i].minute_s)
            j->notes[i].minute_s = minute_s;
    } else if (i == j->notes_count) {
        j->notes[j->notes_count++] = (struct note){.minute_s = minute_s};
    }
    j->notes[i].calls += calls;
    pthread_mutex_unlock(&j->lock);
}

void judge_note_latest(struct judge *j, uint64_t end_ns)
{
    pthread_mutex_lock(&j->lock);
    if (end_ns > j->latest_ns)
        j->latest_ns = end_ns;
    pthread_mutex_unlock(&j->lock);
}

void judge_fill_stats(struct judge *j, struct pipeline_stats *stats)
{
    pthread_mutex_lock(&j->lock);
    stats->late = j->stats.late;
    stats->alerts = j->stats.alerts;
    stats->alerts_pending = j->stats.alerts_pending;
    stats->alerts_given_up = j->stats.alerts_given_up;
    stats->rollups_told = j->stats.rollups_told;
    stats->rollups_revised = j->stats.rollups_revised;
    stats->rollups_given_up = j->stats.rollups_given_up;
    stats->series = j->stats.series;
    stats->series_refused = j->stats.series_refused;
    stats->watermark_ns = j->stats.watermark_ns;
    stats->closed_s = j->stats.closed_s;
    stats->rules = j->stats.rules;
    pthread_mutex_unlock(&j->lock);
}

void judge_set_hooks(struct judge *j, const struct judge_hooks *hooks)
{
    pthread_mutex_lock(&j->lock);
    j->hooks = *hooks;
    pthread_mutex_unlock(&j->lock);
}

/* --- its thread --- */

static struct judge_hooks hooks_of(struct judge *j)
{
    struct judge_hooks hooks;

    pthread_mutex_lock(&j->lock);
    hooks = j->hooks;
    pthread_mutex_unlock(&j->lock);
    return hooks;
}

static void on_reload(void *ctx)
{
    struct judge_hooks hooks = hooks_of(ctx);

    if (hooks.on_reload)
        hooks.on_reload(hooks.ctx);
}

static void tell_active(struct judge *j)
{
    struct judge_hooks hooks = hooks_of(j);
    const bool is_active = j->watch;

    if (!hooks.on_active || is_active == j->told_active)
        return;
    j->told_active = is_active;
    hooks.on_active(hooks.ctx, is_active);
}

static void hand_over_notes(struct judge *j)
{
    struct note notes[NOTES_MAX];
    unsigned count;
    uint64_t latest_ns;

    pthread_mutex_lock(&j->lock);
    count = j->notes_count;
    memcpy(notes, j->notes, count * sizeof(notes[0]));
    j->notes_count = 0;
    latest_ns = j->latest_ns;
    j->latest_ns = 0;
    pthread_mutex_unlock(&j->lock);
    if (!j->watch)
        return;
    if (latest_ns)
        watch_note_latest(j->watch, latest_ns);
    for (unsigned i = 0; i < count; i++)
        watch_note(j->watch, notes[i].minute_s, notes[i].calls);
}

static int on_lane(void *ctx, const struct store_lane_state *state)
{
    uint64_t *latest_ns = ctx;

    if (state->watermark_ns > *latest_ns)
        *latest_ns = state->watermark_ns;
    return 0;
}

struct owners {
    char alive[COLLECTORS_MAX][64];
    unsigned alive_count;
    unsigned orphans;
    int64_t epochs;
};

static int on_collector(void *ctx, const char *id, bool is_alive)
{
    struct owners *o = ctx;

    if (is_alive && o->alive_count < COLLECTORS_MAX)
        text_copy(o->alive[o->alive_count++], sizeof(o->alive[0]), id);
    return 0;
}

static int on_lease(void *ctx, int64_t lane, const char *owner, int64_t epoch)
{
    struct owners *o = ctx;

    if (lane == STORE_JUDGE)
        return 0;
    o->epochs += epoch;
    for (unsigned i = 0; i < o->alive_count; i++)
        if (strcmp(o->alive[i], owner) == 0)
            return 0;
    o->orphans++;
    return 0;
}

/* A minute without the lanes of a collector that just died would look like a drop. */
static void look_at_owners(struct judge *j)
{
    struct owners o = {.alive_count = 0};
    uint64_t now_ns = clock_mono_ns();

    if (store_each_collector(j->store, j->config->store.lease_ttl_ms / 2, on_collector, &o) < 0 ||
        store_each_lease(j->store, on_lease, &o) < 0) {
        j->waits_for_owners = true; /* until it is known */
        return;
    }
    if (o.epochs != j->epochs)
        j->settled_mono_ns = now_ns + SETTLE_NS;
    j->epochs = o.epochs;
    if (o.orphans == 0)
        j->orphans_mono_ns = 0;
    else if (j->orphans_mono_ns == 0)
        j->orphans_mono_ns = now_ns;
    j->waits_for_owners = o.orphans && now_ns < j->orphans_mono_ns + ORPHANS_MAX_NS;
}

/* What other collectors have taken in. */
static void look_at_lanes(struct judge *j)
{
    uint64_t latest_ns = 0;

    if (store_lanes(j->store) == 1 || clock_mono_ns() < j->looked_mono_ns + LOOK_EVERY_NS)
        return;
    j->looked_mono_ns = clock_mono_ns();
    look_at_owners(j);
    if (store_each_lane_state(j->store, on_lane, &latest_ns) == 0 && latest_ns > j->lanes_ns) {
        j->lanes_ns = latest_ns; /* the same once more is no event */
        watch_note_latest(j->watch, latest_ns);
    }
}

static void let_go(struct judge *j)
{
    watch_free(&j->watch);
    lanes_judge_released(j->lanes);
}

/* Has a watch when it may, and a new one when the lane was another's meanwhile. */
static int follow_lane(struct judge *j)
{
    uint64_t epoch = 0;
    bool may_judge = lanes_may_judge(j->lanes, &epoch);
    int r;

    if (!may_judge || epoch != j->epoch)
        let_go(j);
    if (!may_judge || j->watch)
        return 0;
    j->epoch = epoch; /* the fence asks for it */
    r = watch_new(j->config, j->store, &j->watch);
    if (r < 0)
        log_error("minutes cannot be judged, trying again", "error=%s database=%s", strerror(-r),
                  store_error(j->store));
    else {
        j->looked_mono_ns = 0;
        j->lanes_ns = 0;
        watch_on_reload(j->watch, on_reload, j);
    }
    return r;
}

static void reach_bus(struct judge *j)
{
    const struct bus_settings settings = pipeline_bus_settings(j->config, "lectr-collector judge");

    if (j->bus || clock_mono_ns() < j->reached_mono_ns + RETRY_MS * NSEC_PER_MSEC)
        return;
    j->reached_mono_ns = clock_mono_ns();
    if (bus_open(&settings, &j->bus, NULL) < 0)
        return;
    /* The stream may be gone; what is published waits in the store until it is there. */
    if (bus_ensure_stream(j->bus) < 0)
        bus_close(&j->bus);
}

static void keep_house(struct judge *j)
{
    int64_t now_s = (int64_t)(j->stats.watermark_ns / NSEC_PER_SEC);

    if (housekeep_turn(&j->housekeep, j->store, now_s, clock_wall_ns()) < 0)
        log_warn("old data not deleted, trying again later", "database=%s", store_error(j->store));
}

static void take_turn(struct judge *j)
{
    struct pipeline_stats stats = {0};

    hand_over_notes(j);
    if (!j->watch)
        return;
    look_at_lanes(j);
    reach_bus(j);
    /* Messages that wait in the stream belong to minutes that the wall clock would close. */
    if (!j->bus || !bus_is_connected(j->bus))
        j->settled_mono_ns = clock_mono_ns() + SETTLE_NS;
    watch_wait(j->watch, j->waits_for_owners || clock_mono_ns() < j->settled_mono_ns);
    watch_turn(j->watch, j->bus);
    watch_fill_stats(j->watch, &stats);
    pthread_mutex_lock(&j->lock);
    j->stats = stats;
    pthread_mutex_unlock(&j->lock);
    keep_house(j);
}

static void *run(void *ctx)
{
    struct judge *j = ctx;

    while (!atomic_load(&j->stop)) {
        uint32_t nap_ms = follow_lane(j) < 0 ? RETRY_MS : TURN_MS;

        tell_active(j);
        take_turn(j);
        if (j->watch && watch_has_more(j->watch))
            nap_ms = BUSY_MS;
        usleep(nap_ms * 1000);
    }
    return NULL;
}

static int check_judge(void *ctx, struct store *store)
{
    struct judge *j = ctx;

    uint64_t epoch = 0;
    int r = lanes_check(j->lanes, store, (struct lease_lanes){.judge = true});

    /* The lane may be held again, by a watch that is not made yet. */
    return r == 0 && (!lanes_may_judge(j->lanes, &epoch) || epoch != j->epoch) ? -ESTALE : r;
}

int judge_start(const struct config *config, struct lanes *lanes, struct judge **ret_judge)
{
    struct judge *j = calloc(1, sizeof(*j));
    int r;

    if (!j)
        return -ENOMEM;
    pthread_mutex_init(&j->lock, NULL);
    j->config = config;
    j->lanes = lanes;
    housekeep_init(&j->housekeep, &config->retention);
    r = store_open(config_store_where(config), &j->store);
    if (r == 0)
        r = lanes_name(lanes, j->store);
    if (r == 0) {
        store_set_fence(j->store, check_judge, j);
        r = -pthread_create(&j->thread, NULL, run, j);
        j->has_thread = r == 0;
    }
    if (r < 0)
        log_error("the judge cannot start", "error=%s", strerror(-r));
    else
        *ret_judge = TAKE_PTR(j);
    judge_stop(&j);
    return r;
}

void judge_stop(struct judge **judge)
{
    struct judge *j = *judge;

    if (!j)
        return;
    atomic_store(&j->stop, true);
    if (j->has_thread)
        pthread_join(j->thread, NULL);
    watch_free(&j->watch);
    bus_close(&j->bus);
    store_close(&j->store);
    pthread_mutex_destroy(&j->lock);
    free(j);
    *judge = NULL;
}
