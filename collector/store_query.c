/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_query.h"

#include "collector/store_priv.h"

#include <errno.h>

static sqlite3_stmt *bind_range(sqlite3_stmt *stmt, int index, int64_t from, int64_t to)
{
    if (stmt) {
        sqlite3_bind_int64(stmt, index, from);
        sqlite3_bind_int64(stmt, index + 1, to);
    }
    return stmt;
}

int store_each_cell(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                    int (*each)(void *ctx, const struct store_series_name *name,
                                const struct rollup_cell *cell),
                    void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = bind_range(store_stmt(s, STMT_QUERY_CELLS), 2, from_s, to_s);
    struct rollup_cell cell = {.seconds = rollup_seconds[res]};
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, rollup_seconds[res]);
    while ((r = store_step(stmt)) > 0) {
        const int at = STORE_CELL_COLUMNS;
        struct store_series_name name = {
            .org = store_column_text(stmt, at + 1),
            .feature = store_column_text(stmt, at + 2),
            .provider = store_column_text(stmt, at + 3),
            .model = store_column_text(stmt, at + 4),
            .workload = store_column_text(stmt, at + 5),
        };

        cell.sums = (struct rollup_sums){0};
        sketch_reset(&cell.latency);
        sketch_reset(&cell.ttft);
        sketch_reset(&cell.added);
        cell.bucket = sqlite3_column_int64(stmt, at);
        r = store_read_cell(stmt, &cell);
        if (r == 0)
            r = each(ctx, &name, &cell);
        if (r < 0)
            break;
    }
    sketch_fini(&cell.latency);
    sketch_fini(&cell.ttft);
    sketch_fini(&cell.added);
    return r;
}

int store_each_error(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                     int (*each)(void *ctx, const struct store_error_row *row), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = bind_range(store_stmt(s, STMT_QUERY_ERRORS), 2, from_s, to_s);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, rollup_seconds[res]);
    while ((r = store_step(stmt)) > 0) {
        struct store_error_row row = {
            .type = store_column_text(stmt, 0),
            .calls = (uint64_t)sqlite3_column_int64(stmt, 1),
            .name = {.org = store_column_text(stmt, 2),
                     .feature = store_column_text(stmt, 3),
                     .provider = store_column_text(stmt, 4),
                     .model = store_column_text(stmt, 5)},
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_gap(struct store *s, int64_t from_s, int64_t to_s,
                   int (*each)(void *ctx, const struct store_gap_row *row), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = bind_range(store_stmt(s, STMT_QUERY_GAPS), 1, from_s, to_s);
    int r;

    if (!stmt)
        return -EIO;
    while ((r = store_step(stmt)) > 0) {
        struct store_gap_row row = {
            .org = store_column_text(stmt, 0),
            .workload = store_column_text(stmt, 1),
            .provider = store_column_text(stmt, 2),
            .reason = store_column_text(stmt, 3),
            .connections = (uint64_t)sqlite3_column_int64(stmt, 4),
            .calls_in_flight = (uint64_t)sqlite3_column_int64(stmt, 5),
            .events_lost = (uint64_t)sqlite3_column_int64(stmt, 6),
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_coverage(struct store *s, int64_t from_s, int64_t to_s,
                        int (*each)(void *ctx, const struct store_coverage_row *row), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = bind_range(store_stmt(s, STMT_QUERY_COVERAGE), 1, from_s, to_s);
    int r;

    if (!stmt)
        return -EIO;
    while ((r = store_step(stmt)) > 0) {
        struct store_coverage_row row = {
            .org = store_column_text(stmt, 0),
            .workload = store_column_text(stmt, 1),
            .provider = store_column_text(stmt, 2),
            .seen = (uint64_t)sqlite3_column_int64(stmt, 3),
            .metered = (uint64_t)sqlite3_column_int64(stmt, 4),
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_unpriced(struct store *s, int64_t from_s, int64_t to_s, unsigned limit,
                        int (*each)(void *ctx, const struct store_unpriced_row *row), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = bind_range(store_stmt(s, STMT_QUERY_UNPRICED), 1, from_s, to_s);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 3, limit);
    while ((r = store_step(stmt)) > 0) {
        struct store_unpriced_row row = {
            .org = store_column_text(stmt, 0),
            .provider = store_column_text(stmt, 1),
            .model = store_column_text(stmt, 2),
            .basis = store_column_text(stmt, 3),
            .calls = (uint64_t)sqlite3_column_int64(stmt, 4),
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_call(struct store *s, uint64_t from_ns, uint64_t to_ns, unsigned limit,
                    int (*each)(void *ctx, struct slice payload), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt =
        bind_range(store_stmt(s, STMT_QUERY_CALLS), 1, (int64_t)from_ns, (int64_t)to_ns);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 3, limit);
    while ((r = store_step(stmt)) > 0) {
        r = each(ctx, store_column_blob(stmt, 0));
        if (r < 0)
            return r;
    }
    return r;
}

int store_span(struct store *s, enum rollup_resolution res, int64_t *ret_first, int64_t *ret_last)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_QUERY_SPAN);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, rollup_seconds[res]);
    r = store_step(stmt);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_first = sqlite3_column_int64(stmt, 0);
    *ret_last = sqlite3_column_int64(stmt, 1);
    return 0;
}

int store_each_revised(struct store *s, int64_t minute_s,
                       int (*each)(void *ctx, const struct store_revised_row *row), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_QUERY_REVISED);
    int r;

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, minute_s);
    while ((r = store_step(stmt)) > 0) {
        struct store_revised_row row = {
            .bucket = sqlite3_column_int64(stmt, 0),
            .series = sqlite3_column_int64(stmt, 1),
            .revision = sqlite3_column_int64(stmt, 2),
            .name = {.org = store_column_text(stmt, 3),
                     .feature = store_column_text(stmt, 4),
                     .provider = store_column_text(stmt, 5),
                     .model = store_column_text(stmt, 6),
                     .workload = store_column_text(stmt, 7)},
            .sums = {.calls = (uint64_t)sqlite3_column_int64(stmt, 8),
                     .errors = (uint64_t)sqlite3_column_int64(stmt, 9),
                     .input_total = (uint64_t)sqlite3_column_int64(stmt, 10),
                     .output_total = (uint64_t)sqlite3_column_int64(stmt, 11),
                     .cached_input = (uint64_t)sqlite3_column_int64(stmt, 12),
                     .input_unknown = (uint64_t)sqlite3_column_int64(stmt, 13),
                     .cost_low_nanousd = sqlite3_column_int64(stmt, 14),
                     .cost_expected_nanousd = sqlite3_column_int64(stmt, 15),
                     .cost_high_nanousd = sqlite3_column_int64(stmt, 16),
                     .cost_unknown = (uint64_t)sqlite3_column_int64(stmt, 17)},
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}
