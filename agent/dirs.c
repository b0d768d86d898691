/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dirs.h"

#include "agent/config.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

/* Parents are made as needed, for everybody to pass through. */
static int make_path(const char *dir, mode_t mode)
{
    char path[PATH_MAX];

    if (strlen(dir) >= sizeof(path))
        return -ENAMETOOLONG;
    snprintf(path, sizeof(path), "%s", dir);
    for (char *c = path + 1; *c; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        *c = '/';
    }
    return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

int dirs_make(const struct config *config)
{
    const struct passwd *user;
    int r = make_path(config->run_dir, 0755);

    if (r == 0)
        r = make_path(config->state_dir, 0700);
    if (r < 0)
        return r;
    user = getpwnam(config->user);
    if (!user)
        return -EINVAL;
    if (chown(config->state_dir, user->pw_uid, user->pw_gid) < 0)
        return -errno;
    return 0;
}
