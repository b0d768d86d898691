/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control.h"

#include "agent/cgroup.h"
#include "agent/config.h"
#include "proto/base/log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
    uint64_t order; /* the longest waiting one makes room */
};

struct control {
    const struct config *config;
    control_run_fn on_run;
    void *user;
    int epoll_fd, listen_fd;
    char cgroup[CGROUP_PATH_MAX];
    char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    uint64_t runs, orders;
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

static int open_socket(struct control *c)
{
    struct sockaddr_un addr;
    int r = socket_address(c->config->run_dir, &addr);

    if (r < 0)
        return r;
    memcpy(c->socket_path, addr.sun_path, sizeof(c->socket_path));
    c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listen_fd < 0)
        return -errno;
    if (unlink(addr.sun_path) < 0 && errno != ENOENT)
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

int control_new(const struct config *config, const char *capture_cgroup, control_run_fn on_run,
                void *user, struct control **ret_control)
{
    struct control *c = calloc(1, sizeof(*c));
    int n, r;

    if (!c)
        return -ENOMEM;
    *c = (struct control){.config = config,
                          .on_run = on_run,
                          .user = user,
                          .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                          .listen_fd = -1};
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    n = snprintf(c->cgroup, sizeof(c->cgroup), "%s/" CONTROL_RUN_CGROUP, capture_cgroup);
    r = n < 0 || (size_t)n >= sizeof(c->cgroup) ? -ENAMETOOLONG : 0;
    if (r == 0 && mkdir(c->cgroup, 0755) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0)
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
    control_tidy(c);
    (void)rmdir(c->cgroup);
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

const char *control_cgroup(const struct control *c)
{
    return c->cgroup;
}

static int write_pid(const char *cgroup, pid_t pid)
{
    char path[CGROUP_PATH_MAX + 96];
    CLEAN_FD int fd = -1;

    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || dprintf(fd, "%d", (int)pid) < 0)
        return -errno;
    return 0;
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
    char name[CONTROL_NAME_MAX + 1], path[CGROUP_PATH_MAX + 64];
    uint64_t id;
    int r;

    if (c->refusing)
        return -ESHUTDOWN;
    if (!is_still(who))
        return -ESRCH;
    control_run_name(wanted, name);
    snprintf(path, sizeof(path), "%s/%s-%d-%llu", c->cgroup, name, (int)who->pid,
             (unsigned long long)++c->runs);
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -errno;
    r = write_pid(path, who->pid);
    if (r == 0)
        r = cgroup_id_of(path, &id);
    if (r < 0) {
        (void)rmdir(path);
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

static void accept_one(struct control *c)
{
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *slot = &c->clients[0];

    if (fd < 0)
        return;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];

        if (k->fd < 0) {
            slot = k;
            break;
        }
        if (k->order < slot->order)
            slot = k;
    }
    drop(slot);
    *slot = (struct client){.fd = fd, .order = ++c->orders};
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

void control_tidy(struct control *c)
{
    DIR *dir = opendir(c->cgroup);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    if (dir)
        closedir(dir);
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
