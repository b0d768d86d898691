/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/http2.c */
#include "agent/http2.h"
#include "tests/harness/http2_writer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NO_PAD -1

/* What was told, as text: "[1 :method=GET ] 1 <body> 1. 1!8 goaway 3". */
struct trace {
    struct buf text;
    bool in_data;
    uint32_t data_stream;
};

static void say(struct trace *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct trace *t, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (t->in_data)
        assert_int_equal(buf_append_str(&t->text, "> "), 0);
    t->in_data = false;
    assert_int_equal(buf_append_str(&t->text, text), 0);
}

static void on_block(void *user, enum http2_side from, uint32_t stream)
{
    say(user, "%s[%u ", from == HTTP2_CLIENT ? "" : "s", stream);
}

static void on_header(void *user, enum http2_side from, uint32_t stream, struct slice name,
                      struct slice value)
{
    (void)from;
    (void)stream;
    say(user, "%.*s=%.*s ", (int)name.len, (const char *)name.data,
        (int)(value.len < 40 ? value.len : 40), (const char *)value.data);
}

static void on_block_end(void *user, enum http2_side from, uint32_t stream)
{
    (void)from;
    (void)stream;
    say(user, "] ");
}

static void on_data(void *user, enum http2_side from, uint32_t stream, struct slice piece)
{
    struct trace *t = user;

    (void)from;
    if (!t->in_data || t->data_stream != stream)
        say(t, "%u <", stream);
    t->in_data = true;
    t->data_stream = stream;
    assert_int_equal(buf_append(&t->text, piece), 0);
}

static void on_end(void *user, enum http2_side from, uint32_t stream)
{
    (void)from;
    say(user, "%u. ", stream);
}

static void on_reset(void *user, enum http2_side from, uint32_t stream, uint32_t code)
{
    (void)from;
    say(user, "%u!%u ", stream, code);
}

static void on_goaway(void *user, enum http2_side from, uint32_t last, uint32_t code)
{
    (void)from;
    (void)code;
    say(user, "goaway %u ", last);
}

static struct http2 *reader(struct trace *t)
{
    const struct http2_events events = {t,       on_block, on_header, on_block_end,
                                        on_data, on_end,   on_reset,  on_goaway};
    struct http2 *h;

    *t = (struct trace){0};
    buf_init(&t->text, 1 << 24);
    assert_int_equal(http2_new(&events, &h), 0);
    return h;
}

static int feed(struct http2 *h, enum http2_side from, struct slice bytes, size_t piece)
{
    int r = 0;

    for (size_t at = 0; at < bytes.len && r == 0; at += piece) {
        size_t n = bytes.len - at < piece ? bytes.len - at : piece;

        /* A block of its own, so that the sanitizer sees what is read beyond it. */
        uint8_t *copy = malloc(n);

        assert_non_null(copy);
        memcpy(copy, bytes.data + at, n);
        r = http2_feed(h, from, slice_of(copy, n));
        free(copy);
    }
    return r;
}

static void assert_told(struct trace *t, const char *want)
{
    say(t, "%s", "");
    assert_int_equal(buf_append(&t->text, slice_of("", 1)), 0);
    assert_string_equal((const char *)t->text.data, want);
}

/* The same is told however the bytes are cut. */
static void assert_reads(enum http2_side from, struct slice bytes, int want_error, const char *want)
{
    for (size_t piece = 1; piece < 12; piece++) {
        struct trace t;
        struct http2 *h = reader(&t);
        int r = feed(h, from, bytes, piece == 11 ? bytes.len : piece);

        assert_int_equal(r, want_error);
        if (want)
            assert_told(&t, want);
        if (r)
            assert_int_equal(http2_feed(h, from, slice_str("x")), -EPROTO);
        http2_free(&h);
        assert_null(h);
        buf_fini(&t.text);
    }
}

static struct h2_fields get(void)
{
    struct h2_fields f = {0};

    h2_field(&f, ":method", "GET");
    h2_field(&f, ":path", "/v1");
    h2_field(&f, "x-a", "b");
    return f;
}

#define HEAD "[1 :method=GET :path=/v1 x-a=b ] "

