/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_NAME "runs"
#define PIDS_MAX 8192
#define DELETED " (deleted)"

struct run {
    char path[CGROUP_PATH_MAX];
    uint64_t id;
};

struct runs {
    char list[PATH_MAX];
    char root[CGROUP_PATH_MAX], capture[CGROUP_PATH_MAX], shared[CGROUP_PATH_MAX];
    struct runs_notice notice;
    uint64_t serial;
    unsigned count;
    struct run runs[RUNS_MAX];
};

static int write_pid(const char *cgroup, int pid)
{
    char path[CGROUP_PATH_MAX + 16];
    CLEAN_FD int fd = -1;

    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || dprintf(fd, "%d", pid) < 0)
        return -errno;
    return 0;
}

/* ---- where to ---- */

static bool is_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 && path[len] == '/';
}

bool runs_parent(const char *capture_cgroup, const char *own, char ret_parent[CGROUP_PATH_MAX])
{
    char path[CGROUP_PATH_MAX], shared[CGROUP_PATH_MAX];
    size_t len = strlen(own), end = sizeof(DELETED) - 1;
    char *leaf;
    bool gone = len > end && strcmp(own + len - end, DELETED) == 0;

    snprintf(shared, sizeof(shared), "%.400s/" RUNS_SHARED, capture_cgroup);
    snprintf(path, sizeof(path), "%s", len < sizeof(path) ? own : "");
    /* A command that runs a command: beside it, not below. */
    while ((leaf = strrchr(path, '/')) && strncmp(leaf + 1, RUNS_PREFIX, strlen(RUNS_PREFIX)) == 0)
        *leaf = '\0';
    if (!gone && is_below(path, capture_cgroup) && strcmp(path, shared) != 0 &&
        !is_below(path, shared)) {
        memcpy(ret_parent, path, strlen(path) + 1);
        return true;
    }
    memcpy(ret_parent, shared, strlen(shared) + 1);
    return false;
}

static int own_cgroup(const struct runs *r, int pid, char ret_path[CGROUP_PATH_MAX])
{
    CLEAN_FILE FILE *f = NULL;
    char path[64], line[PATH_MAX];

    snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
    f = fopen(path, "re");
    if (!f)
        return -errno;
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        if (snprintf(ret_path, CGROUP_PATH_MAX, "%s%s", r->root,
                     strcmp(line + 3, "/") == 0 ? "" : line + 3) >= CGROUP_PATH_MAX)
            return -ENAMETOOLONG;
        return 0;
    }
    return -ENOENT;
}

/* ---- the list ---- */

static void save(const struct runs *r)
{
    char path[PATH_MAX + 8];
    CLEAN_FILE FILE *f = NULL;

    if (r->count == 0) {
        (void)unlink(r->list);
        return;
    }
    snprintf(path, sizeof(path), "%s.new", r->list);
    f = fopen(path, "we");
    if (!f)
        return;
    for (unsigned i = 0; i < r->count; i++)
        fprintf(f, "%llu %s\n", (unsigned long long)r->runs[i].id, r->runs[i].path);
    if (fflush(f) == 0)
        (void)!rename(path, r->list);
}

static unsigned load(const char *list, struct run *runs)
{
    CLEAN_FILE FILE *f = fopen(list, "re");
    char line[CGROUP_PATH_MAX + 32];
    unsigned count = 0;

    while (f && count < RUNS_MAX && fgets(line, sizeof(line), f)) {
        struct run *run = &runs[count];
        unsigned long long listed;
        uint64_t id;
        int at = 0;

        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%llu %n", &listed, &at) != 1 || at == 0 || line[at] != '/' ||
            strlen(line + at) >= sizeof(run->path))
            continue;
        snprintf(run->path, sizeof(run->path), "%s", line + at);
        run->id = listed;
        /* Another by the same name is not ours. */
        if (cgroup_id_of(run->path, &id) == 0 && id == run->id)
            count++;
    }
    return count;
}

