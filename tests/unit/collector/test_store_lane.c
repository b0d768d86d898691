/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store collector/housekeep.c */
/* What owners of lanes write, and how it is merged, joined and deleted. */
#include "collector/db.h"
#include "collector/housekeep.h"
#include "collector/store_lane.h"
#include "collector/store_prune.h"
#include "proto/base/clock.h"
#include "tests/harness/stores.h"

#include <errno.h>
#include <sys/stat.h>

#define NOON_S INT64_C(1767268800)

static struct store *open_store(void)
{
    struct store *s = NULL;

    assert_int_equal(store_open(stores_where, &s), 0);
    return s;
}

static int64_t add_series(struct store *s, const char *feature)
{
    const struct store_series_name name = {"acme", feature, "openai", "m", "w"};
    int64_t series = 0;

    assert_int_equal(store_add_series(s, &name, &series), 0);
    return series;
}

static void put_cell(struct store *s, int64_t lane, int64_t bucket, int64_t series, uint64_t calls,
                     int64_t revision)
{
    struct rollup_cell cell = {.seconds = 60, .bucket = bucket, .series = series};

    cell.sums.calls = calls;
    cell.sums.cost_squares = 0.25;
    for (uint64_t i = 0; i < calls; i++)
        assert_int_equal(sketch_add(&cell.latency, 1000 + i), 0);
    assert_int_equal(tally_add(&cell.error_types, "timeout", calls), 0);
    assert_int_equal(
        tally_add(&cell.usage, lane % 2 ? "input/token/reported" : "output/token/x", 10 * calls),
        0);
    assert_int_equal(store_put_cell(s, lane, &cell, revision), 0);
    rollup_cell_fini(&cell);
}

struct seen {
    unsigned cells;
    uint64_t calls, latencies, timeouts, input, output;
    double squares;
    char features[64];
};

static int note_cell(void *ctx, const struct store_series_name *name,
                     const struct rollup_cell *cell)
{
    struct seen *seen = ctx;
    size_t used = strlen(seen->features);

    seen->cells++;
    seen->calls += cell->sums.calls;
    seen->latencies += cell->latency.count;
    seen->timeouts += tally_get(&cell->error_types, "timeout");
    seen->input += tally_get(&cell->usage, "input/token/reported");
    seen->output += tally_get(&cell->usage, "output/token/x");
    seen->squares += cell->sums.cost_squares;
    snprintf(seen->features + used, sizeof(seen->features) - used, "%s=%llu ", name->feature,
             (unsigned long long)cell->sums.calls);
    return 0;
}

static void test_lanes_are_merged(void **state)
{
    struct store *s;
    struct seen seen = {0};
    int64_t a, b;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    a = add_series(s, "a");
    b = add_series(s, "b");
    assert_true(a != b && add_series(s, "a") == a);
    assert_int_equal(store_begin(s), 0);
    put_cell(s, 1, NOON_S, a, 3, 5);
    put_cell(s, 2, NOON_S, a, 4, 6);
    put_cell(s, 2, NOON_S + 60, b, 2, 1);
    put_cell(s, 1, NOON_S + 60, a, 1, 1);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_each_cell(s, ROLLUP_MINUTE, NOON_S, NOON_S + 120, note_cell, &seen), 0);
    assert_int_equal(seen.cells, 3);
    assert_string_equal(seen.features, "a=7 a=1 b=2 ");
    assert_int_equal(seen.calls, 10);
    assert_int_equal(seen.latencies, 10);
    assert_int_equal(seen.timeouts, 10);
    assert_int_equal(seen.input, 40);
    assert_int_equal(seen.output, 60);
    assert_true(seen.squares == 1.0);
    store_close(&s);
}

static int note_loaded(void *ctx, const struct rollup_cell *cell, int64_t revision)
{
    uint64_t *sum = ctx;

    sum[0] += cell->sums.calls;
    sum[1] += (uint64_t)revision;
    return 0;
}

