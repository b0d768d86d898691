/* SPDX-License-Identifier: Apache-2.0 */
/* One validated message of the stream, as the stages after ingest see it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum record_kind {
    RECORD_CALL,
    RECORD_GAP,
    RECORD_COVERAGE,
    RECORD_OTHER, /* alert, rollup: not for the collector */
    RECORD__COUNT,
};

struct opt_count {
    uint64_t value;
    bool known;
};

/* Tokens of one call by kind: disjoint, sums of the usage rows. Totals are this
 * call's own: a known 0 where it only repeats another's, or spends none. */
struct record_tokens {
    uint64_t input, cached_input, cache_write, output, reasoning;
    struct opt_count input_total, output_total;
    bool estimated; /* some row was estimated */
};

/* USD * 1e9; meaningful when `known`. */
struct record_cost {
    bool known;
    int64_t low_nanousd, expected_nanousd, high_nanousd;
};

/* The strings are cut, never NULL, "" when the message did not say. */
struct record {
    enum record_kind kind;
    char instance[64];
    uint32_t part;
    uint64_t seq;
    uint64_t start_ns, end_ns;
    char org[64];
    char provider[64];
    char workload[160]; /* namespace/owner, owner, or the process */
    char feature[96];
    char model[160];        /* as requested; as answered when the request named none */
    char model_billed[160]; /* as answered; as requested when the answer named none */
    char error_type[64];    /* "" for a call that went well */
    bool synthetic;
    struct record_tokens tokens;
    struct record_cost cost;
    char cost_basis[24]; /* how it is known, or why it is not */
    struct opt_count latency_us, ttft_us, added_us;
    /* gap */
    char reason[32];
    uint64_t connections, calls_in_flight, events_lost;
    /* coverage */
    uint64_t seen, metered;
};
