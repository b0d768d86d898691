/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy.h"

#include "agent/cert.h"
#include "agent/config.h"
#include "agent/highfd.h"
#include "agent/inflight.h"
#include "agent/metrics.h"
#include "agent/origin.h"
#include "agent/peer.h"
#include "agent/price.h"
#include "agent/provider.h"
#include "agent/proxy_impl.h"
#include "agent/publish.h"
#include "agent/refuse.h"
#include "agent/tls.h"
#include "agent/upstream.h"
#include "proto/base/clock.h"
#include "proto/base/leave.h"
#include "proto/base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define TICK_MS 100
#define TICKS_FLUSH 10       /* gaps and coverage */
#define TICKS_ESTIMATES 3000 /* 5 min: what was learned is written */
#define TICKS_ADOPT 100      /* tables of dead processes; a metrics port that was in use */
#define ACCEPTS_PER_TURN 64
/* From the first on the kernel is told to steer nobody here, until there are no
 * more than the second, and for a second at least. Listeners go on: who is in
 * their queues already has been steered. */
#define SHED_AT (CONNS_MAX - 1024)
#define SHED_UNTIL (CONNS_MAX - 2048)
#define SHED_LEAST_NS (1 * NSEC_PER_SEC)
/* A link to a living helper that cannot be used: there is a better proxy soon. */
#define DRAIN_BROKEN_LINK_MS 10000
/* Of the descriptors, the sockets that only wait to be used. */
#define POOL_SOCKETS_TOTAL_MAX 4096
#define POOL_FD_SHARE 4
/* A connection that was steered before the links went may still be coming. */
#define DRAIN_ACCEPT_MS 1000
#define DRAIN_ORPHAN_MS 600000
#define DRAIN_SIGTERM_MS 10000
#define PUBLISH_CLOSE_MS 3000
#define LEAVE_S 15
#define SPOOL_WAIT_S 25

/* --- listeners --- */

static void listener_close(struct listener *l)
{
    if (l->fd < 0)
        return;
    loop_poll_free(&l->poll);
    close(TAKE_FD(l->fd));
    l->proxy->listeners_count--;
}

/* Paused, connections wait in the queues, and there is nothing to wake up for. */
static void pause_listening(struct proxy *p, bool paused)
{
    p->paused = paused;
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        if (p->listeners[i].fd >= 0)
            loop_poll_set(p->listeners[i].poll, paused ? 0 : LOOP_READ);
    }
}

static void tell_shed(struct proxy *p)
{
    if (p->beat)
        __atomic_store_n(&p->beat->proxy_shed, p->shedding, __ATOMIC_RELEASE);
}

static void shed(struct proxy *p, const char *why)
{
    uint32_t open = conns_stats(p->conns)->open;

    if (p->shedding)
        return;
    p->shedding = true;
    p->shed_total++;
    p->shed_at_ns = clock_mono_ns();
    /* Descriptors may run out earlier. */
    p->shed_until = open >= SHED_AT ? SHED_UNTIL : open - open / 8;
    tell_shed(p);
    log_warn("no more connections are steered here for now", "reason=%s open=%u", why, open);
}

static void shed_tick(struct proxy *p, uint64_t now_ns)
{
    if (p->paused && !conns_full(p->conns))
        pause_listening(p, false);
    if (!p->shedding || now_ns - p->shed_at_ns < SHED_LEAST_NS ||
        conns_stats(p->conns)->open > p->shed_until)
        return;
    p->shedding = false;
    tell_shed(p);
    log_info("connections are steered here again", NULL);
}

/* False: no more can be accepted now. */
static bool accept_one(struct listener *l)
{
    struct proxy *p = l->proxy;
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    int fd = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        conns_accept(p->conns, fd, &from, l->netns_cookie);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        shed(p, "no descriptors");
        pause_listening(p, true);
    }
    return false;
}

static void accept_rest(struct listener *l)
{
    while (!conns_full(l->proxy->conns) && accept_one(l))
        ;
}

static void on_listener(void *user, unsigned events)
{
    struct listener *l = user;
    struct proxy *p = l->proxy;

    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (conns_full(p->conns)) {
            pause_listening(p, true);
            return;
        }
        if (!accept_one(l))
            return;
        if (conns_stats(p->conns)->open >= SHED_AT)
            shed(p, "too many connections");
    }
}

