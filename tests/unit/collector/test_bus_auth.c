/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/bus.c collector/bus_batch.c collector/bus_consumer.c collector/bus_pull.c
 * collector/bus_ref.c */
/* Who the collector is, told to a real server; and what it says when it may not come in. */
#include "tests/unit/collector/bus_server.h"

#include <stdlib.h>

/* A pair made for this test: the seed is the bytes 1 to 32. */
#define SEED "SUAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IC5CQ"
#define PUBLIC "UB43KVROR7TFJ6KAPCYRF2FJROTZAH4FHLTJLPWX4DRZCC5NASLGJBFE"

static char ca_file[96], cert_file[96], key_file[96], seed_file[96];

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int sh(const char *fmt, ...)
{
    char command[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    return system(command);
}

static void write_text(const char *path, const char *text)
{
    CLEAN_FILE FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}

/* A server that wants a certificate of the client and a signature by the key. */
static int setup(void **state)
{
    char text[512];

    if (bus_setup(state) < 0)
        return -1;
    server_stop();
    snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", root);
    snprintf(cert_file, sizeof(cert_file), "%s/peer.crt", root);
    snprintf(key_file, sizeof(key_file), "%s/peer.key", root);
    snprintf(seed_file, sizeof(seed_file), "%s/seed", root);
    snprintf(server_config, sizeof(server_config), "%s/server.conf", root);
    write_text(seed_file, SEED "\n" PUBLIC "\n");
    snprintf(text, sizeof(text),
             "tls { cert_file: \"%s\", key_file: \"%s\", ca_file: \"%s\", verify: true }\n"
             "authorization { users = [ { nkey: " PUBLIC " } ] }\n",
             cert_file, key_file, ca_file);
    write_text(server_config, text);
    if (sh("cd %s && exec 2>/dev/null && "
           "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
           "-subj /CN=test-ca -keyout ca.key -out ca.crt && "
           "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=peer "
           "-keyout peer.key -out peer.csr && printf 'subjectAltName=IP:127.0.0.1' >san && "
           "openssl x509 -req -in peer.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 "
           "-extfile san -out peer.crt",
           root) != 0)
        return -1;
    server_start();
    return 0;
}

static void show_all(void)
{
    settings.nkey_seed = seed_file;
    settings.ca_file = ca_file;
    settings.cert_file = cert_file;
    settings.key_file = key_file;
}

static void test_comes_in(void **state)
{
    char error[BUS_ERROR_BYTES] = "";
    struct bus *b = NULL;

    (void)state;
    show_all();
    assert_int_equal(bus_open(&settings, &b, error), 0);
    assert_string_equal(error, "");
    assert_int_equal(bus_ensure_stream(b), 0);
    bus_close(&b);
}

static void assert_refused(const char *why)
{
    char error[BUS_ERROR_BYTES] = "";
    struct bus *b = NULL;

    assert_true(bus_open(&settings, &b, error) < 0);
    assert_null(b);
    if (!strstr(error, why))
        fail_msg("'%s' does not say '%s'", error, why);
    assert_null(strstr(error, "SUAACAQ"));
}

static void test_says_why_not(void **state)
{
    (void)state;
    show_all();
    settings.nkey_seed = "";
    assert_refused("connect: ");
    /* Without a line of the public key, and not there at all. */
    settings.nkey_seed = ca_file;
    assert_refused("nkey_seed");
    settings.nkey_seed = "/nonexistent/seed";
    assert_refused("nkey_seed");
    show_all();
    settings.cert_file = settings.key_file = NULL;
    assert_refused("connect: ");
    show_all();
    settings.cert_file = "/nonexistent/peer.crt";
    assert_refused("cert_file");
    show_all();
    settings.ca_file = "/nonexistent/ca.crt";
    assert_refused("ca_file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_in, setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_says_why_not, setup, bus_teardown),
    };

    if (system("command -v nats-server >/dev/null") != 0) {
        printf("SKIP test_bus_auth: nats-server is not installed\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
