/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/* Realtime sessions from the upgrade on. */
#include "agent/meter.h"
#include "tests/unit/agent/profiles.h"
#include "tests/unit/agent/ws_frames.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define CALLS_MAX 8

struct bench {
    struct meter *m;
    size_t piece;
    unsigned begins, calls;
    char begun[32];
    struct call *call[CALLS_MAX];
};

static void on_begin(void *user, const struct request_head *head)
{
    struct bench *b = user;

    b->begins++;
    snprintf(b->begun, sizeof(b->begun), "%s", head->operation);
}

static void on_call(void *user, const struct call *call)
{
    struct bench *b = user;

    assert_in_range(b->calls, 0, CALLS_MAX - 1);
    b->call[b->calls] = malloc(sizeof(*call));
    assert_non_null(b->call[b->calls]);
    *b->call[b->calls++] = *call;
}

static void open_to(struct bench *b, const char *host, size_t piece)
{
    const struct meter_env env = {
        .providers = set, .user = b, .on_begin = on_begin, .on_call = on_call};

    *b = (struct bench){.piece = piece};
    assert_int_equal(meter_new(&env, METER_HTTP1, slice_str(host), &b->m), 0);
}

static void pass(struct bench *b, bool up, const void *data, size_t len, uint64_t now_ms)
{
    size_t step = b->piece ? b->piece : len;

    for (size_t i = 0; i < len; i += step) {
        struct slice piece = slice_of((const uint8_t *)data + i, len - i < step ? len - i : step);

        (up ? meter_request : meter_response)(b->m, piece, now_ms * 1000000);
    }
}

static void finish(struct bench *b)
{
    assert_int_equal(b->begins, b->calls);
    assert_int_equal(meter_calls_open(b->m), 0);
    meter_free(&b->m);
    for (unsigned i = 0; i < b->calls; i++)
        free(b->call[i]);
}

#define UPGRADE                                                                                    \
    "GET /v1/realtime?call=x&model=gpt-realtime HTTP/1.1\r\nHost: api.openai.com\r\n"              \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nUser-Agent: app/1\r\n"                           \
    "X-Lectr-Feature: voice\r\nSec-WebSocket-Version: 13\r\n"                                      \
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"            \
    "X-Request-Id: req_1\r\nOpenAI-Organization: org_1\r\n"
#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate\r\n"

static const char created[] =
    "{\"type\":\"session.created\",\"session\":{\"id\":\"sess_1\",\"model\":\"gpt-realtime-1\"}}";
static const char ask[] = "{\"type\":\"response.create\"}";
static const char begun[] =
    "{\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"status\":\"in_progress\"}}";
static const char delta[] =
    "{\"type\":\"response.output_text.delta\",\"response_id\":\"r\",\"delta\":\"hi\"}";
static const char done[] =
    "{\"type\":\"response.done\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"usage\":{"
    "\"input_tokens\":9,\"output_tokens\":4,\"total_tokens\":13}}}";

static void a_session_from_its_upgrade_on(struct bench *b, struct deflater *said,
                                          struct deflater *heard)
{
    struct wire up = {0}, down = {0}, rest = {0};

    pass(b, true, UPGRADE, strlen(UPGRADE), 10);
    assert_string_equal(b->begun, "realtime_session");
    /* The first messages come in the 101's own segment. */
    wire_add(&down, SWITCHED, strlen(SWITCHED));
    if (heard)
        wire_add(&down, DEFLATE, strlen(DEFLATE));
    wire_add(&down, "\r\n", 2);
    wire_message(&down, false, 1, created, strlen(created), heard, 1);
    pass(b, false, down.data, down.len, 20);
    assert_int_equal(meter_state(b->m), METER_READING);
    wire_message(&up, true, 1, ask, strlen(ask), said, 1);
    pass(b, true, up.data, up.len, 30);
    assert_int_equal(meter_calls_open(b->m), 2);
    assert_string_equal(b->begun, "realtime");
    wire_message(&rest, false, 1, begun, strlen(begun), heard, 1);
    wire_message(&rest, false, 1, delta, strlen(delta), heard, 2);
    wire_message(&rest, false, 1, done, strlen(done), heard, 1);
    pass(b, false, rest.data, rest.len, 50);
    assert_int_equal(b->calls, 1);
    wire_free(&up);
    wire_free(&down);
    wire_free(&rest);
}

