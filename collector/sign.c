/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#define DIGEST_BYTES 32

static int digest(EVP_MAC_CTX *ctx, struct slice secret, const char *prefix, struct slice body,
                  uint8_t ret_digest[DIGEST_BYTES])
{
    char name[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", name, 0),
                                 OSSL_PARAM_construct_end()};
    size_t len = 0;

    /* Without bytes the pointer must still be one: NULL would mean "the key from before". */
    if (!EVP_MAC_init(ctx, secret.len ? secret.data : (const uint8_t *)"", secret.len, params) ||
        !EVP_MAC_update(ctx, (const uint8_t *)prefix, strlen(prefix)) ||
        !EVP_MAC_update(ctx, body.data, body.len) ||
        !EVP_MAC_final(ctx, ret_digest, &len, DIGEST_BYTES) || len != DIGEST_BYTES)
        return -EIO;
    return 0;
}

int sign_body(struct slice secret, uint64_t unix_s, struct slice body,
              char ret_signature[SIGN_BYTES])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    uint8_t bytes[DIGEST_BYTES];
    char prefix[32];
    int r, len;

    snprintf(prefix, sizeof(prefix), "%" PRIu64 ".", unix_s);
    r = ctx ? digest(ctx, secret, prefix, body, bytes) : -ENOMEM;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    if (r < 0)
        return r;
    len = snprintf(ret_signature, SIGN_BYTES, "t=%" PRIu64 ",v1=", unix_s);
    for (int i = 0; i < DIGEST_BYTES; i++)
        len += snprintf(ret_signature + len, SIGN_BYTES - (size_t)len, "%02x", bytes[i]);
    return 0;
}
