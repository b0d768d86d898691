/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/watch_priv.h"

#include "collector/store_lane.h"
#include "collector/store_query.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

/* The running minute is looked at every second, but not for more than a part of the time. */
#define PEEK_EVERY_NS NSEC_PER_SEC
#define PEEK_SHARE 20
/* Minutes closed in one transaction, as far as time allows. */
#define CLOSE_SLICE_NS (500 * NSEC_PER_MSEC)
#define SNAPSHOT_EVERY_S 3600

static const char closed_mark[] = "closed_s";
static const char watermark_mark[] = "watermark_ns";

static int on_lane(void *ctx, const struct store_lane_state *state)
{
    int64_t *watermark_ns = ctx;

    if ((int64_t)state->watermark_ns > *watermark_ns)
        *watermark_ns = (int64_t)state->watermark_ns;
    return 0;
}

static int resume(struct watch *w)
{
    int64_t closed_s = 0, watermark_ns = 0;
    int r = store_number_get(w->store, closed_mark, &closed_s);

    /* Of versions before the lanes. */
    if (r == 0)
        r = store_number_get(w->store, watermark_mark, &watermark_ns);
    if (r == 0)
        r = store_each_lane_state(w->store, on_lane, &watermark_ns);
    if (r == 0)
        minutes_resume(&w->minutes, closed_s, (uint64_t)watermark_ns, clock_wall_ns());
    return r;
}

int watch_new(const struct config *config, struct store *store, struct watch **ret_watch)
{
    struct watch *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    w->config = config;
    w->store = store;
    w->held_end = &w->held;
    w->minutes.event_clock = strcmp(config->detect.clock, "event") == 0;
    w->minutes.lateness_ns = config->detect.lateness_ms * NSEC_PER_MSEC;
    w->minutes.idle_ns = config->detect.idle_ms * NSEC_PER_MSEC;
    r = resume(w);
    if (r == 0)
        r = publish_new(config, store, &w->publish);
    if (r == 0)
        r = rules_new(config, store, &w->rules);
    if (r == 0 && config->detect.enabled)
        r = watch_start_learning(w);
    if (r == 0)
        *ret_watch = TAKE_PTR(w);
    watch_free(&w);
    return r;
}

void watch_free(struct watch **watch)
{
    if (!*watch)
        return;
    watch_drop_held(*watch);
    detect_free(&(*watch)->detect);
    publish_free(&(*watch)->publish);
    rules_free(&(*watch)->rules);
    free(*watch);
    *watch = NULL;
}

void watch_on_reload(struct watch *w, void (*on_reload)(void *ctx), void *ctx)
{
    rules_on_reload(w->rules, on_reload, ctx);
}

static void note_late(struct watch *w, int64_t minute_s, uint64_t calls)
{
    if (w->late_pending == 0) {
        w->late_mono_ns = clock_mono_ns();
        w->late_from_s = minute_s;
    }
    if (minute_s < w->late_from_s)
        w->late_from_s = minute_s;
    w->late_pending += calls;
}

void watch_note(struct watch *w, int64_t minute_s, uint64_t calls)
{
    w->has_news = true;
    if (minute_s >= w->minutes.closed_s)
        return;
    w->late += calls;
    note_late(w, minute_s, calls);
}

void watch_note_latest(struct watch *w, uint64_t end_ns)
{
    minutes_note(&w->minutes, end_ns, clock_wall_ns());
}

/* Alerts and how far they were looked for go together. */
static int write_closed(struct watch *w, int64_t minute_s)
{
    int r = store_begin(w->store);

    if (r < 0)
        return r;
    r = rules_close(w->rules, minute_s, watch_on_alert, w);
    if (r == 0)
        r = watch_store_held(w);
    if (r == 0)
        r = store_number_set(w->store, closed_mark, minute_s + MINUTE_S);
    if (r == 0)
        r = store_commit(w->store);
    if (r < 0) {
        store_rollback(w->store);
        rules_rolled_back(w->rules);
    }
    return r;
}

void watch_wait(struct watch *w, bool is_waiting)
{
    w->is_waiting = is_waiting;
}

static int close_one(struct watch *w, int64_t minute_s)
{
    int r = 0;

    if (w->config->detect.enabled)
        r = watch_tell_minute(w, minute_s);
    if (r == 0 && w->config->detect.enabled)
        r = detect_close(w->detect, false, watch_on_alert, w);
    if (r == 0)
        r = write_closed(w, minute_s);
    watch_drop_held(w);
    if (r == 0)
        w->minutes.closed_s = minute_s + MINUTE_S;
    return r;
}

static int close_some(struct watch *w, int64_t due_s)
{
    uint64_t until_ns = clock_mono_ns() + CLOSE_SLICE_NS;
    int r = 0;

    while (w->minutes.closed_s < due_s && r == 0) {
        r = close_one(w, w->minutes.closed_s);
        if (w->minutes.closed_s % SNAPSHOT_EVERY_S == 0 || clock_mono_ns() > until_ns)
            break;
    }
    return r;
}

/* Closing begins with the first minute there is. */
static int find_first(struct watch *w)
{
    int64_t first_s = 0, last_s = 0, kept_s;
    int r = store_span(w->store, ROLLUP_MINUTE, &first_s, &last_s);

    /* One event of a clock that was never set is no reason to go through fifty years. */
    kept_s =
        minutes_due(&w->minutes, clock_wall_ns()) - w->config->retention.minutes_d * INT64_C(86400);
    if (r == 0)
        w->minutes.closed_s = first_s && first_s < kept_s ? kept_s - kept_s % MINUTE_S : first_s;
    return r;
}