static void check_turn(const struct call *c)
{
    assert_string_equal(c->provider, "openai");
    assert_string_equal(c->server_address, "api.openai.com");
    assert_string_equal(c->api, "openai.realtime");
    assert_string_equal(c->operation, "realtime");
    assert_string_equal(c->model_requested, "gpt-realtime");
    assert_string_equal(c->model_responded, "gpt-realtime-1");
    assert_string_equal(c->sdk, "app/1");
    assert_string_equal(c->feature_header, "voice");
    assert_string_equal(c->request_id, "req_1");
    assert_string_equal(c->billed_organization, "org_1");
    assert_int_equal(c->status_code, 101);
    assert_int_equal(c->outcome, CALL_OK);
    assert_int_equal(c->usage_count, 2);
    assert_int_equal(c->usage[0].count.value, 9);
    assert_int_equal(c->latency.first_token_us.value, 20000);
}

static void check_session(const struct call *c, enum call_outcome outcome)
{
    assert_string_equal(c->operation, "realtime_session");
    assert_string_equal(c->model_requested, "gpt-realtime");
    assert_string_equal(c->response_id, "sess_1");
    assert_int_equal(c->status_code, 101);
    assert_int_equal(c->outcome, outcome);
    assert_int_equal(c->usage_count, 0);
    assert_false(c->usage_reported);
    /* Its turns tell what it used; of what could not be read nobody knows. */
    assert_int_equal(c->input_tokens_total.known, outcome != CALL_UNMETERABLE);
    assert_int_equal(c->output_tokens_total.known, outcome != CALL_UNMETERABLE);
    assert_int_equal(c->start_mono_ns, 10000000);
}

static void any_split_deflated_or_not(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 9; piece++)
        for (int deflate = 0; deflate < 2; deflate++) {
            struct deflater said, heard;
            struct wire bye = {0}, adieu = {0};
            struct bench b;

            deflater_init(&said, 15, true);
            deflater_init(&heard, 15, true);
            open_to(&b, "api.openai.com", piece);
            a_session_from_its_upgrade_on(&b, deflate ? &said : NULL, deflate ? &heard : NULL);
            check_turn(b.call[0]);
            wire_frame(&bye, true, 0x88, "\x03\xe8", 2);
            wire_frame(&adieu, false, 0x88, "\x03\xe8", 2);
            pass(&b, true, bye.data, bye.len, 60);
            assert_int_equal(b.calls, 1);
            pass(&b, false, adieu.data, adieu.len, 70);
            assert_int_equal(b.calls, 2);
            check_session(b.call[1], CALL_OK);
            assert_string_equal(b.call[1]->finish_reason, "1000");
            assert_int_equal(b.call[1]->end_mono_ns, 70000000);
            assert_false(b.call[1]->latency.total_us.known);
            assert_true(b.call[1]->input_tokens_total.known);
            meter_close(b.m, METER_END_CLIENT, 90000000);
            wire_free(&bye);
            wire_free(&adieu);
            deflateEnd(&said.z);
            deflateEnd(&heard.z);
            finish(&b);
        }
}

static void an_end_without_close_frames(void **state)
{
    struct bench b;
    struct wire up = {0};

    (void)state;
    open_to(&b, "api.openai.com", 0);
    a_session_from_its_upgrade_on(&b, NULL, NULL);
    wire_message(&up, true, 1, ask, strlen(ask), NULL, 1);
    pass(&b, true, up.data, up.len, 60);
    meter_close(b.m, METER_END_UPSTREAM, 80000000);
    assert_int_equal(b.calls, 3);
    assert_int_equal(b.call[1]->outcome, CALL_UPSTREAM_ABORT);
    assert_string_equal(b.call[1]->operation, "realtime");
    check_session(b.call[2], CALL_UPSTREAM_ABORT);
    wire_free(&up);
    finish(&b);
}

