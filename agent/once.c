/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/once.h"

#include "proto/event.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC 0x4c656374724f6e31ULL
#define DONE (1ULL << 63)
#define LOCK_TRIES 10
#define LOCK_WAIT_US 200
#define OPEN_TRIES 4

/* Apart from the hashes, so that a look at all of them touches little memory. */
struct names {
    char id[40], owner[40];
};

struct table {
    uint64_t magic;
    uint64_t next; /* the row that is taken next, counted on and on */
    char pad[48];
    uint64_t seq[ONCE_ROWS]; /* 0: free; with DONE: told; else promised */
    uint64_t hash[ONCE_ROWS];
    struct names names[ONCE_ROWS];
};

struct once {
    struct table *table; /* NULL: no file could be had yet */
    int fd;
    uint64_t *cell; /* of the event that is being told */
    once_last_fn last;
    void *user;
    char instance[EVENT_UUID_BYTES];
    char path[PATH_MAX];
};

/* --- the file and its lock --- */

static void detach(struct once *o)
{
    if (o->table)
        munmap(o->table, sizeof(*o->table));
    o->table = NULL;
    if (o->fd >= 0)
        close(TAKE_FD(o->fd));
}

/* Others hold it for some microseconds; one that was stopped must not stop us. */
static int lock_soon(int fd)
{
    for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (i == LOCK_TRIES)
            return -EAGAIN;
        usleep(LOCK_WAIT_US);
    }
    return 0;
}

static int map_locked(struct once *o)
{
    void *map;
    /* A page without a block could not be written when the disk is full: SIGBUS. */
    int r = -posix_fallocate(o->fd, 0, sizeof(struct table));

    if (r < 0)
        return r;
    map = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    o->table = map;
    return 0;
}

/* Opens, locks and maps. -ESTALE: what was there is of no use and was removed. */
static int attach(struct once *o)
{
    struct stat st;
    int r;

    o->fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (o->fd < 0)
        return -errno;
    r = lock_soon(o->fd);
    if (r == 0 && fstat(o->fd, &st) < 0)
        r = -errno;
    if (r < 0)
        return r;
    if (st.st_nlink == 0)
        return -ESTALE;
    if (st.st_size != 0 && st.st_size != (off_t)sizeof(struct table)) {
        unlink(o->path);
        return -ESTALE;
    }
    r = map_locked(o);
    if (r < 0 && st.st_size == 0)
        unlink(o->path);
    if (r < 0)
        return r;
    if (st.st_size == 0)
        o->table->magic = MAGIC;
    if (o->table->magic == MAGIC)
        return 0;
    unlink(o->path);
    return -ESTALE;
}

/* Somebody may have removed it, or cut it short. */
static bool is_current(const struct once *o)
{
    struct stat st;

    return fstat(o->fd, &st) == 0 && st.st_nlink > 0 && st.st_size == (off_t)sizeof(struct table);
}

static int lock(struct once *o)
{
    int r = -ESTALE;

    if (o->table) {
        r = lock_soon(o->fd);
        if (r < 0 || is_current(o))
            return r;
        r = -ESTALE;
    }
    for (unsigned i = 0; r == -ESTALE && i < OPEN_TRIES; i++) {
        detach(o);
        r = attach(o);
    }
    if (r < 0)
        detach(o);
    return r;
}

static void unlock(struct once *o)
{
    flock(o->fd, LOCK_UN);
}

int once_open(const char *state_dir, const char *instance, once_last_fn last, void *user,
              struct once **ret_once)
{
    CLEAN_FREE struct once *o = calloc(1, sizeof(*o));
    char dir[PATH_MAX];

