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

/* Usage rows of one call that are told apart; what is beyond is added to "other". */
#define RECORD_USAGE_MAX 16

/* "input/token/reported", "input.audio/token/estimated", "images/image/measured":
 * kind, modality unless it is text, unit, source. */
struct record_usage {
    char name[64];
    uint64_t count;
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
    char region[32];        /* of the provider, as its host's name tells; "" = does not tell */
    char key_fingerprint[64];
    bool synthetic;
    bool is_retry; /* not the first attempt */
    struct record_tokens tokens;
    struct record_usage usage[RECORD_USAGE_MAX]; /* usage_count of them, each name once */
    uint32_t usage_count;
    struct record_cost cost;
    char cost_basis[24]; /* how it is known, or why it is not */
    struct opt_count latency_us, ttft_us, added_us;
    /* gap */
    char reason[32];
    uint64_t connections, calls_in_flight, events_lost;
    /* coverage */
    uint64_t seen, metered;
};
