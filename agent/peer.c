/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/peer.h"

#include <errno.h>

/* The members of ipc_msg that a proxy sends, without the large ones. */
struct outgoing {
    uint32_t type;
    union {
        struct ipc_who who;
        struct ipc_netns netns;
        uint64_t census_ack_id;
    };
};

struct peer {
    int fd;
    struct loop_poll *poll;
    peer_message_fn on_message;
    peer_gone_fn on_gone;
    void *user;
    bool gone;
    uint64_t lost;
    unsigned head, count;
    struct outgoing queue[PEER_QUEUE_MAX];
};

/* In one turn; the rest comes with the next, so that connections get theirs. */
#define MESSAGES_PER_TURN 64

static void say_gone(struct peer *p, int error)
{
    if (p->gone)
        return;
    p->gone = true;
    loop_poll_set(p->poll, 0);
    p->on_gone(p->user, error);
}

static int send_one(struct peer *p, const struct outgoing *out)
{
    struct ipc_msg msg;

    msg.type = out->type;
    switch (out->type) {
    case IPC_WHO:
        msg.who = out->who;
        break;
    case IPC_NEED_SOCKETS:
        msg.netns = out->netns;
        break;
    case IPC_CENSUS_ACK:
        msg.census_ack_id = out->census_ack_id;
        break;
    default:
        break;
    }
    return ipc_send(p->fd, &msg, NULL, 0);
}

static void flush(struct peer *p)
{
    while (p->count > 0) {
        int r = send_one(p, &p->queue[p->head]);

        if (r == -EAGAIN)
            break;
        if (r < 0) {
            say_gone(p, r);
            return;
        }
        p->head = (p->head + 1) % PEER_QUEUE_MAX;
        p->count--;
    }
    loop_poll_set(p->poll, LOOP_READ | (p->count > 0 ? (unsigned)LOOP_WRITE : 0));
}

static void receive(struct peer *p)
{
    for (unsigned i = 0; i < MESSAGES_PER_TURN && !p->gone; i++) {
        struct ipc_msg msg;
        int fds[IPC_FDS_MAX];
        unsigned fds_count;
        int r = ipc_recv(p->fd, &msg, fds, &fds_count);

        if (r == -EAGAIN)
            return;
        /* Lost: what was asked for is asked for again when it is missed. */
        if (r == -EMFILE) {
            p->lost++;
            continue;
        }
        if (r < 0) {
            say_gone(p, r);
            return;
        }
        p->on_message(p->user, &msg, fds, fds_count);
    }
}

static void on_event(void *user, unsigned events)
{
    struct peer *p = user;

    if (events & LOOP_READ)
        receive(p);
    if (!p->gone)
        flush(p);
}

int peer_new(struct loop *loop, int fd, peer_message_fn on_message, peer_gone_fn on_gone,
             void *user, struct peer **ret_peer)
{
    struct peer *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return -ENOMEM;
    p->fd = fd;
    p->on_message = on_message;
    p->on_gone = on_gone;
    p->user = user;
    r = loop_poll_new(loop, fd, on_event, p, &p->poll);
    if (r < 0) {
        free(p);
        return r;
    }
    loop_poll_set(p->poll, LOOP_READ);
    *ret_peer = p;
    return 0;
}

void peer_free(struct peer **peer)
{
    struct peer *p = *peer;

    *peer = NULL;
    if (!p)
        return;
    loop_poll_free(&p->poll);
    close(p->fd);
    free(p);
}

uint64_t peer_lost(const struct peer *p)
{
    return p->lost;
}

bool peer_is_alive(const struct peer *p)
{
    return !p->gone;
}

static int submit(struct peer *p, const struct outgoing *out)
{
    if (p->gone)
        return -EPIPE;
    if (p->count == 0) {
        int r = send_one(p, out);

        /* Any other failure is noticed, and told, by the reading side. */
        if (r != -EAGAIN)
            return r;
    }
    if (p->count == PEER_QUEUE_MAX)
        return -ENOSPC;
    p->queue[(p->head + p->count++) % PEER_QUEUE_MAX] = *out;
    loop_poll_set(p->poll, LOOP_READ | LOOP_WRITE);
    return 0;
}

int peer_who(struct peer *p, const struct ipc_who *who)
{
    return submit(p, &(struct outgoing){.type = IPC_WHO, .who = *who});
}

int peer_need_sockets(struct peer *p, uint64_t netns_cookie, int family, unsigned count)
{
    struct ipc_netns netns = {
        .netns_cookie = netns_cookie,
        .family = (uint32_t)family,
        .count = count,
    };

    return submit(p, &(struct outgoing){.type = IPC_NEED_SOCKETS, .netns = netns});
}

int peer_census_ack(struct peer *p, uint64_t id)
{
    return submit(p, &(struct outgoing){.type = IPC_CENSUS_ACK, .census_ack_id = id});
}

int peer_ready(struct peer *p)
{
    return submit(p, &(struct outgoing){.type = IPC_READY});
}
