/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How rare is a deviation? Learns the upper tail of a series of z values and
 * answers with a return period: a value like this is expected once in T weeks.
 *
 * Peaks over a threshold that follows the 98% quantile, exceedances closer than
 * two windows taken as one (a spike is one event, not sixty), the excess modelled
 * by a generalised Pareto tail with a short prior. Peaks far beyond the tail are
 * never learned: anomalies must not become the norm.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tail {
    float threshold; /* u */
    float excess_mean, excess_square;
    uint16_t peak;              /* of the cluster under way, in 1/1024; 0 = none */
    uint16_t last;              /* its latest minute, modulo 2^16 */
    uint16_t samples, clusters; /* as far as they are counted */
};

void tail_init(struct tail *t);
void tail_learn(struct tail *t, double z, int64_t minute, uint32_t window_min);
/* In weeks; 0 for values within the ordinary. */
double tail_return_weeks(const struct tail *t, double z, double history_weeks, uint32_t window_min);
/* The z that is met once in `weeks`. */
double tail_z(const struct tail *t, double weeks, double history_weeks, uint32_t window_min);
