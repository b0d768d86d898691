/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/rate.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define WEEK_MIN 10080.0
#define HOLD_MAX_MIN 90
#define HITS_LEAST 5.0
#define CALLS_LEAST 20.0
/* The prior: half a hit in fifty calls. */
#define PRIOR_CALLS 50.0
#define PRIOR_HITS 0.5
#define RATIO_LEAST 2.0

#define SHARE_UNIT 65535.0
#define VERSION 1u

static double share(double hits, double calls)
{
    return (hits + PRIOR_HITS) / (calls + PRIOR_CALLS);
}

static void close_hour(struct rate *r)
{
    double p = share((double)r->hour.hits, (double)r->hour.calls);

    r->hours[r->next_hour] =
        (double)r->hour.calls < CALLS_LEAST ? 0 : (uint16_t)ceil(fmin(p, 1) * SHARE_UNIT);
    r->next_hour = (uint8_t)((r->next_hour + 1) % RATE_HOURS);
    r->hour = (struct rate_counts){0};
    r->hour_minutes = 0;
}

void rate_learn(struct rate *r, int64_t minute, const struct rate_counts *m, bool hold)
{
    const float keep = (float)exp2(-1.0 / WEEK_MIN);

    r->ring[(size_t)minute % RATE_MINUTES] = *m;
    r->last_minute = (uint32_t)minute;
    r->age_min++;
    r->held_min = hold ? (uint16_t)(r->held_min + (r->held_min < UINT16_MAX)) : 0;
    if (hold && r->held_min <= HOLD_MAX_MIN)
        return;
    r->all.calls = r->all.calls * keep + m->calls;
    r->all.hits = r->all.hits * keep + m->hits;
    r->hour.calls += m->calls;
    r->hour.hits += m->hits;
    if (++r->hour_minutes == 60)
        close_hour(r);
}

/* Lowest share and the second highest of the last day's hours: one bad hour
 * does not make bad hours usual, two do. */
static void hourly_band(const struct rate *r, double usual, double *ret_low, double *ret_high)
{
    double low = usual, first = usual, second = usual;

    for (uint32_t i = 0; i < RATE_HOURS; i++) {
        double p = r->hours[i] / SHARE_UNIT;

        if (r->hours[i] == 0)
            continue;
        low = fmin(low, p);
        if (p > first) {
            second = first;
            first = p;
        } else if (p > second) {
            second = p;
        }
    }
    *ret_low = low;
    *ret_high = second;
}

/* Nats by which `observed` of `calls` is unlikely when `p` is true. */
static double surprise(double calls, double observed, double p)
{
    double kl = 0;

    if (observed <= p)
        return 0;
    if (observed > 0)
        kl += observed * log(observed / p);
    if (observed < 1)
        kl += (1 - observed) * log((1 - observed) / (1 - p));
    return calls * kl;
}

static void judge_window(const struct rate *r, const struct baseline_settings *s, uint32_t window,
                         double share_min, double usual, double high,
                         const struct rate_counts *running, struct finding *f)
{
    double calls = running ? (double)running->calls : 0;
    double hits = running ? (double)running->hits : 0;
    double need = log(s->windows_count * s->target_weeks * WEEK_MIN);
    double observed, p = fmax(usual, high);

    for (uint32_t i = running ? 1 : 0; i < window; i++) {
        const struct rate_counts *m =
            &r->ring[(size_t)(r->last_minute + (running ? 1 : 0) - i) % RATE_MINUTES];

        calls += (double)m->calls;
        hits += (double)m->hits;
    }
    observed = calls > 0 ? hits / calls : 0;
    f->observed = observed;
    f->samples = calls;
    f->sigmas = calls > 0 ? (observed - p) / sqrt(p * (1 - p) / calls) : 0;
    f->is_calm = observed <= fmax(p * RATIO_LEAST / 1.3, share_min) || hits < HITS_LEAST / 2;
    f->fires = calls >= CALLS_LEAST && hits >= HITS_LEAST && observed >= share_min &&
               observed >= RATIO_LEAST * p && surprise(calls, observed, p) >= need;
}

void rate_judge(const struct rate *r, const struct baseline_settings *s, double share_min,
                const struct rate_counts *running, uint32_t running_s, struct finding *ret_finding)
{
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    struct finding found = {.is_calm = true};
    double usual = share((double)r->all.hits, (double)r->all.calls), low, high;

    *ret_finding = found;
    if (r->age_min < s->history_min)
        return;
    hourly_band(r, usual, &low, &high);
    /* Long windows remember too well to say that something goes on. */
    for (unsigned i = 0; i <= recent; i++) {
        uint32_t window = s->windows_min[i] < RATE_MINUTES ? s->windows_min[i] : RATE_MINUTES - 1;
        struct finding one = {0};

        judge_window(r, s, window, share_min, usual, high, running, &one);
        one.window_s = 60 * (window - (running ? 1 : 0)) + (running ? running_s : 0);
        one.baseline = usual;
        one.lower = low;
        one.upper = high;
        if (i == 0 || one.fires || !found.fires)
            found = one;
    }
    *ret_finding = found;
}

/* --- keeping it --- */

struct header {
    uint32_t version, bytes;
};

int rate_save(const struct rate *r, struct buf *into)
{
    const struct header h = {VERSION, sizeof(*r)};
    int ret = buf_append(into, slice_of(&h, sizeof(h)));

    return ret < 0 ? ret : buf_append(into, slice_of(r, sizeof(*r)));
}

int rate_load(struct slice bytes, struct rate *ret_rate)
{
    const struct header h = {VERSION, sizeof(*ret_rate)};

    if (bytes.len != sizeof(h) + sizeof(*ret_rate) || memcmp(bytes.data, &h, sizeof(h)) != 0)
        return -EPROTO;
    memcpy(ret_rate, bytes.data + sizeof(h), sizeof(*ret_rate));
    if (ret_rate->next_hour >= RATE_HOURS || ret_rate->hour_minutes >= 60) {
        *ret_rate = (struct rate){0};
        return -EPROTO;
    }
    return 0;
}
