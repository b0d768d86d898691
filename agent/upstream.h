/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upstream leg of an exchange. Its TCP connection is begun as soon as the
 * client's is there, from a socket of the client's own network namespace to the
 * original address, as the client asked for it; upstream_acquire() makes it a
 * TLS leg once host and ALPN are known. Waiting for the helper's sockets is
 * bounded by UPSTREAM_WAIT_MS.
 */
#pragma once

#include "agent/pool.h"
#include "agent/tls.h"
#include "bpf/abi.h"

#include <stdbool.h>

#define UPSTREAM_WAIT_MS 3000

struct upstreams;
struct peer;

/* Called with a connecting socket, which becomes the callee's, or with -errno. */
typedef void (*upstream_fn)(void *user, int fd);

/* Embedded in the connection; cleared by its owner before the first use. */
struct upstream_wait {
    struct upstream_wait *prev, *next;
    struct lectr_origin to;
    uint64_t deadline_ms;
    upstream_fn fn;
    void *user;
    bool waiting;
};

int upstreams_new(unsigned pool_size, unsigned sockets_max,
                  struct upstreams **ret_upstreams) LECTR_MUST_USE;
void upstreams_free(struct upstreams **upstreams);
/* `peer` must outlive the upstreams. */
void upstreams_set_peer(struct upstreams *u, struct peer *peer);

/* Begins a connection to the record's original address. Returns the connecting
 * socket; -EINPROGRESS: none was ready, `fn` will be called once, unless
 * cancelled; any other -errno: it cannot be had. */
int upstream_connect(struct upstreams *u, const struct lectr_origin *to, upstream_fn fn, void *user,
                     uint64_t now_ms, struct upstream_wait *wait) LECTR_MUST_USE;
void upstream_cancel(struct upstreams *u, struct upstream_wait *wait);

/* Who wants to speak to whom, and how. */
struct upstream_want {
    uint64_t cgroup_id;
    const char *host;
    struct slice alpn;                 /* the client's offer, as on the wire */
    uint16_t version_min, version_max; /* what the client offered, as on the wire */
    int fd;                            /* connected */
};

/* The TLS leg of an exchange with `want->host`; resumes a session of the same
 * workload when there is one. */
int upstream_acquire(struct tls *tls, const struct upstream_want *want,
                     struct tls_leg *ret_leg) LECTR_MUST_USE;

/* The helper passed a socket; it is taken over. */
void upstreams_put(struct upstreams *u, uint64_t netns_cookie, int family, int fd);
/* After a lot was passed: serves those who wait. */
void upstreams_serve(struct upstreams *u, uint64_t netns_cookie, int family, uint64_t now_ms);
void upstreams_tick(struct upstreams *u, uint64_t now_ms);
void upstreams_drop(struct upstreams *u, uint64_t netns_cookie);
/* Orders the first sockets of a namespace whose listener has just come. */
void upstreams_prepare(struct upstreams *u, uint64_t netns_cookie, int family, uint64_t now_ms);

struct upstreams_stats {
    struct pool_stats pool;
    uint32_t waiting;
    uint64_t waited, timeouts;
};
void upstreams_stats(const struct upstreams *u, struct upstreams_stats *ret_stats);
