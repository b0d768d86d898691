/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/multipart.c */
/* Target: multipart_init(), multipart_feed(). Any split of the bytes tells the same models. The
 * input is the content-type, a NUL, the body. */
#include "agent/multipart.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, models;
};

static void on_model(void *user, struct slice value)
{
    struct sum *s = user;

    assert(value.len <= MULTIPART_LINE_MAX);
    s->models++;
    for (size_t i = 0; i < value.len; i++)
        s->hash = (s->hash ^ value.data[i]) * 1099511628211ULL;
}

static struct sum scan(struct slice type, struct slice body, size_t piece)
{
    struct sum sum = {0};
    struct multipart m;

    if (!multipart_init(&m, type, on_model, &sum))
        return sum;
    for (size_t i = 0; i < body.len; i += piece)
        multipart_feed(&m, slice_of(body.data + i, body.len - i < piece ? body.len - i : piece));
    multipart_fini(&m);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct slice type = slice_of(data, nul ? (size_t)(nul - data) : size);
    struct slice body = nul ? slice_of(nul + 1, size - type.len - 1) : slice_of(NULL, 0);
    struct sum whole = scan(type, body, body.len + 1);

    for (size_t piece = 1; piece < 8; piece += 3) {
        struct sum pieces = scan(type, body, piece);

        assert(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    }
    return 0;
}
