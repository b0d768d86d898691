/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netns_worker.h"

#include "agent/capture.h"
#include "agent/config.h"
#include "agent/ipc.h"
#include "agent/netns.h"
#include "agent/netns_names.h"
#include "agent/netns_serve.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* The proxy has a place for the sockets of each. */
_Static_assert(NETNS_KNOWN_MAX <= IPC_NETNS_MAX, "no more than the proxy takes");

#define EPOLL_BATCH 32
#define RETRY_MS 100
enum order_type { ORDER_PROXY, ORDER_NEED, ORDER_MEET, ORDER_GONE, ORDER_STOP };

struct order {
    enum order_type type;
    int ipc_fd, family;
    uint32_t generation, count, pid;
    uint64_t netns_cookie;
};

struct netns_worker {
    struct capture *capture;
    const struct config *config;
    pthread_t thread;
    struct netns_names *names;
    int order_fd[2];  /* [0] worker, [1] main */
    int report_fd[2]; /* [0] main, [1] worker */
    struct netns_server server;
    int epoll_fd, home_fd;
    bool stop, full_told;
    unsigned incomplete, unfinished;
    struct netns_served **known;
    unsigned known_count;
    struct netns_met *unsent; /* reports that the main thread had no room for */
    unsigned unsent_count;
};

static void go_home(struct netns_worker *w)
{
    int r = netns_enter(w->home_fd);

    if (r < 0)
        log_error("cannot return to the own network namespace", "error=%s", strerror(-r));
}

static void set_incomplete(struct netns_worker *w, struct netns_served *k, bool incomplete)
{
    if (k->incomplete != incomplete)
        w->incomplete += incomplete ? 1 : -1u;
    k->incomplete = incomplete;
}

/* In the namespace. */
static void equip(struct netns_worker *w, struct netns_served *k)
{
    if (w->server.ipc_fd >= 0)
        set_incomplete(w, k, !netns_serve_equip(&w->server, k));
}

static void equip_from_outside(struct netns_worker *w, struct netns_served *k)
{
    if (netns_enter(k->ns_fd) < 0)
        return;
    equip(w, k);
    go_home(w);
}

/* ---- meeting ---- */

static struct netns_served *find(struct netns_worker *w, uint64_t cookie)
{
    for (unsigned i = 0; i < w->known_count; i++)
        if (w->known[i]->cookie == cookie)
            return w->known[i];
    return NULL;
}

static void watch_flags(struct netns_worker *w, struct netns_served *k)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = k};

    if (netns_monitor(&k->monitor_fd) < 0 ||
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, k->monitor_fd, &ev) < 0)
        log_warn("changes of routes will go unnoticed", "netns=%llu error=%s",
                 (unsigned long long)k->cookie, strerror(errno));
}

/* Takes the descriptor. */
static struct netns_served *add(struct netns_worker *w, int ns_fd, uint64_t cookie)
{
    struct netns_served *k;

    if (w->known_count == NETNS_KNOWN_MAX) {
        if (!w->full_told)
            log_error("too many network namespaces, new ones are not captured", "limit=%d",
                      NETNS_KNOWN_MAX);
        w->full_told = true;
        close(ns_fd);
        return NULL;
    }
    k = calloc(1, sizeof(*k));
    if (!k) {
        close(ns_fd);
        return NULL;
    }
    *k = (struct netns_served){
        .cookie = cookie, .ns_fd = ns_fd, .monitor_fd = -1, .ephemeral = NETNS_RANGE_DEFAULT};
    if (netns_inode(ns_fd, &k->inode) < 0)
        k->inode = 0;
    w->known[w->known_count++] = k;
    return k;
}

