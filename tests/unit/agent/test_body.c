/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/body.c */
/* The compressed texts are made here by zlib and zstd; the Brotli one, for which the
 * encoder is no dependency, was made once. */
#include "agent/body.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define PLAIN_BYTES 300000

static const char brotli_plain[] = "{\"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 5}} "
                                   "{\"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 5}} "
                                   "{\"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 5}} ";

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

static struct bytes bytes_new(size_t cap)
{
    struct bytes b = {malloc(cap), 0, cap};

    assert_non_null(b.data);
    return b;
}

static void sink(void *user, struct slice piece)
{
    struct bytes *b = user;

    assert_true(piece.len <= b->cap - b->len);
    memcpy(b->data + b->len, piece.data, piece.len);
    b->len += piece.len;
}

static struct body_budget budget_of(size_t memory_bytes, uint64_t output_bytes)
{
    return (struct body_budget){.memory_limit_bytes = memory_bytes,
                                .output_left_bytes = output_bytes};
}

static struct bytes plain_text(void)
{
    struct bytes b = bytes_new(PLAIN_BYTES);
    uint32_t x = 1;

    for (; b.len < PLAIN_BYTES; b.len++) {
        x = x * 1664525 + 1013904223;
        b.data[b.len] = (uint8_t)("{\"choices\": [12,3]}"[(x >> 24) % 19]);
    }
    return b;
}

static struct bytes deflated(struct slice plain, int window_bits)
{
    struct bytes b = bytes_new(plain.len + 1000);
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)plain.data;
    z.avail_in = (unsigned)plain.len;
    z.next_out = b.data;
    z.avail_out = (unsigned)b.cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.len = z.total_out;
    deflateEnd(&z);
    return b;
}

static void expect(enum body_coding coding, struct slice wire, struct slice plain)
{
    static const size_t pieces[] = {1, 2, 3, 997, 65536, SIZE_MAX};

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct bytes out = bytes_new(plain.len + 1);
        struct body_flow flow = {0};
        struct body body;

        body_init(&body, coding, &flow);
        for (size_t at = 0; at < wire.len;) {
            size_t n = wire.len - at < pieces[i] ? wire.len - at : pieces[i];

            assert_int_equal(body_feed(&body, slice_of(wire.data + at, n), sink, &out), 0);
            at += n;
        }
        assert_true(slice_eq(slice_of(out.data, out.len), plain));
        body_fini(&body);
        assert_int_equal(body.allocated_bytes, 0);
        free(out.data);
    }
}

static void identity(void **state)
{
    (void)state;
    expect(BODY_IDENTITY, slice_str("as it is"), slice_str("as it is"));
}

static void gzip_and_deflate(void **state)
{
    static const struct {
        int window_bits;
        enum body_coding coding;
    } table[] = {{31, BODY_GZIP}, {15, BODY_GZIP}, {15, BODY_DEFLATE}, {-15, BODY_DEFLATE}};
    struct bytes plain = plain_text();

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct bytes wire = deflated(slice_of(plain.data, plain.len), table[i].window_bits);

        expect(table[i].coding, slice_of(wire.data, wire.len), slice_of(plain.data, plain.len));
        free(wire.data);
    }
    free(plain.data);
}

static void gzip_members_and_padding(void **state)
{
    struct bytes one = deflated(slice_str("one "), 31), two = deflated(slice_str("two"), 31);
    struct bytes wire = bytes_new(one.len + two.len + 8);

    (void)state;
    sink(&wire, slice_of(one.data, one.len));
    sink(&wire, slice_of(two.data, two.len));
    sink(&wire, slice_of("\0\0\0\0", 4));
    expect(BODY_GZIP, slice_of(wire.data, wire.len), slice_str("one two"));
    free(one.data);
    free(two.data);
    free(wire.data);
}

