/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others would say of the same minutes: a rule of three sigmas over the last
 * day, and Grafana's adaptive rules (promql-anomaly-detection), both on the sum of
 * five minutes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RIVALS_WEEK_MIN 10080

struct rivals {
    int64_t minutes;
    float minute[8];
    float sums[RIVALS_WEEK_MIN + 64]; /* of five minutes */
    float spreads[26 * 60];           /* of an hour, where they are high; 0 elsewhere */
    double day_sum, day_squares;      /* of the sums of a day */
    double spread_sum;
    uint32_t spread_count;
    uint32_t beyond_min; /* Grafana waits five minutes */
    bool sigma_fires, grafana_fires;
};

void rivals_init(struct rivals *r);
void rivals_next(struct rivals *r, double value);
