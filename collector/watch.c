/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/watch.h"

#include "collector/detect.h"
#include "collector/enrich.h"
#include "collector/minutes.h"
#include "collector/publish.h"
#include "collector/rules.h"
#include "collector/snapshot.h"
#include "collector/store_lane.h"
#include "collector/store_query.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/event.h"

#include <errno.h>
#include <string.h>

#define MINUTE_S 60
/* The running minute is looked at every second, but not for more than a part of the time. */
#define PEEK_EVERY_NS NSEC_PER_SEC
#define PEEK_SHARE 20
/* Late calls are learned from again, as far as snapshots reach back, when there are
 * many, or after a while; not more often than a minute, and for a twentieth of the time
 * at most. Older ones change roll-ups, not baselines. */
#define RELEARN_EVERY_NS (60 * NSEC_PER_SEC)
#define RELEARN_SHARE 20
#define LATE_MANY 100
#define LATE_WAIT_NS (600 * NSEC_PER_SEC)
#define LEARN_SLICE_NS (100 * NSEC_PER_MSEC)
/* Minutes closed in one transaction, as far as time allows. */
#define CLOSE_SLICE_NS (500 * NSEC_PER_MSEC)
#define SNAPSHOT_EVERY_S 3600
#define ALERTS_ACTIVE_MAX 10000

static const char closed_mark[] = "closed_s";
static const char watermark_mark[] = "watermark_ns";

/* An alert on its way into the store. */
struct held {
    struct held *next;
    char id[EVENT_UUID_BYTES], fingerprint[EVENT_UUID_BYTES], org[64];
    const char *kind;
    int status;
    int64_t at_ns;
    struct buf packed;
};

struct watch {
    const struct config *config;
    struct store *store;
    struct detect *detect;
    struct publish *publish;
    struct rules *rules;
    struct minutes minutes;
    bool must_relearn;
    bool is_learning;  /* no minute is closed before this is done */
    bool learns_late;  /* because of late calls */
    int64_t learned_s; /* up to here */
    struct snapshot snapshot;
    int64_t snapshot_s; /* the last one that is whole, 0 = none */
    uint64_t relearned_mono_ns, learning_ns, peeked_mono_ns, peek_ns;
    uint64_t late_pending, late_mono_ns; /* not learned from yet; since when */
    int64_t late_from_s;                 /* the earliest of them */
    uint64_t late, alerts;
    bool has_news;                 /* events since the last look at the running minute */
    struct held *held, **held_end; /* oldest first */
    bool must_ask;                 /* a commit that failed may have happened */
    bool is_waiting;               /* not all lanes have an owner: nothing is closed */
    bool failed;                   /* the last turn */
};

static int tell_minute(struct watch *w, int64_t minute_s)
{
    int r = detect_begin(w->detect, minute_s);

    if (r == 0)
        r = store_each_cell(w->store, ROLLUP_MINUTE, minute_s, minute_s + MINUTE_S, detect_add,
                            w->detect);
    return r;
}

/* What was found waits until the minute is judged: the store is locked for writing only
 * while it is written. */
static int hold(struct watch *w, const struct alert *a)
{
    struct held *h = calloc(1, sizeof(*h));
    int r;

    if (!h)
        return -ENOMEM;
    text_copy(h->id, sizeof(h->id), a->id);
    text_copy(h->fingerprint, sizeof(h->fingerprint), a->fingerprint);
    text_copy(h->org, sizeof(h->org), a->org);
    h->status = a->status;
    h->kind = alert_rule_kind(a->rule);
    h->at_ns = a->detected_s * (int64_t)NSEC_PER_SEC;
    buf_init(&h->packed, EVENT_MAX_BYTES);
    r = alert_pack(a, &h->packed);
    *w->held_end = h;
    w->held_end = &h->next;
    return r;
}

static void drop_held(struct watch *w)
{
    struct held *h, *next;

    for (h = w->held; h; h = next) {
        next = h->next;
        buf_fini(&h->packed);
        free(h);
    }
    w->held = NULL;
    w->held_end = &w->held;
}

/* In a transaction; they are dropped when it holds. */
static int store_held(struct watch *w)
{
    int r = 0;

    for (const struct held *h = w->held; h && r == 0; h = h->next)
        r = store_add_alert(w->store, &(struct store_alert){
                                          .id = h->id,
                                          .fingerprint = h->fingerprint,
                                          .status = h->status,
                                          .org = h->org,
                                          .kind = h->kind,
                                          .at_ns = h->at_ns,
                                          .payload = buf_slice(&h->packed),
                                      });
    return r;
}