static struct listener *listener_slot(struct proxy *p, uint64_t netns_cookie, int family)
{
    struct listener *free_slot = NULL;

    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        struct listener *l = &p->listeners[i];

        if (l->fd < 0) {
            free_slot = free_slot ? free_slot : l;
            continue;
        }
        if (l->netns_cookie == netns_cookie && l->family == family) {
            listener_close(l);
            return l;
        }
    }
    return free_slot;
}

/* Accepted sockets inherit the options. */
static void set_client_options(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void add_listener(struct proxy *p, const struct ipc_netns *netns, int fd)
{
    struct listener *l = listener_slot(p, netns->netns_cookie, (int)netns->family);
    uint64_t cookie;
    socklen_t len = sizeof(cookie);

    if (!l || p->draining) {
        if (!l) {
            p->listeners_refused++;
            log_error("a namespace's listener finds no place, it is not captured",
                      "netns=%llu limit=%u", (unsigned long long)netns->netns_cookie,
                      LISTENERS_MAX);
        }
        close(fd);
        return;
    }
    /* The kernel's word is the one its origin records carry. */
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
        cookie = netns->netns_cookie;
    fd = highfd_take(fd);
    *l = (struct listener){
        .proxy = p, .fd = fd, .netns_cookie = cookie, .family = (int)netns->family};
    if (loop_poll_new(p->loop, fd, on_listener, l, &l->poll) < 0) {
        close(TAKE_FD(l->fd));
        return;
    }
    p->listeners_count++;
    set_client_options(fd);
    if (!p->paused)
        loop_poll_set(l->poll, LOOP_READ);
    upstreams_prepare(p->upstreams, cookie, (int)netns->family, clock_mono_ns() / NSEC_PER_MSEC);
    log_info("listening", "netns=%llu family=%s port=%u", (unsigned long long)cookie,
             netns->family == AF_INET ? "4" : "6", netns->port);
}

static void drop_netns(struct proxy *p, uint64_t netns_cookie)
{
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        if (p->listeners[i].fd >= 0 && p->listeners[i].netns_cookie == netns_cookie)
            listener_close(&p->listeners[i]);
    }
    upstreams_drop(p->upstreams, netns_cookie);
}

/* --- drain --- */

static void start_drain(struct proxy *p, uint64_t grace_ms, const char *why)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t until_ns = now_ns + grace_ms * NSEC_PER_MSEC;

    if (!p->draining) {
        p->draining = true;
        p->drain_accept_until_ns = now_ns + DRAIN_ACCEPT_MS * NSEC_PER_MSEC;
        p->drain_until_ns = until_ns;
        log_info("draining", "reason=%s open=%u", why, conns_stats(p->conns)->open);
        return;
    }
    if (until_ns < p->drain_until_ns)
        p->drain_until_ns = until_ns;
}

static void close_listeners(struct proxy *p)
{
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        if (p->listeners[i].fd < 0)
            continue;
        accept_rest(&p->listeners[i]);
        listener_close(&p->listeners[i]);
    }
}

static void drain_tick(struct proxy *p, uint64_t now_ns)
{
    if (!p->draining)
        return;
    if (now_ns >= p->drain_accept_until_ns && p->listeners_count > 0)
        close_listeners(p);
    if (now_ns < p->drain_until_ns && (p->listeners_count > 0 || conns_stats(p->conns)->open > 0))
        return;
    loop_stop(p->loop);
}

static void on_sigterm(void *user)
{
    start_drain(user, DRAIN_SIGTERM_MS, "SIGTERM");
}

/* --- the helper --- */

static int map_beat(struct proxy *p, int fd)
{
    void *map =
        mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        return -errno;
    p->beat = map;
    tell_shed(p);
    return 0;
}

static void beat(struct proxy *p, uint64_t now_ns)
{
    if (p->beat)
        __atomic_store_n(&p->beat->proxy_ns, now_ns, __ATOMIC_RELAXED);
}