/* In turn, as many as the main thread has room for. */
static void send_reports(struct netns_worker *w)
{
    unsigned sent = 0;

    while (sent < w->unsent_count && send(w->report_fd[1], &w->unsent[sent], sizeof(*w->unsent),
                                          MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        sent++;
    w->unsent_count -= sent;
    if (sent > 0)
        memmove(w->unsent, w->unsent + sent, w->unsent_count * sizeof(*w->unsent));
}

static void report(struct netns_worker *w, const struct netns_served *k,
                   const struct lectr_netns_event *event)
{
    struct netns_met met = {.netns_cookie = k->cookie, .inode = k->inode};

    if (event) {
        met.cgroup_id = event->cgroup_id;
        met.pid = event->pid;
        if (event->at_ns && k->ready_ns > event->at_ns)
            met.ready_us = (uint32_t)((k->ready_ns - event->at_ns) / NSEC_PER_USEC);
    }
    if (w->unsent_count == NETNS_KNOWN_MAX)
        log_warn("a namespace was met that nobody hears of", "netns=%llu",
                 (unsigned long long)k->cookie);
    else
        w->unsent[w->unsent_count++] = met;
    send_reports(w);
}

/* Enters a namespace and serves it. Takes the descriptor. */
static int meet(struct netns_worker *w, int ns_fd, const struct lectr_netns_event *event,
                bool consent)
{
    CLEAN_FD int fd = ns_fd;
    struct netns_served *k = NULL;
    uint64_t cookie;
    int r;

    r = netns_enter(fd);
    if (r < 0)
        return r;
    r = netns_cookie(&cookie);
    /* The process of the event may have moved on, its number be another's. */
    if (r == 0 && event && event->netns_cookie && event->netns_cookie != cookie)
        r = -ESTALE;
    if (r == 0 && consent)
        r = capture_consent_netns(w->capture, cookie);
    if (r == 0 && !find(w, cookie)) {
        k = add(w, TAKE_FD(fd), cookie);
        r = k ? 0 : -ENOSPC;
    }
    if (k) {
        equip(w, k);
        report(w, k, event);
        w->unfinished++;
    }
    go_home(w);
    return r;
}

static void meet_event(void *user, const struct lectr_netns_event *event)
{
    struct netns_worker *w = user;
    int fd, r;

    if (find(w, event->netns_cookie))
        return;
    r = netns_open_pid(event->pid, &fd);
    if (r == 0)
        r = meet(w, fd, event, false);
    if (r < 0)
        log_debug("namespace not met", "netns=%llu pid=%u error=%s",
                  (unsigned long long)event->netns_cookie, event->pid, strerror(-r));
}

static void meet_name(void *user, const char *name, int ns_fd)
{
    int r = meet(user, ns_fd, NULL, true);

    if (r < 0)
        log_warn("named namespace not met", "name=%s error=%s", name, strerror(-r));
}

/* The rest of meeting one namespace, when no other one waits. */
static void finish_one(struct netns_worker *w)
{
    for (unsigned i = 0; i < w->known_count; i++) {
        struct netns_served *k = w->known[i];

        if (k->finished)
            continue;
        k->finished = true;
        w->unfinished--;
        if (netns_enter(k->ns_fd) < 0)
            return;
        watch_flags(w, k);
        netns_serve_check_range(k);
        equip(w, k); /* also for what changed before it was watched */
        go_home(w);
        return;
    }
}

/* Something changed in a namespace: what can be reached there? */
static void refresh(struct netns_worker *w, struct netns_served *k)
{
    char drain[4096];

    while (recv(k->monitor_fd, drain, sizeof(drain), 0) > 0 || errno == ENOBUFS)
        ;
    equip_from_outside(w, k);
}

static void forget(struct netns_worker *w, uint64_t cookie)
{
    struct ipc_msg msg = {.type = IPC_NETNS_GONE, .netns = {.netns_cookie = cookie}};

    for (unsigned i = 0; i < w->known_count; i++) {
        struct netns_served *k = w->known[i];

        if (k->cookie != cookie)
            continue;
        capture_netns_drop(w->capture, cookie);
        if (netns_serve_send(&w->server, &msg, NULL, 0) < 0)
            log_debug("the proxy was not told", "gone=%llu", (unsigned long long)cookie);
        set_incomplete(w, k, false);
        w->unfinished -= !k->finished;
        if (k->monitor_fd >= 0)
            close(k->monitor_fd);
        close(k->ns_fd);
        free(k);
        w->known[i] = w->known[--w->known_count];
        return;
    }
}

/* ---- orders ---- */

static void take_proxy(struct netns_worker *w, const struct order *o)
{
    if (w->server.ipc_fd >= 0)
        close(w->server.ipc_fd);
    w->server.ipc_fd = o->ipc_fd;
    w->server.generation = o->generation;
    for (unsigned i = 0; i < w->known_count; i++) {
        struct netns_served *k = w->known[i];

        /* Without a proxy the map keeps the old ports: nothing listens there,
         * which tells "agent down" from "namespace not met". */
        if (w->server.ipc_fd < 0)
            continue;
        netns_serve_forget_proxy(k);
        equip_from_outside(w, k);
    }
}

static void obey(struct netns_worker *w)
{
    struct order o;
    struct netns_served *k;
    int fd;

    while (recv(w->order_fd[0], &o, sizeof(o), MSG_DONTWAIT) == sizeof(o)) {
        switch (o.type) {
        case ORDER_PROXY:
            take_proxy(w, &o);
            break;
        case ORDER_NEED:
            k = find(w, o.netns_cookie);
            if (k && netns_enter(k->ns_fd) == 0) {
                if (netns_serve_pool(&w->server, k, o.family, o.count) < 0)
                    log_debug("sockets not handed over", "netns=%llu",
                              (unsigned long long)k->cookie);
                go_home(w);
            }
            break;
        case ORDER_MEET:
            if (netns_open_pid(o.pid, &fd) == 0)
                (void)meet(w, fd, &(struct lectr_netns_event){.pid = o.pid}, false);
            break;
        case ORDER_GONE:
            forget(w, o.netns_cookie);
            break;
        case ORDER_STOP:
            w->stop = true;
            break;
        }
    }
}

static void retry_incomplete(struct netns_worker *w)
{
    for (unsigned i = 0; i < w->known_count && w->incomplete > 0; i++)
        if (w->known[i]->incomplete)
            equip_from_outside(w, w->known[i]);
}

/* ---- the thread ---- */

static void be_quick(void)
{
    struct sched_param param = {.sched_priority = 1};

    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) == 0)
        return;
    if (setpriority(PRIO_PROCESS, 0, -20) < 0)
        log_warn("no priority for meeting namespaces; first connections may be missed", "error=%s",
                 strerror(errno));
}

