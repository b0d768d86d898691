/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/latency.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define MINUTE_S 60
/* Slower than this many times the usual p95 is slow. */
#define SLOW_RATIO 1.5
#define SLOW_SHARE_MIN 0.05 /* then the window's p95 is beyond the bound */
#define HALF_LIFE_HOURS 84.0
#define HOLD_MAX_MIN 90
#define VERSION 1u

void latency_fini(struct latency *l)
{
    free(l->recent);
    *l = (struct latency){0};
}

/* --- what is usual --- */

static uint32_t step_of(uint32_t bucket)
{
    uint32_t step = bucket / LATENCY_STEP;

    step = step > LATENCY_STEP_FIRST ? step - LATENCY_STEP_FIRST : 0;
    return step < LATENCY_STEPS ? step : LATENCY_STEPS - 1;
}

static void add_usual(struct latency *l, const struct sketch *m)
{
    struct sketch_walk w = {0};

    while (sketch_walk(m, &w))
        l->usual[step_of(w.bucket)] += (float)w.calls;
}

/* The bucket of a quantile, evenly spread over its step; 0 when nothing is known. */
static uint32_t usual_bucket(const struct latency *l, double q)
{
    double total = 0, rank;

    for (int i = 0; i < LATENCY_STEPS; i++)
        total += (double)l->usual[i];
    rank = q * total;
    for (int i = 0; i < LATENCY_STEPS && total > 0; i++) {
        double there = (double)l->usual[i];

        if (there > 0 && rank <= there)
            return (uint32_t)((i + LATENCY_STEP_FIRST + rank / there) * LATENCY_STEP);
        rank -= there;
    }
    return 0;
}

static double usual_latency(const struct latency *l, double q)
{
    uint32_t bucket = usual_bucket(l, q);

    return bucket ? sketch_bucket_value(bucket) : 0;
}

/* Each hour the bound follows, and the old is forgotten a little. */
static void renew_bound(struct latency *l)
{
    const float keep = (float)exp2(-1.0 / HALF_LIFE_HOURS);
    const double step = log(sketch_bucket_value(2) / sketch_bucket_value(1));
    uint32_t p95 = usual_bucket(l, 0.95);

    if (p95)
        l->bound = (uint16_t)(p95 + (uint32_t)lround(log(SLOW_RATIO) / step));
    for (int i = 0; i < LATENCY_STEPS; i++)
        l->usual[i] *= keep;
}

/* --- the latest minutes --- */

static uint32_t count_slow(const struct latency *l, const struct sketch *m)
{
    struct sketch_walk w = {0};
    uint64_t slow = 0;

    while (l->bound && sketch_walk(m, &w))
        if (w.bucket > l->bound)
            slow += w.calls;
    return (uint32_t)slow;
}

static struct rate_counts slow_counts(const struct latency *l, const struct sketch *m)
{
    return (struct rate_counts){.calls = (float)m->count, .hits = (float)count_slow(l, m)};
}

static void forget_recent(struct latency *l, int64_t minute)
{
    uint32_t old = 0;

    while (old < l->recent_count &&
           (uint16_t)((uint16_t)minute - l->recent[old].minute) >= LATENCY_MINUTES)
        old++;
    l->recent_count -= old;
    if (old && l->recent_count)
        memmove(l->recent, l->recent + old, l->recent_count * sizeof(*l->recent));
}

/* Room for so many more; what a busy hour took is given back. */
static int make_room(struct latency *l, uint32_t more)
{
    uint32_t need = l->recent_count + more, room = need + need / 4;
    struct latency_recent *place;

    if (need <= l->recent_room && l->recent_room <= 4 * need + 16)
        return 0;
    if (room == 0)
        return 0;
    place = realloc(l->recent, room * sizeof(*place));
    if (!place)
        return -ENOMEM;
    l->recent = place;
    l->recent_room = room;
    return 0;
}

static int note_recent(struct latency *l, int64_t minute, const struct sketch *m)
{
    struct sketch_walk w = {0};
    uint32_t filled = 0;
    int r;

    forget_recent(l, minute);
    while (sketch_walk(m, &w))
        filled++;
    r = make_room(l, filled);
    w = (struct sketch_walk){0};
    while (r == 0 && sketch_walk(m, &w))
        l->recent[l->recent_count++] = (struct latency_recent){
            .minute = (uint16_t)minute,
            .bucket = (uint16_t)w.bucket,
            .calls = (uint32_t)(w.calls < UINT32_MAX ? w.calls : UINT32_MAX),
        };
    return r;
}

