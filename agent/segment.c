// SPDX-License-Identifier: Apache-2.0
#include "agent/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILE_MAGIC 0x3153474553524c00ULL
#define RECORD_MAGIC 0x4452434cU
#define RECORD_ALIGN 8
#define SEGMENT_MAX_BYTES (1ULL << 30) /* offsets are 32 bits */

struct file_head {
    _Atomic uint64_t magic; /* written last */
    uint64_t first_seq;
    uint64_t map_bytes;
    char instance[40];
};

struct record_head {
    _Atomic uint32_t commit; /* RECORD_MAGIC, written last; 0: no record here */
    _Atomic uint32_t acked;
    uint32_t checksum; /* of everything from seq to the payload's end */
    uint32_t payload_bytes;
    uint64_t seq;
    uint32_t subject_bytes; /* with NUL */
    uint32_t unused;
};

static_assert(sizeof(struct file_head) == 64, "records start aligned");
static_assert(sizeof(struct record_head) == 32, "records stay aligned");

enum record_state {
    RECORD_QUEUED,
    RECORD_IN_FLIGHT,
    RECORD_ACKED,
};

static uint32_t checksum_table[8][256];

static void __attribute__((constructor)) checksum_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
        checksum_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++) {
            uint32_t before = checksum_table[t - 1][i];

            checksum_table[t][i] = before >> 8 ^ checksum_table[0][before & 0xff];
        }
}

/* CRC-32C, eight bytes a step. */
static uint32_t checksum(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);

        crc = checksum_table[7][low & 0xff] ^ checksum_table[6][low >> 8 & 0xff] ^
              checksum_table[5][low >> 16 & 0xff] ^ checksum_table[4][low >> 24] ^
              checksum_table[3][p[4]] ^ checksum_table[2][p[5]] ^ checksum_table[1][p[6]] ^
              checksum_table[0][p[7]];
    }
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ checksum_table[0][(crc ^ *p) & 0xff];
    return ~crc;
}

