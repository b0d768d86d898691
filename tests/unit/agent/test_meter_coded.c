/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/* Coded and framed bodies: whole, cut, damaged, made to explode. The call is told
 * whatever the body is like, and so is the one after it. */
#include "agent/body.h"
#include "agent/meter.h"
#include "tests/unit/agent/profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define BOMB_BYTES (32u * 1024 * 1024)
#define CALLS_MAX 4
#define JSON_ANSWER                                                                                \
    "{\"id\":\"c1\",\"model\":\"gpt-x-1\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]," \
    "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}"
#define POST "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
#define ASK POST "Content-Length: 17\r\n\r\n{\"model\":\"gpt-x\"}"

static const uint8_t brotli_answer[] = {
    0x1b, 0x8f, 0x00, 0x00, 0x8c, 0xc3, 0x38, 0x16, 0xfc, 0x51, 0x34, 0x61, 0xe4, 0x10, 0x3c,
    0xed, 0xfc, 0x69, 0x7f, 0xf3, 0x29, 0x94, 0x6c, 0x83, 0x64, 0xa0, 0x64, 0x90, 0xcb, 0x37,
    0xfc, 0xba, 0xd2, 0xe9, 0xd3, 0xc9, 0x85, 0x81, 0x7a, 0x6b, 0xdf, 0x5a, 0x42, 0xe9, 0x03,
    0x4a, 0x29, 0xf0, 0x7b, 0x13, 0x7f, 0x37, 0x5b, 0x8d, 0x24, 0x8d, 0x35, 0x40, 0x0f, 0x08,
    0x13, 0x2e, 0x98, 0xfa, 0xdc, 0xef, 0xd8, 0xfc, 0x47, 0xa2, 0x18, 0xab, 0x17, 0x5e, 0x28,
    0x55, 0xb7, 0x04, 0xac, 0x88, 0x88, 0xac, 0x82, 0x45, 0x05, 0x43, 0xef, 0xd9, 0xfa, 0xda,
    0x9d, 0x9e, 0x0f, 0x59, 0x28, 0x19, 0x14, 0x4f, 0xe1, 0x07, 0x98, 0x10, 0x07};
/* 32 MiB of one letter. */
static const uint8_t brotli_bomb[] = {
    0xcb, 0xff, 0xff, 0x3f, 0xf8, 0x25, 0xf0, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x8f,
    0xff, 0xff, 0x7f, 0xf0, 0x4b, 0x00, 0xc4, 0x61, 0x11, 0x80, 0xee, 0xfd, 0x1f, 0xff,
    0xff, 0xff, 0xe0, 0x97, 0x00, 0x88, 0xc3, 0x02, 0x00, 0xdd, 0xfb, 0xbf, 0xfc, 0xff,
    0xff, 0xc3, 0x2f, 0x01, 0x10, 0x87, 0x05, 0x00, 0xba, 0xf7, 0x7f};

enum coding {
    GZIP,
    DEFLATE,
    BROTLI,
    ZSTD,
    CODINGS,
};

static const char *const coding_names[CODINGS] = {"gzip", "deflate", "br", "zstd"};

struct seen {
    unsigned begins, calls;
    struct call call[CALLS_MAX];
};

struct bench {
    struct meter *m;
    struct body_budget budget;
    struct seen seen;
    size_t piece;
};

struct bytes {
    uint8_t *data;
    size_t len;
};

static void on_begin(void *user, const struct request_head *head)
{
    (void)head;
    ((struct seen *)user)->begins++;
}

static void on_call(void *user, const struct call *call)
{
    struct seen *s = user;

    assert_in_range(s->calls, 0, CALLS_MAX - 1);
    s->call[s->calls++] = *call;
}

static struct bench *bench_new(size_t piece)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    b->piece = piece;
    b->budget =
        (struct body_budget){.memory_limit_bytes = 1u << 28, .output_left_bytes = UINT64_MAX};
    const struct meter_env env = {.providers = set,
                                  .budget = &b->budget,
                                  .user = &b->seen,
                                  .on_begin = on_begin,
                                  .on_call = on_call};
    assert_int_equal(meter_new(&env, METER_HTTP1, slice_str("api.openai.com"), &b->m), 0);
    return b;
}