static int on_alert(void *ctx, const struct alert *told)
{
    struct watch *w = ctx;
    struct alert a = *told;
    char reason[1024];
    int r = a.ruling ? 0 : enrich_alert(w->store, &a);

    if (r < 0)
        return r;
    rules_mark(w->rules, &a);
    alert_reason(&a, reason, sizeof(reason));
    log_info("alert", "rule=%s status=%d fingerprint=%s reason=%s", alert_rule_name(a.rule),
             a.status, a.fingerprint, reason);
    w->alerts++;
    return hold(w, &a);
}

/* Rules of other kinds keep their own. */
static bool is_detected(const struct store_alert *row)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;

    if (event_unpack(EVENT_ALERT, row->payload, &message) < 0)
        return false;
    m = (const Lectr__V1__Alert *)message;
    for (int rule = 0; m->rule && rule < DETECT_RULE_COUNT; rule++)
        if (strcmp(m->rule, alert_rule_name((enum alert_rule)rule)) == 0)
            return true;
    return false;
}

/* An episode that the store has as active and the detector, who knows the late
 * data as well, has not: it is over. */
static int end_unknown(void *ctx, const struct store_alert *row)
{
    struct watch *w = ctx;
    struct buf packed;
    char id[EVENT_UUID_BYTES];
    struct store_alert ended = *row;
    int r;

    if (detect_has_episode(w->detect, row->fingerprint) || !is_detected(row))
        return 0;
    buf_init(&packed, EVENT_MAX_BYTES);
    r = alert_pack_resolved(
        row->payload, w->minutes.closed_s,
        w->learns_late ? "Late data explained it: it is no deviation any more."
                       : "Not found again after a start: told of a minute that was not over.",
        &packed, id);
    ended.id = id;
    ended.status = ALERT_RESOLVED;
    ended.at_ns = w->minutes.closed_s * (int64_t)NSEC_PER_SEC;
    ended.payload = buf_slice(&packed);
    if (r == 0)
        r = store_add_alert(w->store, &ended);
    buf_fini(&packed);
    return r;
}

static int note_told(void *ctx, const struct store_alert *row)
{
    detect_set_told(ctx, row->fingerprint);
    return 0;
}

static int reconcile(struct watch *w)
{
    int r = store_begin(w->store);

    if (r < 0)
        return r;
    r = store_each_alert(w->store, 0, true, ALERTS_ACTIVE_MAX, end_unknown, w);
    if (r == 0)
        r = store_commit(w->store);
    if (r < 0) {
        store_rollback(w->store);
        return r;
    }
    r = store_each_alert(w->store, 0, true, ALERTS_ACTIVE_MAX, note_told, w->detect);
    detect_drop_untold(w->detect);
    return r;
}

static bool is_planned(void *ctx, const struct store_series_name *name, int64_t minute_s)
{
    const struct alerting_scope scope = {
        .org = name->org,
        .feature = name->feature,
        .provider = name->provider,
        .model = name->model,
    };

    return rules_is_planned(ctx, &scope, minute_s);
}

/* From the first minute there is. */
static int learn_from_scratch(struct watch *w)
{
    int64_t first_s = 0, last_s = 0, kept_s;
    int r = detect_new(&w->config->detect, &w->detect);

    if (r == 0)
        r = store_span(w->store, ROLLUP_MINUTE, &first_s, &last_s);
    kept_s = w->minutes.closed_s - w->config->retention.minutes_d * INT64_C(86400);
    if (first_s && first_s < kept_s)
        first_s = kept_s - kept_s % MINUTE_S;
    w->learned_s = first_s && first_s < w->minutes.closed_s ? first_s : w->minutes.closed_s;
    w->snapshot_s = 0;
    return r;
}

/* The snapshots after it know nothing of what came late. */
static int learn_from_snapshot(struct watch *w, int64_t until_s)
{
    int r = snapshot_load(w->store, &w->config->detect, until_s, &w->detect, &w->learned_s);

    if (r == 0)
        r = store_begin(w->store);
    if (r < 0)
        return r;
    r = store_drop_baselines(w->store, w->learned_s + 1, INT64_MAX);
    if (r == 0)
        r = store_commit(w->store);
    if (r < 0)
        store_rollback(w->store);
    w->snapshot_s = w->learned_s;
    return r;
}