static void zstandard(void **state)
{
    struct bytes plain = plain_text();
    struct bytes wire = bytes_new(ZSTD_compressBound(PLAIN_BYTES));

    (void)state;
    wire.len = ZSTD_compress(wire.data, wire.cap, plain.data, plain.len, 3);
    assert_false(ZSTD_isError(wire.len));
    expect(BODY_ZSTD, slice_of(wire.data, wire.len), slice_of(plain.data, plain.len));
    free(wire.data);
    free(plain.data);
}

static void brotli(void **state)
{
    static const uint8_t wire[] = {
        0x1b, 0xa7, 0x00, 0x30, 0x1c, 0x07, 0xb9, 0x39, 0xf2, 0x36, 0x8a, 0xf2, 0xc2, 0xc9, 0x26,
        0xa8, 0x93, 0xa5, 0x7e, 0x59, 0xd5, 0xb2, 0x90, 0xcc, 0x0f, 0xcd, 0x84, 0x4e, 0x80, 0xc0,
        0x06, 0x9c, 0x08, 0x84, 0x92, 0x62, 0xbe, 0x08, 0x0d, 0x1b, 0x70, 0x84, 0x61, 0x18, 0x6d,
        0x73, 0x74, 0x93, 0x43, 0x5d, 0xa9, 0x8d, 0xe5, 0x18, 0xdc, 0x78, 0x62, 0xb8, 0xfa, 0x17};

    (void)state;
    expect(BODY_BROTLI, slice_of(wire, sizeof(wire)), slice_str(brotli_plain));
}

static void names(void **state)
{
    static const struct {
        const char *name;
        enum body_coding coding;
    } table[] = {{"", BODY_IDENTITY},     {"identity", BODY_IDENTITY}, {"GZip", BODY_GZIP},
                 {" x-gzip ", BODY_GZIP}, {"deflate", BODY_DEFLATE},   {"br", BODY_BROTLI},
                 {"zstd", BODY_ZSTD},     {"compress", BODY_UNKNOWN},  {"gzip, br", BODY_UNKNOWN}};

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_int_equal(body_coding_of(slice_str(table[i].name)), table[i].coding);
}

static void rubbish_fails_once_and_for_all(void **state)
{
    static const enum body_coding codings[] = {BODY_GZIP, BODY_DEFLATE, BODY_ZSTD, BODY_UNKNOWN};

    (void)state;
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
        struct bytes out = bytes_new(64);
        struct body_budget budget = budget_of(1 << 20, 1 << 20);
        struct body_flow flow = {.budget = &budget};
        struct body body;

        body_init(&body, codings[i], &flow);
        assert_true(body_feed(&body, slice_str("{\"no\":\"such coding, whatever the header\"}"),
                              sink, &out) < 0);
        assert_int_equal(body_feed(&body, slice_str("more"), sink, &out), -EPROTO);
        assert_int_equal(body.allocated_bytes, 0);
        assert_int_equal(budget.failed_coding, 1);
        assert_int_equal(budget.memory_used_bytes, 0);
        body_fini(&body);
        free(out.data);
    }
}

static void a_window_beyond_the_limit_fails(void **state)
{
    size_t len = 2 * (size_t)BODY_WINDOW_MAX_BYTES;
    struct bytes plain = bytes_new(len), wire = bytes_new(ZSTD_compressBound(len)),
                 out = bytes_new(len);
    ZSTD_CCtx *z = ZSTD_createCCtx();
    struct body_flow flow = {0};
    struct body body;

    (void)state;
    memset(plain.data, 'x', len);
    ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, 25);
    wire.len = ZSTD_compress2(z, wire.data, wire.cap, plain.data, len);
    assert_false(ZSTD_isError(wire.len));
    body_init(&body, BODY_ZSTD, &flow);
    assert_int_equal(body_feed(&body, slice_of(wire.data, wire.len), sink, &out), -ENOMEM);
    assert_int_equal(out.len, 0);
    assert_int_equal(body.allocated_bytes, 0);
    body_fini(&body);
    ZSTD_freeCCtx(z);
    free(plain.data);
    free(wire.data);
    free(out.data);
}

