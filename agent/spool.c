// SPDX-License-Identifier: Apache-2.0
#include "agent/spool.h"

#include "proto/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>

#define ADOPTED_MAX 256
#define LOCK_WAIT_MS 5000

struct spool {
    pthread_mutex_t lock; /* never held over a system call */
    int dir_fd;
    uint64_t limit_bytes, segment_bytes;
    struct folder *own;    /* first of the list that the adopted ones are linked to */
    struct folder *turn;   /* whose record is sent next */
    struct segment *spare; /* made ahead by spool_tend() */
    uint64_t making_bytes; /* segment files being made outside the lock */
    uint64_t next_ordinal;
    uint64_t in_flight;
    uint64_t adopted_folders, torn;
};

static int open_directory(const char *state_dir, int *ret_fd)
{
    CLEAN_FREE char *path = NULL;
    int fd;

    if (asprintf(&path, "%s/spool", state_dir) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

/* Held for a moment by anyone who makes, adopts or removes folders. A holder
 * that was stopped must not stop us for good. */
static int lock_directory(int dir_fd, uint32_t wait_ms)
{
    uint64_t deadline_ns = clock_mono_ns() + wait_ms * NSEC_PER_MSEC;

    while (flock(dir_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (clock_mono_ns() >= deadline_ns)
            return -EAGAIN;
        usleep(2000);
    }
    return 0;
}

static void unlock_directory(int dir_fd)
{
    flock(dir_fd, LOCK_UN);
}

/* Held for a microsecond at most: to wait for it asleep would cost more. */
static void lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

int spool_open(const struct spool_options *options, const char *instance, struct spool **ret_spool)
{
    struct spool *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->dir_fd = -1;
    s->segment_bytes = options->segment_bytes;
    if (s->segment_bytes > options->limit_bytes / 4)
        s->segment_bytes = options->limit_bytes / 4;
    if (s->segment_bytes < SEGMENT_MIN_BYTES)
        s->segment_bytes = SEGMENT_MIN_BYTES;
    s->limit_bytes = options->limit_bytes;
    lock_init(&s->lock);
    r = open_directory(options->state_dir, &s->dir_fd);
    if (r == 0)
        r = lock_directory(s->dir_fd, LOCK_WAIT_MS);
    if (r == 0) {
        r = folder_create(s->dir_fd, instance, &s->own);
        unlock_directory(s->dir_fd);
    }
    if (r < 0) {
        if (s->dir_fd >= 0)
            close(s->dir_fd);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return r;
    }
    s->turn = s->own;
    spool_tend(s); /* the first append finds its segment ready */
    *ret_spool = s;
    return 0;
}

static bool is_loss_told(const struct folder *f)
{
    return f->loss->told_events == f->loss->lost_events;
}

static uint64_t held_bytes(const struct spool *s)
{
    uint64_t bytes = s->making_bytes + (s->spare ? s->spare->map_bytes : 0);

    for (const struct folder *f = s->own; f; f = f->link)
        bytes += f->bytes;
    return bytes;
}

/* Makes a segment within the limit; called with the lock, which it lets go of
 * while the file is made. */
static int make_segment(struct spool *s, struct segment **ret_segment)
{
    uint64_t ordinal = s->next_ordinal;
    int r;

    if (held_bytes(s) + s->segment_bytes > s->limit_bytes)
        return -ENOSPC;
    s->next_ordinal++;
    s->making_bytes += s->segment_bytes;
    pthread_mutex_unlock(&s->lock);
    r = segment_create(s->own->dir_fd, ordinal, s->segment_bytes, ret_segment);
    pthread_mutex_lock(&s->lock);
    s->making_bytes -= s->segment_bytes;
    return r;
}

/* The next segment of the own folder becomes its last. */
static int begin_segment(struct spool *s, uint64_t seq)
{
    struct segment *segment = NULL;
    int r;

    if (!s->spare) {
        r = make_segment(s, &segment);
        if (r < 0)
            return r;
    } else {
        segment = TAKE_PTR(s->spare);
    }
    segment_begin(segment, s->own->instance, seq);
    folder_link_segment(s->own, segment);
    return 0;
}

static int append_locked(struct spool *s, uint64_t seq, const char *subject, struct slice payload,
                         bool use_reserve)
{
    int r = -ENOSPC;

    if (s->own->last && !s->own->last->sealed)
        r = segment_append(s->own->last, seq, subject, payload, false);
    if (r == -ENOSPC) {
        /* sealed even when there is no room for the next one: only so can it go */
        if (s->own->last)
            s->own->last->sealed = true;
        r = begin_segment(s, seq);
        if (r == 0)
            r = segment_append(s->own->last, seq, subject, payload, false);
        else if (use_reserve && s->own->last)
            r = segment_append(s->own->last, seq, subject, payload, true);
    }
    return r;
}

int spool_append(struct spool *s, uint64_t seq, const char *subject, struct slice payload,
                 bool use_reserve)
{
    int r;

    if (payload.len > EVENT_MAX_BYTES)
        return -EMSGSIZE;
    pthread_mutex_lock(&s->lock);
    r = append_locked(s, seq, subject, payload, use_reserve);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static bool take_from(struct folder *f, struct spool_record *ret_record)
{
    for (struct segment *i = f->first; i; i = i->link)
        if (segment_take(i, &ret_record->record)) {
            ret_record->instance = f->instance;
            return true;
        }
    return false;
}

bool spool_take(struct spool *s, uint64_t window, struct spool_record *ret_record)
{
    struct folder *start;
    bool found = false;

    pthread_mutex_lock(&s->lock);
    start = s->turn;
    while (!found && s->in_flight < window) {
        found = take_from(s->turn, ret_record);
        /* folders in turn: a long backlog does not hold up what happens now */
        s->turn = s->turn->link ? s->turn->link : s->own;
        if (s->turn == start)
            break;
    }
    s->in_flight += found;
    pthread_mutex_unlock(&s->lock);
    return found;
}

static struct folder *find_folder(struct spool *s, const char *instance)
{
    struct folder *f = s->own;

    while (f && strcmp(f->instance, instance) != 0)
        f = f->link;
    return f;
}

static struct segment *find_segment(struct spool *s, const char *instance, uint64_t seq)
{
    struct folder *f = find_folder(s, instance);

    return f ? folder_find(f, seq) : NULL;
}

bool spool_ack(struct spool *s, const char *instance, uint64_t seq)
{
    struct segment *segment;
    bool first = false;

    pthread_mutex_lock(&s->lock);
    segment = find_segment(s, instance, seq);
    if (segment) {
        s->in_flight -= segment->in_flight;
        first = segment_ack(segment, seq);
        s->in_flight += segment->in_flight;
    }
    pthread_mutex_unlock(&s->lock);
    return first;
}

void spool_requeue(struct spool *s, const char *instance, uint64_t seq)
{
    struct segment *segment;

    pthread_mutex_lock(&s->lock);
    segment = find_segment(s, instance, seq);
    if (segment && segment_requeue(segment, seq))
        s->in_flight--;
    pthread_mutex_unlock(&s->lock);
}

void spool_requeue_all(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct folder *f = s->own; f; f = f->link)
        for (struct segment *i = f->first; i; i = i->link)
            segment_requeue_all(i);
    s->in_flight = 0;
    pthread_mutex_unlock(&s->lock);
}

/* A sealed segment with nothing left to ack, off its list; NULL when there is none. */
static struct segment *detach_done(struct spool *s, struct folder **ret_folder)
{
    for (struct folder *f = s->own; f; f = f->link)
        for (struct segment *i = f->first; i; i = i->link)
            if (i->sealed && segment_unacked(i) == 0) {
                folder_unlink_segment(f, i);
                folder_note_seq(f, i);
                s->making_bytes += i->map_bytes; /* still on disk for a moment */
                *ret_folder = f;
                return i;
            }
    return NULL;
}

static void remove_done_segments(struct spool *s)
{
    struct segment *segment;
    struct folder *f = NULL;

    pthread_mutex_lock(&s->lock);
    while ((segment = detach_done(s, &f))) {
        uint64_t bytes = segment->map_bytes;

        pthread_mutex_unlock(&s->lock);
        segment_unlink(f->dir_fd, segment->ordinal);
        segment_free(&segment);
        pthread_mutex_lock(&s->lock);
        s->making_bytes -= bytes;
    }
    pthread_mutex_unlock(&s->lock);
}

/* An adopted folder with nothing to send and nothing to tell, off the list. */
static struct folder *detach_empty(struct spool *s)
{
    for (struct folder *before = s->own; before->link; before = before->link) {
        struct folder *f = before->link;

        if (f->first || !is_loss_told(f))
            continue;
        before->link = f->link;
        s->turn = s->own;
        s->adopted_folders--;
        return f;
    }
    return NULL;
}

/* Of a dead process of which more is left than its spool. */
static bool is_asked_for(const struct spool *s, const struct folder *f)
{
    char path[sizeof("../inflight/") + EVENT_UUID_BYTES];

    snprintf(path, sizeof(path), "../inflight/%s", f->instance);
    return faccessat(s->dir_fd, path, F_OK, 0) == 0;
}

static void link_folders(struct spool *s, struct folder *first)
{
    struct folder *link;

    for (struct folder *f = first; f; f = link) {
        link = f->link;
        f->link = s->own->link;
        s->own->link = f;
        s->adopted_folders++;
    }
}

static void remove_empty_folders(struct spool *s)
{
    struct folder *f, *kept = NULL;
    bool any;

    pthread_mutex_lock(&s->lock);
    any = s->own->link != NULL;
    pthread_mutex_unlock(&s->lock);
    if (!any || lock_directory(s->dir_fd, 0) < 0)
        return;
    do {
        pthread_mutex_lock(&s->lock);
        f = detach_empty(s);
        pthread_mutex_unlock(&s->lock);
        if (!f)
            break;
        if (is_asked_for(s, f)) {
            f->link = kept;
            kept = f;
            continue;
        }
        folder_remove(s->dir_fd, &f);
    } while (true);
    pthread_mutex_lock(&s->lock);
    link_folders(s, kept);
    pthread_mutex_unlock(&s->lock);
    unlock_directory(s->dir_fd);
}

static bool wants_spare(const struct spool *s)
{
    const struct segment *last = s->own->last;

    return !s->spare && (!last || last->used_bytes > last->map_bytes / 2);
}

void spool_tend(struct spool *s)
{
    struct segment *made = NULL;

    remove_done_segments(s);
    remove_empty_folders(s);
    pthread_mutex_lock(&s->lock);
    if (wants_spare(s) && make_segment(s, &made) == 0)
        s->spare = made;
    pthread_mutex_unlock(&s->lock);
}

static void adopt_one(struct spool *s, const char *instance)
{
    struct folder *f = NULL;
    bool held;

    pthread_mutex_lock(&s->lock);
    held = find_folder(s, instance) != NULL || s->adopted_folders >= ADOPTED_MAX;
    pthread_mutex_unlock(&s->lock);
    if (held || folder_adopt(s->dir_fd, instance, &f) < 0)
        return;
    pthread_mutex_lock(&s->lock);
    f->link = s->own->link;
    s->own->link = f;
    s->adopted_folders++;
    s->torn += f->torn;
    pthread_mutex_unlock(&s->lock);
}

int spool_adopt(struct spool *s)
{
    const struct dirent *entry;
    DIR *dir;
    int r, fd;

    r = lock_directory(s->dir_fd, 0);
    if (r < 0)
        return r;
    fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        r = -errno;
    while (dir && (entry = readdir(dir)))
        if (event_is_uuid(entry->d_name))
            adopt_one(s, entry->d_name);
    if (dir)
        closedir(dir);
    unlock_directory(s->dir_fd);
    return r;
}

int spool_last_seq(struct spool *s, const char *instance, uint64_t *ret_seq)
{
    return folder_last_seq(s->dir_fd, instance, ret_seq);
}

void spool_note_loss(struct spool *s, uint64_t wall_ns)
{
    struct folder_loss *loss;

    pthread_mutex_lock(&s->lock);
    loss = s->own->loss;
    if (is_loss_told(s->own))
        loss->first_wall_ns = wall_ns;
    loss->last_wall_ns = wall_ns;
    __atomic_store_n(&loss->lost_events, loss->lost_events + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&s->lock);
}

bool spool_find_loss(struct spool *s, const char **ret_instance, struct folder_loss *ret_loss)
{
    struct folder *f;

    pthread_mutex_lock(&s->lock);
    f = s->own;
    while (f && is_loss_told(f))
        f = f->link;
    if (f) {
        *ret_instance = f->instance;
        *ret_loss = *f->loss;
    }
    pthread_mutex_unlock(&s->lock);
    return f != NULL;
}

void spool_loss_told(struct spool *s, const char *instance, const struct folder_loss *loss)
{
    struct folder *f;

    pthread_mutex_lock(&s->lock);
    f = find_folder(s, instance);
    if (f)
        __atomic_store_n(&f->loss->told_events, loss->lost_events, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&s->lock);
}

void spool_count(struct spool *s, struct spool_counts *ret_counts)
{
    struct spool_counts c = {.limit_bytes = s->limit_bytes};

    pthread_mutex_lock(&s->lock);
    c.bytes = held_bytes(s);
    c.adopted_folders = s->adopted_folders;
    c.torn = s->torn;
    c.in_flight = s->in_flight;
    for (const struct folder *f = s->own; f; f = f->link)
        for (const struct segment *i = f->first; i; i = i->link)
            c.queued += i->queued;
    pthread_mutex_unlock(&s->lock);
    *ret_counts = c;
}

/* Nobody else uses the spool any more. */
static void close_folder(struct spool *s, struct folder **folder, bool removable)
{
    struct folder *f = *folder;

    for (struct segment *i = f->first, *link; i; i = link) {
        link = i->link;
        if (segment_unacked(i) > 0)
            continue;
        folder_note_seq(f, i);
        folder_unlink_segment(f, i);
        segment_unlink(f->dir_fd, i->ordinal);
        segment_free(&i);
    }
    if (removable && !f->first && is_loss_told(f) && (f == s->own || !is_asked_for(s, f)))
        folder_remove(s->dir_fd, folder);
    else
        folder_free(folder);
}

void spool_close(struct spool **spool)
{
    struct spool *s = spool ? *spool : NULL;
    struct folder *link;
    bool removable;

    if (!s)
        return;
    if (s->spare) {
        segment_unlink(s->own->dir_fd, s->spare->ordinal);
        segment_free(&s->spare);
    }
    removable = lock_directory(s->dir_fd, LOCK_WAIT_MS) == 0;
    for (struct folder *f = s->own; f; f = link) {
        link = f->link;
        close_folder(s, &f, removable);
    }
    if (removable)
        unlock_directory(s->dir_fd);
    close(s->dir_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
    *spool = NULL;
}
