// SPDX-License-Identifier: Apache-2.0
/* LINK: agent/publish.c agent/outbox.c agent/spool.c agent/folder.c agent/segment.c */
/* TLS and nkeys against a real server: right ones are let in, wrong ones leave
 * the events in the spool. */
#include "agent/config.h"
#include "proto/nkey.h"
#include "agent/publish.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/event.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#define WAIT_MS 30000

/* A pair made for this test: the seed is the bytes 1 to 32. */
#define SEED "SUAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IC5CQ"
#define PUBLIC "UB43KVROR7TFJ6KAPCYRF2FJROTZAH4FHLTJLPWX4DRZCC5NASLGJBFE"
/* Well-formed, and nobody's. */
#define STRANGER "UDNCT2K3ALQA76QVMRLXL6Y5FORCFIMUGOK65IDLSTRMAV5XXZU5B56Q"

static char root[64], url[64], state_dir[96], ca_file[96], seed_file[96];
static char org[] = "acme", stream[] = "LECTR";
static struct config config;
static pid_t server_pid;
static uint16_t port;

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

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(at);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static void write_text(const char *path, const char *text)
{
    CLEAN_FILE FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}

/* `settings` is added to the server's configuration. */
static void server_start(const char *settings)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    char path[96], text[1024];
    int r = -1;

    snprintf(path, sizeof(path), "%s/server.conf", root);
    snprintf(
        text, sizeof(text),
        "listen: 127.0.0.1:%u\nlog_file: \"%s/server.log\"\njetstream { store_dir: \"%s/js\" }\n%s",
        port, root, root, settings);
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
    snprintf(root, sizeof(root), "/tmp/lectr-auth-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    port = free_port();
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    snprintf(state_dir, sizeof(state_dir), "%s/state", root);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", root);
    snprintf(seed_file, sizeof(seed_file), "%s/seed", root);
    config = (struct config){
        .org = org,
        .state_dir = state_dir,
        .nats = {.url = url, .stream = stream},
        .spool = {.limit_bytes = 4 << 20, .segment_bytes = 256 << 10},
    };
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

/* A root and a server certificate for `san`. */
static void make_certificates(const char *san)
{
    assert_int_equal(
        sh("cd %s && exec 2>/dev/null && "
           "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
           "-subj /CN=test-ca -keyout ca.key -out ca.crt && "
           "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server "
           "-keyout server.key -out server.csr && printf 'subjectAltName=%s' >san && "
           "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 "
           "-extfile san -out server.crt",
           root, san),
        0);
}

static void server_start_tls(void)
{
    char settings[300];

    snprintf(settings, sizeof(settings),
             "tls { cert_file: \"%s/server.crt\", key_file: \"%s/server.key\" }\n", root, root);
    server_start(settings);
}

static struct publish *publish_one(void)
{
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    struct publish *p = NULL;

    assert_int_equal(publish_open(&config, &p), 0);
    assert_int_equal(publish_call(p, &call), 0);
    return p;
}

static struct publish_stats stats_of(const struct publish *p)
{
    struct publish_stats stats;

    publish_stats(p, &stats);
    return stats;
}

static void assert_arrives(void)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    struct publish *p = publish_one();

    while (stats_of(p).events_acked < 1 && clock_mono_ns() < until_ns)
        usleep(5000);
    assert_int_equal(stats_of(p).events_acked, 1);
    publish_close(&p, 100);
}

/* Tried at least twice, by the server's own log or by what it logs of a failure. */
static void assert_stays_outside(const char *log_pattern)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    struct publish *p = publish_one();
    int r = -1;

    while (r != 0 && clock_mono_ns() < until_ns) {
        usleep(50000);
        r = sh("test $(grep -c '%s' %s/server.log) -ge 2", log_pattern, root);
    }
    assert_int_equal(r, 0);
    assert_int_equal(stats_of(p).events_acked, 0);
    assert_false(stats_of(p).connected);
    publish_close(&p, 0);
    assert_int_equal(sh("test -n \"$(ls %s/spool)\"", state_dir), 0);
}

static void the_right_certificate_is_trusted(void **state)
{
    (void)state;
    make_certificates("IP:127.0.0.1");
    server_start_tls();
    config.nats.ca_file = ca_file;
    assert_arrives();
}

static void a_certificate_of_another_root_is_not(void **state)
{
    (void)state;
    make_certificates("IP:127.0.0.1");
    server_start_tls();
    sh("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
       "-subj /CN=other -keyout other.key -out ca.crt 2>/dev/null",
       root);
    config.nats.ca_file = ca_file;
    assert_stays_outside("TLS handshake error");
}

