/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_query.h"

#include "collector/store_priv.h"

#include <errno.h>
#include <string.h>

static void bind_range(struct db_stmt *stmt, int index, int64_t from, int64_t to)
{
    db_bind_int(stmt, index, from);
    db_bind_int(stmt, index + 1, to);
}

static void bind_buckets(struct db_stmt *stmt, enum rollup_resolution res, int64_t from, int64_t to)
{
    db_bind_int(stmt, 1, rollup_seconds[res]);
    bind_range(stmt, 2, from, to);
}

/* --- cells --- */

/* The cell whose lanes are being read, with its name: the row is gone when it is told. */
struct merging {
    bool has_cell;
    struct rollup_cell cell;
    char *text[5];
};

static struct store_series_name name_of(const struct merging *m)
{
    return (struct store_series_name){m->text[0], m->text[1], m->text[2], m->text[3], m->text[4]};
}

static void merging_fini(struct merging *m)
{
    rollup_cell_fini(&m->cell);
    for (int i = 0; i < 5; i++)
        free(m->text[i]);
}

/* Consecutive cells are often of few series: a name that is the same is not copied again. */
static int take_name(struct merging *m, struct db_stmt *stmt, int column)
{
    for (int i = 0; i < 5; i++) {
        const char *text = db_text(stmt, column + i);
        char *copy;

        if (m->text[i] && strcmp(m->text[i], text) == 0)
            continue;
        copy = strdup(text);
        if (!copy)
            return -ENOMEM;
        free(m->text[i]);
        m->text[i] = copy;
    }
    return 0;
}

static int tell(struct merging *m,
                int (*each)(void *ctx, const struct store_series_name *name,
                            const struct rollup_cell *cell),
                void *ctx)
{
    struct store_series_name name = name_of(m);

    if (!m->has_cell)
        return 0;
    m->has_cell = false;
    return each(ctx, &name, &m->cell);
}

static int begin_cell(struct merging *m, struct db_stmt *stmt)
{
    rollup_cell_reset(&m->cell);
    m->cell.bucket = db_int(stmt, STORE_CELL_COLUMNS);
    m->cell.series = db_int(stmt, STORE_CELL_COLUMNS + 1);
    m->has_cell = true;
    return take_name(m, stmt, STORE_CELL_COLUMNS + 2);
}

static bool is_same_cell(const struct merging *m, struct db_stmt *stmt)
{
    return m->has_cell && m->cell.bucket == db_int(stmt, STORE_CELL_COLUMNS) &&
           m->cell.series == db_int(stmt, STORE_CELL_COLUMNS + 1);
}

int store_each_cell(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                    int (*each)(void *ctx, const struct store_series_name *name,
                                const struct rollup_cell *cell),
                    void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_CELLS);
    struct merging m = {.cell = {.seconds = rollup_seconds[res]}};
    int r;

    bind_buckets(stmt, res, from_s, to_s);
    while ((r = db_step(stmt)) > 0) {
        r = 0;
        if (!is_same_cell(&m, stmt)) {
            r = tell(&m, each, ctx);
            if (r == 0)
                r = begin_cell(&m, stmt);
        }
        if (r == 0)
            r = store_read_cell(stmt, &m.cell);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = tell(&m, each, ctx);
    merging_fini(&m);
    return r;
}

/* --- the rest --- */

int store_each_gap(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                   int (*each)(void *ctx, const struct store_gap_row *row), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_GAPS);
    int r;

    bind_buckets(stmt, res, from_s, to_s);
    while ((r = db_step(stmt)) > 0) {
        struct store_gap_row row = {
            .org = db_text(stmt, 0),
            .workload = db_text(stmt, 1),
            .provider = db_text(stmt, 2),
            .reason = db_text(stmt, 3),
            .connections = (uint64_t)db_int(stmt, 4),
            .calls_in_flight = (uint64_t)db_int(stmt, 5),
            .events_lost = (uint64_t)db_int(stmt, 6),
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_coverage(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                        int (*each)(void *ctx, const struct store_coverage_row *row), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_COVERAGE);
    int r;

    bind_buckets(stmt, res, from_s, to_s);
    while ((r = db_step(stmt)) > 0) {
        struct store_coverage_row row = {
            .org = db_text(stmt, 0),
            .workload = db_text(stmt, 1),
            .provider = db_text(stmt, 2),
            .seen = (uint64_t)db_int(stmt, 3),
            .metered = (uint64_t)db_int(stmt, 4),
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
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_UNPRICED);
    int r;

    bind_range(stmt, 1, from_s, to_s);
    db_bind_int(stmt, 3, limit);
    while ((r = db_step(stmt)) > 0) {
        struct store_unpriced_row row = {
            .org = db_text(stmt, 0),
            .provider = db_text(stmt, 1),
            .model = db_text(stmt, 2),
            .basis = db_text(stmt, 3),
            .calls = (uint64_t)db_int(stmt, 4),
        };

        r = each(ctx, &row);
        if (r < 0)
            return r;
    }
    return r;
}

int store_span(struct store *s, enum rollup_resolution res, int64_t *ret_first, int64_t *ret_last)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_SPAN);
    int r;

    db_bind_int(stmt, 1, rollup_seconds[res]);
    r = db_step(stmt);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_first = db_int(stmt, 0);
    *ret_last = db_int(stmt, 1);
    return 0;
}
