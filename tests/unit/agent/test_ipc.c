/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/ipc.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct pair {
    int a, b;
};

static int open_pair(void **state)
{
    static struct pair p;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    p = (struct pair){.a = fds[0], .b = fds[1]};
    *state = &p;
    return 0;
}

static int close_pair(void **state)
{
    struct pair *p = *state;

    if (p->a >= 0)
        close(p->a);
    if (p->b >= 0)
        close(p->b);
    return 0;
}

static unsigned open_fds(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void every_type_arrives_whole(void **state)
{
    const enum ipc_type types[] = {IPC_HELLO,  IPC_LISTENER,     IPC_SOCKETS,   IPC_NETNS_GONE,
                                   IPC_CALLER, IPC_CENSUS,       IPC_DRAIN,     IPC_READY,
                                   IPC_WHO,    IPC_NEED_SOCKETS, IPC_CENSUS_ACK};
    struct pair *p = *state;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct ipc_msg out, in;
        int fds[IPC_FDS_MAX];
        unsigned count = 99;

        memset(&out, 0, sizeof(out));
        out.type = types[i];
        if (types[i] == IPC_CENSUS) {
            out.census.connections = 42;
            strcpy(out.census.caller.cgroup, "/a/b");
            out.census.caller.uid = 7;
        } else if (types[i] == IPC_CALLER) {
            out.caller.query = 5;
            strcpy(out.caller.caller.org, "x");
        } else if (types[i] == IPC_DRAIN) {
            out.drain_grace_ms = 1234;
        } else if (types[i] != IPC_READY) {
            out.netns.netns_cookie = 0x1122334455667788;
        }
        assert_int_equal(ipc_send(p->a, &out, NULL, 0), 0);
        memset(&in, 0xff, sizeof(in));
        assert_int_equal(ipc_recv(p->b, &in, fds, &count), 0);
        out.version = IPC_VERSION;
        assert_int_equal(count, 0);
        /* What a type does not carry arrives as zeros. */
        assert_memory_equal(&in, &out, sizeof(in));
    }
}

static void descriptors_travel(void **state)
{
    struct pair *p = *state;
    struct ipc_msg msg = {.type = IPC_SOCKETS, .netns = {.count = IPC_FDS_MAX}}, in;
    int fds[IPC_FDS_MAX], got[IPC_FDS_MAX];
    struct stat want, have;
    unsigned count = 0;

    for (int i = 0; i < IPC_FDS_MAX; i++) {
        fds[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(ipc_send(p->a, &msg, fds, IPC_FDS_MAX), 0);
    assert_int_equal(ipc_recv(p->b, &in, got, &count), 0);
    assert_int_equal(count, IPC_FDS_MAX);
    for (int i = 0; i < IPC_FDS_MAX; i++) {
        assert_int_equal(fstat(fds[i], &want), 0);
        assert_int_equal(fstat(got[i], &have), 0);
        assert_int_equal(want.st_ino, have.st_ino);
        assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
        close(fds[i]);
        close(got[i]);
    }
    assert_int_equal(ipc_send(p->a, &msg, fds, IPC_FDS_MAX + 1), -EINVAL);
}

static void nothing_there_and_closed(void **state)
{
    struct pair *p = *state;
    struct ipc_msg msg = {.type = IPC_READY};
    int fds[IPC_FDS_MAX];
    unsigned count;

    assert_int_equal(ipc_recv(p->b, &msg, fds, &count), -EAGAIN);
    close(p->a);
    p->a = -1;
    assert_int_equal(ipc_recv(p->b, &msg, fds, &count), -EPIPE);
    assert_int_equal(ipc_send(p->b, &msg, NULL, 0), -EPIPE);
}

static void a_full_socket_says_so(void **state)
{
    struct pair *p = *state;
    struct ipc_msg msg = {.type = IPC_CENSUS};
    int r = 0, sent = 0;

    while (sent < 100000 && (r = ipc_send(p->a, &msg, NULL, 0)) == 0)
        sent++;
    assert_int_equal(r, -EAGAIN);
    assert_true(sent > 0);
}

static void send_raw(int fd, const void *data, size_t len, int passed)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov;
    struct msghdr mh = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control)};
    union {
        const void *in;
        void *out;
    } bytes = {.in = data};

    iov = (struct iovec){.iov_base = bytes.out, .iov_len = len};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &passed, sizeof(int));
    assert_true(sendmsg(fd, &mh, 0) >= 0);
}

/* Refused, outputs untouched, and their descriptors do not leak. */
static void malformed_packets(void **state)
{
    struct pair *p = *state;
    struct ipc_msg good = {.version = IPC_VERSION, .type = IPC_WHO};
    struct ipc_msg other = {.version = IPC_VERSION + 1, .type = IPC_READY};
    struct ipc_msg unknown = {.version = IPC_VERSION, .type = 99};
    const size_t head = offsetof(struct ipc_msg, hello);
    const struct {
        const void *data;
        size_t len;
    } rows[] = {
        {"x", 1},
        {&good, head - 1},
        {&good, head + sizeof(struct ipc_who) - 1},
        {&good, head + sizeof(struct ipc_who) + 1},
        {&good, sizeof(good)},
        {&other, head},
        {&unknown, head},
    };
    unsigned before = open_fds();

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ipc_msg in = {.type = 77};
        int fds[IPC_FDS_MAX];
        unsigned count = 55;

        send_raw(p->a, rows[i].data, rows[i].len, p->a);
        assert_int_equal(ipc_recv(p->b, &in, fds, &count), -EPROTO);
        assert_int_equal(in.type, 77);
        assert_int_equal(count, 55);
    }
    assert_int_equal(open_fds(), before);
    assert_int_equal(ipc_send(p->a, &unknown, NULL, 0), -EINVAL);
}

/* No room for the descriptors: the message is lost, the link is not. */
static void descriptors_find_no_room(void **state)
{
    struct pair *p = *state;
    struct ipc_msg msg = {.type = IPC_SOCKETS, .netns = {.count = 4}}, in = {.type = 77};
    int fds[IPC_FDS_MAX], passed[4] = {p->a, p->a, p->a, p->a};
    unsigned count = 55, before;
    struct rlimit limit, low;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    before = open_fds();
    assert_int_equal(ipc_send(p->a, &msg, passed, 4), 0);
    low = limit;
    low.rlim_cur = (rlim_t)(p->a > p->b ? p->a : p->b) + 3; /* two of the four fit */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(ipc_recv(p->b, &in, fds, &count), -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(in.type, 77);
    assert_int_equal(count, 55);
    assert_int_equal(open_fds(), before);
    msg = (struct ipc_msg){.type = IPC_READY};
    assert_int_equal(ipc_send(p->a, &msg, NULL, 0), 0);
    assert_int_equal(ipc_recv(p->b, &in, fds, &count), 0);
    assert_int_equal(in.type, IPC_READY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_type_arrives_whole, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(descriptors_travel, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(nothing_there_and_closed, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(a_full_socket_says_so, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(malformed_packets, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(descriptors_find_no_room, open_pair, close_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
