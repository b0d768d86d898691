/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca_impl.h"

#include "agent/truststore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>

#define BUNDLE_MAX_BYTES (16 * 1024 * 1024)

static const char *const system_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

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

int ca_make_dir(const char *dir)
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

int ca_write(const char *dir, const struct ca_pair *root, const struct ca_pair *intermediate)
{
    int r = write_key(dir, "ca.key", root->key);

    if (r == 0)
        r = write_cert(dir, "ca.crt", root->cert);
    if (r == 0)
        r = write_key(dir, "intermediate.key", intermediate->key);
    if (r == 0)
        r = write_cert(dir, "intermediate.crt", intermediate->cert);
    return r;
}

int ca_read_cert(const char *dir, const char *name, X509 **ret_cert)
{
    char path[PATH_MAX];
    CLEAN_FILE FILE *f = NULL;
    X509 *cert;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    f = fopen(path, "re");
    if (!f)
        return -errno;
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    if (!cert)
        return -EINVAL;
    *ret_cert = cert;
    return 0;
}

static int append_root(FILE *out, const char *dir, const char *name)
{
    X509 *root = NULL;
    int r = ca_read_cert(dir, name, &root);

    if (r == 0 && PEM_write_X509(out, root) != 1)
        r = -EIO;
    X509_free(root);
    return r;
}

/* Ours alone, for clients that add to the roots they have. */
static int fill_roots(FILE *f, const char *dir)
{
    int r = append_root(f, dir, "ca.crt");

    if (r == 0)
        r = append_root(f, dir, CA_NEXT "/ca.crt");
    return r == -ENOENT ? 0 : r;
}

static int fill_bundle(FILE *f, const char *dir)
{
    bool found = false;
    int r = copy_system_roots(f, &found);

    if (!found)
        fprintf(stderr,
                "lectr-agent ca: no system trust store found; %s/bundle.crt holds "
                "only Lectr's own\n",
                dir);
    return r < 0 ? r : fill_roots(f, dir);
}

/* The bundle once more, for Java. */
static int fill_truststore(FILE *f, const char *dir)
{
    char path[PATH_MAX];
    CLEAN_FILE FILE *bundle = NULL;

    if (snprintf(path, sizeof(path), "%s/bundle.crt", dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    bundle = fopen(path, "re");
    return bundle ? truststore_write(bundle, f) : -errno;
}

/* Whoever reads sees the old file or the new one, never a part. */
static int replace(const char *dir, const char *name, int (*fill)(FILE *f, const char *dir))
{
    char path[PATH_MAX], fresh[PATH_MAX], fresh_name[64];
    FILE *f;
    int r;

    snprintf(fresh_name, sizeof(fresh_name), "%s.new", name);
    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
        snprintf(fresh, sizeof(fresh), "%s/%s", dir, fresh_name) >= (int)sizeof(fresh))
        return -ENAMETOOLONG;
    (void)unlink(fresh);
    r = create(dir, fresh_name, 0644, &f);
    if (r < 0)
        return r;
    r = fill(f, dir);
    if (finish(f, r == 0) < 0 && r == 0)
        r = -EIO;
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    return r;
}

int ca_write_bundle(const char *dir)
{
    int r = replace(dir, "bundle.crt", fill_bundle);

    if (r == 0)
        r = replace(dir, "roots.crt", fill_roots);
    return r < 0 ? r : replace(dir, "truststore.p12", fill_truststore);
}
