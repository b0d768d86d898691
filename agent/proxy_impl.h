/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy process as proxy.c, proxy_start.c and proxy_metrics.c see it. */
#pragma once

#include "agent/conn.h"
#include "agent/estimate_store.h"
#include "agent/ipc.h"
#include "agent/loop.h"
#include "bpf/abi.h"

#include <stdbool.h>

#define LISTENERS_MAX IPC_NETNS_KEYS_MAX
#define FINGERPRINT_KEY_BYTES 32

struct buf;

struct listener {
    struct proxy *proxy;
    int fd; /* -1: free */
    uint64_t netns_cookie;
    int family;
    struct loop_poll *poll;
};

struct proxy {
    const struct config *config;
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_signal *sigterm;
    struct peer *peer;
    struct tls *tls;
    struct cert_authority *ca;
    struct provider_set *providers;
    struct price_table *prices;
    struct estimate_store estimates;
    struct publish *publish;
    struct inflight *inflight;
    struct gap *gap;
    struct refuse *refuse;
    struct upstreams *upstreams;
    struct origin *origin;
    struct conns *conns;
    struct metrics *metrics;
    struct lectr_beat *beat; /* mapped; NULL until the helper said hello */
    uint8_t fingerprint_key[FINGERPRINT_KEY_BYTES];
    int metrics_fd;
    unsigned listeners_count;
    struct listener listeners[LISTENERS_MAX];
    uint64_t ticks;
    bool shedding;
    bool paused;         /* nothing more can be accepted; what comes waits in the queues */
    uint32_t shed_until; /* open connections */
    uint64_t shed_total, shed_at_ns, listeners_refused;
    bool draining;
    uint64_t drain_accept_until_ns, drain_until_ns;
};

/* proxy_start.c: what needs root, then giving it up. -errno; the reason was logged. */
int proxy_prepare(struct proxy *p) LECTR_MUST_USE;

/* proxy_metrics.c */
int proxy_write_metrics(void *user, struct buf *out) LECTR_MUST_USE;
const char *proxy_not_ready(void *user);
