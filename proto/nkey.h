/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "proto/base/cleanup.h"

#define NKEY_BYTES 256

/* The user's public key ("U…") out of a file that holds the seed and the public
 * key on lines of their own, as `nk -gen user -pubout` prints them. The seed is
 * not kept: the NATS client reads it whenever it signs. -EINVAL without such a
 * line, -errno. */
int nkey_read_public(const char *path, char ret_key[NKEY_BYTES]) LECTR_MUST_USE;
