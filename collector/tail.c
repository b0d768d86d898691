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

void tail_init(struct tail *t)
{
    *t = (struct tail){
        .threshold = 2.0f, .excess_mean = (float)PRIOR_MEAN, .excess_square = (float)PRIOR_SQUARE};
}

static void end_cluster(struct tail *t)
{
    double excess = t->peak - t->threshold;
    double weight;

    t->last_minute = 0;
    if (excess <= 0 || excess > FAR_BEYOND * t->excess_mean)
        return;
    t->clusters++;
    weight = 1.0 / (PRIOR_CLUSTERS + t->clusters);
    t->excess_mean += (float)(weight * (excess - t->excess_mean));
    t->excess_square += (float)(weight * (excess * excess - t->excess_square));
}

void tail_learn(struct tail *t, double z, int64_t minute, uint32_t window_min)
{
    double step = fmax(0.5 / (1.0 + t->samples / 200.0), 0.02);

    if (t->last_minute && minute - t->last_minute > 2 * (int64_t)window_min)
        end_cluster(t);
    if (z > t->threshold) {
        if (!t->last_minute || z > t->peak)
            t->peak = (float)z;
        t->last_minute = minute;
    }
    t->threshold += (float)(step * (z > t->threshold ? QUANTILE : QUANTILE - 1.0));
    t->threshold = fmaxf(t->threshold, 1.0f);
    t->samples++;
}

double tail_return_weeks(const struct tail *t, double z, double history_weeks, uint32_t window_min)
{
    double prior_rate = PRIOR_CLUSTERS_PER_WEEK / window_min;
    double rate = (t->clusters + PRIOR_CLUSTERS) / (history_weeks + PRIOR_CLUSTERS / prior_rate);
    double mean = t->excess_mean;
    double spread = t->excess_square - mean * mean;
    double shape = spread > 0 ? 0.5 * (1.0 - mean * mean / spread) : 0;
    double scale, weeks;

    if (z <= t->threshold)
        return 0;
    shape = fmin(fmax(shape, 0), SHAPE_MAX);
    scale = fmax(mean, SCALE_MIN) * (1.0 - shape);
    if (shape < 1e-6)
        weeks = exp(fmin((z - t->threshold) / scale, 50)) / rate;
    else
        weeks = pow(1.0 + shape * (z - t->threshold) / scale, 1.0 / shape) / rate;
    return fmin(weeks, WEEKS_MAX);
}
