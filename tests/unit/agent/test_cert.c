/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/cert.c agent/ca.c agent/ca_files.c agent/ca_rotate.c agent/truststore.c */
/* The leaves are judged by the openssl command, not by the code that made them. */
#include "agent/ca.h"
#include "agent/cert.h"
#include "agent/provider.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What a new version of the profiles names besides. */
#define ADDED_MAX 600
static char added[ADDED_MAX][64];
static unsigned added_count;

static char dir[64], ca_dir[96], profiles[96];

/* The profiles are another part's: here only the names they would give. */
int provider_set_load(const char *from, struct provider_set **ret_set,
                      struct provider_error *ret_error)
{
    (void)ret_error;
    *ret_set = NULL;
    return strcmp(from, profiles) == 0 ? 0 : -ENOENT;
}

void provider_set_free(struct provider_set **set)
{
    *set = NULL;
}

unsigned provider_hosts(const struct provider_set *set, const char **ret_patterns, unsigned max)
{
    static const char *const patterns[] = {"api.testai.com", "*.testai-cloud.com"};
    unsigned count = 0;

    (void)set;
    for (; count < 2; count++)
        if (count < max)
            ret_patterns[count] = patterns[count];
    for (unsigned i = 0; i < added_count; i++, count++)
        if (count < max)
            ret_patterns[count] = added[i];
    return count;
}

static int run(const char *format, ...)
{
    char command[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return system(command);
}

static int ca(const char *verb)
{
    char *argv[] = {(char *)(uintptr_t) "ca",
                    (char *)(uintptr_t)verb,
                    (char *)(uintptr_t) "--dir",
                    ca_dir,
                    (char *)(uintptr_t) "--providers",
                    profiles,
                    NULL};

    return ca_main(6, argv);
}

static int finish(void)
{
    char *argv[] = {(char *)(uintptr_t) "ca",
                    (char *)(uintptr_t) "rotate",
                    (char *)(uintptr_t) "--finish",
                    (char *)(uintptr_t) "--dir",
                    ca_dir,
                    NULL};

    return ca_main(5, argv);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/lectr-cert-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(ca_dir, sizeof(ca_dir), "%s/etc/ca", dir);
    snprintf(profiles, sizeof(profiles), "%s/providers", dir);
    return ca("init");
}

static int teardown(void **state)
{
    (void)state;
    return run("rm -rf %s", dir);
}

static void save(struct x509_st *cert, const char *name)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
}

/* 0: a client that trusts our root accepts the certificate for the host. */
static int judge(const char *name, const char *host)
{
    return run("openssl verify -CAfile %s/ca.crt -untrusted %s/intermediate.crt -purpose "
               "sslserver -verify_hostname %s %s/%s >/dev/null 2>&1",
               ca_dir, ca_dir, host, dir, name);
}

static mode_t mode_of(const char *name)
{
    char path[160];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", ca_dir, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void test_files(void **state)
{
    (void)state;
    assert_int_equal(mode_of("ca.key"), 0600);
    assert_int_equal(mode_of("intermediate.key"), 0600);
    assert_int_equal(mode_of("ca.crt"), 0644);
    assert_int_equal(
        run("openssl verify -CAfile %s/ca.crt %s/intermediate.crt >/dev/null", ca_dir, ca_dir), 0);
    /* The bundle ends with our root. */
    assert_int_equal(run("tail -n $(wc -l < %s/ca.crt) %s/bundle.crt | cmp -s - %s/ca.crt", ca_dir,
                         ca_dir, ca_dir),
                     0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            run("openssl x509 -in %s/%s -noout -ext nameConstraints | grep -q critical", ca_dir,
                i ? "ca.crt" : "intermediate.crt"),
            0);
}

static void test_never_overwritten(void **state)
{
    (void)state;
    assert_int_equal(run("cp %s/ca.key %s/before", ca_dir, dir), 0);
    assert_int_equal(ca("init"), 1);
    assert_int_equal(run("cmp -s %s/ca.key %s/before", ca_dir, dir), 0);
}

static void test_leaf_is_accepted(void **state)
{
    static const char *const hosts[] = {"api.testai.com", "a.testai-cloud.com"};
    struct cert_authority *authority;
    struct cert_leaf leaf;

    (void)state;
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cert_leaf_get(authority, hosts[i], (uint64_t)time(NULL), &leaf), 0);
        save(leaf.cert, "leaf.crt");
        assert_int_equal(judge("leaf.crt", hosts[i]), 0);
        assert_int_not_equal(judge("leaf.crt", "other.testai.org"), 0);
    }
    cert_authority_free(&authority);
}

