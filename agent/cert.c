/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cert.h"

#include <errno.h>
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#define HOUR_S 3600ULL
#define DAY_S (24 * HOUR_S)

struct cached_leaf {
    struct cert_leaf leaf;
    uint64_t used; /* value of the cache's clock when last handed out; 0: free */
    uint64_t renew_at_s;
};

struct cert_authority {
    X509 *root;
    X509 *intermediate;
    EVP_PKEY *intermediate_key;
    STACK_OF(X509) * chain;
    NAME_CONSTRAINTS *constraints[2]; /* of the root and the intermediate; NULL: none */
    struct cert_authority *next;      /* of a rotation that is under way; NULL: none */
    uint64_t expires_s;
    uint64_t clock;
    struct cached_leaf cache[CERT_CACHE_MAX];
};

int tls_sha256_hex(struct slice s, char ret_hex[65])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[32];

    if (!EVP_Digest(s.data, s.len, hash, NULL, EVP_sha256(), NULL))
        return -ENOMEM;
    for (unsigned i = 0; i < sizeof(hash); i++) {
        ret_hex[2 * i] = digits[hash[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_hex[64] = '\0';
    return 0;
}

int cert_key_new(EVP_PKEY **ret_key)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    if (!key)
        return -ENOMEM;
    *ret_key = key;
    return 0;
}

/* The number is random with a bit set in front: positive and never zero. */
static bool set_serial(X509 *cert)
{
    uint8_t bytes[16];
    BIGNUM *n;
    bool ok;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
    n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool set_names(X509 *cert, const struct cert_request *req)
{
    X509_NAME *name = X509_get_subject_name(cert);
    bool fits = req->common_name && strlen(req->common_name) <= 64; /* ub-common-name */

    if (!req->host && !X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                                  (const unsigned char *)"Lectr", -1, -1, 0))
        return false;
    if (fits && !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)req->common_name, -1, -1, 0))
        return false;
    return X509_set_issuer_name(cert, req->issuer ? X509_get_subject_name(req->issuer) : name);
}

static bool add_text_ext(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1);

    X509_EXTENSION_free(ext);
    return ok;
}

/* Not through OpenSSL's text notation: the name comes from a client. */
static bool add_san(X509 *cert, const char *host, bool critical)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    bool ok = names && name && text && ASN1_STRING_set(text, host, -1);

    if (ok) {
        GENERAL_NAME_set0_value(name, GEN_DNS, TAKE_PTR(text));
        ok = sk_GENERAL_NAME_push(names, name) > 0;
        if (ok)
            name = NULL;
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, critical, 0) == 1;
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return ok;
}

static bool add_extensions(X509 *cert, const struct cert_request *req)
{
    X509V3_CTX ctx;
    char constraints[48];

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, req->issuer ? req->issuer : cert, cert, NULL, NULL, 0);
    if (req->host)
        return add_text_ext(cert, &ctx, NID_basic_constraints, "critical,CA:FALSE") &&
               add_text_ext(cert, &ctx, NID_key_usage, "critical,digitalSignature") &&
               add_text_ext(cert, &ctx, NID_ext_key_usage, "serverAuth") &&
               add_text_ext(cert, &ctx, NID_subject_key_identifier, "hash") &&
               add_text_ext(cert, &ctx, NID_authority_key_identifier, "keyid:always") &&
               add_san(cert, req->host, !req->common_name || strlen(req->common_name) > 64);
    snprintf(constraints, sizeof(constraints), "critical,CA:TRUE,pathlen:%d", req->path_len);
    return add_text_ext(cert, &ctx, NID_basic_constraints, constraints) &&
           add_text_ext(cert, &ctx, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           (!req->issuer || add_text_ext(cert, &ctx, NID_ext_key_usage, "serverAuth")) &&
           add_text_ext(cert, &ctx, NID_subject_key_identifier, "hash") &&
           (!req->issuer ||
            add_text_ext(cert, &ctx, NID_authority_key_identifier, "keyid:always")) &&
           (!req->name_constraints ||
            add_text_ext(cert, &ctx, NID_name_constraints, req->name_constraints));
}

