/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/cells.c collector/recent.c collector/hash.c collector/rollup.c collector/sketch.c
 * collector/tally.c */
#include "collector/cells.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOON_S INT64_C(1767268800)
#define ROWS_MAX 4096

/* A store as plain as can be, and the copy that a rollback brings back. Of a cell it keeps what
 * the tests look at. */
struct row {
    unsigned lane;
    uint32_t seconds;
    int64_t bucket, series, revision;
    uint64_t calls, latencies;
};

static struct row rows[ROWS_MAX], before[ROWS_MAX];
static unsigned rows_count, before_count, loads, writes, touches;
static bool fails;

static struct row *find_row(unsigned lane, uint32_t seconds, int64_t bucket, int64_t series)
{
    for (unsigned i = 0; i < rows_count; i++)
        if (rows[i].lane == lane && rows[i].seconds == seconds && rows[i].bucket == bucket &&
            rows[i].series == series)
            return &rows[i];
    return NULL;
}

static int shelf_load(void *ctx, unsigned lane, struct rollup_cell *cell, int64_t *ret_revision)
{
    const struct row *row = find_row(lane, cell->seconds, cell->bucket, cell->series);

    (void)ctx;
    loads++;
    *ret_revision = row ? row->revision : 0;
    if (!row)
        return 0;
    cell->sums.calls += row->calls;
    for (uint64_t i = 0; i < row->latencies; i++)
        assert_int_equal(sketch_add(&cell->latency, 1000), 0);
    return 0;
}

static const struct row *last_put; /* of this batch */
static uint32_t touched_seconds;

static int64_t compare(const struct row *a, const struct row *b)
{
    if (a->seconds != b->seconds)
        return (int64_t)a->seconds - b->seconds;
    if (a->bucket != b->bucket)
        return a->bucket - b->bucket;
    return a->series != b->series ? a->series - b->series : (int64_t)a->lane - b->lane;
}

static int shelf_put(void *ctx, unsigned lane, const struct rollup_cell *cell, int64_t revision)
{
    struct row *row = find_row(lane, cell->seconds, cell->bucket, cell->series);

    (void)ctx;
    if (fails)
        return -EIO;
    writes++;
    if (!row) {
        assert_true(rows_count < ROWS_MAX);
        assert_int_equal(revision, 1);
        row = &rows[rows_count++];
    } else {
        assert_int_equal(revision, row->revision + 1);
    }
    *row = (struct row){lane,     cell->seconds,    cell->bucket,       cell->series,
                        revision, cell->sums.calls, cell->latency.count};
    if (last_put)
        assert_true(compare(last_put, row) < 0);
    last_put = row;
    return 0;
}

static int shelf_touch(void *ctx, unsigned lane, uint32_t seconds, int64_t bucket)
{
    (void)ctx;
    (void)lane;
    assert_int_equal(bucket % seconds, 0);
    assert_true(touched_seconds <= seconds);
    touched_seconds = seconds;
    last_put = NULL;
    touches++;
    return 0;
}

static const struct cells_store shelf = {
    .load = shelf_load, .put = shelf_put, .touch = shelf_touch};

static int setup(void **state)
{
    (void)state;
    rows_count = before_count = loads = writes = touches = 0;
    fails = false;
    return 0;
}

static void add(struct cells *c, unsigned lane, int64_t minute_s, int64_t series, unsigned calls)
{
    struct rollup_cell cell = {.seconds = 60, .bucket = minute_s, .series = series};

    cell.sums.calls = calls;
    for (unsigned i = 0; i < calls; i++)
        assert_int_equal(sketch_add(&cell.latency, 1000), 0);
    assert_int_equal(cells_merge(c, lane, &cell), 0);
    rollup_cell_fini(&cell);
}

static int save(struct cells *c)
{
    last_put = NULL;
    touched_seconds = 0;
    return cells_save(c);
}

static void commit(struct cells *c)
{
    assert_int_equal(save(c), 0);
    cells_committed(c);
    memcpy(before, rows, sizeof(rows));
    before_count = rows_count;
}

static void roll_back(struct cells *c)
{
    memcpy(rows, before, sizeof(rows));
    rows_count = before_count;
    cells_rolled_back(c);
}

