/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/helper.h"

#include "agent/capture.h"
#include "agent/census.h"
#include "agent/cgroup.h"
#include "agent/child.h"
#include "agent/config.h"
#include "agent/consent.h"
#include "agent/control.h"
#include "agent/dirs.h"
#include "agent/identity.h"
#include "agent/identity_worker.h"
#include "agent/ipc.h"
#include "agent/lock.h"
#include "agent/netns_life.h"
#include "agent/netns_worker.h"
#include "agent/provider.h"
#include "agent/runs.h"
#include "agent/watchdog.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define TICK_MS 100
#define CENSUS_TICKS 5   /* polled each 500 ms */
#define CONSENT_TICKS 10 /* cgroups that appear, processes that were there before us */
#define LIFE_TICKS 10    /* namespaces that went */
#define TIDY_TICKS 50    /* cgroups of ended commands, and whether we are still attached */
#define DRAIN_MS 10000
#define DRAIN_MARGIN_MS 1000
#define IPC_BATCH 256 /* messages in a row, before the heartbeat gets its turn */
#define EPOLL_BATCH 8

struct helper {
    const struct config *config;
    const char *config_path;
    struct provider_set *providers;
    struct capture *capture;
    struct identity *identity;
    struct identity_worker *lookers;
    struct census *census;
    struct netns_worker *worker;
    struct netns_life *life;
    struct control *control;
    struct runs *runs;
    struct consent *consent;
    struct watchdog watchdog;
    char root[CGROUP_PATH_MAX], cgroup[CGROUP_PATH_MAX];
    uint64_t cgroup_id;
    int lock_fd, epoll_fd, signal_fd, ipc_fd;
    pid_t proxy;
    uint32_t generation, ticks;
    uint64_t drain_until_ns;
    bool quit, failed;
};

enum source {
    SOURCE_SIGNAL,
    SOURCE_IPC,
    SOURCE_CONTROL,
    SOURCE_WORKER,
    SOURCE_LOOKERS,
    SOURCE_ARRIVALS,
};

static int watch(struct helper *h, int fd, enum source source)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = source};

    return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static struct census_clock clock_now(void)
{
    return (struct census_clock){.mono_ns = clock_mono_ns(), .wall_ns = clock_wall_ns()};
}

/* ---- the proxy ---- */

static void update_shed(struct helper *h)
{
    struct lectr_beat *beat = capture_beat(h->capture);
    uint32_t shed = watchdog_sheds(&h->watchdog);

    __atomic_store_n(&beat->shed, shed, __ATOMIC_RELEASE);
}

static void send_hello(struct helper *h)
{
    struct ipc_msg msg = {
        .type = IPC_HELLO,
        .hello = {.generation = h->generation, .ring_bytes = capture_origins_bytes(h->capture)}};
    const int fds[] = {capture_origins_fd(h->capture), capture_beat_fd(h->capture),
                       capture_taken_fd(h->capture)};
    int r = ipc_send(h->ipc_fd, &msg, fds, 3);

    if (r < 0)
        log_error("the proxy cannot be greeted", "error=%s", strerror(-r));
}

static void start_proxy(struct helper *h)
{
    uint64_t now = clock_mono_ns();
    int r = child_start(h->config_path, &h->proxy, &h->ipc_fd);

    if (r < 0) {
        log_error("the proxy cannot be started", "error=%s", strerror(-r));
        watchdog_ended(&h->watchdog, now);
        return;
    }
    capture_beat(h->capture)->generation = ++h->generation;
    watchdog_started(&h->watchdog, now);
    control_proxy(h->control, h->proxy);
    log_info("proxy started", "pid=%d generation=%u", (int)h->proxy, h->generation);
    send_hello(h);
    census_proxy_changed(h->census);
    netns_worker_proxy(h->worker, h->ipc_fd, h->generation);
    r = watch(h, h->ipc_fd, SOURCE_IPC);
    if (r < 0)
        log_error("the proxy cannot be heard", "error=%s", strerror(-r));
}

static void drop_ipc(struct helper *h)
{
    if (h->ipc_fd < 0)
        return;
    netns_worker_proxy(h->worker, -1, h->generation);
    close(h->ipc_fd);
    h->ipc_fd = -1;
}

static void kill_proxy(struct helper *h, const char *why)
{
    if (h->proxy <= 0)
        return;
    log_warn("ending the proxy", "pid=%d why=%s", (int)h->proxy, why);
    kill(h->proxy, SIGKILL);
}