/* The owner gets back what it wrote, and only that. */
static void test_a_lane_is_loaded(void **state)
{
    struct store *s;
    struct rollup_cell cell = {.seconds = 60, .bucket = NOON_S};
    uint64_t sum[2] = {0};
    int64_t revision = -1;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    cell.series = add_series(s, "a");
    put_cell(s, 1, NOON_S, cell.series, 3, 5);
    put_cell(s, 1, NOON_S, cell.series, 8, 6);
    put_cell(s, 2, NOON_S, cell.series, 4, 9);
    put_cell(s, 1, NOON_S + 60, cell.series, 1, 1);
    assert_int_equal(store_load_cell(s, 1, &cell, &revision), 0);
    assert_int_equal(revision, 6);
    assert_int_equal(cell.sums.calls, 8);
    assert_int_equal(cell.latency.count, 8);
    assert_int_equal(tally_get(&cell.usage, "input/token/reported"), 80);
    rollup_cell_fini(&cell);
    assert_int_equal(store_load_cell(s, 3, &cell, &revision), 0);
    assert_int_equal(revision, 0);
    assert_int_equal(cell.sums.calls, 0);
    assert_int_equal(store_load_cells(s, 1, ROLLUP_MINUTE, NOON_S, NOON_S + 60, note_loaded, sum),
                     0);
    assert_int_equal(sum[0], 8);
    assert_int_equal(sum[1], 6);
    rollup_cell_fini(&cell);
    store_close(&s);
}

static void damage(const char *sql)
{
    struct db_error_text error;
    struct db *db = NULL;

    assert_int_equal(db_open(stores_where, DB_WRITER, NULL, 0, &db, &error), 0);
    assert_int_equal(db_exec(db, sql), 0);
    db_close(&db);
}

/* Of one row that is damaged the sums are left, and all others are as they were. */
static void test_damaged_cells_hide_nothing(void **state)
{
    struct store *s;
    struct rollup_cell cell = {.seconds = 60, .bucket = NOON_S};
    struct seen seen = {0};
    uint64_t sum[2] = {0}, before = store_damaged();
    int64_t revision = 0;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    cell.series = add_series(s, "a");
    put_cell(s, 1, NOON_S, cell.series, 3, 5);
    put_cell(s, 3, NOON_S, cell.series, 4, 6);
    put_cell(s, 1, NOON_S + 60, cell.series, 8, 7);
    damage("UPDATE rollup SET latency = 'x', usage = 'damaged' WHERE revision = 5");
    assert_int_equal(store_load_cell(s, 1, &cell, &revision), 0);
    assert_int_equal(cell.sums.calls, 3);
    assert_int_equal(cell.latency.count, 0);
    assert_int_equal(tally_sum(&cell.usage), 0);
    assert_int_equal(tally_get(&cell.error_types, "timeout"), 3);
    assert_int_equal(store_damaged() - before, 2);
    assert_int_equal(store_load_cells(s, 1, ROLLUP_MINUTE, NOON_S, NOON_S + 120, note_loaded, sum),
                     0);
    assert_int_equal(sum[0], 11);
    assert_int_equal(store_each_cell(s, ROLLUP_MINUTE, NOON_S, NOON_S + 120, note_cell, &seen), 0);
    assert_int_equal(seen.calls, 15);
    assert_int_equal(seen.latencies, 12);
    assert_int_equal(seen.timeouts, 15);
    assert_int_equal(seen.input, 120);
    rollup_cell_fini(&cell);
    store_close(&s);
}

static int note_interval(void *ctx, const struct store_interval *interval)
{
    uint64_t *numbers = ctx;

    *numbers += interval->hi - interval->lo + 1;
    return 0;
}

static void test_intervals(void **state)
{
    struct store *s;
    uint64_t lane = 0, stream = 0;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_put_interval(s, &(struct store_interval){"x", 5, 1, 10}), 0);
    assert_int_equal(store_put_interval(s, &(struct store_interval){"x", 5, 1, 20}), 0);
    assert_int_equal(store_put_interval(s, &(struct store_interval){"x", 5, 30, 31}), 0);
    assert_int_equal(store_put_interval(s, &(struct store_interval){"y", 6, 1, 3}), 0);
    assert_int_equal(store_put_interval(s, &(struct store_interval){"z", 5, 1, 4}), 0);
    assert_int_equal(store_delete_interval(s, "x", 5, 30), 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_each_interval_of(s, "x", 5, note_interval, &stream), 0);
    assert_int_equal(stream, 20);
    assert_int_equal(store_each_interval(s, store_lane_of(s, 5), note_interval, &lane), 0);
    assert_int_equal(lane, store_lanes(s) == 1 ? 27 : 24);
    store_close(&s);
}

