/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/origin.c */
#include "agent/origin.h"
#include "tests/harness/fake_ring.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct rig {
    struct origin *origin;
    uint8_t *ring;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    int fd = memfd_create("ring", MFD_CLOEXEC);

    assert_non_null(rig);
    assert_true(fd >= 0 && ftruncate(fd, FAKE_FILE_BYTES) == 0);
    rig->ring = fake_ring_map(fd);
    assert_non_null(rig->ring);
    assert_int_equal(origin_new(fd, FAKE_RING_BYTES, &rig->origin), 0);
    close(fd);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    origin_free(&rig->origin);
    munmap(rig->ring, FAKE_FILE_BYTES);
    free(rig);
    return 0;
}

static struct lectr_origin record(uint16_t sport, uint16_t dport)
{
    struct lectr_origin o = {.netns_cookie = 9, .family = LECTR_AF_INET, .cgroup_id = 5};

    memcpy(o.saddr, "\x7f\0\0\x01", 4);
    memcpy(o.daddr, "\x0a\0\0\x02", 4);
    o.sport = sport;
    o.dport = dport;
    return o;
}

static void write_record(struct rig *rig, uint16_t sport, uint16_t dport, uint32_t flags)
{
    struct lectr_origin o = record(sport, dport);

    fake_ring_write(rig->ring, &o, flags);
}

static int take(struct rig *rig, uint16_t sport, uint16_t *ret_dport)
{
    struct origin_key key = {.netns_cookie = 9, .family = LECTR_AF_INET, .sport = sport};
    struct lectr_origin o = {0};
    int r;

    memcpy(key.saddr, "\x7f\0\0\x01", 4);
    r = origin_take(rig->origin, &key, &o);
    *ret_dport = o.dport;
    return r;
}

static void test_once(void **state)
{
    struct rig *rig = *state;
    uint16_t dport;

    write_record(rig, 1000, 443, 0);
    assert_int_equal(take(rig, 1001, &dport), -ENOENT);
    assert_int_equal(take(rig, 1000, &dport), 0);
    assert_int_equal(dport, 443);
    assert_int_equal(take(rig, 1000, &dport), -ENOENT);
}

static void test_key_has_all_parts(void **state)
{
    struct rig *rig = *state;
    struct origin_key key = {.netns_cookie = 9, .family = LECTR_AF_INET, .sport = 1000};
    struct lectr_origin o;

    write_record(rig, 1000, 443, 0);
    memcpy(key.saddr, "\x7f\0\0\x02", 4);
    assert_int_equal(origin_take(rig->origin, &key, &o), -ENOENT);
    memcpy(key.saddr, "\x7f\0\0\x01", 4);
    key.netns_cookie = 8;
    assert_int_equal(origin_take(rig->origin, &key, &o), -ENOENT);
    key.netns_cookie = 9;
    key.family = LECTR_AF_INET6;
    assert_int_equal(origin_take(rig->origin, &key, &o), -ENOENT);
    key.family = LECTR_AF_INET;
    assert_int_equal(origin_take(rig->origin, &key, &o), 0);
}

static void test_newer_wins(void **state)
{
    struct rig *rig = *state;
    struct origin_stats stats;
    uint16_t dport;

    write_record(rig, 1000, 443, 0);
    write_record(rig, 1000, 8443, 0);
    assert_int_equal(take(rig, 1000, &dport), 0);
    assert_int_equal(dport, 8443);
    assert_int_equal(take(rig, 1000, &dport), -ENOENT);
    origin_stats(rig->origin, &stats);
    assert_int_equal(stats.replaced, 1);
    assert_int_equal(stats.held, 0);
}

static void test_busy_hides(void **state)
{
    struct rig *rig = *state;
    uint32_t *header = (uint32_t *)(void *)(rig->ring + 2 * FAKE_PAGE);
    uint16_t dport;

    write_record(rig, 1000, 443, 1U << 31);
    write_record(rig, 1001, 444, 0);
    assert_int_equal(take(rig, 1001, &dport), -EAGAIN);
    *header &= ~(1U << 31);
    assert_int_equal(take(rig, 1001, &dport), 0);
    assert_int_equal(dport, 444);
    assert_int_equal(take(rig, 1000, &dport), 0);
}

static void test_discarded_is_skipped(void **state)
{
    struct rig *rig = *state;
    uint16_t dport;

    write_record(rig, 1000, 443, 1U << 30);
    write_record(rig, 1001, 444, 0);
    assert_int_equal(take(rig, 1001, &dport), 0);
    assert_int_equal(take(rig, 1000, &dport), -ENOENT);
}

/* 20,000 records go round the ring several times, also across its end. */
static void test_wraps(void **state)
{
    struct rig *rig = *state;
    uint16_t dport;

    for (unsigned i = 0; i < 20000; i++) {
        write_record(rig, (uint16_t)i, (uint16_t)(i ^ 0x5555), 0);
        assert_int_equal(take(rig, (uint16_t)i, &dport), 0);
        assert_int_equal(dport, (uint16_t)(i ^ 0x5555));
    }
}

static void test_oldest_makes_room(void **state)
{
    struct rig *rig = *state;
    struct origin_stats stats;
    uint16_t dport;

    for (unsigned i = 0; i < ORIGIN_TABLE_MAX + 10; i++) {
        write_record(rig, (uint16_t)i, 443, 0);
        if (i % 1000 == 0)
            assert_int_equal(take(rig, 65535, &dport), -ENOENT); /* drains the ring */
    }
    assert_int_equal(take(rig, 9, &dport), -ENOENT);
    assert_int_equal(take(rig, 10, &dport), 0);
    assert_int_equal(take(rig, ORIGIN_TABLE_MAX + 9, &dport), 0);
    origin_stats(rig->origin, &stats);
    assert_int_equal(stats.evicted, 10);
    assert_int_equal(stats.held, ORIGIN_TABLE_MAX - 2);
}

static void test_refuses_odd_sizes(void **state)
{
    struct origin *o;

    (void)state;
    assert_int_equal(origin_new(-1, 5000, &o), -EINVAL);
    assert_int_equal(origin_new(-1, 0, &o), -EINVAL);
    assert_int_equal(origin_new(-1, FAKE_RING_BYTES, &o), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_has_all_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy_hides, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discarded_is_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wraps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oldest_makes_room, setup, teardown),
        cmocka_unit_test(test_refuses_odd_sizes),
    };

    return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
