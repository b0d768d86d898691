/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/realtime.c agent/realtime_turn.c agent/realtime_overlap.c agent/ws.c */
/* LINK: agent/ws_extensions.c agent/body.c */
/* LINK: agent/answer.c agent/usage.c agent/gaps.c agent/json.c agent/json_paths.c agent/text.c */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c */
#include "tests/unit/agent/realtime_bench.h"

static void open_openai(struct bench *b, const struct carriage *how)
{
    open_session(b, how, "api.openai.com", "/v1/realtime", "gpt-realtime");
}

#define CREATED                                                                                    \
    "{\"type\":\"session.created\",\"event_id\":\"e1\",\"session\":{\"id\":\"sess_1\",\"object\":" \
    "\"realtime.session\",\"type\":\"realtime\",\"model\":\"gpt-realtime-2025-08-28\","            \
    "\"audio\":{\"input\":{\"transcription\":null}}}}"
#define RESPONSE_CREATED(id)                                                                       \
    "{\"type\":\"response.created\",\"event_id\":\"e2\",\"response\":{\"object\":"                 \
    "\"realtime.response\",\"id\":\"" id "\",\"status\":\"in_progress\",\"status_details\":null,"  \
    "\"output\":[],\"usage\":null}}"
#define DELTA(id)                                                                                  \
    "{\"type\":\"response.output_audio.delta\",\"event_id\":\"e3\",\"response_id\":\"" id          \
    "\",\"item_id\":\"i1\",\"output_index\":0,\"content_index\":0,\"delta\":\"UklGRg==\"}"
#define USAGE                                                                                      \
    "{\"total_tokens\":250,\"input_tokens\":150,\"output_tokens\":100,\"input_token_details\":{"   \
    "\"text_tokens\":90,\"audio_tokens\":50,\"image_tokens\":10,\"cached_tokens\":64,"             \
    "\"cached_tokens_details\":{\"text_tokens\":40,\"audio_tokens\":20,\"image_tokens\":4}},"      \
    "\"output_token_details\":{\"text_tokens\":30,\"audio_tokens\":70}}"
#define ROWS                                                                                       \
    "input.text=50 input.audio=30 input.image=6 cached_input.text=40 cached_input.audio=20 "       \
    "cached_input.image=4 output.text=30 output.audio=70"
#define DONE(id, status, details, usage)                                                           \
    "{\"event_id\":\"e9\",\"response\":{\"output\":[{\"type\":\"message\",\"id\":\"i1\"}],"        \
    "\"usage\":" usage ",\"status\":\"" status "\",\"status_details\":" details ",\"id\":\"" id    \
    "\"},\"type\":\"response.done\"}"

static void openai_response_by_modality(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        const struct call *c;

        open_openai(&b, how);
        hear(&b, 5, CREATED);
        say(&b, 10, "{\"type\":\"conversation.item.create\",\"item\":{\"type\":\"message\"}}");
        say(&b, 20,
            "{\"response\":{\"output_modalities\":[\"audio\"]},\"type\":\"response.create\"}");
        assert_int_equal(b.begins, 1);
        assert_string_equal(b.begun, "realtime");
        hear(&b, 120, RESPONSE_CREATED("resp_1"));
        hear(&b, 220, DELTA("resp_1"));
        hear(&b, 230, DELTA("resp_1"));
        hear(&b, 320, DONE("resp_1", "completed", "null", USAGE));
        assert_int_equal(b.calls, 1);
        c = b.call[0];
        assert_string_equal(c->operation, "realtime");
        assert_int_equal(c->outcome, CALL_OK);
        assert_string_equal(c->model_requested, "gpt-realtime");
        assert_string_equal(c->model_responded, "gpt-realtime-2025-08-28");
        assert_string_equal(c->response_id, "resp_1");
        assert_string_equal(c->finish_reason, "completed");
        assert_rows(c, ROWS);
        assert_true(c->usage_reported && c->usage_final && c->streaming && c->stream_complete);
        assert_int_equal(c->input_tokens_total.value, 150);
        assert_int_equal(c->output_tokens_total.value, 100);
        assert_int_equal(c->start_mono_ns, 20 * MS);
        assert_int_equal(c->latency.first_byte_us.value, 100000);
        assert_int_equal(c->latency.first_token_us.value, 200000);
        assert_int_equal(c->latency.total_us.value, 300000);
        assert_int_equal(c->latency.mean_gap_us.value, 10000);
        assert_int_equal(c->stream_events, 4);
        if (!how->deflate)
            assert_int_equal(c->response_body_bytes,
                             strlen(RESPONSE_CREATED("resp_1")) + 2 * strlen(DELTA("resp_1")) +
                                 strlen(DONE("resp_1", "completed", "null", USAGE)));
        close_frame(&b, true, 1000, 400);
        close_frame(&b, false, 1000, 410);
        assert_true(realtime_over(b.rt));
        close_session(&b, REALTIME_END_CLIENT, 420);
        assert_int_equal(b.calls, 1);
        finish(&b);
    }
}

