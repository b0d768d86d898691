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

#define RATE_MINUTES 16 /* windows of at most one fewer are judged */
#define RATE_HOURS 24

struct rate_counts {
    float calls;
    float hits;
};

/* Zeroed memory is an empty one; the bytes are the whole state. */
struct rate {
    struct rate_counts ring[RATE_MINUTES]; /* minutes */
    uint16_t hours[RATE_HOURS];            /* shares of hours, in 1/65535; 0: too few calls */
    struct rate_counts hour;               /* the running one */
    struct rate_counts all;                /* forgotten with a half-life of a week */
    uint32_t last_minute, age_min;
    uint16_t held_min; /* how long an alert has kept this from learning */
    uint8_t hour_minutes;
    uint8_t next_hour; /* where the next one goes */
};

/* `hold`: an alert is under way, do not learn from it (for 90 minutes). */
void rate_learn(struct rate *r, int64_t minute, const struct rate_counts *m, bool hold);
/* `share_min`: smaller shares never fire. `running` as in baseline_judge. */
void rate_judge(const struct rate *r, const struct baseline_settings *s, double share_min,
                const struct rate_counts *running, uint32_t running_s, struct finding *ret_finding);
/* As baseline_save and baseline_load. */
int rate_save(const struct rate *r, struct buf *into) LECTR_MUST_USE;
int rate_load(struct slice bytes, struct rate *ret_rate) LECTR_MUST_USE;
