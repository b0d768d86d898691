/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
#include "tests/unit/agent/meter_h2_bench.h"

static void a_call(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 9; piece++) {
        const struct h2_block how = {.pad = 9, .priority = true, .fragment = 3};
        struct bench b;
        struct h2_fields f = {0};
        const struct call *c;

        open_to(&b, "api.openai.com", piece);
        h2_field(&f, ":method", "POST");
        h2_field(&f, ":path", "/v1/chat/completions?x=y");
        h2_field(&f, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        h2_field(&f, "authorization", "Bearer sk-1");
        h2_field(&f, "user-agent", "OpenAI/Python 1.99.7");
        h2_headers(&b.up, 1, &f, &how);
        h2_data(&b.up, 1, PLAIN, strlen(PLAIN), false, 200);
        up(&b, 10);
        assert_int_equal(meter_calls_open(b.m), 1);
        h2_data(&b.up, 1, "", 0, true, NO_PAD);
        up(&b, 20);
        status(&b, 1, "100", NULL, false);
        status(&b, 1, "103", NULL, false);
        down(&b, 25);
        status(&b, 1, "200", "application/json", false);
        down(&b, 30);
        say(&b, 1, ANSWER, false);
        h2_data(&b.down, 1, "", 0, true, 50);
        down(&b, 50);
        assert_int_equal(b.calls, 1);
        c = b.call[0];
        assert_string_equal(c->http_version, "2");
        assert_string_equal(c->provider, "openai");
        assert_string_equal(c->server_address, "api.openai.com");
        assert_string_equal(c->api, "openai.chat");
        assert_string_equal(c->model_requested, "gpt-x");
        assert_string_equal(c->trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_string_equal(c->sdk, "OpenAI-Python/1.99.7");
        assert_int_equal(strlen(c->key_fingerprint), 16);
        assert_int_equal(c->outcome, CALL_OK);
        assert_int_equal(c->status_code, 200);
        assert_int_equal(c->reported.input_tokens.value, 7);
        assert_int_equal(c->request_body_bytes, strlen(PLAIN));
        assert_int_equal(c->response_body_bytes, strlen(ANSWER));
        assert_int_equal(c->latency.first_byte_us.value, 10000);
        assert_int_equal(c->latency.total_us.value, 40000);
        finish(&b);
    }
}

static void interleaved(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 9; piece++) {
        struct bench b;

        open_to(&b, "api.openai.com", piece);
        ask(&b, 1, STREAM);
        ask(&b, 3, PLAIN);
        head(&b, 5, "GET", "/v1/models", NULL, NULL, true);
        up(&b, 1);
        assert_int_equal(meter_calls_open(b.m), 3);
        status(&b, 1, "200", "text/event-stream", false);
        say(&b, 1, "data: {\"id\":\"str", false);
        status(&b, 3, "200", NULL, false);
        say(&b, 3, "{\"id\":\"pla", false);
        say(&b, 1, "eam\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n", false);
        say(&b, 3, "in\",\"usage\":{\"prompt_tokens\":7,", false);
        say(&b, 1, "\ndata: [DO", false);
        say(&b, 3, "\"completion_tokens\":5}}", true);
        down(&b, 2);
        assert_int_equal(b.calls, 1);
        assert_string_equal(b.call[0]->response_id, "plain");
        assert_int_equal(b.call[0]->reported.output_tokens.value, 5);
        status(&b, 5, "204", NULL, true);
        say(&b, 1, "NE]\n\n", true);
        down(&b, 3);
        assert_int_equal(b.calls, 3);
        assert_string_equal(b.call[1]->operation, "models");
        assert_int_equal(b.call[1]->status_code, 204);
        assert_string_equal(b.call[2]->response_id, "stream");
        assert_true(b.call[2]->stream_complete);
        assert_int_equal(b.call[2]->stream_events, 2);
        finish(&b);
    }
}