/* Four messages with such a number were the end of every answer about loss. */
static void test_absurd_numbers(void **state)
{
    const uint64_t absurd = UINT64_C(1) << 62;
    static const char *const instances[] = {"a", "b", "c", "d"};
    struct store_loss loss;
    struct store *s;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    assert_int_equal(store_begin(s), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            store_put_interval(s, &(struct store_interval){instances[i], 5, absurd, absurd}), 0);
    assert_int_equal(store_put_interval(s, &(struct store_interval){"e", 6, 4, 6}), 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.streams, 5);
    assert_int_equal(loss.received, 7);
    assert_true(loss.missing == 4 * (UINT64_C(1) << 40) + 3);
    store_close(&s);
}

static int take_touched(void *ctx, const struct store_touched *touched)
{
    *(struct store_touched *)ctx = *touched;
    return 0;
}

/* A bucket that changes while the judge looks at it stays in the queue. */
static void test_touched(void **state)
{
    struct store *s;
    struct store_touched touched = {0};

    (void)state;
    STORES_NEEDED();
    s = open_store();
    assert_int_equal(store_touch(s, 4, 60, NOON_S), 0);
    assert_int_equal(store_touch(s, 4, 60, NOON_S), 0);
    assert_int_equal(store_each_touched(s, 10, take_touched, &touched), 0);
    assert_int_equal(touched.lane, 4);
    assert_int_equal(touched.seconds, 60);
    assert_true(touched.bucket == NOON_S);
    assert_int_equal(store_touch(s, 4, 60, NOON_S), 0);
    assert_int_equal(store_clear_touched(s, &touched), 0);
    touched.lane = 0;
    assert_int_equal(store_each_touched(s, 10, take_touched, &touched), 0);
    assert_int_equal(touched.lane, 4);
    assert_int_equal(store_clear_touched(s, &touched), 0);
    touched.lane = 0;
    assert_int_equal(store_each_touched(s, 10, take_touched, &touched), 0);
    assert_int_equal(touched.lane, 0);
    store_close(&s);
}

static int count_lane(void *ctx, const struct store_lane_state *state)
{
    *(uint64_t *)ctx += state->watermark_ns;
    return 0;
}

static void test_lane_state(void **state)
{
    struct store *s;
    struct store_lane_state lane = {.lane = 9, .watermark_ns = 7};
    uint64_t sum = 0;
    int64_t number = 0;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    assert_int_equal(store_get_lane_state(s, 9, &lane), 0);
    assert_int_equal(lane.watermark_ns, 0);
    lane.watermark_ns = 70;
    assert_int_equal(store_put_lane_state(s, &lane), 0);
    lane.lane = 10;
    assert_int_equal(store_put_lane_state(s, &lane), 0);
    lane.watermark_ns = 71;
    assert_int_equal(store_put_lane_state(s, &lane), 0);
    assert_int_equal(store_each_lane_state(s, count_lane, &sum), 0);
    assert_int_equal(sum, 141);
    assert_int_equal(store_number_add_lane(s, 1, "n", 5), 0);
    assert_int_equal(store_number_add_lane(s, 2, "n", 6), 0);
    assert_int_equal(store_number_get(s, "n", &number), 0);
    assert_int_equal(number, 11);
    store_close(&s);
}

/* --- calls --- */

struct calls {
    unsigned count;
    unsigned first; /* the newest */
    uint64_t unreadable;
};

static int next_call(void *ctx, struct slice payload)
{
    struct calls *calls = ctx;
    unsigned number;

    assert_int_equal(payload.len, sizeof(number));
    memcpy(&number, payload.data, sizeof(number));
    if (calls->count == 0)
        calls->first = number;
    assert_int_equal(number, calls->first - calls->count);
    calls->count++;
    return 0;
}

static void put_call(struct store *s, unsigned number)
{
    struct call_block block;

    call_block_init(&block);
    assert_int_equal(
        call_block_add(&block, (uint64_t)number * NSEC_PER_SEC, slice_of(&number, sizeof(number))),
        0);
    assert_int_equal(store_add_call_block(s, number % 3, &block), 0);
    call_block_fini(&block);
}

static int count_payload(void *ctx, struct slice payload)
{
    (void)payload;
    ++*(unsigned *)ctx;
    return 0;
}