static void on_hello(struct proxy *p, const struct ipc_hello *hello, const int *fds,
                     unsigned fds_count)
{
    int r = fds_count >= 2 && !p->origin ? 0 : -EPROTO;

    if (r == 0)
        r = origin_new(fds[0], hello->ring_bytes, &p->origin);
    if (r == 0)
        r = map_beat(p, fds[1]);
    if (r == 0 && fds_count >= 3)
        r = origin_map_taken(p->origin, fds[2]);
    if (r < 0) {
        log_error("the helper's hello cannot be used", "error=%s", strerror(-r));
        start_drain(p, 0, "no hello");
        return;
    }
    conns_set_origin(p->conns, p->origin);
    beat(p, clock_mono_ns());
    (void)!peer_ready(p->peer);
    log_info("ready", "generation=%u instance=%s", hello->generation, publish_instance(p->publish));
}

static void on_sockets(struct proxy *p, const struct ipc_netns *netns, const int *fds,
                       unsigned fds_count)
{
    for (unsigned i = 0; i < fds_count; i++)
        upstreams_put(p->upstreams, netns->netns_cookie, (int)netns->family, fds[i]);
    upstreams_serve(p->upstreams, netns->netns_cookie, (int)netns->family,
                    clock_mono_ns() / NSEC_PER_MSEC);
}

static void on_message(void *user, const struct ipc_msg *msg, const int *fds, unsigned fds_count)
{
    struct proxy *p = user;
    bool fds_taken = false;

    switch ((enum ipc_type)msg->type) {
    case IPC_HELLO:
        on_hello(p, &msg->hello, fds, fds_count);
        break;
    case IPC_LISTENER:
        if (fds_count == 1) {
            add_listener(p, &msg->netns, fds[0]);
            fds_taken = true;
        }
        break;
    case IPC_SOCKETS:
        on_sockets(p, &msg->netns, fds, fds_count);
        fds_taken = true;
        break;
    case IPC_NETNS_GONE:
        drop_netns(p, msg->netns.netns_cookie);
        break;
    case IPC_CALLER:
        conns_caller(p->conns, msg->caller.query, &msg->caller.caller);
        break;
    case IPC_CENSUS:
        if (gap_census(p->gap, &msg->census) == 0)
            (void)!peer_census_ack(p->peer, msg->census.id);
        break;
    case IPC_DRAIN:
        start_drain(p, msg->drain_grace_ms, "newer generation");
        break;
    default:
        break;
    }
    for (unsigned i = 0; i < fds_count && !fds_taken; i++)
        close(fds[i]);
}

static void on_helper_gone(void *user, int error)
{
    struct proxy *p = user;

    if (error == -EPIPE) {
        log_warn("the helper is gone", NULL);
        start_drain(p, DRAIN_ORPHAN_MS, "helper gone");
        return;
    }
    log_error("the helper cannot be understood any more", "error=%s", strerror(-error));
    start_drain(p, DRAIN_BROKEN_LINK_MS, "link broken");
}

/* --- the process --- */

static void open_metrics(struct proxy *p)
{
    struct metrics_source source = {
        .write = proxy_write_metrics, .not_ready = proxy_not_ready, .user = p};
    const char *address = p->config->metrics.listen;

    if (p->metrics || !address || !address[0])
        return;
    if (p->metrics_fd < 0 && metrics_listen(address, &p->metrics_fd) < 0)
        return;
    if (metrics_new(p->loop, p->metrics_fd, &source, &p->metrics) < 0)
        close(p->metrics_fd);
    p->metrics_fd = -1;
}

static void on_tick(void *user)
{
    struct proxy *p = user;
    uint64_t now_ns = clock_mono_ns();

    beat(p, now_ns);
    p->ticks++;
    inflight_beat(p->inflight, clock_wall_ns());
    conns_tick(p->conns);
    upstreams_tick(p->upstreams, now_ns / NSEC_PER_MSEC);
    if (p->ticks % TICKS_FLUSH == 0)
        gap_flush(p->gap, clock_wall_ns());
    if (p->ticks % TICKS_ESTIMATES == 0 && estimate_store_save(&p->estimates))
        log_warn("what was learned of token counts cannot be kept", "path=%s", p->estimates.path);
    if (p->ticks % TICKS_ADOPT == 0) {
        gap_adopt(p->gap);
        open_metrics(p);
    }
    if (p->metrics)
        metrics_tick(p->metrics, now_ns / NSEC_PER_MSEC);
    shed_tick(p, now_ns);
    drain_tick(p, now_ns);
}

static unsigned pool_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        limit.rlim_cur / POOL_FD_SHARE > POOL_SOCKETS_TOTAL_MAX)
        return POOL_SOCKETS_TOTAL_MAX;
    return (unsigned)(limit.rlim_cur / POOL_FD_SHARE);
}

