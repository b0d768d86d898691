/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/arrivals.h"

#include "agent/cgroup.h"
#include "agent/netns_life.h"
#include "proto/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/inotify.h>

#define PIDS_MAX 256
#define FIRST_LOOK_NS NSEC_PER_MSEC

struct watched {
    char path[CGROUP_PATH_MAX];
    int dir_watch, events_watch;
    uint64_t next_ns, step_ns, until_ns; /* next_ns 0: not in a burst */
};

struct arrivals {
    int fd;
    unsigned count;
    struct watched *watched;
};

struct look {
    uint64_t home_inode;
    arrivals_fn fn;
    void *user;
};

int arrivals_new(struct arrivals **ret_arrivals)
{
    struct arrivals *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    a->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    a->watched = calloc(ARRIVALS_WATCHED_MAX, sizeof(*a->watched));
    if (a->fd < 0 || !a->watched) {
        int r = a->fd < 0 ? -errno : -ENOMEM;

        arrivals_free(&a);
        return r;
    }
    *ret_arrivals = a;
    return 0;
}

void arrivals_free(struct arrivals **arrivals)
{
    struct arrivals *a = arrivals ? TAKE_PTR(*arrivals) : NULL;

    if (!a)
        return;
    if (a->fd >= 0)
        close(a->fd);
    free(a->watched);
    free(a);
}

static void begin_burst(struct watched *w, uint64_t now_ns)
{
    w->step_ns = FIRST_LOOK_NS;
    w->next_ns = now_ns + FIRST_LOOK_NS;
    w->until_ns = now_ns + ARRIVALS_BURST_MS * NSEC_PER_MSEC;
}

static void watch_children(struct arrivals *a, const char *path)
{
    char child[CGROUP_PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir(path);

    while (dir && (entry = readdir(dir)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            (size_t)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) < sizeof(child))
            arrivals_watch(a, child);
    if (dir)
        closedir(dir);
}

void arrivals_watch(struct arrivals *a, const char *cgroup_path)
{
    char events[CGROUP_PATH_MAX + 16];
    struct watched *w;
    int dir;

    dir = inotify_add_watch(a->fd, cgroup_path, IN_CREATE | IN_ONLYDIR);
    if (dir < 0)
        return;
    for (unsigned i = 0; i < a->count; i++)
        if (a->watched[i].dir_watch == dir)
            return;
    if (a->count == ARRIVALS_WATCHED_MAX) {
        inotify_rm_watch(a->fd, dir);
        return;
    }
    w = &a->watched[a->count++];
    snprintf(w->path, sizeof(w->path), "%s", cgroup_path);
    snprintf(events, sizeof(events), "%s/cgroup.events", cgroup_path);
    w->dir_watch = dir;
    w->events_watch = inotify_add_watch(a->fd, events, IN_MODIFY);
    /* Somebody may have come before the watch. */
    begin_burst(w, clock_mono_ns());
    watch_children(a, cgroup_path);
}

int arrivals_fd(const struct arrivals *a)
{
    return a->fd;
}

int arrivals_wait_ms(const struct arrivals *a, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;

    for (unsigned i = 0; i < a->count; i++)
        if (a->watched[i].next_ns && a->watched[i].next_ns < next_ns)
            next_ns = a->watched[i].next_ns;
    if (next_ns == UINT64_MAX)
        return -1;
    return next_ns <= now_ns ? 0 : (int)((next_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

static void drop(struct arrivals *a, struct watched *w)
{
    (void)inotify_rm_watch(a->fd, w->events_watch);
    *w = a->watched[--a->count];
}

static void on_event(struct arrivals *a, const struct inotify_event *e, uint64_t now_ns)
{
    char child[CGROUP_PATH_MAX];

    for (unsigned i = 0; i < a->count; i++) {
        struct watched *w = &a->watched[i];

        if (e->wd == w->events_watch && (e->mask & IN_MODIFY)) {
            begin_burst(w, now_ns);
            return;
        }
        if (e->wd != w->dir_watch)
            continue;
        if (e->mask & IN_IGNORED)
            drop(a, w);
        else if ((e->mask & IN_ISDIR) && e->len > 0 &&
                 (size_t)snprintf(child, sizeof(child), "%s/%s", w->path, e->name) < sizeof(child))
            arrivals_watch(a, child);
        return;
    }
}

static void read_inotify(struct arrivals *a, uint64_t now_ns)
{
    char space[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t got;

    while ((got = read(a->fd, space, sizeof(space))) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *e = (const void *)(space + at);

            at += (ssize_t)(sizeof(*e) + e->len);
            on_event(a, e, now_ns);
        }
}

static bool on_pid(void *user, int pid)
{
    const struct look *l = user;
    uint64_t inode = netns_life_inode_of((uint32_t)pid);

    if (inode && inode != l->home_inode)
        l->fn(l->user, (uint32_t)pid, inode);
    return true;
}

void arrivals_read(struct arrivals *a, uint64_t now_ns, uint64_t home_inode, arrivals_fn fn,
                   void *user)
{
    read_inotify(a, now_ns);
    for (unsigned i = 0; i < a->count; i++) {
        struct watched *w = &a->watched[i];
        bool last = now_ns >= w->until_ns;
        struct look look = {.home_inode = last ? 0 : home_inode, .fn = fn, .user = user};

        if (!w->next_ns || w->next_ns > now_ns)
            continue;
        cgroup_each_pid(w->path, PIDS_MAX, on_pid, &look);
        /* Ever more rarely: programs start in milliseconds or take their time. */
        w->step_ns += w->step_ns / 2;
        w->next_ns = last ? 0 : now_ns + w->step_ns;
    }
}
