/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inflight.h"

#include "proto/event.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC 0x4c65637472496632ULL
#define NAME_MAX_BYTES 64
#define RESERVE_SLOTS 256 /* room is made for so many at a time */
#define SEQ_MASK ((1ULL << INFLIGHT_CALLS_SHIFT) - 1)

struct table {
    uint64_t magic;
    uint32_t slot_bytes, slots;
    uint64_t alive_wall_ns;
    uint32_t reserved; /* slots that the file has blocks for */
    char pad[36];
    uint64_t told_seq[INFLIGHT_TALLIES_MAX];
    struct inflight_slot slot[INFLIGHT_SLOTS];
};

struct inflight {
    struct table *table;
    int fd; /* -1: the table is not in a file */
    uint64_t untracked;
    uint32_t used_end; /* no slot at or behind it was ever taken */
    uint32_t free_count;
    bool dirty; /* some slot is decided, not noted */
    char path[PATH_MAX];
    uint32_t free[INFLIGHT_SLOTS];
};

static int make_dir(const char *state_dir, char ret_path[PATH_MAX])
{
    if (snprintf(ret_path, PATH_MAX, "%s/inflight", state_dir) >= PATH_MAX - NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    return mkdir(ret_path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* A page without a block could not be written when the disk is full: SIGBUS. */
static int reserve(int fd, uint32_t slots)
{
    return -posix_fallocate(fd, 0, (off_t)offsetof(struct table, slot[slots]));
}

/* Another process may just be looking whether the file is an orphan. */
static int create_locked(const char *path, int *ret_fd)
{
    CLEAN_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = 0;

    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX) < 0 || ftruncate(fd, sizeof(struct table)) < 0)
        r = -errno;
    if (r == 0)
        r = reserve(fd, RESERVE_SLOTS);
    if (r < 0) {
        unlink(path);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int map_table(struct inflight *i)
{
    int flags = i->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *map = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, flags, i->fd, 0);

    if (map == MAP_FAILED)
        return -errno;
    i->table = map;
    i->table->reserved = i->fd < 0 ? INFLIGHT_SLOTS : RESERVE_SLOTS;
    return 0;
}

int inflight_open(const char *state_dir, const char *instance, struct inflight **ret_inflight)
{
    struct inflight *i = calloc(1, sizeof(*i));
    char dir[PATH_MAX];
    int r;

    if (!i)
        return -ENOMEM;
    i->fd = -1;
    r = make_dir(state_dir, dir);
    if (r == 0 && snprintf(i->path, sizeof(i->path), "%s/%.60s", dir, instance) >= PATH_MAX)
        r = -ENAMETOOLONG;
    if (r == 0)
        r = create_locked(i->path, &i->fd);
    if (r == 0 || r == -ENOSPC || r == -EDQUOT)
        r = map_table(i);
    if (r < 0) {
        if (i->fd >= 0) {
            unlink(i->path);
            close(i->fd);
        }
        free(i);
        return r;
    }
    i->table->slot_bytes = sizeof(struct inflight_slot);
    i->table->slots = INFLIGHT_SLOTS;
    __atomic_store_n(&i->table->magic, MAGIC, __ATOMIC_RELEASE);
    *ret_inflight = i;
    return 0;
}

void inflight_close(struct inflight **inflight)
{
    struct inflight *i = *inflight;
    bool empty = true;

    *inflight = NULL;
    if (!i)
        return;
    for (uint32_t k = 0; k < i->used_end && empty; k++)
        empty = i->table->slot[k].state == INFLIGHT_FREE;
    munmap(i->table, sizeof(*i->table));
    if (i->fd >= 0) {
        if (empty)
            unlink(i->path);
        close(i->fd);
    }
    free(i);
}

static bool has_room(struct inflight *i)
{
    struct table *t = i->table;

    if (i->used_end < t->reserved)
        return true;
    if (t->reserved == INFLIGHT_SLOTS || reserve(i->fd, t->reserved + RESERVE_SLOTS) < 0)
        return false;
    __atomic_store_n(&t->reserved, t->reserved + RESERVE_SLOTS, __ATOMIC_RELEASE);
    return true;
}

struct inflight_slot *inflight_take(struct inflight *i)
{
    struct inflight_slot *slot;

    if (i->free_count > 0)
        slot = &i->table->slot[i->free[--i->free_count]];
    else if (has_room(i))
        slot = &i->table->slot[i->used_end++];
    else {
        i->untracked++;
        return NULL;
    }
    memset(slot, 0, sizeof(*slot));
    __atomic_store_n(&slot->state, INFLIGHT_OPEN, __ATOMIC_RELEASE);
    return slot;
}

static void release(struct inflight *i, struct inflight_slot *slot)
{
    __atomic_store_n(&slot->state, INFLIGHT_FREE, __ATOMIC_RELEASE);
    i->free[i->free_count++] = (uint32_t)(slot - i->table->slot);
}

void inflight_end(struct inflight *i, struct inflight_slot *slot)
{
    if (slot->noted && inflight_calls(slot) == 0) {
        release(i, slot);
        return;
    }
    slot->state = INFLIGHT_ENDED;
    i->dirty = true;
}

void inflight_note(struct inflight *i)
{
    for (uint32_t k = 0; k < i->used_end; k++) {
        struct inflight_slot *slot = &i->table->slot[k];

        if (slot->state == INFLIGHT_FREE)
            continue;
        if (slot->decided)
            slot->noted = 1;
        if (slot->state == INFLIGHT_ENDED && slot->noted)
            release(i, slot);
    }
    /* Only now: until here either of the two says it. */
    memset(i->table->told_seq, 0, sizeof(i->table->told_seq));
    i->dirty = false;
}

uint64_t *inflight_tally(struct inflight *i, uint32_t tally)
{
    return &i->table->told_seq[tally - 1];
}

bool inflight_is_kept(const struct inflight *i)
{
    return i->fd >= 0;
}

uint64_t inflight_untracked(const struct inflight *i)
{
    return i->untracked;
}

void inflight_beat(struct inflight *i, uint64_t wall_ns)
{
    i->table->alive_wall_ns = wall_ns;
}

/* --- what the dead left --- */

static struct inflight_loss *find_loss(struct inflight_loss *losses, size_t count,
                                       const struct inflight_slot *slot)
{
    for (size_t k = 0; k < count; k++) {
        if (losses[k].caller.cgroup_id == slot->caller.cgroup_id &&
            strncmp(losses[k].provider, slot->provider, sizeof(slot->provider)) == 0 &&
            strncmp(losses[k].caller.org, slot->caller.org, sizeof(slot->caller.org)) == 0)
            return &losses[k];
    }
    return NULL;
}

/* The file may have been damaged after its process died. */
static void end_strings(struct caller *who)
{
    const struct {
        char *text;
        size_t size;
    } fields[] = {
        {who->process, sizeof(who->process)},
        {who->cgroup, sizeof(who->cgroup)},
        {who->owner, sizeof(who->owner)},
        {who->namespace_name, sizeof(who->namespace_name)},
        {who->pod, sizeof(who->pod)},
        {who->container, sizeof(who->container)},
        {who->feature_env, sizeof(who->feature_env)},
        {who->feature_pod, sizeof(who->feature_pod)},
        {who->org, sizeof(who->org)},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        fields[i].text[fields[i].size - 1] = '\0';
}

static bool was_told(const struct table *t, const struct inflight_slot *slot, uint64_t last_seq)
{
    uint64_t seq;

    if (slot->noted)
        return true;
    if (slot->decided == 0 || slot->decided > INFLIGHT_TALLIES_MAX)
        return false;
    seq = t->told_seq[slot->decided - 1];
    return seq != 0 && seq <= last_seq;
}

static uint32_t calls_lost(const struct inflight_slot *slot, uint64_t last_seq)
{
    uint64_t seq = slot->calls & SEQ_MASK;
    uint32_t open = inflight_calls(slot);

    return open > 0 && seq != 0 && seq <= last_seq ? open - 1 : open;
}

static uint32_t slots_of(const struct table *t)
{
    return t->reserved < INFLIGHT_SLOTS ? t->reserved : INFLIGHT_SLOTS;
}

/* A number was promised and nothing came after it. */
static bool has_promise(const struct table *t)
{
    for (uint32_t k = 0; k < INFLIGHT_TALLIES_MAX; k++) {
        if (t->told_seq[k] != 0)
            return true;
    }
    for (uint32_t k = 0; k < slots_of(t); k++) {
        if (t->slot[k].state != INFLIGHT_FREE && (t->slot[k].calls & SEQ_MASK) != 0)
            return true;
    }
    return false;
}

static size_t add_up(const struct table *t, const char *instance, uint64_t last_seq,
                     struct inflight_loss *losses)
{
    size_t count = 0;

    for (uint32_t k = 0; k < slots_of(t); k++) {
        const struct inflight_slot *slot = &t->slot[k];
        bool told = was_told(t, slot, last_seq);
        struct inflight_loss *loss;
        char name[128];

        if (slot->state == INFLIGHT_FREE || (told && calls_lost(slot, last_seq) == 0))
            continue;
        loss = find_loss(losses, count, slot);
        if (!loss) {
            loss = &losses[count];
            *loss = (struct inflight_loss){
                .caller = slot->caller,
                .start_wall_ns = t->alive_wall_ns ? t->alive_wall_ns : slot->start_wall_ns,
            };
            end_strings(&loss->caller);
            memcpy(loss->provider, slot->provider, sizeof(loss->provider));
            loss->provider[sizeof(loss->provider) - 1] = '\0';
            snprintf(name, sizeof(name), "inflight/%.60s/%zu", instance, count);
            event_uuid_named(slice_str(name), loss->id);
            count++;
        }
        loss->connections += told ? 0 : 1;
        loss->calls += calls_lost(slot, last_seq);
    }
    return count;
}

static int tell_table(const struct table *t, const char *instance, const struct inflight_adopter *a)
{
    CLEAN_FREE struct inflight_loss *losses = calloc(INFLIGHT_SLOTS, sizeof(*losses));
    uint64_t last_seq = 0;
    size_t count;
    int r = 0;

    if (!losses)
        return -ENOMEM;
    if (has_promise(t))
        r = a->last(a->user, instance, &last_seq);
    if (r < 0)
        return r;
    count = add_up(t, instance, last_seq, losses);
    for (size_t k = 0; k < count && r >= 0; k++)
        r = a->loss(a->user, &losses[k]);
    return r;
}

static int tell_losses(int fd, const char *instance, const struct inflight_adopter *a)
{
    const struct table *t;
    struct stat st;
    int r = 0;

    /* Cut short, or of another layout: nothing can be said of it. */
    if (fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(*t))
        return 0;
    t = mmap(NULL, sizeof(*t), PROT_READ, MAP_SHARED, fd, 0);
    if (t == MAP_FAILED)
        return -errno;
    if (t->magic == MAGIC && t->slot_bytes == sizeof(struct inflight_slot) &&
        t->slots == INFLIGHT_SLOTS)
        r = tell_table(t, instance, a);
    munmap((void *)(uintptr_t)t, sizeof(*t));
    return r < 0 ? r : 0;
}

static int adopt_one(int dir_fd, const char *name, const struct inflight_adopter *a)
{
    CLEAN_FD int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    int r;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return 0; /* alive */
    /* Somebody else may have told it and removed it in between; and a file
     * without a length belongs to a process that is just making it. */
    if (fstat(fd, &st) < 0 || st.st_nlink == 0 || st.st_size == 0)
        return 0;
    r = a->settle(a->user, name);
    if (r == 0)
        r = tell_losses(fd, name, a);
    if (r < 0)
        return r;
    return unlinkat(dir_fd, name, 0) < 0 ? -errno : 1;
}

int inflight_adopt(const char *state_dir, const struct inflight_adopter *a)
{
    char path[PATH_MAX];
    int r = make_dir(state_dir, path), adopted = 0;
    struct dirent *entry;
    DIR *dir;

    if (r < 0)
        return r;
    dir = opendir(path);
    if (!dir)
        return -errno;
    r = 0;
    while ((entry = readdir(dir)) != NULL) {
        int one;

        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= NAME_MAX_BYTES)
            continue;
        one = adopt_one(dirfd(dir), entry->d_name, a);
        if (one < 0 && one != -EAGAIN)
            r = one;
        else if (one > 0)
            adopted += one;
    }
    closedir(dir);
    return r < 0 ? r : adopted;
}