static void on_proxy_ended(struct helper *h, int status)
{
    if (WIFSIGNALED(status))
        log_warn("proxy killed", "pid=%d signal=%d", (int)h->proxy, WTERMSIG(status));
    else
        log_info("proxy exited", "pid=%d status=%d", (int)h->proxy, WEXITSTATUS(status));
    h->proxy = 0;
    control_proxy(h->control, 0);
    drop_ipc(h);
    watchdog_ended(&h->watchdog, clock_mono_ns());
    census_proxy_ended(h->census, clock_now());
    update_shed(h);
    if (h->watchdog.draining)
        h->quit = true;
}

static void reap(struct helper *h)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid != h->proxy)
            continue;
        if (WIFSTOPPED(status) || WIFCONTINUED(status)) {
            log_warn(WIFSTOPPED(status) ? "proxy stopped" : "proxy continued", "pid=%d", (int)pid);
            watchdog_stopped(&h->watchdog, WIFSTOPPED(status), clock_mono_ns());
            update_shed(h);
        } else {
            on_proxy_ended(h, status);
        }
    }
}

static void on_ready(struct helper *h)
{
    struct capture_error error;

    watchdog_ready(&h->watchdog, clock_mono_ns());
    if (h->watchdog.draining)
        return;
    census_before_steering(h->census);
    if (capture_attach(h->capture, &error) < 0) {
        log_error("cannot steer", "why=%s", error.text);
        h->failed = h->quit = true;
        return;
    }
    update_shed(h);
    log_info("ready", "cgroup=%s generation=%u", h->cgroup, h->generation);
}

static int send_row(void *user, const struct ipc_msg *msg)
{
    struct helper *h = user;

    return h->ipc_fd < 0 ? -ENOTCONN : ipc_send(h->ipc_fd, msg, NULL, 0);
}

static void look(void *user, uint32_t pid, struct identity_process *ret_process)
{
    identity_look(user, pid, ret_process);
}

static void answer_who(struct helper *h, const struct ipc_who *who,
                       const struct identity_process *process)
{
    struct ipc_msg msg = {.type = IPC_CALLER, .caller = {.query = who->query}};
    struct caller *caller = &msg.caller.caller;
    int r;

    if (h->ipc_fd < 0)
        return;
    identity_resolve(h->identity, who->cgroup_id, who->netns_cookie, 0, who->uid, caller);
    caller->pid = who->pid;
    identity_add_process(caller, process);
    r = ipc_send(h->ipc_fd, &msg, NULL, 0);
    if (r < 0)
        log_debug("an answer was lost", "query=%llu error=%s", (unsigned long long)who->query,
                  strerror(-r));
}

static void on_who(struct helper *h, const struct ipc_who *who)
{
    const struct identity_process unknown = {0};

    if (identity_worker_ask(h->lookers, who, clock_mono_ns()) < 0)
        answer_who(h, who, &unknown);
}

static void answer_all(struct helper *h)
{
    struct identity_process process;
    struct ipc_who who;

    while (identity_worker_answer(h->lookers, clock_mono_ns(), &who, &process) == 0)
        answer_who(h, &who, &process);
}

/* False: the proxy is to be ended. */
static bool on_message(struct helper *h, const struct ipc_msg *msg)
{
    switch ((enum ipc_type)msg->type) {
    case IPC_READY:
        on_ready(h);
        return true;
    case IPC_NEED_SOCKETS:
        netns_worker_need(h->worker, msg->netns.netns_cookie, (int)msg->netns.family,
                          msg->netns.count);
        return true;
    case IPC_WHO:
        on_who(h, &msg->who);
        return true;
    case IPC_CENSUS_ACK:
        census_ack(h->census, msg->census_ack_id);
        return true;
    default:
        return false;
    }
}

static void on_ipc(struct helper *h)
{
    for (int i = 0; i < IPC_BATCH && h->ipc_fd >= 0; i++) {
        int fds[IPC_FDS_MAX];
        unsigned count = 0;
        struct ipc_msg msg;
        int r = ipc_recv(h->ipc_fd, &msg, fds, &count);

        if (r == -EAGAIN)
            return;
        while (r == 0 && count > 0)
            close(fds[--count]); /* none is ever asked for */
        if (r == 0 && on_message(h, &msg))
            continue;
        if (r != -EPIPE)
            kill_proxy(h, "it sent what it may not");
        drop_ipc(h);
    }
}

