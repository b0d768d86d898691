// SPDX-License-Identifier: Apache-2.0
#include "agent/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LOCK_NAME "lock"
#define LOSS_NAME "loss"

static int map_loss(int dir_fd, struct folder_loss **ret_loss)
{
    CLEAN_FD int fd = openat(dir_fd, LOSS_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *map;
    int r;

    if (fd < 0)
        return -errno;
    r = -posix_fallocate(fd, 0, sizeof(struct folder_loss));
    if (r < 0)
        return r;
    map = mmap(NULL, sizeof(struct folder_loss), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *ret_loss = map;
    return 0;
}

/* Locks an existing directory and maps its loss record. */
static int open_folder(int spool_fd, const char *instance, struct folder **ret_folder)
{
    struct folder *f = calloc(1, sizeof(*f));
    int r = 0;

    if (!f)
        return -ENOMEM;
    f->lock_fd = -1;
    snprintf(f->instance, sizeof(f->instance), "%s", instance);
    f->dir_fd = openat(spool_fd, instance, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (f->dir_fd >= 0)
        f->lock_fd = openat(f->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->lock_fd < 0)
        r = -errno;
    else if (flock(f->lock_fd, LOCK_EX | LOCK_NB) < 0)
        r = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (r == 0)
        r = map_loss(f->dir_fd, &f->loss);
    if (r < 0) {
        folder_free(&f);
        return r;
    }
    *ret_folder = f;
    return 0;
}

static void remove_half_made(int spool_fd, const char *instance)
{
    CLEAN_FD int dir_fd =
        openat(spool_fd, instance, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dir_fd >= 0) {
        unlinkat(dir_fd, LOSS_NAME, 0);
        unlinkat(dir_fd, LOCK_NAME, 0);
    }
    unlinkat(spool_fd, instance, AT_REMOVEDIR);
}

int folder_create(int spool_fd, const char *instance, struct folder **ret_folder)
{
    int r;

    if (mkdirat(spool_fd, instance, 0700) < 0)
        return -errno;
    r = open_folder(spool_fd, instance, ret_folder);
    if (r < 0)
        remove_half_made(spool_fd, instance);
    return r;
}

static int compare_ordinals(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Sorted ordinals of the segment files; the caller frees. */
static int list_segments(int dir_fd, uint64_t **ret_ordinals, size_t *ret_count)
{
    CLEAN_FREE uint64_t *ordinals = NULL;
    size_t count = 0, capacity = 0;
    const struct dirent *entry;
    uint64_t ordinal;
    /* not dup(): the copy would share the read position */
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        return -errno;
    while ((entry = readdir(dir))) {
        uint64_t *grown;

        if (!segment_parse_name(entry->d_name, &ordinal))
            continue;
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            grown = reallocarray(ordinals, capacity, sizeof(*ordinals));
            if (!grown) {
                closedir(dir);
                return -ENOMEM;
            }
            ordinals = grown;
        }
        ordinals[count++] = ordinal;
    }
    closedir(dir);
    if (count > 0)
        qsort(ordinals, count, sizeof(*ordinals), compare_ordinals);
    *ret_ordinals = TAKE_PTR(ordinals);
    *ret_count = count;
    return 0;
}

static int read_segments(struct folder *f)
{
    CLEAN_FREE uint64_t *ordinals = NULL;
    size_t count = 0;
    int r = list_segments(f->dir_fd, &ordinals, &count);

    for (size_t i = 0; r == 0 && i < count; i++) {
        struct segment *s = NULL;
        bool torn = false;

        r = segment_open(f->dir_fd, ordinals[i], f->instance, &s, &torn);
        f->torn += torn || r == -EBADMSG;
        if (r == 0)
            folder_note_seq(f, s);
        if (r == 0 && segment_unacked(s) > 0) {
            folder_link_segment(f, s);
            continue;
        }
        segment_free(&s);
        if (r == 0 || r == -ENODATA || r == -EBADMSG) {
            segment_unlink(f->dir_fd, ordinals[i]);
            r = 0;
        }
    }
    return r;
}

int folder_adopt(int spool_fd, const char *instance, struct folder **ret_folder)
{
    struct folder *f = NULL;
    int r = open_folder(spool_fd, instance, &f);

    if (r < 0)
        return r;
    r = read_segments(f);
    if (r < 0) {
        folder_free(&f);
        return r;
    }
    __atomic_store_n(&f->loss->adopted, 1, __ATOMIC_RELEASE);
    *ret_folder = f;
    return 0;
}

void folder_free(struct folder **folder)
{
    struct folder *f = folder ? *folder : NULL;
    struct segment *s;

    if (!f)
        return;
    while ((s = f->first)) {
        folder_unlink_segment(f, s);
        segment_free(&s);
    }
    if (f->loss)
        munmap(f->loss, sizeof(*f->loss));
    if (f->lock_fd >= 0)
        close(f->lock_fd);
    if (f->dir_fd >= 0)
        close(f->dir_fd);
    free(f);
    *folder = NULL;
}

void folder_remove(int spool_fd, struct folder **folder)
{
    struct folder *f = *folder;

    /* the lock last: whoever meets the rest takes it for an orphan */
    unlinkat(f->dir_fd, LOSS_NAME, 0);
    unlinkat(f->dir_fd, LOCK_NAME, 0);
    unlinkat(spool_fd, f->instance, AT_REMOVEDIR);
    folder_free(folder);
}

void folder_link_segment(struct folder *f, struct segment *s)
{
    s->link = NULL;
    if (f->last)
        f->last->link = s;
    else
        f->first = s;
    f->last = s;
    f->bytes += s->map_bytes;
}

void folder_unlink_segment(struct folder *f, struct segment *s)
{
    struct segment *before = NULL;

    for (struct segment *i = f->first; i != s; i = i->link)
        before = i;
    if (before)
        before->link = s->link;
    else
        f->first = s->link;
    if (f->last == s)
        f->last = before;
    f->bytes -= s->map_bytes;
}

void folder_note_seq(struct folder *f, const struct segment *s)
{
    uint64_t last = s->count > 0 ? s->first_seq + s->count - 1 : 0;

    if (last > f->loss->last_seq)
        __atomic_store_n(&f->loss->last_seq, last, __ATOMIC_RELEASE);
}

int folder_last_seq(int spool_fd, const char *instance, uint64_t *ret_seq)
{
    struct folder_loss loss = {0};
    char path[EVENT_UUID_BYTES + sizeof("/" LOSS_NAME)];
    CLEAN_FD int fd = -1;

    snprintf(path, sizeof(path), "%.36s/" LOSS_NAME, instance);
    fd = openat(spool_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT)
        return -errno;
    if (fd >= 0) {
        if (read(fd, &loss, sizeof(loss)) != (ssize_t)sizeof(loss) || !loss.adopted)
            return -EAGAIN;
    }
    *ret_seq = loss.last_seq;
    return 0;
}

struct segment *folder_find(const struct folder *f, uint64_t seq)
{
    for (struct segment *s = f->first; s; s = s->link)
        if (segment_holds(s, seq))
            return s;
    return NULL;
}
