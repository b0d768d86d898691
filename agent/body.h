/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content decoding: identity, gzip, deflate (with or without its wrapper), br,
 * zstd, in pieces of any size. Output comes in pieces of at most
 * BODY_PIECE_BYTES, wiped after each. A decoder is made when the first byte
 * comes and its memory is wiped when it is released.
 *
 * Limits, beyond each of which the body fails and nothing more comes out:
 *  - gzip and deflate hold 48 KiB; br and zstd grow with what the body's window
 *    really uses, at most BODY_WINDOW_MAX_BYTES;
 *  - all decoders together hold what the owner's body_budget allows, and give
 *    what it allows until it is refilled;
 *  - the bodies of one direction of a connection are never more than
 *    BODY_SLACK_BYTES ahead of BODY_RATIO_MAX times what they took. JSON and event streams shrink
 * to a third or a thirtieth; what grows more is made to exhaust its reader.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#define BODY_PIECE_BYTES 4096
#define BODY_WINDOW_MAX_BYTES (10 * 1024 * 1024)
#define BODY_RATIO_MAX 64
#define BODY_SLACK_BYTES (8 * 1024 * 1024)

enum body_coding {
    BODY_IDENTITY,
    BODY_GZIP,
    BODY_DEFLATE,
    BODY_BROTLI,
    BODY_ZSTD,
    BODY_MESSAGES, /* permessage-deflate (RFC 7692): see body_init_messages() */
    BODY_UNKNOWN,  /* a coding, or a pile of them, that is not known here */
};

/* What all decoders of a process, and HTTP/2's streams, share. The owner sets the limit, refills
 * `output_left_bytes` as time passes (so that decoding never takes all of it) and
 * reads the counters; it outlives the bodies. */
struct body_budget {
    size_t memory_limit_bytes, memory_used_bytes;
    uint64_t output_left_bytes;
    uint64_t failed_coding; /* bodies that were no such coding, or none that is known */
    uint64_t failed_memory; /* bodies whose decoder found no room */
    uint64_t failed_output; /* bodies that gave too much */
};

/* For what counts against the same memory. False when there is no room. */
static inline bool body_budget_take(struct body_budget *budget, size_t bytes)
{
    if (!budget)
        return true;
    if (budget->memory_used_bytes + bytes > budget->memory_limit_bytes) {
        budget->failed_memory++;
        return false;
    }
    budget->memory_used_bytes += bytes;
    return true;
}

static inline void body_budget_give(struct body_budget *budget, size_t bytes)
{
    if (budget)
        budget->memory_used_bytes -= bytes;
}

/* One direction of a connection, all its coded bodies. */
struct body_flow {
    struct body_budget *budget; /* borrowed; NULL: unlimited */
    uint64_t ahead_bytes;       /* what came out beyond BODY_RATIO_MAX; never below zero */
};

typedef void (*body_sink)(void *user, struct slice piece);

struct body {
    enum body_coding coding;
    bool failed;
    bool member_ended; /* gzip, zstd: another may follow */
    bool raw_deflate;
    uint8_t window_bits; /* messages */
    void *decoder;
    struct body_flow *flow;
    size_t allocated_bytes;
};

/* `value` of a content-encoding header; empty is identity. */
enum body_coding body_coding_of(struct slice value);
/* `flow` is borrowed until body_fini. */
void body_init(struct body *b, enum body_coding coding, struct body_flow *flow);
/* All compressed messages of one direction; `window_bits` as agreed, 8 to 15. */
void body_init_messages(struct body *b, uint8_t window_bits, struct body_flow *flow);
void body_fini(struct body *b);
/* -EPROTO when the bytes are no such coding, -ENOMEM beyond a limit of memory,
 * -E2BIG beyond one of output; from then on -EPROTO, and nothing comes out. */
int body_feed(struct body *b, struct slice bytes, body_sink sink, void *user) LECTR_MUST_USE;
/* A message of BODY_MESSAGES ended: what is left of it comes out. `takeover`:
 * the next one may refer back to it. Fails as body_feed does. */
int body_message_end(struct body *b, bool takeover, body_sink sink, void *user) LECTR_MUST_USE;
