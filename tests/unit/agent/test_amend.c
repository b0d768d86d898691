/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter agent/amend.c */
/* Answers that come later complete the call that was promised them, once. */
#include "agent/amend.h"
#include "agent/estimate.h"
#include "agent/meter.h"
#include "tests/unit/agent/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t secret[32] = "0123456789abcdef0123456789abcdef";
static struct call seen;
static struct estimator *estimator;
static struct amend memory;

static int forget(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof(memory));
    return 0;
}

static void on_call(void *user, const struct call *call)
{
    (void)user;
    seen = *call;
}

/* One exchange; as the connection does: what it completes, and what it promises as `id`. */
static const char *exchange(const char *host, const char *key, const char *method, const char *path,
                            const char *answer, const char *id)
{
    static char amends[AMEND_ID_BYTES];
    const struct meter_env env = {
        .providers = set, .fingerprint_key = secret, .on_call = on_call, .estimator = estimator};
    static const char ask[] = "{\"model\":\"m\",\"input\":\"a question of some length\"}";
    char text[2048];
    struct meter *m;

    assert_int_equal(meter_new(&env, METER_HTTP1, slice_str(host), &m), 0);
    snprintf(text, sizeof(text),
             "%s %s HTTP/1.1\r\nauthorization: Bearer %s\r\ncontent-length: %zu\r\n\r\n%s", method,
             path, key, method[0] == 'P' ? sizeof(ask) - 1 : 0, method[0] == 'P' ? ask : "");
    meter_request(m, slice_str(text), 1);
    snprintf(text, sizeof(text),
             "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
             strlen(answer), answer);
    meter_response(m, slice_str(text), 2);
    meter_close(m, METER_END_CLEAN, 3);
    meter_free(&m);
    amends[0] = '\0';
    (void)amend_take(&memory, &seen, amends);
    if (amend_awaits(&seen))
        amend_note(&memory, &seen, id);
    return amends;
}

#define OPENAI "api.openai.com"
#define QUEUED "{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"queued\",\"usage\":null}"
#define RUNNING "{\"id\":\"resp_1\",\"status\":\"in_progress\",\"usage\":null}"
#define DONE                                                                                       \
    "{\"id\":\"resp_1\",\"status\":\"completed\",\"usage\":{\"input_tokens\":5,"                   \
    "\"output_tokens\":6}}"

static void a_background_answer_is_completed_once(void **state)
{
    (void)state;
    assert_string_equal(exchange(OPENAI, "k", "POST", "/v1/responses", QUEUED, "event-1"), "");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", RUNNING, "x"), "");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", DONE, "x"), "event-1");
    assert_int_equal(seen.usage_count, 2);
    assert_int_equal(seen.usage[0].count.value, 5);
    /* Read again, it repeats. */
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", DONE, "x"), "");
    assert_true(seen.late);
}

/* What is told later is not guessed before. */
static void a_promise_is_not_estimated(void **state)
{
    (void)state;
    assert_int_equal(estimator_new(&estimator), 0);
    for (int i = 0; i < 50; i++) /* so that it could */
        exchange(OPENAI, "k", "POST", "/v1/responses",
                 "{\"id\":\"resp_0\",\"model\":\"m\",\"status\":\"completed\",\"usage\":{"
                 "\"input_tokens\":5,\"output_tokens\":6}}",
                 "x");
    exchange(OPENAI, "k", "POST", "/v1/responses", QUEUED, "event-1");
    for (uint32_t i = 0; i < seen.usage_count; i++)
        assert_int_equal(seen.usage[i].source, USAGE_UNKNOWN);
    assert_int_equal(seen.usage_count, 2);
    exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", RUNNING, "x");
    assert_int_equal(seen.usage_count, 0);
    estimator_free(&estimator);
}

