/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/* Many streams of one connection at a time. */
#include "tests/unit/agent/meter_h2_bench.h"

#define MANY 500
/* Small numbers for steps that look random and are the same every time. */
static uint32_t seed;
static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

struct one {
    char path[96], request[128], answer[1024];
    size_t answer_at;
    bool answered;
};

/* Shapes of several providers' answers, each with numbers of its own. */
static void make_one(struct one *o, unsigned i)
{
    static const char *const paths[] = {"/v1/chat/completions", "/v1/chat/completions",
                                        "/v1/responses", "/v1/embeddings"};

    snprintf(o->path, sizeof(o->path), "%s", paths[i % 4]);
    snprintf(o->request, sizeof(o->request), "{\"model\":\"m-%u\"%s}", i,
             i % 4 == 1 ? ",\"stream\":true" : "");
    switch (i % 4) {
    case 0:
        snprintf(o->answer, sizeof(o->answer),
                 "{\"id\":\"r-%u\",\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":5,"
                 "\"total_tokens\":%u}}",
                 i, i + 1, i + 6);
        break;
    case 1:
        snprintf(o->answer, sizeof(o->answer),
                 "data: {\"id\":\"r-%u\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}"
                 "\n\n" DELTA DELTA "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":%u,"
                 "\"completion_tokens\":5,\"total_tokens\":%u}}\n\ndata: [DONE]\n\n",
                 i, i + 1, i + 6);
        break;
    case 2:
        snprintf(o->answer, sizeof(o->answer),
                 "{\"id\":\"r-%u\",\"object\":\"response\",\"status\":\"completed\",\"usage\":"
                 "{\"input_tokens\":%u,\"output_tokens\":5,\"total_tokens\":%u}}",
                 i, i + 1, i + 6);
        break;
    default:
        snprintf(o->answer, sizeof(o->answer),
                 "{\"data\":[{\"embedding\":[0.1]}],\"usage\":{\"prompt_tokens\":%u,"
                 "\"total_tokens\":%u}}",
                 i + 1, i + 1);
    }
}

static void many_streams_none_mixed_up(void **state)
{
    static const size_t pieces[] = {0, 1, 7, 997};

    (void)state;
    for (size_t p = 0; p < 4; p++) {
        struct one *ones = calloc(MANY, sizeof(*ones));
        unsigned open = MANY;
        struct bench b;

        assert_non_null(ones);
        seed = (uint32_t)p;
        open_to(&b, "api.openai.com", pieces[p]);
        for (unsigned i = 0; i < MANY; i++) {
            char trace[64];

            make_one(&ones[i], i);
            snprintf(trace, sizeof(trace), "00-%032x-b7ad6b7169203331-01", i + 1);
            head(&b, i * 2 + 1, "POST", ones[i].path, "traceparent", trace, false);
            h2_data(&b.up, i * 2 + 1, ones[i].request, 5, false, NO_PAD);
        }
        for (unsigned i = MANY; i-- > 0;)
            h2_data(&b.up, i * 2 + 1, ones[i].request + 5, strlen(ones[i].request) - 5, true, 2);
        up(&b, 1);
        assert_int_equal(meter_calls_open(b.m), MANY);
        while (open) {
            unsigned i = next_random(MANY);
            struct one *o = &ones[i];
            size_t left = strlen(o->answer) - o->answer_at, n = 1 + next_random(60);

            if (!o->answered) {
                o->answered = true;
                status(&b, i * 2 + 1, "200", i % 4 == 1 ? "text/event-stream" : NULL, false);
                continue;
            }
            if (!left)
                continue;
            n = n < left ? n : left;
            h2_data(&b.down, i * 2 + 1, o->answer + o->answer_at, n, n == left, NO_PAD);
            o->answer_at += n;
            open -= n == left;
            if (b.down.out.len > 20000)
                down(&b, 2);
        }
        down(&b, 3);
        assert_int_equal(b.calls, MANY);
        for (unsigned k = 0; k < MANY; k++) {
            const struct call *c = b.call[k];
            unsigned i = (unsigned)strtoul(c->trace_id, NULL, 16) - 1;
            char text[32];

            snprintf(text, sizeof(text), "m-%u", i);
            assert_string_equal(c->model_requested, text);
            snprintf(text, sizeof(text), i % 4 == 3 ? "" : "r-%u", i);
            assert_string_equal(c->response_id, text);
            assert_int_equal(c->reported.input_tokens.value, i + 1);
            assert_int_equal(c->outcome, CALL_OK);
            assert_true(c->usage_final);
            assert_int_equal(c->streaming, i % 4 == 1);
            assert_int_equal(ones[i].answer_at, strlen(ones[i].answer));
            ones[i].answer_at = 0; /* seen */
        }
        finish(&b);
        free(ones);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_streams_none_mixed_up),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