static int wait_ms(const struct netns_worker *w)
{
    int names_ms = netns_names_wait_ms(w->names);

    if (w->unfinished > 0)
        return 0;
    if (((w->incomplete > 0 && w->server.ipc_fd >= 0) || w->unsent_count > 0) &&
        (names_ms < 0 || names_ms > RETRY_MS))
        return RETRY_MS;
    return names_ms;
}

/* Namespaces that a client is about to connect from go before everything else. */
static void serve_urgent(struct netns_worker *w, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr == &w->capture)
            capture_events_read(w->capture, meet_event, w);
    netns_names_read(w->names, meet_name, w);
}

static void *worker_main(void *arg)
{
    struct netns_worker *w = arg;
    struct epoll_event events[EPOLL_BATCH];

    be_quick();
    while (!w->stop) {
        int n = epoll_wait(w->epoll_fd, events, EPOLL_BATCH, wait_ms(w));
        bool orders = false;

        serve_urgent(w, events, n);
        send_reports(w);
        for (int i = 0; i < n; i++) {
            void *source = events[i].data.ptr;

            if (source == &w->order_fd)
                orders = true;
            else if (source != &w->names && source != &w->capture)
                refresh(w, source);
        }
        if (n == 0 && w->unfinished > 0)
            finish_one(w);
        else if (n == 0)
            retry_incomplete(w);
        /* Last: an order may free what an event points to. */
        if (orders)
            obey(w);
    }
    return NULL;
}

