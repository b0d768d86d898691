/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the owner of a lane writes. It knows what is in the store, so that nothing
 * is read back: whole cells, whole intervals.
 *
 * In SQLite there is one lane, 0, for all parts; in PostgreSQL every part is a lane.
 */
#pragma once

#include "collector/call_block.h"
#include "collector/store.h"
#include "collector/store_query.h"

unsigned store_lanes(const struct store *s);
int64_t store_lane_of(const struct store *s, uint32_t part);

/* --- numbers of messages --- */

struct store_interval {
    const char *instance;
    uint32_t part;
    uint64_t lo, hi; /* both are there */
};
/* All of a lane, by part, instance and lo. */
int store_each_interval(struct store *s, int64_t lane,
                        int (*each)(void *ctx, const struct store_interval *interval),
                        void *ctx) LECTR_MUST_USE;
int store_each_interval_of(struct store *s, const char *instance, uint32_t part,
                           int (*each)(void *ctx, const struct store_interval *interval),
                           void *ctx) LECTR_MUST_USE;
/* One that begins at the same number is replaced. */
int store_put_interval(struct store *s, const struct store_interval *interval) LECTR_MUST_USE;
int store_delete_interval(struct store *s, const char *instance, uint32_t part,
                          uint64_t lo) LECTR_MUST_USE;

/* --- series --- */

/* Names that were met on this day or later: of series, and of coverage and gaps, which have no
 * feature and no model. */
int store_each_name(struct store *s, int64_t since_s,
                    int (*each)(void *ctx, const struct store_series_name *name, bool is_series),
                    void *ctx) LECTR_MUST_USE;
/* Its number, whether it was there or not. Of use outside the batch's transaction:
 * two writers that add the same ones in different order wait for each other. */
int store_add_series(struct store *s, const struct store_series_name *name,
                     int64_t *ret_series) LECTR_MUST_USE;

/* --- cells --- */

/* Adds what the store has of the cell in this lane; revision 0 when it has nothing. */
int store_load_cell(struct store *s, int64_t lane, struct rollup_cell *cell,
                    int64_t *ret_revision) LECTR_MUST_USE;
/* All cells of a lane in from <= bucket < to. */
int store_load_cells(struct store *s, int64_t lane, enum rollup_resolution res, int64_t from_s,
                     int64_t to_s,
                     int (*each)(void *ctx, const struct rollup_cell *cell, int64_t revision),
                     void *ctx) LECTR_MUST_USE;
/* Replaces it. A cell at most once in a row of calls with no other statement between them. */
int store_put_cell(struct store *s, int64_t lane, const struct rollup_cell *cell,
                   int64_t revision) LECTR_MUST_USE;

/* Adds to the rows of the record's minute, hour and day. */
int store_add_gap(struct store *s, int64_t lane, const struct record *rec) LECTR_MUST_USE;
int store_add_coverage(struct store *s, int64_t lane, const struct record *rec) LECTR_MUST_USE;
int store_add_unpriced(struct store *s, int64_t lane, const struct record *rec,
                       uint64_t calls) LECTR_MUST_USE;

/* An empty block is not written. */
int store_add_call_block(struct store *s, int64_t lane,
                         const struct call_block *block) LECTR_MUST_USE;

/* --- between the lanes and the judge --- */

/* This bucket has changed. Once in a row of calls with no other statement between them. */
int store_touch(struct store *s, int64_t lane, uint32_t seconds, int64_t bucket) LECTR_MUST_USE;
struct store_touched {
    int64_t lane;
    uint32_t seconds;
    int64_t bucket;
    int64_t revision;
};
/* Oldest buckets of the finest resolution first. */
int store_each_touched(struct store *s, unsigned limit,
                       int (*each)(void *ctx, const struct store_touched *touched),
                       void *ctx) LECTR_MUST_USE;
/* Unless it was touched once more meanwhile. */
int store_clear_touched(struct store *s, const struct store_touched *touched) LECTR_MUST_USE;

struct store_lane_state {
    int64_t lane;
    uint64_t watermark_ns; /* latest end time of the lane's calls */
};
int store_get_lane_state(struct store *s, int64_t lane,
                         struct store_lane_state *ret_state) LECTR_MUST_USE;
int store_put_lane_state(struct store *s, const struct store_lane_state *state) LECTR_MUST_USE;
int store_each_lane_state(struct store *s,
                          int (*each)(void *ctx, const struct store_lane_state *state),
                          void *ctx) LECTR_MUST_USE;
