/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/config.c agent/yamldoc.c */
#include "agent/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SHA "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

static char dir[] = "/tmp/lectr-test-config-XXXXXX";
static char file[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/agent.yaml", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void write_file(const char *text, size_t len)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct config *load(const char *text)
{
    struct config *config = NULL;
    struct config_error error = {.text = ""};
    int r;

    write_file(text, strlen(text));
    r = config_load(file, &config, &error);
    if (r < 0)
        print_error("%s\n", error.text);
    assert_int_equal(r, 0);
    return config;
}

static void check_defaults(const struct config *c)
{
    char host[256] = "";

    gethostname(host, sizeof(host) - 1);
    assert_string_equal(c->org, "default");
    assert_string_equal(c->cluster, "");
    assert_string_equal(c->node, host);
    assert_string_equal(c->log_level, "info");
    assert_string_equal(c->state_dir, "/var/lib/lectr");
    assert_string_equal(c->run_dir, "/run/lectr");
    assert_string_equal(c->user, "nobody");
    assert_int_equal(c->org_keys_count, 0);
    assert_string_equal(c->capture.cgroup, "");
    assert_string_equal(c->capture.bpffs, "/sys/fs/bpf");
    assert_string_equal(c->capture.mode, "providers");
    assert_int_equal(c->capture.ports_count, 1);
    assert_int_equal(c->capture.ports[0], 443);
    assert_int_equal(c->capture.consent_cgroups_count, 0);
    assert_int_equal(c->capture.consent_netns_count, 0);
    assert_int_equal(c->capture.heartbeat_stale_ms, 500);
    assert_int_equal(c->capture.pool_size, 8);
    assert_int_equal(c->capture.dns_ttl_min_s, 3600);
    assert_string_equal(c->upstream.ca_file, "");
    assert_int_equal(c->upstream.connect_timeout_ms, 10000);
    assert_string_equal(c->nats.url, "nats://127.0.0.1:4222");
    assert_string_equal(c->nats.creds, "");
    assert_string_equal(c->nats.nkey_seed, "");
    assert_string_equal(c->nats.ca_file, "");
    assert_string_equal(c->nats.stream, "LECTR");
    assert_int_equal(c->nats.stream_max_age_h, 168);
    assert_int_equal(c->nats.stream_max_bytes, 1 << 30);
    assert_int_equal(c->spool.limit_bytes, 256 * 1024 * 1024);
    assert_int_equal(c->spool.segment_bytes, 4 * 1024 * 1024);
    assert_string_equal(c->metrics.listen, "127.0.0.1:9463");
}

static void test_no_file_gives_the_defaults(void **state)
{
    struct config *config = NULL;
    struct config_error error;

    (void)state;
    assert_int_equal(config_load(NULL, &config, &error), 0);
    check_defaults(config);
    assert_string_equal(config->tls.ca_dir, LECTR_SYSCONFDIR "/lectr/ca");
    assert_string_equal(config->data.providers_dir,
                        LECTR_DATADIR "/providers:" LECTR_SYSCONFDIR "/lectr/providers");
    assert_string_equal(config->data.prices_file, LECTR_DATADIR "/prices.json");
    config_free(&config);
    assert_null(config);
    config_free(&config);
}

static void test_the_node_can_be_told(void **state)
{
    struct config *config;

    (void)state;
    assert_int_equal(setenv("LECTR_NODE", "worker-7", 1), 0);
    config = load("org: a\n");
    assert_string_equal(config->node, "worker-7");
    config_free(&config);
    config = load("node: mine\n");
    assert_string_equal(config->node, "mine");
    config_free(&config);
    assert_int_equal(unsetenv("LECTR_NODE"), 0);
}

static void test_a_file_without_content_gives_the_defaults(void **state)
{
    static const char *const TEXTS[] = {"", "# nothing here\n", "\n\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct config *config = load(TEXTS[i]);

        check_defaults(config);
        config_free(&config);
    }
}

/* The example must name every key with its default. */
static void test_the_example_is_the_defaults(void **state)
{
    struct config *config = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    assert_int_equal(config_load("agent/agent.yaml", &config, &error), 0);
    check_defaults(config);
    config_free(&config);
}

static void test_given_values_win(void **state)
{
    struct config *c = load("org: acme\n"
                            "node: n1\n"
                            "org_keys:\n"
                            "  - {org: a, sha256: " SHA "}\n"
                            "  - {org: b, sha256: " SHA "}\n"
                            "capture:\n"
                            "  mode: all\n"
                            "  ports: [443, 8443]\n"
                            "  consent_cgroups: [user.slice/a, b]\n"
                            "  consent_netns: [pod-*]\n"
                            "  dns_ttl_min_s: 0\n"
                            "spool: {limit_bytes: 1048576, segment_bytes: 65536}\n"
                            "metrics: {listen: \"\"}\n"
                            "nats: {url: \"tls://nats:4222\"}\n");

    (void)state;
    assert_string_equal(c->org, "acme");
    assert_string_equal(c->node, "n1");
    assert_int_equal(c->org_keys_count, 2);
    assert_string_equal(c->org_keys[1].org, "b");
    assert_string_equal(c->org_keys[1].sha256, SHA);
    assert_string_equal(c->capture.mode, "all");
    assert_int_equal(c->capture.ports_count, 2);
    assert_int_equal(c->capture.ports[1], 8443);
    assert_int_equal(c->capture.consent_cgroups_count, 2);
    assert_string_equal(c->capture.consent_cgroups[0], "user.slice/a");
    assert_string_equal(c->capture.consent_netns[0], "pod-*");
    assert_int_equal(c->capture.dns_ttl_min_s, 0); /* given, so not the default */
    assert_int_equal(c->capture.pool_size, 8);
    assert_int_equal(c->spool.limit_bytes, 1048576);
    assert_string_equal(c->metrics.listen, "");
    assert_string_equal(c->nats.url, "tls://nats:4222");
    config_free(&c);
}

struct bad {
    const char *text;
    const char *where;   /* behind the file name */
    const char *problem; /* somewhere in the message */
    const char *remedy;  /* somewhere behind it; NULL: none */
};

static const struct bad BAD[] = {
    /* unknown keys */
    {"org: a\n\nbogus: 1\n", ":3: bogus: ", "unknown key", "known here: org, cluster"},
    {"capture:\n  mod: all\n", ":2: capture.mod: ", "unknown key", "known here: cgroup, bpffs"},
    {"org_keys:\n - org: x\n   sha256: y\n   key: z\n", ":4: org_keys[0].key: ", "unknown key",
     "org, sha256"},
    /* wrong types */
    {"org: [a]\n", ":1: org: ", "must be a text", "1 to 63 bytes"},
    {"capture:\n", ":1: capture: ", "must be a mapping", NULL},
    {"capture:\n  pool_size: many\n", ":2: capture.pool_size: ", "must be a whole number",
     "1 to 256"},
    {"capture:\n  pool_size:\n", ":2: capture.pool_size: ", "must be a whole number", "1 to 256"},
    {"capture:\n  pool_size: -1\n", ":2: capture.pool_size: ", "must be a whole number",
     "1 to 256"},
    {"capture:\n  pool_size: 1.5\n", ":2: capture.pool_size: ", "must be a whole number",
     "1 to 256"},
    {"capture:\n  ports: 443\n", ":2: capture.ports: ", "must be a list", "[443]"},
    {"capture:\n  ports:\n    - 443\n    - https\n",
     ":4: capture.ports[1]: ", "must be a whole number", "[443]"},
    {"capture:\n  ports: [443, 70000]\n", ":2: capture.ports[1]: ", "must be a whole number",
     "[443]"},
    {"- org\n", ": ", "must be a mapping", NULL},
    {"org_keys:\n  - org: x\n", ":2: org_keys[0]: ", "sha256", NULL},
    /* words, forms, ranges */
    {"capture:\n\n  mode: some\n", ":3: capture.mode: ", "\"some\"", "use providers or all"},
    {"log_level: loud\n", ":1: log_level: ", "\"loud\"", "error, warn, info or debug"},
    {"org: \"\"\n", ":1: org: ", "is empty", "use a name"},
    {"org: 0123456789012345678901234567890123456789012345678901234567890123\n",
     ":1: org: ", "not allowed", "1 to 63 bytes"},
    {"state_dir: lectr\n", ":1: state_dir: ", "\"lectr\"", "absolute"},
    {"capture:\n  cgroup: ../x\n", ":2: capture.cgroup: ", "\"../x\"", "below the cgroup2 root"},
    {"capture:\n  cgroup: a/..\n", ":2: capture.cgroup: ", "\"a/..\"", "below the cgroup2 root"},
    {"capture:\n  ports: []\n", ":2: capture.ports: ", "number of entries", "[443]"},
    {"capture:\n  ports: [0]\n", ":2: capture.ports[0]: ", "0 is no port", "[443]"},
    {"capture:\n  pool_size: 0\n", ":2: capture.pool_size: ", "0 is out of range", "1 to 256"},
    {"capture:\n  pool_size: 257\n", ":2: capture.pool_size: ", "257 is out of range", "1 to 256"},
    {"capture:\n  heartbeat_stale_ms: 5000000000\n",
     ":2: capture.heartbeat_stale_ms: ", "must be a whole number", "50 to 60000"},
    {"capture:\n  consent_netns: [a, b/c]\n", ":2: capture.consent_netns[1]: ", "\"b/c\"",
     "trailing *"},
    {"capture:\n  consent_netns: [\"a*b\"]\n", ":2: capture.consent_netns[0]: ", "\"a*b\"",
     "trailing *"},
    {"capture:\n  consent_cgroups: [/]\n", ":2: capture.consent_cgroups[0]: ", "\"/\"",
     "below the cgroup2 root"},
    {"nats:\n  url: http://x\n", ":2: nats.url: ", "\"http://x\"", "nats://host:port"},
    {"nats:\n  stream_max_age_h: 90000\n", ":2: nats.stream_max_age_h: ", "90000", "87600"},
    {"nats:\n  key_file: /k.pem\n", ":2: nats.key_file: ", "nothing by itself", "set both"},
    {"nats:\n  cert_file: c.pem\n", ":2: nats.cert_file: ", "\"c.pem\"", "absolute"},
    {"nats:\n  stream: a.b\n", ":2: nats.stream: ", "\"a.b\"", "letters"},
    {"data:\n  estimate_file: /x\n", ":2: data.estimate_file: ", "unknown key", "estimates_file"},
    {"data:\n  providers_dir: /a:b\n", ":2: data.providers_dir: ", "\"/a:b\"", "joined by :"},
    {"data:\n  providers_dir: \"/a::/b\"\n", ":2: data.providers_dir: ", "\"/a::/b\"",
     "joined by :"},
    {"metrics:\n  listen: \"9463\"\n", ":2: metrics.listen: ", "\"9463\"", "address:port"},
    {"metrics:\n  listen: \"127.0.0.1:99999\"\n", ":2: metrics.listen: ", "99999", "address:port"},
    {"spool:\n  limit_bytes: 1048576\n  segment_bytes: 1048576\n",
     ":3: spool.segment_bytes: ", "less than two segments", "at most half"},
    {"spool:\n  limit_bytes: 4194304\n", ":2: spool.limit_bytes: ", "less than two segments",
     "at most half"},
    /* the file itself */
    {"org: a\norg: b\n", ":2: org: ", "given twice", "remove one"},
    {"org: &x a\nnode: *x\n", ":2: ", "aliases", "write it out"},
    {"org: a\n---\norg: b\n", ":2: ", "second document", "remove"},
    {"org: \"a\n", ":", "end of stream", NULL},
    {"org: a\n\tnode: b\n", ":2: ", "tab character", NULL},
};

static void test_bad_files_are_refused_with_line_field_and_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct config *config = (struct config *)file;
        struct config_error error = {.text = ""};
        const char *rest = error.text;
        int r;

        write_file(BAD[i].text, strlen(BAD[i].text));
        r = config_load(file, &config, &error);
        print_message("    %s\n", error.text);
        assert_int_equal(r, -EINVAL);
        assert_ptr_equal(config, file); /* untouched */
        assert_memory_equal(rest, file, strlen(file));
        rest += strlen(file);
        assert_memory_equal(rest, BAD[i].where, strlen(BAD[i].where));
        rest = strstr(rest, BAD[i].problem);
        assert_non_null(rest);
        if (BAD[i].remedy)
            assert_non_null(strstr(rest, BAD[i].remedy));
    }
}

