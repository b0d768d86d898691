/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/slice.h"

static uint8_t fold(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') ? (uint8_t)(c | 0x20) : c;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.data[i]) != fold(b.data[i]))
            return false;
    return true;
}

bool slice_starts_nocase(struct slice s, const char *prefix)
{
    size_t len = strlen(prefix);

    return s.len >= len && slice_eq_nocase(slice_of(s.data, len), slice_of(prefix, len));
}

struct slice cursor_take(struct cursor *c, size_t len)
{
    struct slice taken;

    if (c->failed || c->rest.len < len) {
        c->failed = true;
        return slice_of(NULL, 0);
    }
    if (len == 0) /* of nothing, too: no arithmetic on NULL */
        return slice_of(c->rest.data, 0);
    taken = slice_of(c->rest.data, len);
    c->rest.data += len;
    c->rest.len -= len;
    return taken;
}

static uint64_t take_be(struct cursor *c, size_t len)
{
    struct slice s = cursor_take(c, len);
    uint64_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.data[i];
    return v;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)take_be(c, 1);
}

uint16_t cursor_be16(struct cursor *c)
{
    return (uint16_t)take_be(c, 2);
}

uint32_t cursor_be24(struct cursor *c)
{
    return (uint32_t)take_be(c, 3);
}

uint32_t cursor_be32(struct cursor *c)
{
    return (uint32_t)take_be(c, 4);
}

uint64_t cursor_be64(struct cursor *c)
{
    return take_be(c, 8);
}
