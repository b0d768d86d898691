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
    assert_int_equal(pool_new(4, &p), 0);
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
    assert_int_equal(pool_new(8, &p), 0);
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
    assert_int_equal(pool_new(2, &p), 0);
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
    assert_int_equal(pool_new(1, &p), 0);
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
    assert_int_equal(pool_new(1, &p), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_apart),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_grows_with_demand),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_drop),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
