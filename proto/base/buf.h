/* SPDX-License-Identifier: Apache-2.0 */
/* An owned, bounded, growing byte buffer that is wiped whenever memory leaves it. */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit_bytes; /* hard bound on len */
};

void buf_init(struct buf *b, size_t limit_bytes);
/* Wipes and releases; the buffer may be used again. NULL-safe. */
void buf_fini(struct buf *b);
/* Wipes the content, keeps the memory. */
void buf_reset(struct buf *b);
/* -ENOSPC beyond the limit, -ENOMEM; unchanged on failure. */
int buf_append(struct buf *b, struct slice s) LECTR_MUST_USE;
int buf_append_str(struct buf *b, const char *s) LECTR_MUST_USE;
int buf_printf(struct buf *b, const char *fmt, ...) LECTR_MUST_USE
    __attribute__((format(printf, 2, 3)));
/* Drops `len` bytes at the front (len <= b->len), wiping what was moved away. */
void buf_consume(struct buf *b, size_t len);
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data, b->len);
}