#define BOMB_BYTES (32u * 1024 * 1024)

/* 32 MiB of one letter. */
static const uint8_t brotli_bomb[] = {
    0xcb, 0xff, 0xff, 0x3f, 0xf8, 0x25, 0xf0, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x8f,
    0xff, 0xff, 0x7f, 0xf0, 0x4b, 0x00, 0xc4, 0x61, 0x11, 0x80, 0xee, 0xfd, 0x1f, 0xff,
    0xff, 0xff, 0xe0, 0x97, 0x00, 0x88, 0xc3, 0x02, 0x00, 0xdd, 0xfb, 0xbf, 0xfc, 0xff,
    0xff, 0xc3, 0x2f, 0x01, 0x10, 0x87, 0x05, 0x00, 0xba, 0xf7, 0x7f};

static struct bytes zstandard_of(struct slice plain, int window_log)
{
    struct bytes b = bytes_new(ZSTD_compressBound(plain.len));
    ZSTD_CCtx *z = ZSTD_createCCtx();

    assert_non_null(z);
    if (window_log)
        ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log);
    b.len = ZSTD_compress2(z, b.data, b.cap, plain.data, plain.len);
    assert_false(ZSTD_isError(b.len));
    ZSTD_freeCCtx(z);
    return b;
}

static struct bytes bomb_of(enum body_coding coding)
{
    struct bytes plain, wire;

    if (coding == BODY_BROTLI) {
        wire = bytes_new(sizeof(brotli_bomb));
        sink(&wire, slice_of(brotli_bomb, sizeof(brotli_bomb)));
        return wire;
    }
    plain = bytes_new(BOMB_BYTES);
    memset(plain.data, 'x', BOMB_BYTES);
    if (coding == BODY_ZSTD)
        wire = zstandard_of(slice_of(plain.data, BOMB_BYTES), 0);
    else
        wire = deflated(slice_of(plain.data, BOMB_BYTES), coding == BODY_GZIP ? 31 : 15);
    free(plain.data);
    return wire;
}

static void count(void *user, struct slice piece)
{
    *(uint64_t *)user += piece.len;
}

/* Of a body in pieces: the first error, what came out. */
static int feed_all(struct body *body, struct slice wire, size_t piece, uint64_t *ret_out)
{
    uint64_t out = 0;
    int r = 0;

    for (size_t at = 0; at < wire.len && !r; at += piece) {
        size_t n = wire.len - at < piece ? wire.len - at : piece;

        r = body_feed(body, slice_of(wire.data + at, n), count, &out);
        if (n < piece)
            break;
    }
    *ret_out = out;
    return r;
}

static const enum body_coding coded[] = {BODY_GZIP, BODY_DEFLATE, BODY_BROTLI, BODY_ZSTD};
#define CODED_COUNT (sizeof(coded) / sizeof(coded[0]))

static void bombs_do_not_go_off(void **state)
{
    static const size_t pieces[] = {1, 997, SIZE_MAX / 2};

    (void)state;
    for (size_t i = 0; i < CODED_COUNT * 3; i++) {
        struct bytes wire = bomb_of(coded[i / 3]);
        struct body_budget budget = budget_of(1 << 28, UINT64_MAX);
        struct body_flow flow = {.budget = &budget};
        struct body body;
        uint64_t out;

        body_init(&body, coded[i / 3], &flow);
        assert_int_equal(feed_all(&body, slice_of(wire.data, wire.len), pieces[i % 3], &out),
                         -E2BIG);
        assert_in_range(out, BODY_SLACK_BYTES - BODY_PIECE_BYTES,
                        BODY_SLACK_BYTES + BODY_RATIO_MAX * wire.len);
        assert_int_equal(body_feed(&body, slice_str("x"), count, &out), -EPROTO);
        assert_int_equal(budget.failed_output, 1);
        assert_int_equal(budget.memory_used_bytes, 0);
        body_fini(&body);
        free(wire.data);
    }
}

