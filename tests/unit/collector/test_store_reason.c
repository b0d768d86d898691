/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store */
/* Reasons of gaps, which agents name. */
#include "collector/store_lane.h"
#include "proto/base/clock.h"
#include "tests/harness/stores.h"

#define NOON_S INT64_C(1767268800)

struct gaps {
    unsigned rows, others;
    uint64_t connections, other_connections;
};

static int add_gap_row(void *ctx, const struct store_gap_row *row)
{
    struct gaps *gaps = ctx;

    gaps->rows++;
    gaps->connections += row->connections;
    if (strcmp(row->reason, "(other)") == 0) {
        gaps->others++;
        gaps->other_connections += row->connections;
    }
    return 0;
}

static void put_gap(struct store *s, const char *org, const char *reason)
{
    struct record rec = {.workload = "w",
                         .provider = "p",
                         .connections = 1,
                         .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC};

    snprintf(rec.org, sizeof(rec.org), "%s", org);
    snprintf(rec.reason, sizeof(rec.reason), "%s", reason);
    assert_int_equal(store_add_gap(s, 1, &rec), 0);
}

static void put_gaps(struct store *s, const char *org, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++) {
        char reason[32];

        snprintf(reason, sizeof(reason), "reason-%u", i);
        put_gap(s, org, reason);
    }
}

static void assert_gaps(struct store *s, struct gaps expected)
{
    for (int res = 0; res < ROLLUP__COUNT; res++) {
        struct gaps gaps = {0};

        assert_int_equal(store_each_gap(s, res, 0, INT64_MAX, add_gap_row, &gaps), 0);
        assert_memory_equal(&gaps, &expected, sizeof(gaps));
    }
}

/* Whatever reasons an agent makes up: rows are bounded, no connection is left out, and those that
 * were there first stay, after a start too. */
static void test_reasons_of_gaps_are_bounded(void **state)
{
    struct store *s;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    put_gap(s, "acme", "ech");
    put_gaps(s, "acme", 0, STORE_REASONS_MAX + 9);
    put_gap(s, "umbrella", "ech");
    assert_gaps(s, (struct gaps){STORE_REASONS_MAX + 2, 1, STORE_REASONS_MAX + 11, 10});
    store_close(&s);
    assert_int_equal(store_open(stores_where, &s), 0);
    put_gap(s, "acme", "ech");
    put_gap(s, "acme", "another");
    put_gap(s, "umbrella", "quic");
    assert_gaps(s, (struct gaps){STORE_REASONS_MAX + 3, 1, STORE_REASONS_MAX + 14, 11});
    store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_reasons_of_gaps_are_bounded, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
