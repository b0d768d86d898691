/* SPDX-License-Identifier: Apache-2.0 */
/* Makes WebSocket frames, for the tests. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct wire {
    uint8_t *data;
    size_t len, room;
};

struct deflater {
    z_stream z;
    bool takeover;
};

static inline void wire_add(struct wire *w, const void *data, size_t len)
{
    if (w->len + len > w->room) {
        w->room = (w->len + len) * 2;
        w->data = realloc(w->data, w->room);
        assert(w->data);
    }
    if (len)
        memcpy(w->data + w->len, data, len);
    w->len += len;
}

static inline void wire_free(struct wire *w)
{
    free(w->data);
    *w = (struct wire){0};
}

/* `first`: fin, reserved bits and opcode as they stand. */
static inline void wire_frame(struct wire *w, bool masked, uint8_t first, const void *payload,
                              size_t len)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t head[10] = {first, masked ? 0x80 : 0}, head_len = 2;
    size_t from;

    if (len < 126) {
        head[1] |= (uint8_t)len;
    } else if (len < 65536) {
        head[1] |= 126;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        head_len = 4;
    } else {
        head[1] |= 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        head_len = 10;
    }
    wire_add(w, head, head_len);
    if (masked)
        wire_add(w, mask, 4);
    from = w->len;
    wire_add(w, payload, len);
    for (size_t i = 0; masked && i < len; i++)
        w->data[from + i] ^= mask[i & 3];
}

static inline void deflater_init(struct deflater *d, int window_bits, bool takeover)
{
    memset(d, 0, sizeof(*d));
    d->takeover = takeover;
    assert(deflateInit2(&d->z, 6, Z_DEFLATED, -window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
}

/* What permessage-deflate makes of a message; malloc'd. */
static inline uint8_t *deflater_message(struct deflater *d, const void *message, size_t len,
                                        size_t *ret_len)
{
    size_t room = len + len / 100 + 64;
    uint8_t *out = malloc(room);

    assert(out);
    if (!len) { /* zlib flushes nothing twice */
        out[0] = 0;
        *ret_len = 1;
        return out;
    }
    d->z.next_in = (z_const Bytef *)(uintptr_t)message;
    d->z.avail_in = (unsigned)len;
    d->z.next_out = out;
    d->z.avail_out = (unsigned)room;
    assert(deflate(&d->z, Z_SYNC_FLUSH) == Z_OK && d->z.avail_out);
    *ret_len = room - d->z.avail_out - 4;
    assert(memcmp(out + *ret_len, "\0\0\xff\xff", 4) == 0);
    if (!d->takeover)
        deflateReset(&d->z);
    return out;
}

/* A whole message, deflated where `d` is given, in `frames` frames. */
static inline void wire_message(struct wire *w, bool masked, uint8_t opcode, const void *message,
                                size_t len, struct deflater *d, unsigned frames)
{
    size_t size = len, at = 0;
    uint8_t *made = d ? deflater_message(d, message, len, &size) : NULL;
    const uint8_t *payload = made ? made : message;

    for (unsigned i = 0; i < frames; i++) {
        size_t piece = i + 1 == frames ? size - at : size / frames;
        uint8_t first = (i + 1 == frames ? 0x80 : 0) | (i == 0 ? opcode | (d ? 0x40 : 0) : 0);

        wire_frame(w, masked, first, payload + at, piece);
        at += piece;
    }
    free(made);
}