static void a_block_in_any_wrapping(void **state)
{
    const struct h2_fields f = get();

    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        const struct h2_block how = {
            .end_stream = i & 1,
            .priority = i & 2,
            .pad = i & 4 ? (i & 8 ? 255 : 0) : NO_PAD,
            .fragment = i & 16 ? 1 : 0,
        };
        struct h2_writer w;

        h2_writer_init(&w, true);
        h2_headers(&w, 1, &f, &how);
        if (!how.end_stream)
            h2_data(&w, 1, "hello", 5, true, how.pad);
        assert_reads(HTTP2_CLIENT, buf_slice(&w.out), 0,
                     how.end_stream ? HEAD "1. " : HEAD "1 <hello> 1. ");
        h2_writer_fini(&w);
    }
}

static void streams_interleaved_with_all_kinds_of_frames(void **state)
{
    const struct h2_block plain = {.pad = NO_PAD}, end = {.end_stream = true, .pad = NO_PAD};
    struct h2_fields f = get(), trailers = {0};
    struct h2_writer w;

    (void)state;
    h2_field(&trailers, "x-t", "u");
    h2_writer_init(&w, true);
    h2_headers(&w, 1, &f, &plain);
    h2_frame(&w, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
    h2_data(&w, 1, "a", 1, false, 3);
    h2_headers(&w, 3, &f, &plain);
    h2_frame(&w, NGHTTP2_PING, 0, 0, "12345678", 8);
    h2_data(&w, 3, "b", 1, false, NO_PAD);
    h2_frame(&w, 0x77, 0xff, 3, "unknown", 7);
    h2_data(&w, 1, "c", 1, false, NO_PAD);
    h2_data(&w, 1, "", 0, true, 7);
    h2_frame(&w, NGHTTP2_PRIORITY, 0, 9, "\0\0\0\0\1", 5);
    h2_headers(&w, 3, &trailers, &end);
    h2_headers(&w, 5, &f, &end);
    h2_reset(&w, 5, NGHTTP2_CANCEL);
    h2_goaway(&w, 0);
    assert_reads(HTTP2_CLIENT, buf_slice(&w.out), 0,
                 HEAD "1 <a> [3 :method=GET :path=/v1 x-a=b ] 3 <b> 1 <c> 1. [3 x-t=u ] 3. "
                      "[5 :method=GET :path=/v1 x-a=b ] 5. 5!8 goaway 0 ");
    h2_writer_fini(&w);
}

static void what_is_pushed_keeps_the_table_in_step(void **state)
{
    const struct h2_block plain = {.pad = NO_PAD};
    struct h2_fields f = get();
    struct h2_writer w, block;
    struct buf promise;

    (void)state;
    h2_writer_init(&w, false);
    /* The promised request enters the table that the later block refers to. */
    block = w;
    buf_init(&block.out, 4096);
    h2_headers(&block, 0, &f, &plain);
    buf_init(&promise, 4096);
    h2_check(buf_append(&promise, slice_of("\4\0\0\0\2", 5)));
    h2_check(buf_append(&promise, slice_of(block.out.data + 9, block.out.len - 9)));
    h2_check(buf_append(&promise, slice_of("\0\0\0\0", 4)));
    h2_frame(&w, NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_PADDED, 1,
             promise.data, promise.len);
    h2_headers(&w, 1, &f, &plain);
    assert_reads(HTTP2_SERVER, buf_slice(&w.out), 0, "s" HEAD);
    buf_fini(&promise);
    buf_fini(&block.out);
    h2_writer_fini(&w);
}

/* The client asks for a table of `bytes`; the server uses `uses` of them. */
static int table_of(uint32_t bytes, uint32_t uses, bool in_the_middle)
{
    const struct h2_block plain = {.pad = NO_PAD};
    struct h2_writer client, server;
    struct trace t;
    struct http2 *h = reader(&t);
    char names[40][16], value[301];
    int r;

    memset(value, 'v', 300);
    value[300] = '\0';
    h2_writer_init(&client, true);
    h2_setting(&client, NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, bytes);
    h2_writer_init(&server, false);
    if (in_the_middle) {
        /* The other side is told while it is in the middle of a block. */
        struct h2_fields f = get();

        h2_headers(&server, 1, &f, &plain);
        assert_int_equal(feed(h, HTTP2_SERVER, slice_of(server.out.data, server.out.len - 2), 7),
                         0);
        assert_int_equal(feed(h, HTTP2_CLIENT, buf_slice(&client.out), 1), 0);
        buf_consume(&server.out, server.out.len - 2);
    } else {
        assert_int_equal(feed(h, HTTP2_CLIENT, buf_slice(&client.out), 5), 0);
    }
    h2_check(nghttp2_hd_deflate_change_table_size(server.deflater, uses));
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < 40; i += 10) {
            struct h2_fields f = {0};

            for (size_t k = i; k < i + 10; k++) {
                snprintf(names[k], sizeof(names[k]), "x-name-%zu", k);
                h2_field(&f, names[k], value);
            }
            h2_headers(&server, 1, &f, &plain);
        }
    r = feed(h, HTTP2_SERVER, buf_slice(&server.out), 100);
    if (r == 0)
        assert_true(server.out.len < 120 * 310);
    http2_free(&h);
    buf_fini(&t.text);
    h2_writer_fini(&client);
    h2_writer_fini(&server);
    return r;
}