/* Its last call is cut off: what comes before it could be read. */
static void put_damaged(struct store *s, unsigned first, unsigned calls)
{
    struct call_block block;

    call_block_init(&block);
    for (unsigned i = first; i < first + calls; i++)
        assert_int_equal(
            call_block_add(&block, (uint64_t)i * NSEC_PER_SEC, slice_of(&i, sizeof(i))), 0);
    block.raw.len--;
    assert_int_equal(store_add_call_block(s, 0, &block), 0);
    call_block_fini(&block);
}

static struct calls read_calls(struct store *s, unsigned from, unsigned to, unsigned limit)
{
    struct calls calls = {0};

    assert_int_equal(store_each_call(s, (uint64_t)from * NSEC_PER_SEC, (uint64_t)to * NSEC_PER_SEC,
                                     limit, next_call, &calls, &calls.unreadable),
                     0);
    return calls;
}

/* Joined or not, calls read the same; a limit gives the newest. */
static void test_calls_are_joined(void **state)
{
    struct store *s;
    unsigned fewer = 0, sum = 0;
    uint64_t from_ns = 0;
    struct calls calls;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    for (unsigned i = 1; i <= 150; i++)
        put_call(s, i);
    do {
        calls = read_calls(s, 0, 1000, 1000);
        assert_int_equal(calls.count, 150);
        assert_int_equal(calls.first, 150);
        calls = read_calls(s, 0, 1000, 7);
        assert_int_equal(calls.count, 7);
        assert_int_equal(calls.first, 150);
        calls = read_calls(s, 20, 40, 1000);
        assert_int_equal(calls.count, 20);
        assert_int_equal(calls.first, 39);
        assert_int_equal(store_join_calls(s, &from_ns, 1000 * NSEC_PER_SEC, &fewer), 0);
        sum += fewer;
    } while (from_ns < 1000 * NSEC_PER_SEC);
    assert_int_equal(sum, 149);
    assert_int_equal(read_calls(s, 0, 1000, 0).count, 0);
    store_close(&s);
}

/* As many bytes as are told, of which little can be saved. */
static void put_large(struct store *s, unsigned at, size_t bytes)
{
    static uint8_t noise[900 * 1024];
    struct call_block block;

    assert_true(bytes <= sizeof(noise));
    for (size_t i = 0; i < bytes; i++)
        noise[i] = (uint8_t)random();
    call_block_init(&block);
    assert_int_equal(call_block_add(&block, (uint64_t)at * NSEC_PER_SEC, slice_of(noise, bytes)),
                     0);
    assert_int_equal(store_add_call_block(s, 0, &block), 0);
    call_block_fini(&block);
}

/* A small call and one of bytes that pack well: few in the store, many when they are read. */
static void put_even(struct store *s, unsigned at, size_t bytes)
{
    static uint8_t zeroes[900 * 1024];
    struct call_block block;

    assert_true(bytes <= sizeof(zeroes));
    call_block_init(&block);
    assert_int_equal(call_block_add(&block, (uint64_t)at * NSEC_PER_SEC, slice_of(zeroes, 9)), 0);
    assert_int_equal(call_block_add(&block, (uint64_t)at * NSEC_PER_SEC, slice_of(zeroes, bytes)),
                     0);
    assert_int_equal(store_add_call_block(s, 0, &block), 0);
    call_block_fini(&block);
}

struct total {
    unsigned calls;
    uint64_t bytes, unreadable;
};

static int add_total(void *ctx, struct slice payload)
{
    struct total *total = ctx;

    total->calls++;
    total->bytes += payload.len;
    return 0;
}

/* Some seconds at a time: what one reading may hold is bounded. */
static struct total total_of(struct store *s)
{
    struct total total = {0};

    for (uint64_t at_s = 0; at_s < 1000; at_s += 10) {
        uint64_t unreadable = 0;

        assert_int_equal(store_each_call(s, at_s * NSEC_PER_SEC, (at_s + 10) * NSEC_PER_SEC, 10000,
                                         add_total, &total, &unreadable),
                         0);
        total.unreadable += unreadable;
    }
    return total;
}

