/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/splice.c */
#include "agent/splice.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

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
    assert_true(ret_ends[1] >= 0);
    close(listener);
}

struct relay {
    int client[2], server[2]; /* [0]: the peers' ends */
    struct pipes *pipes;
    struct splice_flow up;
    unsigned turns; /* of the poll, until the last end */
};

static void relay_open(struct relay *r)
{
    int on = 1;

    *r = (struct relay){0};
    tcp_pair(r->client);
    tcp_pair(r->server);
    setsockopt(r->client[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
    assert_int_equal(pipes_new(&r->pipes), 0);
    splice_init(&r->up);
}

static void relay_close(struct relay *r)
{
    splice_fini(r->pipes, &r->up);
    pipes_free(&r->pipes);
    for (int i = 0; i < 2; i++) {
        close(r->client[i]);
        close(r->server[i]);
    }
}

/* As a level-triggered loop does, until the source ended. */
static enum splice_result relay_run(struct relay *r)
{
    enum splice_result result = SPLICE_WAIT_READ;

    while (result == SPLICE_WAIT_READ && r->turns < 1000) {
        struct pollfd source = {.fd = r->client[1], .events = POLLIN};

        assert_int_equal(poll(&source, 1, 2000), 1);
        r->turns++;
        result = splice_run(r->pipes, &r->up, r->client[1], r->server[1],
                            (source.revents & POLLIN) != 0);
    }
    return result;
}

static void expect(int fd, const char *text)
{
    char got[64] = {0};
    size_t len = 0;

    while (len < strlen(text)) {
        ssize_t n = recv(fd, got + len, sizeof(got) - 1 - len, 0);

        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_string_equal(got, text);
}

static void test_bytes_pass(void **state)
{
    struct relay r;

    (void)state;
    relay_open(&r);
    assert_int_equal(send(r.client[0], "hello", 5, 0), 5);
    assert_int_equal(shutdown(r.client[0], SHUT_WR), 0);
    assert_int_equal(relay_run(&r), SPLICE_END);
    expect(r.server[0], "hello");
    assert_int_equal(r.up.bytes, 5);
    relay_close(&r);
}

static void test_urgent_data_is_no_stop(void **state)
{
    struct relay r;

    (void)state;
    relay_open(&r);
    assert_int_equal(send(r.client[0], "before", 6, 0), 6);
    assert_int_equal(send(r.client[0], "!", 1, MSG_OOB), 1);
    assert_int_equal(send(r.client[0], "after", 5, 0), 5);
    assert_int_equal(shutdown(r.client[0], SHUT_WR), 0);
    assert_int_equal(relay_run(&r), SPLICE_END);
    expect(r.server[0], "before!after");
    assert_true(r.turns < 20);
    relay_close(&r);
}

/* No end behind it: splice(2) only says EAGAIN. */
static void test_urgent_data_does_not_spin(void **state)
{
    struct relay r;

    (void)state;
    relay_open(&r);
    assert_int_equal(send(r.client[0], "!", 1, MSG_OOB), 1);
    assert_int_equal(send(r.client[0], "after", 5, 0), 5);
    while (r.up.bytes < 6 && r.turns++ < 20)
        (void)splice_run(r.pipes, &r.up, r.client[1], r.server[1], true);
    assert_int_equal(r.up.bytes, 6);
    expect(r.server[0], "!after");
    relay_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_pass),
        cmocka_unit_test(test_urgent_data_is_no_stop),
        cmocka_unit_test(test_urgent_data_does_not_spin),
    };

    return cmocka_run_group_tests_name("splice", tests, NULL, NULL);
}