/* One more bomb on the connection has only what small bodies earned, and those that
 * come after it are as good as ever. */
static void the_slack_is_the_connections(void **state)
{
    struct bytes plain = plain_text();
    struct body_flow flow = {0};
    uint64_t first = 0;

    (void)state;
    for (size_t i = 0; i < CODED_COUNT; i++) {
        struct bytes bomb = bomb_of(coded[i]);
        struct bytes good = deflated(slice_of(plain.data, 2000), 31);
        struct body body;
        uint64_t out;

        body_init(&body, coded[i], &flow);
        assert_int_equal(feed_all(&body, slice_of(bomb.data, bomb.len), 4096, &out), -E2BIG);
        body_fini(&body);
        if (i == 0)
            first = out;
        else
            assert_in_range(out, 0, BODY_PIECE_BYTES + BODY_RATIO_MAX * (bomb.len + good.len));
        body_init(&body, BODY_GZIP, &flow);
        assert_int_equal(feed_all(&body, slice_of(good.data, good.len), 4096, &out), 0);
        assert_int_equal(out, 2000);
        body_fini(&body);
        free(bomb.data);
        free(good.data);
    }
    assert_in_range(first, BODY_SLACK_BYTES - BODY_PIECE_BYTES, BOMB_BYTES / 2);
    free(plain.data);
}

/* Long answers that shrink well, as event streams do, are no bombs. */
static void what_shrinks_well_is_read(void **state)
{
    const size_t bytes = 4 * (size_t)BODY_SLACK_BYTES;
    struct bytes plain = bytes_new(bytes + 200);
    uint32_t x = 1;

    (void)state;
    while (plain.len < bytes) {
        x = x * 1664525 + 1013904223;
        plain.len += (size_t)sprintf((char *)plain.data + plain.len,
                                     "data: {\"id\":\"chatcmpl-8c1\",\"object\":"
                                     "\"chat.completion.chunk\",\"created\":1787150602,"
                                     "\"choices\":[{\"index\":0,\"delta\":"
                                     "{\"content\":\"%x\"}}]}\n\n",
                                     x >> 20);
    }
    for (size_t i = 0; i < 2; i++) {
        struct bytes wire = i ? zstandard_of(slice_of(plain.data, plain.len), 0)
                              : deflated(slice_of(plain.data, plain.len), 31);
        struct body_flow flow = {0};
        struct body body;
        uint64_t out;

        assert_true(plain.len / wire.len >= 20);
        body_init(&body, i ? BODY_ZSTD : BODY_GZIP, &flow);
        assert_int_equal(feed_all(&body, slice_of(wire.data, wire.len), 1400, &out), 0);
        assert_int_equal(out, plain.len);
        body_fini(&body);
        free(wire.data);
    }
    free(plain.data);
}

static void decoders_share_their_memory(void **state)
{
    struct bytes plain = bytes_new(BODY_SLACK_BYTES);
    struct body_budget budget = budget_of(12u << 20, UINT64_MAX);
    struct body_flow flow[3] = {{.budget = &budget}, {.budget = &budget}, {.budget = &budget}};
    struct body body[3];
    struct bytes wire;
    uint64_t out;

    (void)state;
    memset(plain.data, 'x', BODY_SLACK_BYTES);
    wire = zstandard_of(slice_of(plain.data, BODY_SLACK_BYTES), 23);
    for (int i = 0; i < 3; i++)
        body_init(&body[i], i == 2 ? BODY_BROTLI : BODY_ZSTD, &flow[i]);
    assert_int_equal(feed_all(&body[0], slice_of(wire.data, wire.len), 4096, &out), 0);
    assert_in_range(budget.memory_used_bytes, 8u << 20, 12u << 20);
    assert_int_equal(feed_all(&body[1], slice_of(wire.data, wire.len), 4096, &out), -ENOMEM);
    assert_int_equal(feed_all(&body[2], slice_of(brotli_bomb, sizeof(brotli_bomb)), 4096, &out),
                     -ENOMEM);
    assert_int_equal(budget.failed_memory, 2);
    body_fini(&body[0]);
    assert_int_equal(budget.memory_used_bytes, 0);
    body_fini(&body[1]);
    body_init(&body[1], BODY_ZSTD, &flow[1]);
    assert_int_equal(feed_all(&body[1], slice_of(wire.data, wire.len), 4096, &out), 0);
    body_fini(&body[1]);
    body_fini(&body[2]);
    assert_int_equal(budget.memory_used_bytes, 0);
    free(wire.data);
    free(plain.data);
}

