/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/eventstream.c */
/* Target: eventstream_feed(). Any split of the bytes tells the same messages. Sums rarely fit by
 * chance: those of the input are put right first, as far as its lengths go. */
#include "agent/eventstream.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, messages, data_bytes;
};

static void mix(struct sum *s, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        s->hash = (s->hash ^ p[i]) * 1099511628211ULL;
}

static void on_data(void *user, struct slice piece)
{
    struct sum *s = user;

    s->data_bytes += piece.len;
    mix(s, piece.data, piece.len);
}

static void on_message(void *user, const char *name, bool is_error)
{
    struct sum *s = user;

    assert(strlen(name) < EVENTSTREAM_NAME_MAX);
    s->messages++;
    mix(s, name, strlen(name) + 1);
    mix(s, &is_error, sizeof(is_error));
}

static struct sum scan(const uint8_t *data, size_t size, size_t piece)
{
    struct sum sum = {0};
    const struct eventstream_events events = {&sum, on_data, on_message};
    struct eventstream e;

    eventstream_init(&e, &events);
    for (size_t i = 0; i < size; i += piece)
        eventstream_feed(&e, slice_of(data + i, size - i < piece ? size - i : piece));
    (void)eventstream_whole(&e);
    eventstream_fini(&e);
    return sum;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void mend(uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 16 <= size;) {
        size_t total = (size_t)data[at + 2] << 8 | data[at + 3];

        if (total < 16 || total > size - at)
            return;
        put32(data + at + 8, (uint32_t)crc32(0, data + at, 8));
        put32(data + at + total - 4, (uint32_t)crc32(0, data + at, (uInt)(total - 4)));
        at += total;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    assert(copy);
    memcpy(copy, data, size);
    if (size && data[size - 1] & 1)
        mend(copy, size);
    struct sum whole = scan(copy, size, size + 1);

    for (size_t piece = 1; piece < 8; piece += 3) {
        struct sum pieces = scan(copy, size, piece);

        assert(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    }
    free(copy);
    return 0;
}