static void another_key_or_provider_completes_nothing(void **state)
{
    (void)state;
    assert_string_equal(exchange(OPENAI, "k", "POST", "/v1/responses", QUEUED, "event-1"), "");
    assert_string_equal(exchange(OPENAI, "other", "GET", "/v1/responses/resp_1", DONE, "x"), "");
    assert_string_equal(exchange("api.x.ai", "k", "GET", "/v1/responses/resp_1", DONE, "x"), "");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", DONE, "x"), "event-1");
}

static void what_was_complete_is_only_repeated(void **state)
{
    (void)state;
    assert_string_equal(exchange(OPENAI, "k", "POST", "/v1/responses", DONE, "event-1"), "");
    assert_false(seen.late);
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", DONE, "x"), "");
}

static void a_run_is_completed_by_the_poll_that_has_its_usage(void **state)
{
    (void)state;
    exchange(OPENAI, "k", "POST", "/v1/threads/t/runs", "{\"id\":\"run_1\",\"status\":\"queued\"}",
             "event-r");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/threads/t/runs/run_1",
                                 "{\"id\":\"run_1\",\"status\":\"completed\",\"usage\":{"
                                 "\"prompt_tokens\":3,\"completion_tokens\":4}}",
                                 "x"),
                        "event-r");
}

static void anthropic_batch_results_add_up_under_the_batch(void **state)
{
    static const char batch[] = "{\"id\":\"msgbatch_1\",\"processing_status\":\"in_progress\"}";
    static const char line[] =
        "{\"custom_id\":\"0\",\"result\":{\"type\":\"succeeded\",\"message\":{\"model\":\"c-1\","
        "\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":2,\"output_tokens\":3}}}}\n"
        "{\"custom_id\":\"1\",\"result\":{\"type\":\"errored\"}}\n"
        "{\"custom_id\":\"2\",\"result\":{\"type\":\"succeeded\",\"message\":{\"model\":\"c-1\","
        "\"usage\":{\"input_tokens\":20,\"output_tokens\":4}}}}\n";

    (void)state;
    exchange("api.anthropic.com", "k", "POST", "/v1/messages/batches", batch, "event-b");
    assert_true(seen.pending);
    assert_string_equal(exchange("api.anthropic.com", "k", "GET",
                                 "/v1/messages/batches/msgbatch_1/results", line, "x"),
                        "event-b");
    assert_int_equal(seen.usage_count, 3);
    assert_string_equal(seen.usage[0].kind, "input");
    assert_string_equal(seen.usage[0].model, "c-1");
    assert_int_equal(seen.usage[0].count.value, 30);
    assert_int_equal(seen.usage[1].count.value, 2);
    assert_int_equal(seen.usage[2].count.value, 7);
    assert_false(seen.usage_reported); /* none of it is this call's own */
}

static void openai_batch_results_are_in_the_file_it_names(void **state)
{
    static const char file[] =
        "{\"response\":{\"body\":{\"model\":\"m-1\",\"usage\":{\"prompt_tokens\":10,"
        "\"completion_tokens\":3}}}}\n{\"response\":{\"body\":{\"model\":\"m-1\",\"usage\":{"
        "\"input_tokens\":1,\"output_tokens\":2}}}}\n";

    (void)state;
    exchange(OPENAI, "k", "POST", "/v1/batches", "{\"id\":\"batch_1\",\"status\":\"validating\"}",
             "event-b");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/files/file-9/content", file, "x"), "");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/batches/batch_1",
                                 "{\"id\":\"batch_1\",\"status\":\"completed\","
                                 "\"output_file_id\":\"file-9\"}",
                                 "x"),
                        "");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/files/file-9/content", file, "x"),
                        "event-b");
    assert_int_equal(seen.usage[0].count.value, 11);
    assert_int_equal(seen.usage[1].count.value, 5);
}