static int list_path(const char *run_dir, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/" LIST_NAME, run_dir);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* ---- life ---- */

int runs_new(const char *run_dir, const char *cgroup_root, const char *capture_cgroup,
             const struct runs_notice *notice, struct runs **ret_runs)
{
    CLEAN_FREE struct runs *r = calloc(1, sizeof(*r));
    int n, result;

    if (!r)
        return -ENOMEM;
    r->notice = *notice;
    snprintf(r->root, sizeof(r->root), "%s", cgroup_root);
    snprintf(r->capture, sizeof(r->capture), "%s", capture_cgroup);
    n = snprintf(r->shared, sizeof(r->shared), "%s/" RUNS_SHARED, capture_cgroup);
    result = n < 0 || (size_t)n >= sizeof(r->shared) ? -ENAMETOOLONG : list_path(run_dir, r->list);
    if (result < 0)
        return result;
    if (mkdir(r->shared, 0755) < 0 && errno != EEXIST)
        return -errno;
    r->count = load(r->list, r->runs);
    for (unsigned i = 0; i < r->count; i++)
        r->notice.made(r->notice.user, r->runs[i].id);
    *ret_runs = TAKE_PTR(r);
    return 0;
}

void runs_free(struct runs **runs)
{
    struct runs *r = runs ? TAKE_PTR(*runs) : NULL;

    if (!r)
        return;
    runs_tidy(r);
    (void)rmdir(r->shared);
    free(r);
}

static int move(struct runs *r, const char *path, int pid, bool listed, uint64_t *ret_id)
{
    uint64_t id;
    int result = cgroup_id_of(path, &id);

    /* Listed before it is used: the daemon may die at any time. */
    if (result == 0 && listed) {
        struct run *run = &r->runs[r->count++];

        snprintf(run->path, sizeof(run->path), "%s", path);
        run->id = id;
        save(r);
        r->notice.made(r->notice.user, id);
    }
    if (result == 0)
        result = write_pid(path, pid);
    if (result == 0)
        *ret_id = id;
    return result;
}

int runs_place(struct runs *r, int pid, const char *name, uint64_t *ret_cgroup_id)
{
    char own[CGROUP_PATH_MAX], parent[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX];
    bool below;
    int n, result = own_cgroup(r, pid, own);

    if (result < 0)
        return result;
    below = runs_parent(r->capture, own, parent);
    if (below && r->count == RUNS_MAX)
        return -ENOSPC;
    n = snprintf(path, sizeof(path), "%s/%s%.40s-%d-%llu", parent, below ? RUNS_PREFIX : "", name,
                 pid, (unsigned long long)++r->serial);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -errno;
    result = move(r, path, pid, below, ret_cgroup_id);
    if (result < 0)
        runs_tidy(r);
    return result;
}

static void tidy_shared(const struct runs *r)
{
    DIR *dir = opendir(r->shared);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    if (dir)
        closedir(dir);
}

void runs_tidy(struct runs *r)
{
    unsigned before = r->count;

    tidy_shared(r);
    for (unsigned i = 0; i < r->count;) {
        if (rmdir(r->runs[i].path) < 0 && errno != ENOENT) {
            i++;
            continue;
        }
        r->notice.gone(r->notice.user, r->runs[i].id);
        r->runs[i] = r->runs[--r->count];
    }
    if (r->count != before)
        save(r);
}

void runs_each_pid(struct runs *r, cgroup_pid_fn fn, void *user)
{
    for (unsigned i = 0; i < r->count; i++)
        cgroup_each_pid(r->runs[i].path, PIDS_MAX, fn, user);
}

const char *runs_shared(const struct runs *r)
{
    return r->shared;
}

/* ---- cleanup ---- */

struct mover {
    char to[CGROUP_PATH_MAX];
    int error;
};

static bool move_out(void *user, int pid)
{
    struct mover *m = user;
    int r = write_pid(m->to, pid);

    if (r < 0 && r != -ESRCH)
        m->error = r;
    return true;
}

void runs_clean(const char *run_dir, runs_told_fn told, void *user)
{
    CLEAN_FREE struct run *runs = calloc(RUNS_MAX, sizeof(*runs));
    char list[PATH_MAX];
    unsigned count;
    bool left = false;

    if (!runs || list_path(run_dir, list) < 0)
        return;
    count = load(list, runs);
    for (unsigned i = 0; i < count; i++) {
        struct mover m = {.error = 0};
        char *leaf;

        snprintf(m.to, sizeof(m.to), "%s", runs[i].path);
        leaf = strrchr(m.to, '/');
        if (leaf)
            *leaf = '\0';
        cgroup_each_pid(runs[i].path, UINT32_MAX, move_out, &m);
        if (rmdir(runs[i].path) < 0) {
            told(user, runs[i].path, m.error ? m.error : -errno);
            left = true;
        } else {
            told(user, runs[i].path, 0);
        }
    }
    if (!left)
        (void)unlink(list);
}
