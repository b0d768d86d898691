/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/buf.h"

#include <errno.h>
#include <stdarg.h>

void buf_init(struct buf *b, size_t limit_bytes)
{
    *b = (struct buf){.limit_bytes = limit_bytes};
}

void buf_fini(struct buf *b)
{
    if (!b)
        return;
    if (b->data) {
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_reset(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->len);
    b->len = 0;
}

static int reserve(struct buf *b, size_t more)
{
    size_t want, cap;
    uint8_t *grown;

    if (more > b->limit_bytes - b->len)
        return -ENOSPC;
    want = b->len + more;
    if (want <= b->cap)
        return 0;
    cap = b->cap ? b->cap : 256;
    while (cap < want)
        cap *= 2;
    /* Not realloc: it may leave a copy of the content behind. */
    grown = malloc(cap);
    if (!grown)
        return -ENOMEM;
    if (b->data) {
        memcpy(grown, b->data, b->len);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    b->data = grown;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, struct slice s)
{
    int r;

    if (s.len == 0)
        return 0;
    r = reserve(b, s.len);
    if (r < 0)
        return r;
    memcpy(b->data + b->len, s.data, s.len);
    b->len += s.len;
    return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, slice_str(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    int len, r;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    r = len < 0 ? -EINVAL : reserve(b, (size_t)len + 1);
    if (r == 0) {
        vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
    return r;
}

void buf_consume(struct buf *b, size_t len)
{
    memmove(b->data, b->data + len, b->len - len);
    explicit_bzero(b->data + (b->len - len), len);
    b->len -= len;
}
