/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyed hash (SipHash-2-4, 128 bit) that tells API keys apart without
 * keeping them: without the 16-byte hash key nothing can be tried against it.
 */
#pragma once

#include "proto/base/slice.h"

#define KEYHASH_KEY_BYTES 16
#define KEYHASH_BYTES 16

void keyhash(const uint8_t key[KEYHASH_KEY_BYTES], struct slice s, uint8_t ret_hash[KEYHASH_BYTES]);

/* The first 8 bytes in hex: what events carry. */
void keyhash_hex(const uint8_t key[KEYHASH_KEY_BYTES], struct slice s, char ret_hex[17]);
