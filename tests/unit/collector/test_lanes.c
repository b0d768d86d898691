/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store collector/lanes.c collector/lease.c collector/config.c collector/places.c
 * collector/yamlread.c */
/* Between the lease's thread and the pipeline's. */
#include "collector/lanes.h"
#include "collector/store_lease.h"
#include "proto/base/clock.h"
#include "tests/harness/stores.h"

#include <errno.h>

#define ALL (~UINT64_C(0))
#define PATIENCE_NS (20 * NSEC_PER_SEC)
#define TTL_MS 400

static struct lanes *start(void)
{
    static struct config config;
    struct lanes *l = NULL;

    memset(&config, 0, sizeof(config));
    config.store.url = stores_where;
    config.store.lease_ttl_ms = TTL_MS;
    assert_int_equal(lanes_start(&config, &l), 0);
    return l;
}

static struct store *open_store(struct lanes *l)
{
    struct store *s = NULL;

    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(lanes_name(l, s), 0);
    return s;
}

/* As the pipeline does first in a transaction. */
static int check(struct lanes *l, struct store *s, uint64_t parts)
{
    int r;

    assert_int_equal(store_begin(s), 0);
    r = lanes_check(l, s, (struct lease_lanes){.parts = parts});
    store_rollback(s);
    return r;
}

static void follow_until_all(struct lanes *l)
{
    uint64_t until_ns = clock_mono_ns() + PATIENCE_NS, held = 0;
    struct lanes_change change;

    while (held != ALL) {
        assert_true(clock_mono_ns() < until_ns);
        lanes_take_change(l, &change);
        held = (held & ~change.lost) | change.gained;
        usleep(10000);
    }
}

/* The transaction whose end nobody saw may be under way: nothing is written beside it. */
static void test_doubt_ends_only_with_lanes_taken_anew(void **state)
{
    struct store *s;
    struct lanes *l;

    (void)state;
    STORES_NEEDED();
    l = start();
    s = open_store(l);
    follow_until_all(l);
    assert_int_equal(check(l, s, ALL), 0);
    lanes_doubt(l);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(check(l, s, ALL), -ESTALE);
        usleep(TTL_MS * 1000 / 20);
    }
    follow_until_all(l);
    assert_int_equal(check(l, s, ALL), 0);
    store_close(&s);
    lanes_stop(&l);
}

static int note_epoch(void *ctx, int64_t lane, const char *owner, int64_t epoch)
{
    int64_t *sum = ctx;

    (void)owner;
    *sum += lane == STORE_JUDGE ? 0 : epoch;
    return 0;
}

/* What is said to be let go of is what was held before, not what was gained meanwhile. */
static void test_a_release_that_comes_too_late(void **state)
{
    struct store *s;
    struct lanes *l;
    int64_t epochs = 0;

    (void)state;
    STORES_NEEDED();
    l = start();
    s = open_store(l);
    lanes_released(l, ALL);
    usleep(2 * TTL_MS * 1000);
    assert_int_equal(store_each_lease(s, note_epoch, &epochs), 0);
    assert_int_equal(epochs, STORE_PARTS);
    follow_until_all(l);
    assert_int_equal(check(l, s, ALL), 0);
    store_close(&s);
    lanes_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_doubt_ends_only_with_lanes_taken_anew, stores_empty),
        cmocka_unit_test_teardown(test_a_release_that_comes_too_late, stores_empty),
    };

    return cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