static void gemini_batch_answers_come_inlined(void **state)
{
    static const char host[] = "generativelanguage.googleapis.com";
    static const char done[] =
        "{\"name\":\"batches/b1\",\"metadata\":{\"model\":\"models/g\",\"state\":"
        "\"BATCH_STATE_SUCCEEDED\"},\"done\":true,\"response\":{\"inlinedResponses\":{"
        "\"inlinedResponses\":[{\"response\":{\"usageMetadata\":{\"promptTokenCount\":3,"
        "\"candidatesTokenCount\":4}}},{\"response\":{\"usageMetadata\":{"
        "\"promptTokenCount\":5,\"thoughtsTokenCount\":6}}}]}}}";

    (void)state;
    exchange(host, "k", "POST", "/v1beta/models/g:batchGenerateContent",
             "{\"name\":\"batches/b1\",\"metadata\":{\"state\":\"BATCH_STATE_PENDING\"}}",
             "event-g");
    assert_true(seen.pending);
    assert_string_equal(exchange(host, "k", "GET", "/v1beta/batches/b1",
                                 "{\"name\":\"batches/b1\",\"metadata\":{\"state\":"
                                 "\"BATCH_STATE_RUNNING\"}}",
                                 "x"),
                        "");
    assert_string_equal(exchange(host, "k", "GET", "/v1beta/batches/b1", done, "x"), "event-g");
    assert_int_equal(seen.usage_count, 3);
    assert_int_equal(seen.usage[0].count.value, 8);
    assert_int_equal(seen.usage[1].count.value, 4);
    assert_int_equal(seen.usage[2].count.value, 6);
    assert_false(seen.usage_reported);
    assert_string_equal(exchange(host, "k", "GET", "/v1beta/batches/b1", done, "x"), "");
}

static void models_of_lines_that_differ_are_not_named(void **state)
{
    static const char file[] =
        "{\"response\":{\"body\":{\"model\":\"a\",\"usage\":{\"prompt_tokens\":1}}}}\n"
        "{\"response\":{\"body\":{\"model\":\"b\",\"usage\":{\"prompt_tokens\":2}}}}\n";

    (void)state;
    exchange(OPENAI, "k", "GET", "/v1/files/file-9/content", file, "x");
    assert_int_equal(seen.usage[0].count.value, 3);
    assert_string_equal(seen.usage[0].model, "");
}

static void the_oldest_is_forgotten_first(void **state)
{
    char answer[128], id[AMEND_ID_BYTES];

    (void)state;
    for (int i = 0; i <= AMEND_MAX; i++) {
        snprintf(answer, sizeof(answer), "{\"id\":\"resp_%d\",\"status\":\"queued\"}", i);
        snprintf(id, sizeof(id), "event-%d", i);
        exchange(OPENAI, "k", "POST", "/v1/responses", answer, id);
    }
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_0",
                                 "{\"id\":\"resp_0\",\"status\":\"completed\",\"usage\":{"
                                 "\"input_tokens\":5,\"output_tokens\":6}}",
                                 "x"),
                        "");
    assert_string_equal(exchange(OPENAI, "k", "GET", "/v1/responses/resp_1", DONE, "x"), "event-1");
}

static void a_failed_answer_promises_nothing(void **state)
{
    (void)state;
    exchange(OPENAI, "k", "POST", "/v1/responses",
             "{\"id\":\"resp_1\",\"status\":\"queued\",\"error\":{\"code\":\"x\"}}", "event-1");
    assert_false(amend_awaits(&seen));
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_background_answer_is_completed_once),
        TEST(a_promise_is_not_estimated),
        TEST(another_key_or_provider_completes_nothing),
        TEST(what_was_complete_is_only_repeated),
        TEST(a_run_is_completed_by_the_poll_that_has_its_usage),
        TEST(anthropic_batch_results_add_up_under_the_batch),
        TEST(openai_batch_results_are_in_the_file_it_names),
        TEST(gemini_batch_answers_come_inlined),
        TEST(models_of_lines_that_differ_are_not_named),
        TEST(the_oldest_is_forgotten_first),
        TEST(a_failed_answer_promises_nothing),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
