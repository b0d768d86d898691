/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/* Realtime sessions over HTTP/2 (RFC 8441), beside other streams. */
#include "agent/body.h"
#include "agent/meter.h"
#include "tests/harness/http2_writer.h"
#include "tests/unit/agent/profiles.h"
#include "tests/unit/agent/ws_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000000ULL
#define CALLS_MAX 64
#define NO_PAD -1

struct bench {
    struct meter *m;
    struct body_budget budget;
    struct h2_writer up, down;
    size_t piece;
    unsigned begins, calls;
    struct call *call[CALLS_MAX];
};

static void on_begin(void *user, const struct request_head *head)
{
    struct bench *b = user;

    assert_non_null(head->operation);
    b->begins++;
}

static void on_call(void *user, const struct call *call)
{
    struct bench *b = user;

    assert_in_range(b->calls, 0, CALLS_MAX - 1);
    b->call[b->calls] = malloc(sizeof(*call));
    assert_non_null(b->call[b->calls]);
    *b->call[b->calls++] = *call;
}

static void open_to(struct bench *b, size_t piece)
{
    struct meter_env env = {.providers = set, .user = b, .on_begin = on_begin, .on_call = on_call};

    memset(b, 0, sizeof(*b));
    b->budget =
        (struct body_budget){.memory_limit_bytes = 64u << 20, .output_left_bytes = 1u << 30};
    env.budget = &b->budget;
    b->piece = piece ? piece : SIZE_MAX;
    h2_writer_init(&b->up, true);
    h2_writer_init(&b->down, false);
    assert_int_equal(meter_new(&env, METER_HTTP2, slice_str("api.openai.com"), &b->m), 0);
}

static void pass(struct bench *b, bool request, uint64_t now_ms)
{
    struct buf *out = request ? &b->up.out : &b->down.out;

    for (size_t at = 0; at < out->len;) {
        size_t n = out->len - at < b->piece ? out->len - at : b->piece;

        (request ? meter_request : meter_response)(b->m, slice_of(out->data + at, n), now_ms * MS);
        at += n;
    }
    buf_reset(out);
}

static void finish(struct bench *b, enum meter_end end)
{
    meter_close(b->m, end, 900 * MS);
    assert_int_equal(b->begins, b->calls);
    assert_int_equal(meter_calls_open(b->m), 0);
    meter_free(&b->m);
    assert_int_equal(b->budget.memory_used_bytes, 0);
    h2_writer_fini(&b->up);
    h2_writer_fini(&b->down);
    for (unsigned i = 0; i < b->calls; i++)
        free(b->call[i]);
}

#define DEFLATE "permessage-deflate"

/* The upgrade's two heads. */
static void connect_session(struct bench *b, uint32_t id, bool deflate, uint64_t now_ms)
{
    const struct h2_block how = {.pad = NO_PAD};
    struct h2_fields f = {0}, g = {0};

    h2_field(&f, ":method", "CONNECT");
    h2_field(&f, ":protocol", "websocket");
    h2_field(&f, ":scheme", "https");
    h2_field(&f, ":authority", "api.openai.com");
    h2_field(&f, ":path", "/v1/realtime?model=gpt-realtime");
    if (deflate)
        h2_field(&f, "sec-websocket-extensions", DEFLATE);
    h2_headers(&b->up, id, &f, &how);
    pass(b, true, now_ms);
    h2_field(&g, ":status", "200");
    if (deflate)
        h2_field(&g, "sec-websocket-extensions", DEFLATE);
    h2_headers(&b->down, id, &g, &how);
    pass(b, false, now_ms + 1);
}

/* A message, each of its halves in a frame of its own. */
static void message(struct bench *b, uint32_t id, bool client, struct deflater *d, const char *json,
                    uint64_t now_ms)
{
    struct h2_writer *w = client ? &b->up : &b->down;
    struct wire frames = {0};

    wire_message(&frames, client, 1, json, strlen(json), d, 1);
    h2_data(w, id, frames.data, frames.len / 2, false, NO_PAD);
    h2_data(w, id, frames.data + frames.len / 2, frames.len - frames.len / 2, false, 4);
    pass(b, client, now_ms);
    wire_free(&frames);
}

#define ASK "{\"type\":\"response.create\"}"
#define CREATED(id) "{\"type\":\"response.created\",\"response\":{\"id\":\"" id "\"}}"
#define DELTA(id) "{\"type\":\"response.output_text.delta\",\"response_id\":\"" id "\"}"
#define DONE(id, in)                                                                               \
    "{\"type\":\"response.done\",\"response\":{\"id\":\"" id                                       \
    "\",\"status\":\"completed\",\"usage\":{\"input_tokens\":" in ",\"output_tokens\":4}}}"

