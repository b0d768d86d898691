/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/callers.c */
#include "collector/callers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PLACES 5
#define MOST 2
#define SECOND UINT64_C(1000000000)

/* Both ends of each connection. */
static int ends[PLACES + 1][2];

static bool is_shut(unsigned i)
{
    char c;

    return recv(ends[i][1], &c, 1, MSG_DONTWAIT) == 0;
}

static int prepare(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= PLACES; i++)
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) < 0)
            return -1;
    return 0;
}

static int clean(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= PLACES; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
    return 0;
}

static void who_is_waited_for_longest_goes(void **state)
{
    struct callers *c = NULL;
    struct caller *k[PLACES];

    (void)state;
    assert_int_equal(callers_new(MOST, &c), 0);
    k[0] = callers_come(c, ends[0][0], 20);
    k[1] = callers_come(c, ends[1][0], 10);
    assert_int_equal(callers_hung_up(c), 0);
    k[2] = callers_come(c, ends[2][0], 30);
    assert_true(is_shut(1));
    assert_false(is_shut(0));
    callers_go(c, k[1]);
    k[1] = callers_come(c, ends[3][0], 40);
    assert_true(is_shut(0));
    assert_false(is_shut(2));
    assert_false(is_shut(3));
    assert_int_equal(callers_hung_up(c), 2);
    for (int i = 0; i < 3; i++)
        callers_go(c, k[i]);
    callers_free(&c);
}

static void who_is_served_stays(void **state)
{
    struct callers *c = NULL;
    struct caller *k[PLACES];

    (void)state;
    assert_int_equal(callers_new(MOST, &c), 0);
    for (unsigned i = 0; i < 2; i++) {
        k[i] = callers_come(c, ends[i][0], i);
        callers_begin(c, k[i]);
    }
    k[2] = callers_come(c, ends[2][0], 5);
    assert_int_equal(callers_hung_up(c), 0);
    callers_end(c, k[0], 9);
    k[3] = callers_come(c, ends[3][0], 10);
    assert_true(is_shut(2));
    callers_come(c, ends[4][0], SECOND);
    assert_false(is_shut(0)); /* it reads the answer, perhaps */
    assert_true(is_shut(3));
    callers_come(c, ends[5][0], 9 + SECOND);
    assert_true(is_shut(0));
    assert_false(is_shut(1));
    callers_free(&c);
}

/* It has asked, and its thread has not come to it. */
static void who_waits_for_us_stays(void **state)
{
    struct callers *c = NULL;
    struct caller *k[3];

    (void)state;
    assert_int_equal(callers_new(MOST, &c), 0);
    assert_int_equal(send(ends[0][1], "GET", 3, 0), 3);
    for (unsigned i = 0; i < 3; i++)
        k[i] = callers_come(c, ends[i][0], i);
    assert_true(is_shut(1));
    assert_int_equal(send(ends[0][1], " /", 2, MSG_NOSIGNAL), 2);
    for (int i = 0; i < 3; i++)
        callers_go(c, k[i]);
    callers_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_waited_for_longest_goes, prepare, clean),
        cmocka_unit_test_setup_teardown(who_is_served_stays, prepare, clean),
        cmocka_unit_test_setup_teardown(who_waits_for_us_stays, prepare, clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
