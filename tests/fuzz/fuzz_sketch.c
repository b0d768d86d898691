/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/sketch.c */
/* Target: sketch_decode_merge(). What is accepted encodes again and comes back
 * as the same distribution. */
#include "collector/sketch.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sketch s = {0}, again = {0};
    struct buf b;

    buf_init(&b, SKETCH_ENCODED_MAX);
    if (sketch_decode_merge(&s, slice_of(data, size)) == 0 && s.count > 0) {
        assert(s.first + s.places <= SKETCH_BUCKETS);
        assert(sketch_encode(&s, &b) == 0);
        assert(sketch_decode_merge(&again, buf_slice(&b)) == 0);
        assert(again.count == s.count && again.sum == s.sum);
        assert(sketch_quantile(&again, 0.5) == sketch_quantile(&s, 0.5));
        assert(sketch_quantile(&s, 0) <= sketch_quantile(&s, 1));
    }
    buf_fini(&b);
    sketch_fini(&s);
    sketch_fini(&again);
    return 0;
}