static void table_sizes(void **state)
{
    (void)state;
    for (int middle = 0; middle < 2; middle++) {
        assert_int_equal(table_of(16384, 16384, middle), 0);
        assert_int_equal(table_of(16384, 100, middle), 0);
        assert_int_equal(table_of(0, 0, middle), 0);
        /* One that goes on with its table all the same is followed. */
        assert_int_equal(table_of(0, 4096, middle), 0);
        assert_int_equal(table_of(1u << 31, 65536, middle), 0);
    }
}

/* Frames that are none, or that nobody can follow. */
static void rubbish(void **state)
{
    static const struct {
        enum http2_side from;
        const char *bytes;
        size_t len;
    } table[] = {
        {HTTP2_CLIENT, "GET / HTTP/1.1\r\n", 16},
        {HTTP2_CLIENT, H2_PREFACE "\0\0\0\0\0\0\0\0\1", 33}, /* DATA first */
        {HTTP2_SERVER, "HTTP/1.1 400 Bad\r\n\r\n", 20},
        {HTTP2_SERVER, "\0\0\0\4\1\0\0\0\0", 9},     /* an acknowledgement first */
        {HTTP2_SERVER, "\0\0\3\4\0\0\0\0\0abc", 12}, /* half a setting */
        {HTTP2_SERVER, "\0\0\0\4\0\0\0\0\1", 9},     /* SETTINGS on a stream */
    };
    /* Behind SETTINGS. */
    static const struct {
        const char *bytes;
        size_t len;
    } later[] = {
        {"\0\0\0\0\0\0\0\0\0", 9},                      /* DATA on stream 0 */
        {"\0\0\0\1\4\0\0\0\0", 9},                      /* HEADERS on stream 0 */
        {"\0\0\0\0\x08\0\0\0\1", 9},                    /* padded, without a length */
        {"\0\0\2\0\x08\0\0\0\1\2x", 11},                /* more padding than payload */
        {"\0\0\7\1\x2c\0\0\0\1\5abcdef", 16},           /* padding over the priority */
        {"\0\0\3\1\x24\0\0\0\1xyz", 12},                /* a priority cut short */
        {"\0\0\0\x09\4\0\0\0\1", 9},                    /* CONTINUATION of nothing */
        {"\0\0\0\1\0\0\0\0\1\0\0\0\0\0\0\0\0\1", 18},   /* DATA within a block */
        {"\0\0\0\1\0\0\0\0\1\0\0\0\x09\4\0\0\0\3", 18}, /* another stream's block */
        {"\0\0\3\3\0\0\0\0\1abc", 12},                  /* RST_STREAM cut short */
        {"\0\0\4\7\0\0\0\0\0abcd", 13},                 /* GOAWAY cut short */
        {"\0\0\1\1\4\0\0\0\1\xff", 10},                 /* a block that ends in an index */
        {"\0\0\1\1\4\0\0\0\1\xfe", 10},                 /* … or points nowhere */
    };
    char bytes[64] = "\0\0\0\4\0\0\0\0\0";

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_reads(table[i].from, slice_of(table[i].bytes, table[i].len), -EPROTO, "");
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        struct trace t;
        struct http2 *h = reader(&t);

        memcpy(bytes + 9, later[i].bytes, later[i].len);
        /* What comes behind shows what was cut short. */
        memset(bytes + 9 + later[i].len, 0, 9);
        if (!feed(h, HTTP2_SERVER, slice_of(bytes, 18 + later[i].len), 1))
            fail_msg("case %zu", i);
        http2_free(&h);
        buf_fini(&t.text);
    }
}

