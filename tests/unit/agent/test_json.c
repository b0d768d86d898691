/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/json.c agent/json_paths.c */
#include "agent/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LOG_BYTES 4096

struct log {
    char text[LOG_BYTES];
    size_t len;
};

static void put(struct log *l, const char *s, size_t n)
{
    if (n >= sizeof(l->text) - l->len)
        fail_msg("log is full");
    if (n)
        memcpy(l->text + l->len, s, n);
    l->len += n;
    l->text[l->len] = '\0';
}

/* One line a value: "field[i,j] path type text len". */
static void on_value(void *user, const struct json_value *v)
{
    static const char types[] = "sntfz{[";
    char head[192];
    int n = snprintf(head, sizeof(head), "%u[%u,%u]%s%s %c", v->field, v->index[0], v->index[1],
                     v->path[0] ? " " : "", v->path, types[v->type]);

    put(user, head, (size_t)n);
    put(user, (const char *)v->text.data, v->text.len);
    n = snprintf(head, sizeof(head), " %llu;", (unsigned long long)v->len);
    put(user, head, (size_t)n);
}

static void on_document(void *user)
{
    put(user, "|", 1);
}

struct path {
    const char *path;
    uint16_t field;
    enum json_how how;
};

static struct json_paths *paths_of(const struct path *p)
{
    struct json_paths *paths;

    assert_int_equal(json_paths_new(&paths), 0);
    for (; p->path; p++)
        assert_int_equal(json_paths_add(paths, p->path, p->field, p->how), 0);
    return paths;
}

static bool scan(const struct path *list, const char *text, size_t len, bool split_array,
                 size_t piece, struct log *log)
{
    struct json_paths *paths = paths_of(list);
    const struct json_events events = {log, on_value, on_document};
    struct json j;
    bool complete;

    log->len = 0;
    log->text[0] = '\0';
    json_init(&j, paths, &events, split_array);
    for (size_t i = 0; i < len; i += piece)
        json_feed(&j, slice_of(text + i, len - i < piece ? len - i : piece));
    json_finish(&j);
    complete = json_complete(&j);
    json_fini(&j);
    json_paths_free(&paths);
    return complete;
}

/* The same log for pieces of every size. */
static void expect(const struct path *list, const char *text, bool split_array, bool complete,
                   const char *want)
{
    struct log log;
    size_t len = strlen(text);

    for (size_t piece = 1; piece <= len; piece++) {
        assert_int_equal(scan(list, text, len, split_array, piece, &log), complete);
        assert_string_equal(log.text, want);
    }
}

static const struct path usage[] = {
    {"usage.total", 1, JSON_KEEP},    {"choices[].finish", 2, JSON_KEEP},
    {"choices[].text", 3, JSON_TEST}, {"items[]", 4, JSON_TEST},
    {"usage", 5, JSON_SUBTREE},       {NULL, 0, 0}};

static void keeps_listed_paths_only(void **state)
{
    (void)state;
    expect(usage,
           "{\"x\":{\"usage\":{\"total\":9}},\"choices\":[{\"finish\":null,\"text\":\"\"},"
           "{\"text\":\"hello\",\"finish\":\"stop\"}],\"total\":7}",
           false, true, "2[0,0] z 0;3[0,0] s 0;3[1,0] s 5;2[1,0] sstop 4;|");
}

static void reports_a_subtree_with_its_paths(void **state)
{
    (void)state;
    expect(usage, "{\"usage\":{\"total\":12,\"d\":{\"n\":[1,{\"k\":\"v\"}],\"b\":true}}}", false,
           true,
           "5[0,0] { 0;1[0,0] n12 2;5[0,0] total n12 2;5[0,0] d.n[0] n1 1;5[1,0] d.n[1].k sv 1;"
           "5[0,0] d.b t 0;|");
}

static void steps_over_deep_nesting_and_strings_with_brackets(void **state)
{
    char text[8192] = "{\"deep\":";
    struct log log;

    (void)state;
    for (int i = 0; i < 600; i++)
        strcat(text, "[{\"a\":");
    strcat(text, "\"]}\\\"[{\"");
    for (int i = 0; i < 600; i++)
        strcat(text, "}]");
    strcat(text, ",\"usage\":{\"total\":3}}");
    for (size_t piece = 1; piece < 9; piece++) {
        assert_true(scan(usage, text, strlen(text), false, piece, &log));
        assert_string_equal(log.text, "5[0,0] { 0;1[0,0] n3 1;5[0,0] total n3 1;|");
    }
}

