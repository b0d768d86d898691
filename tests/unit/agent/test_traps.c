/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/* The traps of the providers' wires, each by its name, from HTTP bytes to the call. Every answer
 * is fed whole and byte by byte: both must say the same. */
#include "agent/meter.h"
#include "proto/base/buf.h"
#include "tests/unit/agent/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[32] = "0123456789abcdef0123456789abcdef";
static struct call seen;
static unsigned calls;

static void on_call(void *user, const struct call *call)
{
    (void)user;
    seen = *call;
    calls++;
}

static void run(const char *host, struct slice up, struct slice down, size_t piece)
{
    const struct meter_env env = {.providers = set, .fingerprint_key = key, .on_call = on_call};
    struct meter *m;

    calls = 0;
    assert_int_equal(meter_new(&env, METER_HTTP1, slice_str(host), &m), 0);
    for (size_t i = 0; i < up.len; i += piece)
        meter_request(m, slice_of(up.data + i, up.len - i < piece ? up.len - i : piece), 1000);
    for (size_t i = 0; i < down.len; i += piece)
        meter_response(m, slice_of(down.data + i, down.len - i < piece ? down.len - i : piece),
                       2000);
    meter_close(m, METER_END_CLEAN, 3000);
    meter_free(&m);
    assert_int_equal(calls, 1);
}

static void rows_of(const struct call *c, char *ret_text, size_t size)
{
    size_t len = 0;

    ret_text[0] = '\0';
    for (uint32_t i = 0; i < c->usage_count; i++) {
        const struct usage_row *r = &c->usage[i];
        char count[24] = "?";

        if (r->count.known)
            snprintf(count, sizeof(count), "%llu", (unsigned long long)r->count.value);
        len += (size_t)snprintf(ret_text + len, size - len, "%s%s%s%s%s%s%s=%s", i ? " " : "",
                                r->kind, strcmp(r->modality, "text") ? "." : "",
                                strcmp(r->modality, "text") ? r->modality : "",
                                strcmp(r->unit, "token") ? "/" : "",
                                strcmp(r->unit, "token") ? r->unit : "", r->model, count);
    }
}

/* `extra`: further header lines of the answer, each with its CRLF. */
static const struct call *answer(const char *host, const char *path, const char *ask,
                                 unsigned status, const char *type, const char *extra,
                                 struct slice body)
{
    struct buf up, down;
    char whole[1024], pieces[1024];

    buf_init(&up, 1 << 20);
    buf_init(&down, 1 << 20);
    assert_int_equal(buf_printf(&up,
                                "%s %s HTTP/1.1\r\nhost: %s\r\nauthorization: Bearer k\r\n"
                                "content-length: %zu\r\n\r\n%s",
                                *ask ? "POST" : "GET", path, host, strlen(ask), ask),
                     0);
    assert_int_equal(buf_printf(&down,
                                "HTTP/1.1 %u X\r\ncontent-type: %s\r\n%s"
                                "content-length: %zu\r\n\r\n",
                                status, type, extra, body.len),
                     0);
    assert_int_equal(buf_append(&down, body), 0);
    run(host, buf_slice(&up), buf_slice(&down), 1);
    rows_of(&seen, pieces, sizeof(pieces));
    run(host, buf_slice(&up), buf_slice(&down), SIZE_MAX / 2);
    rows_of(&seen, whole, sizeof(whole));
    assert_string_equal(whole, pieces);
    buf_fini(&up);
    buf_fini(&down);
    return &seen;
}

#define SSE "text/event-stream"
#define JSON "application/json"

static const struct call *text(const char *host, const char *path, const char *ask, unsigned status,
                               const char *type, const char *body)
{
    return answer(host, path, ask, status, type, "", slice_str(body));
}

static const struct call *chat(const char *host, const char *type, const char *body)
{
    return text(host, "/v1/chat/completions", "{\"model\":\"m\",\"stream\":true}", 200, type, body);
}

