/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/usage.c agent/answer.c agent/provider.c agent/provider_match.c agent/profile.c */
/* LINK: agent/json.c agent/json_paths.c agent/text.c */
/* Usage objects of every family against rows worked out by hand. */
#include "agent/usage.h"
#include "tests/unit/agent/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct profile_family *family_of(const char *id)
{
    for (unsigned i = 0; i < set->file_count; i++)
        for (unsigned k = 0; k < set->files[i]->families_count; k++)
            if (strcmp(set->files[i]->families[k].id, id) == 0)
                return &set->files[i]->families[k];
    fail_msg("no family %s", id);
    return NULL;
}

static void on_value(void *user, const struct json_value *v)
{
    answer_value(user, v);
}

/* Each of `documents` is one event (or the one document) of the answer. */
static struct call *meter(const char *family, enum answer_kind kind, const char *const *documents,
                          bool repeats)
{
    struct answer *a = malloc(sizeof(*a));
    struct call *call = calloc(1, sizeof(*call));
    const struct json_events events = {.user = a, .on_value = on_value};
    struct json j;

    assert_non_null(a);
    assert_non_null(call);
    answer_init(a, family_of(family));
    for (; *documents; documents++) {
        json_init(&j, a->family->answer_paths, &events, false);
        json_feed(&j, slice_str(*documents));
        json_finish(&j);
        assert_true(json_complete(&j));
        json_fini(&j);
        answer_event_end(a, kind, "");
    }
    usage_fill(a, kind == ANSWER_STREAM, repeats, call);
    free(a);
    return call;
}

/* "kind modality unit model count;…", "?" for an unknown count. */
static void expect_rows(const struct call *call, const char *want)
{
    char got[2048] = "";
    size_t len = 0;

    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *r = &call->usage[i];

        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s %s %s %s", r->kind, r->modality,
                                r->unit, r->model);
        if (r->count.known) {
            len += (size_t)snprintf(got + len, sizeof(got) - len, "%llu;",
                                    (unsigned long long)r->count.value);
            assert_int_equal(r->source, USAGE_REPORTED);
        } else {
            len += (size_t)snprintf(got + len, sizeof(got) - len, "?;");
            assert_int_equal(r->source, USAGE_UNKNOWN);
        }
    }
    assert_string_equal(got, want);
}

static void expect_totals(const struct call *call, long in, long out)
{
    assert_int_equal(call->input_tokens_total.known, in >= 0);
    assert_int_equal(call->output_tokens_total.known, out >= 0);
    if (in >= 0)
        assert_int_equal(call->input_tokens_total.value, in);
    if (out >= 0)
        assert_int_equal(call->output_tokens_total.value, out);
}

static void one(const char *family, const char *document, long in, long out, const char *rows)
{
    const char *const documents[] = {document, NULL};
    struct call *call = meter(family, ANSWER_DOCUMENT, documents, false);

    assert_true(call->usage_reported);
    assert_true(call->usage_final);
    expect_totals(call, in, out);
    expect_rows(call, rows);
    free(call);
}

static void openai_parts_are_inside(void **state)
{
    (void)state;
    one("openai.chat",
        "{\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,"
        "\"prompt_tokens_details\":{\"cached_tokens\":30,\"cache_write_tokens\":5,"
        "\"audio_tokens\":7},\"completion_tokens_details\":{\"reasoning_tokens\":20,"
        "\"audio_tokens\":4}}}",
        100, 50,
        "input text token 58;cached_input text token 30;cache_write text token 5;"
        "input audio token 7;output text token 26;reasoning text token 20;output audio token 4;");
}

static void more_cached_than_asked_is_clamped(void **state)
{
    (void)state;
    one("openai.chat",
        "{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1,"
        "\"prompt_tokens_details\":{\"cached_tokens\":161}}}",
        7, 1, "input text token 0;cached_input text token 161;output text token 1;");
}