static size_t record_bytes(size_t subject_bytes, size_t payload_bytes)
{
    size_t bytes = sizeof(struct record_head) + subject_bytes + payload_bytes;

    return (bytes + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

static struct file_head *head_of(const struct segment *s)
{
    return (struct file_head *)s->map;
}

static struct record_head *record_at(const struct segment *s, size_t offset)
{
    return (struct record_head *)(s->map + offset);
}

static uint32_t record_checksum(const struct record_head *r)
{
    uint32_t crc =
        checksum(0, &r->payload_bytes, sizeof(*r) - offsetof(struct record_head, payload_bytes));

    return checksum(crc, r + 1, (size_t)r->subject_bytes + r->payload_bytes);
}

static void format_name(uint64_t ordinal, char ret_name[SEGMENT_NAME_BYTES])
{
    snprintf(ret_name, SEGMENT_NAME_BYTES, "%016" PRIx64 ".seg", ordinal);
}

bool segment_parse_name(const char *name, uint64_t *ret_ordinal)
{
    char canonical[SEGMENT_NAME_BYTES];
    uint64_t ordinal = strtoull(name, NULL, 16);

    format_name(ordinal, canonical);
    if (strcmp(name, canonical) != 0)
        return false;
    *ret_ordinal = ordinal;
    return true;
}

static int map_file(int fd, size_t bytes, int flags, struct segment **ret_segment)
{
    struct segment *s = calloc(1, sizeof(*s));
    void *map;

    if (!s)
        return -ENOMEM;
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
    if (map == MAP_FAILED) {
        free(s);
        return -errno;
    }
    s->map = map;
    s->map_bytes = bytes;
    s->used_bytes = sizeof(struct file_head);
    *ret_segment = s;
    return 0;
}

int segment_create(int dir_fd, uint64_t ordinal, size_t bytes, struct segment **ret_segment)
{
    char name[SEGMENT_NAME_BYTES];
    CLEAN_FD int fd = -1;
    int r;

    if (bytes < SEGMENT_MIN_BYTES || bytes > SEGMENT_MAX_BYTES)
        return -EINVAL;
    format_name(ordinal, name);
    fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = -posix_fallocate(fd, 0, (off_t)bytes);
    if (r == 0)
        r = map_file(fd, bytes, MAP_POPULATE, ret_segment);
    if (r < 0) {
        unlinkat(dir_fd, name, 0);
        return r;
    }
    (*ret_segment)->ordinal = ordinal;
    return 0;
}

void segment_begin(struct segment *s, const char *instance, uint64_t first_seq)
{
    struct file_head *head = head_of(s);

    s->first_seq = first_seq;
    head->first_seq = first_seq;
    head->map_bytes = s->map_bytes;
    snprintf(head->instance, sizeof(head->instance), "%s", instance);
    atomic_store_explicit(&head->magic, FILE_MAGIC, memory_order_release);
}

void segment_free(struct segment **segment)
{
    struct segment *s = segment ? *segment : NULL;

    if (!s)
        return;
    munmap(s->map, s->map_bytes);
    free(s->offsets);
    free(s->states);
    free(s);
    *segment = NULL;
}

void segment_unlink(int dir_fd, uint64_t ordinal)
{
    char name[SEGMENT_NAME_BYTES];

    format_name(ordinal, name);
    unlinkat(dir_fd, name, 0);
}

static int reserve_index(struct segment *s)
{
    uint32_t capacity = s->capacity ? 2 * s->capacity : 256;
    uint32_t *offsets;
    uint8_t *states;

    if (s->count < s->capacity)
        return 0;
    offsets = realloc(s->offsets, capacity * sizeof(*offsets));
    if (!offsets)
        return -ENOMEM;
    s->offsets = offsets;
    states = realloc(s->states, capacity * sizeof(*states));
    if (!states)
        return -ENOMEM;
    s->states = states;
    s->capacity = capacity;
    return 0;
}

/* The record at used_bytes, already checked, joins the index. */
static void index_record(struct segment *s, enum record_state state, size_t bytes)
{
    s->offsets[s->count] = (uint32_t)s->used_bytes;
    s->states[s->count] = (uint8_t)state;
    s->count++;
    s->used_bytes += bytes;
    if (state == RECORD_QUEUED)
        s->queued++;
}

int segment_append(struct segment *s, uint64_t seq, const char *subject, struct slice payload,
                   bool use_reserve)
{
    size_t subject_bytes = strlen(subject) + 1;
    size_t bytes = record_bytes(subject_bytes, payload.len);
    size_t room = s->map_bytes - s->used_bytes;
    struct record_head *record = record_at(s, s->used_bytes);
    int r;

    assert(seq == s->first_seq + s->count);
    if (bytes > room || (!use_reserve && bytes > room - SEGMENT_RESERVE_BYTES) ||
        (!use_reserve && room < SEGMENT_RESERVE_BYTES))
        return -ENOSPC;
    r = reserve_index(s);
    if (r < 0)
        return r;
    record->payload_bytes = (uint32_t)payload.len;
    record->seq = seq;
    record->subject_bytes = (uint32_t)subject_bytes;
    memcpy(record + 1, subject, subject_bytes);
    memcpy((uint8_t *)(record + 1) + subject_bytes, payload.data, payload.len);
    record->checksum = record_checksum(record);
    atomic_store_explicit(&record->commit, RECORD_MAGIC, memory_order_release);
    index_record(s, RECORD_QUEUED, bytes);
    return 0;
}

/* Bytes of the whole record at used_bytes; 0 none, -EBADMSG damaged. */
static ssize_t check_record(const struct segment *s)
{
    size_t room = s->map_bytes - s->used_bytes;
    const struct record_head *r = record_at(s, s->used_bytes);
    uint32_t commit;

    if (room < sizeof(*r))
        return 0;
    commit = atomic_load_explicit(&r->commit, memory_order_acquire);
    if (commit == 0)
        return 0;
    if (commit != RECORD_MAGIC || r->subject_bytes == 0 || r->subject_bytes > room ||
        r->payload_bytes > room || record_bytes(r->subject_bytes, r->payload_bytes) > room)
        return -EBADMSG;
    if (r->seq != s->first_seq + s->count || record_checksum(r) != r->checksum ||
        ((const char *)(r + 1))[r->subject_bytes - 1] != '\0')
        return -EBADMSG;
    return (ssize_t)record_bytes(r->subject_bytes, r->payload_bytes);
}

static int scan(struct segment *s, const char *instance, bool *ret_torn)
{
    const struct file_head *head = head_of(s);
    ssize_t bytes;
    int r;

    if (atomic_load_explicit(&head->magic, memory_order_acquire) == 0)
        return -ENODATA;
    if (head->magic != FILE_MAGIC || head->map_bytes != s->map_bytes ||
        strncmp(head->instance, instance, sizeof(head->instance)) != 0)
        return -EBADMSG;
    s->first_seq = head->first_seq;
    s->sealed = true;
    while ((bytes = check_record(s)) > 0) {
        r = reserve_index(s);
        if (r < 0)
            return r;
        index_record(s, record_at(s, s->used_bytes)->acked ? RECORD_ACKED : RECORD_QUEUED,
                     (size_t)bytes);
    }
    *ret_torn = bytes < 0;
    return 0;
}

int segment_open(int dir_fd, uint64_t ordinal, const char *instance, struct segment **ret_segment,
                 bool *ret_torn)
{
    char name[SEGMENT_NAME_BYTES];
    struct segment *s = NULL;
    CLEAN_FD int fd = -1;
    bool torn = false;
    struct stat st;
    int r;

    format_name(ordinal, name);
    fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < (off_t)sizeof(struct file_head))
        return -ENODATA;
    if (st.st_size > (off_t)SEGMENT_MAX_BYTES)
        return -EBADMSG;
    r = map_file(fd, (size_t)st.st_size, 0, &s);
    if (r < 0)
        return r;
    s->ordinal = ordinal;
    r = scan(s, instance, &torn);
    if (r < 0) {
        segment_free(&s);
        return r;
    }
    *ret_torn = torn;
    *ret_segment = s;
    return 0;
}

bool segment_take(struct segment *s, struct segment_record *ret_record)
{
    const struct record_head *r;
    const char *subject;

    if (s->queued == 0)
        return false;
    while (s->states[s->next] != RECORD_QUEUED)
        s->next++;
    r = record_at(s, s->offsets[s->next]);
    subject = (const char *)(r + 1);
    s->states[s->next++] = RECORD_IN_FLIGHT;
    s->queued--;
    s->in_flight++;
    *ret_record = (struct segment_record){
        .seq = r->seq,
        .subject = subject,
        .payload = slice_of(subject + r->subject_bytes, r->payload_bytes),
    };
    return true;
}

bool segment_ack(struct segment *s, uint64_t seq)
{
    uint32_t i = (uint32_t)(seq - s->first_seq);

    if (s->states[i] == RECORD_ACKED)
        return false;
    if (s->states[i] == RECORD_QUEUED)
        s->queued--;
    else
        s->in_flight--;
    s->states[i] = RECORD_ACKED;
    atomic_store_explicit(&record_at(s, s->offsets[i])->acked, 1, memory_order_release);
    return true;
}

static bool requeue_index(struct segment *s, uint32_t i)
{
    if (s->states[i] != RECORD_IN_FLIGHT)
        return false;
    s->states[i] = RECORD_QUEUED;
    s->in_flight--;
    s->queued++;
    if (i < s->next)
        s->next = i;
    return true;
}

bool segment_requeue(struct segment *s, uint64_t seq)
{
    return requeue_index(s, (uint32_t)(seq - s->first_seq));
}

void segment_requeue_all(struct segment *s)
{
    for (uint32_t i = 0; i < s->count && s->in_flight > 0; i++)
        requeue_index(s, i);
}
