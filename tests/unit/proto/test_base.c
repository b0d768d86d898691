// SPDX-License-Identifier: Apache-2.0
/* LINK: */
#include "proto/base/buf.h"
#include "proto/base/leave.h"
#include "proto/base/log.h"
#include "proto/base/slice.h"
#include "proto/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <cmocka.h>

static void buf_keeps_its_limit(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_int_equal(buf_append_str(&b, "12345678"), 0);
    assert_int_equal(buf_append_str(&b, "abc"), -ENOSPC);
    assert_int_equal(b.len, 8);
    assert_int_equal(buf_append_str(&b, "ab"), 0);
    assert_int_equal(buf_append_str(&b, "c"), -ENOSPC);
    assert_int_equal(buf_append(&b, slice_of(NULL, 0)), 0);
    assert_true(slice_eq(buf_slice(&b), slice_str("12345678ab")));
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(buf_append_str(&b, "again"), 0);
    buf_fini(&b);
    buf_fini(NULL);
}

static void buf_grows_and_keeps_content(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(buf_printf(&b, "%05d,", i), 0);
    assert_int_equal(b.len, 30000);
    assert_memory_equal(b.data, "00000,00001,", 12);
    assert_memory_equal(b.data + 6 * 4999, "04999,", 6);
    buf_fini(&b);
}

static void buf_wipes_what_it_drops(void **state)
{
    static const uint8_t zeros[16];
    struct buf b;

    (void)state;
    buf_init(&b, 64);
    assert_int_equal(buf_append_str(&b, "secretsecretrest"), 0);
    buf_consume(&b, 12);
    assert_true(slice_eq(buf_slice(&b), slice_str("rest")));
    assert_memory_equal(b.data + 4, zeros, 12);
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_memory_equal(b.data, zeros, 16);
    buf_fini(&b);
}

static void cursor_reads_big_endian_and_stays_failed(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    struct cursor c = cursor_of(slice_of(bytes, sizeof(bytes)));

    (void)state;
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_be16(&c), 0x0203);
    assert_int_equal(cursor_be24(&c), 0x040506);
    assert_int_equal(cursor_be32(&c), 0x0708090a);
    assert_true(cursor_be64(&c) == 0x0b0c0d0e0f101112ULL);
    assert_false(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    assert_true(c.failed);

    c = cursor_of(slice_of(bytes, 3));
    assert_int_equal(cursor_be32(&c), 0);
    assert_true(c.failed);
    /* three bytes are left, but a failed cursor gives none of them */
    assert_int_equal(cursor_take(&c, 1).len, 0);
}

static void slices_compare(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_str(""), slice_str(NULL)));
    assert_false(slice_eq(slice_str("a"), slice_str("A")));
    assert_true(slice_eq_nocase(slice_str("Host-ID"), slice_str("hOST-id")));
    assert_false(slice_eq_nocase(slice_str("a["), slice_str("A{")));
    assert_true(slice_starts_nocase(slice_str("Bearer x"), "bearer "));
    assert_false(slice_starts_nocase(slice_str("Bear"), "bearer"));
}

static void utf8_is_strict(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        {"a", 1},
        {"\xc3\xa9", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x98\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
        {"\xc0\xaf", 0},         /* overlong */
        {"\xe0\x80\xaf", 0},
        {"\xf0\x80\x80\xaf", 0},
        {"\xed\xa0\x80", 0}, /* surrogate */
        {"\x80", 0},
        {"\xff", 0},
        {"\xc3", 0}, /* cut short by the end */
        {"\xe2\x82", 0},
        {"\xf0\x9f\x98", 0},
        {"\xc3(", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(utf8_sequence((const uint8_t *)cases[i].text), cases[i].len);
}

/* What log_msg() writes to stderr, caught in a pipe. */
static void catch_log(char *ret_line, size_t line_bytes, enum log_level level, const char *value)
{
    int pipe_fd[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    assert_int_equal(pipe2(pipe_fd, O_NONBLOCK), 0);
    dup2(pipe_fd[1], STDERR_FILENO);
    log_msg(level, "it \"happened\"", "count=%d reason=%s last=x", 12, value);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fd[1]);
    n = read(pipe_fd[0], ret_line, line_bytes - 1);
    close(pipe_fd[0]);
    ret_line[n > 0 ? n : 0] = '\0';
}

static void log_writes_one_json_line(void **state)
{
    enum log_level level;
    char line[4096];

    (void)state;
    assert_int_equal(log_level_parse("loud", &level), -EINVAL);
    assert_int_equal(log_level_parse("info", &level), 0);
    log_setup("test", level);
    catch_log(line, sizeof(line), LOG_LEVEL_INFO, "two words\nand \"more\"");
    assert_non_null(strstr(line, "\"level\":\"info\",\"component\":\"test\""));
    assert_non_null(strstr(line,
                           "\"msg\":\"it \\\"happened\\\"\",\"count\":12,"
                           "\"reason\":\"two words\\u000aand \\\"more\\\"\",\"last\":\"x\"}\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    catch_log(line, sizeof(line), LOG_LEVEL_DEBUG, "x");
    assert_string_equal(line, "");
}

/* What waits for ever at its end is over all the same, and says so. */
static void leaves_when_its_end_does_not_come(void **state)
{
    int log[2], status;
    char line[512];
    pid_t child;
    ssize_t n;

    (void)state;
    assert_int_equal(pipe(log), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(log[1], STDERR_FILENO);
        log_setup("test", LOG_LEVEL_WARN);
        alarm(60);
        leave_within(1, 7);
        for (;;)
            pause();
    }
    close(log[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    n = read(log[0], line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = '\0';
    assert_non_null(strstr(line, "\"seconds\":1"));
    close(log[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_keeps_its_limit),
        cmocka_unit_test(buf_grows_and_keeps_content),
        cmocka_unit_test(buf_wipes_what_it_drops),
        cmocka_unit_test(cursor_reads_big_endian_and_stays_failed),
        cmocka_unit_test(slices_compare),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(log_writes_one_json_line),
        cmocka_unit_test(leaves_when_its_end_does_not_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
