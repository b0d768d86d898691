/* SPDX-License-Identifier: Apache-2.0 */
/* What one request says about the call: from its head and, as it passes, its body. */
#pragma once

#include "agent/body.h"
#include "agent/call.h"
#include "agent/extent.h"
#include "agent/http1.h"
#include "agent/multipart.h"
#include "agent/profile.h"
#include "agent/ws.h"

struct ask {
    struct ask *next;
    uint64_t start_ns, complete_ns;
    /* The meter's: what the agent took for this call's bytes, and who had bytes
     * in the piece that was fed last. */
    uint64_t added_ns;
    uint64_t fed;
    struct ask *next_fed;
    bool complete;
    bool is_head, is_connect;
    const struct profile_operation *operation; /* NULL: none of the provider's */
    uint8_t model_rank, max_rank;
    bool stream;
    struct opt_u64 max_output_tokens;
    uint32_t attempt;
    bool attempt_counted; /* a header says so */
    uint64_t body_bytes;
    struct extent extent; /* of the operations that are measured */
    char model[160];
    char response[160]; /* of the path: an earlier answer's id */
    char service_tier[32];
    char trace_id[33];
    char sdk[96];
    bool sdk_named; /* not by a runtime's name */
    char logical_call_id[72];
    char feature[96];
    char organization[96];
    char project[96];
    char key_fingerprint[20];
    char http_version[8];
    struct ws_extensions extensions; /* offered, should it become a WebSocket */
};

/* The parser of the request that is passing now; one per connection. */
struct ask_reader {
    const struct provider *provider; /* may be NULL */
    const uint8_t *fingerprint_key;  /* may be NULL */
    struct ask *ask;                 /* owned by the meter; NULL: nothing is gathered */
    enum body_coding coding;
    bool is_multipart;
    bool body_wanted;
    struct body body;
    struct body_flow flow;
    struct json json;
    struct extent_scan extent;
    struct multipart multipart;
};

void ask_reader_init(struct ask_reader *r, const struct provider *provider,
                     const uint8_t *fingerprint_key, struct body_budget *budget);
/* Wipes. */
void ask_reader_fini(struct ask_reader *r);
void ask_begin(struct ask_reader *r, struct ask *ask, uint64_t now_ns);
void ask_header(struct ask_reader *r, struct slice name, struct slice value);
void ask_head(struct ask_reader *r, const struct http1_head *head);
void ask_body(struct ask_reader *r, struct slice piece);
void ask_end(struct ask_reader *r, uint64_t now_ns);

const char *ask_operation(const struct ask *ask);
