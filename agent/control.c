/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control.h"

#include "agent/config.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#define ASK_WAIT_S 5

struct client {
    int fd;
    uid_t uid;
    uint64_t order; /* the longest waiting one makes room */
    uint64_t since_ns;
};

struct control {
    const struct config *config;
    control_run_fn on_run;
    void *user;
    int epoll_fd, listen_fd;
    struct runs *runs;
    uid_t proxy_uid; /* 0: not told apart from others */
    pid_t proxy;
    char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    uint64_t orders;
    bool refusing;
    struct client clients[CONTROL_CLIENTS_MAX];
};

static int socket_address(const char *run_dir, struct sockaddr_un *ret_addr)
{
    int n;

    *ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "%s/control.sock", run_dir);
    return n < 0 || (size_t)n >= sizeof(ret_addr->sun_path) ? -ENAMETOOLONG : 0;
}

void control_run_name(const char *command, char ret_name[CONTROL_NAME_MAX + 1])
{
    const char *base = strrchr(command, '/') ? strrchr(command, '/') + 1 : command;
    size_t n = 0;

    for (; *base && n < CONTROL_NAME_MAX; base++)
        ret_name[n++] = isalnum((unsigned char)*base) || *base == '.' ? *base : '_';
    if (n == 0 || ret_name[0] == '.')
        ret_name[0] = '_';
    ret_name[n ? n : 1] = '\0';
}

/* ---- serving ---- */

/* The socket of a dead daemon may go; one that answers, even by being full, not. */
static int remove_dead(const struct sockaddr_un *addr)
{
    CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (const void *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
        return -EADDRINUSE;
    if (errno == ENOENT)
        return 0;
    if (errno != ECONNREFUSED)
        return -errno;
    return unlink(addr->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int open_socket(struct control *c)
{
    struct sockaddr_un addr;
    int r = socket_address(c->config->run_dir, &addr);

    if (r < 0)
        return r;
    r = remove_dead(&addr);
    if (r < 0)
        return r;
    memcpy(c->socket_path, addr.sun_path, sizeof(c->socket_path));
    c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listen_fd < 0)
        return -errno;
    if (bind(c->listen_fd, (const void *)&addr, sizeof(addr)) < 0 ||
        chmod(addr.sun_path, 0666) < 0 || listen(c->listen_fd, CONTROL_CLIENTS_MAX) < 0)
        return -errno;
    return 0;
}

static int watch(struct control *c, int fd, uint32_t index)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = index};

    return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int control_new(const struct config *config, struct runs *runs, control_run_fn on_run, void *user,
                struct control **ret_control)
{
    const struct passwd *proxy_user = getpwnam(config->user);
    struct control *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    *c = (struct control){.config = config,
                          .runs = runs,
                          .proxy_uid = proxy_user ? proxy_user->pw_uid : 0,
                          .on_run = on_run,
                          .user = user,
                          .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                          .listen_fd = -1};
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    r = c->epoll_fd < 0 ? -EMFILE : open_socket(c);
    if (r == 0)
        r = watch(c, c->listen_fd, CONTROL_CLIENTS_MAX);
    if (r < 0) {
        control_free(&c);
        return r;
    }
    *ret_control = c;
    return 0;
}

static void drop(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void control_free(struct control **control)
{
    struct control *c = control ? TAKE_PTR(*control) : NULL;

    if (!c)
        return;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        drop(&c->clients[i]);
    if (c->listen_fd >= 0) {
        close(c->listen_fd);
        (void)unlink(c->socket_path);
    }
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    free(c);
}

void control_refuse(struct control *c)
{
    c->refusing = true;
}

int control_fd(const struct control *c)
{
    return c->epoll_fd;
}

void control_proxy(struct control *c, pid_t pid)
{
    c->proxy = pid;
}

/* Reads what everybody sends: it has no business in a cgroup of our making. */
static bool is_proxy(const struct control *c, const struct ucred *who)
{
    return (c->proxy > 0 && who->pid == c->proxy) ||
           (c->proxy_uid != 0 && who->uid == c->proxy_uid);
}

/* The number could be another's by now: at least it must be the same user's. */
static bool is_still(const struct ucred *who)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d", (int)who->pid);
    return who->pid > 0 && stat(path, &st) == 0 && (st.st_uid == who->uid || who->uid == 0);
}

static int do_run(struct control *c, const struct ucred *who, const char *wanted)
{
    char name[CONTROL_NAME_MAX + 1];
    uint64_t id;
    int r;

    if (c->refusing)
        return -ESHUTDOWN;
    if (is_proxy(c, who))
        return -EACCES;
    if (!is_still(who))
        return -ESRCH;
    control_run_name(wanted, name);
    r = runs_place(c->runs, who->pid, name, &id);
    if (r < 0) {
        log_warn("command not captured", "pid=%d uid=%u name=%s error=%s", (int)who->pid, who->uid,
                 name, strerror(-r));
        return r;
    }
    log_info("command captured", "pid=%d uid=%u name=%s", (int)who->pid, who->uid, name);
    c->on_run(c->user, who->pid, id);
    return 0;
}

static void answer(struct control *c, int fd, char *request)
{
    char text[CONTROL_MESSAGE_MAX];
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    int r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ? -errno : 0;

    if (r == 0 && strncmp(request, "run ", 4) == 0) {
        r = do_run(c, &who, request + 4);
        snprintf(text, sizeof(text), "ok %s", c->config->tls.ca_dir);
    } else if (r == 0 && strcmp(request, "ping") == 0) {
        snprintf(text, sizeof(text), "ok");
    } else if (r == 0) {
        r = -ENOSYS;
    }
    if (r < 0)
        snprintf(text, sizeof(text), "error %s", r == -ESHUTDOWN ? "it is stopping" : strerror(-r));
    (void)send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A free place; else, and of a user who has many, the longest waiting one. */
static struct client *make_room(struct control *c, uid_t uid)
{
    struct client *oldest = &c->clients[0], *theirs = NULL, *empty = NULL;
    unsigned count = 0;

    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];

        if (k->fd < 0) {
            empty = k;
            continue;
        }
        if (k->order < oldest->order)
            oldest = k;
        if (k->uid != uid)
            continue;
        count++;
        if (!theirs || k->order < theirs->order)
            theirs = k;
    }
    if (theirs && count >= CONTROL_CLIENTS_PER_UID)
        return theirs;
    return empty ? empty : oldest;
}

