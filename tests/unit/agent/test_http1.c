/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/http1.c */
#include "agent/http1.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct log {
    char text[8192];
    size_t len;
    enum http1_body answer; /* to every head */
    bool in_body;
};

static void put(struct log *l, const void *s, size_t n)
{
    if (n >= sizeof(l->text) - l->len)
        fail_msg("log is full");
    memcpy(l->text + l->len, s, n);
    l->len += n;
    l->text[l->len] = '\0';
}

static void on_begin(void *user)
{
    put(user, "<", 1);
}

static void on_header(void *user, struct slice name, struct slice value)
{
    struct log *l = user;

    if (l->in_body)
        put(l, "]", 1);
    l->in_body = false;
    put(l, name.data, name.len);
    put(l, "=", 1);
    put(l, value.data, value.len);
    put(l, ";", 1);
}

static enum http1_body on_head(void *user, const struct http1_head *head)
{
    struct log *l = user;
    char line[128];
    int n = snprintf(line, sizeof(line), "%.*s %.*s %u %u.%u", (int)head->method.len,
                     (const char *)head->method.data, (int)head->target.len,
                     (const char *)head->target.data, head->status, head->major, head->minor);

    put(l, "(", 1);
    put(l, line, (size_t)n);
    put(l, ")", 1);
    return l->answer;
}

static void on_body(void *user, struct slice piece)
{
    struct log *l = user;

    if (!l->in_body)
        put(l, "[", 1);
    l->in_body = true;
    put(l, piece.data, piece.len);
}

static void on_end(void *user)
{
    struct log *l = user;

    put(l, l->in_body ? "]>" : ">", l->in_body ? 2 : 1);
    l->in_body = false;
}

static int parse(enum http1_side side, enum http1_body answer, const char *text, size_t piece,
                 bool close, struct log *log)
{
    const struct http1_events events = {log, on_begin, on_header, on_head, on_body, on_end};
    size_t len = strlen(text);
    struct http1 *h;
    int r = 0;

    *log = (struct log){.answer = answer};
    assert_int_equal(http1_new(side, &events, &h), 0);
    for (size_t i = 0; i < len && !r; i += piece)
        r = http1_feed(h, slice_of(text + i, len - i < piece ? len - i : piece));
    if (close)
        http1_finish(h);
    http1_free(&h);
    assert_null(h);
    return r;
}

static void expect(enum http1_side side, enum http1_body answer, const char *text, bool close,
                   int error, const char *want)
{
    struct log log;

    for (size_t piece = 1; piece <= strlen(text); piece++) {
        assert_int_equal(parse(side, answer, text, piece, close, &log), error);
        assert_string_equal(log.text, want);
    }
}

static void pipelined_requests(void **state)
{
    (void)state;
    expect(HTTP1_REQUEST, HTTP1_BODY_AS_SAID,
           "POST /v1/x?y=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
           "GET / HTTP/1.0\r\n\r\n",
           false, 0,
           "<Host=a.example;Content-Length=3;(POST /v1/x?y=1 0 1.1)[abc]><(GET / 0 1.0)>");
}

static void chunks_and_trailers(void **state)
{
    (void)state;
    expect(HTTP1_RESPONSE, HTTP1_BODY_AS_SAID,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n"
           "X-Sum:  9  \r\n\r\nHTTP/1.1 204 No\r\n\r\n",
           false, 0, "<Transfer-Encoding=chunked;(  200 1.1)[abcde]X-Sum=9;><(  204 1.1)>");
}

static void interim_answers_come_first(void **state)
{
    (void)state;
    expect(HTTP1_RESPONSE, HTTP1_BODY_AS_SAID,
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz",
           false, 0, "<(  100 1.1)><Link=x;(  103 1.1)><Content-Length=1;(  200 1.1)[z]>");
}

static void a_body_may_last_until_the_close(void **state)
{
    (void)state;
    expect(HTTP1_RESPONSE, HTTP1_BODY_AS_SAID, "HTTP/1.1 200 OK\r\nA: b\r\n\r\nall that comes",
           true, 0, "<A=b;(  200 1.1)[all that comes]>");
    expect(HTTP1_RESPONSE, HTTP1_BODY_AS_SAID, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall",
           true, 0, "<Content-Length=9;(  200 1.1)[all");
}

static void an_answer_to_head_has_no_body(void **state)
{
    (void)state;
    expect(
        HTTP1_RESPONSE, HTTP1_BODY_NONE,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
        false, 0, "<Content-Length=5;(  200 1.1)><Content-Length=1;(  200 1.1)>");
}

static void asking_for_an_upgrade_changes_nothing(void **state)
{
    (void)state;
    expect(HTTP1_REQUEST, HTTP1_BODY_AS_SAID,
           "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
           false, 0, "<Connection=Upgrade;Upgrade=h2c;(GET / 0 1.1)><(GET /2 0 1.1)>");
}

static void what_is_opaque_is_left_alone(void **state)
{
    struct log log;

    (void)state;
    assert_int_equal(parse(HTTP1_RESPONSE, HTTP1_BODY_OPAQUE,
                           "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
                           1000, false, &log),
                     -EALREADY);
    assert_null(strstr(log.text, "hello"));
}

static void what_is_no_http_is_said_to_be_so(void **state)
{
    struct log log;

    (void)state;
    assert_int_equal(parse(HTTP1_REQUEST, HTTP1_BODY_AS_SAID, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1,
                           false, &log),
                     -EPROTO);
    assert_int_equal(parse(HTTP1_RESPONSE, HTTP1_BODY_AS_SAID, "SSH-2.0-x\r\n", 1, false, &log),
                     -EPROTO);
}

static void long_names_go_and_long_values_are_cut(void **state)
{
    static char text[8192], want[4096];
    struct log log;
    size_t at;

    (void)state;
    strcpy(text, "HTTP/1.1 204 No\r\n");
    memset(text + strlen(text), 'n', HTTP1_NAME_MAX + 1);
    strcat(text, ": dropped\r\nlong: ");
    at = strlen(text);
    memset(text + at, 'v', HTTP1_VALUE_MAX + 100);
    strcat(text, "\r\n\r\n");
    strcpy(want, "<long=");
    memset(want + 6, 'v', HTTP1_VALUE_MAX);
    strcat(want, ";(  204 1.1)>");
    assert_int_equal(parse(HTTP1_RESPONSE, HTTP1_BODY_AS_SAID, text, 11, false, &log), 0);
    assert_string_equal(log.text, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined_requests),
        cmocka_unit_test(chunks_and_trailers),
        cmocka_unit_test(interim_answers_come_first),
        cmocka_unit_test(a_body_may_last_until_the_close),
        cmocka_unit_test(an_answer_to_head_has_no_body),
        cmocka_unit_test(asking_for_an_upgrade_changes_nothing),
        cmocka_unit_test(what_is_opaque_is_left_alone),
        cmocka_unit_test(what_is_no_http_is_said_to_be_so),
        cmocka_unit_test(long_names_go_and_long_values_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
