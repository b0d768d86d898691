/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/loop.c */
#include "agent/loop.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct seen {
    struct loop *loop;
    struct loop_poll *poll;
    struct loop_timer *timer;
    unsigned calls, events;
};

static void on_event(void *user, unsigned events)
{
    struct seen *s = user;

    s->calls++;
    s->events |= events;
    if (s->calls > 1000)
        loop_stop(s->loop);
}

static void on_time(void *user)
{
    struct seen *s = user;

    loop_stop(s->loop);
}

static void tcp_pair(int ret_ends[2])
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(to);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &len), 0);
    ret_ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(ret_ends[0], (struct sockaddr *)&to, sizeof(to)), 0);
    ret_ends[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
}

/* Both directions are over: the kernel says hang-up and nothing else. */
static void test_a_hang_up_is_an_error_told_once(void **state)
{
    struct seen s = {0};
    int ends[2];

    (void)state;
    tcp_pair(ends);
    assert_int_equal(shutdown(ends[0], SHUT_WR), 0);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    assert_int_equal(loop_new(&s.loop), 0);
    assert_int_equal(loop_poll_new(s.loop, ends[1], on_event, &s, &s.poll), 0);
    assert_int_equal(loop_timer_new(s.loop, 100, on_time, &s, &s.timer), 0);
    loop_poll_set(s.poll, LOOP_ERROR);
    loop_run(s.loop);
    assert_int_equal(s.calls, 1);
    assert_true(s.events & LOOP_ERROR);
    loop_poll_free(&s.poll);
    loop_timer_free(&s.timer);
    loop_free(&s.loop);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hang_up_is_an_error_told_once),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
