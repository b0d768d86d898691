/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/realtime.c agent/realtime_turn.c agent/ws.c agent/ws_extensions.c agent/body.c */
/* LINK: agent/answer.c agent/usage.c agent/gaps.c agent/json.c agent/json_paths.c agent/text.c */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c */
#include "agent/realtime.h"
#include "agent/provider.h"
#include "tests/unit/agent/ws_frames.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000000ULL
#define CALLS_MAX 24

static struct provider_set *set;

static int load(void **state)
{
    struct provider_error error;

    (void)state;
    return provider_set_load("agent/providers", &set, &error);
}

static int unload(void **state)
{
    (void)state;
    provider_set_free(&set);
    return 0;
}

/* How the session is carried; every one must tell the same. */
struct carriage {
    bool deflate, takeover;
    size_t piece; /* 0: whole */
    unsigned frames;
};

static const struct carriage carriages[] = {
    {false, false, 0, 1}, {false, false, 1, 1}, {false, false, 3, 3},
    {true, true, 0, 1},   {true, true, 1, 2},   {true, false, 5, 1},
};
#define EVERY(c)                                                                                   \
    for (const struct carriage *c = carriages;                                                     \
         c < carriages + sizeof(carriages) / sizeof(carriages[0]); c++)

struct bench {
    const struct carriage *how;
    struct realtime *rt;
    struct deflater said, heard;
    unsigned begins, calls;
    char begun[32];
    struct call blank;
    struct call *call[CALLS_MAX];
};

static void on_begin(void *user, const char *operation)
{
    struct bench *b = user;

    b->begins++;
    snprintf(b->begun, sizeof(b->begun), "%s", operation);
}

static struct call *blank(void *user)
{
    struct bench *b = user;

    memset(&b->blank, 0, sizeof(b->blank));
    strcpy(b->blank.provider, "given");
    return &b->blank;
}

static void on_call(void *user, const struct call *call)
{
    struct bench *b = user;

    assert_in_range(b->calls, 0, CALLS_MAX - 1);
    assert_ptr_equal(call, &b->blank);
    assert_string_equal(call->provider, "given");
    b->call[b->calls] = malloc(sizeof(*call));
    assert_non_null(b->call[b->calls]);
    *b->call[b->calls++] = *call;
}

static void open_session(struct bench *b, const struct carriage *how, const char *host,
                         const char *path, const char *model)
{
    const struct realtime_env env = {b, on_begin, blank, on_call};
    const struct ws_deflate deflate = {how->deflate, how->takeover, 15};
    struct provider_route route;

    memset(b, 0, sizeof(*b));
    b->how = how;
    deflater_init(&b->said, 15, how->takeover);
    deflater_init(&b->heard, 15, how->takeover);
    assert_int_equal(provider_route(provider_by_host(set, slice_str(host)), slice_str("GET"),
                                    slice_str(path), &route),
                     0);
    assert_string_equal(route.operation->operation, "realtime_session");
    assert_int_equal(
        realtime_new(&env, route.operation->family, &deflate, &deflate, NULL, model, &b->rt), 0);
}

static void open_openai(struct bench *b, const struct carriage *how)
{
    open_session(b, how, "api.openai.com", "/v1/realtime", "gpt-realtime");
}

static void open_gemini(struct bench *b, const struct carriage *how)
{
    open_session(b, how, "generativelanguage.googleapis.com",
                 "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
                 "");
}

static int feed(struct bench *b, bool client, const struct wire *w, uint64_t at_ms)
{
    size_t step = b->how->piece ? b->how->piece : w->len + 1;
    int r = 0;

    for (size_t i = 0; !r && i < w->len; i += step) {
        struct slice piece = slice_of(w->data + i, w->len - i < step ? w->len - i : step);

        r = client ? realtime_client(b->rt, piece, at_ms * MS)
                   : realtime_server(b->rt, piece, at_ms * MS);
    }
    return r;
}

static void message(struct bench *b, bool client, uint64_t at_ms, const char *json)
{
    struct deflater *d = !b->how->deflate ? NULL : client ? &b->said : &b->heard;
    struct wire w = {0};

    wire_message(&w, client, 1, json, strlen(json), d, b->how->frames);
    assert_int_equal(feed(b, client, &w, at_ms), 0);
    wire_free(&w);
}

#define say(b, at_ms, json) message(b, true, at_ms, json)
#define hear(b, at_ms, json) message(b, false, at_ms, json)

static void close_frame(struct bench *b, bool client, unsigned code, uint64_t at_ms)
{
    const uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    struct wire w = {0};

    wire_frame(&w, client, 0x88, payload, 2);
    assert_int_equal(feed(b, client, &w, at_ms), 0);
    wire_free(&w);
}

static void close_session(struct bench *b, enum realtime_end end, uint64_t at_ms)
{
    realtime_close(b->rt, end, at_ms * MS);
    assert_int_equal(b->begins, b->calls);
    realtime_close(b->rt, end, at_ms * MS);
    assert_int_equal(b->begins, b->calls);
}