static void openai_speech_stopped_is_a_trigger(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        open_openai(&b, how);
        say(&b, 10, "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAAA\"}");
        hear(&b, 50, "{\"type\":\"input_audio_buffer.speech_started\",\"item_id\":\"i\"}");
        hear(&b, 100, "{\"type\":\"input_audio_buffer.speech_stopped\",\"item_id\":\"i\"}");
        hear(&b, 105, "{\"type\":\"input_audio_buffer.committed\",\"item_id\":\"i\"}");
        assert_int_equal(b.begins, 0);
        hear(&b, 130, RESPONSE_CREATED("r"));
        assert_int_equal(b.begins, 1);
        hear(&b, 400, DELTA("r"));
        hear(&b, 500, DONE("r", "completed", "null", USAGE));
        assert_int_equal(b.call[0]->start_mono_ns, 100 * MS);
        assert_int_equal(b.call[0]->latency.first_token_us.value, 300000);
        if (!how->deflate)
            assert_int_equal(b.call[0]->request_body_bytes, 51);
        /* Unasked and without a trigger: nothing to count from. */
        hear(&b, 600, RESPONSE_CREATED("q"));
        hear(&b, 650, DELTA("q"));
        hear(&b, 700, DONE("q", "completed", "null", USAGE));
        assert_false(b.call[1]->latency.first_token_us.known);
        assert_int_equal(b.call[1]->latency.total_us.value, 100000);
        close_session(&b, REALTIME_END_CLIENT, 800);
        finish(&b);
    }
}

static void openai_responses_beside_each_other(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        open_openai(&b, how);
        say(&b, 10, "{\"type\":\"response.create\"}");
        hear(&b, 20, RESPONSE_CREATED("a"));
        say(&b, 30, "{\"type\":\"response.create\",\"response\":{\"conversation\":\"none\"}}");
        hear(&b, 40, RESPONSE_CREATED("b"));
        hear(&b, 50, DELTA("b"));
        hear(&b, 70, DELTA("a"));
        hear(&b, 80, DONE("b", "completed", "null", USAGE));
        assert_int_equal(b.calls, 1);
        assert_string_equal(b.call[0]->response_id, "b");
        assert_int_equal(b.call[0]->latency.first_token_us.value, 20000);
        hear(
            &b, 90,
            DONE("a", "cancelled", "{\"type\":\"cancelled\",\"reason\":\"turn_detected\"}", USAGE));
        assert_string_equal(b.call[1]->response_id, "a");
        assert_string_equal(b.call[1]->finish_reason, "turn_detected");
        assert_int_equal(b.call[1]->outcome, CALL_OK);
        assert_int_equal(b.call[1]->latency.first_token_us.value, 60000);
        assert_rows(b.call[1], ROWS);
        close_session(&b, REALTIME_END_CLIENT, 100);
        finish(&b);
    }
}

