/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two TLS legs of a connection, non-blocking on their descriptors. With
 * cert.c and ca.c the only user of OpenSSL. No logging, no clock.
 *
 * Upstream: TLS 1.2 or newer, the certificate verified against the system's
 * trust store (or the configured file) and the host name; sessions are resumed
 * per (workload, host, ALPN and version offer), at most TLS_SESSIONS_MAX kept. Client: a
 * leaf of the authority; tickets under keys that live in this process only.
 */
#pragma once

#include "agent/cert.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define TLS_SESSIONS_MAX 256
#define TLS_ALPN_MAX 32

struct ssl_st;
struct tls;

enum tls_io {
    TLS_OK,
    TLS_WANT_READ,
    TLS_WANT_WRITE,
    TLS_CLOSED, /* no more to read: close_notify, or FIN alone; see close_notify */
    TLS_RESET,  /* the TCP connection broke */
    TLS_FAILED, /* the TLS protocol broke; `alert` says what the peer said, if anything */
};

/* One leg; embed it, do not move it between _open and _fini. */
struct tls_leg {
    struct ssl_st *ssl;
    struct tls *tls;
    bool plain; /* in clear: there is a descriptor, but no ssl */
    int plain_fd;
    uint8_t session_key[16];
    char alpn[TLS_ALPN_MAX]; /* NUL-terminated; client leg: what is to be chosen */
    uint8_t alert;           /* last fatal alert of the peer; 0: none */
    bool close_notify;       /* the peer said it will send no more */
    bool cert_wanted;        /* upstream asked for a client certificate */
    bool flight_sent;        /* client leg: our certificate is out */
};

/* `ca_file` NULL or empty: the system's store. -EINVAL: no trust anchor could be read. */
int tls_new(const char *ca_file, struct tls **ret_tls) LECTR_MUST_USE;
void tls_free(struct tls **tls);

/* What an upstream leg offers: no more, and nothing weaker, than the client. */
struct tls_offer {
    const char *host;
    struct slice alpn;                 /* the client's list as on the wire */
    uint16_t version_min, version_max; /* as on the wire; 0: whatever we take */
    uint64_t cgroup_id;
};

/* The descriptor stays the caller's. */
int tls_open_upstream(struct tls *tls, int fd, const struct tls_offer *offer,
                      struct tls_leg *ret_leg) LECTR_MUST_USE;
/* `alpn`: what upstream chose; "" when nothing. */
int tls_open_client(struct tls *tls, int fd, const struct cert_leaf *leaf, const char *alpn,
                    struct tls_leg *ret_leg) LECTR_MUST_USE;
/* A leg in clear: read and written as the others are, and there is no
 * close_notify. `alpn`: what is spoken, where it was not negotiated. */
void tls_open_plain(int fd, const char *alpn, struct tls_leg *ret_leg);
/* NULL-safe, repeatable. */
void tls_leg_fini(struct tls_leg *leg);
static inline bool tls_leg_is_open(const struct tls_leg *leg)
{
    return leg->ssl || leg->plain;
}

enum tls_io tls_handshake(struct tls_leg *leg);
/* Upstream, after TLS_FAILED: the certificate did not verify. */
bool tls_untrusted(const struct tls_leg *leg);
/* Client, after a failure or an early end: the alert says "I do not accept that certificate". */
bool tls_refused(const struct tls_leg *leg);
/* Client, after a failure: it had finished its part, so it took the certificate. */
bool tls_peer_finished(const struct tls_leg *leg);
bool tls_resumed(const struct tls_leg *leg);

/* One record at most. */
enum tls_io tls_read(struct tls_leg *leg, void *bytes, size_t cap, size_t *ret_len);
/* True when bytes wait in the leg that no poll will tell about. */
bool tls_has_buffered(const struct tls_leg *leg);
/* May take less than all. After TLS_WANT_* the same bytes must be given again. */
enum tls_io tls_write(struct tls_leg *leg, const void *bytes, size_t len, size_t *ret_len);
/* Sends close_notify. */
enum tls_io tls_close_notify(struct tls_leg *leg);