/* ---- consent and namespaces ---- */

static void on_consenting(void *user, uint32_t pid, uint64_t netns_inode)
{
    struct helper *h = user;

    if (!netns_life_has(h->life, netns_inode))
        netns_worker_meet(h->worker, pid);
}

static void on_met(struct helper *h)
{
    struct netns_met met;
    struct caller caller;

    while (netns_worker_report(h->worker, &met) == 0) {
        netns_life_add(h->life, met.netns_cookie, met.inode);
        /* Asked now, since the cgroup may be gone when its name is needed. */
        if (met.cgroup_id)
            identity_resolve(h->identity, met.cgroup_id, met.netns_cookie, 0, 0, &caller);
        log_info("namespace served", "netns=%llu pid=%u ready_us=%u",
                 (unsigned long long)met.netns_cookie, met.pid, met.ready_us);
    }
}

static void on_gone(void *user, uint64_t cookie)
{
    struct helper *h = user;

    log_info("namespace gone", "netns=%llu", (unsigned long long)cookie);
    netns_worker_gone(h->worker, cookie);
}

static bool on_run_pid(void *user, int pid)
{
    uint64_t inode = netns_life_inode_of((uint32_t)pid);

    if (inode)
        on_consenting(user, (uint32_t)pid, inode);
    return true;
}

static void refresh_consent(struct helper *h)
{
    consent_refresh(h->consent, on_consenting, h);
    runs_each_pid(h->runs, on_run_pid, h);
}

static void on_run_made(void *user, uint64_t cgroup_id)
{
    struct helper *h = user;
    int r = capture_consent_cgroup(h->capture, cgroup_id);

    if (r < 0)
        log_error("a command is not captured", "error=%s", strerror(-r));
}

static void on_run_gone(void *user, uint64_t cgroup_id)
{
    struct helper *h = user;

    capture_consent_drop(h->capture, cgroup_id);
}

static void on_run(void *user, pid_t pid, uint64_t cgroup_id)
{
    struct helper *h = user;
    struct caller caller;

    identity_resolve(h->identity, cgroup_id, 0, 0, 0, &caller);
    netns_worker_meet(h->worker, (uint32_t)pid);
}

/* ---- time ---- */

static void check_attachment(struct helper *h)
{
    uint64_t id = 0;

    if (cgroup_id_of(h->cgroup, &id) == 0 && id == h->cgroup_id)
        return;
    log_error("the cgroup is gone that capture is attached to; start the agent again", "cgroup=%s",
              h->cgroup);
    h->failed = h->quit = true;
}

static void beat(struct helper *h)
{
    struct census_clock now = clock_now();
    struct lectr_meta *meta = capture_meta(h->capture);

    __atomic_store_n(&capture_beat(h->capture)->helper_ns, now.mono_ns, __ATOMIC_RELEASE);
    meta->helper_mono_ns = now.mono_ns;
    meta->helper_wall_ns = now.wall_ns;
}

static void tick(struct helper *h)
{
    uint64_t stale_ns = h->config->capture.heartbeat_stale_ms * NSEC_PER_MSEC;
    uint64_t now = clock_mono_ns();

    beat(h);
    h->ticks++;
    switch (watchdog_look(&h->watchdog, capture_beat(h->capture)->proxy_ns, stale_ns, now)) {
    case WATCHDOG_START:
        start_proxy(h);
        break;
    case WATCHDOG_KILL:
        kill_proxy(h, h->watchdog.stopped ? "it is stopped" : "it shows no sign of life");
        break;
    case WATCHDOG_NOTHING:
        break;
    }
    update_shed(h);
    if (h->ticks % CENSUS_TICKS == 0 && h->watchdog.ready)
        census_poll(h->census, clock_now(), send_row, h);
    control_expire(h->control, now);
    answer_all(h); /* those that wait too long */
    if (h->ticks % CONSENT_TICKS == 0)
        refresh_consent(h);
    if (h->ticks % LIFE_TICKS == 0 || netns_life_doubts(h->life))
        netns_life_scan(h->life, on_gone, h);
    if (h->ticks % TIDY_TICKS == 0) {
        runs_tidy(h->runs);
        check_attachment(h);
    }
    if (h->watchdog.draining && now >= h->drain_until_ns) {
        kill_proxy(h, "it did not finish in time");
        h->quit = true;
    }
}