static void expect(const struct call *c, const char *rows, long in, long out)
{
    char got[1024];

    rows_of(c, got, sizeof(got));
    assert_string_equal(got, rows);
    assert_int_equal(c->input_tokens_total.known ? (long)c->input_tokens_total.value : -1, in);
    assert_int_equal(c->output_tokens_total.known ? (long)c->output_tokens_total.value : -1, out);
}

#define ANTHROPIC(type, body) "event: " type "\ndata: {\"type\":\"" type "\"," body "}\n\n"

static const struct call *anthropic(const char *body)
{
    return text("api.anthropic.com", "/v1/messages?beta=true", "{\"model\":\"c\",\"stream\":true}",
                200, SSE, body);
}

static void anthropic_input_excludes_the_cache(void **state)
{
    (void)state;
    expect(text("api.anthropic.com", "/v1/messages", "{\"model\":\"c\"}", 200, JSON,
                "{\"usage\":{\"input_tokens\":4,\"cache_read_input_tokens\":90,"
                "\"cache_creation_input_tokens\":6,\"output_tokens\":2}}"),
           "input=4 cached_input=90 cache_write=6 output=2", 100, 2);
    assert_int_equal(seen.reported.input_tokens.value, 4);
}

static void anthropic_message_delta_replaces_and_its_nulls_are_ignored(void **state)
{
    (void)state;
    expect(anthropic(ANTHROPIC("message_start", "\"message\":{\"id\":\"a\",\"model\":\"c-1\","
                                                "\"usage\":{\"input_tokens\":868,"
                                                "\"cache_read_input_tokens\":5,"
                                                "\"output_tokens\":1}}")
                         ANTHROPIC("content_block_delta", "\"delta\":{\"text\":\"x\"}") ANTHROPIC(
                             "message_delta",
                             "\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
                             "\"input_tokens\":4230,\"cache_read_input_tokens\":null,"
                             "\"output_tokens\":77}") ANTHROPIC("message_stop", "\"x\":1")),
           "input=4230 cached_input=5 output=77", 4235, 77);
    assert_true(seen.usage_final);
    assert_true(seen.stream_complete);
}

static void anthropic_cut_stream_stays_provisional(void **state)
{
    (void)state;
    expect(anthropic(ANTHROPIC("message_start",
                               "\"message\":{\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}")
                         ANTHROPIC("content_block_delta", "\"delta\":{\"text\":\"x\"}")),
           "input=8 output=1", 8, 1);
    assert_true(seen.usage_reported);
    assert_false(seen.usage_final);
}

static void anthropic_iterations_of_advisor_and_compaction_are_outside(void **state)
{
    (void)state;
    expect(text("api.anthropic.com", "/v1/messages", "{\"model\":\"c\"}", 200, JSON,
                "{\"usage\":{\"input_tokens\":612,\"output_tokens\":2819,\"iterations\":["
                "{\"type\":\"compaction\",\"input_tokens\":60385,\"output_tokens\":522},"
                "{\"type\":\"message\",\"input_tokens\":612,\"output_tokens\":2819},"
                "{\"type\":\"advisor_message\",\"model\":\"other\",\"input_tokens\":7,"
                "\"output_tokens\":3}]}}"),
           "input=612 output=2819 input=60385 output=522 inputother=7 outputother=3", 612, 2819);
}

static void anthropic_error_inside_a_200_stream(void **state)
{
    (void)state;
    anthropic(ANTHROPIC("message_start",
                        "\"message\":{\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}")
                  ANTHROPIC("error", "\"error\":{\"type\":\"overloaded_error\"}"));
    assert_int_equal(seen.outcome, CALL_PROVIDER_ERROR);
    assert_string_equal(seen.error_type, "overloaded_error");
}

