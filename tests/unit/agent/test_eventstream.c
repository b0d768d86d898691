/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/eventstream.c */
#include "agent/eventstream.h"
#include "proto/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

struct log {
    char text[4096];
    size_t len;
    unsigned messages;
};

static void on_data(void *user, struct slice piece)
{
    struct log *l = user;

    assert_true(l->len + piece.len < sizeof(l->text));
    memcpy(l->text + l->len, piece.data, piece.len);
    l->len += piece.len;
}

static void on_message(void *user, const char *name, bool is_error)
{
    struct log *l = user;

    l->messages++;
    l->len += (size_t)snprintf(l->text + l->len, sizeof(l->text) - l->len, "<%s%s>",
                               is_error ? "!" : "", name);
}

static void put32(struct buf *b, uint32_t v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

    assert_int_equal(buf_append(b, slice_of(bytes, 4)), 0);
}

/* Values of type string. */
static void put_header(struct buf *b, const char *name, const char *value)
{
    const uint8_t name_len = (uint8_t)strlen(name);
    const uint8_t rest[] = {7, (uint8_t)(strlen(value) >> 8), (uint8_t)strlen(value)};

    assert_int_equal(buf_append(b, slice_of(&name_len, 1)), 0);
    assert_int_equal(buf_append_str(b, name), 0);
    assert_int_equal(buf_append(b, slice_of(rest, 3)), 0);
    assert_int_equal(buf_append_str(b, value), 0);
}

static void put_message(struct buf *b, struct slice headers, const char *payload)
{
    size_t start = b->len;

    put32(b, (uint32_t)(16 + headers.len + strlen(payload)));
    put32(b, (uint32_t)headers.len);
    put32(b, (uint32_t)crc32(0, b->data + start, 8));
    assert_int_equal(buf_append(b, headers), 0);
    assert_int_equal(buf_append_str(b, payload), 0);
    put32(b, (uint32_t)crc32(0, b->data + start, (uInt)(b->len - start)));
}

static void put_event(struct buf *b, const char *kind, const char *name, const char *payload)
{
    struct buf headers;

    buf_init(&headers, 4096);
    put_header(&headers, ":message-type", kind);
    put_header(&headers, strcmp(kind, "exception") == 0 ? ":exception-type" : ":event-type", name);
    put_header(&headers, ":content-type", "application/json");
    put_message(b, buf_slice(&headers), payload);
    buf_fini(&headers);
}

/* Any split tells the same. */
static struct log feed(const struct buf *b, bool whole)
{
    struct log first = {0};

    for (size_t piece = b->len ? b->len : 1; piece; piece = piece > 7 ? 7 : piece > 1 ? 1 : 0) {
        struct log l = {0};
        const struct eventstream_events events = {&l, on_data, on_message};
        struct eventstream e;

        eventstream_init(&e, &events);
        for (size_t i = 0; i < b->len; i += piece)
            eventstream_feed(&e, slice_of(b->data + i, b->len - i < piece ? b->len - i : piece));
        assert_int_equal(eventstream_whole(&e), whole);
        eventstream_fini(&e);
        if (!first.len)
            first = l;
        assert_string_equal(l.text, first.text);
        assert_int_equal(l.messages, first.messages);
    }
    return first;
}

static void messages_have_names_and_payloads(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 65536);
    put_event(&b, "event", "messageStart", "{\"role\":\"a\"}");
    put_event(&b, "event", "metadata", "");
    put_event(&b, "exception", "throttlingException", "{\"message\":\"m\"}");
    assert_string_equal(feed(&b, true).text, "{\"role\":\"a\"}<messageStart><metadata>"
                                             "{\"message\":\"m\"}<!throttlingException>");
    buf_fini(&b);
}

