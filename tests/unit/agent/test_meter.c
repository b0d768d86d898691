/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
#include "agent/meter.h"
#include "agent/keyhash.h"
#include "tests/unit/agent/profiles.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000000ULL
#define CALLS_MAX 80

static const uint8_t key[32] = "0123456789abcdef0123456789abcdef";

struct seen {
    uint32_t begins, calls;
    char operation[32];
    struct call *call[CALLS_MAX];
};

struct bench {
    struct meter *m;
    struct seen seen;
    size_t piece; /* 0: whole */
};

static void on_begin(void *user, const struct request_head *head)
{
    struct seen *s = user;

    s->begins++;
    snprintf(s->operation, sizeof(s->operation), "%s", head->operation);
}

static void on_call(void *user, const struct call *call)
{
    struct seen *s = user;

    assert_in_range(s->calls, 0, CALLS_MAX - 1);
    s->call[s->calls] = malloc(sizeof(*call));
    assert_non_null(s->call[s->calls]);
    *s->call[s->calls++] = *call;
}

static void open_to(struct bench *b, const char *host, size_t piece)
{
    const struct meter_env env = {.providers = set,
                                  .fingerprint_key = key,
                                  .user = &b->seen,
                                  .on_begin = on_begin,
                                  .on_call = on_call};

    *b = (struct bench){.piece = piece ? piece : SIZE_MAX};
    assert_int_equal(meter_new(&env, METER_HTTP1, slice_str(host), &b->m), 0);
}

static void up(struct bench *b, const char *text, uint64_t now_ms)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i += len - i < b->piece ? len - i : b->piece)
        meter_request(b->m, slice_of(text + i, len - i < b->piece ? len - i : b->piece),
                      now_ms * MS);
}

static void down(struct bench *b, const char *text, uint64_t now_ms)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i += len - i < b->piece ? len - i : b->piece)
        meter_response(b->m, slice_of(text + i, len - i < b->piece ? len - i : b->piece),
                       now_ms * MS);
}

static void finish(struct bench *b)
{
    meter_free(&b->m);
    assert_null(b->m);
    for (uint32_t i = 0; i < b->seen.calls; i++)
        free(b->seen.call[i]);
}

#define ASK(body, len)                                                                             \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: "                 \
    "application/json\r\nContent-Length: " len "\r\n\r\n" body
#define ASK_PLAIN ASK("{\"model\":\"gpt-x\"}", "17")
#define ASK_STREAM ASK("{\"model\":\"gpt-x\",\"stream\":true}", "31")
#define OK_BODY                                                                                    \
    "{\"id\":\"c1\",\"model\":\"gpt-x-1\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]," \
    "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}"
#define OK_PLAIN "HTTP/1.1 200 OK\r\nContent-Length: 144\r\n\r\n" OK_BODY
_Static_assert(sizeof(OK_BODY) - 1 == 144, "content-length");

static void keep_alive_and_pipelining(void **state)
{
    struct bench b;

    (void)state;
    for (size_t piece = 0; piece < 9; piece++) {
        open_to(&b, "api.openai.com", piece);
        up(&b, ASK_PLAIN ASK_PLAIN, 10);
        assert_int_equal(meter_calls_open(b.m), 2);
        assert_int_equal(b.seen.begins, 2);
        down(&b, "HTTP/1.1 100 Continue\r\n\r\n" OK_PLAIN, 30);
        assert_int_equal(b.seen.calls, 1);
        down(&b, OK_PLAIN, 40);
        up(&b, ASK_PLAIN, 50);
        down(&b, "HTTP/1.1 204 No\r\n\r\n", 60);
        assert_int_equal(b.seen.calls, 3);
        assert_int_equal(meter_calls_open(b.m), 0);
        assert_int_equal(b.seen.call[1]->outcome, CALL_OK);
        assert_int_equal(b.seen.call[1]->reported.input_tokens.value, 7);
        assert_int_equal(b.seen.call[1]->latency.total_us.value, 30000);
        assert_int_equal(b.seen.call[1]->latency.first_byte_us.value, 30000);
        assert_int_equal(b.seen.call[2]->status_code, 204);
        meter_close(b.m, METER_END_CLEAN, 70 * MS);
        meter_close(b.m, METER_END_CLEAN, 70 * MS);
        assert_int_equal(b.seen.calls, 3);
        finish(&b);
    }
}

