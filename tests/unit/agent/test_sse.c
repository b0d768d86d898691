/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/sse.c */
#include "agent/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct log {
    char text[1024];
    size_t len;
};

static void put(struct log *l, const void *s, size_t n)
{
    if (n >= sizeof(l->text) - l->len)
        fail_msg("log is full");
    memcpy(l->text + l->len, s, n);
    l->len += n;
    l->text[l->len] = '\0';
}

static void on_data(void *user, struct slice piece)
{
    put(user, piece.data, piece.len);
}

static void on_event(void *user, const char *name, bool cut)
{
    put(user, "<", 1);
    put(user, name, strlen(name));
    put(user, cut ? "!>" : ">", cut ? 2 : 1);
}

static void expect(const char *text, const char *want)
{
    size_t len = strlen(text);

    for (size_t piece = 1; piece <= len; piece++) {
        struct log log = {.len = 0};
        const struct sse_events events = {&log, on_data, on_event};
        struct sse s;

        sse_init(&s, &events);
        for (size_t i = 0; i < len; i += piece)
            sse_feed(&s, slice_of(text + i, len - i < piece ? len - i : piece));
        sse_finish(&s);
        sse_fini(&s);
        assert_string_equal(log.text, want);
    }
}

static void every_line_ending(void **state)
{
    (void)state;
    expect("data: a\n\ndata: b\n\n", "a<>b<>");
    expect("data: a\r\n\r\ndata: b\r\n\r\n", "a<>b<>");
    expect("data: a\r\rdata: b\r\r", "a<>b<>");
    expect("data: a\r\n\ndata: b\n\r\n", "a<>b<>");
}

static void names_comments_and_other_fields(void **state)
{
    (void)state;
    expect(": hello\nevent: ping\nid: 4\nretry: 3\ndata: x\n\n", "x<ping>");
    expect("event: lost\n\ndata: y\n\n", "y<>");
    expect(": only\n\n: comments\n\n", "");
    expect("data:x\n\n", "x<>");
    expect("data:  x\n\n", " x<>");
    expect("database: x\ndat: y\n\n", "");
    expect("\xef\xbb\xbf"
           "data: x\n\n",
           "x<>");
}

static void lines_are_joined(void **state)
{
    (void)state;
    expect("data: a\ndata: b\n\n", "a\nb<>");
    expect("data\n\n", "<>");
    expect("data: a\ndata\ndata: c\n\n", "a\n\nc<>");
}

static void the_end_of_input_is_told(void **state)
{
    (void)state;
    expect("data: a\n\ndata: b", "a<>b<!>");
    expect("data: a\n\ndata: b\n", "a<>b<!>");
    expect("event: e\n", "");
    expect("data: a\n\n", "a<>");
}

static void a_long_name_is_cut(void **state)
{
    char text[400] = "event: ", want[200] = "x<";

    (void)state;
    memset(text + 7, 'n', 200);
    strcat(text, "\ndata: x\n\n");
    memset(want + 2, 'n', SSE_NAME_MAX - 1);
    strcat(want, ">");
    expect(text, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_ending),  cmocka_unit_test(names_comments_and_other_fields),
        cmocka_unit_test(lines_are_joined),   cmocka_unit_test(the_end_of_input_is_told),
        cmocka_unit_test(a_long_name_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