static void bench_free(struct bench *b)
{
    meter_close(b->m, METER_END_CLEAN, 9);
    meter_free(&b->m);
    assert_int_equal(b->seen.begins, b->seen.calls);
    assert_int_equal(b->budget.memory_used_bytes, 0);
    free(b);
}

static void feed(struct bench *b, bool request, struct slice bytes)
{
    for (size_t at = 0, n; at < bytes.len; at += n) {
        n = bytes.len - at < b->piece ? bytes.len - at : b->piece;
        if (request)
            meter_request(b->m, slice_of(bytes.data + at, n), 1);
        else
            meter_response(b->m, slice_of(bytes.data + at, n), 2);
    }
}

static void up(struct bench *b, const char *text)
{
    feed(b, true, slice_str(text));
}

static void down(struct bench *b, const char *text)
{
    feed(b, false, slice_str(text));
}

static void message(struct bench *b, bool request, const char *head, const char *coding,
                    struct slice body)
{
    char text[256];

    snprintf(text, sizeof(text), "%sContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", head,
             coding, body.len);
    feed(b, request, slice_str(text));
    feed(b, request, body);
}

static struct bytes copy_of(const void *data, size_t len)
{
    struct bytes b = {malloc(len), len};

    assert_non_null(b.data);
    memcpy(b.data, data, len);
    return b;
}

static struct bytes zlib_of(struct slice plain, int window_bits)
{
    struct bytes b = {malloc(plain.len + 100), 0};
    z_stream z = {0};

    assert_non_null(b.data);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)plain.data;
    z.avail_in = (unsigned)plain.len;
    z.next_out = b.data;
    z.avail_out = (unsigned)plain.len + 100;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.len = z.total_out;
    deflateEnd(&z);
    return b;
}

static struct bytes zstd_of(struct slice plain)
{
    struct bytes b = {malloc(ZSTD_compressBound(plain.len)), 0};

    assert_non_null(b.data);
    b.len = ZSTD_compress(b.data, ZSTD_compressBound(plain.len), plain.data, plain.len, 3);
    assert_false(ZSTD_isError(b.len));
    return b;
}

static struct bytes coded(enum coding coding, struct slice plain)
{
    if (coding == BROTLI) /* the encoder is no dependency */
        return plain.len == BOMB_BYTES ? copy_of(brotli_bomb, sizeof(brotli_bomb))
                                       : copy_of(brotli_answer, sizeof(brotli_answer));
    return coding == ZSTD ? zstd_of(plain) : zlib_of(plain, coding == GZIP ? 31 : 15);
}

static struct bytes bomb(enum coding coding)
{
    struct bytes plain = {malloc(BOMB_BYTES), BOMB_BYTES}, wire;

    assert_non_null(plain.data);
    memset(plain.data, 'x', BOMB_BYTES);
    memcpy(plain.data, "{\"a\":\"", 6);
    wire = coded(coding, slice_of(plain.data, BOMB_BYTES));
    free(plain.data);
    return wire;
}

/* The connection goes on as if nothing had been. */
static void expect_good(struct bench *b)
{
    const struct call *c = &b->seen.call[b->seen.calls];

    up(b, ASK);
    message(b, false, "HTTP/1.1 200 OK\r\n", "br", slice_of(brotli_answer, sizeof(brotli_answer)));
    assert_int_equal(meter_state(b->m), METER_READING);
    assert_int_equal(meter_calls_open(b->m), 0);
    assert_ptr_equal(c + 1, &b->seen.call[b->seen.calls]);
    assert_int_equal(c->outcome, CALL_OK);
    assert_string_equal(c->model_requested, "gpt-x");
    assert_string_equal(c->model_responded, "gpt-x-1");
    assert_true(c->usage_reported && c->usage_final);
    assert_int_equal(c->input_tokens_total.value, 7);
    assert_int_equal(c->output_tokens_total.value, 5);
}

