/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates: the loaded authority, and the leaves it mints for the hosts
 * that clients ask for (ECDSA P-256, a key each, in memory only, at most
 * CERT_CACHE_MAX kept, least recently used out first). Pure but for the files
 * read by cert_authority_load(). OpenSSL's types are only named here.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

#define CERT_CACHE_MAX 256
#define CERT_LEAF_DAYS 7

struct x509_st;
struct evp_pkey_st;
struct stack_st_X509;
struct cert_authority;

/* Borrowed: valid until the next call of cert_leaf_get(). */
struct cert_leaf {
    struct x509_st *cert;
    struct evp_pkey_st *key;
    struct stack_st_X509 *chain; /* what is sent after the leaf */
    uint8_t id[32];              /* SHA-256 of the host */
};

/* Reads ca.crt, intermediate.crt and intermediate.key of `dir`, and of its folder
 * `next` where there is one: that signs what the first may not. Never ca.key.
 * -ENOENT and the like from the files; -EINVAL when they do not belong together. */
int cert_authority_load(const char *dir, struct cert_authority **ret_ca) LECTR_MUST_USE;
void cert_authority_free(struct cert_authority **ca);
/* Whether a leaf for the host could be made: -EPERM, as of cert_leaf_get(). */
int cert_authority_permits(const struct cert_authority *ca, const char *host) LECTR_MUST_USE;
/* Unix time at which the intermediate expires. */
uint64_t cert_authority_expires_s(const struct cert_authority *ca);

/* A leaf for `host` (lower case). -EPERM: outside the name constraints of the
 * root or the intermediate; -EKEYEXPIRED: the intermediate is out of its time. */
int cert_leaf_get(struct cert_authority *ca, const char *host, uint64_t now_s,
                  struct cert_leaf *ret_leaf) LECTR_MUST_USE;

/* For ca.c and the tests: one certificate made and signed. */
struct cert_request {
    const char *common_name;      /* may be NULL */
    const char *host;             /* leaf: subjectAltName; NULL for an authority */
    const char *name_constraints; /* authority: in OpenSSL's notation; may be NULL */
    int path_len;                 /* authority */
    uint64_t not_before_s, not_after_s;
    struct evp_pkey_st *subject_key;
    struct x509_st *issuer; /* NULL: self-signed */
    struct evp_pkey_st *issuer_key;
};
int cert_issue(const struct cert_request *req, struct x509_st **ret_cert) LECTR_MUST_USE;
int cert_key_new(struct evp_pkey_st **ret_key) LECTR_MUST_USE;

/* SHA-256 in lower-case hex. */
int tls_sha256_hex(struct slice s, char ret_hex[65]) LECTR_MUST_USE;
