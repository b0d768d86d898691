/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/bpffs.h"

#include "bpf/abi.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define MOUNTED_MARK "lectr_mounted"
#define MADE_MARK "lectr_made" /* the mount point as well */
#define PIN_DIR_PREFIX "lectr-v"

bool bpffs_is_mounted(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

int bpffs_ensure(const char *path)
{
    char mark[BPFFS_PATH_MAX];
    bool made;

    if (bpffs_is_mounted(path))
        return 0;
    made = mkdir(path, 0755) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
        return -errno;
    snprintf(mark, sizeof(mark), "%s/%s", path, made ? MADE_MARK : MOUNTED_MARK);
    return mkdir(mark, 0700) < 0 ? -errno : 0;
}

int bpffs_pin_dir(const char *path, char *ret_dir, size_t size)
{
    char dir[BPFFS_PATH_MAX];
    int n = snprintf(dir, sizeof(dir), "%s/" PIN_DIR_PREFIX "%d", path, LECTR_ABI_VERSION);

    if (n < 0 || (size_t)n >= sizeof(dir) || (size_t)n >= size)
        return -ENAMETOOLONG;
    memcpy(ret_dir, dir, (size_t)n + 1);
    return 0;
}

static int clean_dir(const char *path, bpffs_told_fn told, void *user)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int r = 0;

    if (!dir)
        return -errno;
    while ((entry = readdir(dir))) {
        char what[2 * BPFFS_PATH_MAX + 257];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(what, sizeof(what), "%s/%s", path, entry->d_name);
        if (unlink(what) < 0)
            r = -errno;
        else if (told)
            told(user, what);
    }
    closedir(dir);
    if (r == 0 && rmdir(path) < 0)
        r = -errno;
    else if (r == 0 && told)
        told(user, path);
    return r;
}

static bool has_mark(const char *path, const char *name)
{
    char mark[BPFFS_PATH_MAX];

    snprintf(mark, sizeof(mark), "%s/%s", path, name);
    return access(mark, F_OK) == 0;
}

static int unmount_own(const char *path, bpffs_told_fn told, void *user)
{
    bool made = has_mark(path, MADE_MARK);

    if (!made && !has_mark(path, MOUNTED_MARK))
        return 0;
    if (umount2(path, 0) < 0 || (made && rmdir(path) < 0))
        return -errno;
    if (told)
        told(user, path);
    return 0;
}

int bpffs_clean(const char *path, bool unmount, bpffs_told_fn told, void *user)
{
    char what[BPFFS_PATH_MAX + 257];
    DIR *dir;
    struct dirent *entry;
    int r = 0;

    if (!bpffs_is_mounted(path))
        return 0;
    dir = opendir(path);
    if (!dir)
        return -errno;
    while ((entry = readdir(dir))) {
        int here;

        if (strncmp(entry->d_name, PIN_DIR_PREFIX, strlen(PIN_DIR_PREFIX)) != 0)
            continue;
        snprintf(what, sizeof(what), "%s/%s", path, entry->d_name);
        here = clean_dir(what, told, user);
        if (here < 0)
            r = here;
    }
    closedir(dir);
    return r < 0 || !unmount ? r : unmount_own(path, told, user);
}
