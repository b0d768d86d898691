/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what the store keeps. Strings and slices live for one call of `each`. */
#pragma once

#include "collector/store.h"

struct store_series_name {
    const char *org, *feature, *provider, *model, *workload;
};

/* Cells of one resolution with from <= bucket < to, oldest first, each merged over
 * its lanes. The cell's sketches and tallies are the store's for the length of the call. */
int store_each_cell(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                    int (*each)(void *ctx, const struct store_series_name *name,
                                const struct rollup_cell *cell),
                    void *ctx) LECTR_MUST_USE;

struct store_error_row {
    const char *type;
    uint64_t calls;
    struct store_series_name name; /* workload NULL: summed over */
};
int store_each_error(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                     int (*each)(void *ctx, const struct store_error_row *row),
                     void *ctx) LECTR_MUST_USE;

struct store_gap_row {
    const char *org, *workload, *provider, *reason;
    uint64_t connections, calls_in_flight, events_lost;
};
int store_each_gap(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                   int (*each)(void *ctx, const struct store_gap_row *row),
                   void *ctx) LECTR_MUST_USE;

struct store_coverage_row {
    const char *org, *workload, *provider;
    uint64_t seen, metered;
};
int store_each_coverage(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                        int (*each)(void *ctx, const struct store_coverage_row *row),
                        void *ctx) LECTR_MUST_USE;

/* Calls without a cost, the most first. */
struct store_unpriced_row {
    const char *org, *provider, *model, *basis;
    uint64_t calls;
};
int store_each_unpriced(struct store *s, int64_t from_s, int64_t to_s, unsigned limit,
                        int (*each)(void *ctx, const struct store_unpriced_row *row),
                        void *ctx) LECTR_MUST_USE;

/* Single calls as they came (lectr.v1.Call), newest first; `limit` bounds the memory.
 * *ret_unreadable: calls of damaged blocks that reach into the time; which of them belong to it
 * is not known. */
int store_each_call(struct store *s, uint64_t from_ns, uint64_t to_ns, unsigned limit,
                    int (*each)(void *ctx, struct slice payload), void *ctx,
                    uint64_t *ret_unreadable) LECTR_MUST_USE;

/* First and last bucket of a resolution; 0, 0 when there is none. */
int store_span(struct store *s, enum rollup_resolution res, int64_t *ret_first,
               int64_t *ret_last) LECTR_MUST_USE;

/* What one bucket has of a scope: calls, errors, token totals, calls without a cost, cost.
 * Names of the scope that are NULL stand for all; a model needs its feature and provider. */
int store_each_share(struct store *s, enum rollup_resolution res, int64_t bucket,
                     const struct store_series_name *scope,
                     int (*each)(void *ctx, const struct store_series_name *name,
                                 const struct rollup_sums *sums),
                     void *ctx) LECTR_MUST_USE;
