/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of the roll-ups as rows, and back. */
#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

/* The integer columns of a cell, in the order of the statements. */
static const size_t sum_columns[] = {
    offsetof(struct rollup_sums, calls),
    offsetof(struct rollup_sums, errors),
    offsetof(struct rollup_sums, retries),
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

#define SUMS (int)(sizeof(sum_columns) / sizeof(sum_columns[0]))
#define SKETCHES 3
#define TALLIES 2
#define BLOBS (SKETCHES + TALLIES)
_Static_assert(SUMS + 1 + BLOBS == STORE_CELL_COLUMNS, "sums, squares, sketches, tallies");

static atomic_uint_fast64_t damaged;

uint64_t store_damaged(void)
{
    return atomic_load(&damaged);
}

/* The sums of a row stand without what is damaged of it; and all other rows. */
int store_pass_damage(int r)
{
    if (r != -EBADMSG)
        return r;
    atomic_fetch_add(&damaged, 1);
    return 0;
}

int store_read_cell(struct db_stmt *stmt, struct rollup_cell *into)
{
    struct sketch *const sketches[] = {&into->latency, &into->ttft, &into->added};
    struct tally *const tallies[] = {&into->error_types, &into->usage};
    int r = 0;

    for (int i = 0; i < SUMS; i++) {
        int64_t *sum = (int64_t *)(void *)((char *)&into->sums + sum_columns[i]);

        *sum += db_int(stmt, i);
    }
    into->sums.cost_squares += db_real(stmt, SUMS);
    for (int i = 0; i < SKETCHES && r == 0; i++)
        r = store_pass_damage(sketch_decode_merge(sketches[i], db_blob(stmt, SUMS + 1 + i)));
    for (int i = 0; i < TALLIES && r == 0; i++)
        r = store_pass_damage(
            tally_decode_merge(tallies[i], db_blob(stmt, SUMS + 1 + SKETCHES + i)));
    return r;
}

static void bind_cell_key(struct db_stmt *stmt, int index, const struct rollup_cell *cell,
                          int64_t lane)
{
    db_bind_int(stmt, index, cell->seconds);
    db_bind_int(stmt, index + 1, cell->bucket);
    db_bind_int(stmt, index + 2, cell->series);
    db_bind_int(stmt, index + 3, lane);
}

int store_load_cell(struct store *s, int64_t lane, struct rollup_cell *cell, int64_t *ret_revision)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_CELL_GET);
    int64_t revision = 0;
    int r;

    bind_cell_key(stmt, 1, cell, lane);
    r = db_step(stmt);
    if (r > 0) {
        revision = db_int(stmt, STORE_CELL_COLUMNS);
        r = store_read_cell(stmt, cell);
    }
    if (r == 0)
        *ret_revision = revision;
    return r;
}

int store_load_cells(struct store *s, int64_t lane, enum rollup_resolution res, int64_t from_s,
                     int64_t to_s,
                     int (*each)(void *ctx, const struct rollup_cell *cell, int64_t revision),
                     void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_CELLS_LANE);
    struct rollup_cell cell = {.seconds = rollup_seconds[res]};
    int r;

    db_bind_int(stmt, 1, rollup_seconds[res]);
    db_bind_int(stmt, 2, from_s);
    db_bind_int(stmt, 3, to_s);
    db_bind_int(stmt, 4, lane);
    while ((r = db_step(stmt)) > 0) {
        rollup_cell_reset(&cell);
        cell.bucket = db_int(stmt, STORE_CELL_COLUMNS + 1);
        cell.series = db_int(stmt, STORE_CELL_COLUMNS + 2);
        r = store_read_cell(stmt, &cell);
        if (r == 0)
            r = each(ctx, &cell, db_int(stmt, STORE_CELL_COLUMNS));
        if (r < 0)
            break;
    }
    rollup_cell_fini(&cell);
    return r;
}

static int encode(const struct rollup_cell *cell, struct buf ret_blobs[BLOBS])
{
    const struct sketch *const sketches[] = {&cell->latency, &cell->ttft, &cell->added};
    const struct tally *const tallies[] = {&cell->error_types, &cell->usage};
    int r = 0;

    for (int i = 0; i < BLOBS; i++)
        buf_init(&ret_blobs[i], i < SKETCHES ? SKETCH_ENCODED_MAX : TALLY_ENCODED_MAX);
    for (int i = 0; i < SKETCHES && r == 0; i++)
        r = sketch_encode(sketches[i], &ret_blobs[i]);
    for (int i = 0; i < TALLIES && r == 0; i++)
        r = tally_encode(tallies[i], &ret_blobs[SKETCHES + i]);
    return r;
}

int store_put_cell(struct store *s, int64_t lane, const struct rollup_cell *cell, int64_t revision)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_CELL_PUT);
    struct buf blobs[BLOBS];
    int r = encode(cell, blobs);

    if (r == 0) {
        for (int i = 0; i < SUMS; i++)
            db_bind_int(
                stmt, i + 1,
                *(const int64_t *)(const void *)((const char *)&cell->sums + sum_columns[i]));
        db_bind_real(stmt, SUMS + 1, cell->sums.cost_squares);
        for (int i = 0; i < SKETCHES; i++)
            db_bind_blob(stmt, SUMS + 2 + i, buf_slice(&blobs[i]));
        for (int i = SKETCHES; i < BLOBS; i++)
            db_bind_slice(stmt, SUMS + 2 + i, buf_slice(&blobs[i]));
        db_bind_int(stmt, STORE_CELL_COLUMNS + 1, revision);
        bind_cell_key(stmt, STORE_CELL_COLUMNS + 2, cell, lane);
        r = db_run(stmt);
    }
    for (int i = 0; i < BLOBS; i++)
        buf_fini(&blobs[i]);
    return r;
}
