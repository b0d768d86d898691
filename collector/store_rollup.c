/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch adds: series, cells, gaps, coverage, calls, malformed messages. */
#include "collector/store_priv.h"

#include "collector/text.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stddef.h>

#define COVERAGE_SECONDS 60
#define ERROR_TYPES_MAX 32

static const char other_feature[] = "(other)";

static int series_find(struct store *s, const struct record *rec, const char *feature,
                       int64_t *ret_series)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_SERIES_GET);
    const bool is_other = feature == other_feature;
    int r;

    if (!stmt)
        return -EIO;
    store_bind_text(stmt, 1, rec->org);
    store_bind_text(stmt, 2, feature);
    store_bind_text(stmt, 3, rec->provider);
    store_bind_text(stmt, 4, is_other ? "" : rec->model);
    store_bind_text(stmt, 5, is_other ? "" : rec->workload);
    r = store_step(stmt);
    if (r > 0)
        *ret_series = sqlite3_column_int64(stmt, 0);
    return r;
}

static int series_create(struct store *s, const struct record *rec, const char *feature,
                         int64_t *ret_series)
{
    sqlite3_stmt *stmt = store_stmt(s, STMT_SERIES_ADD);
    const bool is_other = feature == other_feature;
    int r;

    if (!stmt)
        return -EIO;
    store_bind_text(stmt, 1, rec->org);
    store_bind_text(stmt, 2, feature);
    store_bind_text(stmt, 3, rec->provider);
    store_bind_text(stmt, 4, is_other ? "" : rec->model);
    store_bind_text(stmt, 5, is_other ? "" : rec->workload);
    r = store_run(stmt);
    if (r == 0)
        *ret_series = sqlite3_last_insert_rowid(s->db);
    return r;
}

static int series_count(struct store *s, int64_t *ret_count)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_SERIES_COUNT);
    int r = store_step(stmt);

    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_count = sqlite3_column_int64(stmt, 0);
    return 0;
}

int store_series(struct store *s, const struct record *rec, uint32_t series_max,
                 int64_t *ret_series)
{
    int64_t count = 0;
    int r = series_find(s, rec, rec->feature, ret_series);

    if (r != 0)
        return r < 0 ? r : 0;
    r = series_count(s, &count);
    if (r < 0)
        return r;
    if (count < series_max)
        return series_create(s, rec, rec->feature, ret_series);
    r = series_find(s, rec, other_feature, ret_series);
    if (r != 0)
        return r < 0 ? r : 0;
    return series_create(s, rec, other_feature, ret_series);
}

/* The integer columns of a cell, in the order of the statements. */
static const size_t sum_columns[] = {
    offsetof(struct rollup_sums, calls),
    offsetof(struct rollup_sums, errors),
    offsetof(struct rollup_sums, synthetic),
    offsetof(struct rollup_sums, input),
    offsetof(struct rollup_sums, cached_input),
    offsetof(struct rollup_sums, cache_write),
    offsetof(struct rollup_sums, output),
    offsetof(struct rollup_sums, reasoning),
    offsetof(struct rollup_sums, input_total),
    offsetof(struct rollup_sums, output_total),
    offsetof(struct rollup_sums, input_unknown),
    offsetof(struct rollup_sums, output_unknown),
    offsetof(struct rollup_sums, cost_unknown),
    offsetof(struct rollup_sums, tokens_estimated),
    offsetof(struct rollup_sums, cost_low_nanousd),
    offsetof(struct rollup_sums, cost_expected_nanousd),
    offsetof(struct rollup_sums, cost_high_nanousd),
};

#define SUM_COLUMNS (int)(sizeof(sum_columns) / sizeof(sum_columns[0]))
_Static_assert(SUM_COLUMNS + 4 == STORE_CELL_COLUMNS, "sums, squares, three sketches");

int store_read_cell(sqlite3_stmt *stmt, struct rollup_cell *into)
{
    struct sketch *const sketches[] = {&into->latency, &into->ttft, &into->added};

    for (int i = 0; i < SUM_COLUMNS; i++) {
        int64_t *sum = (int64_t *)(void *)((char *)&into->sums + sum_columns[i]);

        *sum += sqlite3_column_int64(stmt, i);
    }
    into->sums.cost_squares += sqlite3_column_double(stmt, SUM_COLUMNS);
    for (int i = 0; i < 3; i++) {
        int r = sketch_decode_merge(sketches[i], store_column_blob(stmt, SUM_COLUMNS + 1 + i));

        if (r < 0)
            return r;
    }
    return 0;
}

static void bind_cell_key(sqlite3_stmt *stmt, int index, const struct rollup_cell *cell)
{
    sqlite3_bind_int64(stmt, index, cell->seconds);
    sqlite3_bind_int64(stmt, index + 1, cell->bucket);
    sqlite3_bind_int64(stmt, index + 2, cell->series);
}