static unsigned join_all(struct store *s, unsigned turns_max)
{
    const uint64_t to_ns = 1000 * NSEC_PER_SEC;
    uint64_t from_ns = 0;
    unsigned sum = 0, fewer = 0;

    for (unsigned turns = 0; from_ns < to_ns; turns++) {
        assert_true(turns < turns_max);
        assert_int_equal(store_join_calls(s, &from_ns, to_ns, &fewer), 0);
        sum += fewer;
    }
    return sum;
}

/* Blocks that do not go together, or that cannot be read, do not keep those behind them apart. */
static void test_joining_goes_on(void **state)
{
    struct store *s;
    struct total before, after;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    put_large(s, 1, 800 * 1024);
    put_large(s, 2, 800 * 1024);
    put_even(s, 3, 800 * 1024);
    put_even(s, 4, 800 * 1024);
    put_damaged(s, 5, 3);
    put_call(s, 10);
    put_call(s, 11);
    put_damaged(s, 12, 4);
    put_even(s, 17, 800 * 1024);
    for (unsigned i = 20; i < 120; i++)
        put_call(s, i);
    before = total_of(s);
    assert_int_equal(before.calls, 2 + 6 + 102);
    assert_int_equal(before.unreadable, 7);
    assert_int_equal(join_all(s, 20), 102);
    after = total_of(s);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(join_all(s, 20), 0);
    store_close(&s);
}

/* More of them than are looked at together. */
static void test_joining_passes_many(void **state)
{
    struct store *s;
    struct total before, after;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    for (unsigned i = 0; i < 80; i++)
        put_damaged(s, 1 + i, 3);
    for (unsigned i = 0; i < 80; i++)
        put_even(s, 200 + i, 800 * 1024);
    for (unsigned i = 400; i < 480; i++)
        put_call(s, i);
    before = total_of(s);
    assert_int_equal(join_all(s, 20), 80);
    after = total_of(s);
    assert_memory_equal(&before, &after, sizeof(before));
    store_close(&s);
}

/* A block that cannot be read takes its own calls with it, no others, and they are counted. */
static void test_damaged_blocks_are_counted(void **state)
{
    struct store *s;
    struct calls calls;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    for (unsigned i = 1; i <= 9; i++)
        put_call(s, i);
    put_damaged(s, 4, 5);
    put_damaged(s, 20, 3);
    put_damaged(s, 200, 100);
    calls = read_calls(s, 0, 100, 1000);
    assert_int_equal(calls.count, 9);
    assert_int_equal(calls.first, 9);
    assert_int_equal(calls.unreadable, 8);
    assert_int_equal(read_calls(s, 0, 7, 1000).unreadable, 5);
    calls = read_calls(s, 9, 20, 1000);
    assert_int_equal(calls.count, 1);
    assert_int_equal(calls.unreadable, 0);
    store_close(&s);
}

/* --- housekeeping --- */

static void test_what_is_old_goes_bit_by_bit(void **state)
{
    const struct store_keep keep = {.from_s = {NOON_S + 3600, NOON_S, 0},
                                    .calls_from_ns = 100 * NSEC_PER_SEC};
    const struct record rec = {.org = "acme",
                               .workload = "w",
                               .provider = "p",
                               .reason = "agent_down",
                               .cost_basis = "unknown_model",
                               .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC};
    struct store *s;
    uint64_t rows = 0, sum = 0, unreadable = 0;
    unsigned calls = 0;
    int64_t series, first = 0, last = 0;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "a");
    for (int i = 0; i < 70; i++)
        put_cell(s, 1, NOON_S + 60 * i, series, 1, 1);
    assert_int_equal(store_add_gap(s, 1, &rec), 0);
    assert_int_equal(store_add_coverage(s, 1, &rec), 0);
    assert_int_equal(store_add_unpriced(s, 1, &rec, 1), 0);
    put_call(s, 99);
    put_call(s, 100);
    for (unsigned turns = 0;; turns++) {
        assert_int_equal(store_prune_some(s, &keep, 9, &rows), 0);
        assert_true(rows <= 9);
        sum += rows;
        if (rows == 0) {
            assert_true(turns >= 64 / 9);
            break;
        }
    }
    /* 60 minutes, a gap and a coverage of a minute, one unpriced, one block. */
    assert_int_equal(sum, 64);
    assert_int_equal(store_span(s, ROLLUP_MINUTE, &first, &last), 0);
    assert_true(first == NOON_S + 3600 && last == NOON_S + 69 * 60);
    assert_int_equal(store_each_call(s, 0, INT64_MAX, 10, count_payload, &calls, &unreadable), 0);
    assert_int_equal(calls, 1);
    store_close(&s);
}

