/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/extent.c agent/tally.c agent/text.c */
/* Target: extent_feed(). Any split of the bytes gives the same sizes. */
#include "agent/extent.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct extent scan(enum extent_mode mode, const uint8_t *data, size_t size, size_t piece)
{
    struct extent total = {0};
    struct extent_scan s;

    extent_init(&s, mode, &total);
    for (size_t i = 0; i < size; i += piece)
        extent_feed(&s, slice_of(data + i, size - i < piece ? size - i : piece));
    extent_finish(&s);
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int mode = EXTENT_REQUEST; mode <= EXTENT_STREAM; mode++) {
        struct extent whole = scan((enum extent_mode)mode, data, size, size + 1);
        uint64_t bytes = 0;

        for (size_t piece = 1; piece < 8; piece += 3) {
            struct extent pieces = scan((enum extent_mode)mode, data, size, piece);

            assert(memcmp(&whole, &pieces, sizeof(whole)) == 0);
        }
        for (int k = 0; k < EXTENT_KINDS; k++)
            bytes += whole.bytes[k];
        assert(bytes <= size);
    }
    return 0;
}