static void openai_failed_and_refused(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        struct call session = {0};

        open_openai(&b, how);
        say(&b, 10, "{\"type\":\"response.create\",\"event_id\":\"mine_1\"}");
        /* About something else. */
        hear(&b, 15,
             "{\"type\":\"error\",\"event_id\":\"x\",\"error\":{\"type\":"
             "\"invalid_request_error\",\"code\":\"other\",\"event_id\":\"mine_0\"}}");
        assert_int_equal(b.calls, 0);
        hear(&b, 20,
             "{\"type\":\"error\",\"event_id\":\"x\",\"error\":{\"type\":"
             "\"invalid_request_error\",\"code\":\"conversation_already_has_active_"
             "response\",\"message\":\"m\",\"event_id\":\"mine_1\"}}");
        assert_int_equal(b.calls, 1);
        assert_int_equal(b.call[0]->outcome, CALL_PROVIDER_ERROR);
        assert_string_equal(b.call[0]->error_type, "invalid_request_error");
        assert_string_equal(b.call[0]->error_code, "conversation_already_has_active_response");
        assert_int_equal(b.call[0]->latency.total_us.value, 10000);
        assert_false(b.call[0]->latency.first_byte_us.known);

        say(&b, 30, "{\"type\":\"response.create\"}");
        hear(&b, 40, RESPONSE_CREATED("r"));
        hear(&b, 50,
             DONE("r", "failed",
                  "{\"type\":\"failed\",\"error\":{\"type\":\"server_error\",\"code\":"
                  "\"rate_limit_exceeded\"}}",
                  "null"));
        assert_int_equal(b.call[1]->outcome, CALL_PROVIDER_ERROR);
        assert_string_equal(b.call[1]->error_type, "server_error");
        assert_string_equal(b.call[1]->error_code, "rate_limit_exceeded");
        assert_rows(b.call[1], "input.text=? output.text=?");
        close_session(&b, REALTIME_END_PROVIDER, 100);
        realtime_fill(b.rt, &session);
        assert_int_equal(session.outcome, CALL_UPSTREAM_ABORT);
        assert_string_equal(session.error_code, "other");
        finish(&b);
    }
}

static void openai_transcription_at_its_own_model(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        open_openai(&b, how);
        hear(&b, 5,
             "{\"type\":\"session.updated\",\"session\":{\"id\":\"s\",\"model\":"
             "\"gpt-realtime\",\"audio\":{\"input\":{\"transcription\":{\"model\":"
             "\"gpt-4o-mini-transcribe\"}}}}}");
        hear(&b, 10,
             "{\"type\":\"conversation.item.input_audio_transcription.delta\",\"delta\":\"he\"}");
        assert_int_equal(b.begins, 0);
        hear(&b, 20,
             "{\"type\":\"conversation.item.input_audio_transcription.completed\",\"transcript\":"
             "\"hey\",\"usage\":{\"type\":\"tokens\",\"total_tokens\":26,\"input_tokens\":17,"
             "\"input_token_details\":{\"text_tokens\":3,\"audio_tokens\":14},\"output_tokens\":9}"
             "}");
        assert_int_equal(b.calls, 1);
        assert_string_equal(b.call[0]->operation, "transcription");
        assert_string_equal(b.call[0]->api, "openai.realtime.transcription");
        assert_string_equal(b.call[0]->model_requested, "gpt-4o-mini-transcribe");
        assert_string_equal(b.call[0]->model_responded, "");
        assert_rows(b.call[0], "input.text=3 input.audio=14 output.text=9");
        hear(&b, 30,
             "{\"type\":\"conversation.item.input_audio_transcription.completed\",\"usage\":{"
             "\"type\":\"duration\",\"seconds\":4}}");
        assert_rows(b.call[1], "input.audio.second=4");
        hear(&b, 40,
             "{\"type\":\"conversation.item.input_audio_transcription.failed\",\"error\":{"
             "\"type\":\"transcription_error\",\"code\":\"audio_unintelligible\"}}");
        assert_int_equal(b.call[2]->outcome, CALL_PROVIDER_ERROR);
        assert_string_equal(b.call[2]->error_code, "audio_unintelligible");
        close_session(&b, REALTIME_END_CLIENT, 100);
        assert_int_equal(b.calls, 3);
        finish(&b);
    }
}