int cert_issue(const struct cert_request *req, X509 **ret_cert)
{
    X509 *cert = X509_new();
    bool ok;

    ok = cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
         X509_time_adj_ex(X509_getm_notBefore(cert), 0, 0, &(time_t){(time_t)req->not_before_s}) &&
         X509_time_adj_ex(X509_getm_notAfter(cert), 0, 0, &(time_t){(time_t)req->not_after_s}) &&
         X509_set_pubkey(cert, req->subject_key) && set_names(cert, req) &&
         add_extensions(cert, req) && X509_sign(cert, req->issuer_key, EVP_sha256()) > 0;
    if (!ok) {
        X509_free(cert);
        return -EINVAL;
    }
    *ret_cert = cert;
    return 0;
}

static int open_pem(const char *dir, const char *name, FILE **ret_file)
{
    char path[PATH_MAX];
    FILE *f;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    f = fopen(path, "re");
    if (!f)
        return -errno;
    *ret_file = f;
    return 0;
}

static int load_cert(const char *dir, const char *name, X509 **ret_cert)
{
    CLEAN_FILE FILE *f = NULL;
    int r = open_pem(dir, name, &f);
    X509 *cert;

    if (r < 0)
        return r;
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    if (!cert)
        return -EINVAL;
    *ret_cert = cert;
    return 0;
}

static int load_key(const char *dir, const char *name, EVP_PKEY **ret_key)
{
    CLEAN_FILE FILE *f = NULL;
    int r = open_pem(dir, name, &f);
    char buffer[4096];
    EVP_PKEY *key;

    if (r < 0)
        return r;
    /* A buffer of our own, so that the key's text does not stay in stdio's. */
    setvbuf(f, buffer, _IOFBF, sizeof(buffer));
    key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(TAKE_PTR(f));
    explicit_bzero(buffer, sizeof(buffer));
    if (!key)
        return -EINVAL;
    *ret_key = key;
    return 0;
}

static bool belongs_together(const struct cert_authority *ca)
{
    return X509_verify(ca->intermediate, X509_get0_pubkey(ca->root)) == 1 &&
           X509_check_issued(ca->root, ca->intermediate) == X509_V_OK &&
           X509_check_private_key(ca->intermediate, ca->intermediate_key) == 1 &&
           X509_check_ca(ca->intermediate) > 0;
}

static uint64_t not_after_s(const X509 *cert)
{
    struct tm tm;

    if (!ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm))
        return 0;
    return (uint64_t)timegm(&tm);
}

static int load_one(const char *dir, struct cert_authority **ret_ca)
{
    struct cert_authority *ca = calloc(1, sizeof(*ca));
    int r;

    if (!ca)
        return -ENOMEM;
    r = load_cert(dir, "ca.crt", &ca->root);
    if (r == 0)
        r = load_cert(dir, "intermediate.crt", &ca->intermediate);
    if (r == 0)
        r = load_key(dir, "intermediate.key", &ca->intermediate_key);
    if (r == 0 && !belongs_together(ca))
        r = -EINVAL;
    if (r == 0) {
        ca->chain = sk_X509_new_null();
        if (!ca->chain || !X509_up_ref(ca->intermediate) ||
            !sk_X509_push(ca->chain, ca->intermediate))
            r = -ENOMEM;
    }
    if (r < 0) {
        cert_authority_free(&ca);
        return r;
    }
    ca->constraints[0] = X509_get_ext_d2i(ca->root, NID_name_constraints, NULL, NULL);
    ca->constraints[1] = X509_get_ext_d2i(ca->intermediate, NID_name_constraints, NULL, NULL);
    ca->expires_s = not_after_s(ca->intermediate);
    *ret_ca = ca;
    return 0;
}

int cert_authority_load(const char *dir, struct cert_authority **ret_ca)
{
    char next[PATH_MAX];
    struct cert_authority *ca = NULL;
    int r = load_one(dir, &ca);

    if (r < 0)
        return r;
    if (snprintf(next, sizeof(next), "%s/next", dir) >= (int)sizeof(next))
        r = -ENAMETOOLONG;
    else if (access(next, F_OK) == 0)
        r = load_one(next, &ca->next);
    if (r < 0) {
        cert_authority_free(&ca);
        return r;
    }
    *ret_ca = ca;
    return 0;
}

static void leaf_clear(struct cached_leaf *cached)
{
    X509_free(cached->leaf.cert);
    EVP_PKEY_free(cached->leaf.key);
    *cached = (struct cached_leaf){0};
}

