/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/backtest.c collector/points.c collector/pattern.c */
/* LINK: @baseline */
#include "collector/backtest.h"
#include "collector/points.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define START_S INT64_C(1767225600)
#define STEP_S 300

static const struct config_detect settings = {
    .windows_s = {60, 300, 900, 3600},
    .windows_count = 4,
    .history_h = 24,
    .target_weeks = 100,
    .ratio_min = 1.3,
};

static double usual(int i)
{
    return 100 + 30 * sin(i * 6.2831853 / 288) + (i * 7919 % 13);
}

static struct backtest *fresh(int64_t step_s)
{
    struct backtest *b = NULL;

    assert_int_equal(backtest_new(&settings, step_s, &b), 0);
    return b;
}

static struct backtest_row feed(struct backtest *b, int i, double value)
{
    struct backtest_row row;

    assert_int_equal(backtest_feed(b, START_S + (int64_t)i * STEP_S, value, &row), 0);
    return row;
}

static void test_expects_and_tells_a_jump(void **state)
{
    struct backtest *b = fresh(STEP_S);
    struct backtest_row row;
    int i = 0;

    (void)state;
    for (; i < 280; i++)
        assert_true(isnan(feed(b, i, usual(i)).baseline));
    for (; i < 7 * 288; i++) {
        row = feed(b, i, usual(i));
        if (i < 2 * 288)
            continue;
        assert_true(fabs(row.baseline / usual(i) - 1) < 0.2);
        assert_true(row.lower < row.baseline && row.baseline < row.upper);
        assert_true(row.return_period_weeks < 100);
    }
    row = feed(b, i, 5 * usual(i));
    assert_true(row.return_period_weeks > 100 && row.score > 0.25);
    row = feed(b, i + 1, 0);
    assert_true(row.return_period_weeks > 100);
    backtest_free(&b);
}

/* No row may know of those after it. */
static void test_does_not_look_ahead(void **state)
{
    struct backtest *a = fresh(STEP_S), *b = fresh(STEP_S);

    (void)state;
    for (int i = 0; i < 600; i++) {
        struct backtest_row x = feed(a, i, usual(i)), y = feed(b, i, usual(i));

        assert_memory_equal(&x, &y, sizeof(x));
    }
    feed(a, 600, 1e6);
    assert_true(feed(b, 600, usual(600)).return_period_weeks < 100);
    backtest_free(&a);
    backtest_free(&b);
}

/* A minute, an hour, a day a row: a jump is rare, what is usual is not. */
static void test_any_step(void **state)
{
    static const int64_t steps[] = {60, 3600, 6 * 3600, 86400};

    (void)state;
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
        struct backtest *b = fresh(steps[s]);
        int rows = steps[s] == 60 ? 4 * 1440 : 200;
        struct backtest_row row;

        for (int i = 0; i < rows; i++) {
            assert_int_equal(backtest_feed(b, START_S + i * steps[s], 100 + i * 7919 % 13, &row),
                             0);
            assert_true(i <= rows / 2 ||
                        (row.return_period_weeks < 100 && fabs(row.baseline / 106 - 1) < 0.15));
        }
        assert_int_equal(backtest_feed(b, START_S + rows * steps[s], 500, &row), 0);
        assert_true(row.return_period_weeks > 100);
        assert_true(row.lower < row.baseline && row.baseline < row.upper && row.upper < 500);
        backtest_free(&b);
    }
}

static void test_what_it_cannot_judge(void **state)
{
    static const int64_t steps[] = {1, 2 * 86400};

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        struct backtest *b = fresh(steps[s]);

        for (int i = 0; i < 600; i++)
            assert_true(isnan(feed(b, i, usual(i)).return_period_weeks));
        backtest_free(&b);
    }
    /* A hole is filled or begins anew; a negative value is no amount. */
    for (int hole = 10; hole < 10000; hole *= 30) {
        struct backtest *b = fresh(STEP_S);

        for (int i = 0; i < 600; i++)
            feed(b, i, usual(i));
        assert_true(isnan(feed(b, 600 + hole, usual(hole)).baseline) == (hole > 2016));
        assert_true(isnan(feed(b, 601 + hole, -1).baseline));
        assert_true(isnan(feed(b, 602 + hole, 5).baseline));
        backtest_free(&b);
    }
}

/* --- files --- */

static int run(const char *text, bool as_json, char *ret_out, size_t size, char *ret_error)
{
    char path[] = "/tmp/lectr-backtest-XXXXXX";
    int fd = mkstemp(path), r;
    FILE *out = fmemopen(ret_out, size, "w");

    assert_true(fd >= 0 && out);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    r = backtest_file(path, &settings, as_json, out, ret_error, 256);
    fclose(out);
    unlink(path);
    return r;
}

