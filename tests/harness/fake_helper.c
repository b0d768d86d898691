/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/ipc.c */
/*
 * Stands in for the helper, so that the proxy runs without BPF: speaks
 * agent/ipc.h on descriptor 3 of the command it starts, keeps the origin ring
 * in a plain file (which steer_preload.so writes), answers WHO and
 * NEED_SOCKETS. One listener per family on loopback of its own namespace.
 *
 *   fake_helper --ring FILE --port PORT [--slow-who MS] [--no-sockets] -- COMMAND…
 *
 * Prints "ready" when the proxy said so, then one line per message type seen.
 * Ends with the proxy's exit code; SIGUSR1 sends IPC_DRAIN (grace 5 s);
 * SIGUSR2 sends a census row; SIGTERM closes the socket, as a dying helper does.
 */
#include "agent/ipc.h"
#include "tests/harness/fake_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct options {
    const char *ring;
    int port, slow_who_ms;
    bool no_sockets;
    char **command;
};

static volatile sig_atomic_t drain_asked, census_asked, die_asked;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        drain_asked = 1;
    else if (number == SIGUSR2)
        census_asked = 1;
    else
        die_asked = 1;
}

static int open_listener(int family, int port)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, r;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in6.sin6_addr = in6addr_loopback;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    r = family == AF_INET ? bind(fd, (struct sockaddr *)&in4, sizeof(in4))
                          : bind(fd, (struct sockaddr *)&in6, sizeof(in6));
    if (r < 0 || listen(fd, 1024) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static uint64_t netns_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);

    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);
    return cookie;
}

static void must_send(int fd, const struct ipc_msg *msg, const int *fds, unsigned count)
{
    int r;

    do
        r = ipc_send(fd, msg, fds, count);
    while (r == -EAGAIN && usleep(1000) == 0);
    if (r < 0)
        fprintf(stderr, "fake_helper: send: %s\n", strerror(-r));
}

static void send_listener(int fd, int family, int port)
{
    int listener = open_listener(family, port);
    struct ipc_msg msg = {.type = IPC_LISTENER};

    if (listener < 0) {
        fprintf(stderr, "fake_helper: no listener for family %d\n", family);
        return;
    }
    msg.netns = (struct ipc_netns){.netns_cookie = netns_cookie(listener),
                                   .family = (uint32_t)family,
                                   .port = (uint32_t)port,
                                   .count = 1};
    must_send(fd, &msg, &listener, 1);
    close(listener);
}