static void finish(struct bench *b)
{
    realtime_free(&b->rt);
    assert_null(b->rt);
    deflateEnd(&b->said.z);
    deflateEnd(&b->heard.z);
    for (unsigned i = 0; i < b->calls; i++)
        free(b->call[i]);
}

/* "input.text=40 input.audio=60 …" with unknown counts as "?". */
static void assert_rows(const struct call *call, const char *want)
{
    char rows[512] = "";

    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *row = &call->usage[i];
        size_t len = strlen(rows);

        snprintf(rows + len, sizeof(rows) - len, "%s%s.%s%s", i ? " " : "", row->kind,
                 row->modality, strcmp(row->unit, "token") == 0 ? "" : ".");
        len = strlen(rows);
        snprintf(rows + len, sizeof(rows) - len,
                 "%s=", strcmp(row->unit, "token") == 0 ? "" : row->unit);
        len = strlen(rows);
        if (row->count.known)
            snprintf(rows + len, sizeof(rows) - len, "%llu", (unsigned long long)row->count.value);
        else
            snprintf(rows + len, sizeof(rows) - len, "?");
    }
    assert_string_equal(rows, want);
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

#define SETUP "{\"setup\":{\"model\":\"models/gemini-live-2.5-flash\",\"generationConfig\":{}}}"
#define TURN "{\"clientContent\":{\"turns\":[{\"role\":\"user\"}],\"turnComplete\":true}}"
#define AUDIO                                                                                      \
    "{\"serverContent\":{\"modelTurn\":{\"parts\":[{\"inlineData\":{\"mimeType\":\"audio/pcm\","   \
    "\"data\":\"AAAA\"}}]}}}"
#define LIVE_USAGE                                                                                 \
    "\"usageMetadata\":{\"promptTokenCount\":100,\"cachedContentTokenCount\":30,"                  \
    "\"responseTokenCount\":80,\"toolUsePromptTokenCount\":7,\"thoughtsTokenCount\":11,"           \
    "\"totalTokenCount\":198,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":55},"  \
    "{\"modality\":\"AUDIO\",\"tokenCount\":40},{\"modality\":\"VIDEO\",\"tokenCount\":5}],"       \
    "\"cacheTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":10},{\"modality\":\"TEXT\","   \
    "\"tokenCount\":20}],\"responseTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":60},"   \
    "{\"modality\":\"TEXT\",\"tokenCount\":20}]}"
#define LIVE_ROWS                                                                                  \
    "input.text=35 input.audio=30 input.video=5 cached_input.text=20 cached_input.audio=10 "       \
    "tool_use_input.text=7 output.text=20 output.audio=60 reasoning.text=11"

static void gemini_turn_by_modality(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        const struct call *c;

        open_gemini(&b, how);
        say(&b, 5, SETUP);
        hear(&b, 10, "{\"setupComplete\":{}}");
        say(&b, 20, TURN);
        hear(&b, 120, AUDIO);
        hear(&b, 130, AUDIO);
        hear(&b, 140, "{\"serverContent\":{\"generationComplete\":true}}");
        hear(&b, 150, "{\"serverContent\":{\"turnComplete\":true}," LIVE_USAGE "}");
        assert_int_equal(b.calls, 1);
        c = b.call[0];
        assert_string_equal(c->operation, "realtime");
        assert_string_equal(c->model_requested, "gemini-live-2.5-flash");
        assert_int_equal(c->outcome, CALL_OK);
        assert_rows(c, LIVE_ROWS);
        assert_true(c->usage_final && c->stream_complete);
        assert_int_equal(c->input_tokens_total.value, 107);
        assert_int_equal(c->output_tokens_total.value, 91);
        assert_int_equal(c->reported.total_tokens.value, 198);
        assert_int_equal(c->latency.first_token_us.value, 100000);
        assert_int_equal(c->latency.total_us.value, 130000);
        close_session(&b, REALTIME_END_CLIENT, 200);
        finish(&b);
    }
}

static void gemini_usage_may_follow_the_end(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        open_gemini(&b, how);
        say(&b, 20, TURN);
        hear(&b, 120, AUDIO);
        hear(&b, 150, "{\"serverContent\":{\"turnComplete\":true}}");
        assert_int_equal(b.calls, 0);
        hear(&b, 155, "{\"sessionResumptionUpdate\":{\"newHandle\":\"h\"}}");
        assert_int_equal(b.calls, 0);
        hear(&b, 160, "{" LIVE_USAGE "}");
        assert_int_equal(b.calls, 1);
        assert_rows(b.call[0], LIVE_ROWS);
        assert_int_equal(b.call[0]->latency.total_us.value, 130000);
        /* None comes: the next turn ends the wait. */
        say(&b, 200, TURN);
        hear(&b, 210, AUDIO);
        hear(&b, 220, "{\"serverContent\":{\"turnComplete\":true}}");
        say(&b, 300, TURN);
        assert_int_equal(b.calls, 2);
        assert_int_equal(b.call[1]->outcome, CALL_OK);
        assert_rows(b.call[1], "input.text=? output.text=?");
        hear(&b, 310, AUDIO);
        hear(&b, 320, "{\"serverContent\":{\"turnComplete\":true}}");
        close_session(&b, REALTIME_END_PROVIDER, 900);
        assert_int_equal(b.call[2]->outcome, CALL_OK);
        assert_int_equal(b.call[2]->latency.total_us.value, 20000);
        finish(&b);
    }
}

