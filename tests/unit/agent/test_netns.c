/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/netns.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static bool have_namespace; /* of our own, in which all of this runs */

#define NEED_NAMESPACE()                                                                           \
    do {                                                                                           \
        if (!have_namespace)                                                                       \
            skip();                                                                                \
    } while (0)

static void names(void **state)
{
    (void)state;
    assert_true(netns_name_matches("pod", "pod"));
    assert_false(netns_name_matches("pod", "pod1"));
    assert_false(netns_name_matches("pod1", "pod"));
    assert_true(netns_name_matches("pod-*", "pod-7"));
    assert_true(netns_name_matches("pod-*", "pod-"));
    assert_false(netns_name_matches("pod-*", "pod"));
    assert_true(netns_name_matches("*", "anything"));
    assert_false(netns_name_matches("", "x"));
}

static void ports(void **state)
{
    (void)state;
    assert_true(netns_port_is_free_for_us(20000, (struct netns_range){32768, 60999}));
    assert_false(netns_port_is_free_for_us(40000, (struct netns_range){32768, 60999}));
    assert_false(netns_port_is_free_for_us(30000, (struct netns_range){40000, 50000}));
    assert_false(netns_port_is_free_for_us(32767, (struct netns_range){40000, 50000}));
    assert_true(netns_port_is_free_for_us(29999, (struct netns_range){40000, 50000}));
    assert_false(netns_port_is_free_for_us(32768, (struct netns_range){32768, 60999}));
    assert_false(netns_port_is_free_for_us(20000, (struct netns_range){1024, 65535}));
    assert_false(netns_range_leaves_room((struct netns_range){1024, 65535}));
    assert_false(netns_range_leaves_room((struct netns_range){10000, 29999}));
    assert_true(netns_range_leaves_room((struct netns_range){10001, 65535}));
    assert_true(netns_range_leaves_room(NETNS_RANGE_DEFAULT));
}

static void what_is_no_namespace(void **state)
{
    int fd = -7;

    (void)state;
    assert_int_equal(netns_open_pid(0x7fffffff, &fd), -ENOENT);
    assert_int_equal(netns_open_name("../../etc/passwd", &fd), -EINVAL);
    assert_int_equal(netns_open_name("no-such-name-here", &fd), -ENOENT);
    assert_int_equal(fd, -7);
}

static void own_namespace_by_pid(void **state)
{
    uint64_t a = 0, b = 0;
    int fd = -1;

    (void)state;
    assert_int_equal(netns_cookie(&a), 0);
    assert_true(a > 0);
    assert_int_equal(netns_open_pid((uint32_t)getpid(), &fd), 0);
    assert_int_equal(netns_inode(fd, &b), 0);
    assert_true(b > 0);
    close(fd);
}

static void set_loopback(bool up)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq req = {.ifr_name = "lo"};

    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &req), 0);
    if (up)
        req.ifr_flags |= IFF_UP;
    else
        req.ifr_flags = (short)(req.ifr_flags & ~IFF_UP);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &req), 0);
    close(fd);
}

static int try_connect(int family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, family == AF_INET ? (const void *)&v4 : &v6,
                    family == AF_INET ? sizeof(v4) : sizeof(v6)) < 0
                ? -errno
                : 0;

    close(fd);
    return r;
}

/* Opened while loopback is down, reached once it is up; the change is told. */
static void listens_before_loopback_is_up(void **state)
{
    const int families[] = {AF_INET, AF_INET6};
    int fds[2], monitor = -1;
    uint16_t port[2];
    struct pollfd pfd = {.events = POLLIN};

    (void)state;
    NEED_NAMESPACE();
    set_loopback(false);
    assert_int_equal(netns_monitor(&monitor), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(netns_socket(families[i], &fds[i]), 0);
        assert_false(netns_reachable(families[i], fds[i]));
        assert_int_equal(netns_listen(fds[i], families[i], NETNS_RANGE_DEFAULT, &port[i]), 0);
        assert_in_range(port[i], 10000, 29999);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    }
    set_loopback(true);
    pfd.fd = monitor;
    assert_int_equal(poll(&pfd, 1, 5000), 1);
    assert_true(netns_reachable(AF_INET, fds[0]));
    /* No default route. */
    assert_false(netns_reachable(AF_INET6, fds[1]));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(try_connect(families[i], port[i]), 0);
        close(fds[i]);
        assert_int_equal(try_connect(families[i], port[i]), -ECONNREFUSED);
    }
    close(monitor);
}

static void keeps_out_of_the_ephemeral_range(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    for (int i = 0; i < 200; i++) {
        bool room = i < 199;
        FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "we");
        struct netns_range range;
        uint16_t port;
        int fd;

        assert_non_null(f);
        fputs(room ? "10000 29000" : "1024 65535", f);
        assert_int_equal(fclose(f), 0);
        range = netns_ephemeral();
        assert_int_equal(range.low, room ? 10000 : 1024);
        assert_int_equal(range.high, room ? 29000 : 65535);
        assert_int_equal(netns_socket(AF_INET, &fd), 0);
        assert_int_equal(netns_listen(fd, AF_INET, range, &port), 0);
        /* Without room there is no better choice. */
        assert_in_range(port, room ? 29001 : 10000, 29999);
        close(fd);
    }
}

static void sockets_are_unconnected_and_do_not_block(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(netns_socket(AF_INET, &fd), 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(getpeername(fd, &(struct sockaddr){0}, &(socklen_t){sizeof(struct sockaddr)}),
                     -1);
    close(fd);
    assert_int_equal(netns_socket(AF_UNIX, &fd), -EPROTONOSUPPORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(ports),
        cmocka_unit_test(what_is_no_namespace),
        cmocka_unit_test(own_namespace_by_pid),
        cmocka_unit_test(listens_before_loopback_is_up),
        cmocka_unit_test(keeps_out_of_the_ephemeral_range),
        cmocka_unit_test(sockets_are_unconnected_and_do_not_block),
    };

    have_namespace = unshare(CLONE_NEWNET) == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
