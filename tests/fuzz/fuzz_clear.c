/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/clear.c */
/* Target: clear_parse(). A prefix never contradicts the whole. */
#include "agent/clear.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clear_head whole = {"-"}, part = {"-"};
    enum clear_result result, of_part;
    uint8_t *copy = malloc(size ? size : 1);
    size_t cut;

    /* Exactly as long as said, for the sanitizer. */
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    result = clear_parse(slice_of(copy, size), &whole);
    assert(memchr(whole.host, '\0', sizeof(whole.host)));
    assert(result == CLEAR_HTTP1 || result == CLEAR_HTTP2 || whole.host[0] == '-');
    assert(result != CLEAR_MORE || size < CLEAR_MAX_BYTES);
    cut = size ? (size_t)data[size / 2] * 7 % (size + 1) : 0;
    of_part = clear_parse(slice_of(copy, cut), &part);
    assert(of_part == CLEAR_MORE || of_part == result);
    if (of_part == CLEAR_HTTP1)
        assert(strcmp(part.host, whole.host) == 0);
    free(copy);
    return 0;
}