static const struct call *gemini(const char *type, const char *body)
{
    return text("generativelanguage.googleapis.com",
                "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "{}", 200, type, body);
}

static void gemini_last_whole_object_counts_growing_and_falling(void **state)
{
    (void)state;
    expect(gemini(SSE, "data: {\"usageMetadata\":{\"promptTokenCount\":46,"
                       "\"candidatesTokenCount\":30,\"thoughtsTokenCount\":9}}\r\n\r\n"
                       "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{"
                       "\"promptTokenCount\":147,\"candidatesTokenCount\":12}}\r\n\r\n"),
           "input=147 output=12", 147, 12);
    assert_false(seen.reported.reasoning_tokens.known);
}

static void gemini_no_candidates_means_zero_and_thoughts_are_outside(void **state)
{
    (void)state;
    expect(gemini(SSE, "data: {\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}],"
                       "\"usageMetadata\":{\"promptTokenCount\":5,\"toolUsePromptTokenCount\":4,"
                       "\"thoughtsTokenCount\":100,\"totalTokenCount\":109}}\r\n\r\n"),
           "input=5 tool_use_input=4 output=0 reasoning=100", 9, 100);
    assert_int_equal(seen.reported.output_tokens.value, 0);
}

static void gemini_json_array_is_a_stream(void **state)
{
    (void)state;
    expect(gemini(JSON, "[{\"usageMetadata\":{\"promptTokenCount\":5}}\r\n,\r\n"
                        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},"
                        "\"finishReason\":1}],\"usageMetadata\":{\"promptTokenCount\":5,"
                        "\"candidatesTokenCount\":2,\"promptTokensDetails\":[{\"modality\":4,"
                        "\"tokenCount\":3}]}}]"),
           "input=2 input.audio=3 output=2", 5, 2);
    assert_true(seen.streaming);
    assert_int_equal(seen.stream_events, 2);
    assert_string_equal(seen.finish_reason, "1");
}

static void gemini_json_error_with_event_stream_type(void **state)
{
    (void)state;
    text("generativelanguage.googleapis.com",
         "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "{}", 429, SSE,
         "{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}");
    assert_int_equal(seen.outcome, CALL_PROVIDER_ERROR);
    assert_string_equal(seen.error_type, "RESOURCE_EXHAUSTED");
    assert_false(seen.streaming);
}

static void xai_and_gemini_compat_reasoning_is_outside_output(void **state)
{
    static const char body[] =
        "{\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":1,\"total_tokens\":241,"
        "\"completion_tokens_details\":{\"reasoning_tokens\":228}}}";

    (void)state;
    expect(chat("api.x.ai", JSON, body), "input=12 output=1 reasoning=228", 12, 229);
    expect(text("generativelanguage.googleapis.com", "/v1beta/openai/chat/completions",
                "{\"model\":\"g\"}", 200, JSON,
                "{\"usage\":{\"prompt_tokens\":35,\"completion_tokens\":12,"
                "\"total_tokens\":109}}"),
           "input=35 output=12 reasoning=62", 35, 74);
}

static void mistral_audio_is_outside_the_prompt(void **state)
{
    (void)state;
    expect(chat("api.mistral.ai", JSON,
                "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":248,\"total_tokens\":632,"
                "\"prompt_audio_seconds\":30,\"prompt_tokens_details\":{\"audio_tokens\":375}}}"),
           "input=9 input.audio=375 output=248", 384, 248);
}

static void azure_more_cached_than_prompt_is_clamped_at_zero(void **state)
{
    (void)state;
    expect(text("r.services.ai.azure.com", "/models/chat/completions?api-version=1",
                "{\"model\":\"grok\"}", 200, JSON,
                "{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,"
                "\"prompt_tokens_details\":{\"cached_tokens\":161}}}"),
           "input=0 cached_input=161 output=2", 7, 2);
}

static void azure_first_chunk_without_choices_is_no_usage_chunk(void **state)
{
    (void)state;
    expect(answer("r.openai.azure.com", "/openai/deployments/d/chat/completions?api-version=1",
                  "{\"stream\":true}", 200, SSE,
                  "x-request-id: behind\r\napim-request-id: front\r\n"
                  "x-ms-served-model: gpt-x-1\r\n",
                  slice_str("data: {\"choices\":[],\"model\":\"\",\"prompt_filter_results\":[{}]}"
                            "\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"
                            "data: [DONE]\n\n")),
           "input=? output=?", -1, -1);
    assert_false(seen.usage_reported);
    assert_string_equal(seen.model_requested, "d");
    assert_string_equal(seen.model_responded, "gpt-x-1");
    assert_string_equal(seen.request_id, "front");
}

