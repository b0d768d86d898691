/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A detector that is loaded from a snapshot and told the minutes since is the one that
 * never stopped, bit by bit: in what it tells and in what it knows.
 *
 * LINK: @detect tests/detect/traffic.c tests/detect/fleet.c
 */
#include "collector/detect.h"
#include "proto/event.h"
#include "tests/detect/fleet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define START_S INT64_C(1767225600)
#define FEATURES 6
#define MINUTES (4 * 1440)
#define SNAPSHOT_MIN 60
#define CHUNK_BYTES 20000
#define CHUNKS_MAX 64

static const struct fleet_event events[] = {
    {TRAFFIC_COST, 6, 2, 0, 1 * 1440 + 300, 50},
    {TRAFFIC_OUTAGE, 0, FLEET_EVERY, 1, 2 * 1440 + 100, 45},
    {TRAFFIC_ERRORS, .4, 4, FLEET_EVERY, 2 * 1440 + 700, 100},
    {TRAFFIC_CALLS, 3, FLEET_EVERY, FLEET_EVERY, 3 * 1440 + 30, 40},
    {TRAFFIC_SLOW, 5, 1, 0, 3 * 1440 + 400, 60},
    {TRAFFIC_RETRY, 4, 3, FLEET_EVERY, 3 * 1440 + 900, 60},
};

struct cells {
    struct store_series_name names[4 * FEATURES];
    struct rollup_cell cells[4 * FEATURES];
    unsigned count;
};

/* The store. */
static struct cells stored[MINUTES];

static const char *keep_text(const char *text)
{
    static char texts[64][16];
    static unsigned count;

    for (unsigned i = 0; i < count; i++)
        if (strcmp(texts[i], text) == 0)
            return texts[i];
    assert_true(count < 64 && strlen(text) < sizeof(texts[0]));
    return strcpy(texts[count++], text);
}

static int store_cell(void *ctx, const struct store_series_name *name,
                      const struct rollup_cell *cell)
{
    struct cells *c = ctx;
    struct rollup_cell *to = &c->cells[c->count];

    c->names[c->count++] = (struct store_series_name){
        keep_text(name->org), keep_text(name->feature), keep_text(name->provider),
        keep_text(name->model), keep_text(name->workload)};
    to->bucket = cell->bucket;
    to->sums = cell->sums;
    return sketch_merge(&to->latency, &cell->latency);
}

static int fill_store(void **state)
{
    static struct fleet fleet;

    (void)state;
    fleet_init(&fleet, FEATURES, 6, 11, events, sizeof(events) / sizeof(events[0]));
    /* A feature that comes later than the others. */
    for (int i = 0; i < MINUTES; i++) {
        fleet_next(&fleet, START_S + 60 * (int64_t)i, store_cell, &stored[i]);
        for (unsigned k = 0; i < 2000 && k < stored[i].count; k++)
            if (strcmp(stored[i].names[k].feature, "f05") == 0)
                stored[i].cells[k].sums.calls = 0;
    }
    fleet_fini(&fleet);
    return 0;
}

static int free_store(void **state)
{
    (void)state;
    for (int i = 0; i < MINUTES; i++)
        for (unsigned k = 0; k < stored[i].count; k++)
            sketch_fini(&stored[i].cells[k].latency);
    return 0;
}

/* What was told, packed. */
static int keep(void *ctx, const struct alert *a)
{
    assert_int_equal(alert_pack(a, ctx), 0);
    return 0;
}

static void tell(struct detect *d, int from, int to, bool quiet, struct buf *told)
{
    for (int i = from; i < to; i++) {
        assert_int_equal(detect_begin(d, START_S + 60 * (int64_t)i), 0);
        for (unsigned k = 0; k < stored[i].count; k++)
            if (stored[i].cells[k].sums.calls)
                assert_int_equal(detect_add(d, &stored[i].names[k], &stored[i].cells[k]), 0);
        assert_int_equal(detect_close(d, quiet, quiet ? NULL : keep, told), 0);
    }
}

struct snapshot {
    struct buf chunks[CHUNKS_MAX];
    unsigned count;
};

static void snapshot_fini(struct snapshot *s)
{
    for (unsigned i = 0; i < s->count; i++)
        buf_fini(&s->chunks[i]);
    s->count = 0;
}

static void take_snapshot(struct detect *d, struct snapshot *s)
{
    bool done = false;

    snapshot_fini(s);
    detect_save_begin(d);
    while (!done) {
        assert_true(s->count < CHUNKS_MAX);
        buf_init(&s->chunks[s->count], 1 << 24);
        assert_int_equal(detect_save_some(d, CHUNK_BYTES, &s->chunks[s->count++], &done), 0);
    }
}

