/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS ClientHello, read from peeked bytes. Pure and stateless: call again
 * with a longer prefix of the same stream while it answers HELLO_MORE. The
 * message may span several records; any byte string is safe to give.
 */
#pragma once

#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* No more than this many bytes of a connection are ever looked at. */
#define HELLO_MAX_BYTES 16384
#define HELLO_ALPN_MAX 256

enum hello_result {
    HELLO_OK,      /* ret_hello is filled */
    HELLO_MORE,    /* a prefix of a ClientHello */
    HELLO_NOT_TLS, /* what came first is no ClientHello */
};

struct hello {
    char sni[256];                /* lower case, NUL-terminated; empty: none or no host name */
    uint8_t alpn[HELLO_ALPN_MAX]; /* the client's list as on the wire (length, name)* */
    uint16_t alpn_len;            /* 0: not offered */
    bool ech;                     /* carries encrypted_client_hello other than an empty one */
    bool tls12_or_newer;          /* what it offers reaches TLS 1.2 */
    /* The lowest and the highest version offered, up to TLS 1.3, as on the wire;
     * the lowest is 0 when an old hello does not say. */
    uint16_t version_min, version_max;
    /* Names the client's TLS stack and settings, not the connection: versions,
     * suites, extension types (sorted, GREASE and per-connection ones left
     * out), groups, signature algorithms. */
    uint64_t fingerprint;
};

enum hello_result hello_parse(struct slice bytes, struct hello *ret_hello);