static int watch(struct netns_worker *w, int fd, void *source)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = source};

    return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static void worker_free(struct netns_worker *w)
{
    const int fds[] = {w->order_fd[0], w->order_fd[1], w->report_fd[0], w->report_fd[1],
                       w->epoll_fd,    w->home_fd,     w->server.ipc_fd};

    while (w->known && w->known_count > 0)
        forget(w, w->known[0]->cookie);
    netns_names_free(&w->names);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(w->known);
    free(w->unsent);
    free(w);
}

static int worker_open(struct netns_worker *w)
{
    int r = netns_names_new(w->config->capture.consent_netns,
                            w->config->capture.consent_netns_count, &w->names);

    if (r < 0)
        return r;
    w->known = calloc(NETNS_KNOWN_MAX, sizeof(*w->known));
    w->unsent = calloc(NETNS_KNOWN_MAX, sizeof(*w->unsent));
    if (!w->known || !w->unsent)
        return -ENOMEM;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->home_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (w->epoll_fd < 0 || w->home_fd < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->order_fd) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->report_fd) < 0)
        return -errno;
    r = watch(w, capture_events_fd(w->capture), &w->capture);
    if (r == 0)
        r = watch(w, w->order_fd[0], &w->order_fd);
    if (r == 0 && netns_names_fd(w->names) >= 0)
        r = watch(w, netns_names_fd(w->names), &w->names);
    return r;
}

int netns_worker_start(struct capture *capture, const struct config *config,
                       struct netns_worker **ret_worker)
{
    struct netns_worker *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    *w = (struct netns_worker){
        .capture = capture,
        .config = config,
        .order_fd = {-1, -1},
        .report_fd = {-1, -1},
        .epoll_fd = -1,
        .home_fd = -1,
        .server = {.capture = capture, .pool_size = config->capture.pool_size, .ipc_fd = -1}};
    r = worker_open(w);
    if (r == 0)
        r = -pthread_create(&w->thread, NULL, worker_main, w);
    if (r < 0) {
        worker_free(w);
        return r;
    }
    *ret_worker = w;
    return 0;
}

static void order(struct netns_worker *w, const struct order *o)
{
    /* Blocks while the queue is full: the worker never waits for this thread. */
    if (send(w->order_fd[1], o, sizeof(*o), MSG_NOSIGNAL) < 0)
        log_error("an order to the namespace thread was lost", "error=%s", strerror(errno));
}

void netns_worker_stop(struct netns_worker **worker)
{
    struct netns_worker *w = worker ? TAKE_PTR(*worker) : NULL;

    if (!w)
        return;
    order(w, &(struct order){.type = ORDER_STOP});
    pthread_join(w->thread, NULL);
    worker_free(w);
}

int netns_worker_fd(const struct netns_worker *w)
{
    return w->report_fd[0];
}

int netns_worker_report(struct netns_worker *w, struct netns_met *ret_met)
{
    struct netns_met met;

    if (recv(w->report_fd[0], &met, sizeof(met), MSG_DONTWAIT) != sizeof(met))
        return -EAGAIN;
    *ret_met = met;
    return 0;
}

void netns_worker_proxy(struct netns_worker *w, int ipc_fd, uint32_t generation)
{
    int fd = ipc_fd >= 0 ? fcntl(ipc_fd, F_DUPFD_CLOEXEC, 0) : -1;

    order(w, &(struct order){.type = ORDER_PROXY, .ipc_fd = fd, .generation = generation});
}

void netns_worker_need(struct netns_worker *w, uint64_t netns_cookie, int family, unsigned count)
{
    if (family == AF_INET || family == AF_INET6)
        order(w, &(struct order){.type = ORDER_NEED,
                                 .netns_cookie = netns_cookie,
                                 .family = family,
                                 .count = count});
}

void netns_worker_meet(struct netns_worker *w, uint32_t pid)
{
    order(w, &(struct order){.type = ORDER_MEET, .pid = pid});
}

void netns_worker_gone(struct netns_worker *w, uint64_t netns_cookie)
{
    order(w, &(struct order){.type = ORDER_GONE, .netns_cookie = netns_cookie});
}