static void openai_include_usage_chunk_has_no_choices(void **state)
{
    (void)state;
    expect(chat("api.openai.com", SSE,
                "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":null}\n\n"
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}"
                "\n\ndata: [DONE]\n\n"),
           "input=3 output=1", 3, 1);
    assert_int_equal(seen.stream_events, 3);
}

static void openai_stream_without_usage_is_unknown_not_zero(void **state)
{
    (void)state;
    expect(chat("api.openai.com", SSE,
                "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}"
                "\n\ndata: [DONE]\n\n"),
           "input=? output=?", -1, -1);
    assert_true(seen.stream_complete);
}

static void openai_background_answers_queued_without_usage(void **state)
{
    (void)state;
    expect(text("api.openai.com", "/v1/responses", "{\"model\":\"m\",\"background\":true}", 200,
                JSON, "{\"id\":\"resp_1\",\"status\":\"queued\",\"usage\":null}"),
           "input=? output=?", -1, -1);
    assert_true(seen.pending);
    assert_false(seen.late);
}

static void openai_get_repeats_usage_and_is_late(void **state)
{
    (void)state;
    text("api.openai.com", "/v1/responses/resp_1", "", 200, JSON,
         "{\"id\":\"resp_1\",\"status\":\"completed\",\"usage\":{\"input_tokens\":5,"
         "\"output_tokens\":6}}");
    assert_true(seen.late);
    assert_false(seen.pending);
    assert_string_equal(seen.amend_id, "resp_1");
    assert_int_equal(seen.reported.input_tokens.value, 5);
}

static void groq_error_inside_a_200_stream(void **state)
{
    (void)state;
    text("api.groq.com", "/openai/v1/chat/completions", "{\"model\":\"m\",\"stream\":true}", 200,
         SSE,
         "data: {\"choices\":[{\"delta\":{\"role\":\"a\"}}]}\n\nevent: error\ndata: "
         "{\"error\":{\"type\":\"t\",\"code\":\"tool_use_failed\",\"status_code\":400}}\n\n");
    assert_int_equal(seen.outcome, CALL_PROVIDER_ERROR);
    assert_string_equal(seen.error_code, "tool_use_failed");
}

static void openrouter_error_chunk_keeps_its_choices_and_usage(void **state)
{
    (void)state;
    expect(chat("openrouter.ai", SSE,
                ": OPENROUTER PROCESSING\n\ndata: {\"error\":{\"code\":502},\"choices\":[{"
                "\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n"
                "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":3,"
                "\"completion_tokens\":0,\"cost\":0.00025}}\n\ndata: [DONE]\n\n"),
           "input=3 output=0", 3, 0);
    assert_int_equal(seen.outcome, CALL_PROVIDER_ERROR);
    assert_string_equal(seen.error_code, "502");
    assert_int_equal(seen.reported.cost_nanousd.value, 250000);
}

static void cohere_bill_is_less_than_what_was_processed(void **state)
{
    (void)state;
    expect(text("api.cohere.com", "/v2/chat", "{\"model\":\"c\"}", 200, JSON,
                "{\"id\":\"i\",\"usage\":{\"billed_units\":{\"input_tokens\":7.0,"
                "\"output_tokens\":10},\"tokens\":{\"input_tokens\":69,\"output_tokens\":11},"
                "\"cached_tokens\":64}}"),
           "input=7 unbilled_input=62 output=10 unbilled_output=1", 69, 11);
    assert_int_equal(seen.reported.input_tokens.value, 7);
    assert_int_equal(seen.reported.cached_input_tokens.value, 64);
}