/* The turns of a day: in the end only what is to be kept is there, and SQLite's file
 * has become smaller. */
static void test_housekeeping(void **state)
{
    const struct config_retention retention = {
        .calls_h = 24, .minutes_d = 14, .hours_d = 400, .days_d = 3650};
    struct housekeep h;
    struct store *s;
    struct stat before = {0}, after = {0};
    int64_t series, first = 0, last = 0;
    uint64_t wall_ns = (uint64_t)NOON_S * NSEC_PER_SEC;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "a");
    assert_int_equal(store_begin(s), 0);
    for (int i = 0; i < 5000; i++)
        put_cell(s, 1, NOON_S + 60 * i, series, 40, 1);
    assert_int_equal(store_commit(s), 0);
    store_close(&s);
    stat(stores_where, &before);
    s = open_store();
    housekeep_init(&h, &retention);
    assert_int_equal(housekeep_turn(&h, s, 0, wall_ns), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(housekeep_turn(&h, s, NOON_S + 15 * 86400, wall_ns), 0);
    assert_int_equal(store_span(s, ROLLUP_MINUTE, &first, &last), 0);
    assert_true(first == NOON_S + 86400 && last == NOON_S + 60 * 4999);
    store_close(&s);
    stat(stores_where, &after);
    if (!stores_is_postgres())
        assert_true(after.st_size < before.st_size * 9 / 10);
}

static int keep_malformed(void *ctx, const struct store_malformed *m)
{
    struct store_malformed *kept = ctx;

    *kept = *m;
    kept->payload.data = NULL;
    assert_true(m->payload.len == 0 || m->payload.data[m->payload.len - 1] == 'x');
    return 0;
}

static void test_malformed_can_be_tried_again(void **state)
{
    static char large[STORE_MALFORMED_BYTES_MAX + 10];
    struct store *s;
    struct store_malformed m = {
        .stream_seq = 5, .subject = "s", .reason = "r", .bytes = sizeof(large)};
    struct store_malformed kept = {0};

    (void)state;
    STORES_NEEDED();
    s = open_store();
    memset(large, 'x', sizeof(large));
    m.payload = slice_of(large, sizeof(large));
    assert_int_equal(store_add_malformed(s, 3, &m), 0);
    assert_int_equal(store_each_malformed(s, 0, 10, keep_malformed, &kept), 0);
    assert_int_equal(kept.stream_seq, 5);
    assert_int_equal(kept.bytes, sizeof(large));
    assert_int_equal(kept.payload.len, STORE_MALFORMED_BYTES_MAX);
    kept.stream_seq = 0;
    assert_int_equal(store_each_malformed(s, 5, 10, keep_malformed, &kept), 0);
    assert_int_equal(kept.stream_seq, 0);
    assert_int_equal(store_remove_malformed(s, 5), 0);
    assert_int_equal(store_each_malformed(s, 0, 10, keep_malformed, &kept), 0);
    assert_int_equal(kept.stream_seq, 0);
    store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_lanes_are_merged, stores_empty),
        cmocka_unit_test_teardown(test_a_lane_is_loaded, stores_empty),
        cmocka_unit_test_teardown(test_damaged_cells_hide_nothing, stores_empty),
        cmocka_unit_test_teardown(test_intervals, stores_empty),
        cmocka_unit_test_teardown(test_absurd_numbers, stores_empty),
        cmocka_unit_test_teardown(test_touched, stores_empty),
        cmocka_unit_test_teardown(test_lane_state, stores_empty),
        cmocka_unit_test_teardown(test_calls_are_joined, stores_empty),
        cmocka_unit_test_teardown(test_joining_goes_on, stores_empty),
        cmocka_unit_test_teardown(test_joining_passes_many, stores_empty),
        cmocka_unit_test_teardown(test_damaged_blocks_are_counted, stores_empty),
        cmocka_unit_test_teardown(test_what_is_old_goes_bit_by_bit, stores_empty),
        cmocka_unit_test_teardown(test_housekeeping, stores_empty),
        cmocka_unit_test_teardown(test_malformed_can_be_tried_again, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