static void trailers(void **state)
{
    const struct h2_block end = {.end_stream = true, .pad = NO_PAD, .fragment = 2};
    struct h2_fields sum = {0};
    struct bench b;

    (void)state;
    h2_field(&sum, "x-checksum", "1");
    open_to(&b, "api.openai.com", 1);
    head(&b, 1, "POST", "/v1/chat/completions", NULL, NULL, false);
    h2_data(&b.up, 1, PLAIN, strlen(PLAIN), false, NO_PAD);
    h2_headers(&b.up, 1, &sum, &end);
    up(&b, 1);
    status(&b, 1, "200", NULL, false);
    say(&b, 1, ANSWER, false);
    h2_headers(&b.down, 1, &sum, &end);
    down(&b, 2);
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.call[0]->outcome, CALL_OK);
    assert_int_equal(b.call[0]->status_code, 200);
    assert_string_equal(b.call[0]->model_requested, "gpt-x");
    assert_int_equal(b.call[0]->reported.input_tokens.value, 7);
    /* Its stream is over: this begins no other call. */
    h2_headers(&b.up, 1, &sum, &end);
    up(&b, 3);
    assert_int_equal(b.begins, 1);
    finish(&b);
}

/* How one stream ends says nothing of its neighbour. */
static void resets(void **state)
{
    static const struct {
        const char *status, *body;
        bool whole, by_client;
        uint32_t code;
        enum call_outcome outcome;
    } table[] = {
        {"200", DELTA, false, true, NGHTTP2_CANCEL, CALL_CLIENT_ABORT},
        {"200", DELTA "data: [DONE]\n\n", false, true, NGHTTP2_CANCEL, CALL_OK},
        {"200", DELTA, false, false, NGHTTP2_INTERNAL_ERROR, CALL_UPSTREAM_ABORT},
        {"200", DELTA "data: [DONE]\n\n", false, false, NGHTTP2_INTERNAL_ERROR, CALL_OK},
        {"500", "{}", false, true, NGHTTP2_CANCEL, CALL_PROVIDER_ERROR},
        {NULL, "", false, true, NGHTTP2_CANCEL, CALL_CLIENT_ABORT},
        {NULL, "", false, false, NGHTTP2_REFUSED_STREAM, CALL_NETWORK_ERROR},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct bench b;

        open_to(&b, "api.openai.com", 1);
        ask(&b, 1, STREAM);
        ask(&b, 3, PLAIN);
        up(&b, 1);
        if (table[i].status)
            status(&b, 1, table[i].status, "text/event-stream", false);
        if (table[i].status)
            say(&b, 1, table[i].body, table[i].whole);
        down(&b, 2);
        assert_int_equal(b.calls, 0);
        h2_reset(table[i].by_client ? &b.up : &b.down, 1, table[i].code);
        pass(&b, table[i].by_client, 3);
        assert_int_equal(b.calls, 1);
        if (b.call[0]->outcome != table[i].outcome)
            fail_msg("case %zu: %d instead of %d", i, b.call[0]->outcome, table[i].outcome);
        /* What was on its way for it is nobody's. */
        say(&b, 1, DELTA, true);
        status(&b, 3, "200", NULL, false);
        say(&b, 3, ANSWER, true);
        down(&b, 4);
        assert_int_equal(b.calls, 2);
        assert_int_equal(b.call[1]->outcome, CALL_OK);
        assert_int_equal(b.call[1]->reported.output_tokens.value, 5);
        assert_int_equal(meter_state(b.m), METER_READING);
        finish(&b);
    }
}

static void an_answer_before_the_request_ended(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct bench b;

        open_to(&b, "api.openai.com", 1);
        head(&b, 1, "POST", "/v1/files", NULL, NULL, false);
        up(&b, 1);
        status(&b, 1, "200", "audio/mpeg", false);
        say(&b, 1, "\xff\xfb", true);
        down(&b, 2);
        assert_int_equal(b.calls, 0);
        if (how == 0)
            h2_data(&b.up, 1, "x", 1, true, NO_PAD);
        else if (how < 3)
            h2_reset(how == 1 ? &b.down : &b.up, 1, how == 1 ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        pass(&b, how != 1, 3);
        if (how == 3)
            meter_close(b.m, METER_END_CLIENT, 3 * MS);
        assert_int_equal(b.calls, 1);
        assert_int_equal(b.call[0]->outcome, CALL_OK);
        assert_int_equal(b.call[0]->response_body_bytes, 2);
        finish(&b);
    }
}

