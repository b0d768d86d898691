/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/ws.c agent/ws_extensions.c agent/body.c */
#include "agent/ws.h"
#include "tests/unit/agent/ws_frames.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MESSAGES_MAX 16

struct seen {
    struct wire data; /* of all messages */
    size_t end[MESSAGES_MAX];
    bool text[MESSAGES_MAX];
    unsigned messages, closes;
    uint16_t code;
    size_t largest_piece;
};

static void on_data(void *user, struct slice piece)
{
    struct seen *s = user;

    if (piece.len > s->largest_piece)
        s->largest_piece = piece.len;
    wire_add(&s->data, piece.data, piece.len);
}

static void on_message(void *user, bool text)
{
    struct seen *s = user;

    assert_in_range(s->messages, 0, MESSAGES_MAX - 1);
    s->text[s->messages] = text;
    s->end[s->messages++] = s->data.len;
}

static void on_close(void *user, uint16_t code)
{
    struct seen *s = user;

    s->closes++;
    s->code = code;
}

/* Feeds in pieces of `piece` bytes; 0: whole. */
static int run(const struct wire *w, enum ws_from from, const struct ws_deflate *deflate,
               struct body_budget *budget, size_t piece, struct seen *ret_seen)
{
    const struct ws_events events = {ret_seen, on_data, on_message, on_close};
    size_t step = piece ? piece : w->len + 1;
    struct ws ws;
    int r = 0;

    memset(ret_seen, 0, sizeof(*ret_seen));
    ws_init(&ws, from, deflate, budget, &events);
    for (size_t i = 0; !r && i < w->len; i += step)
        r = ws_feed(&ws, slice_of(w->data + i, w->len - i < step ? w->len - i : step));
    if (r)
        assert_int_equal(ws_feed(&ws, slice_str("x")), -EPROTO);
    ws_fini(&ws);
    if (budget)
        assert_int_equal(budget->memory_used_bytes, 0);
    return r;
}

static void seen_free(struct seen *s)
{
    wire_free(&s->data);
}

static void any_split_gives_the_same_messages(void **state)
{
    static uint8_t big[70000];

    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t)(i * 7);
    for (int masked = 0; masked < 2; masked++) {
        struct wire w = {0};

        wire_message(&w, masked, 1, "{\"a\":1}", 7, NULL, 1);
        wire_message(&w, masked, 2, big, 300, NULL, 1);
        wire_message(&w, masked, 2, big, sizeof(big), NULL, 3);
        wire_message(&w, masked, 1, "", 0, NULL, 1);
        for (size_t piece = 0; piece < 12; piece++) {
            struct seen s;

            assert_int_equal(run(&w, masked ? WS_CLIENT : WS_SERVER, NULL, NULL, piece, &s), 0);
            assert_int_equal(s.messages, 4);
            assert_true(s.text[0] && !s.text[1] && !s.text[2] && s.text[3]);
            assert_int_equal(s.end[0], 7);
            assert_int_equal(s.end[2], 307 + sizeof(big));
            assert_int_equal(s.end[3], s.end[2]);
            assert_memory_equal(s.data.data, "{\"a\":1}", 7);
            assert_memory_equal(s.data.data + 307, big, sizeof(big));
            if (masked)
                assert_in_range(s.largest_piece, 1, 1024);
            seen_free(&s);
        }
        wire_free(&w);
    }
}

static void control_frames_stand_between_fragments(void **state)
{
    struct wire w = {0};

    (void)state;
    wire_frame(&w, true, 0x01, "hel", 3);
    wire_frame(&w, true, 0x89, "are you there", 13);
    wire_frame(&w, true, 0x00, "lo", 2);
    wire_frame(&w, true, 0x8a, "", 0);
    wire_frame(&w, true, 0x80, "", 0);
    for (size_t piece = 0; piece < 4; piece++) {
        struct seen s;

        assert_int_equal(run(&w, WS_CLIENT, NULL, NULL, piece, &s), 0);
        assert_int_equal(s.messages, 1);
        assert_int_equal(s.data.len, 5);
        assert_memory_equal(s.data.data, "hello", 5);
        seen_free(&s);
    }
    wire_free(&w);
}