static void gemini_last_whole_usage_counts(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        open_gemini(&b, how);
        say(&b, 20, TURN);
        hear(&b, 30,
             "{\"serverContent\":{\"modelTurn\":{\"parts\":[{\"text\":\"a\"}]}},\"usageMetadata\":"
             "{\"promptTokenCount\":3,\"responseTokenCount\":1,\"thoughtsTokenCount\":9}}");
        hear(&b, 40,
             "{\"serverContent\":{\"turnComplete\":true},\"usageMetadata\":{\"promptTokenCount\":4,"
             "\"responseTokenCount\":2}}");
        assert_rows(b.call[0], "input.text=4 output.text=2");
        close_session(&b, REALTIME_END_CLIENT, 50);
        finish(&b);
    }
}

static void gemini_interrupted_and_go_away(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        struct call session = {0};

        open_gemini(&b, how);
        say(&b, 5, SETUP);
        say(&b, 10, "{\"realtimeInput\":{\"audio\":{\"data\":\"AAAA\"}}}");
        say(&b, 20, "{\"realtimeInput\":{\"activityEnd\":{}}}");
        hear(&b, 70, AUDIO);
        assert_int_equal(b.begins, 1);
        say(&b, 80, "{\"realtimeInput\":{\"audio\":{\"data\":\"AAAA\"}}}");
        hear(&b, 90, "{\"serverContent\":{\"interrupted\":true}}");
        assert_int_equal(b.calls, 0);
        hear(&b, 95, "{\"serverContent\":{\"turnComplete\":true}," LIVE_USAGE "}");
        assert_int_equal(b.calls, 1);
        assert_string_equal(b.call[0]->finish_reason, "interrupted");
        assert_int_equal(b.call[0]->outcome, CALL_OK);
        assert_int_equal(b.call[0]->latency.first_token_us.value, 50000);
        assert_rows(b.call[0], LIVE_ROWS);
        hear(&b, 100, "{\"goAway\":{\"timeLeft\":\"10s\"}}");
        assert_int_equal(b.begins, 1);
        close_frame(&b, false, 1001, 110);
        close_session(&b, REALTIME_END_PROVIDER, 120);
        realtime_fill(b.rt, &session);
        assert_int_equal(session.outcome, CALL_OK);
        assert_string_equal(session.model_requested, "gemini-live-2.5-flash");
        finish(&b);
    }
}

static void gemini_tool_calls_split_what_was_told(void **state)
{
    struct bench b;

    (void)state;
    EVERY(how)
    {
        open_gemini(&b, how);
        say(&b, 10, TURN);
        hear(&b, 20,
             "{\"toolCall\":{\"functionCalls\":[{\"id\":\"1\",\"name\":\"f\"},{\"id\":\"2\"}]},"
             "\"usageMetadata\":{\"promptTokenCount\":10,\"responseTokenCount\":5}}");
        say(&b, 30, "{\"toolResponse\":{\"functionResponses\":[{\"id\":\"1\"}]}}");
        assert_int_equal(b.calls, 1);
        assert_int_equal(b.call[0]->tool_calls, 2);
        assert_rows(b.call[0], "input.text=10 output.text=5");
        assert_true(b.call[0]->usage_final);
        hear(&b, 50, AUDIO);
        hear(&b, 60,
             "{\"serverContent\":{\"turnComplete\":true},\"usageMetadata\":{\"promptTokenCount\":"
             "20,\"responseTokenCount\":6}}");
        assert_rows(b.call[1], "input.text=20 output.text=6");
        assert_int_equal(b.call[1]->latency.first_token_us.value, 20000);
        /* Nothing told yet: it is one. */
        say(&b, 110, TURN);
        hear(&b, 120, "{\"toolCall\":{\"functionCalls\":[{\"id\":\"1\",\"name\":\"f\"}]}}");
        say(&b, 130, "{\"toolResponse\":{\"functionResponses\":[{\"id\":\"1\"}]}}");
        hear(&b, 150, AUDIO);
        hear(&b, 160,
             "{\"serverContent\":{\"turnComplete\":true},\"usageMetadata\":{\"promptTokenCount\":"
             "20,\"responseTokenCount\":6}}");
        assert_int_equal(b.calls, 3);
        assert_int_equal(b.call[2]->tool_calls, 1);
        assert_rows(b.call[2], "input.text=20 output.text=6");
        close_session(&b, REALTIME_END_CLIENT, 200);
        finish(&b);
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
        cmocka_unit_test(gemini_turn_by_modality),
        cmocka_unit_test(gemini_usage_may_follow_the_end),
        cmocka_unit_test(gemini_last_whole_usage_counts),
        cmocka_unit_test(gemini_interrupted_and_go_away),
        cmocka_unit_test(gemini_tool_calls_split_what_was_told),
        cmocka_unit_test(rubbish_is_let_go_or_refused),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