    if (!o)
        return -ENOMEM;
    if (snprintf(dir, sizeof(dir), "%s/inflight", state_dir) >= (int)sizeof(dir) ||
        snprintf(o->path, sizeof(o->path), "%s/inflight/.once", state_dir) >= (int)sizeof(o->path))
        return -ENAMETOOLONG;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    o->fd = -1;
    o->last = last;
    o->user = user;
    snprintf(o->instance, sizeof(o->instance), "%s", instance);
    *ret_once = TAKE_PTR(o);
    return 0;
}

void once_close(struct once **once)
{
    struct once *o = *once;

    *once = NULL;
    if (!o)
        return;
    detach(o);
    free(o);
}

/* --- its rows; all of it under the lock --- */

/* FNV-1a */
static uint64_t hash_of(const char *id)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (; *id; id++)
        h = (h ^ (uint8_t)*id) * 0x100000001b3ULL;
    return h;
}

static void set_seq(struct table *t, unsigned row, uint64_t seq)
{
    __atomic_store_n(&t->seq[row], seq, __ATOMIC_RELEASE);
    /* A kill finds the stores in this order. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static bool is_promised(const struct table *t, unsigned row)
{
    return t->seq[row] != 0 && !(t->seq[row] & DONE);
}

/* ONCE_ROWS when there is none. */
static unsigned find(const struct table *t, const char *id)
{
    uint64_t hash = hash_of(id);

    for (unsigned i = 0; i < ONCE_ROWS; i++)
        if (t->hash[i] == hash && t->seq[i] != 0 &&
            strncmp(t->names[i].id, id, sizeof(t->names[i].id)) == 0)
            return i;
    return ONCE_ROWS;
}

/* Whoever promised it let go of the lock without saying how it ended, so it is
 * dead; the file may have been damaged since. */
static int decide(struct once *o, unsigned row)
{
    struct table *t = o->table;
    char owner[EVENT_UUID_BYTES];
    uint64_t last_seq = 0;
    int r = 0;

    memcpy(owner, t->names[row].owner, sizeof(owner));
    owner[sizeof(owner) - 1] = '\0';
    if (event_is_uuid(owner) && strcmp(owner, o->instance) != 0)
        r = o->last(o->user, owner, &last_seq);
    if (r < 0)
        return r;
    set_seq(t, row, t->seq[row] <= last_seq ? t->seq[row] | DONE : 0);
    return 0;
}

static uint64_t *take_row(struct once *o, const char *id)
{
    struct table *t = o->table;
    unsigned row = (unsigned)(t->next % ONCE_ROWS);

    set_seq(t, row, 0);
    t->next++;
    t->hash[row] = hash_of(id);
    snprintf(t->names[row].id, sizeof(t->names[row].id), "%s", id);
    snprintf(t->names[row].owner, sizeof(t->names[row].owner), "%s", o->instance);
    return &t->seq[row];
}

int once_begin(struct once *o, const char *id, uint64_t **ret_cell)
{
    unsigned row;
    int r = lock(o);

    if (r < 0)
        return r;
    row = find(o->table, id);
    if (row < ONCE_ROWS && is_promised(o->table, row))
        r = decide(o, row);
    if (r == 0 && row < ONCE_ROWS && o->table->seq[row] != 0)
        r = ONCE_TOLD;
    if (r != 0) {
        unlock(o);
        return r;
    }
    o->cell = take_row(o, id);
    *ret_cell = o->cell;
    return 0;
}

void once_end(struct once *o, bool told)
{
    __atomic_store_n(o->cell, told ? *o->cell | DONE : 0, __ATOMIC_RELEASE);
    if (!told)
        o->table->next--;
    o->cell = NULL;
    unlock(o);
}

int once_settle(struct once *o, const char *instance)
{
    int r = lock(o);

    if (r < 0)
        return r;
    for (unsigned i = 0; i < ONCE_ROWS && r == 0; i++)
        if (is_promised(o->table, i) &&
            strncmp(o->table->names[i].owner, instance, sizeof(o->table->names[i].owner)) == 0)
            r = decide(o, i);
    unlock(o);
    return r;
}