static void test_outside_constraints(void **state)
{
    static const char *const hosts[] = {"evil.example", "testai.com", "xapi.testai.com",
                                        "api.testai.com.evil.example"};
    struct cert_authority *authority;
    struct cert_leaf leaf;

    (void)state;
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(cert_leaf_get(authority, hosts[i], (uint64_t)time(NULL), &leaf), -EPERM);
    cert_authority_free(&authority);
}

static EVP_PKEY *read_key(const char *name)
{
    char path[160];
    EVP_PKEY *key;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", ca_dir, name);
    f = fopen(path, "r");
    assert_non_null(f);
    key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(key);
    return key;
}

static X509 *read_cert(const char *name)
{
    char path[160];
    X509 *cert;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", ca_dir, name);
    f = fopen(path, "r");
    assert_non_null(f);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(cert);
    return cert;
}

/* A thief who has the intermediate's key, and does not ask us. */
static void test_stolen_key_signs_nothing_else(void **state)
{
    struct cert_request req = {.not_before_s = (uint64_t)time(NULL) - 100,
                               .not_after_s = (uint64_t)time(NULL) + 10000};
    EVP_PKEY *key;
    X509 *cert;

    (void)state;
    req.issuer = read_cert("intermediate.crt");
    req.issuer_key = read_key("intermediate.key");
    assert_int_equal(cert_key_new(&key), 0);
    req.subject_key = key;
    req.host = req.common_name = "evil.example";
    assert_int_equal(cert_issue(&req, &cert), 0);
    save(cert, "evil.crt");
    X509_free(cert);
    assert_int_not_equal(judge("evil.crt", "evil.example"), 0);
    req.host = req.common_name = "api.testai.com";
    assert_int_equal(cert_issue(&req, &cert), 0);
    save(cert, "good.crt");
    X509_free(cert);
    assert_int_equal(judge("good.crt", "api.testai.com"), 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(req.issuer_key);
    X509_free(req.issuer);
}

static void test_cache(void **state)
{
    struct cert_authority *authority;
    struct cert_leaf a, b;
    uint64_t now = (uint64_t)time(NULL);
    char host[64];

    (void)state;
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    assert_int_equal(cert_leaf_get(authority, "api.testai.com", now, &a), 0);
    X509_up_ref(a.cert);
    assert_int_equal(cert_leaf_get(authority, "api.testai.com", now + 60, &b), 0);
    assert_ptr_equal(a.cert, b.cert);
    /* Renewed before it ends. */
    assert_int_equal(
        cert_leaf_get(authority, "api.testai.com", now + (CERT_LEAF_DAYS - 1) * 86400ULL, &b), 0);
    assert_ptr_not_equal(a.cert, b.cert);
    X509_free(a.cert);
    /* What is used stays; what is not makes room. */
    assert_int_equal(cert_leaf_get(authority, "kept.testai-cloud.com", now, &a), 0);
    X509_up_ref(a.cert);
    for (unsigned i = 0; i < CERT_CACHE_MAX + 20; i++) {
        snprintf(host, sizeof(host), "h%u.testai-cloud.com", i);
        assert_int_equal(cert_leaf_get(authority, host, now, &b), 0);
        assert_int_equal(cert_leaf_get(authority, "kept.testai-cloud.com", now, &b), 0);
        assert_ptr_equal(a.cert, b.cert);
    }
    X509_free(a.cert);
    cert_authority_free(&authority);
}

static void test_expired(void **state)
{
    struct cert_authority *authority;
    struct cert_leaf leaf;

    (void)state;
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    assert_int_equal(
        cert_leaf_get(authority, "api.testai.com", cert_authority_expires_s(authority), &leaf),
        -EKEYEXPIRED);
    cert_authority_free(&authority);
}

static void test_mixed_up_files(void **state)
{
    struct cert_authority *authority;

    (void)state;
    assert_int_equal(run("cp -r %s %s/mixed && cp %s/ca.key %s/mixed/intermediate.key", ca_dir, dir,
                         ca_dir, dir),
                     0);
    assert_int_equal(run("cd %s && mv etc/ca etc/keep && mv mixed etc/ca", dir), 0);
    assert_int_equal(cert_authority_load(ca_dir, &authority), -EINVAL);
    assert_int_equal(run("cd %s && rm -r etc/ca && mv etc/keep etc/ca", dir), 0);
    assert_int_equal(cert_authority_load("/nonexistent", &authority), -ENOENT);
}

/* Whether a client with this bundle accepts the host's certificate, and of which root. */
static const char *signer(const char *host, const char *bundle)
{
    struct cert_authority *authority;
    struct cert_leaf leaf;
    const char *by = NULL;

    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    assert_int_equal(cert_leaf_get(authority, host, (uint64_t)time(NULL), &leaf), 0);
    save(leaf.cert, "leaf.crt");
    save(sk_X509_value(leaf.chain, 0), "chain.crt");
    cert_authority_free(&authority);
    if (run("openssl verify -CAfile %s/%s -untrusted %s/chain.crt -purpose sslserver "
            "-verify_hostname %s %s/leaf.crt >/dev/null 2>&1",
            ca_dir, bundle, dir, host, dir) != 0)
        return "refused";
    for (int i = 0; i < 2; i++)
        if (run("test -e %s/%s && openssl verify -CAfile %s/%s -untrusted %s/chain.crt "
                "%s/leaf.crt >/dev/null 2>&1",
                ca_dir, i ? "next/ca.crt" : "ca.crt", ca_dir, i ? "next/ca.crt" : "ca.crt", dir,
                dir) == 0)
            by = i ? "next" : "present";
    return by ? by : "nobody";
}

static void keep_bundle(const char *as)
{
    assert_int_equal(run("cp %s/bundle.crt %s/%s", ca_dir, ca_dir, as), 0);
}

static void test_extend(void **state)
{
    struct cert_authority *authority;
    struct cert_leaf leaf;

    (void)state;
    assert_int_equal(finish(), 1); /* nothing is under way */
    assert_int_equal(ca("extend"), 0);
    assert_int_equal(run("test -e %s/next", ca_dir), 256);
    keep_bundle("before.crt");
    snprintf(added[0], sizeof(added[0]), "api.newai.com");
    snprintf(added[1], sizeof(added[1]), "*.newai-cloud.com");
    added_count = 2;
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    assert_int_equal(cert_authority_permits(authority, "api.newai.com"), -EPERM);
    assert_int_equal(cert_authority_permits(authority, "api.testai.com"), 0);
    cert_authority_free(&authority);

    assert_int_equal(ca("extend"), 0);
    assert_int_equal(run("test $(stat -c %%a %s/next/ca.key) = 600", ca_dir), 0);
    assert_string_equal(signer("api.newai.com", "bundle.crt"), "next");
    assert_string_equal(signer("x.newai-cloud.com", "bundle.crt"), "next");
    /* Who knows only the present root goes on with what it had. */
    assert_string_equal(signer("api.testai.com", "before.crt"), "present");
    assert_string_equal(signer("api.testai.com", "bundle.crt"), "present");
    assert_string_equal(signer("api.newai.com", "before.crt"), "refused");
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    assert_int_equal(cert_leaf_get(authority, "evil.example", (uint64_t)time(NULL), &leaf), -EPERM);
    cert_authority_free(&authority);
    /* Nothing more to do; something more, which waits for the end of the first. */
    assert_int_equal(ca("extend"), 0);
    assert_int_equal(ca("rotate"), 1);
    snprintf(added[2], sizeof(added[2]), "api.other.com");
    added_count = 3;
    assert_int_equal(ca("extend"), 1);
    added_count = 2;

    keep_bundle("both.crt");
    assert_int_equal(finish(), 0);
    assert_string_equal(signer("api.testai.com", "both.crt"), "present");
    assert_string_equal(signer("api.newai.com", "bundle.crt"), "present");
    assert_string_equal(signer("api.testai.com", "before.crt"), "refused");
    /* The root before is not trusted any more, and can be had back. */
    assert_int_equal(run("openssl verify -CAfile %s/bundle.crt %s/retired/intermediate.crt "
                         ">/dev/null 2>&1",
                         ca_dir, ca_dir),
                     512);
    assert_int_equal(run("openssl verify -CAfile %s/retired/ca.crt %s/retired/intermediate.crt "
                         ">/dev/null 2>&1",
                         ca_dir, ca_dir),
                     0);
    assert_int_equal(finish(), 1);
}

static void test_rotate_interrupted(void **state)
{
    struct cert_authority *authority;

    (void)state;
    keep_bundle("before.crt");
    /* Killed while it made the next. */
    assert_int_equal(run("mkdir %s/next.new && touch %s/next.new/ca.key", ca_dir, ca_dir), 0);
    assert_int_equal(ca("rotate"), 0);
    assert_int_equal(run("test -e %s/next.new", ca_dir), 256);
    assert_string_equal(signer("api.testai.com", "before.crt"), "present");
    keep_bundle("both.crt");
    /* Killed between two files of the end. */
    assert_int_equal(run("mv %s/next/ca.crt %s/ca.crt && mv %s/next/ca.key %s/ca.key", ca_dir,
                         ca_dir, ca_dir, ca_dir),
                     0);
    assert_int_equal(cert_authority_load(ca_dir, &authority), -EINVAL);
    assert_int_equal(finish(), 0);
    assert_string_equal(signer("api.testai.com", "both.crt"), "present");
    assert_string_equal(signer("api.testai.com", "before.crt"), "refused");
}

static void test_several_hundred_hosts(void **state)
{
    struct cert_authority *authority;
    struct cert_leaf leaf;

    (void)state;
    for (added_count = 0; added_count < 400; added_count++)
        snprintf(added[added_count], sizeof(added[0]), "bedrock-runtime.region-%u.testaws.com",
                 added_count);
    assert_int_equal(ca("extend"), 0);
    assert_string_equal(signer("bedrock-runtime.region-399.testaws.com", "bundle.crt"), "next");
    assert_int_equal(cert_authority_load(ca_dir, &authority), 0);
    assert_int_equal(cert_authority_permits(authority, "bedrock-runtime.region-400.testaws.com"),
                     -EPERM);
    assert_int_equal(cert_authority_permits(authority, "testaws.com"), -EPERM);
    /* What every handshake carries; Java takes 32 KiB. */
    assert_int_equal(cert_leaf_get(authority, "bedrock-runtime.region-7.testaws.com",
                                   (uint64_t)time(NULL), &leaf),
                     0);
    print_message("intermediate for 402 hosts: %d bytes\n",
                  i2d_X509(sk_X509_value(leaf.chain, 0), NULL));
    assert_true(i2d_X509(sk_X509_value(leaf.chain, 0), NULL) < 28 * 1024);
    cert_authority_free(&authority);
}

static void test_no_authority(void **state)
{
    (void)state;
    assert_int_equal(run("mv %s %s.away", ca_dir, ca_dir), 0);
    assert_int_equal(ca("extend"), 1);
    assert_int_equal(ca("rotate"), 1);
    assert_int_equal(finish(), 1);
    assert_int_equal(run("test -e %s", ca_dir), 256);
    assert_int_equal(run("mv %s.away %s", ca_dir, ca_dir), 0);
}

static void test_sha256(void **state)
{
    char hex[65];

    (void)state;
    assert_int_equal(tls_sha256_hex(slice_str("abc"), hex), 0);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_never_overwritten),
        cmocka_unit_test(test_leaf_is_accepted),
        cmocka_unit_test(test_outside_constraints),
        cmocka_unit_test(test_stolen_key_signs_nothing_else),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_mixed_up_files),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_no_authority),
        cmocka_unit_test(test_extend),
        cmocka_unit_test(test_rotate_interrupted),
        cmocka_unit_test(test_several_hundred_hosts),
    };

    return cmocka_run_group_tests_name("cert", tests, setup, teardown);
}
