/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/hello.c */
/* Target: hello_parse(). A prefix never says more than the whole, and the
 * answer does not depend on what lies behind the hello. */
#include "agent/hello.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct hello *h)
{
    assert(memchr(h->sni, '\0', sizeof(h->sni)));
    assert(h->alpn_len <= sizeof(h->alpn));
    for (size_t at = 0; at < h->alpn_len; at += 1 + (size_t)h->alpn[at])
        assert(h->alpn[at] > 0 && at + h->alpn[at] < h->alpn_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello whole = {0}, part;
    enum hello_result result;
    uint8_t *copy;
    size_t cut;

    /* Exactly as long as said, for the sanitizer. */
    copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    result = hello_parse(slice_of(copy, size), &whole);
    if (result == HELLO_OK)
        check(&whole);
    cut = size ? (size_t)data[0] * 31 % (size + 1) : 0;
    switch (hello_parse(slice_of(copy, cut), &part)) {
    case HELLO_OK:
        assert(result == HELLO_OK && part.fingerprint == whole.fingerprint);
        assert(strcmp(part.sni, whole.sni) == 0);
        break;
    case HELLO_NOT_TLS:
        assert(result == HELLO_NOT_TLS || cut >= HELLO_MAX_BYTES);
        break;
    case HELLO_MORE:
        break;
    }
    free(copy);
    return 0;
}
