/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/tally.c */
/* Target: tally_decode_merge(). What is accepted is bounded, sorted, encodes
 * again and comes back the same. */
#include "collector/tally.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally t = {0}, again = {0};
    struct buf b;

    buf_init(&b, TALLY_ENCODED_MAX);
    if (tally_decode_merge(&t, slice_of(data, size)) == 0) {
        assert(t.count <= TALLY_NAMES_MAX);
        for (uint32_t i = 1; i < t.count; i++)
            assert(strcmp(t.items[i - 1].name, t.items[i].name) < 0);
        assert(tally_encode(&t, &b) == 0);
        assert(tally_decode_merge(&again, buf_slice(&b)) == 0);
        assert(again.count == t.count && tally_sum(&again) == tally_sum(&t));
    }
    buf_fini(&b);
    tally_fini(&t);
    tally_fini(&again);
    return 0;
}