static void drain(struct helper *h)
{
    struct ipc_msg msg = {.type = IPC_DRAIN, .drain_grace_ms = DRAIN_MS};

    if (h->watchdog.draining) {
        h->quit = true; /* asked twice */
        return;
    }
    log_info("stopping", "grace_ms=%d", DRAIN_MS);
    h->watchdog.draining = true;
    control_refuse(h->control);
    update_shed(h);
    capture_detach(h->capture);
    h->drain_until_ns = clock_mono_ns() + (DRAIN_MS + DRAIN_MARGIN_MS) * NSEC_PER_MSEC;
    census_poll(h->census, clock_now(), send_row, h);
    if (h->ipc_fd < 0 || ipc_send(h->ipc_fd, &msg, NULL, 0) < 0)
        h->quit = true;
}

static void on_signal(struct helper *h)
{
    struct signalfd_siginfo info;

    while (read(h->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            reap(h);
        else if (info.ssi_signo == SIGHUP)
            log_warn("settings are read at start only; restart to apply them", "signal=HUP");
        else
            drain(h);
    }
}

static void loop(struct helper *h)
{
    uint64_t next = clock_mono_ns();

    while (!h->quit) {
        struct epoll_event events[EPOLL_BATCH];
        uint64_t now = clock_mono_ns();
        int wait_ms = next > now ? (int)((next - now) / NSEC_PER_MSEC) + 1 : 0;
        int arrivals_ms = consent_wait_ms(h->consent, now);
        int n;

        if (arrivals_ms >= 0 && arrivals_ms < wait_ms)
            wait_ms = arrivals_ms;
        n = epoll_wait(h->epoll_fd, events, EPOLL_BATCH, wait_ms);

        for (int i = 0; i < n; i++) {
            switch ((enum source)events[i].data.u32) {
            case SOURCE_SIGNAL:
                on_signal(h);
                break;
            case SOURCE_IPC:
                on_ipc(h);
                break;
            case SOURCE_CONTROL:
                control_serve(h->control);
                break;
            case SOURCE_LOOKERS:
                answer_all(h);
                break;
            case SOURCE_WORKER:
                on_met(h);
                break;
            case SOURCE_ARRIVALS:
                break; /* read below, also when it is only time to look again */
            }
        }
        now = clock_mono_ns();
        consent_arrivals(h->consent, now, on_consenting, h);
        if (now >= next) {
            next = now + TICK_MS * NSEC_PER_MSEC;
            tick(h);
        }
    }
}

/* ---- start and end ---- */

static int open_cgroup(struct helper *h)
{
    int r = cgroup_find_root(h->root, sizeof(h->root));

    if (r == -EXDEV)
        log_error("only a part of the cgroup2 tree is mounted here (a cgroup namespace)",
                  "remedy=mount the host's tree, or start the agent outside of the container");
    else if (r < 0)
        log_error("cgroup2 is not mounted", "remedy=mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    if (r < 0)
        return r;
    r = cgroup_resolve(h->root, h->config->capture.cgroup, h->cgroup, sizeof(h->cgroup));
    if (r == 0)
        r = cgroup_id_of(h->cgroup, &h->cgroup_id);
    if (r < 0)
        log_error("capture.cgroup is no cgroup of the cgroup2 tree",
                  "cgroup=%s error=%s remedy=create it, or correct the setting", h->cgroup,
                  strerror(-r));
    return r;
}

static int open_capture(struct helper *h)
{
    struct provider_error provider_error = {0};
    struct capture_error error = {0};
    int r = provider_set_load(h->config->data.providers_dir, &h->providers, &provider_error);

    if (r < 0) {
        log_error("no provider profiles", "why=%s", provider_error.text);
        return r;
    }
    r = capture_open(h->config, h->cgroup, h->providers, &h->capture, &error);
    if (r < 0)
        log_error("cannot capture", "why=%s", error.text);
    return r;
}

static int open_signals(struct helper *h)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    signal(SIGPIPE, SIG_IGN);
    h->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return h->signal_fd < 0 || h->epoll_fd < 0 ? -errno : 0;
}

static int open_rest(struct helper *h)
{
    const struct runs_notice notice = {.made = on_run_made, .gone = on_run_gone, .user = h};
    int r = identity_new(h->config, h->root, &h->identity);

    if (r == 0)
        r = identity_worker_start(look, h->identity, &h->lookers);
    if (r == 0)
        r = census_new(h->capture, h->identity, clock_now(), &h->census);
    if (r == 0)
        r = netns_life_new(&h->life);
    if (r == 0)
        r = netns_worker_start(h->capture, h->config, &h->worker);
    if (r == 0)
        r = runs_new(h->config->run_dir, h->root, h->cgroup, &notice, &h->runs);
    if (r == 0)
        r = control_new(h->config, h->runs, on_run, h, &h->control);
    if (r == 0)
        r = consent_new(h->config, h->capture, h->root, runs_shared(h->runs), &h->consent);
    if (r == 0)
        r = watch(h, h->signal_fd, SOURCE_SIGNAL);
    if (r == 0)
        r = watch(h, identity_worker_fd(h->lookers), SOURCE_LOOKERS);
    if (r == 0)
        r = watch(h, netns_worker_fd(h->worker), SOURCE_WORKER);
    if (r == 0)
        r = watch(h, control_fd(h->control), SOURCE_CONTROL);
    if (r == 0)
        r = watch(h, consent_fd(h->consent), SOURCE_ARRIVALS);
    if (r < 0)
        log_error("cannot start", "error=%s", strerror(-r));
    return r;
}

static int take_lock(struct helper *h)
{
    pid_t holder = 0;
    int r = lock_take(h->config->run_dir, &h->lock_fd, &holder);

    if (r == -EWOULDBLOCK)
        log_error("another daemon runs already", "pid=%d run_dir=%s remedy=stop that one first",
                  (int)holder, h->config->run_dir);
    else if (r < 0)
        log_error("cannot take the daemon's lock", "run_dir=%s error=%s", h->config->run_dir,
                  strerror(-r));
    return r;
}

static int open_all(struct helper *h)
{
    int r;

    if (geteuid() != 0) {
        log_error("the daemon needs root", "remedy=sudo lectr-agent daemon");
        return -EPERM;
    }
    r = dirs_make(h->config);
    if (r < 0) {
        log_error("cannot make the agent's directories", "state_dir=%s run_dir=%s error=%s",
                  h->config->state_dir, h->config->run_dir, strerror(-r));
        return r;
    }
    r = take_lock(h);
    if (r == 0)
        r = open_signals(h);
    if (r == 0)
        r = open_cgroup(h);
    if (r == 0)
        r = open_capture(h);
    if (r == 0)
        r = open_rest(h);
    return r;
}

static void close_all(struct helper *h)
{
    if (h->capture)
        capture_detach(h->capture);
    if (h->proxy > 0) {
        kill(h->proxy, SIGKILL);
        waitpid(h->proxy, NULL, 0);
    }
    control_free(&h->control);
    runs_free(&h->runs);
    netns_worker_stop(&h->worker);
    if (h->ipc_fd >= 0)
        close(h->ipc_fd);
    if (h->consent)
        consent_free(&h->consent);
    if (h->life)
        netns_life_free(&h->life);
    if (h->census)
        census_free(&h->census);
    /* A stuck thread may still use it; the process is about to end. */
    if (identity_worker_stop(&h->lookers))
        identity_free(&h->identity);
    capture_close(&h->capture);
    if (h->providers)
        provider_set_free(&h->providers);
    if (h->signal_fd >= 0)
        close(h->signal_fd);
    if (h->epoll_fd >= 0)
        close(h->epoll_fd);
    /* Last: whoever comes next finds nothing of ours. */
    if (h->lock_fd >= 0) {
        (void)!lock_remove(h->config->run_dir);
        close(h->lock_fd);
    }
}

/* Two descriptors a namespace here, several a connection in the proxy, which
 * inherits this. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warn("few files may be opened", "error=%s", strerror(errno));
}

int helper_main(const struct config *config, const char *config_path)
{
    struct helper h = {.config = config,
                       .config_path = config_path,
                       .lock_fd = -1,
                       .epoll_fd = -1,
                       .signal_fd = -1,
                       .ipc_fd = -1};
    int r;

    raise_file_limit();
    r = open_all(&h);
    if (r == 0) {
        watchdog_init(&h.watchdog, config->capture.heartbeat_stale_ms);
        (void)setpriority(PRIO_PROCESS, 0, -10);
        update_shed(&h);
        refresh_consent(&h);
        loop(&h);
        log_info("stopped", NULL);
    }
    close_all(&h);
    return r < 0 || h.failed ? 1 : 0;
}
