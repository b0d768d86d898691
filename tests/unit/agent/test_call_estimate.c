/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
#include "agent/estimate.h"
#include "agent/meter.h"
#include "agent/provider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct provider_set *set;
static struct estimator *estimator;
static struct call seen;
static unsigned calls;

static int load(void **state)
{
    struct provider_error error;
    int r = provider_set_load("agent/providers", &set, &error);

    (void)state;
    return r ? r : estimator_new(&estimator);
}

static int unload(void **state)
{
    (void)state;
    estimator_free(&estimator);
    provider_set_free(&set);
    return 0;
}

static void on_call(void *user, const struct call *call)
{
    (void)user;
    seen = *call;
    calls++;
}

static void pass(const char *host, const char *request_line, const char *request,
                 const char *response_head, const char *response, enum meter_end end)
{
    struct meter_env env = {.providers = set, .estimator = estimator, .on_call = on_call};
    char text[8192];
    struct meter *m;

    calls = 0;
    assert_int_equal(meter_new(&env, METER_HTTP1, slice_str(host), &m), 0);
    snprintf(text, sizeof(text), "%s HTTP/1.1\r\nhost: %s\r\ncontent-length: %zu\r\n\r\n%s",
             request_line, host, strlen(request), request);
    meter_request(m, slice_str(text), 1);
    snprintf(text, sizeof(text), "HTTP/1.1 %s\r\ncontent-length: 100000\r\n\r\n%s", response_head,
             response);
    meter_response(m, slice_str(text), 2);
    meter_close(m, end, 3);
    meter_free(&m);
    assert_int_equal(calls, 1);
}

static const struct usage_row *row(const char *kind)
{
    for (uint32_t i = 0; i < seen.usage_count; i++)
        if (strcmp(seen.usage[i].kind, kind) == 0)
            return &seen.usage[i];
    return NULL;
}

#define CHAT "POST /v1/chat/completions"
#define SSE "200 OK\r\ncontent-type: text/event-stream"
#define ASK                                                                                        \
    "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Say "    \
    "hello\"}]}"
#define SAY(text)                                                                                  \
    "data: {\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text         \
    "\"}}]}\n\n"
#define SPEECH SAY("Hello there, ") SAY("how are ") SAY("you today?")

static void assert_range(const struct usage_row *r, enum usage_source source)
{
    assert_non_null(r);
    assert_true(r->count.known && r->low.known && r->high.known);
    assert_true(r->low.value <= r->count.value && r->count.value <= r->high.value);
    assert_true(r->low.value >= 1);
    assert_int_equal(r->source, source);
}

static void a_stream_without_usage(void **state)
{
    (void)state;
    pass("api.openai.com", CHAT, ASK, SSE, SPEECH "data: [DONE]\n\n", METER_END_CLIENT);
    assert_int_equal(seen.outcome, CALL_OK);
    assert_range(row("input"), USAGE_ESTIMATED);
    assert_range(row("output"), USAGE_MEASURED);
    assert_true(row("output")->low.value <= 9 && row("output")->high.value >= 9);
    assert_null(row("reasoning"));
    /* What was reported is told apart from what was made. */
    assert_false(seen.usage_reported || seen.output_tokens_total.known ||
                 seen.reported.output_tokens.known);
}

static void a_cut_stream_tells_what_passed(void **state)
{
    uint64_t whole;

    (void)state;
    pass("api.openai.com", CHAT, ASK, SSE, SPEECH "data: [DONE]\n\n", METER_END_CLIENT);
    whole = row("output")->count.value;
    pass("api.openai.com", CHAT, ASK, SSE, SAY("Hello there, ") "data: {\"model\":\"gpt-4o\",\"ch",
         METER_END_CLIENT);
    assert_int_equal(seen.outcome, CALL_CLIENT_ABORT);
    assert_range(row("output"), USAGE_MEASURED);
    assert_true(row("output")->count.value < whole);
}

static void nothing_passed_is_unknown(void **state)
{
    (void)state;
    pass("api.openai.com", CHAT, ASK, SSE, "", METER_END_CLIENT);
    assert_range(row("input"), USAGE_ESTIMATED);
    assert_false(row("output")->count.known);
    assert_int_equal(row("output")->source, USAGE_UNKNOWN);
}

