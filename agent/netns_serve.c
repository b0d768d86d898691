/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netns_serve.h"

#include "agent/capture.h"
#include "agent/ipc.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define SEND_WAIT_MS 50

static const int families[NETNS_FAMILIES] = {AF_INET, AF_INET6};
static const uint32_t family_flag[NETNS_FAMILIES] = {LECTR_NETNS_V4, LECTR_NETNS_V6};

/* A proxy that does not read for this long is left without, and asks again. */
int netns_serve_send(struct netns_server *s, const struct ipc_msg *msg, const int *fds,
                     unsigned count)
{
    struct pollfd pfd = {.fd = s->ipc_fd, .events = POLLOUT};
    int r;

    if (s->ipc_fd < 0)
        return -ENOTCONN;
    r = ipc_send(s->ipc_fd, msg, fds, count);
    if (r == -EAGAIN && poll(&pfd, 1, SEND_WAIT_MS) > 0)
        r = ipc_send(s->ipc_fd, msg, fds, count);
    return r;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

/* In the namespace: up to `count` upstream sockets, to the proxy. */
int netns_serve_pool(struct netns_server *s, const struct netns_served *k, int family,
                     unsigned count)
{
    if (count > NETNS_POOL_MAX)
        count = NETNS_POOL_MAX;
    while (count > 0) {
        struct ipc_msg msg = {.type = IPC_SOCKETS,
                              .netns = {.netns_cookie = k->cookie, .family = (uint32_t)family}};
        int fds[IPC_FDS_MAX], r = 0;
        unsigned got = 0;

        while (r == 0 && got < count && got < IPC_FDS_MAX) {
            r = netns_socket(family, &fds[got]);
            if (r == 0) {
                r = capture_own(s->capture, fds[got], s->generation, false);
                got++;
            }
        }
        msg.netns.count = got;
        if (r == 0)
            r = netns_serve_send(s, &msg, fds, got);
        close_all(fds, got);
        if (r < 0)
            return r;
        count -= got;
    }
    return 0;
}

/* In the namespace: makes a listener of the socket and gives it to the proxy. The
 * caller closes its copy, or a dead proxy would still seem to listen. */
static int give_listener(struct netns_server *s, struct netns_served *k, int f, int fd)
{
    struct ipc_msg msg = {.type = IPC_LISTENER,
                          .netns = {.netns_cookie = k->cookie, .family = (uint32_t)families[f]}};
    uint16_t port;
    int r;

    r = netns_listen(fd, families[f], k->ephemeral, &port);
    if (r == 0)
        r = capture_own(s->capture, fd, s->generation, true);
    if (r < 0)
        return r;
    msg.netns.port = port;
    r = netns_serve_send(s, &msg, &fd, 1);
    if (r == 0)
        k->port[f] = port;
    return r;
}

static int publish_ports(struct netns_server *s, const struct netns_served *k)
{
    struct lectr_netns value = {.port4 = k->port[0], .port6 = k->port[1], .flags = k->flags};

    return capture_netns_put(s->capture, k->cookie, &value);
}

/* In the namespace: whether and where connections of a family are steered. */
static int serve_family(struct netns_server *s, struct netns_served *k, int f)
{
    uint32_t flags = k->flags & ~family_flag[f];
    bool changed = false;
    CLEAN_FD int fd = -1;
    int r = netns_socket(families[f], &fd);

    /* A namespace without IPv6 is complete. */
    if (r < 0)
        return r == -EAFNOSUPPORT ? 0 : r;
    if (netns_reachable(families[f], fd))
        flags |= family_flag[f];
    if (!k->port[f]) {
        r = give_listener(s, k, f, fd);
        changed = true;
    }
    changed |= flags != k->flags;
    k->flags = flags;
    if (r == 0 && changed)
        return publish_ports(s, k);
    return r == -EADDRNOTAVAIL ? 0 : r;
}

/* In the namespace: the ports were picked for the range that namespaces begin
 * with; in one that was set up otherwise they may be ill chosen. The listener
 * given before stays the proxy's, unused. */
void netns_serve_check_range(struct netns_served *k)
{
    k->ephemeral = netns_ephemeral();
    for (int f = 0; f < NETNS_FAMILIES; f++)
        if (k->port[f] && !netns_port_is_free_for_us(k->port[f], k->ephemeral) &&
            netns_range_leaves_room(k->ephemeral))
            k->port[f] = 0;
}

/* In the namespace: whatever the proxy lacks. Listeners and the map first, the
 * pools after: clients can connect from then on. */
bool netns_serve_equip(struct netns_server *s, struct netns_served *k)
{
    bool incomplete = false;
    int r;

    for (int f = 0; f < NETNS_FAMILIES; f++) {
        r = serve_family(s, k, f);
        if (r < 0)
            log_debug("listener not handed over", "netns=%llu family=%d error=%s",
                      (unsigned long long)k->cookie, families[f], strerror(-r));
        incomplete |= r < 0;
        if (!k->ready_ns)
            k->ready_ns = clock_mono_ns();
    }
    for (int f = 0; f < NETNS_FAMILIES; f++) {
        if (!k->port[f] || !(k->flags & family_flag[f]) || (k->filled & family_flag[f]))
            continue;
        if (netns_serve_pool(s, k, families[f], s->pool_size) == 0)
            k->filled |= family_flag[f];
        else
            incomplete = true;
    }
    return !incomplete;
}

void netns_serve_forget_proxy(struct netns_served *k)
{
    k->filled = 0;
    memset(k->port, 0, sizeof(k->port));
}