/* Without a spool nothing can be told, so nothing is steered until there is
 * room: connections go direct. Ends before the helper loses patience. */
static int open_publish(struct proxy *p)
{
    int r = publish_open(p->config, &p->publish);

    if (r == -ENOSPC || r == -EDQUOT)
        log_error("no room for the spool: nothing is captured until there is", "state_dir=%s",
                  p->config->state_dir);
    for (unsigned s = 0; s < SPOOL_WAIT_S && (r == -ENOSPC || r == -EDQUOT); s++) {
        sleep(1);
        r = publish_open(p->config, &p->publish);
    }
    return r;
}

static int open_inflight(struct proxy *p)
{
    int r = inflight_open(p->config->state_dir, publish_instance(p->publish), &p->inflight);

    if (r == 0 && !inflight_is_kept(p->inflight))
        log_warn("no room for the in-flight table: calls lost by a crash would not be told",
                 "state_dir=%s", p->config->state_dir);
    return r;
}

static int open_stages(struct proxy *p)
{
    struct conn_env env;
    int r = open_publish(p);

    if (r == 0)
        r = open_inflight(p);
    if (r == 0)
        r = gap_new(p->config, p->publish, p->inflight, &p->gap);
    if (r == 0)
        r = refuse_new(&p->refuse);
    if (r == 0)
        r = upstreams_new(p->config->capture.pool_size, pool_limit(), &p->upstreams);
    if (r == 0)
        r = loop_new(&p->loop);
    if (r == 0)
        r = peer_new(p->loop, IPC_FD, on_message, on_helper_gone, p, &p->peer);
    if (r < 0)
        return r;
    upstreams_set_peer(p->upstreams, p->peer);
    env = (struct conn_env){
        .loop = p->loop,
        .tls = p->tls,
        .ca = p->ca,
        .config = p->config,
        .providers = p->providers,
        .prices = p->prices,
        .estimator = p->estimates.estimator,
        .fingerprint_key = p->fingerprint_key,
        .publish = p->publish,
        .gap = p->gap,
        .inflight = p->inflight,
        .refuse = p->refuse,
        .upstreams = p->upstreams,
        .peer = p->peer,
    };
    r = conns_new(&env, &p->conns);
    if (r == 0)
        r = loop_timer_new(p->loop, TICK_MS, on_tick, p, &p->timer);
    if (r == 0)
        r = loop_signal_new(p->loop, SIGTERM, on_sigterm, p, &p->sigterm);
    return r;
}

static void close_stages(struct proxy *p)
{
    close_listeners(p);
    conns_free(&p->conns);
    metrics_free(&p->metrics);
    loop_timer_free(&p->timer);
    loop_signal_free(&p->sigterm);
    upstreams_free(&p->upstreams);
    peer_free(&p->peer);
    loop_free(&p->loop);
    gap_free(&p->gap);
    inflight_close(&p->inflight);
    estimate_store_close(&p->estimates);
    leave_within(LEAVE_S, 0);
    if (p->publish)
        publish_close(&p->publish, PUBLISH_CLOSE_MS);
    refuse_free(&p->refuse);
    origin_free(&p->origin);
    price_table_free(&p->prices);
    provider_set_free(&p->providers);
    tls_free(&p->tls);
    cert_authority_free(&p->ca);
    explicit_bzero(p->fingerprint_key, sizeof(p->fingerprint_key));
}

int proxy_main(const struct config *config)
{
    CLEAN_FREE struct proxy *p = calloc(1, sizeof(*p));
    enum log_level level = LOG_LEVEL_INFO;
    int r;

    (void)!log_level_parse(config->log_level, &level);
    log_setup("proxy", level);
    if (!p)
        return 1;
    p->config = config;
    p->metrics_fd = -1;
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        p->listeners[i] = (struct listener){.proxy = p, .fd = -1};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* the helper decides */
    r = proxy_prepare(p);
    if (r == 0) {
        r = open_stages(p);
        if (r < 0)
            log_error("cannot start", "error=%s", strerror(-r));
    }
    if (r == 0) {
        gap_adopt(p->gap);
        open_metrics(p);
        loop_run(p->loop);
        log_info("stopped", "open=%u", conns_stats(p->conns)->open);
    }
    close_stages(p);
    return r < 0 ? 1 : 0;
}
