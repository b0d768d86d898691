/* SPDX-License-Identifier: Apache-2.0 */
/* What the detector knows is had from the store: the newest snapshot, and the minutes since. */
#include "collector/store_query.h"
#include "collector/watch_priv.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

/* Late calls are learned from again, as far as snapshots reach back, when there are
 * many, or after a while; not more often than a minute, and for a twentieth of the time
 * at most. Older ones change roll-ups, not baselines. */
#define RELEARN_EVERY_NS (60 * NSEC_PER_SEC)
#define RELEARN_SHARE 20
#define LATE_MANY 100
#define LATE_WAIT_NS (600 * NSEC_PER_SEC)
#define LEARN_SLICE_NS (100 * NSEC_PER_MSEC)

int watch_tell_minute(struct watch *w, int64_t minute_s)
{
    int r = detect_begin(w->detect, minute_s);

    if (r == 0)
        r = store_each_cell(w->store, ROLLUP_MINUTE, minute_s, minute_s + MINUTE_S, detect_add,
                            w->detect);
    return r;
}

/* After a start: told of the running minute, which whole minutes do not tell. Late data is another
 * matter: what is not found again is explained. */
static int adopt(void *ctx, const struct store_alert *row)
{
    struct alert told;
    int r = alert_read_told(row->payload, &told);

    return r == 0 ? detect_adopt(ctx, &told) : r == -ENOMEM ? r : 0;
}

/* An episode that the store has as active and the detector, who knows the late
 * data as well, has not: it is over. */
static int end_unknown(void *ctx, const struct store_alert *row)
{
    struct watch *w = ctx;
    struct buf packed;
    char id[EVENT_UUID_BYTES];
    struct store_alert ended = *row;
    struct alert told;
    int r;

    /* Rules of other kinds keep their own. */
    if (detect_has_episode(w->detect, row->fingerprint) || alert_read_told(row->payload, &told) < 0)
        return 0;
    buf_init(&packed, EVENT_MAX_BYTES);
    r = alert_pack_resolved(row->payload, w->minutes.closed_s,
                            w->learns_late ? "Late data explained it: it is no deviation any more."
                                           : "Not found again after a start: its series is gone.",
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
    int r = w->learns_late ? 0 : store_each_active(w->store, adopt, w->detect);

    if (r == 0)
        r = store_begin(w->store);
    if (r < 0)
        return r;
    r = store_each_active(w->store, end_unknown, w);
    if (r == 0)
        r = store_commit(w->store);
    if (r < 0) {
        store_rollback(w->store);
        return r;
    }
    r = store_each_active(w->store, note_told, w->detect);
    if (r == 0)
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

int watch_start_learning(struct watch *w)
{
    const bool is_late = w->late_pending, must_relearn = w->must_relearn;
    int64_t until_s =
        is_late && w->late_from_s < w->minutes.closed_s ? w->late_from_s : w->minutes.closed_s;
    struct detect *before = TAKE_PTR(w->detect);
    int r;

    w->must_relearn = false;
    w->learns_late = is_late && !must_relearn;
    w->relearned_mono_ns = clock_mono_ns();
    w->snapshot.is_under_way = false;
    r = learn_from_snapshot(w, until_s);
    if (r == -ENOENT && is_late && w->snapshot_s) { /* too late for the baselines */
        if (!must_relearn) {
            w->late_pending = 0;
            w->detect = before;
            return 0;
        }
        r = learn_from_snapshot(w, w->minutes.closed_s);
    }
    detect_free(&before);
    if (r == -ENOENT)
        r = learn_from_scratch(w);
    if (r < 0) {
        w->must_relearn = true;
        return r;
    }
    w->late_pending = 0;
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

int watch_learn_some(struct watch *w)
{
    uint64_t until_ns = clock_mono_ns() + LEARN_SLICE_NS;
    int r = 0;

    while (r == 0 && w->learned_s < w->minutes.closed_s && clock_mono_ns() < until_ns) {
        r = watch_tell_minute(w, w->learned_s);
        if (r == 0)
            r = detect_close(w->detect, true, NULL, NULL);
        if (r == 0)
            w->learned_s += MINUTE_S;
    }
    if (r == 0 && w->learned_s >= w->minutes.closed_s)
        r = finish_learning(w);
    return r;
}

bool watch_should_relearn(const struct watch *w)
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