/* Begins to learn the minutes of the store, up to the last one that was closed. */
static int start_learning(struct watch *w)
{
    const bool is_late = w->late_pending && !w->must_relearn;
    int64_t until_s =
        is_late && w->late_from_s < w->minutes.closed_s ? w->late_from_s : w->minutes.closed_s;
    struct detect *before = TAKE_PTR(w->detect);
    int r;

    w->must_relearn = false;
    w->learns_late = is_late;
    w->late_pending = 0;
    w->relearned_mono_ns = clock_mono_ns();
    w->snapshot.is_under_way = false;
    r = learn_from_snapshot(w, until_s);
    if (r == -ENOENT && is_late && w->snapshot_s) {
        w->detect = before; /* too late for the baselines */
        return 0;
    }
    detect_free(&before);
    if (r == -ENOENT)
        r = learn_from_scratch(w);
    if (r < 0) {
        w->must_relearn = true;
        return r;
    }
    detect_set_planned(w->detect, is_planned, w->rules);
    w->is_learning = true;
    return 0;
}

static int finish_learning(struct watch *w)
{
    int r = reconcile(w);

    if (r < 0)
        return r;
    w->is_learning = false;
    w->learning_ns = clock_mono_ns() - w->relearned_mono_ns;
    log_info("baselines learned", "series=%llu to=%lld",
             (unsigned long long)detect_series(w->detect), (long long)w->minutes.closed_s);
    return 0;
}

/* A slice of it, so that messages are taken in meanwhile. */
static int learn_some(struct watch *w)
{
    uint64_t until_ns = clock_mono_ns() + LEARN_SLICE_NS;
    int r = 0;

    while (r == 0 && w->learned_s < w->minutes.closed_s && clock_mono_ns() < until_ns) {
        r = tell_minute(w, w->learned_s);
        if (r == 0)
            r = detect_close(w->detect, true, NULL, NULL);
        if (r == 0)
            w->learned_s += MINUTE_S;
    }
    if (r == 0 && w->learned_s >= w->minutes.closed_s)
        r = finish_learning(w);
    return r;
}

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
        r = start_learning(w);
    if (r == 0)
        *ret_watch = TAKE_PTR(w);
    watch_free(&w);
    return r;
}

void watch_free(struct watch **watch)
{
    if (!*watch)
        return;
    drop_held(*watch);
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
    r = rules_close(w->rules, minute_s, on_alert, w);
    if (r == 0)
        r = store_held(w);
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
        r = tell_minute(w, minute_s);
    if (r == 0 && w->config->detect.enabled)
        r = detect_close(w->detect, false, on_alert, w);
    if (r == 0)
        r = write_closed(w, minute_s);
    drop_held(w);
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
    r = store_held(w);
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
    r = tell_minute(w, minute_s);
    if (r == 0)
        r = detect_peek(w->detect, (uint32_t)(now_s - minute_s), on_alert, w);
    if (r == 0 && w->held)
        r = write_held(w);
    drop_held(w);
    w->peek_ns = clock_mono_ns() - w->peeked_mono_ns;
    return r;
}

static bool should_relearn(const struct watch *w)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t every_ns = RELEARN_SHARE * w->learning_ns;

    if (w->is_learning)
        return false;
    if (w->must_relearn)
        return true;
    if (now_ns < w->relearned_mono_ns + (every_ns > RELEARN_EVERY_NS ? every_ns : RELEARN_EVERY_NS))
        return false;
    return w->late_pending >= LATE_MANY ||
           (w->late_pending && now_ns >= w->late_mono_ns + LATE_WAIT_NS);
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
    if (should_relearn(w)) {
        r = start_learning(w);
        if (r < 0)
            return r;
    }
    if (w->is_learning)
        return learn_some(w);
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
        log_error("minute not judged, trying again", "error=%s sqlite=%s", strerror(-r),
                  store_error(w->store));
        /* The detector may be ahead of the store: let it start from there. */
        w->must_relearn = true;
        w->must_ask = true;
        w->is_learning = false;
    }
    publish_turn(w->publish, bus, w->minutes.closed_s);
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
    publish_get_rollup_stats(w->publish, &told);
    stats->rollups_told = told.told;
    stats->rollups_revised = told.revised;
    stats->series = w->detect ? detect_series(w->detect) : 0;
    stats->series_refused = w->detect ? detect_refused(w->detect) : 0;
    stats->watermark_ns = w->minutes.watermark_ns;
    stats->closed_s = w->minutes.closed_s;
}