static void goaway(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    for (uint32_t id = 1; id < 8; id += 2)
        ask(&b, id, PLAIN);
    up(&b, 1);
    h2_goaway(&b.down, 0x7fffffff);
    down(&b, 2);
    assert_int_equal(b.calls, 0);
    h2_goaway(&b.down, 3);
    down(&b, 3);
    assert_int_equal(b.calls, 2);
    assert_int_equal(b.call[0]->outcome, CALL_NETWORK_ERROR);
    assert_int_equal(b.call[0]->status_code, 0);
    for (uint32_t id = 1; id < 4; id += 2) {
        status(&b, id, "200", NULL, false);
        say(&b, id, ANSWER, true);
    }
    down(&b, 4);
    assert_int_equal(b.calls, 4);
    assert_int_equal(b.call[3]->outcome, CALL_OK);
    finish(&b);
}

static void how_a_connection_ends(void **state)
{
    static const struct {
        enum meter_end end;
        enum call_outcome answered, unanswered;
    } table[] = {
        {METER_END_CLIENT, CALL_CLIENT_ABORT, CALL_CLIENT_ABORT},
        {METER_END_UPSTREAM, CALL_UPSTREAM_ABORT, CALL_NETWORK_ERROR},
        {METER_END_CLEAN, CALL_UPSTREAM_ABORT, CALL_NETWORK_ERROR},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct bench b;

        open_to(&b, "api.openai.com", 0);
        for (uint32_t id = 1; id < 8; id += 2)
            ask(&b, id, STREAM);
        up(&b, 1);
        status(&b, 1, "200", "text/event-stream", false);
        say(&b, 1, DELTA, false);
        status(&b, 5, "200", "text/event-stream", false);
        say(&b, 5, "data: [DONE]\n\n", false);
        down(&b, 2);
        meter_close(b.m, table[i].end, 3 * MS);
        assert_int_equal(b.calls, 4);
        assert_int_equal(b.call[0]->outcome, table[i].answered);
        assert_int_equal(b.call[0]->stream_events, 1);
        assert_int_equal(b.call[1]->outcome, table[i].unanswered);
        assert_int_equal(b.call[2]->outcome, CALL_OK);
        finish(&b);
    }
}

static void grpc_is_told_and_not_metered(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.x.ai", 1);
    head(&b, 1, "POST", "/xai_api.Chat/GetCompletion", "content-type", "application/grpc+proto",
         false);
    h2_data(&b.up, 1, "\0\0\0\0\2hi", 7, true, NO_PAD);
    up(&b, 1);
    status(&b, 1, "200", "application/grpc", false);
    say(&b, 1, "x", true);
    down(&b, 2);
    assert_int_equal(b.begins, 0);
    assert_int_equal(meter_counts(b.m)->grpc, 1);
    ask(&b, 3, PLAIN);
    up(&b, 3);
    status(&b, 3, "200", NULL, false);
    say(&b, 3, ANSWER, true);
    down(&b, 4);
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.call[0]->outcome, CALL_OK);
    finish(&b);
}

static void a_tunnel_leaves_the_others_alone(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 1);
    head(&b, 1, "CONNECT", "/v1/realtime", NULL, NULL, false);
    ask(&b, 3, PLAIN);
    up(&b, 1);
    status(&b, 1, "200", NULL, false);
    say(&b, 1, "\x81\x02hi", false);
    status(&b, 3, "200", NULL, false);
    say(&b, 3, ANSWER, true);
    down(&b, 2);
    assert_int_equal(b.calls, 2);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    assert_int_equal(b.call[0]->status_code, 200);
    assert_int_equal(b.call[1]->outcome, CALL_OK);
    finish(&b);
}

