/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/rollup_pack.c collector/rollup.c collector/sketch.c collector/tally.c */
#include "collector/rollup_pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct rollup_pack_key key = {
    .seconds = 3600,
    .bucket = 7200,
    .org = "acme",
    .feature = "search",
    .provider = "openai",
    .model = "gpt-4o",
    .workload = "shop/web",
};

static struct rollup_packer *packer;
static ProtobufCMessage *message;

static int set_up(void **state)
{
    (void)state;
    return rollup_packer_new(&packer);
}

static int tear_down(void **state)
{
    (void)state;
    event_free(&message);
    rollup_packer_free(&packer);
    return 0;
}

static const Lectr__V1__Rollup *unpack(struct slice packed)
{
    event_free(&message);
    assert_int_equal(event_unpack(EVENT_ROLLUP, packed, &message), 0);
    return (const Lectr__V1__Rollup *)(const void *)message;
}

static const Lectr__V1__Rollup *pack(const struct rollup_pack_key *k, uint64_t revision,
                                     const struct rollup_cell *cell)
{
    char id[EVENT_UUID_BYTES];
    struct slice packed;
    const Lectr__V1__Rollup *m;

    assert_int_equal(rollup_pack_cell(packer, k, revision, cell, &packed, id), 0);
    m = unpack(packed);
    assert_string_equal(m->id, id);
    return m;
}

static void everything_of_a_cell_is_told(void **state)
{
    struct rollup_cell cell = {.sums = {.calls = 10,
                                        .errors = 3,
                                        .retries = 2,
                                        .synthetic = 1,
                                        .input_total = 500,
                                        .output_total = 70,
                                        .cached_input = 100,
                                        .input_unknown = 4,
                                        .output_unknown = 5,
                                        .cost_unknown = 6,
                                        .tokens_estimated = 7,
                                        .cost_low_nanousd = -5,
                                        .cost_expected_nanousd = 9,
                                        .cost_high_nanousd = 11}};
    const Lectr__V1__Rollup *m;

    (void)state;
    assert_int_equal(tally_add(&cell.error_types, "rate_limit", 2), 0);
    assert_int_equal(tally_add(&cell.error_types, "client_abort", 1), 0);
    assert_int_equal(tally_add(&cell.usage, "input.audio/token/estimated", 40), 0);
    assert_int_equal(tally_add(&cell.usage, "output/token/reported", 60), 0);
    assert_int_equal(tally_add(&cell.usage, "search/search/measured", 3), 0);
    assert_int_equal(tally_add(&cell.usage, "other", 5), 0);
    m = pack(&key, 12, &cell);
    assert_int_equal(m->window_seconds, 3600);
    assert_int_equal(m->bucket_start_unix_nano, UINT64_C(7200000000000));
    assert_int_equal(m->revision, 12);
    assert_string_equal(m->feature, "search");
    assert_string_equal(m->workload, "shop/web");
    assert_int_equal(m->calls, 10);
    assert_int_equal(m->calls_retried, 2);
    assert_int_equal(m->calls_synthetic, 1);
    assert_int_equal(m->calls_tokens_unknown, 5);
    assert_int_equal(m->calls_input_unknown, 4);
    assert_int_equal(m->calls_tokens_estimated, 7);
    assert_int_equal(m->cost_low_nanousd, -5);
    assert_int_equal(m->n_error_types, 2);
    assert_string_equal(m->error_types[1]->type, "rate_limit");
    assert_int_equal(m->error_types[1]->calls, 2);
    assert_int_equal(m->n_usage, 4);
    assert_string_equal(m->usage[0]->kind, "input");
    assert_string_equal(m->usage[0]->modality, "audio");
    assert_null(m->usage[0]->unit);
    assert_int_equal(m->usage[0]->source, LECTR__V1__SOURCE__SOURCE_ESTIMATED);
    assert_string_equal(m->usage[1]->kind, "other");
    assert_int_equal(m->usage[1]->source, LECTR__V1__SOURCE__SOURCE_UNKNOWN);
    assert_int_equal(m->usage[2]->count, 60);
    assert_string_equal(m->usage[3]->unit, "search");
    assert_null(m->coverage);
    assert_null(m->latency_us);
    rollup_cell_fini(&cell);
}

static void unknown_is_never_zero(void **state)
{
    struct rollup_cell cell = {
        .sums = {.calls = 2, .input_unknown = 2, .output_unknown = 1, .cost_unknown = 2}};
    const Lectr__V1__Rollup *m;

    (void)state;
    m = pack(&key, 1, &cell);
    assert_false(m->has_input_tokens);
    assert_true(m->has_output_tokens);
    assert_false(m->has_cost_expected_nanousd);
    assert_true(m->has_errors);
}

/* What the contract says of sketches, written down once more. */
static double quantile_of(const Lectr__V1__Rollup__Sketch *const *list, int count, double q)
{
    double g = (1 + list[0]->relative_error) / (1 - list[0]->relative_error);
    uint64_t merged[SKETCH_BUCKETS] = {0}, all = 0, seen = 0;

    for (int i = 0; i < count; i++) {
        all += list[i]->count;
        for (size_t k = 0; k < list[i]->n_bucket; k++)
            merged[list[i]->bucket[k]] += list[i]->bucket_count[k];
    }
    for (int i = 0; i < SKETCH_BUCKETS; i++) {
        seen += merged[i];
        if (seen > (uint64_t)(q * (double)(all - 1)))
            return i == 0 ? 1 : 2 * pow(g, i) / (g + 1);
    }
    return 0;
}

