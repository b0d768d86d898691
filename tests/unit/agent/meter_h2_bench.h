/* SPDX-License-Identifier: Apache-2.0 */
/* A meter between two writers of HTTP/2. */
#pragma once

#include "agent/body.h"
#include "agent/meter.h"
#include "tests/harness/http2_writer.h"
#include "tests/unit/agent/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000000ULL
#define CALLS_MAX 4200
#define NO_PAD -1

struct bench {
    struct meter *m;
    struct body_budget budget;
    struct h2_writer up, down;
    size_t piece;
    uint32_t begins, calls;
    struct call *call[CALLS_MAX];
};

static inline void on_begin(void *user, const struct request_head *head)
{
    struct bench *b = user;

    assert_non_null(head->operation);
    b->begins++;
}

static inline void on_call(void *user, const struct call *call)
{
    struct bench *b = user;

    assert_in_range(b->calls, 0, CALLS_MAX - 1);
    b->call[b->calls] = malloc(sizeof(*call));
    assert_non_null(b->call[b->calls]);
    *b->call[b->calls++] = *call;
}

static inline void open_to(struct bench *b, const char *host, size_t piece)
{
    struct meter_env env = {.providers = set,
                            .fingerprint_key = (const uint8_t *)"0123456789abcdef0123456789abcdef",
                            .user = b,
                            .on_begin = on_begin,
                            .on_call = on_call};

    memset(b, 0, sizeof(*b));
    b->budget =
        (struct body_budget){.memory_limit_bytes = 64u << 20, .output_left_bytes = 1u << 30};
    env.budget = &b->budget;
    b->piece = piece ? piece : SIZE_MAX;
    h2_writer_init(&b->up, true);
    h2_writer_init(&b->down, false);
    assert_int_equal(meter_new(&env, METER_HTTP2, slice_str(host), &b->m), 0);
}

/* What was written goes by. */
static inline void pass(struct bench *b, bool request, uint64_t now_ms)
{
    struct buf *out = request ? &b->up.out : &b->down.out;

    for (size_t at = 0; at < out->len;) {
        size_t n = out->len - at < b->piece ? out->len - at : b->piece;

        if (request)
            meter_request(b->m, slice_of(out->data + at, n), now_ms * MS);
        else
            meter_response(b->m, slice_of(out->data + at, n), now_ms * MS);
        at += n;
    }
    buf_reset(out);
}

#define up(b, at) pass(b, true, at)
#define down(b, at) pass(b, false, at)

static inline void finish(struct bench *b)
{
    assert_int_equal(b->begins - b->calls, meter_calls_open(b->m));
    meter_close(b->m, METER_END_CLEAN, 1000000 * MS);
    assert_int_equal(b->begins, b->calls);
    meter_free(&b->m);
    assert_int_equal(b->budget.memory_used_bytes, 0);
    h2_writer_fini(&b->up);
    h2_writer_fini(&b->down);
    for (uint32_t i = 0; i < b->calls; i++)
        free(b->call[i]);
}

static inline void head(struct bench *b, uint32_t id, const char *method, const char *path,
                        const char *name, const char *value, bool end)
{
    const struct h2_block how = {.end_stream = end, .pad = NO_PAD};
    struct h2_fields f = {0};

    h2_field(&f, ":method", method);
    h2_field(&f, ":scheme", "https");
    h2_field(&f, ":authority", "api.openai.com");
    h2_field(&f, ":path", path);
    if (name)
        h2_field(&f, name, value);
    h2_headers(&b->up, id, &f, &how);
}

static inline void status(struct bench *b, uint32_t id, const char *code, const char *type,
                          bool end)
{
    const struct h2_block how = {.end_stream = end, .pad = NO_PAD};
    struct h2_fields f = {0};

    h2_field(&f, ":status", code);
    if (type)
        h2_field(&f, "content-type", type);
    h2_headers(&b->down, id, &f, &how);
}

static inline void ask(struct bench *b, uint32_t id, const char *body)
{
    head(b, id, "POST", "/v1/chat/completions", "content-type", "application/json", false);
    h2_data(&b->up, id, body, strlen(body), true, NO_PAD);
}

static inline void say(struct bench *b, uint32_t id, const char *data, bool end)
{
    h2_data(&b->down, id, data, strlen(data), end, NO_PAD);
}

#define PLAIN "{\"model\":\"gpt-x\"}"
#define STREAM "{\"model\":\"gpt-x\",\"stream\":true}"
#define ANSWER                                                                                     \
    "{\"id\":\"c1\",\"model\":\"gpt-x-1\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]," \
    "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}"
#define DELTA "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n"