static void unescapes(void **state)
{
    static const struct path one[] = {{"a", 1, JSON_KEEP}, {NULL, 0, 0}};

    (void)state;
    expect(one, "{\"\\u0061\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20ac\\ud83d\\ude00x\"}", false,
           true, "1[0,0] s\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80x 18;|");
}

static void cuts_long_strings_and_says_their_length(void **state)
{
    static const struct path one[] = {{"a", 1, JSON_KEEP}, {NULL, 0, 0}};
    char text[1100], want[400];
    struct log log;

    (void)state;
    strcpy(text, "{\"a\":\"");
    memset(text + 6, 'y', 1000);
    strcpy(text + 1006, "\"}");
    strcpy(want, "1[0,0] s");
    memset(want + 8, 'y', JSON_TEXT_MAX);
    strcpy(want + 8 + JSON_TEXT_MAX, " 1000;|");
    assert_true(scan(one, text, strlen(text), false, 7, &log));
    assert_string_equal(log.text, want);
}

static void tells_documents_apart(void **state)
{
    (void)state;
    expect(usage, "{\"usage\":null}\n{}\n[] 1 \"s\" true ", false, true, "5[0,0] z 0;||||||");
    expect(usage, "[{\"usage\":null}\r\n,{\"items\":[1,{}]}]", true, true,
           "5[0,0] z 0;|4[0,0] n 1;4[1,0] { 0;|");
    /* The same text where the array is one document. */
    expect(usage, "[{\"usage\":null}]", false, true, "|");
}

static void knows_what_is_torn_or_broken(void **state)
{
    (void)state;
    expect(usage, "{\"usage\":{\"total\":1", false, false, "5[0,0] { 0;");
    expect(usage, "{\"items\":[true", false, false, "4[0,0] t 0;");
    expect(usage, "[DONE]", false, false, "");
    expect(usage, "{\"usage\" 1}", false, false, "");
    expect(usage, "{} x", false, false, "|");
    expect(usage, "{\"items\":[1,]}", false, false, "4[0,0] n 1;");
    expect(usage, " \n ", false, false, "");
    expect(usage, "12", false, true, "|");
}

static void a_path_may_serve_several_fields(void **state)
{
    static const struct path both[] = {
        {"a.b", 1, JSON_KEEP}, {"a.b", 2, JSON_TEST}, {"a", 3, JSON_TEST}, {NULL, 0, 0}};

    (void)state;
    expect(both, "{\"a\":{\"b\":\"xy\"}}", false, true, "3[0,0] { 0;2[0,0] s 2;1[0,0] sxy 2;|");
}

static void refuses_malformed_paths(void **state)
{
    struct json_paths *paths;

    (void)state;
    assert_int_equal(json_paths_new(&paths), 0);
    assert_int_equal(json_paths_add(paths, "", 1, JSON_KEEP), -EINVAL);
    assert_int_equal(json_paths_add(paths, "a.", 1, JSON_KEEP), -EINVAL);
    assert_int_equal(json_paths_add(paths, "a..b", 1, JSON_KEEP), -EINVAL);
    assert_int_equal(json_paths_add(paths, "a[0]", 1, JSON_KEEP), -EINVAL);
    json_paths_free(&paths);
    assert_null(paths);
}

static void keeps_nothing_after_the_end(void **state)
{
    static const struct path one[] = {{"a", 1, JSON_KEEP}, {NULL, 0, 0}};
    const char text[] = "{\"a\":\"CANARY-1\",\"CANARY-2\":\"CANARY-3";
    struct json_paths *paths = paths_of(one);
    struct log log = {.len = 0};
    const struct json_events events = {&log, on_value, on_document};
    struct json j;

    (void)state;
    json_init(&j, paths, &events, false);
    json_feed(&j, slice_str(text));
    /* Even half-way, only what is being read may stand in the scanner. */
    assert_null(memmem(&j, sizeof(j), "CANARY-1", 8));
    assert_null(memmem(&j, sizeof(j), "CANARY-3", 8));
    json_fini(&j);
    assert_null(memmem(&j, sizeof(j), "CANARY", 6));
    json_paths_free(&paths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_listed_paths_only),
        cmocka_unit_test(reports_a_subtree_with_its_paths),
        cmocka_unit_test(steps_over_deep_nesting_and_strings_with_brackets),
        cmocka_unit_test(unescapes),
        cmocka_unit_test(cuts_long_strings_and_says_their_length),
        cmocka_unit_test(tells_documents_apart),
        cmocka_unit_test(knows_what_is_torn_or_broken),
        cmocka_unit_test(a_path_may_serve_several_fields),
        cmocka_unit_test(refuses_malformed_paths),
        cmocka_unit_test(keeps_nothing_after_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
