/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records -> cells: what happened in one bucket of one series. Pure, in memory;
 * holds what one batch touched, the store merges it into what it has.
 *
 * Buckets are on END time. A cell exists at three resolutions: 60, 3600 and
 * 86400 s.
 */
#pragma once

#include "collector/record.h"
#include "collector/sketch.h"
#include "collector/tally.h"
#include "proto/base/cleanup.h"

enum rollup_resolution {
    ROLLUP_MINUTE,
    ROLLUP_HOUR,
    ROLLUP_DAY,
    ROLLUP__COUNT,
};

extern const uint32_t rollup_seconds[ROLLUP__COUNT];

struct rollup_sums {
    uint64_t calls, errors, synthetic;
    uint64_t retries; /* calls that were not the first attempt */
    uint64_t input, cached_input, cache_write, output, reasoning; /* tokens, disjoint */
    uint64_t input_total, output_total;
    /* Calls whose number is not known: never counted as zero. */
    uint64_t input_unknown, output_unknown, cost_unknown;
    uint64_t tokens_estimated; /* calls with an estimated token count */
    int64_t cost_low_nanousd, cost_expected_nanousd, cost_high_nanousd;
    double cost_squares; /* sum of (USD)^2 of calls with a known cost */
};

struct rollup_cell {
    uint32_t seconds;
    int64_t bucket; /* start, Unix seconds */
    int64_t series; /* the store's number of the series */
    struct rollup_sums sums;
    struct sketch latency, ttft, added; /* us */
    struct tally error_types;           /* calls */
    struct tally usage;                 /* kind/unit/source, e.g. input/token/reported */
};

struct rollup;

int rollup_new(struct rollup **ret_rollup) LECTR_MUST_USE;
void rollup_free(struct rollup **rollup);
/* Empties it for the next batch. */
void rollup_reset(struct rollup *r);

/* Adds a call to its minute. -ENOMEM. */
int rollup_add(struct rollup *r, int64_t series, const struct record *rec) LECTR_MUST_USE;
/* Stops at the first negative return of `each` and returns it. */
int rollup_each(struct rollup *r, int (*each)(void *ctx, const struct rollup_cell *cell),
                void *ctx) LECTR_MUST_USE;

/* Releases what the cell holds; it is then empty, its key is left. */
void rollup_cell_fini(struct rollup_cell *cell);
/* Empties it, keeps memory of the sketches. */
void rollup_cell_reset(struct rollup_cell *cell);
/* Adds the sums, sketches and tallies. -ENOMEM: `into` may then hold part of it. */
int rollup_cell_merge(struct rollup_cell *into, const struct rollup_cell *from) LECTR_MUST_USE;
void rollup_sums_add(struct rollup_sums *into, const struct rollup_sums *from);