static void what_cannot_be_followed(void **state)
{
    struct bench b;

    (void)state;
    /* No frames. */
    open_to(&b, "api.openai.com", 0);
    a_session_from_its_upgrade_on(&b, NULL, NULL);
    pass(&b, false, "HTTP/1.1 200 OK\r\n\r\n", 19, 60);
    assert_int_equal(meter_state(b.m), METER_UPGRADED);
    check_session(b.call[1], CALL_UNMETERABLE);
    pass(&b, false, "more", 4, 70);
    pass(&b, true, "more", 4, 70);
    finish(&b);

    /* An extension that is not known. */
    open_to(&b, "api.openai.com", 0);
    pass(&b, true, UPGRADE, strlen(UPGRADE), 10);
    pass(&b, false, SWITCHED "Sec-WebSocket-Extensions: x-mine\r\n\r\n",
         strlen(SWITCHED "Sec-WebSocket-Extensions: x-mine\r\n\r\n"), 20);
    assert_int_equal(meter_state(b.m), METER_UPGRADED);
    assert_int_equal(b.call[0]->outcome, CALL_UNMETERABLE);
    finish(&b);

    /* Refused: an answer as any other. */
    open_to(&b, "api.openai.com", 3);
    pass(&b, true, UPGRADE, strlen(UPGRADE), 10);
    pass(&b, false, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}", 40, 20);
    assert_int_equal(meter_state(b.m), METER_READING);
    assert_int_equal(b.call[0]->status_code, 401);
    assert_int_equal(b.call[0]->outcome, CALL_PROVIDER_ERROR);
    assert_int_equal(b.call[0]->usage_count, 0);
    finish(&b);
}

/* 100,000 deltas and a message of 64 MiB, both inflaters at work. */
static void a_long_session_holds_little(void **state)
{
    static uint8_t big[1 << 20];
    struct wire up = {0}, down = {0}, deltas = {0}, begin = {0}, piece = {0}, end = {0};
    struct deflater said, heard;
    size_t before, held, most = 0;
    struct bench b;

    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t) "QUJDREVGR0hJSktMTU5PUA"[(i * i / 11) % 22];
    for (int i = 0; i < 1000; i++)
        wire_message(&deltas, false, 1, delta, strlen(delta), NULL, 1);
    wire_frame(&begin, false, 0x01, "{\"delta\":\"", 10);
    wire_frame(&piece, false, 0x00, big, sizeof(big));
    wire_frame(&end, false, 0x80, "\"}", 2);
    deflater_init(&said, 15, true);
    deflater_init(&heard, 15, true);
    before = mallinfo2().uordblks;
    open_to(&b, "api.openai.com", 0);
    a_session_from_its_upgrade_on(&b, &said, &heard);
    wire_message(&up, true, 1, ask, strlen(ask), &said, 1);
    wire_message(&down, false, 1, begun, strlen(begun), &heard, 1);
    pass(&b, true, up.data, up.len, 60);
    pass(&b, false, down.data, down.len, 60);
    wire_free(&up);
    wire_free(&down);
    for (int i = 0; i < 100; i++)
        pass(&b, false, deltas.data, deltas.len, 70);
    pass(&b, false, begin.data, begin.len, 80);
    for (int i = 0; i < 64; i++) {
        pass(&b, false, piece.data, piece.len, 90);
        held = mallinfo2().uordblks - before - sizeof(struct call); /* the bench's own */
        most = held > most ? held : most;
    }
    pass(&b, false, end.data, end.len, 95);
    print_message("a session holds %zu bytes\n", most);
    assert_in_range(most, 1, METER_STATE_MAX_BYTES);
    meter_close(b.m, METER_END_CLIENT, 99000000);
    assert_int_equal(b.call[1]->stream_events, 100001);
    wire_free(&deltas);
    wire_free(&begin);
    wire_free(&piece);
    wire_free(&end);
    deflateEnd(&said.z);
    deflateEnd(&heard.z);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_deflated_or_not),
        cmocka_unit_test(an_end_without_close_frames),
        cmocka_unit_test(what_cannot_be_followed),
        cmocka_unit_test(a_long_session_holds_little),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