static int load_snapshot(const struct snapshot *s, const struct config_detect *with,
                         struct detect **ret_detect)
{
    int r = 0;

    assert_int_equal(detect_new(with, ret_detect), 0);
    for (unsigned i = 0; i < s->count && r == 0; i++)
        r = detect_load(*ret_detect, buf_slice(&s->chunks[i]));
    return r < 0 ? r : detect_load_end(*ret_detect);
}

static uint64_t seed = 5;

static int below(int bound)
{
    return (int)(traffic_random(&seed) * bound);
}

/* Killed at random minutes, with a snapshot each hour. */
static void test_killed_again_and_again(void **state)
{
    static struct snapshot snapshot, whole_end, killed_end;
    struct detect *whole = NULL, *d = NULL;
    struct buf told, killed_told;
    int snapshot_min = 0, kills = 0;

    (void)state;
    buf_init(&told, 1 << 24);
    buf_init(&killed_told, 1 << 24);
    assert_int_equal(detect_new(&fleet_settings, &whole), 0);
    tell(whole, 0, MINUTES, false, &told);
    take_snapshot(whole, &whole_end);

    assert_int_equal(detect_new(&fleet_settings, &d), 0);
    take_snapshot(d, &snapshot);
    for (int at = 0, kill = 100; at < MINUTES; at++) {
        tell(d, at, at + 1, false, &killed_told);
        if ((at + 1) % SNAPSHOT_MIN == 0) {
            take_snapshot(d, &snapshot);
            snapshot_min = at + 1;
        }
        if (at != kill)
            continue;
        kills++;
        kill += 1 + below(120);
        detect_free(&d);
        assert_int_equal(load_snapshot(&snapshot, &fleet_settings, &d), 0);
        assert_int_equal(detect_last_minute(d),
                         snapshot_min ? START_S + 60 * (int64_t)(snapshot_min - 1) : 0);
        tell(d, snapshot_min, at + 1, true, NULL);
    }
    assert_true(kills > 50);
    assert_true(told.len > 3000);
    assert_int_equal(killed_told.len, told.len);
    assert_memory_equal(killed_told.data, told.data, told.len);
    detect_drop_untold(d);
    detect_drop_untold(whole);
    take_snapshot(d, &killed_end);
    assert_int_equal(killed_end.count, whole_end.count);
    for (unsigned i = 0; i < whole_end.count; i++) {
        assert_int_equal(killed_end.chunks[i].len, whole_end.chunks[i].len);
        if (i + 1 < whole_end.count)
            assert_memory_equal(killed_end.chunks[i].data, whole_end.chunks[i].data,
                                whole_end.chunks[i].len);
    }
    detect_free(&whole);
    detect_free(&d);
    snapshot_fini(&snapshot);
    snapshot_fini(&whole_end);
    snapshot_fini(&killed_end);
    buf_fini(&told);
    buf_fini(&killed_told);
}

/* A snapshot that is cut, changed or of other settings is refused, not guessed at. */
static void test_damaged(void **state)
{
    static struct snapshot s;
    struct config_detect other = fleet_settings;
    struct detect *d = NULL;
    unsigned last;

    (void)state;
    assert_int_equal(detect_new(&fleet_settings, &d), 0);
    tell(d, 0, 1500, true, NULL);
    take_snapshot(d, &s);
    detect_free(&d);
    assert_int_equal(load_snapshot(&s, &fleet_settings, &d), 0);
    detect_free(&d);

    other.windows_s[0] = 120;
    assert_int_equal(load_snapshot(&s, &other, &d), -EPROTO);
    detect_free(&d);
    for (int i = 0; i < 200; i++) {
        struct buf *chunk = &s.chunks[below((int)s.count)];
        size_t len = chunk->len;

        if (len == 0) /* the last one may be */
            continue;
        chunk->len = (size_t)below((int)len);
        assert_true(load_snapshot(&s, &fleet_settings, &d) < 0);
        detect_free(&d);
        chunk->len = len;
    }
    last = s.count;
    while (s.chunks[s.count - 1].len == 0)
        s.count--;
    s.count--; /* the last one that has something is missing */
    assert_int_equal(load_snapshot(&s, &fleet_settings, &d), -EPROTO);
    detect_free(&d);
    s.count = last;
    snapshot_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_again_and_again),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, fill_store, free_store);
}
