/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's command as its own files see it: ca.c, ca_files.c, ca_rotate.c. */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>

struct x509_st;
struct evp_pkey_st;

#define CA_NEXT "next"       /* folder: the authority that will follow */
#define CA_RETIRED "retired" /* folder: the one that went before */

struct ca_options {
    const char *dir;
    const char *providers;
    bool finish;
};

struct ca_pair {
    struct x509_st *cert;
    struct evp_pkey_st *key;
};

/* ca.c: root and intermediate for the hosts of the profiles, written to `dir`.
 * Like all here it says on stderr what went wrong. */
int ca_make(const struct ca_options *options, const char *dir,
            const char *root_name) LECTR_MUST_USE;
void ca_pair_clear(struct ca_pair *p);

/* ca_files.c: with parents. */
int ca_make_dir(const char *dir) LECTR_MUST_USE;
/* Nothing is overwritten. */
int ca_write(const char *dir, const struct ca_pair *root,
             const struct ca_pair *intermediate) LECTR_MUST_USE;
int ca_read_cert(const char *dir, const char *name, struct x509_st **ret_cert) LECTR_MUST_USE;
/* bundle.crt and truststore.p12 (the same, for Java) anew, each at once: the
 * system's roots, the present one, and the next where there is one; roots.crt:
 * these two alone. */
int ca_write_bundle(const char *dir) LECTR_MUST_USE;

/* ca_rotate.c */
bool ca_is_rotating(const char *dir);
int ca_extend(const struct ca_options *options) LECTR_MUST_USE;
int ca_rotate(const struct ca_options *options) LECTR_MUST_USE;
