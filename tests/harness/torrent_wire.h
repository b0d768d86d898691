/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf fields by hand: numbers at a fixed width, so that a packed message can
 * be changed in place. A varint may be longer than it needs to be; every decoder
 * takes it.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_BYTES_MAX 2048
/* 35 bits: numbers of events. */
#define WIRE_COUNT 5

struct wire {
    uint8_t data[WIRE_BYTES_MAX];
    size_t len;
};

static inline void wire_patch(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++) {
        at[i] = (uint8_t)((value & 0x7f) | (i + 1 < width ? 0x80 : 0));
        value >>= 7;
    }
}

static inline uint64_t wire_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline void wire_varint(struct wire *w, uint64_t value)
{
    do {
        assert(w->len < WIRE_BYTES_MAX);
        w->data[w->len++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
}

static inline void wire_bytes(struct wire *w, unsigned field, const void *bytes, size_t len)
{
    wire_varint(w, field << 3 | 2);
    wire_varint(w, len);
    assert(w->len + len <= WIRE_BYTES_MAX);
    memcpy(w->data + w->len, bytes, len);
    w->len += len;
}

/* An empty text is left out. */
static inline void wire_text(struct wire *w, unsigned field, const char *text)
{
    if (*text)
        wire_bytes(w, field, text, strlen(text));
}

static inline void wire_number(struct wire *w, unsigned field, uint64_t value)
{
    wire_varint(w, field << 3);
    wire_varint(w, value);
}

/* Room for a number; where it is patched. */
static inline size_t wire_room(struct wire *w, unsigned field, unsigned width)
{
    size_t at;

    wire_varint(w, field << 3);
    at = w->len;
    assert(at + width <= WIRE_BYTES_MAX);
    wire_patch(w->data + at, width, 0);
    w->len += width;
    return at;
}

static inline void wire_fixed64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* The same for a fixed64. */
static inline size_t wire_room64(struct wire *w, unsigned field)
{
    size_t at;

    wire_varint(w, field << 3 | 1);
    at = w->len;
    assert(at + 8 <= WIRE_BYTES_MAX);
    w->len += 8;
    return at;
}

static inline void wire_raw(struct wire *w, const uint8_t *bytes, size_t len)
{
    assert(w->len + len <= WIRE_BYTES_MAX);
    memcpy(w->data + w->len, bytes, len);
    w->len += len;
}