static void send_sockets(int fd, const struct ipc_netns *need)
{
    unsigned left = need->count;

    while (left > 0) {
        struct ipc_msg msg = {.type = IPC_SOCKETS, .netns = *need};
        int fds[IPC_FDS_MAX];
        unsigned count = left < IPC_FDS_MAX ? left : IPC_FDS_MAX;

        for (unsigned i = 0; i < count; i++)
            fds[i] = socket((int)need->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        msg.netns.count = count;
        must_send(fd, &msg, fds, count);
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
        left -= count;
    }
}

static void send_caller(int fd, const struct ipc_who *who, const struct options *o)
{
    struct ipc_msg msg = {.type = IPC_CALLER};
    struct caller *c = &msg.caller.caller;

    if (o->slow_who_ms > 0)
        usleep((useconds_t)o->slow_who_ms * 1000);
    if (o->slow_who_ms < 0)
        return;
    msg.caller.query = who->query;
    c->cgroup_id = who->cgroup_id;
    c->netns_cookie = who->netns_cookie;
    c->pid = who->pid;
    c->uid = who->uid;
    snprintf(c->process, sizeof(c->process), "fake");
    snprintf(c->cgroup, sizeof(c->cgroup), "/lectr-test");
    snprintf(c->owner, sizeof(c->owner), "rig");
    snprintf(c->feature_env, sizeof(c->feature_env), "rig-feature");
    must_send(fd, &msg, NULL, 0);
}

static void send_census(int fd)
{
    static uint64_t id;
    struct ipc_msg msg = {.type = IPC_CENSUS};

    msg.census.id = ++id;
    snprintf(msg.census.gap_id, sizeof(msg.census.gap_id), "00000000-0000-8000-8000-%012llu",
             (unsigned long long)id);
    snprintf(msg.census.provider, sizeof(msg.census.provider), "openai");
    snprintf(msg.census.reason, sizeof(msg.census.reason), "quic");
    msg.census.connections = 3;
    msg.census.start_unix_ns = msg.census.end_unix_ns = (uint64_t)time(NULL) * 1000000000ULL;
    must_send(fd, &msg, NULL, 0);
}

static void handle(int fd, const struct ipc_msg *msg, const struct options *o)
{
    switch ((enum ipc_type)msg->type) {
    case IPC_READY:
        printf("ready\n");
        fflush(stdout);
        break;
    case IPC_NEED_SOCKETS:
        if (!o->no_sockets)
            send_sockets(fd, &msg->netns);
        break;
    case IPC_WHO:
        send_caller(fd, &msg->who, o);
        break;
    case IPC_CENSUS_ACK:
        printf("census-ack %llu\n", (unsigned long long)msg->census_ack_id);
        fflush(stdout);
        break;
    default:
        break;
    }
}

static int serve(int fd, const struct options *o)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    for (;;) {
        struct ipc_msg msg;
        int fds[IPC_FDS_MAX], r;
        unsigned count;

        if (drain_asked) {
            msg = (struct ipc_msg){.type = IPC_DRAIN};
            msg.drain_grace_ms = 5000;
            must_send(fd, &msg, NULL, 0);
            drain_asked = 0;
        }
        if (census_asked) {
            send_census(fd);
            census_asked = 0;
        }
        if (die_asked)
            return 0;
        poll(&pfd, 1, 200);
        while ((r = ipc_recv(fd, &msg, fds, &count)) == 0)
            handle(fd, &msg, o);
        if (r != -EAGAIN)
            return r;
    }
}

static int parse(int argc, char **argv, struct options *ret_options)
{
    struct options o = {0};
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--ring") == 0 && i + 1 < argc)
            o.ring = argv[++i];
        else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc)
            o.port = atoi(argv[++i]);
        else if (strcmp(argv[i], "--slow-who") == 0 && i + 1 < argc)
            o.slow_who_ms = atoi(argv[++i]);
        else if (strcmp(argv[i], "--no-sockets") == 0)
            o.no_sockets = true;
        else
            return -1;
    }
    if (!o.ring || o.port == 0 || i + 1 >= argc)
        return -1;
    o.command = argv + i + 1;
    *ret_options = o;
    return 0;
}

static pid_t start(char **command, int fd)
{
    pid_t pid = fork();

    if (pid == 0) {
        /* dup2 clears close-on-exec, unless it is the same number already. */
        if (fd == IPC_FD)
            fcntl(fd, F_SETFD, 0);
        else
            dup2(fd, IPC_FD);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv)
{
    struct ipc_msg hello = {.type = IPC_HELLO};
    struct options o;
    int pair[2], fds[2], status;
    pid_t pid;

    if (parse(argc, argv, &o) < 0) {
        fprintf(stderr, "usage: fake_helper --ring FILE --port PORT [--slow-who MS] "
                        "[--no-sockets] -- COMMAND…\n");
        return 2;
    }
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 1;
    fds[0] = fake_ring_create(o.ring);
    fds[1] = memfd_create("beat", MFD_CLOEXEC);
    if (fds[0] < 0 || fds[1] < 0 || ftruncate(fds[1], 4096) < 0) {
        perror("fake_helper");
        return 1;
    }
    pid = start(o.command, pair[1]);
    close(pair[1]);
    hello.hello = (struct ipc_hello){.generation = 1, .ring_bytes = FAKE_RING_BYTES};
    must_send(pair[0], &hello, fds, 2);
    send_listener(pair[0], AF_INET, o.port);
    send_listener(pair[0], AF_INET6, o.port);
    serve(pair[0], &o);
    close(pair[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
