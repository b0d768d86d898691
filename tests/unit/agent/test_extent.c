/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/extent.c agent/tally.c agent/text.c */
#include "agent/extent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct extent scan_in(enum extent_mode mode, const char *text, size_t piece)
{
    struct extent total = {0};
    struct extent_scan s;
    size_t len = strlen(text);

    extent_init(&s, mode, &total);
    for (size_t i = 0; i < len; i += piece)
        extent_feed(&s, slice_of(text + i, len - i < piece ? len - i : piece));
    extent_finish(&s);
    return total;
}

/* Whole, and a byte at a time: the same. */
static struct extent scan(enum extent_mode mode, const char *text)
{
    struct extent whole = scan_in(mode, text, strlen(text)), single = scan_in(mode, text, 1);

    assert_memory_equal(&whole, &single, sizeof(whole));
    return whole;
}

static void units_follow_words_not_bytes(void **state)
{
    struct tally a = {0}, b = {0}, digits = {0}, cjk = {0};

    (void)state;
    tally_feed(&a, slice_str("the cat sat on the mat"));
    tally_feed(&b, slice_str("the cat sat on t"));
    tally_feed(&b, slice_str("he mat"));
    assert_int_equal(a.bytes, 22);
    assert_int_equal(a.milliunits, b.milliunits);
    assert_in_range(a.milliunits, 4500, 7000);
    tally_feed(&digits, slice_str("123456789"));
    assert_in_range(digits.milliunits, 1500, 3500);
    tally_feed(&cjk, slice_str("你好世界"));
    assert_in_range(cjk.milliunits, 2000, 4500);
}

static void requests_are_text_and_tools(void **state)
{
    struct extent e = scan(EXTENT_REQUEST,
                           "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"system\",\"content\":"
                           "\"Be brief.\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                           "\"text\":\"Hello\"}]}],\"tools\":[{\"type\":\"function\",\"function\":"
                           "{\"name\":\"go\",\"parameters\":{\"type\":\"object\"}}}]}");

    (void)state;
    assert_int_equal(e.bytes[EXTENT_TEXT], 14);
    assert_int_equal(e.messages, 2);
    assert_true(e.bytes[EXTENT_SCHEMA] > 30);
    assert_false(e.media || e.elsewhere || e.hosted || e.torn);
}

static void media_is_no_text(void **state)
{
    char body[2048];
    char base64[801];

    (void)state;
    memset(base64, 'A', 800);
    base64[800] = '\0';
    snprintf(body, sizeof(body), "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}", base64);
    assert_true(scan(EXTENT_REQUEST, body).media);
    assert_int_equal(scan(EXTENT_REQUEST, body).bytes[EXTENT_TEXT], 0);
    assert_true(scan(EXTENT_REQUEST, "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":"
                                     "\"image/png\",\"data\":\"iVBO\"}}]}]}")
                    .media);
    assert_true(
        scan(EXTENT_REQUEST, "{\"messages\":[{\"content\":[{\"type\":\"input_audio\"}]}]}").media);
    /* A property of a tool may be called so. */
    assert_false(scan(EXTENT_REQUEST, "{\"messages\":[{\"content\":\"x\"}],\"tools\":[{\"type\":"
                                      "\"function\",\"parameters\":{\"image_url\":{\"type\":"
                                      "\"string\"}}}]}")
                     .media);
    memset(base64, ' ', 799);
    snprintf(body, sizeof(body), "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}", base64);
    assert_int_equal(scan(EXTENT_REQUEST, body).bytes[EXTENT_TEXT], 800);
}

static void what_the_model_reads_elsewhere(void **state)
{
    (void)state;
    assert_true(
        scan(EXTENT_REQUEST, "{\"input\":\"hi\",\"previous_response_id\":\"r\"}").elsewhere);
    assert_false(
        scan(EXTENT_REQUEST, "{\"input\":\"hi\",\"previous_response_id\":null}").elsewhere);
    assert_true(scan(EXTENT_REQUEST, "{\"prompt\":{\"id\":\"pmpt_1\"}}").elsewhere);
    assert_int_equal(scan(EXTENT_REQUEST, "{\"prompt\":\"hello\"}").bytes[EXTENT_TEXT], 5);
    assert_true(
        scan(EXTENT_REQUEST, "{\"input\":\"hi\",\"tools\":[{\"type\":\"web_search\"}]}").hosted);
    assert_false(
        scan(EXTENT_REQUEST, "{\"input\":\"hi\",\"tools\":[{\"type\":\"function\"}]}").hosted);
    assert_true(scan(EXTENT_REQUEST, "{\"messages\":[{\"content\":\"cut").torn);
}