static uint64_t calls_in(unsigned lane, uint32_t seconds, int64_t bucket, int64_t series)
{
    const struct row *row = find_row(lane, seconds, bucket, series);

    return row ? row->calls : 0;
}

static void test_minute_hour_day(void **state)
{
    struct cells *c = NULL;

    (void)state;
    assert_int_equal(cells_new(&shelf, 1 << 20, &c), 0);
    cells_take_lane(c, 0, INT64_MIN);
    add(c, 0, NOON_S, 7, 2);
    add(c, 0, NOON_S + 60, 7, 3);
    add(c, 0, NOON_S + 60, 8, 1);
    commit(c);
    assert_int_equal(calls_in(0, 60, NOON_S, 7), 2);
    assert_int_equal(calls_in(0, 60, NOON_S + 60, 7), 3);
    assert_int_equal(calls_in(0, 3600, NOON_S, 7), 5);
    assert_int_equal(calls_in(0, 86400, NOON_S - 12 * 3600, 7), 5);
    assert_int_equal(writes, 7);
    assert_int_equal(touches, 4);
    add(c, 0, NOON_S + 120, 7, 1);
    commit(c);
    assert_int_equal(calls_in(0, 3600, NOON_S, 7), 6);
    assert_int_equal(find_row(0, 3600, NOON_S, 7)->latencies, 6);
    assert_int_equal(touches, 7);
    /* Nothing was stored before: nothing is read. */
    assert_int_equal(loads, 0);
    cells_free(&c);
}

static void test_late_buckets_are_read(void **state)
{
    struct cells *c = NULL;

    (void)state;
    assert_int_equal(cells_new(&shelf, 1 << 20, &c), 0);
    cells_take_lane(c, 0, INT64_MIN);
    add(c, 0, NOON_S, 7, 2);
    commit(c);
    cells_free(&c);
    assert_int_equal(cells_new(&shelf, 1 << 20, &c), 0);
    cells_take_lane(c, 0, NOON_S);
    add(c, 0, NOON_S - 3600, 7, 1);
    add(c, 0, NOON_S, 7, 1);
    add(c, 0, NOON_S + 60, 7, 1);
    commit(c);
    assert_int_equal(calls_in(0, 60, NOON_S, 7), 3);
    assert_int_equal(calls_in(0, 60, NOON_S - 3600, 7), 1);
    assert_int_equal(calls_in(0, 3600, NOON_S, 7), 4);
    assert_int_equal(calls_in(0, 86400, NOON_S - 12 * 3600, 7), 5);
    /* Two minutes, two hours and the day; not the minute that is newer than all there was. */
    assert_int_equal(loads, 5);
    cells_free(&c);
}

static void test_rollback(void **state)
{
    struct cells *c = NULL;

    (void)state;
    assert_int_equal(cells_new(&shelf, 1 << 20, &c), 0);
    cells_take_lane(c, 0, INT64_MIN);
    add(c, 0, NOON_S, 7, 2);
    commit(c);
    add(c, 0, NOON_S, 7, 5);
    add(c, 0, NOON_S + 60, 7, 5);
    fails = true;
    assert_int_equal(save(c), -EIO);
    fails = false;
    roll_back(c);
    add(c, 0, NOON_S, 7, 1);
    add(c, 0, NOON_S + 60, 7, 1);
    commit(c);
    assert_int_equal(calls_in(0, 60, NOON_S, 7), 3);
    assert_int_equal(calls_in(0, 60, NOON_S + 60, 7), 1);
    assert_int_equal(calls_in(0, 3600, NOON_S, 7), 4);
    cells_free(&c);
}