static void sketches_merge_as_documented(void **state)
{
    static uint64_t sorted[3000];
    struct rollup_cell cells[2] = {0};
    const Lectr__V1__Rollup__Sketch *list[2];
    ProtobufCMessage *kept[2];
    uint64_t sum[2] = {0}, value = 17;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        value = value * 1103515245 % 2147483647;
        sorted[i] = 1000 + (uint64_t)i * 777; /* ascending; who has which is random */
        assert_int_equal(sketch_add(&cells[value & 1].latency, sorted[i]), 0);
        sum[value & 1] += sorted[i];
    }
    for (int i = 0; i < 2; i++) {
        list[i] = pack(&key, 1, &cells[i])->latency_us;
        assert_int_equal(list[i]->sum, sum[i]);
        assert_int_equal(list[i]->bucket_last, SKETCH_BUCKETS - 1);
        kept[i] = message;
        message = NULL;
        rollup_cell_fini(&cells[i]);
    }
    for (double q = 0; q <= 1; q += 0.05) {
        double truth = (double)sorted[(uint64_t)(q * 2999)];

        assert_true(fabs(quantile_of(list, 2, q) - truth) <= 0.0101 * truth);
    }
    for (int i = 0; i < 2; i++)
        event_free(&kept[i]);
}

static void the_id_is_of_the_names(void **state)
{
    struct rollup_cell cell = {.sums = {.calls = 1}};
    struct rollup_pack_key other = key;
    char first[EVENT_UUID_BYTES];

    (void)state;
    snprintf(first, sizeof(first), "%s", pack(&key, 1, &cell)->id);
    assert_string_equal(pack(&key, 2, &cell)->id, first);
    other.feature = "sear";
    other.provider = "chopenai";
    assert_string_not_equal(pack(&other, 1, &cell)->id, first);
    other = key;
    other.seconds = 60;
    assert_string_not_equal(pack(&other, 1, &cell)->id, first);
}

static void coverage_has_no_calls(void **state)
{
    struct rollup_pack_key k = key;
    struct rollup_pack_coverage c = {.is_seen = true, .seen = 10, .metered = 6};
    const Lectr__V1__Rollup *m;
    char id[EVENT_UUID_BYTES];
    struct slice packed;
    uint64_t before = rollup_pack_coverage_revision(&c);

    (void)state;
    k.feature = k.model = NULL;
    rollup_pack_add_gap(&c, "ech", 3, 0, 0);
    rollup_pack_add_gap(&c, "agent_died", 0, 2, 0);
    rollup_pack_add_gap(&c, "ech", 1, 0, 0);
    assert_true(rollup_pack_coverage_revision(&c) > before);
    assert_int_equal(rollup_pack_coverage(packer, &k, 5, &c, &packed, id), 0);
    m = unpack(packed);
    assert_false(m->has_calls);
    assert_non_null(m->coverage);
    assert_int_equal(m->coverage->seen_connections, 10);
    assert_int_equal(m->coverage->n_gaps, 2);
    assert_int_equal(m->coverage->gaps[0]->connections, 4);
    assert_int_equal(m->coverage->gaps[1]->calls_in_flight, 2);

    c.is_seen = false;
    for (int i = 0; i < 100; i++) {
        char reason[32];

        snprintf(reason, sizeof(reason), "reason%d", i);
        rollup_pack_add_gap(&c, reason, 1, 0, 0);
    }
    assert_int_equal(rollup_pack_coverage(packer, &k, 6, &c, &packed, id), 0);
    m = unpack(packed);
    assert_false(m->coverage->has_seen_connections);
    assert_int_equal(m->coverage->n_gaps, ROLLUP_PACK_REASONS_MAX);
    assert_string_equal(m->coverage->gaps[ROLLUP_PACK_REASONS_MAX - 1]->reason, "other");
    assert_int_equal(m->coverage->gaps[ROLLUP_PACK_REASONS_MAX - 1]->connections, 71);
}

/* Every bucket, every name: still a message. */
static void the_largest_cell_fits(void **state)
{
    struct rollup_cell cell = {.sums = {.calls = UINT64_C(1) << 50}};
    struct sketch *const sketches[] = {&cell.latency, &cell.ttft, &cell.added};

    (void)state;
    for (int s = 0; s < 3; s++) {
        for (double v = 1; v < 1e12; v *= 1.0201)
            assert_int_equal(sketch_add(sketches[s], (uint64_t)v), 0);
        for (uint32_t i = 0; i < sketches[s]->places; i++)
            sketches[s]->bins[i] = UINT64_C(1) << 40;
    }
    for (int i = 0; i < 100; i++) {
        char name[TALLY_NAME_BYTES_MAX + 1];

        memset(name, 'x', sizeof(name));
        snprintf(name + 60, sizeof(name) - 60, "%d", i);
        assert_int_equal(tally_add(&cell.usage, name, UINT64_C(1) << 60), 0);
        assert_int_equal(tally_add(&cell.error_types, name, UINT64_C(1) << 60), 0);
    }
    assert_int_equal(pack(&key, UINT64_MAX, &cell)->n_usage, TALLY_NAMES_MAX);
    rollup_cell_fini(&cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_of_a_cell_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_is_never_zero, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sketches_merge_as_documented, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_id_is_of_the_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(coverage_has_no_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_largest_cell_fits, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
