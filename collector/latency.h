/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a series slower than usual? The usual latency is a distribution in coarse
 * steps, forgotten with a half-life of half a week; calls beyond a bound taken from
 * it are slow, and the share of those is judged (rate.h). What is told is the p95:
 * of the minutes at hand to 1%, of what is usual to a few percent.
 */
#pragma once

#include "collector/rate.h"
#include "collector/sketch.h"

#define LATENCY_MINUTES 5
/* Fifteen buckets of a sketch are one step, from a millisecond to a quarter of an hour. */
#define LATENCY_STEP 15
#define LATENCY_STEP_FIRST 23
#define LATENCY_STEPS 46

/* Calls of one of the latest minutes in one bucket of a sketch. */
struct latency_recent {
    uint16_t minute; /* modulo 2^16 */
    uint16_t bucket;
    uint32_t calls;
};

/* Zeroed memory is an empty one. */
struct latency {
    struct latency_recent *recent; /* by minute */
    uint32_t recent_count, recent_room;
    float usual[LATENCY_STEPS];
    uint16_t bound; /* the bucket above which a call is slow; 0 = not known yet */
    struct rate slow;
};

void latency_fini(struct latency *l);
/* `hold`: an alert is under way, do not learn from it (for 90 minutes). -ENOMEM. */
int latency_learn(struct latency *l, int64_t minute, const struct sketch *m,
                  bool hold) LECTR_MUST_USE;
/* `is_active`: tell the latency even when it is as usual. `running` as in
 * baseline_judge. */
void latency_judge(const struct latency *l, const struct baseline_settings *settings,
                   bool is_active, const struct sketch *running, uint32_t running_s,
                   struct finding *ret_finding);
/* As baseline_save and baseline_load; `ret_latency` is an empty one. */
int latency_save(const struct latency *l, struct buf *into) LECTR_MUST_USE;
int latency_load(struct slice bytes, struct latency *ret_latency) LECTR_MUST_USE;