static void a_certificate_for_another_host_is_not(void **state)
{
    (void)state;
    make_certificates("DNS:nats.example");
    server_start_tls();
    config.nats.ca_file = ca_file;
    assert_stays_outside("TLS handshake error");
}

/* A URL that asks for TLS trusts the system's roots, which do not know ours. */
static void tls_by_url_alone_verifies_too(void **state)
{
    (void)state;
    make_certificates("IP:127.0.0.1");
    server_start_tls();
    snprintf(url, sizeof(url), "tls://127.0.0.1:%u", port);
    assert_stays_outside("TLS handshake error");
}

static void no_plaintext_where_tls_was_asked_for(void **state)
{
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    struct publish *p = NULL;

    (void)state;
    make_certificates("IP:127.0.0.1");
    server_start("");
    config.nats.ca_file = ca_file;
    assert_int_equal(publish_open(&config, &p), 0);
    assert_int_equal(publish_call(p, &call), 0);
    usleep(1500000);
    assert_int_equal(stats_of(p).events_acked, 0);
    assert_false(stats_of(p).connected);
    publish_close(&p, 0);
}

/* A server that wants a certificate of the client gets it. */
static void the_clients_certificate_is_shown(void **state)
{
    static char cert_file[96], key_file[96];
    char settings[400];

    (void)state;
    make_certificates("IP:127.0.0.1");
    snprintf(settings, sizeof(settings),
             "tls { cert_file: \"%s/server.crt\", key_file: \"%s/server.key\", "
             "ca_file: \"%s/ca.crt\", verify: true }\n",
             root, root, root);
    server_start(settings);
    config.nats.ca_file = ca_file;
    snprintf(cert_file, sizeof(cert_file), "%s/server.crt", root);
    snprintf(key_file, sizeof(key_file), "%s/server.key", root);
    config.nats.cert_file = cert_file;
    config.nats.key_file = key_file;
    assert_arrives();
    config.nats.cert_file = config.nats.key_file = NULL;
    assert_stays_outside("TLS handshake error");
}

static void an_nkey_opens(void **state)
{
    (void)state;
    server_start("authorization { users = [ { nkey: " PUBLIC " } ] }\n");
    write_text(seed_file, SEED "\n" PUBLIC "\n");
    config.nats.nkey_seed = seed_file;
    assert_arrives();
}

static void no_key_or_a_strange_one_does_not(void **state)
{
    (void)state;
    server_start("authorization { users = [ { nkey: " PUBLIC " } ] }\n");
    assert_stays_outside("authentication error");
    write_text(seed_file, SEED "\n" STRANGER "\n");
    config.nats.nkey_seed = seed_file;
    assert_stays_outside("authentication error");
}

/* An account that may publish and nothing else, as an agent's should be. */
static void publishing_is_permission_enough(void **state)
{
    (void)state;
    server_start("authorization { users = [\n"
                 "  { user: admin, password: admin },\n"
                 "  { user: agent, password: agent, permissions: {\n"
                 "      publish: \"lectr.v1.>\", subscribe: \"_INBOX.>\" } } ] }\n");
    snprintf(url, sizeof(url), "nats://admin:admin@127.0.0.1:%u", port);
    assert_arrives(); /* makes the stream */
    snprintf(url, sizeof(url), "nats://agent:agent@127.0.0.1:%u", port);
    assert_arrives();
}

static void the_public_key_is_read_from_the_file(void **state)
{
    char key[NKEY_BYTES] = "before";

    (void)state;
    assert_int_equal(nkey_read_public(seed_file, key), -ENOENT);
    write_text(seed_file, SEED "\n");
    assert_int_equal(nkey_read_public(seed_file, key), -EINVAL);
    assert_string_equal(key, "before");
    write_text(seed_file, SEED "\r\n" PUBLIC " \r\n");
    assert_int_equal(nkey_read_public(seed_file, key), 0);
    assert_string_equal(key, PUBLIC);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_right_certificate_is_trusted),
        T(a_certificate_of_another_root_is_not),
        T(a_certificate_for_another_host_is_not),
        T(tls_by_url_alone_verifies_too),
        T(no_plaintext_where_tls_was_asked_for),
        T(the_clients_certificate_is_shown),
        T(an_nkey_opens),
        T(no_key_or_a_strange_one_does_not),
        T(publishing_is_permission_enough),
        T(the_public_key_is_read_from_the_file),
    };

    if (system("command -v nats-server >/dev/null && command -v openssl >/dev/null") != 0) {
        printf("SKIP test_publish_auth: needs nats-server and openssl\n");
        return 0;
    }
    log_setup("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
