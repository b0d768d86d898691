/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/trustvars.c */
#include "agent/trustvars.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const replaced[] = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
                                       "AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"};
static const char *const added[] = {"NODE_EXTRA_CA_CERTS", "DENO_CERT"};
static char dir[64];

static void make(const char *name)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
}

static void drop(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
}

/* All but what tells cmocka how to speak. */
static void clear_environment(void)
{
    const char *output = getenv("CMOCKA_MESSAGE_OUTPUT");
    char *kept = output ? strdup(output) : NULL;

    clearenv();
    if (kept)
        setenv("CMOCKA_MESSAGE_OUTPUT", kept, 1);
    free(kept);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/lectr-trustvars-XXXXXX");
    clear_environment();
    if (!mkdtemp(dir))
        return -1;
    make("roots.crt");
    make("bundle.crt");
    make("truststore.p12");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    drop("roots.crt");
    drop("bundle.crt");
    drop("truststore.p12");
    return rmdir(dir);
}

static void expect_file(const char *variable, const char *file)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    assert_non_null(getenv(variable));
    assert_string_equal(getenv(variable), path);
}

static void note_kept(void *user, const char *variable, const char *value)
{
    (void)value;
    strcat(user, variable);
    strcat(user, " ");
}

static void every_variable_is_set(void **state)
{
    char path[TRUSTVARS_PATH_MAX], kept[256] = "", java[256];

    (void)state;
    assert_int_equal(trustvars_set(dir, note_kept, kept, path), 0);
    for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++)
        expect_file(replaced[i], "bundle.crt");
    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
        expect_file(added[i], "roots.crt");
    snprintf(java, sizeof(java),
             "-Djavax.net.ssl.trustStore=%s/truststore.p12 -Djavax.net.ssl.trustStoreType=PKCS12",
             dir);
    assert_string_equal(getenv("JAVA_TOOL_OPTIONS"), java);
    assert_string_equal(kept, "");
}

static void what_the_workload_set_stands(void **state)
{
    static const char theirs[] = "-Xmx1g -Djavax.net.ssl.trustStore=/theirs.p12";
    char path[TRUSTVARS_PATH_MAX], kept[256] = "";

    (void)state;
    setenv("SSL_CERT_FILE", "/theirs.pem", 1);
    setenv("NODE_EXTRA_CA_CERTS", "", 1);
    setenv("JAVA_TOOL_OPTIONS", theirs, 1);
    assert_int_equal(trustvars_set(dir, note_kept, kept, path), 0);
    assert_string_equal(getenv("SSL_CERT_FILE"), "/theirs.pem");
    assert_string_equal(getenv("NODE_EXTRA_CA_CERTS"), "");
    assert_string_equal(getenv("JAVA_TOOL_OPTIONS"), theirs);
    assert_string_equal(kept, "SSL_CERT_FILE NODE_EXTRA_CA_CERTS JAVA_TOOL_OPTIONS ");
    expect_file("CURL_CA_BUNDLE", "bundle.crt");
}

static void javas_other_options_stay_and_a_nested_run_adds_nothing(void **state)
{
    char path[TRUSTVARS_PATH_MAX], kept[256] = "", first[512];

    (void)state;
    setenv("JAVA_TOOL_OPTIONS", "-Xmx1g", 1);
    assert_int_equal(trustvars_set(dir, note_kept, kept, path), 0);
    snprintf(first, sizeof(first), "%s", getenv("JAVA_TOOL_OPTIONS"));
    assert_int_equal(strncmp(first, "-Xmx1g -Djavax.net.ssl.trustStore=", 34), 0);
    assert_int_equal(trustvars_set(dir, note_kept, kept, path), 0);
    assert_string_equal(getenv("JAVA_TOOL_OPTIONS"), first);
    assert_string_equal(kept, "");
}

static void options_too_long_are_not_cut(void **state)
{
    char path[TRUSTVARS_PATH_MAX], theirs[8200];

    (void)state;
    memset(theirs, 'x', sizeof(theirs) - 1);
    theirs[sizeof(theirs) - 1] = '\0';
    setenv("JAVA_TOOL_OPTIONS", theirs, 1);
    assert_int_equal(trustvars_set(dir, NULL, NULL, path), -E2BIG);
    assert_string_equal(getenv("JAVA_TOOL_OPTIONS"), theirs);
}

static void an_older_authority_has_no_store_for_java(void **state)
{
    char path[TRUSTVARS_PATH_MAX];

    (void)state;
    drop("truststore.p12");
    assert_int_equal(trustvars_set(dir, NULL, NULL, path), 0);
    assert_null(getenv("JAVA_TOOL_OPTIONS"));
}

static void a_missing_file_is_named(void **state)
{
    char path[TRUSTVARS_PATH_MAX] = "", expected[128];

    (void)state;
    drop("roots.crt");
    assert_int_equal(trustvars_set(dir, NULL, NULL, path), -ENOENT);
    snprintf(expected, sizeof(expected), "%s/roots.crt", dir);
    assert_string_equal(path, expected);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_variable_is_set),
        TEST(what_the_workload_set_stands),
        TEST(javas_other_options_stay_and_a_nested_run_adds_nothing),
        TEST(options_too_long_are_not_cut),
        TEST(an_older_authority_has_no_store_for_java),
        TEST(a_missing_file_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