static void anthropic_parts_are_outside(void **state)
{
    (void)state;
    one("anthropic.messages",
        "{\"usage\":{\"input_tokens\":17,\"cache_creation_input_tokens\":100,"
        "\"cache_read_input_tokens\":1000,\"cache_creation\":{\"ephemeral_5m_input_tokens\":60,"
        "\"ephemeral_1h_input_tokens\":30},\"output_tokens\":40,"
        "\"output_tokens_details\":{\"thinking_tokens\":15},"
        "\"server_tool_use\":{\"web_search_requests\":2}}}",
        1117, 40,
        "input text token 17;cached_input text token 1000;cache_write_5m text token 60;"
        "cache_write_1h text token 30;cache_write text token 10;output text token 25;"
        "reasoning text token 15;input text search 2;");
}

static void what_other_models_did_has_rows_of_its_own(void **state)
{
    (void)state;
    one("anthropic.messages",
        "{\"usage\":{\"input_tokens\":10,\"output_tokens\":3,\"iterations\":["
        "{\"type\":\"message\",\"input_tokens\":10,\"output_tokens\":3},"
        "{\"type\":\"advisor_message\",\"model\":\"big\",\"input_tokens\":200,"
        "\"output_tokens\":20},{\"type\":\"compaction\",\"input_tokens\":5,"
        "\"output_tokens\":1}]}}",
        10, 3,
        "input text token 10;output text token 3;input text token big200;"
        "output text token big20;input text token 5;output text token 1;");
}

static void gemini_thoughts_and_tools_are_outside(void **state)
{
    (void)state;
    one("gemini.generate_content",
        "{\"usageMetadata\":{\"promptTokenCount\":125,\"cachedContentTokenCount\":50,"
        "\"candidatesTokenCount\":10,\"thoughtsTokenCount\":25,\"toolUsePromptTokenCount\":9,"
        "\"totalTokenCount\":169,\"promptTokensDetails\":[{\"modality\":\"TEXT\","
        "\"tokenCount\":6},{\"tokenCount\":119,\"modality\":\"AUDIO\"}],"
        "\"cacheTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":48},"
        "{\"modality\":\"TEXT\",\"tokenCount\":2}]}}",
        134, 35,
        "input text token 4;input audio token 71;cached_input text token 2;"
        "cached_input audio token 48;tool_use_input text token 9;output text token 10;"
        "reasoning text token 25;");
    /* Zero is omitted on that wire; enums may be integers. */
    one("gemini.generate_content",
        "{\"usageMetadata\":{\"promptTokenCount\":5,\"totalTokenCount\":5,"
        "\"promptTokensDetails\":[{\"modality\":2,\"tokenCount\":3}]}}",
        5, 0, "input text token 2;input image token 3;output text token 0;");
}

static void gemini_in_openai_format(void **state)
{
    (void)state;
    one("gemini.openai_chat",
        "{\"usage\":{\"prompt_tokens\":35,\"completion_tokens\":12,\"total_tokens\":109}}", 35, 74,
        "input text token 35;output text token 12;reasoning text token 62;");
}

static void images_count_once(void **state)
{
    const char *const bare[] = {"{\"data\":[{\"url\":\"a\"},{\"url\":\"b\"}]}", NULL};
    struct call *call = meter("openai.images", ANSWER_DOCUMENT, bare, false);

    (void)state;
    assert_false(call->usage_reported);
    assert_int_equal(call->reported.images.value, 2);
    expect_rows(call, "output image image 2;");
    free(call);
    one("openai.images",
        "{\"data\":[{}],\"usage\":{\"input_tokens\":10,\"output_tokens\":100,"
        "\"input_tokens_details\":{\"image_tokens\":4},"
        "\"output_tokens_details\":{\"image_tokens\":100}}}",
        10, 100, "input text token 6;input image token 4;output image token 100;");
}

static void audio_by_the_second(void **state)
{
    (void)state;
    one("openai.transcriptions", "{\"text\":\"x\",\"usage\":{\"type\":\"duration\",\"seconds\":7}}",
        -1, -1, "input audio second 7;");
}

static void counts_are_not_billed_usage(void **state)
{
    const char *const documents[] = {"{\"input_tokens\":16}", NULL};
    struct call *call = meter("anthropic.count_tokens", ANSWER_DOCUMENT, documents, false);

    (void)state;
    assert_false(call->usage_reported);
    assert_false(call->reported.input_tokens.known);
    assert_int_equal(call->reported.counted_tokens.value, 16);
    expect_rows(call, "counted text token 16;");
    free(call);
}

