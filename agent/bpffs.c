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
#define PIN_DIR_PREFIX "lectr-v"

bool bpffs_is_mounted(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

int bpffs_ensure(const char *path)
{
    char mark[BPFFS_PATH_MAX];

    if (bpffs_is_mounted(path))
        return 0;
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
        return -errno;
    snprintf(mark, sizeof(mark), "%s/" MOUNTED_MARK, path);
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
    snprintf(what, sizeof(what), "%s/" MOUNTED_MARK, path);
    if (r < 0 || !unmount || access(what, F_OK) < 0)
        return r;
    if (umount2(path, 0) < 0)
        return -errno;
    if (told)
        told(user, path);
    return 0;
}