void cert_authority_free(struct cert_authority **ca)
{
    struct cert_authority *a = *ca;

    *ca = NULL;
    if (!a)
        return;
    cert_authority_free(&a->next);
    for (unsigned i = 0; i < CERT_CACHE_MAX; i++)
        leaf_clear(&a->cache[i]);
    for (unsigned i = 0; i < 2; i++)
        NAME_CONSTRAINTS_free(a->constraints[i]);
    sk_X509_pop_free(a->chain, X509_free);
    EVP_PKEY_free(a->intermediate_key);
    X509_free(a->intermediate);
    X509_free(a->root);
    free(a);
}

uint64_t cert_authority_expires_s(const struct cert_authority *ca)
{
    return ca->expires_s;
}

/* The cached leaf of the host, or the slot that a new one shall take. */
static struct cached_leaf *find(struct cert_authority *ca, const uint8_t id[32], bool *ret_hit)
{
    struct cached_leaf *oldest = &ca->cache[0];

    for (unsigned i = 0; i < CERT_CACHE_MAX; i++) {
        struct cached_leaf *c = &ca->cache[i];

        if (c->used && memcmp(c->leaf.id, id, 32) == 0) {
            *ret_hit = true;
            return c;
        }
        if (c->used < oldest->used)
            oldest = c;
    }
    *ret_hit = false;
    return oldest;
}

static int mint(const struct cert_authority *ca, const char *host, uint64_t now_s,
                struct cached_leaf *ret_cached)
{
    uint64_t until = now_s + CERT_LEAF_DAYS * DAY_S;
    struct cached_leaf made = {.renew_at_s = until - DAY_S};
    struct cert_request req = {
        .common_name = host,
        .host = host,
        .not_before_s = now_s - HOUR_S,
        .not_after_s = until < ca->expires_s ? until : ca->expires_s,
        .issuer = ca->intermediate,
        .issuer_key = ca->intermediate_key,
    };
    int r = cert_key_new(&made.leaf.key);

    if (r < 0)
        return r;
    req.subject_key = made.leaf.key;
    r = cert_issue(&req, &made.leaf.cert);
    /* Fills in what the check looks at: without it a new certificate has no names. */
    if (r == 0 && X509_check_purpose(made.leaf.cert, -1, 0) != 1)
        r = -EINVAL;
    for (unsigned i = 0; r == 0 && i < 2; i++) {
        if (ca->constraints[i] &&
            NAME_CONSTRAINTS_check(made.leaf.cert, ca->constraints[i]) != X509_V_OK)
            r = -EPERM;
    }
    if (r < 0) {
        leaf_clear(&made);
        return r;
    }
    made.leaf.chain = ca->chain;
    *ret_cached = made;
    return 0;
}

int cert_authority_permits(const struct cert_authority *ca, const char *host)
{
    struct cached_leaf made;
    int r = mint(ca, host, ca->expires_s - DAY_S, &made);

    if (r == 0)
        leaf_clear(&made);
    return r == -EPERM && ca->next ? cert_authority_permits(ca->next, host) : r;
}

static int leaf_get(struct cert_authority *ca, const char *host, uint64_t now_s,
                    struct cert_leaf *ret_leaf)
{
    struct cached_leaf made, *cached;
    uint8_t id[32];
    bool hit;
    int r;

    if (now_s >= ca->expires_s)
        return -EKEYEXPIRED;
    if (!EVP_Digest(host, strlen(host), id, NULL, EVP_sha256(), NULL))
        return -ENOMEM;
    cached = find(ca, id, &hit);
    if (!hit || now_s >= cached->renew_at_s) {
        r = mint(ca, host, now_s, &made);
        if (r < 0)
            return r;
        memcpy(made.leaf.id, id, sizeof(id));
        leaf_clear(cached);
        *cached = made;
    }
    cached->used = ++ca->clock;
    *ret_leaf = cached->leaf;
    return 0;
}

int cert_leaf_get(struct cert_authority *ca, const char *host, uint64_t now_s,
                  struct cert_leaf *ret_leaf)
{
    int r = leaf_get(ca, host, now_s, ret_leaf);

    if ((r == -EPERM || r == -EKEYEXPIRED) && ca->next)
        return leaf_get(ca->next, host, now_s, ret_leaf);
    return r;
}