static void rubbish_ends_the_metering(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    meter_request(b.m, slice_str("GET / HTTP/1.1\r\n\r\n"), 1);
    assert_int_equal(meter_state(b.m), METER_NOT_HTTP);
    finish(&b);

    /* A block that cannot be decoded: nothing that follows can be. */
    open_to(&b, "api.openai.com", 1);
    ask(&b, 1, PLAIN);
    ask(&b, 3, PLAIN);
    up(&b, 1);
    h2_frame(&b.down, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\xfe", 1);
    status(&b, 3, "200", NULL, true);
    down(&b, 2);
    assert_int_equal(meter_state(b.m), METER_NOT_HTTP);
    assert_int_equal(b.calls, 2);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    ask(&b, 5, PLAIN);
    up(&b, 3);
    assert_int_equal(b.begins, 2);
    finish(&b);
}

/* A client that opens ever more of them does not buy an event for each. */
static void a_flood_of_streams(void **state)
{
    struct bench b;
    uint32_t streams = 3 * METER_STREAMS_MAX;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    for (uint32_t id = 1; id < 2 * streams; id += 2)
        ask(&b, id, PLAIN);
    up(&b, 1);
    assert_int_equal(meter_state(b.m), METER_NOT_HTTP);
    assert_int_equal(b.begins, 2 * METER_STREAMS_MAX);
    assert_int_equal(meter_calls_open(b.m), 0);
    finish(&b);
}

static void streams_beyond_the_limit(void **state)
{
    struct bench b;
    uint32_t last = METER_STREAMS_MAX * 2 + 1;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    for (uint32_t id = 1; id < last; id += 2)
        ask(&b, id, PLAIN);
    up(&b, 1);
    assert_int_equal(b.calls, 0);
    ask(&b, last, PLAIN);
    up(&b, 2);
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    assert_int_equal(meter_counts(b.m)->untracked, 1);
    status(&b, last, "200", NULL, false);
    say(&b, last, ANSWER, true);
    status(&b, 1, "200", NULL, false);
    say(&b, 1, ANSWER, true);
    down(&b, 3);
    assert_int_equal(b.calls, 2);
    assert_int_equal(b.call[1]->outcome, CALL_OK);
    ask(&b, last + 2, PLAIN);
    up(&b, 4);
    assert_int_equal(b.calls, 2);
    finish(&b);
}

/* What all connections may hold is used up: told, and passed on. */
static void no_memory_left(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    b.budget.memory_limit_bytes = 40000;
    for (uint32_t id = 1; id < 8; id += 2)
        ask(&b, id, STREAM);
    up(&b, 1);
    for (uint32_t id = 1; id < 8; id += 2) {
        status(&b, id, "200", "text/event-stream", false);
        say(&b, id, DELTA, false);
    }
    down(&b, 2);
    assert_int_equal(b.calls, 3);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    assert_int_equal(b.budget.failed_memory, 3);
    say(&b, 1, "data: [DONE]\n\n", true);
    down(&b, 3);
    assert_int_equal(b.call[3]->outcome, CALL_OK);
    finish(&b);
}

static void the_agents_own_time(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, "api.openai.com", 0);
    ask(&b, 1, STREAM);
    up(&b, 1);
    meter_request_took(b.m, 100);
    ask(&b, 3, PLAIN);
    up(&b, 2);
    meter_request_took(b.m, 10);
    status(&b, 1, "200", "text/event-stream", false);
    say(&b, 1, DELTA DELTA, false);
    meter_response_took(b.m, 1000);
    down(&b, 3);
    say(&b, 1, DELTA, false);
    status(&b, 3, "200", NULL, false);
    say(&b, 3, ANSWER, true);
    meter_response_took(b.m, 7);
    down(&b, 4);
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.call[0]->added_ns, 17);
    say(&b, 1, "data: [DONE]\n\n", true);
    meter_response_took(b.m, 1);
    down(&b, 5);
    assert_int_equal(b.call[1]->added_ns, 1108);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call),
        cmocka_unit_test(interleaved),
        cmocka_unit_test(trailers),
        cmocka_unit_test(resets),
        cmocka_unit_test(an_answer_before_the_request_ended),
        cmocka_unit_test(goaway),
        cmocka_unit_test(how_a_connection_ends),
        cmocka_unit_test(grpc_is_told_and_not_metered),
        cmocka_unit_test(a_tunnel_leaves_the_others_alone),
        cmocka_unit_test(rubbish_ends_the_metering),
        cmocka_unit_test(streams_beyond_the_limit),
        cmocka_unit_test(a_flood_of_streams),
        cmocka_unit_test(no_memory_left),
        cmocka_unit_test(the_agents_own_time),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
