/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/sse.c */
/* Target: sse_feed(), sse_finish(). Any split of the bytes tells the same events. */
#include "agent/sse.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, events, data_bytes;
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

static void on_event(void *user, const char *name, bool cut)
{
    struct sum *s = user;

    assert(strlen(name) < SSE_NAME_MAX);
    s->events++;
    mix(s, name, strlen(name) + 1);
    mix(s, &cut, sizeof(cut));
}

static struct sum scan(const uint8_t *data, size_t size, size_t piece)
{
    struct sum sum = {0};
    const struct sse_events events = {&sum, on_data, on_event};
    struct sse s;

    sse_init(&s, &events);
    for (size_t i = 0; i < size; i += piece)
        sse_feed(&s, slice_of(data + i, size - i < piece ? size - i : piece));
    sse_finish(&s);
    sse_fini(&s);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sum whole = scan(data, size, size + 1);

    for (size_t piece = 1; piece < 8; piece += 3) {
        struct sum pieces = scan(data, size, piece);

        assert(pieces.hash == whole.hash && pieces.events == whole.events);
    }
    assert(whole.data_bytes <= size);
    return 0;
}
