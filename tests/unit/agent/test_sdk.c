/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/sdk.c agent/text.c */
#include "agent/sdk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void user_agents_become_name_and_version(void **state)
{
    static const char *const cases[][2] = {
        {"OpenAI/JS 5.1.0", "OpenAI-JS/5.1.0"},
        {"AsyncOpenAI/Python 1.0.0-beta.3", "AsyncOpenAI-Python/1.0.0-beta.3"},
        {"google-genai-sdk/1.36.0 gl-python/3.12.11 google-adk/1.0.0", "google-genai-sdk/1.36.0"},
        {"Faraday v2.14.3", "Faraday/2.14.3"},
        {"Go-http-client/2.0", "Go-http-client/2.0"},
        {"Java-http-client/17.0.15", "Java-http-client/17.0.15"},
        {"Boto3/1.36.5 md/Botocore#1.36.5 ua/2.0 os/macos#24.3.0", "Boto3/1.36.5"},
        {"ollama-python/0.2.0 (arm64 darwin) Python/3.9.5", "ollama-python/0.2.0"},
        {"ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/24", "ai/7.0.173"},
        {"ai-sdk/openai/2.0.1 runtime/node.js/22", "ai-sdk-openai/2.0.1"},
        {"Python/3.11 aiohttp/3.8.4", "aiohttp/3.8.4"},
        {"Mozilla/5.0 (X11; Linux (x86)) OpenAI/JS 5.1.0", "OpenAI-JS/5.1.0"},
        {"my agent", "my"},
        {"  curl/8.0\t", "curl/8.0"},
        {"one/v2", "one/2"},
        {"a/b/c", "a-b-c"},
        {"x/", "x-"},
        {"(only a comment", ""},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[96] = "before";

        sdk_name(slice_str(cases[i][0]), name, sizeof(name));
        assert_string_equal(name, cases[i][1]);
    }
}

static void a_runtime_alone_is_said_to_be_one(void **state)
{
    char name[96];

    (void)state;
    assert_false(sdk_name(slice_str("Mozilla/5.0 (X11)"), name, sizeof(name)));
    assert_string_equal(name, "Mozilla/5.0");
    assert_false(sdk_name(slice_str("node"), name, sizeof(name)));
    assert_string_equal(name, "node");
    assert_false(sdk_name(slice_str(""), name, sizeof(name)));
    assert_true(sdk_name(slice_str("curl/8.0"), name, sizeof(name)));
}

static void long_and_hostile_ones_are_cut(void **state)
{
    char name[16], *big = malloc(100000);

    (void)state;
    assert_non_null(big);
    memset(big, '(', 100000);
    sdk_name(slice_of(big, 100000), name, sizeof(name));
    assert_string_equal(name, "");
    memset(big, 'a', 100000);
    sdk_name(slice_of(big, 100000), name, sizeof(name));
    assert_string_equal(name, "aaaaaaaaaaaaaaa");
    sdk_name(slice_str("eleven-char/1.2345678901234"), name, sizeof(name));
    assert_string_equal(name, "eleven-char/1.2");
    for (size_t i = 0; i < 100000; i += 2)
        big[i] = ' ';
    sdk_name(slice_of(big, 100000), name, sizeof(name));
    assert_string_equal(name, "a");
    free(big);
    sdk_name(slice_str("\x01\xff/\x02 1\n2"), name, sizeof(name));
    assert_string_equal(name, "?\?-?/1?2");
}

static void attempts_are_read(void **state)
{
    (void)state;
    assert_int_equal(sdk_attempt(slice_str("attempt=2; max=3")), 2);
    assert_int_equal(sdk_attempt(slice_str("ttl=20251125T000000Z; attempt=1")), 1);
    assert_int_equal(sdk_attempt(slice_str("attempt=")), 0);
    assert_int_equal(sdk_attempt(slice_str("attempt=x")), 0);
    assert_int_equal(sdk_attempt(slice_str("attempt=4000000000")), 0);
    assert_int_equal(sdk_attempt(slice_str("attemp")), 0);
    assert_int_equal(sdk_attempt(slice_str("")), 0);
}

static void ids_are_short_and_plain(void **state)
{
    char text[66];

    (void)state;
    assert_true(sdk_is_id(slice_str("aff84ec1-c309-4934-a40c-f714486999ec")));
    assert_false(sdk_is_id(slice_str("")));
    assert_false(sdk_is_id(slice_str("two words")));
    assert_false(sdk_is_id(slice_str("\xc3\xa9")));
    memset(text, 'a', sizeof(text));
    assert_true(sdk_is_id(slice_of(text, 64)));
    assert_false(sdk_is_id(slice_of(text, 65)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_agents_become_name_and_version),
        cmocka_unit_test(a_runtime_alone_is_said_to_be_one),
        cmocka_unit_test(long_and_hostile_ones_are_cut),
        cmocka_unit_test(attempts_are_read),
        cmocka_unit_test(ids_are_short_and_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
