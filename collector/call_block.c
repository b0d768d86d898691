/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/call_block.h"

#include <errno.h>
#include <zstd.h>

#define LEVEL 1
#define VARINT_BYTES_MAX 10

void call_block_init(struct call_block *b)
{
    *b = (struct call_block){0};
    buf_init(&b->raw, CALL_BLOCK_BYTES_MAX);
}

void call_block_fini(struct call_block *b)
{
    buf_fini(&b->raw);
    call_block_init(b);
}

void call_block_reset(struct call_block *b)
{
    buf_reset(&b->raw);
    b->first_ns = b->last_ns = b->end_ns = 0;
    b->calls = 0;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

static uint64_t get_varint(struct cursor *c)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(c);

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    c->failed = true;
    return 0;
}

static uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

int call_block_add(struct call_block *b, uint64_t end_ns, struct slice payload)
{
    uint8_t head[2 * VARINT_BYTES_MAX];
    size_t head_len = put_varint(head, zigzag((int64_t)(end_ns - b->end_ns)));
    int r;

    head_len += put_varint(head + head_len, payload.len);
    if (b->calls == CALL_BLOCK_CALLS_MAX ||
        payload.len > CALL_BLOCK_BYTES_MAX - head_len - b->raw.len)
        return -ENOSPC;
    r = buf_append(&b->raw, slice_of(head, head_len));
    if (r == 0)
        r = buf_append(&b->raw, payload);
    if (r < 0)
        return r;
    if (b->calls == 0 || end_ns < b->first_ns)
        b->first_ns = end_ns;
    if (end_ns > b->last_ns)
        b->last_ns = end_ns;
    b->end_ns = end_ns;
    b->calls++;
    return 0;
}

int call_block_encode(const struct call_block *b, struct buf *out)
{
    size_t bound = ZSTD_compressBound(b->raw.len);
    CLEAN_FREE uint8_t *packed = malloc(bound);
    size_t len;

    if (!packed)
        return -ENOMEM;
    len = ZSTD_compress(packed, bound, b->raw.data, b->raw.len, LEVEL);
    return ZSTD_isError(len) ? -ENOMEM : buf_append(out, slice_of(packed, len));
}

static int take_call(struct cursor *c, uint64_t *end_ns, struct slice *ret_payload)
{
    uint64_t len;

    *end_ns += (uint64_t)unzigzag(get_varint(c));
    len = get_varint(c);
    if (c->failed || len > c->rest.len)
        return -EBADMSG;
    *ret_payload = cursor_take(c, (size_t)len);
    return 0;
}

/* To the end: what comes before the damage is not to be trusted either. */
static int check_raw(struct slice raw)
{
    struct cursor c = cursor_of(raw);
    struct slice payload;
    uint64_t end_ns = 0;
    int r = 0;

    while (c.rest.len > 0 && r == 0)
        r = take_call(&c, &end_ns, &payload);
    return r;
}

static int each_raw(struct slice raw, int (*each)(void *ctx, uint64_t end_ns, struct slice payload),
                    void *ctx)
{
    struct cursor c = cursor_of(raw);
    uint64_t end_ns = 0;
    int r = check_raw(raw);

    while (c.rest.len > 0 && r == 0) {
        struct slice payload;

        r = take_call(&c, &end_ns, &payload);
        if (r == 0)
            r = each(ctx, end_ns, payload);
    }
    return r;
}

int call_block_each(struct slice encoded,
                    int (*each)(void *ctx, uint64_t end_ns, struct slice payload), void *ctx)
{
    unsigned long long size = ZSTD_getFrameContentSize(encoded.data, encoded.len);
    CLEAN_FREE uint8_t *raw = NULL;
    size_t len;

    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
        size > CALL_BLOCK_BYTES_MAX)
        return -EBADMSG;
    raw = malloc(size ? size : 1);
    if (!raw)
        return -ENOMEM;
    len = ZSTD_decompress(raw, size, encoded.data, encoded.len);
    if (ZSTD_isError(len) || len != size)
        return -EBADMSG;
    return each_raw(slice_of(raw, len), each, ctx);
}
