/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/tls.c */
/* A leg in clear behaves as one of TLS; those are tested end to end. */
#include "agent/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int ours, theirs;
static struct tls_leg leg;

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    ours = fds[0];
    theirs = fds[1];
    tls_open_plain(ours, "", &leg);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_leg_fini(&leg);
    tls_leg_fini(&leg);
    assert_false(tls_leg_is_open(&leg));
    /* The descriptor stays the caller's. */
    assert_int_equal(close(ours), 0);
    if (theirs >= 0)
        close(theirs);
    return 0;
}

static void bytes_pass_as_they_are(void **state)
{
    char bytes[16];
    size_t n = 77;

    (void)state;
    assert_true(tls_leg_is_open(&leg));
    assert_int_equal(tls_read(&leg, bytes, sizeof(bytes), &n), TLS_WANT_READ);
    assert_int_equal(n, 77);
    assert_int_equal(write(theirs, "abc", 3), 3);
    assert_int_equal(tls_read(&leg, bytes, 2, &n), TLS_OK);
    assert_int_equal(n, 2);
    assert_false(tls_has_buffered(&leg)); /* the poll tells of the rest */
    assert_int_equal(tls_read(&leg, bytes + 2, 9, &n), TLS_OK);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(tls_write(&leg, "xyz", 3, &n), TLS_OK);
    assert_int_equal(n, 3);
    assert_int_equal(read(theirs, bytes, sizeof(bytes)), 3);
    assert_memory_equal(bytes, "xyz", 3);
}

static void a_full_sink_wants_write(void **state)
{
    static const char bytes[65536];
    size_t n, total = 0;
    enum tls_io io;

    (void)state;
    while ((io = tls_write(&leg, bytes, sizeof(bytes), &n)) == TLS_OK)
        total += n;
    assert_int_equal(io, TLS_WANT_WRITE);
    assert_true(total > 0);
}

static void an_end_is_a_fin_alone(void **state)
{
    char byte;
    size_t n = 0;

    (void)state;
    shutdown(theirs, SHUT_WR);
    assert_int_equal(tls_read(&leg, &byte, 1, &n), TLS_CLOSED);
    assert_false(leg.close_notify);
    /* There is none to send; the other direction goes on. */
    assert_int_equal(tls_close_notify(&leg), TLS_OK);
    assert_int_equal(read(theirs, &byte, 1), -1);
    assert_int_equal(tls_write(&leg, "x", 1, &n), TLS_OK);
}

static void a_broken_one_is_reset(void **state)
{
    size_t n = 0;

    (void)state;
    close(theirs);
    theirs = -1;
    assert_int_equal(tls_write(&leg, "x", 1, &n), TLS_RESET); /* and no SIGPIPE */
}

static void it_never_had_a_certificate(void **state)
{
    (void)state;
    assert_false(tls_resumed(&leg));
    assert_false(tls_refused(&leg));
    assert_false(tls_untrusted(&leg));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_pass_as_they_are), T(a_full_sink_wants_write),    T(an_end_is_a_fin_alone),
        T(a_broken_one_is_reset),  T(it_never_had_a_certificate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
