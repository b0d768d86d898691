/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keyhash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static uint64_t read_le64(const uint8_t *p)
{
    uint64_t x = 0;

    for (int i = 7; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static void write_le64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++, x >>= 8)
        p[i] = (uint8_t)x;
}

static void sip_rounds(struct sip *s, int rounds)
{
    while (rounds--) {
        s->v0 += s->v1;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v0 = rotl(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v2 = rotl(s->v2, 32);
    }
}

static void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_rounds(s, 2);
    s->v0 ^= m;
}

void keyhash(const uint8_t key[KEYHASH_KEY_BYTES], struct slice in, uint8_t ret_hash[KEYHASH_BYTES])
{
    uint64_t k0 = read_le64(key), k1 = read_le64(key + 8);
    struct sip s = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL ^ 0xee,
                    k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
    uint64_t last = (uint64_t)in.len << 56;
    size_t i = 0;

    for (; in.len - i >= 8; i += 8)
        sip_word(&s, read_le64(in.data + i));
    for (size_t j = 0; i + j < in.len; j++)
        last |= (uint64_t)in.data[i + j] << (8 * j);
    sip_word(&s, last);

    s.v2 ^= 0xee;
    sip_rounds(&s, 4);
    write_le64(ret_hash, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
    s.v1 ^= 0xdd;
    sip_rounds(&s, 4);
    write_le64(ret_hash + 8, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
    explicit_bzero(&s, sizeof(s));
    explicit_bzero(&last, sizeof(last));
}

void keyhash_hex(const uint8_t key[KEYHASH_KEY_BYTES], struct slice s, char ret_hex[17])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[KEYHASH_BYTES];

    keyhash(key, s, hash);
    for (int i = 0; i < 8; i++) {
        ret_hex[2 * i] = digits[hash[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_hex[16] = '\0';
}