static void test_an_absurd_value_is_over_when_it_is(void **state)
{
    struct backtest *b = fresh(STEP_S);
    struct backtest_row row;

    (void)state;
    for (int i = 0; i < 288 * 6; i++) {
        double value = i == 288 * 3 ? 1e308 : usual(i);

        assert_int_equal(backtest_feed(b, START_S + (int64_t)i * STEP_S, value, &row), 0);
        if (i == 288 * 3)
            assert_true(row.return_period_weeks > 100);
    }
    assert_true(row.return_period_weeks < 1);
    assert_true(row.baseline > 0 && row.upper < 1000);
    backtest_free(&b);
}

static void test_files(void **state)
{
    char out[512], error[256];

    (void)state;
    assert_int_equal(run("timestamp,value\r\n2026-01-31 12:00:00,1.5\r\n2026-01-31T12:05:00Z,2\n",
                         false, out, sizeof(out), error),
                     0);
    assert_string_equal(out, "timestamp,value,baseline,lower,upper,score,return_period_weeks\n"
                             "2026-01-31 12:00:00,1.5,,,,0,\n2026-01-31T12:05:00Z,2,,,,0,\n");
    assert_int_equal(
        run("\xef\xbb\xbf\"timestamp\",\"value\"\n1767225600,3\n", false, out, sizeof(out), error),
        0);
    assert_non_null(strstr(out, "\n1767225600,3,"));
    assert_int_equal(run("1767225600,3\n", true, out, sizeof(out), error), 0);
    assert_string_equal(out, "{\"timestamp\":\"1767225600\",\"value\":3,\"baseline\":null,"
                             "\"lower\":null,\"upper\":null,\"score\":0,"
                             "\"return_period_weeks\":null}\n");
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"timestamp,value\n2026-01-31 12:00:00,1\nnonsense\n", ":3: expected timestamp,value"},
        {"2026-01-31 12:00:00,1\n2026-01-31 11:00:00,1\n", ":2: timestamps must not go back"},
        {"2026-01-31 12:00:00,abc\n", ":1: the value is not a number"},
        {"2026-01-31 12:00:00,nan\n", ":1: the value is not finite"},
        {"31.01.2026,1\n", ":1: not a timestamp"},
        {"2026-01-31 12:00:00+02:00x,1\n", ":1: not a timestamp"},
        {"2026-01-31 12:00:00+99:99,1\n", ":1: not a timestamp"},
        {"2026-01-31 12:00:00+-5:00,1\n", ":1: not a timestamp"},
        {"-9223372036854775807,1\n9223372036854775807,2\n", ":1: not a timestamp"},
        {"1767225600,inf\n", ":1: the value is not finite"},
        {"1767225600,1e309\n", ":1: the value is not finite"},
        {"1767225600,1,2\n", ":1: the value is not a number"},
        {"timestamps,value\n1,1\n", ":1: not a timestamp"},
        {"timestamp,value\n", ":1: no line"},
        {"", ":1: no line"},
    };
    char out[512], error[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(run(bad[i].text, false, out, sizeof(out), error), -EINVAL);
        assert_non_null(strstr(error, bad[i].said));
    }
    assert_int_equal(backtest_file("/nonexistent", &settings, false, stdout, error, sizeof(error)),
                     -ENOENT);
    assert_non_null(strstr(error, "/nonexistent"));
}

static void test_bytes(void **state)
{
    static const char nul[] = "1,1\n2,2\0hidden\n3,3\n";
    char path[] = "/tmp/lectr-points-XXXXXX", error[256], wide[400] = "1,1\n2,";
    struct points points = {0};
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, nul, sizeof(nul) - 1), (ssize_t)sizeof(nul) - 1);
    assert_int_equal(points_load(path, &points, error, sizeof(error)), -EINVAL);
    assert_non_null(strstr(error, ":2: a NUL"));
    memset(wide + strlen(wide), '1', sizeof(wide) - strlen(wide));
    assert_int_equal(pwrite(fd, wide, sizeof(wide), 0), (ssize_t)sizeof(wide));
    assert_int_equal(points_load(path, &points, error, sizeof(error)), -EINVAL);
    assert_non_null(strstr(error, ":2: the line is too long"));
    close(fd);
    unlink(path);
}

static void test_zones(void **state)
{
    static const char text[] = "2026-01-31T12:00:00+02:00,1\n2026-01-31T10:00:00.250Z,2\n"
                               "2026-01-31 10:00,3\n1769853600,4\n";
    char path[] = "/tmp/lectr-points-XXXXXX", error[256];
    struct points points = {0};
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
    close(fd);
    assert_int_equal(points_load(path, &points, error, sizeof(error)), 0);
    unlink(path);
    assert_int_equal(points.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(points.list[i].time_s, 1769853600);
    points_fini(&points);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expects_and_tells_a_jump),
        cmocka_unit_test(test_does_not_look_ahead),
        cmocka_unit_test(test_any_step),
        cmocka_unit_test(test_what_it_cannot_judge),
        cmocka_unit_test(test_an_absurd_value_is_over_when_it_is),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_zones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
