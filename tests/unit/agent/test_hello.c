/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/hello.c */
#include "agent/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct maker {
    uint8_t bytes[HELLO_MAX_BYTES + 4096];
    size_t len;
};

static void put(struct maker *m, const void *bytes, size_t len)
{
    assert_true(m->len + len <= sizeof(m->bytes));
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void put16(struct maker *m, unsigned value)
{
    put(m, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void put_extension(struct maker *m, unsigned type, const void *body, size_t len)
{
    put16(m, type);
    put16(m, (unsigned)len);
    put(m, body, len);
}

static void put_sni(struct maker *m, const char *name)
{
    struct maker body = {.len = 0};

    put16(&body, (unsigned)strlen(name) + 3);
    put(&body, "", 1);
    put16(&body, (unsigned)strlen(name));
    put(&body, name, strlen(name));
    put_extension(m, 0, body.bytes, body.len);
}

static const uint8_t alpn_both[] = "\0\x0c\x02h2\x08http/1.1";
static const uint8_t versions13[] = "\x04\x03\x04\x03\x03";
static const uint8_t groups[] = "\0\x04\0\x1d\0\x17";

/* The handshake message around the extensions. */
static struct maker message(const struct maker *extensions)
{
    struct maker m = {.len = 0};
    uint8_t random[32] = {7};
    size_t body_len;

    put(&m, "\x01\0\0\0", 4);
    put16(&m, 0x0303);
    put(&m, random, sizeof(random));
    put(&m, "", 1);
    put16(&m, 4);
    put(&m, "\x13\x01\x13\x02", 4);
    put(&m, "\x01\0", 2);
    put16(&m, (unsigned)extensions->len);
    put(&m, extensions->bytes, extensions->len);
    body_len = m.len - 4;
    m.bytes[1] = (uint8_t)(body_len >> 16);
    m.bytes[2] = (uint8_t)(body_len >> 8);
    m.bytes[3] = (uint8_t)body_len;
    return m;
}

static struct maker records(const struct maker *msg, size_t record_bytes)
{
    struct maker m = {.len = 0};

    for (size_t at = 0; at < msg->len; at += record_bytes) {
        size_t n = msg->len - at < record_bytes ? msg->len - at : record_bytes;

        put(&m, "\x16\x03\x01", 3);
        put16(&m, (unsigned)n);
        put(&m, msg->bytes + at, n);
    }
    return m;
}

static struct maker usual(const char *name, size_t record_bytes)
{
    struct maker ext = {.len = 0}, msg;

    put_sni(&ext, name);
    put_extension(&ext, 16, alpn_both, sizeof(alpn_both) - 1);
    put_extension(&ext, 43, versions13, sizeof(versions13) - 1);
    put_extension(&ext, 10, groups, sizeof(groups) - 1);
    msg = message(&ext);
    return records(&msg, record_bytes);
}

static enum hello_result parse(const struct maker *m, struct hello *ret)
{
    return hello_parse(slice_of(m->bytes, m->len), ret);
}

static void test_reads_name_and_alpn(void **state)
{
    struct maker m = usual("API.OpenAI.com", 16384);
    struct hello h;

    (void)state;
    assert_int_equal(parse(&m, &h), HELLO_OK);
    assert_string_equal(h.sni, "api.openai.com");
    assert_int_equal(h.alpn_len, 12);
    assert_memory_equal(h.alpn, alpn_both + 2, 12);
    assert_true(h.tls12_or_newer);
    assert_false(h.ech);
}

static void test_every_prefix_is_more(void **state)
{
    struct maker m = usual("api.openai.com", 40);
    struct hello h;

    (void)state;
    for (size_t len = 0; len < m.len; len++)
        assert_int_equal(hello_parse(slice_of(m.bytes, len), &h), HELLO_MORE);
    assert_int_equal(parse(&m, &h), HELLO_OK);
    assert_string_equal(h.sni, "api.openai.com");
}

static void test_what_follows_does_not_matter(void **state)
{
    struct maker m = usual("api.openai.com", 16384), longer = m;
    struct hello a, b;

    (void)state;
    put(&longer, "\x14\x03\x03\0\x01\x01garbage", 13);
    assert_int_equal(parse(&m, &a), HELLO_OK);
    assert_int_equal(parse(&longer, &b), HELLO_OK);
    assert_memory_equal(&a.fingerprint, &b.fingerprint, sizeof(a.fingerprint));
}

static void test_not_tls(void **state)
{
    static const struct slice cases[] = {
        {(const uint8_t *)"GET / HTTP/1.1\r\n", 16},
        {(const uint8_t *)"\x16\x02", 2},
        {(const uint8_t *)"\x16\x03\x01\0\0", 5},
        {(const uint8_t *)"\x16\x03\x01\xff\xff\x01", 6},
        {(const uint8_t *)"\x16\x03\x01\0\x04\x02\0\0\0", 9},
        {(const uint8_t *)"\x16\x03\x01\0\x04\x01\xff\xff\xff", 9},
        {(const uint8_t *)"\x15\x03\x01\0\x02\x01\0", 7},
    };
    struct hello h;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(hello_parse(cases[i], &h), HELLO_NOT_TLS);
}

static void test_names_that_are_none(void **state)
{
    static const char *const names[] = {"a b", "-x\n", ".openai.com", "openai.com.", "a/b", "ü"};
    struct hello h;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct maker m = usual(names[i], 16384);

        if (strcmp(names[i], "-x\n") == 0)
            m = usual("x\n", 16384);
        assert_int_equal(parse(&m, &h), HELLO_OK);
        assert_string_equal(h.sni, "");
    }
}

static void test_ech(void **state)
{
    struct maker ext = {.len = 0}, msg, m;
    struct hello h;

    (void)state;
    put_sni(&ext, "api.openai.com");
    put_extension(&ext, 0xfe0d, "\0\0\x01", 3);
    msg = message(&ext);
    m = records(&msg, 16384);
    assert_int_equal(parse(&m, &h), HELLO_OK);
    assert_true(h.ech);
}

static void test_malformed_alpn(void **state)
{
    static const struct slice bodies[] = {
        {(const uint8_t *)"\0\x03\x05h2", 5},
        {(const uint8_t *)"\0\x03\0h2", 5},
        {(const uint8_t *)"\0\x09\x02h2", 5},
    };
    struct hello h;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct maker ext = {.len = 0}, msg, m;

        put_extension(&ext, 16, bodies[i].data, bodies[i].len);
        msg = message(&ext);
        m = records(&msg, 16384);
        assert_int_equal(parse(&m, &h), HELLO_NOT_TLS);
    }
}

static uint64_t fingerprint(unsigned first, unsigned second, unsigned grease, const char *name)
{
    struct maker ext = {.len = 0}, msg, m;
    struct hello h;

    put_extension(&ext, grease, "", 0);
    put_extension(&ext, first, groups, sizeof(groups) - 1);
    put_extension(&ext, second, groups, sizeof(groups) - 1);
    put_sni(&ext, name);
    if (grease == 0x1a1a)
        put_extension(&ext, 41, "ticket", 6);
    msg = message(&ext);
    m = records(&msg, 16384);
    assert_int_equal(parse(&m, &h), HELLO_OK);
    return h.fingerprint;
}

static void test_fingerprint(void **state)
{
    uint64_t a = fingerprint(10, 13, 0x0a0a, "a.example");

    (void)state;
    /* Neither name, nor order, nor GREASE, nor a ticket makes another client. */
    assert_true(a == fingerprint(10, 13, 0x1a1a, "b.example"));
    assert_true(a == fingerprint(13, 10, 0x2a2a, "a.example"));
    assert_false(a == fingerprint(10, 50, 0x0a0a, "a.example"));
}

static void test_old_client(void **state)
{
    struct maker m = usual("api.openai.com", 16384);
    struct maker ext = {.len = 0}, msg;
    struct hello h;

    (void)state;
    put_sni(&ext, "api.openai.com");
    msg = message(&ext);
    msg.bytes[5] = 0x02; /* TLS 1.1 and no list of versions */
    m = records(&msg, 16384);
    assert_int_equal(parse(&m, &h), HELLO_OK);
    assert_false(h.tls12_or_newer);
}

static void test_too_long(void **state)
{
    static uint8_t padding[HELLO_MAX_BYTES - 200];
    struct maker ext = {.len = 0}, msg, m;
    struct hello h;

    (void)state;
    put_extension(&ext, 21, padding, sizeof(padding));
    put_sni(&ext, "api.openai.com");
    msg = message(&ext);
    m = records(&msg, 16384);
    assert_int_equal(parse(&m, &h), HELLO_OK);
    put_extension(&ext, 22, padding, 300);
    msg = message(&ext);
    m = records(&msg, 16384);
    assert_int_equal(parse(&m, &h), HELLO_NOT_TLS);
}

static void test_versions(void **state)
{
    const struct {
        const char *list;
        size_t len;
        uint16_t min, max;
    } rows[] = {
        {"\x04\x03\x04\x03\x03", 5, 0x0303, 0x0304},
        {"\x02\x03\x04", 3, 0x0304, 0x0304},
        {"\x06\x7a\x7a\x03\x03\x03\x01", 7, 0x0301, 0x0303},
        {"\x04\x7f\x1c\x03\x04", 5, 0x0304, 0x0304},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct maker ext = {.len = 0}, msg, m;
        struct hello h;

        put_sni(&ext, "api.openai.com");
        put_extension(&ext, 43, rows[i].list, rows[i].len);
        msg = message(&ext);
        m = records(&msg, 16384);
        assert_int_equal(parse(&m, &h), HELLO_OK);
        assert_int_equal(h.version_min, rows[i].min);
        assert_int_equal(h.version_max, rows[i].max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_name_and_alpn),
        cmocka_unit_test(test_every_prefix_is_more),
        cmocka_unit_test(test_what_follows_does_not_matter),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_names_that_are_none),
        cmocka_unit_test(test_ech),
        cmocka_unit_test(test_malformed_alpn),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_old_client),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_versions),
    };

    return cmocka_run_group_tests_name("hello", tests, NULL, NULL);
}
