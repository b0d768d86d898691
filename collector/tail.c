/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/tail.h"

#include <math.h>

/* The prior stands for this many clusters. */
#define PRIOR_CLUSTERS 20.0
#define PRIOR_MEAN 0.35
#define PRIOR_SQUARE 0.30
#define PRIOR_CLUSTERS_PER_WEEK 300.0 /* divided by the window's minutes */
#define QUANTILE 0.98
#define SHAPE_MAX 0.1
#define SCALE_MIN 0.2
#define FAR_BEYOND 9.0
#define WEEKS_MAX 1e6
#define PEAK_UNIT 1024.0

void tail_init(struct tail *t)
{
    *t = (struct tail){
        .threshold = 2.0f, .excess_mean = (float)PRIOR_MEAN, .excess_square = (float)PRIOR_SQUARE};
}

static void end_cluster(struct tail *t)
{
    double excess = t->peak / PEAK_UNIT - (double)t->threshold;
    double weight;

    t->peak = 0;
    if (excess <= 0 || excess > FAR_BEYOND * (double)t->excess_mean)
        return;
    t->clusters += t->clusters < UINT16_MAX;
    weight = 1.0 / (PRIOR_CLUSTERS + t->clusters);
    t->excess_mean += (float)(weight * (excess - (double)t->excess_mean));
    t->excess_square += (float)(weight * (excess * excess - (double)t->excess_square));
}

void tail_learn(struct tail *t, double z, int64_t minute, uint32_t window_min)
{
    double step = fmax(0.5 / (1.0 + t->samples / 200.0), 0.02);

    if (t->peak && (uint16_t)((uint16_t)minute - t->last) > 2 * window_min)
        end_cluster(t);
    if (z > (double)t->threshold) {
        double peak = fmin(z * PEAK_UNIT, UINT16_MAX);

        if (peak > t->peak)
            t->peak = (uint16_t)peak;
        t->last = (uint16_t)minute;
    }
    t->threshold += (float)(step * (z > (double)t->threshold ? QUANTILE : QUANTILE - 1.0));
    t->threshold = fmaxf(t->threshold, 1.0f);
    t->samples += t->samples < UINT16_MAX;
}

struct pareto {
    double rate; /* clusters a week */
    double shape, scale;
};

static struct pareto pareto_of(const struct tail *t, double history_weeks, uint32_t window_min)
{
    double prior_rate = PRIOR_CLUSTERS_PER_WEEK / window_min;
    double mean = t->excess_mean, spread = t->excess_square - mean * mean;
    double shape = spread > 0 ? 0.5 * (1.0 - mean * mean / spread) : 0;

    shape = fmin(fmax(shape, 0), SHAPE_MAX);
    return (struct pareto){
        .rate = (t->clusters + PRIOR_CLUSTERS) / (history_weeks + PRIOR_CLUSTERS / prior_rate),
        .shape = shape,
        .scale = fmax(mean, SCALE_MIN) * (1.0 - shape),
    };
}

double tail_return_weeks(const struct tail *t, double z, double history_weeks, uint32_t window_min)
{
    struct pareto p = pareto_of(t, history_weeks, window_min);
    double excess = z - (double)t->threshold, weeks;

    if (excess <= 0)
        return 0;
    if (p.shape < 1e-6)
        weeks = exp(fmin(excess / p.scale, 50)) / p.rate;
    else
        weeks = pow(1.0 + p.shape * excess / p.scale, 1.0 / p.shape) / p.rate;
    return fmin(weeks, WEEKS_MAX);
}

double tail_z(const struct tail *t, double weeks, double history_weeks, uint32_t window_min)
{
    struct pareto p = pareto_of(t, history_weeks, window_min);
    double times = fmax(weeks * p.rate, 1.0);

    if (p.shape < 1e-6)
        return (double)t->threshold + p.scale * log(times);
    return (double)t->threshold + p.scale * (pow(times, p.shape) - 1.0) / p.shape;
}
