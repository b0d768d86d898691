/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator: owns every steered connection from accept to end and calls
 * the stages in order. Forwarding comes first everywhere; metering may fail.
 *
 *   accepted -> origin -> peek hello -+-> splice (no provider, or a gap's reason)
 *               \-> connect upstream -+-> TLS upstream -> TLS client -> pump
 *
 * At most CONNS_MAX connections; each holds pump memory only while bytes wait.
 */
#pragma once

#include "agent/caller.h"
#include "agent/gap.h"
#include "agent/price_count.h"
#include "bpf/abi.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONNS_MAX 8192

struct conns;
struct body_budget; /* agent/body.h */

/* Everything is borrowed and outlives the connections. */
struct conn_env {
    struct loop *loop;
    struct tls *tls;
    struct cert_authority *ca;
    const struct config *config;
    const struct provider_set *providers;
    const struct price_table *prices;
    struct estimator *estimator;
    const uint8_t *fingerprint_key;
    struct publish *publish;
    struct gap *gap;
    struct inflight *inflight;
    struct refuse *refuse;
    struct upstreams *upstreams;
    struct peer *peer;
    struct origin *origin; /* set when the helper has said hello */
};

/* Counters only grow; `open` is a level. */
struct conns_stats {
    uint64_t accepted, no_origin, broken_early;
    uint64_t verdicts[VERDICT__COUNT];
    uint64_t upstream_failed, upstream_other_address, upstream_tls_failed, upstream_tls_resumed;
    uint64_t client_tls_failed, client_tls_resumed, tls_established;
    uint64_t calls, calls_unpublished, meter_failed, upgraded, held_dropped, caller_unknown;
    uint64_t request_bytes, response_bytes, spliced_bytes;
    uint64_t cut_by_drain;
    uint64_t added_ns_total;
    struct price_counts costs;
    uint32_t open, calls_open, held_events;
};

int conns_new(const struct conn_env *env, struct conns **ret_conns) LECTR_MUST_USE;
void conns_free(struct conns **conns);
void conns_set_origin(struct conns *cs, struct origin *origin);

/* Takes the accepted, non-blocking socket over. */
void conns_accept(struct conns *cs, int fd, const struct sockaddr_storage *from,
                  uint64_t netns_cookie);
bool conns_full(const struct conns *cs);
/* The helper's answer to a query of ours. */
void conns_caller(struct conns *cs, uint64_t query, const struct caller *caller);
/* Every 100 ms. */
void conns_tick(struct conns *cs);
/* Ends what is still open; its open calls end as cut off. */
void conns_cut(struct conns *cs);

const struct conns_stats *conns_stats(const struct conns *cs);
/* What decoding bodies holds, and which failed. */
const struct body_budget *conns_bodies(const struct conns *cs);
