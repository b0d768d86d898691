/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One metered AI call, as the meter knows it: metadata only. Passed by pointer
 * from the meter to whoever makes an event of it. Owned by the meter, valid
 * for the length of the callback. Strings are NUL-terminated, cut at their
 * size, never content. Field meanings are those of proto/lectr.proto.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A number that may be unknown. Unknown is never zero. */
struct opt_u64 {
    uint64_t value;
    bool known;
};

struct opt_i64 {
    int64_t value;
    bool known;
};

struct opt_double {
    double value;
    bool known;
};

static inline struct opt_u64 opt_u64(uint64_t value)
{
    return (struct opt_u64){.value = value, .known = true};
}

/* The same order and values as lectr.v1.Source. */
enum usage_source {
    USAGE_UNKNOWN,
    USAGE_REPORTED,
    USAGE_MEASURED,
    USAGE_ESTIMATED,
};

/* The same order and values as lectr.v1.Outcome. */
enum call_outcome {
    CALL_OUTCOME_UNSPECIFIED,
    CALL_OK,
    CALL_PROVIDER_ERROR,
    CALL_CLIENT_ABORT,
    CALL_UPSTREAM_ABORT,
    CALL_NETWORK_ERROR,
    CALL_POLICY_DENIED,
    CALL_UNMETERABLE,
};

#define CALL_USAGE_MAX 24
#define CALL_RAW_MAX 48

/* One disjoint quantity. `kind`, `modality`, `unit` point to static strings. */
struct usage_row {
    const char *kind;
    const char *modality;
    const char *unit;
    char model[96]; /* empty: the call's own */
    struct opt_u64 count;
    struct opt_u64 low;
    struct opt_u64 high;
    enum usage_source source;
};

/* A usage number as it stood in the answer. */
struct usage_raw {
    char path[96];
    char value[32];
};

struct call_reported {
    struct opt_u64 input_tokens, output_tokens, total_tokens;
    struct opt_u64 cached_input_tokens;
    struct opt_u64 cache_creation_tokens, cache_creation_tokens_5m, cache_creation_tokens_1h;
    struct opt_u64 reasoning_tokens;
    struct opt_u64 audio_input_tokens, audio_output_tokens;
    struct opt_u64 image_input_tokens, image_output_tokens;
    struct opt_u64 tool_use_input_tokens, counted_tokens;
    struct opt_double audio_seconds;
    struct opt_u64 images;
    struct opt_double search_units;
    struct opt_u64 web_search_requests, pages_processed;
    struct opt_i64 cost_nanousd;
    struct usage_raw raw[CALL_RAW_MAX];
    uint32_t raw_count;
};

struct call_cost {
    struct opt_i64 low_nanousd, expected_nanousd, high_nanousd;
    struct opt_i64 list_nanousd; /* basis provider: what the price table says */
    const char *basis;           /* static; agent/price.h lists them */
    char price_version[48];
};

/* [us] */
struct call_latency {
    struct opt_u64 first_byte_us, first_token_us, total_us, mean_gap_us, p95_gap_us;
};

struct call {
    uint64_t start_mono_ns; /* first request byte */
    uint64_t end_mono_ns;   /* last response byte, or the abort */
    char provider[32];
    char server_address[256]; /* host the client asked for */
    char api[32];
    const char *operation; /* static */
    char model_requested[160];
    char model_responded[160];
    bool streaming, streaming_requested;
    char http_version[8];
    uint32_t status_code; /* 0: no answer */
    enum call_outcome outcome;
    char error_type[64];
    char error_code[64];
    char finish_reason[64];
    char request_id[128];
    char response_id[160];
    char trace_id[33];
    char service_tier[32];
    struct opt_u64 max_output_tokens;
    uint32_t attempt;     /* 1 = first */
    bool attempt_counted; /* the client library says which it is */
    char logical_call_id[72];
    char sdk[96];
    char billed_organization[96];
    char billed_project[96];
    char feature_header[96];  /* x-lectr-feature, empty when absent */
    char key_fingerprint[20]; /* keyed hash in hex, empty when there was no key */
    struct call_latency latency;
    uint64_t added_ns; /* by the agent: how long it held this call's bytes up */
    struct call_reported reported;
    bool usage_reported, usage_final;
    struct usage_row usage[CALL_USAGE_MAX];
    uint32_t usage_count;
    struct opt_u64 input_tokens_total, output_tokens_total;
    struct call_cost cost;
    uint64_t request_body_bytes, response_body_bytes; /* as on the wire, framing excluded */
    struct opt_u64 limit_requests, remaining_requests, limit_tokens, remaining_tokens;
    struct opt_u64 retry_after_ms;
    bool pending;       /* answered "later": another answer will have the usage */
    bool late;          /* tells what an earlier call may have told, or promised: agent/amend.h */
    char amend_id[160]; /* the provider's id of what this promises, or may complete */
    char result_id[64]; /* the provider's id of what holds the results */
    uint64_t output_bytes; /* of generated text, as measured; 0: none, or not measured */
    uint32_t tool_calls;
    uint32_t stream_events;
    bool stream_complete;
    bool request_complete; /* the provider has all of it */
};
