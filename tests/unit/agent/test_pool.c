/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/pool.c */
#include "agent/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int some_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_keys_are_apart(void **state)
{
    struct pool *p;
    int a = some_fd(), b = some_fd();

    (void)state;
    assert_int_equal(pool_new(4, 4096, &p), 0);
    assert_int_equal(pool_put(p, 1, AF_INET, a), 0);
    assert_int_equal(pool_put(p, 1, AF_INET6, b), 0);
    assert_int_equal(pool_take(p, 2, AF_INET), -EAGAIN);
    assert_int_equal(pool_take(p, 1, AF_INET), a);
    assert_int_equal(pool_take(p, 1, AF_INET), -EAGAIN);
    pool_free(&p);
    assert_true(is_open(a));
    assert_false(is_open(b));
    close(a);
}

static void test_orders(void **state)
{
    struct pool *p;

    (void)state;
    assert_int_equal(pool_new(8, 4096, &p), 0);
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 0), 8);
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 0), 0);
    /* Nobody who waits is left out. */
    assert_int_equal(pool_order(p, 1, AF_INET, 3, 0), 3);
    for (unsigned i = 0; i < 11; i++)
        assert_int_equal(pool_put(p, 1, AF_INET, some_fd()), 0);
    for (unsigned i = 0; i < 6; i++)
        close(pool_take(p, 1, AF_INET));
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 0), 0);
    close(pool_take(p, 1, AF_INET));
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 10), 4);
    /* The answer was lost. */
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 10 + POOL_ORDER_MS), 4);
    pool_free(&p);
}

static void test_grows_with_demand(void **state)
{
    struct pool *p;

    (void)state;
    assert_int_equal(pool_new(2, 4096, &p), 0);
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 0), 2);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(pool_take(p, 1, AF_INET), -EAGAIN);
    assert_int_equal(pool_order(p, 1, AF_INET, 0, POOL_ORDER_MS), POOL_SOCKETS_MAX);
    pool_free(&p);
}

static void test_bounded(void **state)
{
    struct pool *p;
    struct pool_stats stats;
    int fd;

    (void)state;
    assert_int_equal(pool_new(1, 4096, &p), 0);
    for (unsigned i = 0; i < POOL_SOCKETS_MAX; i++)
        assert_int_equal(pool_put(p, 1, AF_INET, some_fd()), 0);
    fd = some_fd();
    assert_int_equal(pool_put(p, 1, AF_INET, fd), -ENOSPC);
    assert_false(is_open(fd));
    for (unsigned i = 0; i < POOL_KEYS_MAX; i++)
        (void)pool_order(p, i, AF_INET, 0, 0);
    assert_int_equal(pool_order(p, POOL_KEYS_MAX, AF_INET, 5, 0), 0);
    pool_stats(p, &stats);
    assert_int_equal(stats.keys, POOL_KEYS_MAX);
    assert_int_equal(stats.sockets, POOL_SOCKETS_MAX);
    pool_free(&p);
}

static void test_drop(void **state)
{
    struct pool *p;
    int gone = some_fd(), kept = some_fd();
    struct pool_stats stats;

    (void)state;
    assert_int_equal(pool_new(1, 4096, &p), 0);
    assert_int_equal(pool_put(p, 1, AF_INET, gone), 0);
    assert_int_equal(pool_put(p, 1, AF_INET6, some_fd()), 0);
    assert_int_equal(pool_put(p, 2, AF_INET, kept), 0);
    pool_drop(p, 1);
    assert_false(is_open(gone));
    assert_true(is_open(kept));
    pool_stats(p, &stats);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.sockets, 1);
    pool_free(&p);
}

static void test_decays(void **state)
{
    struct pool_stats stats;
    struct pool *p;

    (void)state;
    assert_int_equal(pool_new(2, 4096, &p), 0);
    pool_tend(p, POOL_DECAY_MS);
    (void)pool_order(p, 1, AF_INET, 0, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(pool_take(p, 1, AF_INET), -EAGAIN);
    for (unsigned i = 0; i < POOL_SOCKETS_MAX; i++)
        assert_int_equal(pool_put(p, 1, AF_INET, some_fd()), 0);
    /* It ran empty in the last period: not in this one. */
    pool_tend(p, 2 * POOL_DECAY_MS);
    pool_tend(p, 2 * POOL_DECAY_MS + 1);
    pool_stats(p, &stats);
    assert_int_equal(stats.sockets, POOL_SOCKETS_MAX);
    pool_tend(p, 3 * POOL_DECAY_MS);
    pool_stats(p, &stats);
    assert_int_equal(stats.sockets, POOL_SOCKETS_MAX / 2);
    for (unsigned i = 4; i < 20; i++)
        pool_tend(p, i * POOL_DECAY_MS);
    pool_stats(p, &stats);
    assert_int_equal(stats.sockets, 2);
    pool_free(&p);
}

static void test_bounded_in_all(void **state)
{
    struct pool_stats stats;
    struct pool *p;
    int fd;

    (void)state;
    assert_int_equal(pool_new(8, 10, &p), 0);
    assert_int_equal(pool_order(p, 1, AF_INET, 0, 0), 8);
    /* What was ordered counts. */
    assert_int_equal(pool_order(p, 2, AF_INET, 0, 0), 2);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(pool_put(p, 1 + i / 8, AF_INET, some_fd()), 0);
    assert_int_equal(pool_order(p, 3, AF_INET, 0, 0), 0);
    fd = some_fd();
    assert_int_equal(pool_put(p, 3, AF_INET, fd), -ENOSPC);
    assert_false(is_open(fd));
    /* Who waits gets one all the same. */
    assert_int_equal(pool_order(p, 3, AF_INET, 1, 0), 1);
    assert_int_equal(pool_put(p, 3, AF_INET, some_fd()), 0);
    close(pool_take(p, 3, AF_INET));
    pool_drop(p, 1);
    assert_int_equal(pool_order(p, 3, AF_INET, 0, 0), 8);
    pool_stats(p, &stats);
    assert_int_equal(stats.sockets, 2);
    pool_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_apart),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_grows_with_demand),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_decays),
        cmocka_unit_test(test_bounded_in_all),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
