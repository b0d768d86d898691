/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/clear.c */
#include "agent/clear.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void table(void **state)
{
    static const struct {
        const char *bytes;
        enum clear_result result;
        const char *host;
    } rows[] = {
        {"POST /api/chat HTTP/1.1\r\nHost: LocalHost:11434\r\nA: b\r\n\r\n{", CLEAR_HTTP1,
         "localhost"},
        {"GET / HTTP/1.1\r\nhost:gpu.example\r\n", CLEAR_HTTP1, "gpu.example"},
        {"GET / HTTP/1.1\nX: 1\nHost:\t10.1.2.3 \n\n", CLEAR_HTTP1, "10.1.2.3"},
        {"GET / HTTP/1.1\r\nHost: [::1]:11434\r\n\r\n", CLEAR_HTTP1, "::1"},
        {"GET / HTTP/1.0\r\n\r\n", CLEAR_HTTP1, ""},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", CLEAR_HTTP1, ""},
        {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", CLEAR_HTTP1, ""},
        {"GET / HTTP/1.1\r\nGhost: a\r\n\r\nHost: b\r\n", CLEAR_HTTP1, ""},
        {"M-SEARCH * HTTP/1.1\r\nHost: x\r\n", CLEAR_HTTP1, "x"},
        {"PRI * HTTP/2.0\r\n", CLEAR_HTTP2, ""},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CLEAR_HTTP2, ""},
        {"", CLEAR_MORE, NULL},
        {"PO", CLEAR_MORE, NULL},
        {"PRI * HTTP/2", CLEAR_MORE, NULL},
        {"POST /api/chat HTT", CLEAR_MORE, NULL},
        {"POST /api/chat HTTP/1.1\r\nHost: local", CLEAR_MORE, NULL},
        {"*1\r\n$4\r\nPING\r\n", CLEAR_NOT_HTTP, NULL},
        {"PING\r\n", CLEAR_NOT_HTTP, NULL},
        {"HELO mail.example\r\n", CLEAR_NOT_HTTP, NULL},
        {"GET /\r\n", CLEAR_NOT_HTTP, NULL},
        {"GET / HTTP/3.0\r\n", CLEAR_NOT_HTTP, NULL},
        {" GET / HTTP/1.1\r\n", CLEAR_NOT_HTTP, NULL},
        {"GET  / HTTP/1.1\r\n", CLEAR_NOT_HTTP, NULL},
        {"get / HTTP/1.1\r\n", CLEAR_NOT_HTTP, NULL},
        {"GET /\x01 HTTP/1.1\r\n", CLEAR_NOT_HTTP, NULL},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n", CLEAR_NOT_HTTP, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct clear_head head = {"untouched"};
        enum clear_result got = clear_parse(slice_str(rows[i].bytes), &head);

        if (got != rows[i].result)
            fail_msg("%s: got %d", rows[i].bytes, (int)got);
        assert_string_equal(head.host, rows[i].host ? rows[i].host : "untouched");
    }
}

/* The answer for a prefix never contradicts the one for the whole. */
static void every_prefix(void **state)
{
    const char *whole = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nAccept: */*\r\n"
                        "Host: gpu-7.example:8000\r\nContent-Length: 2\r\n\r\n{}";
    size_t decided = (size_t)(strstr(whole, "Content-Length") - whole);

    (void)state;
    for (size_t n = 0; n <= strlen(whole); n++) {
        struct clear_head head = {0};
        enum clear_result got = clear_parse(slice_of(whole, n), &head);

        assert_int_equal(got, n < decided ? CLEAR_MORE : CLEAR_HTTP1);
        assert_string_equal(head.host, n < decided ? "" : "gpu-7.example");
    }
}

/* A head that does not end is decided with what was seen of it. */
static void a_long_head(void **state)
{
    static uint8_t bytes[CLEAR_MAX_BYTES + 100];
    static const char begin[] = "GET / HTTP/1.1\r\nCookie: ";
    static const char end[] = "\r\nHost: late.example\r\n\r\n";
    struct clear_head head = {"untouched"};

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, begin, sizeof(begin) - 1);
    memcpy(bytes + sizeof(bytes) - sizeof(end) + 1, end, sizeof(end) - 1);
    assert_int_equal(clear_parse(slice_of(bytes, CLEAR_MAX_BYTES - 1), &head), CLEAR_MORE);
    assert_int_equal(clear_parse(slice_of(bytes, sizeof(bytes)), &head), CLEAR_HTTP1);
    assert_string_equal(head.host, "");
    memset(bytes, 'G', sizeof(bytes));
    memcpy(bytes, "GET /", 5);
    assert_int_equal(clear_parse(slice_of(bytes, sizeof(bytes)), &head), CLEAR_NOT_HTTP);
}

static void a_long_host(void **state)
{
    char text[512];
    struct clear_head head;

    (void)state;
    for (int len = CLEAR_HOST_MAX - 1; len <= CLEAR_HOST_MAX; len++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %0*d:80\r\n\r\n", len, 0);
        assert_int_equal(clear_parse(slice_str(text), &head), CLEAR_HTTP1);
        assert_int_equal(strlen(head.host), len < CLEAR_HOST_MAX ? len : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(a_long_head),
        cmocka_unit_test(a_long_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