static void cohere_v1_streams_lines(void **state)
{
    (void)state;
    expect(text("api.cohere.com", "/v1/chat", "{\"model\":\"c\",\"stream\":true}", 200,
                "application/stream+json",
                "{\"event_type\":\"stream-start\",\"generation_id\":\"g\"}\n"
                "{\"event_type\":\"text-generation\",\"text\":\"x\"}\n"
                "{\"event_type\":\"stream-end\",\"finish_reason\":\"COMPLETE\",\"response\":{"
                "\"meta\":{\"billed_units\":{\"input_tokens\":1,\"output_tokens\":2}}}}\n"),
           "input=1 output=2", 1, 2);
    assert_true(seen.streaming);
    assert_true(seen.stream_complete);
    assert_int_equal(seen.stream_events, 3);
    assert_string_equal(seen.response_id, "g");
}

static void perplexity_usage_in_every_chunk_counts_once(void **state)
{
    (void)state;
    expect(text("api.perplexity.ai", "/chat/completions", "{\"model\":\"s\",\"stream\":true}", 200,
                SSE,
                "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{"
                "\"prompt_tokens\":4,\"completion_tokens\":1}}\r\n\r\n"
                "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{"
                "\"prompt_tokens\":4,\"completion_tokens\":9,\"cost\":{\"total_cost\":0.006}}}"),
           "input=4 output=9", 4, 9);
    assert_int_equal(seen.reported.cost_nanousd.value, 6000000);
}

static void deepseek_hit_and_miss_make_the_prompt(void **state)
{
    (void)state;
    expect(chat("api.deepseek.com", SSE,
                ": keep-alive\n\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"},"
                "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,"
                "\"completion_tokens\":3,\"prompt_cache_hit_tokens\":64,"
                "\"prompt_cache_miss_tokens\":36}}\n\ndata: [DONE]\n\n"),
           "input=36 cached_input=64 output=3", 100, 3);
}

static void deepseek_octet_stream_error_is_json(void **state)
{
    (void)state;
    text("api.deepseek.com", "/chat/completions", "{\"model\":\"d\",\"stream\":true}", 400,
         "application/octet-stream", "{\"error\":{\"type\":\"invalid_request_error\"}}");
    assert_string_equal(seen.error_type, "invalid_request_error");
}

static void ollama_cached_prompt_has_no_count(void **state)
{
    (void)state;
    expect(text("localhost:11434", "/api/chat", "{\"model\":\"l\"}", 200, "application/x-ndjson",
                "{\"model\":\"l\",\"message\":{\"content\":\"x\"},\"done\":false}\n"
                "{\"model\":\"l\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":5}\n"),
           "input=? output=5", -1, 5);
    assert_true(seen.streaming_requested); /* the default */
    assert_true(seen.streaming);
    assert_true(seen.stream_complete);
}

static void vertex_predictions_add_up(void **state)
{
    (void)state;
    expect(text("aiplatform.googleapis.com",
                "/v1/projects/p/locations/l/publishers/google/models/e:predict", "{}", 200, JSON,
                "{\"predictions\":[{\"embeddings\":{\"statistics\":{\"token_count\":1}}},"
                "{\"embeddings\":{\"statistics\":{\"token_count\":2}}}]}"),
           "input=3", 3, -1);
    assert_int_equal(seen.reported.raw_count, 2);
}

static void bedrock_headers_count_where_the_body_does_not(void **state)
{
    (void)state;
    expect(answer("bedrock-runtime.us-east-1.amazonaws.com", "/model/meta.llama3/invoke", "{}", 200,
                  JSON,
                  "x-amzn-bedrock-input-token-count: 8\r\n"
                  "x-amzn-bedrock-output-token-count: 35\r\n",
                  slice_str("{\"generation\":\"x\",\"stop_reason\":\"stop\"}")),
           "input=8 output=35", 8, 35);
    assert_true(seen.usage_reported);
}

