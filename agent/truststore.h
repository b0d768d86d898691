/* SPDX-License-Identifier: Apache-2.0 */
/* Java's form of a PEM bundle: a PKCS#12 file of trusted certificates. It has
 * no password and no MAC, so Java 8 and newer read it without being told one;
 * nothing in it is secret. */
#pragma once

#include "proto/base/cleanup.h"

#include <stdio.h>

#define TRUSTSTORE_CERTS_MAX 4096

/* Each certificate of `pem` (read from where it stands) becomes an entry of
 * `out`. -ENODATA: there is none; -E2BIG: too many; -EBADMSG: broken. */
int truststore_write(FILE *pem, FILE *out) LECTR_MUST_USE;
