/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 16

static int lock_path(const char *run_dir, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/daemon.lock", run_dir);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static pid_t read_pid(int fd)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return (pid_t)strtol(text, NULL, 10);
}

/* Somebody may have removed the file between our opening and locking it. */
static bool is_current(int fd, const char *path)
{
    struct stat ours, there;

    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

int lock_take(const char *run_dir, int *ret_fd, pid_t *ret_holder)
{
    char path[PATH_MAX];
    int r = lock_path(run_dir, path);

    for (int i = 0; r == 0 && i < TRIES; i++) {
        CLEAN_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            r = -errno;
            *ret_holder = read_pid(fd);
            return r;
        }
        if (!is_current(fd, path))
            continue;
        if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
            return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
    }
    return r < 0 ? r : -EBUSY;
}

int lock_remove(const char *run_dir)
{
    char path[PATH_MAX];
    int r = lock_path(run_dir, path);

    if (r == 0 && unlink(path) < 0)
        r = -errno;
    return r;
}