/* Adds what the store has of the cell. */
static int load_cell(struct store *s, struct rollup_cell *cell, int64_t *ret_revision)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_CELL_GET);
    int r;

    if (!stmt)
        return -EIO;
    bind_cell_key(stmt, 1, cell);
    r = store_step(stmt);
    if (r < 0)
        return r;
    *ret_revision = r ? sqlite3_column_int64(stmt, STORE_CELL_COLUMNS) + 1 : 1;
    return r ? store_read_cell(stmt, cell) : 0;
}

static int save_cell(struct store *s, const struct rollup_cell *cell, int64_t revision)
{
    const struct sketch *const sketches[] = {&cell->latency, &cell->ttft, &cell->added};
    struct buf blobs[3];
    sqlite3_stmt *stmt = store_stmt(s, STMT_CELL_PUT);
    int r = stmt ? 0 : -EIO;

    for (int i = 0; i < 3; i++) {
        buf_init(&blobs[i], SKETCH_ENCODED_MAX);
        if (r == 0)
            r = sketch_encode(sketches[i], &blobs[i]);
    }
    if (r == 0) {
        for (int i = 0; i < SUM_COLUMNS; i++)
            sqlite3_bind_int64(
                stmt, i + 1,
                *(const int64_t *)(const void *)((const char *)&cell->sums + sum_columns[i]));
        sqlite3_bind_double(stmt, SUM_COLUMNS + 1, cell->sums.cost_squares);
        for (int i = 0; i < 3; i++)
            store_bind_blob(stmt, SUM_COLUMNS + 2 + i, buf_slice(&blobs[i]));
        sqlite3_bind_int64(stmt, STORE_CELL_COLUMNS + 1, revision);
        bind_cell_key(stmt, STORE_CELL_COLUMNS + 2, cell);
        r = store_run(stmt);
    }
    for (int i = 0; i < 3; i++)
        buf_fini(&blobs[i]);
    return r;
}

/* Error types come from the outside: beyond a bound they are "other". */
static int save_error(struct store *s, const struct rollup_cell *cell,
                      const struct rollup_error_type *e)
{
    CLEAN_STMT sqlite3_stmt *count = store_stmt(s, STMT_CELL_ERRORS_COUNT);
    sqlite3_stmt *add = store_stmt(s, STMT_CELL_ERROR_ADD);
    bool fits;
    int r;

    if (!count || !add)
        return -EIO;
    bind_cell_key(count, 1, cell);
    store_bind_text(count, 4, e->type);
    r = store_step(count);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    fits = sqlite3_column_int(count, 0) < ERROR_TYPES_MAX || sqlite3_column_int(count, 1) > 0;
    bind_cell_key(add, 1, cell);
    store_bind_text(add, 4, fits ? e->type : "other");
    sqlite3_bind_int64(add, 5, (int64_t)e->calls);
    return store_run(add);
}

int store_merge_cell(struct store *s, const struct rollup_cell *cell)
{
    struct rollup_cell merged = {
        .seconds = cell->seconds,
        .bucket = cell->bucket,
        .series = cell->series,
        .sums = cell->sums,
    };
    int64_t revision = 1;
    int r = sketch_merge(&merged.latency, &cell->latency);

    if (r == 0)
        r = sketch_merge(&merged.ttft, &cell->ttft);
    if (r == 0)
        r = sketch_merge(&merged.added, &cell->added);
    if (r == 0)
        r = load_cell(s, &merged, &revision);
    if (r == 0)
        r = save_cell(s, &merged, revision);
    for (uint32_t i = 0; i < cell->errors_count && r == 0; i++)
        r = save_error(s, cell, &cell->errors[i]);
    sketch_fini(&merged.latency);
    sketch_fini(&merged.ttft);
    sketch_fini(&merged.added);
    return r;
}

static int64_t coverage_bucket(const struct record *rec)
{
    int64_t end_s = (int64_t)(rec->end_ns / NSEC_PER_SEC);

    return end_s - end_s % COVERAGE_SECONDS;
}

int store_add_gap(struct store *s, const struct record *rec)
{
    sqlite3_stmt *stmt = store_stmt(s, STMT_GAP_ADD);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, coverage_bucket(rec));
    store_bind_text(stmt, 2, rec->org);
    store_bind_text(stmt, 3, rec->workload);
    store_bind_text(stmt, 4, rec->provider);
    store_bind_text(stmt, 5, rec->reason);
    sqlite3_bind_int64(stmt, 6, (int64_t)rec->connections);
    sqlite3_bind_int64(stmt, 7, (int64_t)rec->calls_in_flight);
    sqlite3_bind_int64(stmt, 8, (int64_t)rec->events_lost);
    return store_run(stmt);
}

