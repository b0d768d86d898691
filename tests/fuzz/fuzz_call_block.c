/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/call_block.c */
/* Target: call_block_each(), over the bytes as they are and over the bytes as the
 * content of a block that is well packed. What comes out lies within bounds. */
#include "collector/call_block.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int add_bytes(void *ctx, uint64_t end_ns, struct slice payload)
{
    volatile uint8_t last = payload.len ? payload.data[payload.len - 1] : 0;

    (void)end_ns;
    (void)last;
    *(size_t *)ctx += payload.len;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct call_block b;
    struct buf packed;
    size_t bytes = 0;
    int r = call_block_each(slice_of(data, size), add_bytes, &bytes);

    assert(bytes <= CALL_BLOCK_BYTES_MAX);
    call_block_init(&b);
    buf_init(&packed, CALL_BLOCK_ENCODED_MAX);
    if (buf_append(&b.raw, slice_of(data, size)) == 0 && call_block_encode(&b, &packed) == 0) {
        bytes = 0;
        r = call_block_each(buf_slice(&packed), add_bytes, &bytes);
        assert(bytes <= size);
    }
    (void)r;
    buf_fini(&packed);
    call_block_fini(&b);
    return 0;
}
