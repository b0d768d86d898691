/* SPDX-License-Identifier: Apache-2.0 */
/* What one answer says about the call: head, body as it passes, and when. */
#pragma once

#include "agent/answer.h"
#include "agent/ask.h"
#include "agent/eventstream.h"
#include "agent/gaps.h"
#include "agent/extent.h"
#include "agent/sse.h"

enum reply_framing {
    REPLY_UNSEEN, /* no byte of content so far */
    REPLY_JSON,
    REPLY_JSON_ARRAY,
    REPLY_SSE,
    REPLY_EVENTSTREAM,
    REPLY_OTHER,
};

/* What the content-type says of the framing. */
enum reply_says {
    REPLY_SAYS_NOTHING,
    REPLY_SAYS_JSON,
    REPLY_SAYS_SSE,
    REPLY_SAYS_LINES,
    REPLY_SAYS_EVENTSTREAM,
};

struct reply_number {
    const char *name; /* the profile's */
    enum usage_slot slot;
    double value;
};

struct reply {
    const struct provider *provider; /* may be NULL */
    const struct ask *ask;           /* NULL: an answer to nothing */
    bool open;                       /* begun and not ended */
    bool interim;
    enum reply_says says;
    bool done_mark;
    bool cut;       /* the body ended inside a document */
    bool undecoded; /* the rest of the body could not be read: what it says is unknown */
    uint16_t status;
    uint64_t first_byte_ns, first_output_ns, now_ns;
    uint64_t body_bytes;
    enum reply_framing framing;
    enum body_coding coding;
    struct body body;
    struct body_flow flow; /* outlives the single answer, as `provider` does */
    struct json json;
    struct sse sse;
    struct eventstream eventstream;
    struct answer answer;
    struct gaps gaps;
    struct extent_scan extent_scan;
    struct extent extent; /* of the operations that are measured */
    uint64_t data_len;
    uint8_t data_start[8];
    char request_id[128];
    char organization[96];
    char project[96];
    char service_tier[32];
    char model[160];
    char error_type[64];
    uint8_t header_rank[6]; /* of the texts above: how far down the profile's list, from 1 */
    uint32_t number_count;
    struct reply_number numbers[HEADER_NUMBERS_MAX];
    struct opt_u64 limit_requests, remaining_requests, limit_tokens, remaining_tokens;
    struct opt_u64 retry_after_ms;
    bool retry_in_ms;
    struct ws_extensions extensions; /* agreed to, in a 101 */
};

/* `budget` may be NULL: unlimited. */
void reply_init(struct reply *r, const struct provider *provider, struct body_budget *budget);
/* Wipes. */
void reply_fini(struct reply *r);
void reply_begin(struct reply *r, uint64_t now_ns);
void reply_header(struct reply *r, struct slice name, struct slice value);
/* `ask` is borrowed until reply_end. */
void reply_head(struct reply *r, const struct ask *ask, uint16_t status);
void reply_body(struct reply *r, struct slice piece, uint64_t now_ns);
/* The message ended, `whole` or not. */
void reply_end(struct reply *r, bool whole);
/* Adds what the answer said to `call`. */
void reply_fill(const struct reply *r, bool repeats, struct call *call);
bool reply_failed(const struct reply *r);
/* The stream's end mark, or the whole of a document, has been seen. */
bool reply_content_complete(const struct reply *r);
