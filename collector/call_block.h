/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single calls kept as they came, many in one block: zstd over, for each call,
 * its end time (varint, zigzag of the difference to the one before), its length
 * (varint) and its bytes. Pure.
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

/* Bounds of a block before it is compressed. */
#define CALL_BLOCK_BYTES_MAX (1024 * 1024)
#define CALL_BLOCK_CALLS_MAX 4096
/* Bound of an encoded block. */
#define CALL_BLOCK_ENCODED_MAX (CALL_BLOCK_BYTES_MAX + CALL_BLOCK_BYTES_MAX / 128 + 1024)

struct call_block {
    struct buf raw;
    uint64_t first_ns, last_ns; /* earliest and latest end, 0 when empty */
    uint64_t end_ns;            /* of the call that was added last */
    uint32_t calls;
};

void call_block_init(struct call_block *b);
void call_block_fini(struct call_block *b);
/* Empties it, keeps the memory. */
void call_block_reset(struct call_block *b);
/* -ENOSPC when it has no place: encode and reset it first. Unchanged on failure. */
int call_block_add(struct call_block *b, uint64_t end_ns, struct slice payload) LECTR_MUST_USE;
/* Appends the encoded block. */
int call_block_encode(const struct call_block *b, struct buf *out) LECTR_MUST_USE;
/* In the order in which they were added. -EBADMSG for a damaged block, of which nothing is
 * told; stops at the first negative return of `each` and returns it. */
int call_block_each(struct slice encoded,
                    int (*each)(void *ctx, uint64_t end_ns, struct slice payload),
                    void *ctx) LECTR_MUST_USE;
