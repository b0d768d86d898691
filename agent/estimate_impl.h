/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the estimator: what is kept. */
#pragma once

#include "agent/estimate.h"

#define ESTIMATE_COV (ESTIMATE_FEATURES * (ESTIMATE_FEATURES + 1) / 2)

enum estimate_level {
    LEVEL_ALL,
    LEVEL_API,
    LEVEL_PROVIDER,
    LEVEL_STEM, /* "gpt-5", "gemini-2.5": the models of one generation, wherever served */
    LEVEL_MODEL,
    ESTIMATE_LEVELS,
};

struct cell {
    double mean[ESTIMATE_FEATURES];
    double cov[ESTIMATE_COV]; /* lower triangle, by rows */
    double noise;             /* variance, relative */
    double weight;            /* degrees of freedom of `noise` */
    double reports;
};

/* Reasoning that was billed and not shown: how often, and the logarithm of how much. */
struct hidden {
    double calls, hits, mean, square;
};

struct entry {
    char name[ESTIMATE_NAME_MAX]; /* "*", "a:api", "p:provider", "m:provider/model" */
    uint64_t used;
    struct cell cells[ESTIMATE_CLASSES];
    struct hidden hidden[2]; /* where no reasoning was shown, and where some was */
};

struct estimator {
    struct entry *entries;
    uint32_t count;
    uint64_t clock;
    /* Of the interval's half width, by the closest relation that is known. */
    double factor[ESTIMATE_CLASSES][ESTIMATE_LEVELS];
    /* Where set, reports teach nothing: it is told the factor that would just have held. */
    void (*probe)(void *user, enum estimate_class class, enum estimate_level level, double score);
    void *probe_user;
    struct estimator_stats stats;
};