int latency_learn(struct latency *l, int64_t minute, const struct sketch *m, bool hold)
{
    struct rate_counts counts = slow_counts(l, m);
    int r = note_recent(l, minute, m);

    if (r < 0)
        return r;
    rate_learn(&l->slow, minute, &counts, hold);
    if (!hold || l->slow.held_min > HOLD_MAX_MIN)
        add_usual(l, m);
    if ((minute + 1) % 60 == 0)
        renew_bound(l);
    return 0;
}

/* --- judging --- */

static double recent_latency(const struct latency *l, uint32_t minutes,
                             const struct sketch *running, double q)
{
    uint64_t counts[SKETCH_BUCKETS] = {0}, total = 0, seen = 0;
    struct sketch_walk w = {0};

    for (uint32_t i = 0; i < l->recent_count; i++) {
        const struct latency_recent *e = &l->recent[i];

        if ((uint16_t)((uint16_t)l->slow.last_minute - e->minute) >= minutes ||
            e->bucket >= SKETCH_BUCKETS)
            continue;
        counts[e->bucket] += e->calls;
        total += e->calls;
    }
    while (running && sketch_walk(running, &w)) {
        counts[w.bucket] += w.calls;
        total += w.calls;
    }
    for (uint32_t i = 0; i < SKETCH_BUCKETS && total; i++) {
        seen += counts[i];
        if (seen > (uint64_t)(q * (double)(total - 1)))
            return sketch_bucket_value(i);
    }
    return 0;
}

void latency_judge(const struct latency *l, const struct baseline_settings *settings,
                   bool is_active, const struct sketch *running, uint32_t running_s,
                   struct finding *ret_finding)
{
    struct rate_counts counts = {0};

    if (running)
        counts = slow_counts(l, running);
    rate_judge(&l->slow, settings, SLOW_SHARE_MIN, running ? &counts : NULL, running_s,
               ret_finding);
    /* The end of an episode is told as a latency, too. */
    if (!ret_finding->fires && ret_finding->is_calm && !is_active)
        return;
    ret_finding->observed = recent_latency(l, ret_finding->window_s / MINUTE_S, running, 0.95);
    ret_finding->baseline = usual_latency(l, 0.95);
    ret_finding->lower = usual_latency(l, 0.90);
    ret_finding->upper = usual_latency(l, 0.98);
    ret_finding->fires &= ret_finding->observed > ret_finding->baseline;
}

/* --- keeping it --- */

struct header {
    uint32_t version, bytes, recent;
};

int latency_save(const struct latency *l, struct buf *into)
{
    const struct header h = {VERSION, sizeof(*l), l->recent_count};
    struct latency flat = *l;
    int r = buf_append(into, slice_of(&h, sizeof(h)));

    flat.recent = NULL;
    flat.recent_room = 0;
    if (r == 0)
        r = buf_append(into, slice_of(&flat, sizeof(flat)));
    if (r == 0 && l->recent_count)
        r = buf_append(into, slice_of(l->recent, l->recent_count * sizeof(*l->recent)));
    return r;
}

int latency_load(struct slice bytes, struct latency *ret_latency)
{
    struct cursor c = cursor_of(bytes);
    struct slice head = cursor_take(&c, sizeof(struct header));
    struct slice flat = cursor_take(&c, sizeof(struct latency));
    struct latency l;
    struct header h;

    if (c.failed)
        return -EPROTO;
    memcpy(&h, head.data, sizeof(h));
    memcpy(&l, flat.data, sizeof(l));
    if (h.version != VERSION || h.bytes != sizeof(l) || h.recent != l.recent_count ||
        c.rest.len != (size_t)h.recent * sizeof(*l.recent) || l.slow.hour_minutes >= 60 ||
        l.slow.next_hour >= RATE_HOURS)
        return -EPROTO;
    l.recent = NULL;
    l.recent_room = l.recent_count;
    if (l.recent_count) {
        l.recent = malloc(c.rest.len);
        if (!l.recent)
            return -ENOMEM;
        memcpy(l.recent, c.rest.data, c.rest.len);
    }
    *ret_latency = l;
    return 0;
}