static void an_acknowledgement_says_nothing(void **state)
{
    static const char bytes[] = "\0\0\0\4\0\0\0\0\0"
                                "\0\0\6\4\1\0\0\0\0\0\1\xff\xff\xff\xff"
                                "\0\0\0\4\1\0\0\0\0";

    (void)state;
    assert_reads(HTTP2_SERVER, slice_of(bytes, sizeof(bytes) - 1), 0, "");
}

/* A block without an end, and one that grows beyond measure. */
static void what_a_block_may_cost(void **state)
{
    static uint8_t zeros[16384];
    struct h2_writer w;
    struct trace t;
    struct http2 *h = reader(&t);
    int r = 0, frames = 0;

    (void)state;
    h2_writer_init(&w, true);
    memset(zeros, 0x82, sizeof(zeros)); /* ":method: GET", again and again */
    h2_frame(&w, NGHTTP2_HEADERS, 0, 1, zeros, 1);
    while (r == 0 && frames++ < 100) {
        h2_frame(&w, NGHTTP2_CONTINUATION, 0, 1, zeros, sizeof(zeros));
        r = http2_feed(h, HTTP2_CLIENT, buf_slice(&w.out));
        buf_reset(&w.out);
        buf_reset(&t.text);
    }
    assert_int_equal(r, -EPROTO);
    assert_int_equal(frames, HTTP2_BLOCK_MAX_BYTES / sizeof(zeros));
    http2_free(&h);
    buf_fini(&t.text);
    h2_writer_fini(&w);
}

static void skip_header(void *user, enum http2_side from, uint32_t stream, struct slice name,
                        struct slice value)
{
    (void)from;
    (void)stream;
    (void)name;
    *(uint64_t *)user += value.len;
}

static void skip_block(void *user, enum http2_side from, uint32_t stream)
{
    (void)user;
    (void)from;
    (void)stream;
}

static void skip_data(void *user, enum http2_side from, uint32_t stream, struct slice piece)
{
    (void)piece;
    skip_block(user, from, stream);
}

/* A header of 3,000 bytes, and a byte that stands for it, again and again. */
static void what_a_byte_may_stand_for(void **state)
{
    uint64_t told_bytes = 0;
    const struct http2_events events = {.user = &told_bytes,
                                        .on_block = skip_block,
                                        .on_header = skip_header,
                                        .on_block_end = skip_block,
                                        .on_data = skip_data,
                                        .on_end = skip_block};
    static char value[3001];
    uint8_t again[64];
    struct h2_fields f = {0};
    const struct h2_block plain = {.pad = NO_PAD};
    struct h2_writer w;
    struct http2 *h;
    int r = 0;

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    memset(again, 0xbe, sizeof(again)); /* the table's newest */
    h2_field(&f, "x-a", value);
    for (size_t times = 1; times <= sizeof(again); times *= sizeof(again)) {
        bool hostile = times > 1;

        told_bytes = 0;
        assert_int_equal(http2_new(&events, &h), 0);
        h2_writer_init(&w, true);
        h2_headers(&w, 1, &f, &plain);
        /* As a client that polls, or one that makes us read. */
        for (uint32_t id = 3; id < 20003 && r == 0; id += 2) {
            h2_frame(&w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, id,
                     again, times);
            h2_frame(&w, NGHTTP2_DATA, 0, id, again, hostile ? 0 : 16);
            r = http2_feed(h, HTTP2_CLIENT, buf_slice(&w.out));
            buf_reset(&w.out);
        }
        assert_int_equal(r, hostile ? -EPROTO : 0);
        if (hostile)
            assert_true(told_bytes < 2 * HTTP2_SLACK_BYTES);
        else
            assert_true(told_bytes >= 10000 * 3000);
        http2_free(&h);
        h2_writer_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_in_any_wrapping),
        cmocka_unit_test(streams_interleaved_with_all_kinds_of_frames),
        cmocka_unit_test(what_is_pushed_keeps_the_table_in_step),
        cmocka_unit_test(table_sizes),
        cmocka_unit_test(rubbish),
        cmocka_unit_test(an_acknowledgement_says_nothing),
        cmocka_unit_test(what_a_block_may_cost),
        cmocka_unit_test(what_a_byte_may_stand_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