static void chunks_are_unwrapped(void **state)
{
    static const struct {
        const char *payload, *want;
    } table[] = {
        {"{\"bytes\":\"eyJhIjoxfQ==\",\"p\":\"abcd\"}", "{\"a\":1}<chunk>"},
        {"{\"p\":\"bytes\",\"q\":{\"bytes\":\"eHg=\"},\"bytes\":\"eyJhIjoxfQ==\"}",
         "{\"a\":1}<chunk>"},
        {"{ \"p\" : \"a\\\"b:\" , \"bytes\" : \"eyJhIjoxfQ\" }", "{\"a\":1}<chunk>"},
        {"{\"bytes\":\"Pz8\\/\"}", "?"
                                   "?"
                                   "?<chunk>"},
        {"{\"bytes\":null,\"p\":\"eHh4\"}", "<chunk>"},
        {"{}", "<chunk>"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf b;

        buf_init(&b, 65536);
        put_event(&b, "event", "chunk", table[i].payload);
        assert_string_equal(feed(&b, true).text, table[i].want);
        buf_fini(&b);
    }
}

static void headers_of_every_type_are_stepped_over(void **state)
{
    static const uint8_t others[] = {
        1, 'a', 0,   1, 'b', 1, 1, 'c', 2,   9, 1,   'd', 3, 9,   9,   1, 'e', 4, 9, 9, 9,
        9, 1,   'f', 5, 9,   9, 9, 9,   9,   9, 9,   9,   1, 'g', 6,   0, 2,   9, 9, 1, 'h',
        8, 9,   9,   9, 9,   9, 9, 9,   9,   1, 'i', 9,   9, 9,   9,   9, 9,   9, 9, 9, 9,
        9, 9,   9,   9, 9,   9, 9, 1,   'j', 7, 0,   0,   2, 'k', 'k', 6, 0,   0};
    struct buf b, headers;

    (void)state;
    buf_init(&b, 65536);
    buf_init(&headers, 4096);
    assert_int_equal(buf_append(&headers, slice_of(others, sizeof(others))), 0);
    put_header(&headers, ":event-type", "contentBlockDelta");
    put_header(&headers, ":message-type", "event");
    put_message(&b, buf_slice(&headers), "{}");
    assert_string_equal(feed(&b, true).text, "{}<contentBlockDelta>");
    buf_fini(&headers);
    buf_fini(&b);
}

static void a_wrong_sum_is_not_believed(void **state)
{
    struct buf b;

    (void)state;
    for (size_t at = 0;; at++) {
        struct log l;

        buf_init(&b, 65536);
        put_event(&b, "event", "a", "{\"x\":1}");
        put_event(&b, "event", "b", "{\"y\":2}");
        if (at >= b.len / 2)
            break;
        b.data[at] ^= 0x10;
        l = feed(&b, false);
        assert_int_equal(l.messages, 0);
        buf_fini(&b);
    }
    buf_fini(&b);
}

static void a_torn_message_is_not_told(void **state)
{
    struct buf b;
    size_t first;

    (void)state;
    buf_init(&b, 65536);
    put_event(&b, "event", "a", "{\"x\":1}");
    first = b.len;
    put_event(&b, "event", "b", "{\"y\":2}");
    for (size_t len = first; len < first * 2; len++) {
        b.len = len;
        assert_int_equal(feed(&b, len == first).messages, 1);
    }
    buf_fini(&b);
}

static void lengths_that_lie_break_the_stream(void **state)
{
    static const uint32_t table[][2] = {
        {0, 0}, {15, 0}, {16, 1}, {100, 85}, {EVENTSTREAM_MESSAGE_MAX + 1, 0}, {~0u, ~0u}};

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf b;

        buf_init(&b, 65536);
        put32(&b, table[i][0]);
        put32(&b, table[i][1]);
        put32(&b, (uint32_t)crc32(0, b.data, 8));
        assert_int_equal(feed(&b, false).messages, 0);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_have_names_and_payloads),
        cmocka_unit_test(chunks_are_unwrapped),
        cmocka_unit_test(headers_of_every_type_are_stepped_over),
        cmocka_unit_test(a_wrong_sum_is_not_believed),
        cmocka_unit_test(a_torn_message_is_not_told),
        cmocka_unit_test(lengths_that_lie_break_the_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