/* Somebody may write the key where its hash belongs. */
static void test_a_key_in_place_of_its_hash_is_not_shown(void **state)
{
    const char text[] = "org_keys:\n  - org: a\n    sha256: my-secret-key\n";
    struct config *config = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    write_file(text, strlen(text));
    assert_int_equal(config_load(file, &config, &error), -EINVAL);
    assert_non_null(strstr(error.text, ":3: org_keys[0].sha256: "));
    assert_non_null(strstr(error.text, "sha256sum"));
    assert_null(strstr(error.text, "my-secret-key"));
}

static void test_a_file_that_cannot_be_read(void **state)
{
    struct config *config = NULL;
    struct config_error error = {.text = ""};

    (void)state;
    assert_int_equal(config_load("/nonexistent/agent.yaml", &config, &error), -ENOENT);
    assert_non_null(strstr(error.text, "/nonexistent/agent.yaml: cannot be read: No such file"));
    assert_int_equal(config_load(dir, &config, &error), -EISDIR);
    assert_non_null(strstr(error.text, "cannot be read: Is a directory"));
    assert_null(config);
}

static void test_a_huge_or_deep_file_is_refused(void **state)
{
    struct config *config = NULL;
    struct config_error error = {.text = ""};
    const size_t size = 1024 * 1024 + 1;
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    memset(text, '#', size);
    write_file(text, size);
    assert_int_equal(config_load(file, &config, &error), -EFBIG);
    memset(text, '[', 1000);
    write_file(text, 1000);
    assert_int_equal(config_load(file, &config, &error), -EINVAL);
    assert_non_null(strstr(error.text, "nested too deep"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_file_gives_the_defaults),
        cmocka_unit_test(test_a_file_without_content_gives_the_defaults),
        cmocka_unit_test(test_the_example_is_the_defaults),
        cmocka_unit_test(test_given_values_win),
        cmocka_unit_test(test_the_node_can_be_told),
        cmocka_unit_test(test_bad_files_are_refused_with_line_field_and_remedy),
        cmocka_unit_test(test_a_key_in_place_of_its_hash_is_not_shown),
        cmocka_unit_test(test_a_file_that_cannot_be_read),
        cmocka_unit_test(test_a_huge_or_deep_file_is_refused),
    };

    return cmocka_run_group_tests_name("config", tests, make_dir, remove_dir);
}
