/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/keyhash.c agent/text.c */
/* The expected hashes are the first of SipHash's published 128-bit test vectors. */
#include "agent/keyhash.h"
#include "agent/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void published_vectors(void **state)
{
    static const uint8_t want[2][KEYHASH_BYTES] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02,
         0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc,
         0x45},
    };
    uint8_t key[KEYHASH_KEY_BYTES], hash[KEYHASH_BYTES], in[1] = {0};
    char hex[17];

    (void)state;
    for (uint8_t i = 0; i < sizeof(key); i++)
        key[i] = i;
    for (size_t len = 0; len < 2; len++) {
        keyhash(key, slice_of(in, len), hash);
        assert_memory_equal(hash, want[len], sizeof(hash));
    }
    keyhash_hex(key, slice_of(in, 0), hex);
    assert_string_equal(hex, "a3817f04ba25a8e6");
}

static void texts_are_valid_utf8(void **state)
{
    static const struct {
        const char *in, *out;
        size_t size;
    } table[] = {
        {"plain", "plain", 16},
        {"cut here", "cut", 4},
        {"a\xc3\xa9", "a", 3}, /* no half character */
        {"a\xc3\xa9", "a\xc3\xa9", 4},
        {"\x01\x7f\xff\xc3", "????", 16},
        {"\xc0\x80\xed\xa0\x80", "?????", 16}, /* overlong, surrogate */
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", 16},
        {"", "", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char text[16];

        text_copy(text, table[i].size, slice_str(table[i].in));
        assert_string_equal(text, table[i].out);
    }
}

static void patterns_match_ends(void **state)
{
    (void)state;
    assert_true(text_match("*.delta", slice_str("response.text.Delta")));
    assert_false(text_match("*.delta", slice_str("delta")));
    assert_true(text_match("thread.*", slice_str("thread.run")));
    assert_true(text_match("*", slice_str("")));
    assert_true(text_match("error", slice_str("error")));
    assert_false(text_match("error", slice_str("errors")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(texts_are_valid_utf8),
        cmocka_unit_test(patterns_match_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
