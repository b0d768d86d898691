/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/rate.h"

#include <math.h>
#include <stddef.h>

#define RING (sizeof(((struct rate *)0)->ring) / sizeof(struct rate_counts))
#define WEEK_MIN 10080.0
#define HOLD_MAX_MIN 90
#define HITS_LEAST 5.0
#define CALLS_LEAST 20.0
/* The prior: half a hit in fifty calls. */
#define PRIOR_CALLS 50.0
#define PRIOR_HITS 0.5
#define RATIO_LEAST 2.0

void rate_learn(struct rate *r, int64_t minute, const struct rate_counts *m, bool hold)
{
    double keep = exp2(-1.0 / WEEK_MIN);

    r->ring[(size_t)minute % RING] = *m;
    r->last_minute = minute;
    r->age_min++;
    r->held_min = hold ? r->held_min + 1 : 0;
    if (hold && r->held_min <= HOLD_MAX_MIN)
        return;
    r->calls = r->calls * keep + (double)m->calls;
    r->hits = r->hits * keep + (double)m->hits;
    r->hour.calls += m->calls;
    r->hour.hits += m->hits;
    if (++r->hour_minutes < 60)
        return;
    r->hours[r->hours_learned++ % 24] = r->hour;
    r->hour = (struct rate_counts){0};
    r->hour_minutes = 0;
}

static double share(double hits, double calls)
{
    return (hits + PRIOR_HITS) / (calls + PRIOR_CALLS);
}

/* Lowest share and the second highest of the last day's hours: one bad hour
 * does not make bad hours usual, two do. */
static void hourly_band(const struct rate *r, double usual, double *ret_low, double *ret_high)
{
    double low = usual, first = usual, second = usual;
    uint32_t count = r->hours_learned < 24 ? r->hours_learned : 24;

    for (uint32_t i = 0; i < count; i++) {
        double p;

        if ((double)r->hours[i].calls < CALLS_LEAST)
            continue;
        p = share((double)r->hours[i].hits, (double)r->hours[i].calls);
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
            &r->ring[(size_t)(r->last_minute + (running ? 1 : 0) - i) % RING];

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
    double usual = share(r->hits, r->calls), low, high;

    *ret_finding = found;
    if (r->age_min < s->history_min)
        return;
    hourly_band(r, usual, &low, &high);
    /* Long windows remember too well to say that something goes on. */
    for (unsigned i = 0; i <= recent; i++) {
        struct finding one = {0};

        judge_window(r, s, s->windows_min[i], share_min, usual, high, running, &one);
        one.window_s = 60 * (s->windows_min[i] - (running ? 1 : 0)) + (running ? running_s : 0);
        one.baseline = usual;
        one.lower = low;
        one.upper = high;
        if (i == 0 || one.fires || !found.fires)
            found = one;
    }
    *ret_finding = found;
}