static void fields_are_replaced_one_by_one(void **state)
{
    const char *const documents[] = {
        "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":868,"
        "\"cache_read_input_tokens\":3,\"output_tokens\":1}}}",
        "{\"type\":\"message_delta\",\"usage\":{\"input_tokens\":4230,"
        "\"cache_read_input_tokens\":null,\"output_tokens\":90}}",
        NULL};
    struct call *call = meter("anthropic.messages", ANSWER_STREAM, documents, false);

    (void)state;
    expect_totals(call, 4233, 90);
    assert_true(call->usage_final);
    assert_int_equal(call->reported.raw_count, 3);
    assert_string_equal(call->reported.raw[0].path, "input_tokens");
    assert_string_equal(call->reported.raw[0].value, "4230");
    free(call);
}

static void a_cut_stream_is_provisional(void **state)
{
    const char *const documents[] = {
        "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":8,"
        "\"output_tokens\":1}}}",
        NULL};
    struct call *call = meter("anthropic.messages", ANSWER_STREAM, documents, false);

    (void)state;
    assert_true(call->usage_reported);
    assert_false(call->usage_final);
    free(call);
}

static void the_last_whole_object_counts(void **state)
{
    const char *const documents[] = {
        "{\"usageMetadata\":{\"promptTokenCount\":46,\"candidatesTokenCount\":9,"
        "\"thoughtsTokenCount\":5}}",
        "{\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"}}",
        "{\"usageMetadata\":{\"promptTokenCount\":147,\"candidatesTokenCount\":2},"
        "\"candidates\":[{\"finishReason\":\"STOP\"}]}",
        "{\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"}}", NULL};
    struct call *call = meter("gemini.generate_content", ANSWER_STREAM, documents, false);

    (void)state;
    expect_totals(call, 147, 2);
    assert_false(call->reported.reasoning_tokens.known);
    assert_true(call->usage_final);
    free(call);
}

static void unknown_is_not_zero(void **state)
{
    const char *const documents[] = {"{\"id\":\"x\",\"usage\":null}", NULL};
    struct call *call = meter("openai.chat", ANSWER_STREAM, documents, false);

    (void)state;
    assert_false(call->usage_reported);
    assert_false(call->usage_final);
    expect_totals(call, -1, -1);
    expect_rows(call, "input text token ?;output text token ?;");
    free(call);
}

static void what_was_told_before_is_late(void **state)
{
    const char *const documents[] = {"{\"usage\":{\"input_tokens\":15,\"output_tokens\":9}}", NULL};
    struct call *call = meter("openai.responses", ANSWER_DOCUMENT, documents, true);

    (void)state;
    assert_int_equal(call->reported.input_tokens.value, 15);
    assert_true(call->late); /* the rows count only where they amend: test_amend */
    free(call);
}

static void odd_numbers(void **state)
{
    (void)state;
    one("openai.chat", "{\"usage\":{\"prompt_tokens\":3.0,\"completion_tokens\":2e1}}", 3, 20,
        "input text token 3;output text token 20;");
    one("openai.chat", "{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1e300}}", -1, -1,
        "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_parts_are_inside),
        cmocka_unit_test(more_cached_than_asked_is_clamped),
        cmocka_unit_test(anthropic_parts_are_outside),
        cmocka_unit_test(what_other_models_did_has_rows_of_its_own),
        cmocka_unit_test(gemini_thoughts_and_tools_are_outside),
        cmocka_unit_test(gemini_in_openai_format),
        cmocka_unit_test(images_count_once),
        cmocka_unit_test(audio_by_the_second),
        cmocka_unit_test(counts_are_not_billed_usage),
        cmocka_unit_test(fields_are_replaced_one_by_one),
        cmocka_unit_test(a_cut_stream_is_provisional),
        cmocka_unit_test(the_last_whole_object_counts),
        cmocka_unit_test(unknown_is_not_zero),
        cmocka_unit_test(what_was_told_before_is_late),
        cmocka_unit_test(odd_numbers),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