static int close_due(struct watch *w)
{
    int64_t due_s = minutes_due(&w->minutes, clock_wall_ns());
    int r = 0;

    if (w->is_waiting)
        return 0;
    if (due_s && w->minutes.closed_s == 0)
        r = find_first(w);
    if (w->minutes.closed_s == 0)
        return r;
    /* A bounded number at a time: messages are taken in meanwhile. */
    return r == 0 && w->minutes.closed_s < due_s ? close_some(w, due_s) : r;
}

/* After every full hour, and never before something was learned. */
static void begin_snapshot(struct watch *w)
{
    int64_t closed_s = w->minutes.closed_s;

    if (!w->config->detect.enabled || closed_s % SNAPSHOT_EVERY_S != 0 ||
        closed_s <= w->snapshot_s || detect_last_minute(w->detect) + MINUTE_S != closed_s)
        return;
    snapshot_begin(&w->snapshot, w->detect);
}

/* A slice each turn; minutes wait for it, messages do not. */
static int go_on_with_snapshot(struct watch *w)
{
    int r = snapshot_step(&w->snapshot, w->store, w->detect);

    if (r < 0) /* the next hour will do */
        log_warn("snapshot not written", "error=%s database=%s", strerror(-r),
                 store_error(w->store));
    if (!w->snapshot.is_under_way)
        w->snapshot_s = w->snapshot.at_s;
    return 0;
}

static int write_held(struct watch *w)
{
    int r = store_begin(w->store);

    if (r < 0)
        return r;
    r = watch_store_held(w);
    if (r == 0)
        r = store_commit(w->store);
    if (r < 0)
        store_rollback(w->store);
    return r;
}

/* The running minute, when all before it are closed. */
static int peek(struct watch *w)
{
    int64_t minute_s = w->minutes.closed_s;
    int64_t now_s = (int64_t)(minutes_now_ns(&w->minutes, clock_wall_ns()) / NSEC_PER_SEC);
    int r;

    if (w->is_waiting || !w->config->detect.open_minute || !w->minutes.is_live || !w->has_news ||
        now_s <= minute_s || now_s >= minute_s + MINUTE_S ||
        clock_mono_ns() < w->peeked_mono_ns + PEEK_EVERY_NS + PEEK_SHARE * w->peek_ns)
        return 0;
    w->peeked_mono_ns = clock_mono_ns();
    w->has_news = false;
    r = watch_tell_minute(w, minute_s);
    if (r == 0)
        r = detect_peek(w->detect, (uint32_t)(now_s - minute_s), watch_on_alert, w);
    if (r == 0 && w->held)
        r = write_held(w);
    watch_drop_held(w);
    w->peek_ns = clock_mono_ns() - w->peeked_mono_ns;
    return r;
}

static int judge_turn(struct watch *w)
{
    int64_t closed_s = 0;
    int r = w->must_ask ? store_number_get(w->store, closed_mark, &closed_s) : 0;

    if (r < 0)
        return r;
    w->must_ask = false;
    if (closed_s > w->minutes.closed_s)
        w->minutes.closed_s = closed_s;
    r = rules_turn(w->rules, w->minutes.closed_s);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    if (!w->config->detect.enabled)
        return close_due(w);
    if (watch_should_relearn(w)) {
        r = watch_start_learning(w);
        if (r < 0)
            return r;
    }
    if (w->is_learning)
        return watch_learn_some(w);
    if (w->snapshot.is_under_way)
        return go_on_with_snapshot(w);
    closed_s = w->minutes.closed_s;
    r = close_due(w);
    if (r == 0 && w->minutes.closed_s != closed_s)
        begin_snapshot(w);
    return r < 0 || w->snapshot.is_under_way ? r : peek(w);
}

void watch_turn(struct watch *w, struct bus *bus)
{
    int64_t late_from_s = 0;
    unsigned late;
    int r = judge_turn(w);

    w->failed = r < 0;
    if (r < 0) {
        log_error("minute not judged, trying again", "error=%s database=%s", strerror(-r),
                  store_error(w->store));
        /* The detector may be ahead of the store: let it start from there. */
        w->must_relearn = true;
        w->must_ask = true;
        w->is_learning = false;
    }
    publish_turn(w->publish, bus, w->minutes.closed_s, clock_mono_ns());
    /* Other collectors' late calls are seen by what they touched. */
    late = publish_take_late(w->publish, &late_from_s);
    if (late)
        note_late(w, late_from_s, late);
}

bool watch_has_more(const struct watch *w)
{
    if (w->failed)
        return false;
    return w->is_learning || w->snapshot.is_under_way ||
           (!w->is_waiting && w->minutes.closed_s &&
            w->minutes.closed_s < minutes_due(&w->minutes, clock_wall_ns()));
}

void watch_fill_stats(const struct watch *w, struct pipeline_stats *stats)
{
    struct publish_rollup_stats told = {0};

    rules_get_stats(w->rules, &stats->rules);
    stats->late = w->late;
    stats->alerts = w->alerts;
    stats->alerts_pending = publish_pending(w->publish);
    stats->alerts_given_up = publish_given_up(w->publish);
    publish_get_rollup_stats(w->publish, &told);
    stats->rollups_told = told.told;
    stats->rollups_revised = told.revised;
    stats->rollups_given_up = told.given_up;
    stats->series = w->detect ? detect_series(w->detect) : 0;
    stats->series_refused = w->detect ? detect_refused(w->detect) : 0;
    stats->watermark_ns = w->minutes.watermark_ns;
    stats->closed_s = w->minutes.closed_s;
}
