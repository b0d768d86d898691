/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/config.c collector/places.c collector/yamlread.c */
#include "collector/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char path[] = "/tmp/lectr-test-config-XXXXXX";
static char url_path[] = "/tmp/lectr-test-config-url-XXXXXX";

static int load_text(const char *text, struct config **ret_config, struct config_error *ret_error)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return config_load(path, ret_config, ret_error);
}

static void test_defaults(void **state)
{
    CLEAN_CONFIG struct config *c = NULL;
    struct config_error error;

    (void)state;
    assert_int_equal(config_load(NULL, &c, &error), 0);
    assert_string_equal(c->nats.url, "nats://127.0.0.1:4222");
    assert_string_equal(c->http.listen, "127.0.0.1:9464");
    assert_string_equal(c->store.path, "/var/lib/lectr/collector.db");
    assert_int_equal(c->detect.windows_count, 4);
    assert_int_equal(c->detect.history_h, 24);
    assert_int_equal(c->retention.calls_h, 24);
}

/* The file that is shipped says what the defaults are. */
static void test_example_is_the_default(void **state)
{
    CLEAN_CONFIG struct config *file = NULL, *none = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    assert_int_equal(config_load("collector/collector.yaml", &file, &error), 0);
    assert_int_equal(config_load(NULL, &none, &error), 0);
    assert_string_equal(file->nats.url, none->nats.url);
    assert_string_equal(file->nats.stream, none->nats.stream);
    assert_int_equal(file->nats.stream_max_age_h, none->nats.stream_max_age_h);
    assert_true(file->nats.stream_max_bytes == none->nats.stream_max_bytes);
    assert_int_equal(none->nats.stream_max_bytes, 1 << 30);
    assert_string_equal(file->nats.durable, none->nats.durable);
    assert_string_equal(file->store.path, none->store.path);
    assert_string_equal(file->http.listen, none->http.listen);
    assert_string_equal(file->log_level, none->log_level);
    assert_memory_equal(&file->limits, &none->limits, sizeof(file->limits));
    assert_int_equal(file->store.series_max, none->store.series_max);
    assert_string_equal(file->detect.clock, none->detect.clock);
    assert_memory_equal(file->detect.windows_s, none->detect.windows_s,
                        sizeof(none->detect.windows_s));
    assert_true(file->detect.target_weeks == none->detect.target_weeks);
    assert_true(file->detect.ratio_min == none->detect.ratio_min);
    assert_int_equal(file->detect.lateness_ms, none->detect.lateness_ms);
    assert_int_equal(file->detect.idle_ms, none->detect.idle_ms);
    assert_int_equal(file->detect.resolve_after_min, none->detect.resolve_after_min);
    assert_int_equal(file->store.series_max, none->store.series_max);
    assert_int_equal(file->ingest.batch, none->ingest.batch);
    assert_memory_equal(&file->retention, &none->retention, sizeof(none->retention));
}

static void test_values_are_taken(void **state)
{
    CLEAN_CONFIG struct config *c = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    assert_int_equal(load_text("nats:\n  url: nats://n:1\ndetect:\n  windows_s: [300, 600]\n"
                               "  clock: event\n  enabled: false\n  target_weeks: 10\n"
                               "retention:\n  calls_h: 0\nhttp:\n  listen: ''\n",
                               &c, &error),
                     0);
    assert_string_equal(c->nats.url, "nats://n:1");
    assert_int_equal(c->detect.windows_count, 2);
    assert_int_equal(c->detect.windows_s[1], 600);
    assert_false(c->detect.enabled);
    assert_true(c->detect.target_weeks == 10);
    assert_int_equal(c->retention.calls_h, 0);
    assert_string_equal(c->http.listen, "");
}