static void close_tells_its_code_and_is_the_end(void **state)
{
    static const struct {
        const char *payload;
        size_t len;
        uint16_t code;
    } table[] = {{"\x03\xe8", 2, 1000}, {"\x03\xf3reason", 8, 1011}, {"", 0, 1005}};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t piece = 0; piece < 3; piece++) {
            struct wire w = {0};
            struct seen s;

            wire_frame(&w, false, 0x88, table[i].payload, table[i].len);
            wire_frame(&w, false, 0x81, "late", 4);
            wire_add(&w, "\xff\xff\xff", 3);
            assert_int_equal(run(&w, WS_SERVER, NULL, NULL, piece, &s), 0);
            assert_int_equal(s.closes, 1);
            assert_int_equal(s.code, table[i].code);
            assert_int_equal(s.messages, 0);
            seen_free(&s);
            wire_free(&w);
        }
}

static void what_is_no_websocket_is_refused(void **state)
{
    static const struct {
        const char *what;
        enum ws_from from;
        const char *bytes;
        size_t len;
    } table[] = {
        {"client without mask", WS_CLIENT, "\x81\x01x", 3},
        {"server with mask", WS_SERVER, "\x81\x81\1\2\3\4x", 7},
        {"reserved opcode", WS_SERVER, "\x83\x01x", 3},
        {"reserved control opcode", WS_SERVER, "\x8b\x00", 2},
        {"reserved bit", WS_SERVER, "\xa1\x01x", 3},
        {"deflate not agreed", WS_SERVER, "\xc1\x01x", 3},
        {"continuation of nothing", WS_SERVER, "\x80\x01x", 3},
        {"message within a message", WS_SERVER, "\x01\x01x\x81\x01x", 6},
        {"fragmented control", WS_SERVER, "\x09\x01x", 3},
        {"long control", WS_SERVER, "\x89\x7e\x00\x7e", 4},
        {"half a close code", WS_SERVER, "\x88\x01\x03", 3},
        {"length above 2^63", WS_SERVER, "\x82\x7f\x80\0\0\0\0\0\0\0", 10},
        {"HTTP", WS_SERVER, "HTTP/1.1 200 OK\r\n", 17},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t piece = 0; piece < 2; piece++) {
            struct wire w = {0};
            struct seen s;

            wire_add(&w, table[i].bytes, table[i].len);
            if (run(&w, table[i].from, NULL, NULL, piece, &s) != -EPROTO)
                fail_msg("%s was read", table[i].what);
            seen_free(&s);
            wire_free(&w);
        }
}

/* Two messages alike: the second refers back to the first where it may. */
static void deflate_case(int window_bits, bool takeover, bool masked, unsigned frames)
{
    const struct ws_deflate agreed = {
        .on = true, .takeover = takeover, .window_bits = (uint8_t)window_bits};
    struct body_budget budget = {.memory_limit_bytes = 48 * 1024, .output_left_bytes = 1u << 20};
    char message[3000];
    struct deflater d;
    struct wire w = {0};

    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (char)('a' + (i * i / 7) % 23);
    deflater_init(&d, window_bits < 9 ? 9 : window_bits, takeover);
    wire_message(&w, masked, 1, message, sizeof(message), &d, frames);
    wire_message(&w, masked, 1, "plain between", 13, NULL, 1);
    wire_message(&w, masked, 1, "", 0, &d, 1);
    wire_message(&w, masked, 2, message, sizeof(message), &d, frames);
    deflateEnd(&d.z);
    for (size_t piece = 0; piece < 8; piece++) {
        struct seen s;

        budget.output_left_bytes = 1u << 20;
        assert_int_equal(run(&w, masked ? WS_CLIENT : WS_SERVER, &agreed, &budget, piece, &s), 0);
        assert_int_equal(s.messages, 4);
        assert_int_equal(s.data.len, 2 * sizeof(message) + 13);
        assert_memory_equal(s.data.data, message, sizeof(message));
        assert_memory_equal(s.data.data + sizeof(message) + 13, message, sizeof(message));
        assert_int_equal(s.end[2], s.end[1]);
        seen_free(&s);
    }
    wire_free(&w);
}

static void deflated_messages(void **state)
{
    (void)state;
    for (int window_bits = 8; window_bits <= 15; window_bits++)
        for (int i = 0; i < 8; i++)
            deflate_case(window_bits, i & 1, i & 2, i & 4 ? 3 : 1);
}

