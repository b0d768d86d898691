/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes, and the bounded cursor every parser reads through. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed: valid as long as whoever handed it out says. Not NUL-terminated. */
struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

static inline struct slice slice_str(const char *s)
{
    return slice_of(s, s ? strlen(s) : 0);
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case is folded; for header names and hosts. */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts_nocase(struct slice s, const char *prefix);

/* Reads forward only. A read past the end sets `failed`, returns zeros, and
 * stays failed, so a parser may check once at the end. */
struct cursor {
    struct slice rest;
    bool failed;
};

static inline struct cursor cursor_of(struct slice s)
{
    return (struct cursor){.rest = s};
}

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_be16(struct cursor *c);
uint32_t cursor_be24(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);
uint64_t cursor_be64(struct cursor *c);
/* `len` bytes, borrowed from the same memory; empty on failure. */
struct slice cursor_take(struct cursor *c, size_t len);