static void what_the_request_says(void **state)
{
    struct bench b;
    char hash[17];
    const struct call *c;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    up(&b,
       "POST /v1/chat/completions?x=CANARY HTTP/1.1\r\nHost: api.openai.com\r\n"
       "Authorization: Bearer sk-CANARY\r\nUser-Agent: OpenAI/Python 1.99.7\r\n"
       "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
       "X-Stainless-Retry-Count: 2\r\nX-Lectr-Feature: search\r\nOpenAI-Organization: org-1\r\n"
       "OpenAI-Project: proj_1\r\nContent-Length: 101\r\n\r\n"
       "{\"messages\":[{\"content\":\"CANARY\"}],\"max_completion_tokens\":50,\"model\":\"gpt-x\","
       "\"service_tier\":\"flex\" }",
       1);
    down(&b,
         "HTTP/1.1 200 OK\r\nopenai-organization: user-9\r\nx-request-id: r-1\r\n"
         "x-ratelimit-limit-requests: 500\r\nx-ratelimit-remaining-tokens: 29\r\n"
         "retry-after: 1.5\r\nContent-Length: 2\r\n\r\n{}",
         2);
    assert_int_equal(b.seen.calls, 1);
    c = b.seen.call[0];
    assert_string_equal(c->provider, "openai");
    assert_string_equal(c->server_address, "api.openai.com");
    assert_string_equal(c->api, "openai.chat");
    assert_string_equal(c->operation, "chat");
    assert_string_equal(b.seen.operation, "chat");
    assert_string_equal(c->model_requested, "gpt-x");
    assert_string_equal(c->sdk, "OpenAI-Python/1.99.7");
    assert_string_equal(c->trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_int_equal(c->attempt, 3);
    assert_string_equal(c->feature_header, "search");
    assert_string_equal(c->billed_organization, "user-9");
    assert_string_equal(c->billed_project, "proj_1");
    assert_string_equal(c->service_tier, "flex");
    assert_string_equal(c->http_version, "1.1");
    assert_string_equal(c->request_id, "r-1");
    assert_int_equal(c->max_output_tokens.value, 50);
    assert_int_equal(c->limit_requests.value, 500);
    assert_false(c->limit_tokens.known);
    assert_int_equal(c->remaining_tokens.value, 29);
    assert_int_equal(c->retry_after_ms.value, 1500);
    assert_int_equal(c->request_body_bytes, 101);
    assert_int_equal(c->response_body_bytes, 2);
    keyhash_hex(key, slice_str("sk-CANARY"), hash);
    assert_string_equal(c->key_fingerprint, hash);
    assert_null(memmem(c, sizeof(*c), "CANARY", 6));
    finish(&b);
}

static void one_get(struct bench *b, const char *headers)
{
    char head[1024];

    open_to(b, "api.openai.com", 1);
    snprintf(head, sizeof(head), "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n%s\r\n",
             headers);
    up(b, head, 1);
    down(b, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 2);
    assert_int_equal(b->seen.calls, 1);
}

static void client_headers_say_who_and_which_attempt(void **state)
{
    static const struct {
        const char *headers, *sdk, *logical;
        unsigned attempt;
    } cases[] = {
        {"", "", "", 1},
        {"amz-sdk-invocation-id: aff84ec1-c309\r\namz-sdk-request: attempt=2; max=3\r\n"
         "User-Agent: Boto3/1.36.5 md/Botocore#1.36.5\r\n",
         "Boto3/1.36.5", "aff84ec1-c309", 2},
        {"Idempotency-Key: order 7 of Ann\r\namz-sdk-invocation-id: one\r\n", "", "one", 1},
        {"amz-sdk-invocation-id: one\r\nIdempotency-Key: order 7 of Ann\r\n", "", "one", 1},
        {"amz-sdk-invocation-id: no id, this\r\namz-sdk-request: attempt=no\r\n", "", "", 1},
        {"User-Agent: Mozilla/5.0 (X11)\r\nx-goog-api-client: google-genai-sdk/1.0 gl-web/1\r\n",
         "google-genai-sdk/1.0", "", 1},
        {"x-goog-api-client: gl-python/3.12\r\nUser-Agent: Mozilla/5.0\r\n", "gl-python/3.12", "",
         1},
        {"x-goog-api-client: google-genai-sdk/1.0\r\nUser-Agent: pydantic-ai/1.37.0\r\n",
         "pydantic-ai/1.37.0", "", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench b;

        one_get(&b, cases[i].headers);
        assert_string_equal(b.seen.call[0]->sdk, cases[i].sdk);
        assert_string_equal(b.seen.call[0]->logical_call_id, cases[i].logical);
        assert_int_equal(b.seen.call[0]->attempt, cases[i].attempt);
        finish(&b);
    }
}

static void an_idempotency_key_is_kept_as_its_hash(void **state)
{
    struct bench b;
    char hash[17];

    (void)state;
    one_get(&b, "Idempotency-Key: order 7 of Ann\r\n");
    keyhash_hex(key, slice_str("order 7 of Ann"), hash);
    assert_string_equal(b.seen.call[0]->logical_call_id, hash);
    assert_null(memmem(b.seen.call[0], sizeof(struct call), "Ann", 3));
    finish(&b);
}

static void a_key_in_the_query_is_hashed_too(void **state)
{
    struct bench b;
    char hash[17];

    (void)state;
    open_to(&b, "generativelanguage.googleapis.com", 3);
    up(&b,
       "POST /v1beta/models/gemini-x:streamGenerateContent?alt=sse&key=CANARY HTTP/1.1\r\n"
       "Content-Length: 2\r\n\r\n{}",
       1);
    meter_close(b.m, METER_END_CLIENT, 2 * MS);
    assert_int_equal(b.seen.calls, 1);
    keyhash_hex(key, slice_str("CANARY"), hash);
    assert_string_equal(b.seen.call[0]->key_fingerprint, hash);
    assert_string_equal(b.seen.call[0]->model_requested, "gemini-x");
    assert_true(b.seen.call[0]->streaming_requested);
    assert_int_equal(b.seen.call[0]->outcome, CALL_CLIENT_ABORT);
    assert_int_equal(b.seen.call[0]->status_code, 0);
    finish(&b);
}

static void times_of_a_stream(void **state)
{
    struct bench b;
    const struct call *c;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    up(&b, ASK_STREAM, 100);
    down(&b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", 150);
    down(&b,
         "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
         "\"content\":\"\"}}]}\n\n",
         160);
    for (uint64_t at = 200; at < 300; at += 10)
        down(&b, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n", at);
    down(&b, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
         300);
    down(&b, "data: [DONE]\n\n", 301);
    meter_close(b.m, METER_END_UPSTREAM, 302 * MS);
    assert_int_equal(b.seen.calls, 1);
    c = b.seen.call[0];
    assert_int_equal(c->outcome, CALL_OK);
    assert_true(c->streaming && c->streaming_requested && c->stream_complete);
    assert_int_equal(c->stream_events, 13);
    assert_int_equal(c->latency.first_byte_us.value, 50000);
    assert_int_equal(c->latency.first_token_us.value, 100000);
    assert_int_equal(c->latency.mean_gap_us.value, 10000);
    assert_in_range(c->latency.p95_gap_us.value, 8000, 10000);
    assert_false(c->usage_reported);
    assert_false(c->input_tokens_total.known);
    finish(&b);
}

struct ending {
    enum meter_end end;
    const char *answer;
    enum call_outcome outcome;
};

#define CHUNKED                                                                                    \
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"

static void how_calls_end(void **state)
{
    static const struct ending table[] = {
        {METER_END_CLIENT, "", CALL_CLIENT_ABORT},
        {METER_END_UPSTREAM, "", CALL_NETWORK_ERROR},
        {METER_END_NETWORK, "", CALL_NETWORK_ERROR},
        {METER_END_CLIENT, CHUNKED "4\r\n: hi", CALL_CLIENT_ABORT},
        {METER_END_UPSTREAM, CHUNKED "4\r\n: hi", CALL_UPSTREAM_ABORT},
        {METER_END_CLEAN, CHUNKED "4\r\n: hi", CALL_UPSTREAM_ABORT},
        /* The client hung up once it had read the end mark. */
        {METER_END_CLIENT, CHUNKED "e\r\ndata: [DONE]\n\n\r\n", CALL_OK},
        {METER_END_CLIENT, "HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n{", CALL_PROVIDER_ERROR},
        {METER_END_UPSTREAM, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a",
         CALL_UPSTREAM_ABORT},
        {METER_END_UPSTREAM, "HTTP/1.1 200 OK\r\n\r\n{}", CALL_OK},
        {METER_END_CLIENT, "HTTP/1.1 200 OK\r\n\r\n{", CALL_CLIENT_ABORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct bench b;

        open_to(&b, "api.openai.com", 1);
        up(&b, ASK_STREAM, 1);
        down(&b, table[i].answer, 2);
        assert_int_equal(b.seen.calls, 0);
        meter_close(b.m, table[i].end, 3 * MS);
        assert_int_equal(b.seen.calls, 1);
        if (b.seen.call[0]->outcome != table[i].outcome)
            fail_msg("case %zu: %d instead of %d", i, b.seen.call[0]->outcome, table[i].outcome);
        finish(&b);
    }
}

static void an_answer_before_the_request_ended(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    up(&b, ASK("{\"model\":", "17"), 1);
    down(&b,
         "HTTP/1.1 401 No\r\nContent-Length: 51\r\n\r\n"
         "{\"error\":{\"type\":\"bad\",\"code\":\"key\",\"message\":\"x\"}}",
         5);
    assert_int_equal(b.seen.calls, 0);
    up(&b, "\"gpt-x\"}", 9);
    assert_int_equal(b.seen.calls, 1);
    assert_string_equal(b.seen.call[0]->model_requested, "gpt-x");
    assert_string_equal(b.seen.call[0]->error_type, "bad");
    assert_string_equal(b.seen.call[0]->error_code, "key");
    assert_int_equal(b.seen.call[0]->outcome, CALL_PROVIDER_ERROR);
    assert_false(b.seen.call[0]->latency.first_byte_us.known);

    up(&b, ASK("{", "17"), 10);
    down(&b, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", 11);
    meter_close(b.m, METER_END_CLIENT, 12 * MS);
    assert_int_equal(b.seen.calls, 2);
    assert_int_equal(b.seen.call[1]->outcome, CALL_PROVIDER_ERROR);
    finish(&b);
}

static void errors_inside_a_stream(void **state)
{
    struct bench b;
    const struct call *c;

    (void)state;
    open_to(&b, "api.anthropic.com", 1);
    up(&b,
       "POST /v1/messages HTTP/1.1\r\nContent-Length: 32\r\n\r\n"
       "{\"model\":\"claude\",\"stream\":true}",
       1);
    down(&b,
         "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
         "event: message_start\ndata: {\"message\":{\"id\":\"m\",\"model\":\"claude-1\","
         "\"usage\":{\"input_tokens\":9,\"output_tokens\":1}},\"type\":\"message_start\"}\n\n"
         "event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"},\"type\":\"error\"}\n\n",
         2);
    meter_close(b.m, METER_END_UPSTREAM, 3 * MS);
    c = b.seen.call[0];
    assert_int_equal(c->outcome, CALL_PROVIDER_ERROR);
    assert_string_equal(c->error_type, "overloaded_error");
    assert_true(c->usage_reported);
    assert_false(c->usage_final);
    assert_false(c->stream_complete);
    assert_true(c->streaming);
    finish(&b);
}

static void a_torn_event_leaves_no_trace(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    up(&b, ASK_STREAM, 1);
    down(&b,
         "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
         "data: {\"id\":\"one\"}\n\n"
         "data: {\"model\":\"torn\",\"choices\":[{\"finish_reason\":\"stop\"",
         2);
    meter_close(b.m, METER_END_UPSTREAM, 3 * MS);
    assert_int_equal(b.seen.call[0]->stream_events, 1);
    assert_string_equal(b.seen.call[0]->model_responded, "");
    assert_string_equal(b.seen.call[0]->finish_reason, "");
    finish(&b);
}

static void a_json_error_dressed_as_a_stream(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "generativelanguage.googleapis.com", 1);
    up(&b, "POST /v1beta/models/g:streamGenerateContent HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 1);
    down(&b,
         "HTTP/1.1 429 No\r\nContent-Type: text/event-stream\r\nContent-Length: 70\r\n\r\n"
         "\r\n[{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"x\":[{\"y\":1}]}}]",
         2);
    assert_int_equal(b.seen.calls, 1);
    assert_string_equal(b.seen.call[0]->error_type, "RESOURCE_EXHAUSTED");
    assert_string_equal(b.seen.call[0]->error_code, "429");
    assert_false(b.seen.call[0]->streaming);
    finish(&b);
}

static void a_stream_in_a_json_array(void **state)
{
    struct bench b;
    const struct call *c;

    (void)state;
    open_to(&b, "generativelanguage.googleapis.com", 1);
    up(&b, "POST /v1beta/models/g:streamGenerateContent HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 1);
    down(&b,
         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
         "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":"
         "{\"promptTokenCount\":2,\"candidatesTokenCount\":1}}\r\n,\r\n",
         10);
    down(&b,
         "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]},"
         "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":2,"
         "\"candidatesTokenCount\":4}}\r\n]",
         20);
    meter_close(b.m, METER_END_UPSTREAM, 30 * MS);
    c = b.seen.call[0];
    assert_true(c->streaming && c->stream_complete && c->usage_final);
    assert_int_equal(c->stream_events, 2);
    assert_int_equal(c->tool_calls, 1);
    assert_int_equal(c->output_tokens_total.value, 4);
    assert_string_equal(c->finish_reason, "STOP");
    assert_int_equal(c->latency.first_token_us.value, 9000);
    finish(&b);
}

static void head_and_multipart(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    up(&b,
       "HEAD /v1/models HTTP/1.1\r\n\r\n"
       "POST /v1/audio/transcriptions HTTP/1.1\r\nContent-Length: 154\r\n"
       "Content-Type: multipart/form-data; boundary=\"b 1\"\r\n\r\n"
       "--b 1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\n"
       "model\r\n--b 1\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n"
       "whisper-1\r\n--b 1--\r\n",
       1);
    down(&b,
         "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
         "2\r\n\r\nhi",
         2);
    assert_int_equal(b.seen.calls, 2);
    assert_string_equal(b.seen.call[0]->operation, "models");
    assert_int_equal(b.seen.call[0]->response_body_bytes, 0);
    assert_string_equal(b.seen.call[1]->model_requested, "whisper-1");
    assert_string_equal(b.seen.call[1]->operation, "transcription");
    finish(&b);
}

static void upgrades_and_rubbish(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    up(&b, "GET /v1/other HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 1);
    down(&b, "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi", 2);
    assert_int_equal(meter_state(b.m), METER_UPGRADED);
    assert_int_equal(b.seen.calls, 1);
    assert_int_equal(b.seen.call[0]->outcome, CALL_UNMETERABLE);
    assert_int_equal(b.seen.call[0]->status_code, 101);
    up(&b, "\x81\x02hi", 3);
    meter_close(b.m, METER_END_CLIENT, 4 * MS);
    assert_int_equal(b.seen.calls, 1);
    finish(&b);

    open_to(&b, "api.openai.com", 1);
    up(&b, "\x16\x03\x01 no http", 1);
    assert_int_equal(meter_state(b.m), METER_NOT_HTTP);
    assert_int_equal(b.seen.begins, 0);
    assert_int_equal(b.seen.calls, 0);
    finish(&b);

    open_to(&b, "api.openai.com", 0);
    up(&b, ASK_PLAIN, 1);
    down(&b, "SSH-2.0", 2);
    assert_int_equal(meter_state(b.m), METER_NOT_HTTP);
    assert_int_equal(b.seen.calls, 1);
    assert_int_equal(b.seen.call[0]->outcome, CALL_UNMETERABLE);
    finish(&b);
}

static void more_requests_than_may_wait(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    for (int i = 0; i < METER_PIPELINE_MAX; i++)
        up(&b, "GET /v1/models HTTP/1.1\r\n\r\n", 1);
    assert_int_equal(meter_calls_open(b.m), METER_PIPELINE_MAX);
    assert_int_equal(meter_state(b.m), METER_READING);
    up(&b, "GET /v1/models HTTP/1.1\r\n\r\n", 1);
    assert_int_equal(meter_state(b.m), METER_NOT_HTTP);
    assert_int_equal(b.seen.begins, b.seen.calls);
    assert_int_equal(meter_calls_open(b.m), 0);
    finish(&b);
}

static void an_answer_to_nothing_is_no_call(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    down(&b, "HTTP/1.1 408 Timeout\r\nContent-Length: 2\r\n\r\n{}", 1);
    meter_close(b.m, METER_END_UPSTREAM, 2 * MS);
    assert_int_equal(b.seen.calls, 0);
    finish(&b);
}

static void hosts_of_no_provider(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "example.com", 1);
    up(&b, ASK_PLAIN, 1);
    down(&b, OK_PLAIN, 2);
    assert_int_equal(b.seen.calls, 1);
    assert_string_equal(b.seen.call[0]->provider, "");
    assert_string_equal(b.seen.call[0]->operation, "other");
    assert_string_equal(b.seen.call[0]->model_requested, "");
    finish(&b);
}

static bool heap_holds(const char *what)
{
    CLEAN_FILE FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    bool found = false;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        void *from, *to;

        if (strstr(line, "[heap]") && sscanf(line, "%p-%p", &from, &to) == 2)
            found |= memmem(from, (size_t)((char *)to - (char *)from), what, strlen(what)) != NULL;
    }
    return found;
}

/* Nothing of content, key or query stays in memory after a call, freed or not. */
static void nothing_of_the_content_stays(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 5);
    up(&b,
       "POST /v1/chat/completions?key=CANARY-Q HTTP/1.1\r\nAuthorization: Bearer CANARY-K\r\n"
       "Content-Length: 46\r\n\r\n{\"model\":\"m\",\"messages\":[\"CANARY-P\",\"CANARY\"]}",
       1);
    down(&b,
         "HTTP/1.1 200 OK\r\nContent-Length: 55\r\nX-Secret: CANARY-H\r\n\r\n"
         "{\"choices\":[{\"message\":{\"content\":\"CANARY-C CANARY\"}}]}",
         2);
    assert_int_equal(b.seen.calls, 1);
    assert_null(memmem(b.m, malloc_usable_size(b.m), "CANARY", 6));
    assert_false(heap_holds("CANARY"));
    finish(&b);
}

static void memory_is_bounded(void **state)
{
    struct mallinfo2 before = mallinfo2(), after;
    struct bench b;

    (void)state;
#ifdef __SANITIZE_ADDRESS__
    print_message("SKIP - memory_is_bounded: the sanitizer's allocator keeps no statistics\n");
    skip();
#endif
    open_to(&b, "api.openai.com", 0);
    for (int i = 0; i < METER_PIPELINE_MAX; i++)
        up(&b, "GET /v1/models HTTP/1.1\r\n\r\n", 1);
    down(&b, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", 2);
    after = mallinfo2();
    assert_in_range(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd, 1,
                    METER_STATE_MAX_BYTES);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_alive_and_pipelining),
        cmocka_unit_test(what_the_request_says),
        cmocka_unit_test(client_headers_say_who_and_which_attempt),
        cmocka_unit_test(an_idempotency_key_is_kept_as_its_hash),
        cmocka_unit_test(a_key_in_the_query_is_hashed_too),
        cmocka_unit_test(times_of_a_stream),
        cmocka_unit_test(how_calls_end),
        cmocka_unit_test(an_answer_before_the_request_ended),
        cmocka_unit_test(errors_inside_a_stream),
        cmocka_unit_test(a_torn_event_leaves_no_trace),
        cmocka_unit_test(a_json_error_dressed_as_a_stream),
        cmocka_unit_test(a_stream_in_a_json_array),
        cmocka_unit_test(head_and_multipart),
        cmocka_unit_test(upgrades_and_rubbish),
        cmocka_unit_test(more_requests_than_may_wait),
        cmocka_unit_test(an_answer_to_nothing_is_no_call),
        cmocka_unit_test(hosts_of_no_provider),
        cmocka_unit_test(nothing_of_the_content_stays),
        cmocka_unit_test(memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