static void decoders_share_their_output(void **state)
{
    struct bytes plain = plain_text();
    struct bytes wire = deflated(slice_of(plain.data, plain.len), 31);
    struct body_budget budget = budget_of(1 << 20, PLAIN_BYTES + 10000);
    struct body_flow flow[2] = {{.budget = &budget}, {.budget = &budget}};
    static const int expected[] = {0, -E2BIG, 0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct body body;
        uint64_t out;

        if (i == 2)
            budget.output_left_bytes = PLAIN_BYTES;
        body_init(&body, BODY_GZIP, &flow[i % 2]);
        assert_int_equal(feed_all(&body, slice_of(wire.data, wire.len), 4096, &out), expected[i]);
        body_fini(&body);
    }
    assert_int_equal(budget.output_left_bytes, 0);
    assert_int_equal(budget.failed_output, 1);
    free(wire.data);
    free(plain.data);
}

/* A body that was cut off gives what it began with; a damaged one may give
 * anything, and no more than its limits. */
static void cut_and_damaged_bodies(void **state)
{
    struct bytes plain = plain_text();
    const struct slice text = slice_of(plain.data, 3000);

    (void)state;
    for (size_t i = 0; i < CODED_COUNT; i++) {
        struct bytes wire = coded[i] == BODY_BROTLI ? bomb_of(BODY_BROTLI)
                            : coded[i] == BODY_ZSTD
                                ? zstandard_of(text, 0)
                                : deflated(text, coded[i] == BODY_GZIP ? 31 : 15);

        for (size_t at = 0; at < wire.len; at++) {
            struct body_budget budget = budget_of(1 << 24, 1 << 16);
            struct body_flow flow = {.budget = &budget};
            struct body body;
            uint64_t out;
            int r;

            body_init(&body, coded[i], &flow);
            r = feed_all(&body, slice_of(wire.data, at), 7, &out);
            assert_true(r == 0 || (coded[i] == BODY_BROTLI && r == -E2BIG));
            body_fini(&body);

            wire.data[at] ^= 0x24;
            body_init(&body, coded[i], &flow);
            r = feed_all(&body, slice_of(wire.data, wire.len), 7, &out);
            assert_true(r == 0 || r == -EPROTO || r == -E2BIG || r == -ENOMEM);
            body_fini(&body);
            wire.data[at] ^= 0x24;
            assert_int_equal(budget.memory_used_bytes, 0);
        }
        free(wire.data);
    }
    free(plain.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity),
        cmocka_unit_test(gzip_and_deflate),
        cmocka_unit_test(gzip_members_and_padding),
        cmocka_unit_test(zstandard),
        cmocka_unit_test(brotli),
        cmocka_unit_test(names),
        cmocka_unit_test(rubbish_fails_once_and_for_all),
        cmocka_unit_test(a_window_beyond_the_limit_fails),
        cmocka_unit_test(bombs_do_not_go_off),
        cmocka_unit_test(the_slack_is_the_connections),
        cmocka_unit_test(what_shrinks_well_is_read),
        cmocka_unit_test(decoders_share_their_memory),
        cmocka_unit_test(decoders_share_their_output),
        cmocka_unit_test(cut_and_damaged_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