static void test_lanes_are_apart(void **state)
{
    struct cells *c = NULL;

    (void)state;
    assert_int_equal(cells_new(&shelf, 1 << 20, &c), 0);
    cells_take_lane(c, 3, INT64_MIN);
    cells_take_lane(c, 4, INT64_MIN);
    add(c, 3, NOON_S, 7, 2);
    add(c, 4, NOON_S, 7, 1);
    commit(c);
    assert_int_equal(calls_in(3, 60, NOON_S, 7), 2);
    assert_int_equal(calls_in(4, 60, NOON_S, 7), 1);
    /* Another collector has lane 3 for a while. */
    cells_drop_lane(c, 3);
    find_row(3, 60, NOON_S, 7)->calls = 10;
    cells_take_lane(c, 3, NOON_S);
    add(c, 3, NOON_S, 7, 1);
    add(c, 4, NOON_S, 7, 1);
    commit(c);
    assert_int_equal(calls_in(3, 60, NOON_S, 7), 11);
    assert_int_equal(calls_in(4, 60, NOON_S, 7), 2);
    cells_free(&c);
}

/* What was read ahead is not read again, and what was not there is known to be absent. */
static void test_read_ahead(void **state)
{
    struct rollup_cell cell = {.seconds = 3600, .bucket = NOON_S, .series = 7};
    struct cells *c = NULL;

    (void)state;
    assert_int_equal(cells_new(&shelf, 1 << 20, &c), 0);
    cells_take_lane(c, 0, INT64_MIN);
    add(c, 0, NOON_S, 7, 2);
    commit(c);
    cells_take_lane(c, 0, NOON_S);
    cell.sums.calls = 2;
    assert_int_equal(cells_know(c, 0, &cell, find_row(0, 3600, NOON_S, 7)->revision), 0);
    cells_know_all(c, 0, ROLLUP_HOUR, NOON_S);
    add(c, 0, NOON_S + 60, 7, 1);
    add(c, 0, NOON_S + 60, 8, 1);
    commit(c);
    assert_int_equal(calls_in(0, 3600, NOON_S, 7), 3);
    assert_int_equal(calls_in(0, 3600, NOON_S, 8), 1);
    /* the days */
    assert_int_equal(loads, 2);
    cells_free(&c);
}

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

/* Buckets in any order, rollbacks, restarts, and memory for a few cells: nothing is lost and
 * nothing counted twice. */
static void test_like_a_sum(void **state)
{
    uint64_t sums[3][8] = {{0}}, sums_before[3][8];
    struct cells *c = NULL;
    int64_t newest_s = INT64_MIN, newest_before = INT64_MIN;

    (void)state;
    memset(sums_before, 0, sizeof(sums_before));
    assert_int_equal(cells_new(&shelf, 4096, &c), 0);
    cells_take_lane(c, 0, INT64_MIN);
    for (int batch = 0; batch < 600; batch++) {
        for (int i = 0; i < 8; i++) {
            int64_t minute = NOON_S + 60 * (int64_t)(batch / 8 + (int)random_below(12));
            uint64_t series = random_below(8);
            unsigned calls = 1 + (unsigned)random_below(3);

            add(c, 0, minute, (int64_t)series, calls);
            newest_s = minute > newest_s ? minute : newest_s;
            sums[0][series] += calls;
        }
        assert_int_equal(save(c), 0);
        if (random_below(4) == 0) {
            roll_back(c);
            memcpy(sums, sums_before, sizeof(sums));
            newest_s = newest_before;
        } else {
            commit(c);
            memcpy(sums_before, sums, sizeof(sums));
            newest_before = newest_s;
        }
        if (random_below(20) == 0) {
            cells_free(&c);
            assert_int_equal(cells_new(&shelf, 4096, &c), 0);
            cells_take_lane(c, 0, newest_s);
        }
        assert_true(cells_bytes(c) <= 4096);
    }
    for (unsigned series = 0; series < 8; series++)
        for (int i = 0; i < ROLLUP__COUNT; i++) {
            uint64_t calls = 0;

            for (unsigned k = 0; k < rows_count; k++)
                if (rows[k].seconds == rollup_seconds[i] && rows[k].series == series)
                    calls += rows[k].calls;
            assert_int_equal(calls, sums[0][series]);
        }
    cells_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_minute_hour_day, setup),
        cmocka_unit_test_setup(test_late_buckets_are_read, setup),
        cmocka_unit_test_setup(test_rollback, setup),
        cmocka_unit_test_setup(test_lanes_are_apart, setup),
        cmocka_unit_test_setup(test_read_ahead, setup),
        cmocka_unit_test_setup(test_like_a_sum, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
