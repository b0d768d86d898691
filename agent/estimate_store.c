/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/estimate_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* -ENOENT, -EBADMSG for a file that is not what was written. */
static int load_file(struct estimator *e, const char *path)
{
    CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    CLEAN_FREE char *text = NULL;
    struct stat st;
    size_t len = 0;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > ESTIMATE_FILE_MAX_BYTES)
        return -EBADMSG;
    text = malloc((size_t)st.st_size + 1);
    if (!text)
        return -ENOMEM;
    while (len < (size_t)st.st_size) {
        ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

        if (n <= 0)
            return n < 0 ? -errno : -EBADMSG;
        len += (size_t)n;
    }
    return estimator_load(e, slice_of(text, len));
}

int estimate_store_open(struct estimate_store *s, const char *state_dir, const char *prior_file)
{
    int r;

    memset(s, 0, sizeof(*s));
    if (snprintf(s->path, sizeof(s->path), "%s/estimates/learned", state_dir) >=
        (int)sizeof(s->path) - 4)
        return -ENAMETOOLONG;
    r = estimator_new(&s->estimator);
    if (r)
        return r;
    r = load_file(s->estimator, s->path);
    if (r && r != -ENOENT)
        s->refused++;
    if (r) {
        r = load_file(s->estimator, prior_file);
        s->refused += r && r != -ENOENT;
    }
    return 0;
}

static int write_whole(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);

        if (n < 0)
            return -errno;
        text += n;
        len -= (size_t)n;
    }
    /* Not synced: the loop must not wait for a disk, and what a crash of the host
     * leaves torn is known by its checksum. */
    return 0;
}

static int save(const struct estimate_store *s)
{
    char beside[sizeof(s->path) + 8];
    CLEAN_FREE char *text = NULL;
    CLEAN_FD int fd = -1;
    size_t len;
    int r = estimator_save(s->estimator, &text, &len);

    if (r)
        return r;
    snprintf(beside, sizeof(beside), "%s.new", s->path);
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = write_whole(fd, text, len);
    if (!r && rename(beside, s->path) < 0)
        r = -errno;
    if (r)
        (void)unlink(beside);
    return r;
}

int estimate_store_save(struct estimate_store *s)
{
    struct estimator_stats stats;
    int r;

    if (!s->estimator)
        return 0;
    estimator_stats(s->estimator, &stats);
    if (stats.learned == s->saved_at)
        return 0;
    r = save(s);
    s->failed += r != 0;
    if (!r)
        s->saved_at = stats.learned;
    return r;
}

void estimate_store_close(struct estimate_store *s)
{
    (void)!estimate_store_save(s);
    estimator_free(&s->estimator);
}