static void answers_by_kind(void **state)
{
    struct extent e =
        scan(EXTENT_STREAM, "{\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}"
                            "{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}"
                            "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"c\",\"function\":"
                            "{\"name\":\"go\",\"arguments\":\"{}\"}}]}}]}");

    (void)state;
    assert_int_equal(e.bytes[EXTENT_TEXT], 5);
    assert_int_equal(e.bytes[EXTENT_REASONING], 2);
    assert_int_equal(e.bytes[EXTENT_ARGUMENTS], 4);
    assert_int_equal(e.deltas[EXTENT_TEXT], 1);
    assert_int_equal(e.tool_names, 1);
}

static void what_repeats_counts_once(void **state)
{
    struct extent e =
        scan(EXTENT_STREAM,
             "{\"type\":\"response.output_text.delta\",\"delta\":\"Hello\",\"obfuscation\":\"xyz\"}"
             "{\"delta\":\"{}\",\"type\":\"response.function_call_arguments.delta\"}"
             "{\"type\":\"response.output_text.done\",\"text\":\"Hello\"}"
             "{\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":"
             "\"Hello\"}]}],\"instructions\":\"Be brief\"}}");

    (void)state;
    assert_int_equal(e.bytes[EXTENT_TEXT], 5);
    assert_int_equal(e.bytes[EXTENT_ARGUMENTS], 2);
    /* The last event alone is a whole answer where nothing streamed. */
    assert_int_equal(scan(EXTENT_ANSWER, "{\"choices\":[{\"message\":{\"content\":\"Hello\"}}]}")
                         .bytes[EXTENT_TEXT],
                     5);
}

static void gemini_arrays_and_thoughts(void **state)
{
    struct extent e =
        scan(EXTENT_STREAM, "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Let me see\","
                            "\"thought\":true}]}}]},\r\n{\"candidates\":[{\"content\":{\"parts\":[{"
                            "\"text\":\"Four\"}]}}]},{\"candidates\":[{\"content\":{\"parts\":[{"
                            "\"functionCall\":{\"name\":\"go\",\"args\":{\"to\":\"Rome\"}}}]}}]}]");

    (void)state;
    assert_int_equal(e.bytes[EXTENT_REASONING], 10);
    assert_int_equal(e.bytes[EXTENT_TEXT], 4);
    assert_int_equal(e.bytes[EXTENT_ARGUMENTS], 8);
    assert_int_equal(e.tool_names, 1);
}

static void escapes_have_their_size(void **state)
{
    (void)state;
    assert_int_equal(scan(EXTENT_ANSWER, "{\"content\":\"a\\n\\\"\\u00e9\\u4f60\\ud83d\\ude00\"}")
                         .bytes[EXTENT_TEXT],
                     3 + 2 + 3 + 4);
}

static void a_torn_event_is_forgotten(void **state)
{
    struct extent total = {0};
    struct extent_scan s;

    (void)state;
    extent_init(&s, EXTENT_STREAM, &total);
    extent_feed(&s, slice_str("{\"content\":\"lost\""));
    extent_reset(&s);
    extent_feed(&s, slice_str("{\"content\":\"kept\"}"));
    extent_finish(&s);
    assert_int_equal(total.bytes[EXTENT_TEXT], 4);
    assert_int_equal(total.deltas[EXTENT_TEXT], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_follow_words_not_bytes),
        cmocka_unit_test(requests_are_text_and_tools),
        cmocka_unit_test(media_is_no_text),
        cmocka_unit_test(what_the_model_reads_elsewhere),
        cmocka_unit_test(answers_by_kind),
        cmocka_unit_test(what_repeats_counts_once),
        cmocka_unit_test(gemini_arrays_and_thoughts),
        cmocka_unit_test(escapes_have_their_size),
        cmocka_unit_test(a_torn_event_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
