/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof that a webhook's body comes from who knows the secret. Sole OpenSSL user
 * of the collector. Pure.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

#define SIGN_HEADER "Lectr-Signature"
/* "t=" 20 digits ",v1=" 64 digits and NUL */
#define SIGN_BYTES 96

/* "t=<unix_s>,v1=<hex>": HMAC-SHA256 of "<unix_s>.<body>". -ENOMEM, -EIO. */
int sign_body(struct slice secret, uint64_t unix_s, struct slice body,
              char ret_signature[SIGN_BYTES]) LECTR_MUST_USE;