static void every_coding_is_read(void **state)
{
    (void)state;
    for (int i = 0; i < CODINGS * 4; i++) {
        struct bytes wire = coded((enum coding)(i / 4), slice_str(JSON_ANSWER));
        struct bench *b = bench_new(i % 4 ? (size_t)(i % 4) : SIZE_MAX);

        up(b, ASK);
        message(b, false, "HTTP/1.1 200 OK\r\n", coding_names[i / 4],
                slice_of(wire.data, wire.len));
        assert_int_equal(b->seen.calls, 1);
        assert_int_equal(b->seen.call[0].input_tokens_total.value, 7);
        assert_int_equal(b->seen.call[0].response_body_bytes, wire.len);
        expect_good(b);
        bench_free(b);
        free(wire.data);
    }
}

static void an_answer_that_explodes_is_a_call(void **state)
{
    (void)state;
    for (int i = 0; i < CODINGS; i++) {
        struct bytes wire = bomb((enum coding)i);
        struct bench *b = bench_new(65536);
        const struct call *c = &b->seen.call[0];

        up(b, ASK);
        message(b, false, "HTTP/1.1 200 OK\r\n", coding_names[i], slice_of(wire.data, wire.len));
        assert_int_equal(b->seen.calls, 1);
        assert_int_equal(c->outcome, CALL_OK);
        assert_int_equal(c->response_body_bytes, wire.len);
        assert_false(c->usage_reported || c->usage_final);
        assert_false(c->input_tokens_total.known || c->output_tokens_total.known);
        assert_int_equal(b->budget.failed_output, 1);
        assert_true(UINT64_MAX - b->budget.output_left_bytes <=
                    BODY_SLACK_BYTES + BODY_RATIO_MAX * wire.len);
        expect_good(b);
        bench_free(b);
        free(wire.data);
    }
}