/* A mistake is told with file, line and field. */
static void test_mistakes(void **state)
{
    static const struct {
        const char *text, *line, *field;
    } mistakes[] = {
        {"detect:\n  history_h: soon\n", ":2:", "detect.history_h"},
        {"detect:\n  enabled: true\n  history_h: 3\n", ":3:", "detect.history_h"},
        {"limits:\n  models: 0\n", ":1:", "limits"},
        {"detect:\n  clock: sundial\n", ":2:", "detect.clock"},
        {"log_level: loud\n", ":1:", "log_level"},
        {"nats:\n  urll: x\n", ":2:", "urll"},
        {"nats:\n  stream: a b\n", ":2:", "nats.stream"},
        {"nats:\n  cert_file: /etc/c.pem\n", ":2:", "nats.cert_file"},
        {"nats:\n  stream_max_age_h: 90000\n", ":2:", "nats.stream_max_age_h"},
        {"detect:\n  windows_s: [300, 60]\n", ":2:", "detect.windows_s"},
        {"http:\n  listen: nowhere\n", ":2:", "http.listen"},
        {"nats: [\n", ":", ""},
        {"nats: {url: ''}\n", ":1:", "nats.url"},
        {"store:\n  path: ''\n", ":2:", "store.path"},
        {"alerting:\n  file: ''\n", ":2:", "alerting.file"},
        {"http:\n  listen: ':99999'\n", ":2:", "http.listen"},
        {"http:\n  listen: 'a:'\n", ":2:", "http.listen"},
        {"http:\n  listen: 'a:http'\n", ":2:", "http.listen"},
        {"http:\n  listen: ':1'\n  listen: ':2'\n", ":3:", "http.listen: is given twice"},
        {"http:\n  listen: ':1'\nhttp:\n  listen: ':2'\n", ":3:", "http: is given twice"},
        {"ingest:\n  batch: 10k\n", ":2:", "ingest.batch"},
        {"ingest:\n  batch: 010\n", ":2:", "ingest.batch"},
        {"ingest:\n  batch: 0x10\n", ":2:", "ingest.batch"},
        {"ingest:\n  batch: -1\n", ":2:", "ingest.batch"},
        {"ingest:\n  batch: 4294967297\n", ":2:", "ingest.batch"},
        {"detect:\n  target_weeks: nan\n", ":2:", "detect.target_weeks"},
        {"detect:\n  target_weeks: 1e999\n", ":2:", "detect.target_weeks"},
        {"detect:\n  target_weeks: 1,5\n", ":2:", "detect.target_weeks"},
        {"detect:\n  enabled: flase\n", ":2:", "detect.enabled"},
        {"detect:\n  windows_s: []\n", ":2:", "detect.windows_s"},
        {"detect:\n  lateness_ms: 4294967295\n", ":2:", "detect.lateness_ms"},
        {"detect:\n  resolve_after_min: 0\n", ":2:", "detect.resolve_after_min"},
        {"detect: {target_weeks: 0.1}\n", ":1:", "detect.target_weeks"},
        {"\"detect\":\n  \"target_weeks\": 0.1\n", ":2:", "detect.target_weeks"},
        {"retention:\n  calls_h: 1193047\n", ":2:", "retention.calls_h"},
        {"retention:\n  days_d: 4294967295\n", ":1:", "retention.minutes_d"},
        {"log_level: info\n---\nlog_level: loud\n", ":2:", "a second document"},
        {"- a\n", ":1:", "MAPPING"},
        {"~\n", ":1:", "MAPPING"},
        {"# a\n\nretention:\n  minutes_d: 1\n", ":4:", "retention.minutes_d"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct config *c = NULL;
        struct config_error error = {.text = ""};

        assert_int_equal(load_text(mistakes[i].text, &c, &error), -EINVAL);
        assert_null(c);
        assert_non_null(strstr(error.text, path));
        assert_non_null(strstr(error.text, mistakes[i].line));
        assert_non_null(strstr(error.text, mistakes[i].field));
    }
}

static void write_url(const char *bytes, size_t len)
{
    FILE *f = fopen(url_path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int load_url(const char *more, struct config **ret_config, struct config_error *ret_error)
{
    char text[256];

    snprintf(text, sizeof(text), "store:\n  url_file: %s\n%s", url_path, more);
    return load_text(text, ret_config, ret_error);
}

/* The URL may come from a file of its own, which may hold a password. */
static void test_url_file(void **state)
{
    static const char *const files[] = {
        "postgresql://u:s3cret@db/lectr",
        "postgresql://u:s3cret@db/lectr\n",
        "postgresql://u:s3cret@db/lectr\r\nmore\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        CLEAN_CONFIG struct config *c = NULL;
        struct config_error error = {.text = ""};

        write_url(files[i], strlen(files[i]));
        if (load_url("  url: ''\n  path: ''\n", &c, &error) < 0)
            fail_msg("%zu: %s", i, error.text);
        assert_string_equal(config_store_where(c), "postgresql://u:s3cret@db/lectr");
    }
}

static void test_url_file_mistakes(void **state)
{
    static char endless[2000] = "postgresql://";
    const struct {
        const char *bytes;
        size_t len;
        const char *more, *said;
    } mistakes[] = {
        {"postgresql://db/x", 17, "  url: postgresql://db/y\n", "either this or store.url"},
        {"mysql://u:s3cret@db/x\n", 22, "", "first line is postgresql://"},
        {"", 0, "", "first line is postgresql://"},
        {"\npostgresql://u:s3cret@db/x\n", 28, "", "first line is postgresql://"},
        {"postgresql://db/x\0y\n", 20, "", "first line is postgresql://"},
        {endless, sizeof(endless), "", "too large"},
    };

    (void)state;
    memset(endless + 13, 'x', sizeof(endless) - 13);
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct config *c = NULL;
        struct config_error error = {.text = ""};

        write_url(mistakes[i].bytes, mistakes[i].len);
        assert_int_equal(load_url(mistakes[i].more, &c, &error), -EINVAL);
        assert_null(c);
        if (!strstr(error.text, ":2: store.url_file: ") || !strstr(error.text, mistakes[i].said) ||
            strstr(error.text, "s3cret"))
            fail_msg("%zu: %s", i, error.text);
    }
}

static void test_url_file_is_missing(void **state)
{
    struct config *c = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    assert_int_equal(load_text("store:\n  url_file: /nonexistent/url\n", &c, &error), -EINVAL);
    assert_non_null(strstr(error.text, ":2: store.url_file: "));
    assert_non_null(strstr(error.text, "No such file"));
}

/* All that stands behind it was left out without a word. */
static void test_nul(void **state)
{
    static const char text[] = "log_level: info\n\0\nbogus: x\n";
    struct config *c = NULL;
    struct config_error error = {.text = ""};
    FILE *f = fopen(path, "w");

    (void)state;
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, sizeof(text) - 1, f), sizeof(text) - 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(config_load(path, &c, &error), -EINVAL);
    assert_null(c);
}

static void test_files_without_content(void **state)
{
    static const char *const texts[] = {"", " \n", "# words\n", "---\n", "\xef\xbb\xbf# bom\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CLEAN_CONFIG struct config *c = NULL;
        struct config_error error = {.text = ""};

        if (load_text(texts[i], &c, &error) < 0)
            fail_msg("%zu: %s", i, error.text);
    }
}

static void test_missing_file(void **state)
{
    struct config *c = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    assert_int_equal(config_load("/nonexistent/x.yaml", &c, &error), -EINVAL);
    assert_non_null(strstr(error.text, "/nonexistent/x.yaml"));
}

static int make_file(void **state)
{
    int fd = mkstemp(path), url_fd = mkstemp(url_path);

    (void)state;
    return fd < 0 || url_fd < 0 ? -1 : close(fd) | close(url_fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path) | unlink(url_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_example_is_the_default),
        cmocka_unit_test(test_values_are_taken),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_url_file),
        cmocka_unit_test(test_url_file_mistakes),
        cmocka_unit_test(test_url_file_is_missing),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_files_without_content),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
