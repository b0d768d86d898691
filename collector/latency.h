/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a series slower than usual? The usual latency is a distribution; calls beyond a
 * bound taken from it are slow, and the share of those is judged (rate.h). What is
 * told is the p95.
 */
#pragma once

#include "collector/rate.h"
#include "collector/sketch.h"

#define LATENCY_RING 5

/* Zeroed memory is an empty one. */
struct latency {
    struct sketch ring[LATENCY_RING]; /* minutes */
    struct sketch generations[2];     /* young, old */
    uint32_t young_min;
    double bound; /* above it a call is slow; 0 = not known yet */
    struct rate slow;
};

void latency_fini(struct latency *l);
/* `hold`: an alert is under way, do not learn from it (for 90 minutes). */
int latency_learn(struct latency *l, int64_t minute, const struct sketch *m,
                  bool hold) LECTR_MUST_USE;
/* `is_active`: tell the latency even when it is as usual. `running` as in
 * baseline_judge. */
int latency_judge(const struct latency *l, const struct baseline_settings *settings, bool is_active,
                  const struct sketch *running, uint32_t running_s,
                  struct finding *ret_finding) LECTR_MUST_USE;