static void bedrock_headers_go_before_what_llama_says_itself(void **state)
{
    static const char body[] = "{\"generation\":\"x\",\"prompt_token_count\":80,"
                               "\"generation_token_count\":350,\"stop_reason\":\"stop\"}";

    (void)state;
    expect(answer("bedrock-runtime.us-east-1.amazonaws.com", "/model/meta.llama3/invoke", "{}", 200,
                  JSON,
                  "x-amzn-bedrock-input-token-count: 8\r\n"
                  "x-amzn-bedrock-output-token-count: 35\r\n",
                  slice_str(body)),
           "input=8 output=35", 8, 35);
    expect(answer("bedrock-runtime.us-east-1.amazonaws.com", "/model/meta.llama3/invoke", "{}", 200,
                  JSON, "", slice_str(body)),
           "input=80 output=350", 80, 350);
}

static void bedrock_body_counts_before_the_headers(void **state)
{
    (void)state;
    expect(answer("bedrock-runtime.us-east-1.amazonaws.com", "/model/us.anthropic.claude/invoke",
                  "{}", 200, JSON, "x-amzn-bedrock-input-token-count: 1\r\n",
                  slice_str("{\"model\":\"claude\",\"usage\":{\"input_tokens\":4,"
                            "\"cache_creation_input_tokens\":18131,\"output_tokens\":50}}")),
           "input=4 cache_write=18131 output=50", 18135, 50);
}

static void bedrock_error_type_ends_at_the_colon(void **state)
{
    (void)state;
    answer("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse", "{}", 429, JSON,
           "x-amzn-errortype: ThrottlingException:http://x/\r\n", slice_str("{\"message\":\"m\"}"));
    assert_string_equal(seen.error_type, "ThrottlingException");
    assert_int_equal(seen.outcome, CALL_PROVIDER_ERROR);
}

static void a_whole_error_array_is_an_error(void **state)
{
    (void)state;
    text("generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent", "{}", 503,
         JSON, "[{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}]");
    assert_string_equal(seen.error_type, "UNAVAILABLE");
    assert_false(seen.streaming);
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(anthropic_input_excludes_the_cache),
        TEST(anthropic_message_delta_replaces_and_its_nulls_are_ignored),
        TEST(anthropic_cut_stream_stays_provisional),
        TEST(anthropic_iterations_of_advisor_and_compaction_are_outside),
        TEST(anthropic_error_inside_a_200_stream),
        TEST(gemini_last_whole_object_counts_growing_and_falling),
        TEST(gemini_no_candidates_means_zero_and_thoughts_are_outside),
        TEST(gemini_json_array_is_a_stream),
        TEST(gemini_json_error_with_event_stream_type),
        TEST(xai_and_gemini_compat_reasoning_is_outside_output),
        TEST(mistral_audio_is_outside_the_prompt),
        TEST(azure_more_cached_than_prompt_is_clamped_at_zero),
        TEST(azure_first_chunk_without_choices_is_no_usage_chunk),
        TEST(openai_include_usage_chunk_has_no_choices),
        TEST(openai_stream_without_usage_is_unknown_not_zero),
        TEST(openai_background_answers_queued_without_usage),
        TEST(openai_get_repeats_usage_and_is_late),
        TEST(groq_error_inside_a_200_stream),
        TEST(openrouter_error_chunk_keeps_its_choices_and_usage),
        TEST(cohere_bill_is_less_than_what_was_processed),
        TEST(cohere_v1_streams_lines),
        TEST(perplexity_usage_in_every_chunk_counts_once),
        TEST(deepseek_hit_and_miss_make_the_prompt),
        TEST(deepseek_octet_stream_error_is_json),
        TEST(ollama_cached_prompt_has_no_count),
        TEST(vertex_predictions_add_up),
        TEST(bedrock_headers_count_where_the_body_does_not),
        TEST(bedrock_headers_go_before_what_llama_says_itself),
        TEST(bedrock_body_counts_before_the_headers),
        TEST(bedrock_error_type_ends_at_the_colon),
        TEST(a_whole_error_array_is_an_error),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