int store_add_coverage(struct store *s, const struct record *rec)
{
    sqlite3_stmt *stmt = store_stmt(s, STMT_COVERAGE_ADD);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, coverage_bucket(rec));
    store_bind_text(stmt, 2, rec->org);
    store_bind_text(stmt, 3, rec->workload);
    store_bind_text(stmt, 4, rec->provider);
    sqlite3_bind_int64(stmt, 5, (int64_t)rec->seen);
    sqlite3_bind_int64(stmt, 6, (int64_t)rec->metered);
    return store_run(stmt);
}

static int bind_unpriced(struct store *s, enum store_stmt which, const struct record *rec,
                         const char *model, sqlite3_stmt **ret_stmt)
{
    sqlite3_stmt *stmt = store_stmt(s, which);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, coverage_bucket(rec));
    store_bind_text(stmt, 2, rec->org);
    store_bind_text(stmt, 3, rec->provider);
    store_bind_text(stmt, 4, model);
    store_bind_text(stmt, 5, rec->cost_basis[0] ? rec->cost_basis : "not told");
    *ret_stmt = stmt;
    return 0;
}

/* Clients name models: what they name must not grow without a bound. */
static int has_place(struct store *s, const struct record *rec, bool *ret_has_place)
{
    CLEAN_STMT sqlite3_stmt *stmt = NULL;
    int r = bind_unpriced(s, STMT_UNPRICED_COUNT, rec, rec->model_billed, &stmt);

    if (r == 0)
        r = store_step(stmt);
    if (r < 0)
        return r;
    *ret_has_place =
        sqlite3_column_int64(stmt, 0) < STORE_UNPRICED_MAX || sqlite3_column_int64(stmt, 1) > 0;
    return 0;
}

int store_add_unpriced(struct store *s, const struct record *rec)
{
    sqlite3_stmt *stmt;
    bool has = false;
    int r = has_place(s, rec, &has);

    if (r == 0)
        r = bind_unpriced(s, STMT_UNPRICED_ADD, rec, has ? rec->model_billed : "(other)", &stmt);
    return r < 0 ? r : store_run(stmt);
}

int store_add_call(struct store *s, const struct record *rec, struct slice payload)
{
    sqlite3_stmt *stmt = store_stmt(s, STMT_CALL_ADD);

    if (!stmt)
        return -EIO;
    store_bind_text(stmt, 1, rec->instance);
    sqlite3_bind_int64(stmt, 2, rec->part);
    sqlite3_bind_int64(stmt, 3, (int64_t)rec->seq);
    sqlite3_bind_int64(stmt, 4, (int64_t)rec->end_ns);
    store_bind_blob(stmt, 5, payload);
    return store_run(stmt);
}

int store_add_malformed(struct store *s, uint64_t stream_seq, const char *subject,
                        const char *reason, size_t bytes)
{
    sqlite3_stmt *add = store_stmt(s, STMT_MALFORMED_ADD);
    sqlite3_stmt *trim = store_stmt(s, STMT_MALFORMED_TRIM);
    char safe[256];
    int changes, r;

    if (!add || !trim)
        return -EIO;
    text_copy(safe, sizeof(safe), subject);
    sqlite3_bind_int64(add, 1, (int64_t)stream_seq);
    store_bind_text(add, 2, safe);
    store_bind_text(add, 3, reason);
    sqlite3_bind_int64(add, 4, (int64_t)bytes);
    r = store_run(add);
    if (r < 0)
        return r;
    changes = sqlite3_changes(s->db);
    sqlite3_bind_int64(trim, 1, STORE_MALFORMED_MAX);
    r = store_run(trim);
    return r < 0 ? r : store_number_add(s, "malformed", changes);
}

static int run_prune(struct store *s, enum store_stmt which, int64_t seconds, int64_t before)
{
    sqlite3_stmt *stmt = store_stmt(s, which);

    if (!stmt)
        return -EIO;
    if (seconds)
        sqlite3_bind_int64(stmt, 1, seconds);
    sqlite3_bind_int64(stmt, seconds ? 2 : 1, before);
    return store_run(stmt);
}

int store_prune_cells(struct store *s, enum rollup_resolution res, int64_t before_s)
{
    int r = run_prune(s, STMT_PRUNE_CELLS, rollup_seconds[res], before_s);

    if (r == 0)
        r = run_prune(s, STMT_PRUNE_ERRORS, rollup_seconds[res], before_s);
    if (r == 0 && res == ROLLUP_MINUTE)
        r = run_prune(s, STMT_PRUNE_GAPS, 0, before_s);
    if (r == 0 && res == ROLLUP_MINUTE)
        r = run_prune(s, STMT_PRUNE_COVERAGE, 0, before_s);
    if (r == 0 && res == ROLLUP_MINUTE)
        r = run_prune(s, STMT_PRUNE_UNPRICED, 0, before_s);
    return r;
}

int store_prune_calls(struct store *s, uint64_t before_ns)
{
    return run_prune(s, STMT_PRUNE_CALLS, 0, (int64_t)before_ns);
}