static void accept_one(struct control *c)
{
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t size = sizeof(who);
    struct client *slot;

    if (fd < 0)
        return;
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
    slot = make_room(c, who.uid);
    drop(slot);
    *slot = (struct client){
        .fd = fd, .uid = who.uid, .order = ++c->orders, .since_ns = clock_mono_ns()};
    if (watch(c, fd, (uint32_t)(slot - c->clients)) < 0)
        drop(slot);
}

void control_serve(struct control *c)
{
    struct epoll_event events[8];
    int n = epoll_wait(c->epoll_fd, events, 8, 0);

    for (int i = 0; i < n; i++) {
        char request[CONTROL_MESSAGE_MAX];
        struct client *client;
        ssize_t got;

        if (events[i].data.u32 >= CONTROL_CLIENTS_MAX) {
            accept_one(c);
            continue;
        }
        client = &c->clients[events[i].data.u32];
        got = client->fd < 0 ? -1 : recv(client->fd, request, sizeof(request) - 1, MSG_DONTWAIT);
        if (got > 0) {
            request[got] = '\0';
            answer(c, client->fd, request);
        }
        drop(client);
    }
}

void control_expire(struct control *c, uint64_t now_ns)
{
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];

        if (k->fd >= 0 && now_ns > k->since_ns + CONTROL_WAIT_MS * NSEC_PER_MSEC)
            drop(k);
    }
}

/* ---- asking ---- */

int control_ask(const char *run_dir, const char *request, char *ret_answer, size_t size)
{
    CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = ASK_WAIT_S};
    struct sockaddr_un addr;
    char text[CONTROL_MESSAGE_MAX];
    const char *rest;
    ssize_t n;
    int r = socket_address(run_dir, &addr);

    if (r < 0)
        return r;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
        connect(fd, (const void *)&addr, sizeof(addr)) < 0 ||
        send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return -errno;
    n = recv(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return n == 0 ? -ECONNRESET : -errno;
    text[n] = '\0';
    rest = strchr(text, ' ') ? strchr(text, ' ') + 1 : "";
    if (strlen(rest) >= size)
        return -ENOSPC;
    memcpy(ret_answer, rest, strlen(rest) + 1);
    return strncmp(text, "ok", 2) == 0 ? 0 : -EREMOTE;
}
