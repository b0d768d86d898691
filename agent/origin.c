/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/origin.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

/* linux/bpf.h has these as the ABI of the ring; repeated, because the proxy
 * needs nothing else of it. */
#define RING_BUSY (1U << 31)
#define RING_DISCARD (1U << 30)
#define RING_HEADER 8

#define BUCKETS (ORIGIN_TABLE_MAX * 2)
#define NONE UINT32_MAX

struct entry {
    struct lectr_origin record;
    uint32_t next; /* in its bucket */
    bool used;
};

struct origin {
    uint64_t *consumer_pos;       /* page we write */
    const uint64_t *producer_pos; /* page the kernel writes */
    const uint8_t *data;          /* mapped twice in a row */
    uint64_t *taken;              /* NULL: not counted */
    uint32_t ring_bytes;
    size_t page;
    uint32_t next_slot; /* slots are taken in turn: the oldest goes first */
    uint32_t buckets[BUCKETS];
    struct origin_stats stats;
    struct entry entries[ORIGIN_TABLE_MAX];
};

int origin_new(int fd, uint32_t ring_bytes, struct origin **ret_origin)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct origin *o;
    void *consumer, *producer;

    if (ring_bytes < page || (ring_bytes & (ring_bytes - 1)) != 0)
        return -EINVAL;
    o = calloc(1, sizeof(*o));
    if (!o)
        return -ENOMEM;
    consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (consumer == MAP_FAILED) {
        free(o);
        return -errno;
    }
    producer = mmap(NULL, page + 2 * (size_t)ring_bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);
    if (producer == MAP_FAILED) {
        int r = -errno;

        munmap(consumer, page);
        free(o);
        return r;
    }
    o->consumer_pos = consumer;
    o->producer_pos = producer;
    o->data = (const uint8_t *)producer + page;
    o->ring_bytes = ring_bytes;
    o->page = page;
    memset(o->buckets, 0xff, sizeof(o->buckets));
    *ret_origin = o;
    return 0;
}

static size_t taken_bytes(const struct origin *o)
{
    return ((LECTR_CENSUS_MAX + 1) * sizeof(uint64_t) + o->page - 1) & ~(o->page - 1);
}

void origin_free(struct origin **origin)
{
    struct origin *o = *origin;

    *origin = NULL;
    if (!o)
        return;
    munmap(o->consumer_pos, o->page);
    munmap((void *)(uintptr_t)o->producer_pos, o->page + 2 * (size_t)o->ring_bytes);
    if (o->taken)
        munmap(o->taken, taken_bytes(o));
    free(o);
}

int origin_map_taken(struct origin *o, int fd)
{
    void *map = mmap(NULL, taken_bytes(o), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        return -errno;
    o->taken = map;
    return 0;
}

void origin_took(struct origin *o, const struct lectr_origin *record)
{
    /* A proxy that drains counts here as well. */
    if (o->taken && record->slot > 0 && record->slot <= LECTR_CENSUS_MAX)
        __atomic_fetch_add(&o->taken[record->slot], 1, __ATOMIC_RELEASE);
}

static uint32_t bucket_of(const struct origin_key *key)
{
    uint64_t h = key->netns_cookie * 0x9e3779b97f4a7c15ULL;
    uint64_t words[2];

    memcpy(words, key->saddr, sizeof(words));
    h = (h ^ words[0] ^ (words[1] << 1)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 32) ^ key->sport) * 0xc4ceb9fe1a85ec53ULL;
    return (uint32_t)(h >> 40) % BUCKETS;
}

static struct origin_key key_of(const struct lectr_origin *record)
{
    struct origin_key key = {
        .netns_cookie = record->netns_cookie,
        .family = record->family,
        .sport = record->sport,
    };

    memcpy(key.saddr, record->saddr, sizeof(key.saddr));
    return key;
}

static bool matches(const struct lectr_origin *record, const struct origin_key *key)
{
    size_t len = key->family == LECTR_AF_INET ? 4 : 16;

    return record->sport == key->sport && record->netns_cookie == key->netns_cookie &&
           record->family == key->family && memcmp(record->saddr, key->saddr, len) == 0;
}

/* Where the index of the wanted entry stands; *result is NONE when it is absent. */
static uint32_t *find(struct origin *o, const struct origin_key *key)
{
    uint32_t *at = &o->buckets[bucket_of(key)];

    while (*at != NONE && !matches(&o->entries[*at].record, key))
        at = &o->entries[*at].next;
    return at;
}

static void unlink_at(struct origin *o, uint32_t *at)
{
    struct entry *e = &o->entries[*at];

    *at = e->next;
    e->used = false;
    o->stats.held--;
}

static void insert(struct origin *o, const struct lectr_origin *record)
{
    struct origin_key key = key_of(record);
    struct entry *slot = &o->entries[o->next_slot];
    uint32_t *at;

    if (key.family == LECTR_AF_INET)
        memset(key.saddr + 4, 0, 12);
    at = find(o, &key);
    if (*at != NONE) {
        /* The port was used again before anybody asked: the newer one counts. */
        unlink_at(o, at);
        o->stats.replaced++;
    }
    if (slot->used) {
        struct origin_key old = key_of(&slot->record);

        unlink_at(o, find(o, &old));
        o->stats.evicted++;
    }
    slot->record = *record;
    if (key.family == LECTR_AF_INET)
        memset(slot->record.saddr + 4, 0, 12);
    slot->used = true;
    at = &o->buckets[bucket_of(&key)];
    slot->next = *at;
    *at = o->next_slot;
    o->next_slot = (o->next_slot + 1) % ORIGIN_TABLE_MAX;
    o->stats.held++;
    o->stats.received++;
}

/* False when a record is still being written. */
static bool drain(struct origin *o)
{
    uint64_t at = __atomic_load_n(o->consumer_pos, __ATOMIC_RELAXED);
    uint64_t end = __atomic_load_n(o->producer_pos, __ATOMIC_ACQUIRE);
    bool complete = true;

    while (at < end) {
        const uint8_t *head = o->data + (at & (o->ring_bytes - 1));
        uint32_t header = __atomic_load_n((const uint32_t *)(const void *)head, __ATOMIC_ACQUIRE);
        uint32_t len = header & ~(RING_BUSY | RING_DISCARD);

        if (header & RING_BUSY) {
            complete = false;
            break;
        }
        if (len > o->ring_bytes) {
            /* Not what the kernel writes: nothing after it can be trusted. */
            o->stats.malformed++;
            __atomic_store_n(o->consumer_pos, end, __ATOMIC_RELEASE);
            break;
        }
        if (!(header & RING_DISCARD)) {
            struct lectr_origin record;

            if (len == sizeof(record)) {
                memcpy(&record, head + RING_HEADER, sizeof(record));
                insert(o, &record);
            } else {
                o->stats.malformed++;
            }
        }
        at += ((uint64_t)len + RING_HEADER + 7) & ~7ULL;
        __atomic_store_n(o->consumer_pos, at, __ATOMIC_RELEASE);
    }
    return complete;
}

int origin_take(struct origin *o, const struct origin_key *key, struct lectr_origin *ret_record)
{
    bool complete = drain(o);
    uint32_t *at = find(o, key);

    if (*at == NONE)
        return complete ? -ENOENT : -EAGAIN;
    *ret_record = o->entries[*at].record;
    unlink_at(o, at);
    o->stats.taken++;
    return 0;
}

void origin_stats(const struct origin *o, struct origin_stats *ret_stats)
{
    *ret_stats = o->stats;
}
