/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/segment.c */
/* Target: segment_open() over a file of any content. With "lectr" in front of
 * it, the rest overwrites parts of a valid file (16-bit offset, 8-bit value). */
#include "agent/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#define INSTANCE "018f0000-0000-7000-8000-000000000001"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int dir_fd = -1;
static char dir[] = "/tmp/lectr-fuzz-XXXXXX";

static void remove_dir(void)
{
    segment_unlink(dir_fd, 0);
    rmdir(dir);
}

static void make_valid(const uint8_t *data, size_t size)
{
    struct segment *s = NULL;

    assert(segment_create(dir_fd, 0, SEGMENT_MIN_BYTES, &s) == 0);
    segment_begin(s, INSTANCE, 7);
    for (uint64_t seq = 7; seq < 12; seq++)
        assert(segment_append(s, seq, "subject", slice_of("payload", 7), false) == 0);
    for (size_t i = 0; i + 3 <= size; i += 3)
        s->map[(data[i] << 8 | data[i + 1]) % 512] = data[i + 2];
    segment_free(&s);
}

static void make_any(const uint8_t *data, size_t size)
{
    CLEAN_FD int fd = openat(dir_fd, "0000000000000000.seg", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_record record;
    struct segment *s = NULL;
    bool torn = false;
    uint64_t seq;

    if (dir_fd < 0) {
        assert(mkdtemp(dir));
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        atexit(remove_dir);
    }
    segment_unlink(dir_fd, 0);
    if (size >= 5 && memcmp(data, "lectr", 5) == 0)
        make_valid(data + 5, size - 5);
    else
        make_any(data, size);
    if (segment_open(dir_fd, 0, INSTANCE, &s, &torn) < 0) {
        assert(!s);
        return 0;
    }
    seq = s->first_seq;
    while (segment_take(s, &record)) {
        assert(record.seq >= seq && segment_holds(s, record.seq));
        assert(strlen(record.subject) < s->map_bytes && record.payload.len < s->map_bytes);
        assert(segment_ack(s, record.seq));
    }
    assert(segment_unacked(s) == 0);
    segment_free(&s);
    return 0;
}
