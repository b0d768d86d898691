/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/bus.c collector/bus_batch.c collector/bus_consumer.c collector/bus_pull.c
 * collector/bus_ref.c */
/* Who the collector is, told to a real server; and what it says when it may not come in. */
#include "collector/bus.h"
#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 30000

/* A pair made for this test: the seed is the bytes 1 to 32. */
#define SEED "SUAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IC5CQ"
#define PUBLIC "UB43KVROR7TFJ6KAPCYRF2FJROTZAH4FHLTJLPWX4DRZCC5NASLGJBFE"

static char root[64], url[64], ca_file[96], cert_file[96], key_file[96], seed_file[96];
static uint16_t port;
static pid_t server_pid;

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

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(at);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

/* It wants a certificate of the client and a signature by the key. */
static void server_start(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    char path[96], text[1024];
    int r = -1;

    snprintf(path, sizeof(path), "%s/server.conf", root);
    snprintf(text, sizeof(text),
             "listen: 127.0.0.1:%u\nlog_file: \"%s/server.log\"\n"
             "jetstream { store_dir: \"%s/js\" }\n"
             "tls { cert_file: \"%s\", key_file: \"%s\", ca_file: \"%s\", verify: true }\n"
             "authorization { users = [ { nkey: " PUBLIC " } ] }\n",
             port, root, root, cert_file, key_file, ca_file);
    write_text(path, text);
    server_pid = fork();
    if (server_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("nats-server", "nats-server", "-c", path, NULL);
        _exit(127);
    }
    while (r < 0) {
        CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        r = connect(fd, (struct sockaddr *)&at, sizeof(at));
        assert_true(clock_mono_ns() < until_ns);
        usleep(10000);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/lectr-bus-auth-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    port = free_port();
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", root);
    snprintf(cert_file, sizeof(cert_file), "%s/peer.crt", root);
    snprintf(key_file, sizeof(key_file), "%s/peer.key", root);
    snprintf(seed_file, sizeof(seed_file), "%s/seed", root);
    write_text(seed_file, SEED "\n" PUBLIC "\n");
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

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    if (server_pid > 0) {
        kill(server_pid, SIGKILL);
        waitpid(server_pid, NULL, 0);
    }
    server_pid = 0;
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct bus_settings whole_identity(void)
{
    return (struct bus_settings){
        .url = url,
        .nkey_seed = seed_file,
        .ca_file = ca_file,
        .cert_file = cert_file,
        .key_file = key_file,
        .stream = "LECTR",
        .durable = "collector",
        .name = "test",
    };
}

static void test_comes_in(void **state)
{
    const struct bus_settings settings = whole_identity();
    char error[BUS_ERROR_BYTES] = "";
    struct bus *b = NULL;

    (void)state;
    assert_int_equal(bus_open(&settings, &b, error), 0);
    assert_string_equal(error, "");
    assert_int_equal(bus_ensure_stream(b), 0);
    bus_close(&b);
}

static void assert_refused(const struct bus_settings *settings, const char *why)
{
    char error[BUS_ERROR_BYTES] = "";
    struct bus *b = NULL;

    assert_true(bus_open(settings, &b, error) < 0);
    assert_null(b);
    if (!strstr(error, why))
        fail_msg("'%s' does not say '%s'", error, why);
    assert_null(strstr(error, "SUAACAQ"));
}

static void test_says_why_not(void **state)
{
    struct bus_settings settings = whole_identity();

    (void)state;
    settings.nkey_seed = "";
    assert_refused(&settings, "connect: ");
    /* Without a line of the public key, and not there at all. */
    settings.nkey_seed = ca_file;
    assert_refused(&settings, "nkey_seed");
    settings.nkey_seed = "/nonexistent/seed";
    assert_refused(&settings, "nkey_seed");
    settings = whole_identity();
    settings.cert_file = settings.key_file = NULL;
    assert_refused(&settings, "connect: ");
    settings = whole_identity();
    settings.cert_file = "/nonexistent/peer.crt";
    assert_refused(&settings, "cert_file");
    settings = whole_identity();
    settings.ca_file = "/nonexistent/ca.crt";
    assert_refused(&settings, "ca_file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_in, setup, teardown),
        cmocka_unit_test_setup_teardown(test_says_why_not, setup, teardown),
    };

    if (system("command -v nats-server >/dev/null") != 0) {
        printf("SKIP test_bus_auth: nats-server is not installed\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
