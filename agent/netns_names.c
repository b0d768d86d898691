/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netns_names.h"

#include "agent/netns.h"
#include "proto/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>

#define WAITING_MAX 256
#define WAIT_TOTAL_MS 2000 /* a name that has no namespace for so long is none */

/* The file of a name exists before the namespace is mounted on it. */
struct waiting {
    char name[NAME_MAX + 1];
    uint64_t until_ns;
};

struct netns_names {
    char *const *patterns;
    unsigned patterns_count;
    int fd, run_watch, dir_watch;
    struct waiting waiting[WAITING_MAX];
    unsigned waiting_count;
};

static void want(struct netns_names *n, const char *name)
{
    struct waiting *w;

    if (name[0] == '.' || n->waiting_count == WAITING_MAX || strlen(name) > NAME_MAX)
        return;
    for (unsigned i = 0; i < n->patterns_count; i++) {
        if (!netns_name_matches(n->patterns[i], name))
            continue;
        w = &n->waiting[n->waiting_count++];
        snprintf(w->name, sizeof(w->name), "%s", name);
        w->until_ns = clock_mono_ns() + WAIT_TOTAL_MS * NSEC_PER_MSEC;
        return;
    }
}

/* Starts to watch the directory, if it is there, and takes what it holds. */
static void watch_dir(struct netns_names *n)
{
    struct dirent *entry;
    DIR *dir;

    n->dir_watch = inotify_add_watch(n->fd, NETNS_NAMES_DIR, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    dir = n->dir_watch >= 0 ? opendir(NETNS_NAMES_DIR) : NULL;
    while (dir && (entry = readdir(dir)))
        want(n, entry->d_name);
    if (dir)
        closedir(dir);
}

int netns_names_new(char *const *patterns, unsigned count, struct netns_names **ret_names)
{
    struct netns_names *n = calloc(1, sizeof(*n));

    if (!n)
        return -ENOMEM;
    *n = (struct netns_names){
        .patterns = patterns, .patterns_count = count, .fd = -1, .run_watch = -1, .dir_watch = -1};
    if (count > 0) {
        n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (n->fd < 0) {
            netns_names_free(&n);
            return -errno;
        }
        n->run_watch = inotify_add_watch(n->fd, "/run", IN_CREATE | IN_ONLYDIR);
        watch_dir(n);
    }
    *ret_names = n;
    return 0;
}

void netns_names_free(struct netns_names **names)
{
    struct netns_names *n = names ? TAKE_PTR(*names) : NULL;

    if (!n)
        return;
    if (n->fd >= 0)
        close(n->fd);
    free(n);
}

int netns_names_fd(const struct netns_names *n)
{
    return n->fd;
}

int netns_names_wait_ms(const struct netns_names *n)
{
    return n->waiting_count > 0 ? 1 : -1;
}

static void read_inotify(struct netns_names *n)
{
    char space[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t got;

    while (n->fd >= 0 && (got = read(n->fd, space, sizeof(space))) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *e = (const void *)(space + at);

            at += (ssize_t)(sizeof(*e) + e->len);
            if (e->mask & (IN_Q_OVERFLOW | IN_IGNORED))
                watch_dir(n);
            else if (e->len > 0 && e->wd == n->run_watch && strcmp(e->name, "netns") == 0)
                watch_dir(n);
            else if (e->len > 0 && e->wd == n->dir_watch)
                want(n, e->name);
        }
    }
}

void netns_names_read(struct netns_names *n, netns_names_fn fn, void *user)
{
    uint64_t now = clock_mono_ns();

    read_inotify(n);
    for (unsigned i = 0; i < n->waiting_count;) {
        struct waiting *w = &n->waiting[i];
        int fd, r = netns_open_name(w->name, &fd);

        if (r == 0)
            fn(user, w->name, fd);
        if (r == 0 || r != -EAGAIN || now >= w->until_ns)
            *w = n->waiting[--n->waiting_count];
        else
            i++;
    }
}
