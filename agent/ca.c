/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca.h"

#include "agent/cert.h"
#include "agent/provider.h"
#include "agent/truststore.h"
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

struct ca_options {
    const char *dir;
    const char *providers;
};

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static const char *const system_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static void pair_clear(struct pair *p)
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

static int make_pair(const char *name, int path_len, uint64_t days, const char *constraints,
                     const struct pair *issuer, struct pair *ret_pair)
{
    uint64_t now_s = clock_wall_ns() / NSEC_PER_SEC;
    struct pair made = {0};
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
        pair_clear(&made);
        return r;
    }
    *ret_pair = made;
    return 0;
}

/* O_EXCL: an authority that applications trust is never overwritten. */
static int create(const char *dir, const char *name, mode_t mode, FILE **ret_file)
{
    char path[PATH_MAX];
    CLEAN_FD int fd = -1;
    FILE *f;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 || fchmod(fd, mode) < 0)
        return -errno;
    f = fdopen(fd, "w");
    if (!f)
        return -errno;
    TAKE_FD(fd);
    *ret_file = f;
    return 0;
}

static int finish(FILE *f, bool ok)
{
    if (fflush(f) != 0 || fsync(fileno(f)) < 0)
        ok = false;
    if (fclose(f) != 0)
        ok = false;
    return ok ? 0 : -EIO;
}

static int write_cert(const char *dir, const char *name, X509 *cert)
{
    FILE *f;
    int r = create(dir, name, 0644, &f);

    return r < 0 ? r : finish(f, PEM_write_X509(f, cert) == 1);
}

static int write_key(const char *dir, const char *name, EVP_PKEY *key)
{
    FILE *f;
    int r = create(dir, name, 0600, &f);

    return r < 0 ? r : finish(f, PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
}

static int copy_system_roots(FILE *out, bool *ret_found)
{
    char chunk[65536];
    size_t total = 0, n;

    *ret_found = false;
    for (unsigned i = 0; i < sizeof(system_bundles) / sizeof(system_bundles[0]); i++) {
        CLEAN_FILE FILE *in = fopen(system_bundles[i], "re");

        if (!in)
            continue;
        while ((n = fread(chunk, 1, sizeof(chunk), in)) > 0) {
            total += n;
            if (total > BUNDLE_MAX_BYTES || fwrite(chunk, 1, n, out) != n)
                return -EIO;
        }
        *ret_found = true;
        return fputc('\n', out) == EOF ? -EIO : 0;
    }
    return 0;
}

static int write_bundle(const char *dir, X509 *root)
{
    bool found = false;
    FILE *f;
    int r = create(dir, "bundle.crt", 0644, &f);

    if (r < 0)
        return r;
    r = copy_system_roots(f, &found);
    if (!found)
        fprintf(stderr,
                "lectr-agent ca: no system trust store found; %s/bundle.crt holds "
                "only Lectr's root\n",
                dir);
    return finish(f, r == 0 && PEM_write_X509(f, root) == 1);
}

/* The bundle once more, for Java. */
static int write_truststore(const char *dir)
{
    char path[PATH_MAX];
    CLEAN_FILE FILE *bundle = NULL;
    FILE *f;
    int r;

    if (snprintf(path, sizeof(path), "%s/bundle.crt", dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    bundle = fopen(path, "re");
    if (!bundle)
        return -errno;
    r = create(dir, "truststore.p12", 0644, &f);
    if (r < 0)
        return r;
    r = truststore_write(bundle, f);
    return finish(f, r == 0) < 0 && r == 0 ? -EIO : r;
}

static int make_dir(const char *dir)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int refuse_existing(const char *dir)
{
    static const char *const names[] = {"ca.crt",           "ca.key",     "intermediate.crt",
                                        "intermediate.key", "bundle.crt", "truststore.p12"};
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

static int write_all(const char *dir, const struct pair *root, const struct pair *intermediate)
{
    int r = write_key(dir, "ca.key", root->key);

    if (r == 0)
        r = write_cert(dir, "ca.crt", root->cert);
    if (r == 0)
        r = write_key(dir, "intermediate.key", intermediate->key);
    if (r == 0)
        r = write_cert(dir, "intermediate.crt", intermediate->cert);
    if (r == 0)
        r = write_bundle(dir, root->cert);
    if (r == 0)
        r = write_truststore(dir);
    return r;
}

static int init(const struct ca_options *options)
{
    struct provider_set *set = NULL;
    struct provider_error error = {0};
    struct pair root = {0}, intermediate = {0};
    struct buf constraints;
    int r;

    buf_init(&constraints, CONSTRAINTS_MAX_BYTES);
    r = refuse_existing(options->dir);
    if (r < 0)
        return r;
    r = provider_set_load(options->providers, &set, &error);
    if (r < 0) {
        fprintf(stderr, "lectr-agent ca: %s\n", error.text[0] ? error.text : options->providers);
        return r;
    }
    r = constraints_text(set, &constraints);
    if (r == 0)
        r = make_pair("Lectr root", 1, ROOT_DAYS, (char *)constraints.data, NULL, &root);
    if (r == 0)
        r = make_pair("Lectr intermediate", 0, INTERMEDIATE_DAYS, (char *)constraints.data, &root,
                      &intermediate);
    if (r == 0)
        r = make_dir(options->dir);
    if (r == 0)
        r = write_all(options->dir, &root, &intermediate);
    if (r == 0)
        printf(
            "%s: root, intermediate, bundle.crt and truststore.p12 written. Keep ca.key offline: "
            "the agent does not read it.\n",
            options->dir);
    else
        fprintf(stderr, "lectr-agent ca: %s: %s\n", options->dir, strerror(-r));
    pair_clear(&root);
    pair_clear(&intermediate);
    buf_fini(&constraints);
    provider_set_free(&set);
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
    int r = show_one(options->dir, "ca.crt");

    return r < 0 ? r : show_one(options->dir, "intermediate.crt");
}

static int usage(FILE *to)
{
    fprintf(to, "usage: lectr-agent ca init [--dir DIR] [--providers DIR]\n"
                "       lectr-agent ca show [--dir DIR]\n"
                "\n"
                "init makes ca.crt, ca.key, intermediate.crt, intermediate.key, bundle.crt (the\n"
                "system's roots and Lectr's) and truststore.p12 (the same, for Java) in DIR "
                "(default " LECTR_SYSCONFDIR "/lectr/ca).\n"
                "Both certificates are constrained to the hosts of the provider profiles.\n");
    return to == stdout ? 0 : 2;
}

int ca_main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"providers", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct ca_options options = {
        .dir = LECTR_SYSCONFDIR "/lectr/ca",
        .providers = LECTR_DATADIR "/providers",
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
        else
            return usage(stderr);
    }
    if (optind + 1 != argc)
        return usage(stderr);
    if (strcmp(argv[optind], "init") == 0)
        return init(&options) < 0 ? 1 : 0;
    if (strcmp(argv[optind], "show") == 0)
        return show(&options) < 0 ? 1 : 0;
    return usage(stderr);
}
