/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded traffic of an organisation: features with a model at each of two providers,
 * called from two workloads, and what happens to them.
 */
#pragma once

#include "collector/config.h"
#include "collector/rollup.h"
#include "collector/store_query.h"
#include "tests/detect/traffic.h"

#define FLEET_FEATURES_MAX 32
#define FLEET_EVERY -1

/* What happens to the models of a feature at a provider, FLEET_EVERY: all of them. */
struct fleet_event {
    enum traffic_kind kind;
    double factor;
    int feature, provider;
    int64_t from_min, minutes;
};

/* How the detector that watches it is set: its defaults, 100 weeks asked for. */
extern const struct config_detect fleet_settings;

struct fleet {
    unsigned features;
    struct traffic traffic[2 * FLEET_FEATURES_MAX];
    struct rollup_cell cell;
};

void fleet_init(struct fleet *f, unsigned features, double per_min, uint64_t seed,
                const struct fleet_event *events, unsigned count);
void fleet_fini(struct fleet *f);
/* The next minute, as the roll-ups have it; aborts when `each` fails. */
void fleet_next(struct fleet *f, int64_t minute_s,
                int (*each)(void *ctx, const struct store_series_name *name,
                            const struct rollup_cell *cell),
                void *ctx);
