/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills a store for tests, by what the intake writes with: whole cells of lane 0.
 * Static, for a test program includes it once.
 */
#pragma once

#include "collector/rollup.h"
#include "collector/store_lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline int64_t fill_series(struct store *s, const struct record *rec)
{
    const struct store_series_name name = {rec->org, rec->feature, rec->provider, rec->model,
                                           rec->workload};
    int64_t series = 0;

    assert_int_equal(store_add_series(s, &name, &series), 0);
    return series;
}

/* Adds to what the store has of the cell. */
static inline int fill_cell(struct store *s, const struct rollup_cell *cell)
{
    struct rollup_cell sum = {
        .seconds = cell->seconds, .bucket = cell->bucket, .series = cell->series};
    int64_t revision = 0;

    assert_int_equal(store_load_cell(s, 0, &sum, &revision), 0);
    assert_int_equal(rollup_cell_merge(&sum, cell), 0);
    assert_int_equal(store_put_cell(s, 0, &sum, revision + 1), 0);
    rollup_cell_fini(&sum);
    return 0;
}

static inline int fill_minute(void *ctx, const struct rollup_cell *minute)
{
    for (int i = 0; i < ROLLUP__COUNT; i++) {
        struct rollup_cell cell = *minute;

        cell.seconds = rollup_seconds[i];
        cell.bucket -= cell.bucket % cell.seconds;
        assert_int_equal(fill_cell(ctx, &cell), 0);
    }
    return 0;
}

/* The same call so many times, in its minute, hour and day. */
static inline void fill_calls(struct store *s, const struct record *rec, unsigned calls)
{
    int64_t series = fill_series(s, rec);
    struct rollup *r = NULL;

    assert_int_equal(rollup_new(&r), 0);
    for (unsigned i = 0; i < calls; i++)
        assert_int_equal(rollup_add(r, series, rec), 0);
    assert_int_equal(rollup_each(r, fill_minute, s), 0);
    rollup_free(&r);
}
