/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca.h"

#include "agent/ca_impl.h"
#include "agent/cert.h"
#include "agent/provider.h"
#include "proto/base/buf.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#define HOSTS_MAX 4096
#define CONSTRAINTS_MAX_BYTES (512 * 1024)
#define BUNDLE_MAX_BYTES (16 * 1024 * 1024)
#define DAY_S (24 * 3600ULL)
#define ROOT_DAYS 3650
#define INTERMEDIATE_DAYS 397

/* Some clients (Java) take no longer handshake message than 32 KiB. */
#define INTERMEDIATE_BYTES_MAX (28 * 1024)

void ca_pair_clear(struct ca_pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

/* A constraint "x" also permits every name below x, and for a suffix pattern
 * x itself; the form with a leading dot is not RFC 5280's and not read alike
 * by all clients. */
static int constraints_text(const struct provider_set *set, struct buf *ret_text)
{
    CLEAN_FREE const char **patterns = calloc(HOSTS_MAX, sizeof(*patterns));
    unsigned count;
    int r = 0;

    if (!patterns)
        return -ENOMEM;
    count = provider_hosts(set, patterns, HOSTS_MAX);
    if (count == 0)
        return -ENOENT;
    if (count > HOSTS_MAX)
        return -E2BIG;
    r = buf_append_str(ret_text, "critical");
    for (unsigned i = 0; r == 0 && i < count; i++) {
        const char *name = patterns[i];
        bool seen = false;

        if (strncmp(name, "*.", 2) == 0)
            name += 2;
        for (unsigned k = 0; k < i && !seen; k++) {
            const char *other = strncmp(patterns[k], "*.", 2) == 0 ? patterns[k] + 2 : patterns[k];

            seen = strcasecmp(other, name) == 0;
        }
        if (!seen)
            r = buf_printf(ret_text, ",permitted;DNS:%s", name);
    }
    if (r == 0)
        r = buf_append_str(ret_text, ",excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:::/::");
    if (r == 0)
        r = buf_append(ret_text, slice_of("", 1));
    return r;
}

static void warn_of_size(X509 *intermediate)
{
    int bytes = i2d_X509(intermediate, NULL);

    if (bytes > INTERMEDIATE_BYTES_MAX)
        fprintf(stderr,
                "lectr-agent ca: the intermediate has %d bytes, sent with every handshake; "
                "clients that take no more than 32 KiB (Java) will refuse it: name fewer hosts\n",
                bytes);
}

static int make_pair(const char *name, int path_len, uint64_t days, const char *constraints,
                     const struct ca_pair *issuer, struct ca_pair *ret_pair)
{
    uint64_t now_s = clock_wall_ns() / NSEC_PER_SEC;
    struct ca_pair made = {0};
    struct cert_request req = {
        .common_name = name,
        .name_constraints = constraints,
        .path_len = path_len,
        .not_before_s = now_s - 3600,
        .not_after_s = now_s + days * DAY_S,
    };
    int r = cert_key_new(&made.key);

    if (r < 0)
        return r;
    req.subject_key = made.key;
    req.issuer = issuer ? issuer->cert : NULL;
    req.issuer_key = issuer ? issuer->key : made.key;
    r = cert_issue(&req, &made.cert);
    if (r < 0) {
        ca_pair_clear(&made);
        return r;
    }
    *ret_pair = made;
    return 0;
}

static int refuse_existing(const char *dir)
{
    static const char *const names[] = {"ca.crt",           "ca.key",     "intermediate.crt",
                                        "intermediate.key", "bundle.crt", "roots.crt",
                                        "truststore.p12"};
    char path[PATH_MAX];

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (access(path, F_OK) == 0) {
            fprintf(stderr, "lectr-agent ca: %s exists; it is not overwritten\n", path);
            return -EEXIST;
        }
    }
    return 0;
}

int ca_make(const struct ca_options *options, const char *dir, const char *root_name)
{
    struct provider_set *set = NULL;
    struct provider_error error = {0};
    struct ca_pair root = {0}, intermediate = {0};
    struct buf constraints;
    int r;

    buf_init(&constraints, CONSTRAINTS_MAX_BYTES);
    r = provider_set_load(options->providers, &set, &error);
    if (r < 0) {
        fprintf(stderr, "lectr-agent ca: %s\n", error.text[0] ? error.text : options->providers);
        return r;
    }
    r = constraints_text(set, &constraints);
    if (r == 0)
        r = make_pair(root_name, 1, ROOT_DAYS, (char *)constraints.data, NULL, &root);
    if (r == 0)
        r = make_pair("Lectr intermediate", 0, INTERMEDIATE_DAYS, (char *)constraints.data, &root,
                      &intermediate);
    if (r == 0)
        r = ca_make_dir(dir);
    if (r == 0)
        r = ca_write(dir, &root, &intermediate);
    if (r == 0)
        warn_of_size(intermediate.cert);
    else
        fprintf(stderr, "lectr-agent ca: %s: %s\n", dir, strerror(-r));
    ca_pair_clear(&root);
    ca_pair_clear(&intermediate);
    buf_fini(&constraints);
    provider_set_free(&set);
    return r;
}

