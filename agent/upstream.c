/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/upstream.h"

#include "agent/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* The client's own keep-alive ends at us; this keeps the path to the provider
 * open through a long silence as the client's would. [s] */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 15

struct upstreams {
    struct pool *pool;
    struct peer *peer;
    struct upstream_wait waiters; /* list head; first come, first served */
    struct upstreams_stats stats;
};

int upstreams_new(unsigned pool_size, unsigned sockets_max, struct upstreams **ret_upstreams)
{
    struct upstreams *u = calloc(1, sizeof(*u));
    int r;

    if (!u)
        return -ENOMEM;
    r = pool_new(pool_size, sockets_max, &u->pool);
    if (r < 0) {
        free(u);
        return r;
    }
    u->waiters.prev = u->waiters.next = &u->waiters;
    *ret_upstreams = u;
    return 0;
}

void upstreams_free(struct upstreams **upstreams)
{
    struct upstreams *u = *upstreams;

    *upstreams = NULL;
    if (!u)
        return;
    pool_free(&u->pool);
    free(u);
}

void upstreams_set_peer(struct upstreams *u, struct peer *peer)
{
    u->peer = peer;
}

static unsigned count_waiting(const struct upstreams *u, uint64_t netns_cookie, int family)
{
    unsigned count = 0;

    /* No order is larger than that. */
    for (const struct upstream_wait *w = u->waiters.next;
         w != &u->waiters && count < POOL_SOCKETS_MAX; w = w->next)
        count += w->to.netns_cookie == netns_cookie && w->to.family == family;
    return count;
}

static void order(struct upstreams *u, uint64_t netns_cookie, int family, unsigned waiting,
                  uint64_t now_ms)
{
    unsigned count = pool_order(u->pool, netns_cookie, family, waiting, now_ms);

    /* A lost order is repeated after POOL_ORDER_MS. */
    if (count > 0 && u->peer)
        (void)!peer_need_sockets(u->peer, netns_cookie, family, count);
}

static int connect_to(int fd, const struct lectr_origin *to)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(to->dport)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(to->dport)};
    int r;

    if (to->family == LECTR_AF_INET) {
        memcpy(&in4.sin_addr, to->daddr, 4);
        r = connect(fd, (struct sockaddr *)&in4, sizeof(in4));
    } else {
        memcpy(&in6.sin6_addr, to->daddr, 16);
        r = connect(fd, (struct sockaddr *)&in6, sizeof(in6));
    }
    return r < 0 && errno != EINPROGRESS ? -errno : 0;
}

static int take_and_connect(struct upstreams *u, const struct lectr_origin *to)
{
    CLEAN_FD int fd = pool_take(u->pool, to->netns_cookie, to->family);
    int r;

    if (fd < 0)
        return fd;
    r = connect_to(fd, to);
    return r < 0 ? r : TAKE_FD(fd);
}

int upstream_connect(struct upstreams *u, const struct lectr_origin *to, upstream_fn fn, void *user,
                     uint64_t now_ms, struct upstream_wait *wait)
{
    int r = take_and_connect(u, to);

    if (r != -EAGAIN) {
        order(u, to->netns_cookie, to->family, 0, now_ms);
        return r;
    }
    *wait = (struct upstream_wait){
        .prev = u->waiters.prev,
        .next = &u->waiters,
        .to = *to,
        .deadline_ms = now_ms + UPSTREAM_WAIT_MS,
        .fn = fn,
        .user = user,
        .waiting = true,
    };
    wait->prev->next = wait->next->prev = wait;
    u->stats.waiting++;
    u->stats.waited++;
    order(u, to->netns_cookie, to->family, count_waiting(u, to->netns_cookie, to->family), now_ms);
    return -EINPROGRESS;
}

void upstream_cancel(struct upstreams *u, struct upstream_wait *wait)
{
    if (!wait->waiting)
        return;
    wait->waiting = false;
    wait->prev->next = wait->next;
    wait->next->prev = wait->prev;
    u->stats.waiting--;
}

int upstream_acquire(struct tls *tls, const struct upstream_want *want, struct tls_leg *ret_leg)
{
    struct tls_offer offer = {
        .host = want->host,
        .alpn = want->alpn,
        .version_min = want->version_min,
        .version_max = want->version_max,
        .cgroup_id = want->cgroup_id,
    };

    return tls_open_upstream(tls, want->fd, &offer, ret_leg);
}

void upstreams_put(struct upstreams *u, uint64_t netns_cookie, int family, int fd)
{
    int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S;

    /* Here rather than when it is used: nobody waits now. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)!pool_put(u->pool, netns_cookie, family, fd);
}

static struct upstream_wait *first_waiting(struct upstreams *u, uint64_t netns_cookie, int family)
{
    struct upstream_wait *w = u->waiters.next;

    while (w != &u->waiters && (w->to.netns_cookie != netns_cookie || w->to.family != family))
        w = w->next;
    return w == &u->waiters ? NULL : w;
}

void upstreams_serve(struct upstreams *u, uint64_t netns_cookie, int family, uint64_t now_ms)
{
    struct upstream_wait *w;

    /* From the start each time: the callback may have ended other waits. */
    while ((w = first_waiting(u, netns_cookie, family)) != NULL) {
        int r = take_and_connect(u, &w->to);

        if (r == -EAGAIN)
            break;
        upstream_cancel(u, w);
        w->fn(w->user, r);
    }
    order(u, netns_cookie, family, count_waiting(u, netns_cookie, family), now_ms);
}

void upstreams_tick(struct upstreams *u, uint64_t now_ms)
{
    struct upstream_wait *w = u->waiters.next;

    pool_tend(u->pool, now_ms);
    while (w != &u->waiters && now_ms >= w->deadline_ms) {
        upstream_cancel(u, w);
        u->stats.timeouts++;
        w->fn(w->user, -ETIMEDOUT);
        w = u->waiters.next;
    }
    if (w != &u->waiters)
        order(u, w->to.netns_cookie, w->to.family,
              count_waiting(u, w->to.netns_cookie, w->to.family), now_ms);
}

void upstreams_drop(struct upstreams *u, uint64_t netns_cookie)
{
    pool_drop(u->pool, netns_cookie);
}

void upstreams_prepare(struct upstreams *u, uint64_t netns_cookie, int family, uint64_t now_ms)
{
    order(u, netns_cookie, family, 0, now_ms);
}

void upstreams_stats(const struct upstreams *u, struct upstreams_stats *ret_stats)
{
    *ret_stats = u->stats;
    pool_stats(u->pool, &ret_stats->pool);
}