static void a_cut_session_tells_what_was_known(void **state)
{
    static const struct {
        enum realtime_end end;
        bool frame, by_client;
        unsigned code;
        enum call_outcome turn, session;
    } table[] = {
        {REALTIME_END_CLIENT, false, false, 0, CALL_CLIENT_ABORT, CALL_CLIENT_ABORT},
        {REALTIME_END_PROVIDER, false, false, 0, CALL_UPSTREAM_ABORT, CALL_UPSTREAM_ABORT},
        {REALTIME_END_UNREADABLE, false, false, 0, CALL_UNMETERABLE, CALL_UNMETERABLE},
        {REALTIME_END_PROVIDER, true, true, 1000, CALL_CLIENT_ABORT, CALL_OK},
        {REALTIME_END_CLIENT, true, false, 1001, CALL_UPSTREAM_ABORT, CALL_OK},
        {REALTIME_END_CLIENT, true, false, 1011, CALL_UPSTREAM_ABORT, CALL_PROVIDER_ERROR},
        {REALTIME_END_CLIENT, true, true, 4000, CALL_CLIENT_ABORT, CALL_CLIENT_ABORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        EVERY(how)
        {
            struct call session = {0};
            char code[8] = "";
            struct bench b;

            open_openai(&b, how);
            hear(&b, 5, CREATED);
            say(&b, 10, "{\"type\":\"response.create\"}");
            hear(&b, 20, RESPONSE_CREATED("r"));
            hear(&b, 30, DELTA("r"));
            say(&b, 40, "{\"type\":\"response.create\"}"); /* not taken up */
            if (table[i].frame)
                close_frame(&b, table[i].by_client, table[i].code, 50);
            close_session(&b, table[i].end, 60);
            assert_int_equal(b.calls, 2);
            assert_int_equal(b.call[0]->outcome, table[i].turn);
            assert_int_equal(b.call[0]->latency.first_token_us.value, 20000);
            assert_false(b.call[0]->usage_reported || b.call[0]->stream_complete);
            assert_rows(b.call[0], "input.text=? output.text=?");
            assert_int_equal(b.call[1]->outcome, table[i].turn);
            assert_int_equal(b.call[1]->start_mono_ns, 40 * MS);
            realtime_fill(b.rt, &session);
            assert_int_equal(session.outcome, table[i].session);
            assert_string_equal(session.response_id, "sess_1");
            assert_int_equal(session.usage_count, 0);
            if (table[i].frame)
                snprintf(code, sizeof(code), "%u", table[i].code);
            assert_string_equal(session.finish_reason, code);
            finish(&b);
        }
}

static void too_many_turns_end_the_oldest(void **state)
{
    struct bench b;

    (void)state;
    open_openai(&b, &carriages[0]);
    say(&b, 10, "{\"type\":\"response.create\"}");
    hear(&b, 20, RESPONSE_CREATED("first"));
    for (unsigned i = 0; i < REALTIME_TURNS_MAX; i++)
        say(&b, 30, "{\"type\":\"response.create\"}");
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    /* What it costs is told all the same. */
    hear(&b, 40, DONE("first", "completed", "null", USAGE));
    assert_string_equal(b.call[b.calls - 1]->response_id, "first");
    assert_rows(b.call[b.calls - 1], ROWS);
    close_session(&b, REALTIME_END_CLIENT, 50);
    finish(&b);
}

static void check_row(const struct usage_row *row, const char *kind, const char *modality,
                      uint64_t count, uint64_t low, uint64_t high)
{
    assert_string_equal(row->kind, kind);
    assert_string_equal(row->modality, modality);
    assert_int_equal(row->count.value, count);
    assert_int_equal(row->low.value, low);
    assert_int_equal(row->high.value, high);
    assert_int_equal(row->source, low < high ? USAGE_ESTIMATED : USAGE_REPORTED);
}

/* 30 text and 70 audio; which 50 of them were cached is not told. */
static void openai_cached_of_an_unknown_modality(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        const struct usage_row *row;

        open_openai(&b, how);
        hear(&b, 10,
             DONE("r", "completed", "null",
                  "{\"total_tokens\":105,\"input_tokens\":100,\"output_tokens\":5,"
                  "\"input_token_details\":{\"text_tokens\":30,\"audio_tokens\":70,"
                  "\"cached_tokens\":50},\"output_token_details\":{\"audio_tokens\":5}}"));
        row = b.call[0]->usage;
        assert_int_equal(b.call[0]->usage_count, 6);
        check_row(&row[2], "input", "audio", 35, 20, 50);
        check_row(&row[3], "cached_input", "audio", 35, 20, 50);
        check_row(&row[4], "input", "text", 15, 0, 30);
        check_row(&row[5], "cached_input", "text", 15, 0, 30);
        /* All of it: nothing is left open. */
        hear(&b, 20,
             DONE("q", "completed", "null",
                  "{\"total_tokens\":105,\"input_tokens\":100,\"output_tokens\":5,"
                  "\"input_token_details\":{\"text_tokens\":30,\"audio_tokens\":70,"
                  "\"cached_tokens\":100},\"output_token_details\":{\"audio_tokens\":5}}"));
        row = b.call[1]->usage;
        assert_int_equal(b.call[1]->usage_count, 4);
        check_row(&row[2], "cached_input", "audio", 70, 70, 70);
        check_row(&row[3], "cached_input", "text", 30, 30, 30);
        close_session(&b, REALTIME_END_CLIENT, 30);
        finish(&b);
    }
}

/* Azure, Vertex and compatible hosts are routed to the same families. */
static void whose_sessions_are_read(void **state)
{
    static const struct {
        const char *host, *path, *family;
    } table[] = {
        {"api.openai.com", "/v1/realtime", "openai.realtime"},
        {"mine.openai.azure.com", "/openai/realtime", "openai.realtime"},
        {"mine.openai.azure.com", "/openai/v1/realtime", "openai.realtime"},
        {"api.x.ai", "/v1/realtime", "openai.realtime"},
        {"generativelanguage.googleapis.com",
         "/ws/google.ai.generativelanguage.v1alpha.GenerativeService."
         "BidiGenerateContentConstrained",
         "gemini.live"},
        {"us-central1-aiplatform.googleapis.com",
         "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent", "gemini.live"},
        {"api.openai.com", "/v1/realtime/client_secrets", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct provider *p = provider_by_host(set, slice_str(table[i].host));
        struct provider_route route;

        if (!p || provider_route(p, slice_str("GET"), slice_str(table[i].path), &route))
            fail_msg("%s%s is not known", table[i].host, table[i].path);
        if (!table[i].family)
            assert_null(route.operation->family->session);
        else if (!route.operation->family->session ||
                 strcmp(route.operation->family->id, table[i].family) != 0)
            fail_msg("%s%s: %s", table[i].host, table[i].path, route.operation->family->id);
    }
}

static void rubbish_is_let_go_or_refused(void **state)
{
    struct bench b;
    struct wire w = {0};

    (void)state;
    EVERY(how)
    {
        open_openai(&b, how);
        hear(&b, 10, "{\"type\":\"response.created\",\"response\":{\"id\":\"r\"");
        hear(&b, 10, "no JSON at all");
        hear(&b, 10, "[1,2]");
        say(&b, 10, "\"response.create\"");
        assert_int_equal(b.begins, 0);
        close_session(&b, REALTIME_END_CLIENT, 20);
        finish(&b);
    }
    open_openai(&b, &carriages[0]);
    say(&b, 10, "{\"type\":\"response.create\"}");
    wire_add(&w, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(realtime_server(b.rt, slice_of(w.data, w.len), 20 * MS), -EPROTO);
    close_session(&b, REALTIME_END_UNREADABLE, 20);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    assert_int_equal(realtime_client(b.rt, slice_of(w.data, w.len), 20 * MS), 0);
    wire_free(&w);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_response_by_modality),
        cmocka_unit_test(openai_speech_stopped_is_a_trigger),
        cmocka_unit_test(openai_responses_beside_each_other),
        cmocka_unit_test(openai_failed_and_refused),
        cmocka_unit_test(openai_transcription_at_its_own_model),
        cmocka_unit_test(a_cut_session_tells_what_was_known),
        cmocka_unit_test(too_many_turns_end_the_oldest),
        cmocka_unit_test(openai_cached_of_an_unknown_modality),
        cmocka_unit_test(whose_sessions_are_read),
        cmocka_unit_test(rubbish_is_let_go_or_refused),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
