/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the judge has told of the roll-ups, and what has changed since: buckets
 * that lanes touched wait in the store until all of them is published.
 */
#pragma once

#include "collector/store_lane.h"

struct store_bucket {
    uint32_t seconds;
    int64_t bucket;
};

/* Touches the buckets of which something is told later, whoever touched them before. */
#define STORE_LANE_HELD (-2)

struct store_changed {
    int64_t closed_s; /* they end at or before this */
    struct store_bucket after;
    bool with_held; /* also what only STORE_LANE_HELD touched */
    unsigned limit;
};
/* The finest resolution first, then the oldest. */
int store_each_changed(struct store *s, const struct store_changed *which,
                       int (*each)(void *ctx, const struct store_bucket *bucket),
                       void *ctx) LECTR_MUST_USE;
/* Who touched the bucket, and when last: for store_clear_touched(), after all is told. */
int store_each_touch_of(struct store *s, const struct store_bucket *bucket,
                        int (*each)(void *ctx, const struct store_touched *touched),
                        void *ctx) LECTR_MUST_USE;

/* A cell of which something was not told yet, merged over its lanes. */
struct store_untold_cell {
    struct store_series_name name;
    const struct rollup_cell *cell;
    int64_t revision; /* the sum over the lanes: rises when any of them does */
    int64_t told;     /* what of it was told last, 0 = never */
};
/* At most `limit` cells, by the number of their series, beyond `after_series`. */
int store_each_untold_cell(struct store *s, const struct store_bucket *bucket, int64_t after_series,
                           unsigned limit,
                           int (*each)(void *ctx, const struct store_untold_cell *cell),
                           void *ctx) LECTR_MUST_USE;
/* Once for a cell in a row of calls with no other statement between them. */
int store_set_cell_told(struct store *s, const struct store_bucket *bucket, int64_t series,
                        int64_t revision) LECTR_MUST_USE;

/* Coverage of a bucket, merged over the lanes: the rows of one workload and provider follow
 * each other. */
struct store_coverage_part {
    const char *org, *workload, *provider;
    enum { COVERAGE_SEEN, COVERAGE_GAP, COVERAGE_TOLD } kind;
    const char *reason;                                 /* of a gap */
    uint64_t seen, metered;                             /* COVERAGE_SEEN */
    uint64_t connections, calls_in_flight, events_lost; /* COVERAGE_GAP */
    int64_t told;                                       /* COVERAGE_TOLD: the revision */
};
int store_each_coverage_part(struct store *s, const struct store_bucket *bucket,
                             int (*each)(void *ctx, const struct store_coverage_part *part),
                             void *ctx) LECTR_MUST_USE;
/* The same holds. */
int store_set_coverage_told(struct store *s, const struct store_bucket *bucket, const char *org,
                            const char *workload, const char *provider,
                            int64_t revision) LECTR_MUST_USE;
