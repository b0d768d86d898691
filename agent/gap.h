/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of every steered connection, told as Gap and Coverage events.
 * Verdicts are tallied per (workload, provider) and published about once a
 * second; at most GAP_TALLIES_MAX wait, beyond that they are published at once.
 */
#pragma once

#include "agent/caller.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define GAP_TALLIES_MAX 512

/* A steered connection ends in exactly one. */
enum verdict {
    VERDICT_NONE, /* not decided yet */
    VERDICT_METERED,
    VERDICT_NOT_PROVIDER,
    VERDICT_UNTRUSTED_CA,
    VERDICT_ECH,
    VERDICT_CLIENT_CERT,
    VERDICT_NOT_HTTP,
    VERDICT_OUTSIDE_CA,
    VERDICT_HTTP2_UNMETERED, /* what passed could not be followed */
    VERDICT_GRPC,
    VERDICT_UPSTREAM_UNTRUSTED,
    VERDICT_UPSTREAM_TLS,
    VERDICT_OVERLOAD,
    VERDICT__COUNT,
};

/* "metered", or the reason as in lectr.v1.Gap. */
const char *verdict_name(enum verdict v);

struct gap;
struct config;
struct publish;
struct inflight;
struct ipc_census;

int gap_new(const struct config *config, struct publish *publish, struct inflight *inflight,
            struct gap **ret_gap) LECTR_MUST_USE;
/* Publishes what is left. */
void gap_free(struct gap **gap);

/* One connection of `who` to `provider` (empty: not known) came to `v`. Returns
 * the tally, for inflight_slot.decided. */
uint32_t gap_tally(struct gap *g, const struct caller *who, const char *provider, enum verdict v,
                   uint64_t now_wall_ns);
/* Publishes the tallies; the inflight slots are marked as noted. */
void gap_flush(struct gap *g, uint64_t now_wall_ns);
/* A row of the kernel's census. 0: it is in the spool, of this process or of one
 * before, and may be acknowledged. Else it is to be sent again. */
int gap_census(struct gap *g, const struct ipc_census *row) LECTR_MUST_USE;
/* Adopts the in-flight tables of dead processes as agent_died gaps. */
void gap_adopt(struct gap *g);

struct gap_stats {
    uint64_t gaps, coverages, failed, census_rows;
    uint64_t told_before; /* rows and losses that another process had told, or this one */
    uint64_t died_connections, died_calls;
};
void gap_stats(const struct gap *g, struct gap_stats *ret_stats);
