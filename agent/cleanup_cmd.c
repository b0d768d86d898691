/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cleanup_cmd.h"

#include "agent/bpffs.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/lock.h"
#include "agent/runs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

struct report {
    unsigned removed, failed;
};

static void told(void *user, const char *what)
{
    struct report *report = user;

    report->removed++;
    printf("removed %s\n", what);
}

static void failed(struct report *report, const char *what, int error)
{
    report->failed++;
    fprintf(stderr, "lectr-agent cleanup: %s: %s\n", what, strerror(-error));
}

static void told_run(void *user, const char *path, int error)
{
    if (error < 0)
        failed(user, path, error);
    else
        told(user, path);
}

/* Commands that still run go back to where the daemon was attached. */
struct mover {
    const char *to;
    struct report *report;
};

static bool move_out(void *user, int pid)
{
    const struct mover *m = user;
    char path[CGROUP_PATH_MAX + 16];
    CLEAN_FD int fd = -1;

    snprintf(path, sizeof(path), "%s/cgroup.procs", m->to);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || dprintf(fd, "%d", pid) < 0)
        failed(m->report, path, -errno);
    return true;
}

static void remove_cgroups(const struct config *config, struct report *report)
{
    char root[CGROUP_PATH_MAX], cgroup[CGROUP_PATH_MAX], run[CGROUP_PATH_MAX + 16];
    struct mover mover = {.to = cgroup, .report = report};
    struct dirent *entry;
    DIR *dir;

    if (cgroup_find_root(root, sizeof(root)) < 0 ||
        cgroup_resolve(root, config->capture.cgroup, cgroup, sizeof(cgroup)) < 0)
        return;
    snprintf(run, sizeof(run), "%s/" RUNS_SHARED, cgroup);
    dir = opendir(run);
    if (!dir)
        return;
    cgroup_each_pid(run, UINT32_MAX, move_out, &mover);
    while ((entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0)
            told(report, entry->d_name);
        else
            failed(report, entry->d_name, -errno);
    }
    closedir(dir);
    if (rmdir(run) == 0)
        told(report, run);
    else
        failed(report, run, -errno);
}

static void remove_run_dir(const struct config *config, struct report *report)
{
    char path[CGROUP_PATH_MAX];

    snprintf(path, sizeof(path), "%s/control.sock", config->run_dir);
    if (unlink(path) == 0)
        told(report, path);
    else if (errno != ENOENT)
        failed(report, path, -errno);
    /* Nobody wants to know of the lock: the path was not locked before us. */
    (void)!lock_remove(config->run_dir);
    if (rmdir(config->run_dir) == 0)
        told(report, config->run_dir);
}

int cleanup_main(const struct config *config)
{
    struct report report = {0};
    pid_t holder = 0;
    int lock = -1, r;

    if (geteuid() != 0) {
        fprintf(stderr, "lectr-agent cleanup: needs root: sudo lectr-agent cleanup\n");
        return 1;
    }
    r = lock_take(config->run_dir, &lock, &holder);
    if (r == -EWOULDBLOCK) {
        fprintf(stderr,
                "lectr-agent cleanup: the daemon is there, process %d (a stopped one counts); "
                "end it first: systemctl stop lectr-agent\n",
                (int)holder);
        return 1;
    }
    if (r < 0 && r != -ENOENT)
        failed(&report, config->run_dir, r);
    r = bpffs_clean(config->capture.bpffs, true, told, &report);
    if (r < 0)
        failed(&report, config->capture.bpffs, r);
    runs_clean(config->run_dir, told_run, &report);
    remove_cgroups(config, &report);
    remove_run_dir(config, &report);
    if (lock >= 0)
        close(lock);
    if (report.removed == 0 && report.failed == 0)
        printf("nothing to remove\n");
    return report.failed > 0 ? 1 : 0;
}
