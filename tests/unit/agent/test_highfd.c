/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/highfd.c */
#include "agent/highfd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNECTIONS 200

static void the_number_is_above_what_connections_get(void **state)
{
    int moved = highfd_take(open("/dev/null", O_RDONLY | O_CLOEXEC));
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_true(moved > next);
    assert_true(fcntl(moved, F_GETFD) & FD_CLOEXEC);
    close(moved);
    close(next);
}

static void without_a_number_it_stays(void **state)
{
    struct rlimit limit, tight;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), moved;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)fd + 1, .rlim_max = limit.rlim_max};
    for (int n = fd / 2; n <= fd; n++) /* all that a small limit leaves is taken */
        (void)fcntl(fd, F_DUPFD_CLOEXEC, n);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    moved = highfd_take(fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(moved, fd);
    close(fd);
}

static int listen_at(struct sockaddr_in *ret_at)
{
    socklen_t len = sizeof(*ret_at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *ret_at =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret_at, sizeof(*ret_at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_at, &len), 0);
    assert_int_equal(listen(fd, CONNECTIONS), 0);
    return fd;
}

/* The kernel's order, which all of this is for: when the first connection ends,
 * nobody listens any more. */
static void a_killed_process_stops_listening_before_its_connections_end(void **state)
{
    struct sockaddr_in at;
    int listener = listen_at(&at), ready[2], ends[CONNECTIONS], again;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        int high = highfd_take(listener);

        for (int i = 0; i < CONNECTIONS; i++)
            if (accept(high, NULL, NULL) < 0)
                _exit(1);
        if (write(ready[1], "r", 1) == 1)
            pause();
        _exit(0);
    }
    close(listener);
    for (int i = 0; i < CONNECTIONS; i++) {
        ends[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(ends[i], (struct sockaddr *)&at, sizeof(at)), 0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(pid, SIGKILL);
    /* The last accepted has the highest number of them: it ends first. */
    assert_true(recv(ends[CONNECTIONS - 1], &byte, 1, 0) <= 0);
    again = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(again, (struct sockaddr *)&at, sizeof(at)), -1);
    close(again);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < CONNECTIONS; i++)
        close(ends[i]);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_is_above_what_connections_get),
        cmocka_unit_test(without_a_number_it_stays),
        cmocka_unit_test(a_killed_process_stops_listening_before_its_connections_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
