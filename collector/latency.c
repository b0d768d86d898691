/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/latency.h"

#include <stddef.h>

#define MINUTE_S 60
/* Slower than this many times the usual p95 is slow. */
#define SLOW_RATIO 1.5
#define SLOW_SHARE_MIN 0.05 /* then the window's p95 is beyond the bound */
/* The latency sketches are exchanged after this long: the baseline spans one to two. */
#define LATENCY_GENERATION_MIN (3 * 1440 + 720)

void latency_fini(struct latency *l)
{
    for (int i = 0; i < LATENCY_RING; i++)
        sketch_fini(&l->ring[i]);
    for (int i = 0; i < 2; i++)
        sketch_fini(&l->generations[i]);
}

static struct rate_counts slow_counts(const struct latency *l, const struct sketch *minute)
{
    return (struct rate_counts){
        .calls = (float)minute->count,
        .hits = l->bound > 0 ? (float)sketch_count_above(minute, l->bound) : 0,
    };
}

static int usual_latency(const struct latency *l, struct sketch *ret_usual)
{
    int r = sketch_merge(ret_usual, &l->generations[0]);

    return r < 0 ? r : sketch_merge(ret_usual, &l->generations[1]);
}

static int renew_bound(struct latency *l)
{
    struct sketch usual = {0};
    int r = usual_latency(l, &usual);

    if (r == 0 && usual.count > 0)
        l->bound = SLOW_RATIO * sketch_quantile(&usual, 0.95);
    sketch_fini(&usual);
    return r;
}

int latency_learn(struct latency *l, int64_t minute, const struct sketch *m, bool hold)
{
    struct sketch *place = &l->ring[minute % LATENCY_RING];
    struct rate_counts counts = slow_counts(l, m);
    int r;

    sketch_reset(place);
    r = sketch_merge(place, m);
    rate_learn(&l->slow, minute, &counts, hold);
    if (r == 0 && (!hold || l->slow.held_min > 90))
        r = sketch_merge(&l->generations[0], m);
    if (r == 0 && ++l->young_min >= LATENCY_GENERATION_MIN) {
        sketch_fini(&l->generations[1]);
        l->generations[1] = l->generations[0];
        l->generations[0] = (struct sketch){0};
        l->young_min = 0;
    }
    /* Each hour the bound follows. */
    if (r == 0 && (minute + 1) % 60 == 0)
        r = renew_bound(l);
    return r;
}

int latency_judge(const struct latency *l, const struct baseline_settings *settings, bool is_active,
                  const struct sketch *running, uint32_t running_s, struct finding *ret_finding)
{
    struct sketch window = {0}, usual = {0};
    struct rate_counts counts = {0};
    unsigned minutes;
    int r = 0;

    if (running)
        counts = slow_counts(l, running);
    rate_judge(&l->slow, settings, SLOW_SHARE_MIN, running ? &counts : NULL, running_s,
               ret_finding);
    /* The end of an episode is told as a latency, too. */
    if (!ret_finding->fires && ret_finding->is_calm && !is_active)
        return 0;
    minutes = ret_finding->window_s / MINUTE_S;
    for (unsigned i = 0; i < minutes && i < LATENCY_RING && r == 0; i++)
        r = sketch_merge(&window, &l->ring[(size_t)(l->slow.last_minute - i) % LATENCY_RING]);
    if (r == 0 && running)
        r = sketch_merge(&window, running);
    if (r == 0)
        r = usual_latency(l, &usual);
    if (r == 0) {
        ret_finding->observed = sketch_quantile(&window, 0.95);
        ret_finding->baseline = sketch_quantile(&usual, 0.95);
        ret_finding->lower = sketch_quantile(&usual, 0.90);
        ret_finding->upper = sketch_quantile(&usual, 0.98);
        ret_finding->fires &= ret_finding->observed > ret_finding->baseline;
    }
    sketch_fini(&window);
    sketch_fini(&usual);
    return r;
}
