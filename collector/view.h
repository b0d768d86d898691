/* SPDX-License-Identifier: Apache-2.0 */
/* Cells -> rows of a table: sums over workloads, and over time or per bucket. Pure. */
#pragma once

#include "collector/rollup.h"
#include "collector/store_query.h"
#include "proto/base/cleanup.h"

/* More rows than this are not shown; view_is_cut() says so. */
#define VIEW_ROWS_MAX 20000

struct view_row {
    int64_t bucket; /* 0 when summed over time */
    char org[64], feature[96], provider[64], model[160];
    struct rollup_cell cell;
};

struct view;

/* `by_bucket`: one row for each bucket of `bucket_seconds`. */
int view_new(bool by_bucket, uint32_t bucket_seconds, struct view **ret_view) LECTR_MUST_USE;
void view_free(struct view **view);
static inline void view_cleanup_free(struct view **view)
{
    view_free(view);
}
#define CLEAN_VIEW __attribute__((cleanup(view_cleanup_free)))
/* Fits store_each_cell; ctx is the view. */
int view_add(void *ctx, const struct store_series_name *name,
             const struct rollup_cell *cell) LECTR_MUST_USE;
/* Ordered by bucket, then by cost, then by calls; owned by the view. */
const struct view_row *view_rows(struct view *v, unsigned *ret_count);
bool view_is_cut(const struct view *v);