static void sessions_beside_each_other(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 6; piece++) {
        struct deflater said, heard;
        struct bench b;

        deflater_init(&said, 15, true);
        deflater_init(&heard, 15, true);
        open_to(&b, piece);
        connect_session(&b, 1, false, 10);
        connect_session(&b, 3, true, 20);
        message(&b, 1, true, NULL, ASK, 30);
        message(&b, 3, true, &said, ASK, 40);
        message(&b, 3, false, &heard, CREATED("b"), 50);
        message(&b, 1, false, NULL, CREATED("a"), 60);
        message(&b, 3, false, &heard, DELTA("b"), 70);
        message(&b, 1, false, NULL, DELTA("a"), 80);
        message(&b, 3, false, &heard, DONE("b", "22"), 90);
        message(&b, 1, false, NULL, DONE("a", "11"), 95);
        assert_int_equal(b.calls, 2);
        for (unsigned i = 0; i < 2; i++) {
            const struct call *c = b.call[i];

            assert_string_equal(c->operation, "realtime");
            assert_string_equal(c->response_id, i ? "a" : "b");
            assert_string_equal(c->http_version, "2");
            assert_string_equal(c->model_requested, "gpt-realtime");
            assert_int_equal(c->outcome, CALL_OK);
            assert_int_equal(c->usage[0].count.value, i ? 11 : 22);
            assert_int_equal(c->latency.first_token_us.value, i ? 50000 : 30000);
        }
        deflateEnd(&said.z);
        deflateEnd(&heard.z);
        finish(&b, METER_END_UPSTREAM);
        assert_int_equal(b.calls, 4);
    }
}

static void how_a_session_ends(void **state)
{
    static const struct {
        int how; /* 0: close frames, 1: client's reset, 2: server's end of stream, 3: rubbish */
        enum call_outcome turn, session;
    } table[] = {
        {0, CALL_CLIENT_ABORT, CALL_OK},
        {1, CALL_CLIENT_ABORT, CALL_CLIENT_ABORT},
        {2, CALL_UPSTREAM_ABORT, CALL_UPSTREAM_ABORT},
        {3, CALL_UNMETERABLE, CALL_UNMETERABLE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct wire bye = {0}, adieu = {0};
        struct bench b;

        open_to(&b, 0);
        connect_session(&b, 1, false, 10);
        message(&b, 1, true, NULL, ASK, 20);
        message(&b, 1, false, NULL, CREATED("a"), 30);
        wire_frame(&bye, true, 0x88, "\x03\xe8", 2);
        wire_frame(&adieu, false, 0x88, "\x03\xe8", 2);
        switch (table[i].how) {
        case 0:
            h2_data(&b.up, 1, bye.data, bye.len, true, NO_PAD);
            pass(&b, true, 40);
            h2_data(&b.down, 1, adieu.data, adieu.len, true, NO_PAD);
            break;
        case 1:
            h2_reset(&b.up, 1, 8);
            pass(&b, true, 40);
            break;
        case 2:
            h2_data(&b.down, 1, "", 0, true, NO_PAD);
            break;
        default:
            h2_data(&b.down, 1, "\xff\x01", 2, false, NO_PAD);
            break;
        }
        pass(&b, false, 50);
        assert_int_equal(b.calls, 2);
        assert_int_equal(b.call[0]->outcome, table[i].turn);
        assert_string_equal(b.call[1]->operation, "realtime_session");
        assert_int_equal(b.call[1]->outcome, table[i].session);
        assert_int_equal(meter_state(b.m), METER_READING);
        wire_free(&bye);
        wire_free(&adieu);
        finish(&b, METER_END_CLIENT);
    }
}

static void further_sessions_are_opaque(void **state)
{
    struct bench b;

    (void)state;
    open_to(&b, 0);
    for (uint32_t i = 0; i < METER_SESSIONS_MAX + 2; i++)
        connect_session(&b, 1 + 2 * i, false, 10);
    assert_int_equal(b.calls, 2);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    message(&b, 1 + 2 * METER_SESSIONS_MAX, true, NULL, ASK, 20);
    assert_int_equal(b.calls, 2);
    message(&b, 1, true, NULL, ASK, 30);
    message(&b, 1, false, NULL, DONE("a", "5"), 40);
    assert_int_equal(b.call[2]->usage[0].count.value, 5);
    finish(&b, METER_END_CLIENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_beside_each_other),
        cmocka_unit_test(how_a_session_ends),
        cmocka_unit_test(further_sessions_are_opaque),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