static void a_request_that_explodes_is_a_call(void **state)
{
    (void)state;
    for (int i = 0; i < CODINGS; i++) {
        struct bytes wire = bomb((enum coding)i);
        struct bench *b = bench_new(65536);

        message(b, true, POST, coding_names[i], slice_of(wire.data, wire.len));
        down(b, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        assert_int_equal(b->seen.calls, 1);
        assert_string_equal(b->seen.call[0].model_requested, "");
        assert_string_equal(b->seen.call[0].operation, "chat");
        assert_int_equal(b->seen.call[0].request_body_bytes, wire.len);
        assert_int_equal(b->budget.failed_output, 1);
        expect_good(b);
        bench_free(b);
        free(wire.data);
    }
}

static void no_room_for_a_decoder(void **state)
{
    (void)state;
    for (int i = 0; i < CODINGS; i++) {
        struct bytes wire = coded((enum coding)i, slice_str(JSON_ANSWER));
        struct bench *b = bench_new(65536);

        b->budget.memory_limit_bytes = 1000;
        up(b, ASK);
        message(b, false, "HTTP/1.1 200 OK\r\n", coding_names[i], slice_of(wire.data, wire.len));
        assert_int_equal(b->seen.calls, 1);
        assert_int_equal(b->seen.call[0].outcome, CALL_OK);
        assert_false(b->seen.call[0].usage_reported);
        assert_int_equal(b->budget.failed_memory, 1);
        b->budget.memory_limit_bytes = 1u << 28;
        expect_good(b);
        bench_free(b);
        free(wire.data);
    }
}

static void cut_and_damaged_answers_are_calls(void **state)
{
    (void)state;
    for (int i = 0; i < CODINGS; i++) {
        struct bytes wire = coded((enum coding)i, slice_str(JSON_ANSWER));

        for (size_t at = 0; at < wire.len; at++) {
            struct bench *b = bench_new(11);

            up(b, ASK ASK);
            message(b, false, "HTTP/1.1 200 OK\r\n", coding_names[i], slice_of(wire.data, at));
            wire.data[at] ^= 0x24;
            message(b, false, "HTTP/1.1 200 OK\r\n", coding_names[i],
                    slice_of(wire.data, wire.len));
            wire.data[at] ^= 0x24;
            assert_int_equal(b->seen.calls, 2);
            assert_int_equal(b->seen.call[0].outcome, CALL_OK);
            assert_int_equal(b->seen.call[1].outcome, CALL_OK);
            expect_good(b);
            bench_free(b);
        }
        free(wire.data);
    }
}

/* What was said before the body broke stands, but not as the last word. */
static void usage_of_a_broken_body_is_not_final(void **state)
{
    struct bytes wire = zstd_of(slice_str("{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":"
                                          "5},\"x\":"));
    struct bench *b = bench_new(65536);

    (void)state;
    wire.data = realloc(wire.data, wire.len + 8);
    assert_non_null(wire.data);
    memcpy(wire.data + wire.len, "rubbish!", 8);
    up(b, ASK);
    message(b, false, "HTTP/1.1 200 OK\r\n", "zstd", slice_of(wire.data, wire.len + 8));
    assert_int_equal(b->seen.calls, 1);
    assert_true(b->seen.call[0].usage_reported);
    assert_false(b->seen.call[0].usage_final);
    assert_int_equal(b->budget.failed_coding, 1);
    expect_good(b);
    bench_free(b);
    free(wire.data);
}

static void a_stream_that_cannot_be_read(void **state)
{
    struct bench *b = bench_new(5);

    (void)state;
    up(b, POST "Content-Length: 31\r\n\r\n{\"model\":\"gpt-x\",\"stream\":true}");
    message(b, false, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", "compress",
            slice_str("data: {}\n\ndata: [DONE]\n\n"));
    assert_int_equal(b->seen.calls, 1);
    assert_int_equal(b->seen.call[0].outcome, CALL_OK);
    assert_true(b->seen.call[0].streaming);
    assert_false(b->seen.call[0].stream_complete);
    assert_false(b->seen.call[0].usage_reported);
    assert_int_equal(b->budget.failed_coding, 1);
    expect_good(b);
    bench_free(b);
}

/* HEAD, interim answers, an awaited body, chunk extensions, trailers, pipelined. */
static void every_framing_in_a_row(void **state)
{
    static const char ask[] = "HEAD /v1/models HTTP/1.1\r\n\r\n" POST "Expect: 100-continue\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n"
                              "9;a=\"b;c\"\r\n{\"model\":\r\n8\r\n\"gpt-x\"}\r\n0\r\nX-Sum: 1\r\n"
                              "Content-Encoding: br\r\n\r\n"
                              "GET /v1/models HTTP/1.1\r\n\r\n";
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 999\r\nContent-Encoding: gzip\r\n\r\n"
        "HTTP/1.1 100 Continue\r\n\r\n"
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Encoding: zstd\r\n\r\n"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Request-Id\r\n\r\n"
        "0008;a=b\r\n{\"usage\"\r\n"
        "31;c=\"d;e\"\r\n:{\"prompt_tokens\":7,\"completion_tokens\":5},\"x\":1}\r\n"
        "0;last\r\nX-Request-Id: req-9\r\nContent-Encoding: br\r\n\r\n"
        "HTTP/1.1 304 Same\r\nContent-Length: 12\r\n\r\n";

    (void)state;
    for (size_t piece = 1; piece < 12; piece++) {
        struct bench *b = bench_new(piece < 11 ? piece : SIZE_MAX);
        const struct call *c = b->seen.call;

        up(b, ask);
        assert_int_equal(b->seen.begins, 3);
        down(b, answer);
        assert_int_equal(b->seen.calls, 3);
        assert_int_equal(c[0].response_body_bytes, 0);
        assert_string_equal(c[1].model_requested, "gpt-x");
        assert_int_equal(c[1].request_body_bytes, 17);
        assert_int_equal(c[1].status_code, 200);
        assert_int_equal(c[1].input_tokens_total.value, 7);
        assert_int_equal(c[1].output_tokens_total.value, 5);
        assert_int_equal(c[1].response_body_bytes, 8 + 0x31);
        assert_string_equal(c[1].request_id, "req-9");
        assert_int_equal(c[2].status_code, 304);
        expect_good(b);
        bench_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_coding_is_read),
        cmocka_unit_test(an_answer_that_explodes_is_a_call),
        cmocka_unit_test(a_request_that_explodes_is_a_call),
        cmocka_unit_test(no_room_for_a_decoder),
        cmocka_unit_test(cut_and_damaged_answers_are_calls),
        cmocka_unit_test(usage_of_a_broken_body_is_not_final),
        cmocka_unit_test(a_stream_that_cannot_be_read),
        cmocka_unit_test(every_framing_in_a_row),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