static void reported_stays_reported_and_teaches(void **state)
{
    struct estimator_stats before, after;

    (void)state;
    estimator_stats(estimator, &before);
    pass("api.openai.com", CHAT, ASK, SSE,
         SPEECH "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":8}}\n\n"
                "data: [DONE]\n\n",
         METER_END_CLIENT);
    estimator_stats(estimator, &after);
    assert_int_equal(row("output")->source, USAGE_REPORTED);
    assert_int_equal(row("output")->count.value, 8);
    assert_false(row("output")->low.known);
    assert_int_equal(after.learned, before.learned + 1);
}

static void a_cut_stream_teaches_nothing(void **state)
{
    struct estimator_stats before, after;

    (void)state;
    estimator_stats(estimator, &before);
    pass("api.openai.com", CHAT, ASK, SSE, SPEECH, METER_END_UPSTREAM);
    estimator_stats(estimator, &after);
    assert_int_equal(after.learned, before.learned);
}

static void a_provisional_number_is_the_floor(void **state)
{
    (void)state;
    pass("api.anthropic.com", "POST /v1/messages",
         "{\"model\":\"claude-sonnet-5\",\"max_tokens\":500,\"stream\":true,\"messages\":[]}", SSE,
         "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\","
         "\"model\":\"claude-sonnet-5\",\"usage\":{\"input_tokens\":11,\"output_tokens\":80}}}\n\n"
         "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
         "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
         METER_END_CLIENT);
    assert_int_equal(row("input")->count.value, 11);
    assert_int_equal(row("input")->source, USAGE_REPORTED);
    assert_range(row("output"), USAGE_MEASURED);
    assert_int_equal(row("output")->low.value, 80);
    assert_int_equal(seen.reported.output_tokens.value, 80);
}

static void what_was_allowed_is_the_ceiling(void **state)
{
    (void)state;
    pass("api.openai.com", CHAT,
         "{\"model\":\"gpt-4o\",\"stream\":true,\"max_tokens\":6,\"messages\":[{\"role\":\"user\","
         "\"content\":\"Say hello\"}]}",
         SSE, SPEECH, METER_END_CLIENT);
    assert_int_equal(row("output")->high.value, 6);
}

static void media_leaves_the_input_unknown(void **state)
{
    (void)state;
    pass(
        "api.openai.com", CHAT,
        "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":[{"
        "\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo\"}}]}]}",
        SSE, SPEECH "data: [DONE]\n\n", METER_END_CLIENT);
    assert_false(row("input")->count.known);
    assert_range(row("output"), USAGE_MEASURED);
}

static void what_is_not_billed_is_not_estimated(void **state)
{
    (void)state;
    pass("api.openai.com", CHAT, ASK, "429 No\r\ncontent-type: application/json",
         "{\"error\":{\"type\":\"requests\"}}", METER_END_UPSTREAM);
    for (uint32_t i = 0; i < seen.usage_count; i++)
        assert_false(seen.usage[i].count.known);
    pass("api.anthropic.com", "POST /v1/messages/count_tokens",
         "{\"model\":\"claude-sonnet-5\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}",
         "200 OK\r\ncontent-type: application/json", "{\"input_tokens\":8}", METER_END_UPSTREAM);
    assert_null(row("output"));
    pass("api.openai.com", "GET /v1/models", "", "200 OK\r\ncontent-type: application/json",
         "{\"data\":[]}", METER_END_UPSTREAM);
    assert_int_equal(seen.usage_count, 0);
}

static void families_that_never_report(void **state)
{
    (void)state;
    pass("api.anthropic.com", "POST /v1/complete",
         "{\"model\":\"claude-2.1\",\"prompt\":\"Human: hello Assistant:\",\"stream\":true}", SSE,
         "event: completion\r\ndata: {\"type\":\"completion\",\"completion\":\" Hello there\","
         "\"stop_reason\":\"stop_sequence\"}\r\n\r\n",
         METER_END_CLIENT);
    assert_range(row("input"), USAGE_ESTIMATED);
    assert_range(row("output"), USAGE_MEASURED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_without_usage),
        cmocka_unit_test(a_cut_stream_tells_what_passed),
        cmocka_unit_test(nothing_passed_is_unknown),
        cmocka_unit_test(reported_stays_reported_and_teaches),
        cmocka_unit_test(a_cut_stream_teaches_nothing),
        cmocka_unit_test(a_provisional_number_is_the_floor),
        cmocka_unit_test(what_was_allowed_is_the_ceiling),
        cmocka_unit_test(media_leaves_the_input_unknown),
        cmocka_unit_test(what_is_not_billed_is_not_estimated),
        cmocka_unit_test(families_that_never_report),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
