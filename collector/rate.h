/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expectation of a share: of calls that fail, of calls slower than a bound.
 * Judged by the binomial tail (Chernoff's bound, so never too eager), against
 * the usual share or that of a bad hour of the last day, whichever is higher.
 */
#pragma once

#include "collector/baseline.h"
#include "collector/finding.h"

#include <stdbool.h>
#include <stdint.h>

struct rate_counts {
    float calls;
    float hits;
};

/* Zeroed memory is an empty one. */
struct rate {
    struct rate_counts ring[64]; /* minutes */
    struct rate_counts hours[24];
    struct rate_counts hour; /* the running one */
    double calls, hits;      /* all, forgotten with a half-life of a week */
    uint32_t age_min, hour_minutes, hours_learned;
    uint32_t held_min; /* how long an alert has kept this from learning */
    int64_t last_minute;
};

/* `hold`: an alert is under way, do not learn from it (for 90 minutes). */
void rate_learn(struct rate *r, int64_t minute, const struct rate_counts *m, bool hold);
/* `share_min`: smaller shares never fire. `running` as in baseline_judge. */
void rate_judge(const struct rate *r, const struct baseline_settings *s, double share_min,
                const struct rate_counts *running, uint32_t running_s, struct finding *ret_finding);
