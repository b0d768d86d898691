/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/rollup.c collector/sketch.c collector/tally.c */
#include "collector/rollup.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOON_S INT64_C(1767268800)

static struct record call_at(int64_t end_s)
{
    return (struct record){
        .kind = RECORD_CALL,
        .start_ns = (uint64_t)(end_s - 200) * NSEC_PER_SEC,
        .end_ns = (uint64_t)end_s * NSEC_PER_SEC,
        .tokens = {.input = 90,
                   .cached_input = 10,
                   .output = 20,
                   .input_total = {.known = true, .value = 100},
                   .output_total = {.known = true, .value = 20}},
        .cost = {.known = true, .low_nanousd = 900, .expected_nanousd = 1000, .high_nanousd = 1200},
        .latency_us = {.known = true, .value = 1000},
    };
}

struct found {
    const struct rollup_cell *cells[16];
    unsigned count;
};

static int find_all(void *ctx, const struct rollup_cell *cell)
{
    struct found *f = ctx;

    assert_true(f->count < 16);
    f->cells[f->count++] = cell;
    return 0;
}

static const struct rollup_cell *cell_of(const struct found *f, uint32_t seconds, int64_t bucket)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->cells[i]->seconds == seconds && f->cells[i]->bucket == bucket)
            return f->cells[i];
    return NULL;
}

/* Buckets are on the end: the start lies in another minute. */
static void test_buckets_on_end_time(void **state)
{
    struct rollup *r = NULL;
    struct found found = {0};
    struct record rec = call_at(NOON_S + 59), next = call_at(NOON_S + 60);

    (void)state;
    assert_int_equal(rollup_new(&r), 0);
    assert_int_equal(rollup_add(r, 1, &rec), 0);
    assert_int_equal(rollup_add(r, 1, &next), 0);
    assert_int_equal(rollup_each(r, find_all, &found), 0);
    assert_int_equal(found.count, 2);
    assert_int_equal(cell_of(&found, 60, NOON_S)->sums.calls, 1);
    assert_int_equal(cell_of(&found, 60, NOON_S + 60)->sums.calls, 1);
    rollup_free(&r);
}

/* Unknown is counted apart and adds nothing. */
static void test_unknown_is_not_zero(void **state)
{
    struct rollup *r = NULL;
    struct found found = {0};
    struct record known = call_at(NOON_S), unknown = call_at(NOON_S);
    const struct rollup_sums *s;

    (void)state;
    unknown.tokens = (struct record_tokens){0};
    unknown.cost = (struct record_cost){.known = false, .expected_nanousd = 777};
    unknown.latency_us.known = false;
    assert_int_equal(rollup_new(&r), 0);
    assert_int_equal(rollup_add(r, 1, &known), 0);
    assert_int_equal(rollup_add(r, 1, &unknown), 0);
    assert_int_equal(rollup_each(r, find_all, &found), 0);
    s = &cell_of(&found, 60, NOON_S)->sums;
    assert_int_equal(s->calls, 2);
    assert_int_equal(s->cost_unknown, 1);
    assert_int_equal(s->input_unknown, 1);
    assert_int_equal(s->output_unknown, 1);
    assert_int_equal(s->cost_low_nanousd, 900);
    assert_int_equal(s->cost_expected_nanousd, 1000);
    assert_int_equal(s->cost_high_nanousd, 1200);
    assert_int_equal(s->input, 90);
    assert_int_equal(s->cached_input, 10);
    assert_int_equal(s->input_total, 100);
    assert_int_equal(cell_of(&found, 60, NOON_S)->latency.count, 1);
    rollup_free(&r);
}

static void test_errors_by_type_are_bounded(void **state)
{
    struct rollup *r = NULL;
    struct found found = {0};
    struct record rec = call_at(NOON_S);
    const struct rollup_cell *cell;

    (void)state;
    assert_int_equal(rollup_new(&r), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(rec.error_type, sizeof(rec.error_type), "type-%d", i);
        assert_int_equal(rollup_add(r, 1, &rec), 0);
    }
    assert_int_equal(rollup_each(r, find_all, &found), 0);
    cell = cell_of(&found, 60, NOON_S);
    assert_int_equal(cell->sums.errors, 100);
    assert_int_equal(cell->error_types.count, TALLY_NAMES_MAX);
    assert_int_equal(tally_sum(&cell->error_types), 100);
    assert_int_equal(tally_get(&cell->error_types, TALLY_OTHER), 100 - (TALLY_NAMES_MAX - 1));
    rollup_free(&r);
}

static void test_usage_and_retries(void **state)
{
    struct rollup *r = NULL;
    struct found found = {0};
    struct record rec = call_at(NOON_S), retry = call_at(NOON_S + 60);
    struct rollup_cell hour = {.seconds = 3600, .bucket = NOON_S};

    (void)state;
    rec.usage_count = retry.usage_count = 2;
    rec.usage[0] = retry.usage[0] = (struct record_usage){"input/token/reported", 90};
    rec.usage[1] = (struct record_usage){"output/token/estimated", 20};
    retry.usage[1] = (struct record_usage){"output/token/reported", 7};
    retry.is_retry = true;
    assert_int_equal(rollup_new(&r), 0);
    assert_int_equal(rollup_add(r, 1, &rec), 0);
    assert_int_equal(rollup_add(r, 1, &retry), 0);
    assert_int_equal(rollup_each(r, find_all, &found), 0);
    assert_int_equal(cell_of(&found, 60, NOON_S)->sums.retries, 0);
    for (unsigned i = 0; i < found.count; i++)
        assert_int_equal(rollup_cell_merge(&hour, found.cells[i]), 0);
    assert_int_equal(hour.sums.calls, 2);
    assert_int_equal(hour.latency.count, 2);
    assert_int_equal(hour.sums.retries, 1);
    assert_int_equal(hour.usage.count, 3);
    assert_int_equal(tally_get(&hour.usage, "input/token/reported"), 180);
    assert_int_equal(tally_get(&hour.usage, "output/token/estimated"), 20);
    assert_int_equal(tally_get(&hour.usage, "output/token/reported"), 7);
    rollup_cell_fini(&hour);
    rollup_free(&r);
}

static void test_series_stay_apart(void **state)
{
    struct rollup *r = NULL;
    struct found found = {0};
    struct record rec = call_at(NOON_S);

    (void)state;
    assert_int_equal(rollup_new(&r), 0);
    assert_int_equal(rollup_add(r, 1, &rec), 0);
    assert_int_equal(rollup_add(r, 2, &rec), 0);
    assert_int_equal(rollup_each(r, find_all, &found), 0);
    assert_int_equal(found.count, 2);
    rollup_reset(r);
    found.count = 0;
    assert_int_equal(rollup_each(r, find_all, &found), 0);
    assert_int_equal(found.count, 0);
    rollup_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_on_end_time),
        cmocka_unit_test(test_unknown_is_not_zero),
        cmocka_unit_test(test_errors_by_type_are_bounded),
        cmocka_unit_test(test_usage_and_retries),
        cmocka_unit_test(test_series_stay_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
