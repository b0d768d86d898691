/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/realtime.c agent/realtime_turn.c agent/realtime_overlap.c agent/ws.c */
/* LINK: agent/ws_extensions.c agent/body.c */
/* LINK: agent/answer.c agent/usage.c agent/gaps.c agent/json.c agent/json_paths.c agent/text.c */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c */
#include "tests/unit/agent/realtime_bench.h"

static void open_gemini(struct bench *b, const struct carriage *how)
{
    open_session(b, how, "generativelanguage.googleapis.com",
                 "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
                 "");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemini_turn_by_modality),
        cmocka_unit_test(gemini_usage_may_follow_the_end),
        cmocka_unit_test(gemini_last_whole_usage_counts),
        cmocka_unit_test(gemini_interrupted_and_go_away),
        cmocka_unit_test(gemini_tool_calls_split_what_was_told),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
