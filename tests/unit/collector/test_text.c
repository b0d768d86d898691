/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/text.c */
#include "collector/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_copies(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {NULL, ""},
        {"", ""},
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\x1b[31m\n\x7f", "?[31m??"},
        {"a\xff"
         "b",
         "a?b"},
        {"\xc0\xaf", "??"},      /* no shortest form */
        {"\xed\xa0\x80", "???"}, /* a surrogate */
        {"\xc2\x9b"
         "2J",
         "?2J"},            /* a control character of two bytes */
        {"\xe2\x82", "??"}, /* cut */
        {"\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82"},
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_copy(out, sizeof(out), cases[i].from);
        assert_string_equal(out, cases[i].to);
    }
}

static void test_never_half_a_character(void **state)
{
    char out[4];

    (void)state;
    text_copy(out, sizeof(out), "ab\xc3\xbc");
    assert_string_equal(out, "ab");
    text_copy(out, sizeof(out), "a\xc3\xbc");
    assert_string_equal(out, "a\xc3\xbc");
    text_copy(out, 1, "abc");
    assert_string_equal(out, "");
}

static void test_a_url_without_its_user(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"nats://127.0.0.1:4222", "nats://127.0.0.1:4222"},
        {"tls://u:p@h:1", "tls://h:1"},
        {"token@h:1", "h:1"},
        {"nats://u:p@ss@h,tls://v:q@i,j", "nats://h,tls://i,j"},
        {"", ""},
    };
    char out[64], little[6];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_copy_url(out, sizeof(out), cases[i].from);
        assert_string_equal(out, cases[i].to);
    }
    text_copy_url(little, sizeof(little), "tls://u:p@h:1");
    assert_string_equal(little, "tls:/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_never_half_a_character),
        cmocka_unit_test(test_a_url_without_its_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
