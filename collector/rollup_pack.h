/* SPDX-License-Identifier: Apache-2.0 */
/* A cell, or the coverage of a bucket -> lectr.v1.Rollup as it is published. Pure. */
#pragma once

#include "collector/rollup.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/event.h"

/* Gap reasons that one message tells apart; the rest is "other". */
#define ROLLUP_PACK_REASONS_MAX 32

/* `feature` and `model` are NULL for coverage. */
struct rollup_pack_key {
    uint32_t seconds;
    int64_t bucket;
    const char *org, *feature, *provider, *model, *workload;
};

struct rollup_pack_coverage {
    bool is_seen; /* the census told this bucket: seen and metered are known */
    uint64_t seen, metered;
    struct rollup_pack_gap {
        char reason[32];
        uint64_t connections, calls_in_flight, events_lost;
    } gaps[ROLLUP_PACK_REASONS_MAX];
    uint32_t gaps_count;
};

/* Memory for one message at a time. */
struct rollup_packer;
int rollup_packer_new(struct rollup_packer **ret_packer) LECTR_MUST_USE;
void rollup_packer_free(struct rollup_packer **packer);

/* The packed message and its id, which is the same in every revision and every store. The
 * bytes live until the next call. -ENOMEM, -EMSGSIZE. */
int rollup_pack_cell(struct rollup_packer *p, const struct rollup_pack_key *key, uint64_t revision,
                     const struct rollup_cell *cell, struct slice *ret_packed,
                     char ret_id[EVENT_UUID_BYTES]) LECTR_MUST_USE;
int rollup_pack_coverage(struct rollup_packer *p, const struct rollup_pack_key *key,
                         uint64_t revision, const struct rollup_pack_coverage *coverage,
                         struct slice *ret_packed, char ret_id[EVENT_UUID_BYTES]) LECTR_MUST_USE;
/* Adds to the row of the reason. */
void rollup_pack_add_gap(struct rollup_pack_coverage *c, const char *reason, uint64_t connections,
                         uint64_t calls_in_flight, uint64_t events_lost);
/* Grows with everything that is added: counts never fall. */
uint64_t rollup_pack_coverage_revision(const struct rollup_pack_coverage *c);