static int init(const struct ca_options *options)
{
    int r = refuse_existing(options->dir);

    if (r < 0)
        return r;
    r = ca_make(options, options->dir, "Lectr root");
    if (r < 0)
        return r;
    r = ca_write_bundle(options->dir);
    if (r < 0)
        fprintf(stderr, "lectr-agent ca: %s/bundle.crt: %s\n", options->dir, strerror(-r));
    else
        printf(
            "%s: root, intermediate, bundle.crt and truststore.p12 written. Keep ca.key offline: "
            "the agent does not read it.\n",
            options->dir);
    return r;
}

static int show_one(const char *dir, const char *name)
{
    char path[PATH_MAX];
    CLEAN_FILE FILE *f = NULL;
    X509 *cert;
    BIO *out;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    f = fopen(path, "re");
    cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    out = cert ? BIO_new_fp(stdout, BIO_NOCLOSE) : NULL;
    if (!out) {
        fprintf(stderr, "lectr-agent ca: %s: %s\n", path,
                f ? "no certificate in it" : strerror(errno));
        X509_free(cert);
        return -ENOENT;
    }
    BIO_printf(out, "%s\n", path);
    X509_print_ex(out, cert, XN_FLAG_ONELINE, X509_FLAG_NO_PUBKEY | X509_FLAG_NO_SIGDUMP);
    BIO_free(out);
    X509_free(cert);
    return 0;
}

static int show(const struct ca_options *options)
{
    static const char *const names[] = {"ca.crt", "intermediate.crt", CA_NEXT "/ca.crt",
                                        CA_NEXT "/intermediate.crt"};
    unsigned count = ca_is_rotating(options->dir) ? 4 : 2;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < count; i++)
        r = show_one(options->dir, names[i]);
    return r;
}

static int usage(FILE *to)
{
    fprintf(to,
            "usage: lectr-agent ca init [--dir DIR] [--providers DIR]\n"
            "       lectr-agent ca extend [--dir DIR] [--providers DIR]\n"
            "       lectr-agent ca rotate [--finish] [--dir DIR] [--providers DIR]\n"
            "       lectr-agent ca show [--dir DIR]\n"
            "\n"
            "init makes ca.crt, ca.key, intermediate.crt, intermediate.key, bundle.crt (the\n"
            "system's roots and Lectr's), truststore.p12 (the same, for Java) and roots.crt\n"
            "(Lectr's alone) in DIR\n"
            "(default " LECTR_SYSCONFDIR "/lectr/ca).\n"
            "Both certificates are constrained to the hosts of the provider profiles.\n"
            "extend makes the next root, in DIR/" CA_NEXT ", when profiles name hosts outside the\n"
            "constraints: it serves those hosts, the present one the others, and bundle.crt\n"
            "trusts both. rotate does so in any case. Once every workload has the new\n"
            "bundle.crt, rotate --finish puts the next in the place of the present one.\n"
            "The agent reads its authority at start: restart it after each.\n");
    return to == stdout ? 0 : 2;
}

int ca_main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"providers", required_argument, NULL, 'p'},
        {"finish", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    static const struct {
        const char *name;
        bool may_finish;
        int (*run)(const struct ca_options *options);
    } verbs[] = {
        {"init", false, init},
        {"extend", false, ca_extend},
        {"rotate", true, ca_rotate},
        {"show", false, show},
    };
    struct ca_options options = {
        .dir = LECTR_SYSCONFDIR "/lectr/ca",
        .providers = LECTR_DATADIR "/providers:" LECTR_SYSCONFDIR "/lectr/providers",
    };
    int c;

    optind = 1;
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h')
            return usage(stdout);
        if (c == 'd')
            options.dir = optarg;
        else if (c == 'p')
            options.providers = optarg;
        else if (c == 'f')
            options.finish = true;
        else
            return usage(stderr);
    }
    if (optind + 1 != argc)
        return usage(stderr);
    for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[optind], verbs[i].name) == 0 && (verbs[i].may_finish || !options.finish))
            return verbs[i].run(&options) < 0 ? 1 : 0;
    return usage(stderr);
}
