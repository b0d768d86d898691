/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netns_life.h"

#include "agent/netns.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define MISSES_MAX 2

struct life {
    uint64_t cookie, inode;
    unsigned misses;
    bool seen;
};

struct netns_life {
    struct life known[NETNS_LIFE_MAX];
    unsigned count;
    int names_fd; /* tells of removed names */
    bool doubt;
};

int netns_life_new(struct netns_life **ret_life)
{
    struct netns_life *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    l->names_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (l->names_fd < 0) {
        free(l);
        return -errno;
    }
    *ret_life = l;
    return 0;
}

void netns_life_free(struct netns_life **life)
{
    close((*life)->names_fd);
    free(*life);
    *life = NULL;
}

void netns_life_add(struct netns_life *l, uint64_t cookie, uint64_t inode)
{
    if (l->count < NETNS_LIFE_MAX)
        l->known[l->count++] = (struct life){.cookie = cookie, .inode = inode};
}

bool netns_life_has(const struct netns_life *l, uint64_t inode)
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->known[i].inode == inode)
            return true;
    return false;
}

uint64_t netns_life_inode_of(uint32_t pid)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void mark(struct netns_life *l, uint64_t inode)
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->known[i].inode == inode)
            l->known[i].seen = true;
}

static void mark_processes(struct netns_life *l)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (isdigit((unsigned char)entry->d_name[0]))
            mark(l, netns_life_inode_of((uint32_t)strtoul(entry->d_name, NULL, 10)));
    if (dir)
        closedir(dir);
}

static void mark_names(struct netns_life *l)
{
    DIR *dir = opendir(NETNS_NAMES_DIR);
    struct dirent *entry;
    struct stat st;

    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
            mark(l, st.st_ino);
    if (dir)
        closedir(dir);
}

void netns_life_scan(struct netns_life *l, netns_gone_fn gone, void *user)
{
    if (l->count == 0)
        return;
    for (unsigned i = 0; i < l->count; i++)
        l->known[i].seen = false;
    /* The directory may be new; adding it again changes nothing. */
    (void)inotify_add_watch(l->names_fd, NETNS_NAMES_DIR, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR);
    mark_processes(l);
    mark_names(l);
    l->doubt = false;
    for (unsigned i = 0; i < l->count;) {
        struct life *k = &l->known[i];

        k->misses = k->seen ? 0 : k->misses + 1;
        if (k->misses < MISSES_MAX) {
            l->doubt |= k->misses > 0;
            i++;
            continue;
        }
        gone(user, k->cookie);
        *k = l->known[--l->count];
    }
}

bool netns_life_doubts(struct netns_life *l)
{
    char events[4096];

    while (read(l->names_fd, events, sizeof(events)) > 0)
        l->doubt = true;
    return l->doubt;
}
