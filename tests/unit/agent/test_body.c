/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/body.c */
/* The compressed texts are made here by zlib and zstd; the Brotli one, for which the
 * encoder is no dependency, was made once. */
#include "agent/body.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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
        struct body body;

        body_init(&body, coding);
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
        struct body body;

        body_init(&body, codings[i]);
        assert_true(body_feed(&body, slice_str("{\"no\":\"such coding, whatever the header\"}"),
                              sink, &out) < 0);
        assert_int_equal(body_feed(&body, slice_str("more"), sink, &out), -EPROTO);
        assert_int_equal(body.allocated_bytes, 0);
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
    struct body body;

    (void)state;
    memset(plain.data, 'x', len);
    ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, 25);
    wire.len = ZSTD_compress2(z, wire.data, wire.cap, plain.data, len);
    assert_false(ZSTD_isError(wire.len));
    body_init(&body, BODY_ZSTD);
    assert_true(body_feed(&body, slice_of(wire.data, wire.len), sink, &out) < 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(body.allocated_bytes, 0);
    body_fini(&body);
    ZSTD_freeCCtx(z);
    free(plain.data);
    free(wire.data);
    free(out.data);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