/* RFC 7692, 7.2.3.4: a block marked as the last, then a byte of padding. */
static void deflated_with_a_last_block(void **state)
{
    static const uint8_t hello[] = {0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00};
    const struct ws_deflate agreed = {.on = true, .takeover = true, .window_bits = 15};
    /* 7.2.3.2: the same text again, as a reference into the window. */
    static const uint8_t again[] = {0xf2, 0x00, 0x11, 0x00, 0x00};
    struct wire w = {0};

    (void)state;
    wire_frame(&w, false, 0xc1, hello, sizeof(hello));
    wire_frame(&w, false, 0xc1, again, sizeof(again));
    for (size_t piece = 0; piece < 3; piece++) {
        struct seen s;

        assert_int_equal(run(&w, WS_SERVER, &agreed, NULL, piece, &s), 0);
        assert_int_equal(s.messages, 2);
        assert_int_equal(s.data.len, 10);
        assert_memory_equal(s.data.data, "HelloHello", 10);
        seen_free(&s);
    }
    wire_free(&w);
}

static void deflated_rubbish_and_bombs(void **state)
{
    const struct ws_deflate agreed = {.on = true, .takeover = true, .window_bits = 15};
    const size_t size = 16u << 20;
    struct body_budget budget = {.memory_limit_bytes = 1u << 20, .output_left_bytes = 1u << 30};
    uint8_t *zeros = calloc(1, size);
    struct deflater d;
    struct wire w = {0};
    struct seen s;

    (void)state;
    assert_non_null(zeros);
    wire_frame(&w, false, 0xc1, "\xff\xff\xff\xff", 4);
    assert_int_equal(run(&w, WS_SERVER, &agreed, &budget, 0, &s), -EPROTO);
    assert_int_equal(budget.failed_coding, 1);
    wire_free(&w);
    seen_free(&s);

    deflater_init(&d, 15, true);
    wire_message(&w, false, 1, zeros, size, &d, 1);
    deflateEnd(&d.z);
    assert_int_equal(run(&w, WS_SERVER, &agreed, &budget, 0, &s), -E2BIG);
    assert_int_equal(budget.failed_output, 1);
    assert_in_range(s.data.len, 1, 10u << 20);
    seen_free(&s);
    budget.memory_limit_bytes = 1000;
    assert_int_equal(run(&w, WS_SERVER, &agreed, &budget, 0, &s), -ENOMEM);
    seen_free(&s);
    wire_free(&w);
    free(zeros);
}

struct agreement {
    const char *offer, *answer;
    int r;
    bool on, client_takeover, server_takeover;
    uint8_t client_bits, server_bits;
};

static void extensions_agree(void **state)
{
    static const struct agreement table[] = {
        {"", "", 0, false, true, true, 15, 15},
        {"permessage-deflate", "", 0, false, true, true, 15, 15},
        {"permessage-deflate", "permessage-deflate", 0, true, true, true, 15, 15},
        {"permessage-deflate; client_max_window_bits",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover", 0, true,
         false, false, 15, 15},
        {"permessage-deflate; client_max_window_bits, permessage-deflate",
         "Permessage-Deflate;client_max_window_bits=10 ; server_max_window_bits=\"12\"", 0, true,
         true, true, 10, 12},
        {"x-mine, permessage-deflate", "permessage-deflate; server_max_window_bits=8", 0, true,
         true, true, 15, 8},
        {"", "permessage-deflate", -EPROTO, false, false, false, 0, 0},
        {"x-mine", "x-mine", -EPROTO, false, false, false, 0, 0},
        {"permessage-deflate", "permessage-deflate; server_max_window_bits=16", -EPROTO, false,
         false, false, 0, 0},
        {"permessage-deflate", "permessage-deflate; level=9", -EPROTO, false, false, false, 0, 0},
        {"permessage-deflate", "permessage-deflate, x-more", -EPROTO, false, false, false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct agreement *t = &table[i];
        struct ws_extensions offer = {0}, answer = {0};
        struct ws_deflate client = {0}, server = {0};

        ws_extensions_add(&offer, slice_str(t->offer));
        ws_extensions_add(&answer, slice_str(t->answer));
        assert_int_equal(ws_agree(&offer, &answer, &client, &server), t->r);
        if (t->r)
            continue;
        assert_int_equal(client.on, t->on);
        assert_int_equal(server.on, t->on);
        assert_int_equal(client.takeover, t->client_takeover);
        assert_int_equal(server.takeover, t->server_takeover);
        assert_int_equal(client.window_bits, t->client_bits);
        assert_int_equal(server.window_bits, t->server_bits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_gives_the_same_messages),
        cmocka_unit_test(control_frames_stand_between_fragments),
        cmocka_unit_test(close_tells_its_code_and_is_the_end),
        cmocka_unit_test(what_is_no_websocket_is_refused),
        cmocka_unit_test(deflated_messages),
        cmocka_unit_test(deflated_with_a_last_block),
        cmocka_unit_test(deflated_rubbish_and_bombs),
        cmocka_unit_test(extensions_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
