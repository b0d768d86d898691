/* SPDX-License-Identifier: Apache-2.0 */
/* A hash for tables whose keys come from outside: fast, and seeded for each process, so that
 * nobody can choose keys that collide. Included before uthash.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern uint64_t hash_seed;
/* Before the first table is made. */
void hash_init(void);

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline unsigned hash_bytes(const void *key, size_t len)
{
    const uint8_t *at = key;
    uint64_t h = hash_seed ^ len, word = 0;

    for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        h = hash_mix(h ^ word, UINT64_C(0x9e3779b97f4a7c15));
    }
    word = 0;
    memcpy(&word, at, len);
    return (unsigned)hash_mix(h ^ word, UINT64_C(0xd6e8feb86659fd93));
}

#define HASH_FUNCTION(key, len, value) ((value) = hash_bytes((key), (len)))
