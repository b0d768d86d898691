/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define ROOT_INODE 1
#define KERNFS_HANDLE 0xfe /* FILEID_KERNFS: a handle that is the id alone */
#define DEPTH_MAX 16

int cgroup_find_root(char *ret_path, size_t size)
{
    CLEAN_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
    CLEAN_FREE char *line = NULL;
    size_t room = 0;
    int result = -ENOENT;

    if (!f)
        return -errno;
    while (getline(&line, &room, f) > 0) {
        const char *type = strstr(line, " - ");
        char path[CGROUP_PATH_MAX];
        struct stat st;

        if (!type || strncmp(type, " - cgroup2 ", 11) != 0 ||
            sscanf(line, "%*s %*s %*s %*s %511s", path) != 1 || stat(path, &st) < 0)
            continue;
        if (st.st_ino != ROOT_INODE) {
            result = -EXDEV;
            continue;
        }
        if (strlen(path) >= size)
            return -ENAMETOOLONG;
        memcpy(ret_path, path, strlen(path) + 1);
        return 0;
    }
    return result;
}

int cgroup_resolve(const char *root, const char *configured, char *ret_path, size_t size)
{
    char path[CGROUP_PATH_MAX];
    size_t root_len = strlen(root);
    int n;

    /* "/lab" means below the root as well, unless it is a path into the tree. */
    if (strncmp(configured, root, root_len) == 0 &&
        (configured[root_len] == '/' || configured[root_len] == '\0'))
        configured += root_len;
    while (*configured == '/')
        configured++;
    n = snprintf(path, sizeof(path), "%s%s%s", root, *configured ? "/" : "", configured);
    if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= size)
        return -ENAMETOOLONG;
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    memcpy(ret_path, path, (size_t)n + 1);
    return 0;
}

int cgroup_id_of(const char *path, uint64_t *ret_id)
{
    struct statfs fs;
    struct stat st;

    if (stat(path, &st) < 0 || statfs(path, &fs) < 0)
        return -errno;
    if (fs.f_type != CGROUP2_SUPER_MAGIC)
        return -EINVAL;
    *ret_id = st.st_ino;
    return 0;
}

int cgroup_path_of(const char *root, uint64_t id, char *ret_path, size_t size)
{
    union {
        struct file_handle handle;
        char space[sizeof(struct file_handle) + sizeof(uint64_t)];
    } h = {.handle = {.handle_bytes = sizeof(id), .handle_type = KERNFS_HANDLE}};
    CLEAN_FD int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEAN_FD int fd = -1;
    char link[64], path[CGROUP_PATH_MAX];
    size_t root_len = strlen(root);
    ssize_t n;

    if (root_fd < 0)
        return -errno;
    memcpy(h.handle.f_handle, &id, sizeof(id));
    fd = open_by_handle_at(root_fd, &h.handle, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    if (strncmp(path, root, root_len) != 0 || strstr(path, " (deleted)"))
        return -ESTALE;
    n -= (ssize_t)root_len;
    if (n == 0)
        return size < 2 ? -ENAMETOOLONG : (memcpy(ret_path, "/", 2), 0);
    if ((size_t)n >= size)
        return -ENAMETOOLONG;
    memcpy(ret_path, path + root_len, (size_t)n + 1);
    return 0;
}

struct walk {
    unsigned left;
    cgroup_pid_fn fn;
    void *user;
};

static bool walk_procs(struct walk *w, int dir_fd)
{
    CLEAN_FILE FILE *f = NULL;
    int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC), pid;

    if (fd < 0)
        return true;
    f = fdopen(fd, "r");
    if (!f) {
        close(fd);
        return true;
    }
    while (fscanf(f, "%d", &pid) == 1)
        if (w->left-- == 0 || !w->fn(w->user, pid))
            return false;
    return true;
}

static bool walk_dir(struct walk *w, int dir_fd, int depth)
{
    DIR *dir;
    struct dirent *entry;
    bool on = walk_procs(w, dir_fd);

    dir = fdopendir(dir_fd);
    if (!dir) {
        close(dir_fd);
        return on;
    }
    while (on && depth < DEPTH_MAX && (entry = readdir(dir))) {
        int fd;

        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            on = walk_dir(w, fd, depth + 1);
    }
    closedir(dir);
    return on;
}

void cgroup_each_pid(const char *path, unsigned max, cgroup_pid_fn fn, void *user)
{
    struct walk w = {.left = max, .fn = fn, .user = user};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0)
        walk_dir(&w, fd, 0);
}
