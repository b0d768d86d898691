/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113) as an observer reads it: both directions of one connection,
 * in pieces of any size. The sole user of nghttp2, whose HPACK (RFC 7541)
 * decoder follows the two header tables. Pure; flow control, priorities and the
 * streams' legality are the two ends' business and not looked at.
 *
 * Limits: a header block of more than HTTP2_BLOCK_MAX_BYTES, one that needs a
 * table larger than HTTP2_TABLE_MAX_BYTES, or one with which the decoder of its
 * direction would hold more than HTTP2_DECODER_MAX_BYTES, ends the reading:
 * without the block no later one can be read. (Tables of the default size hold
 * some 20 KiB at most.) A byte may stand for a header of kilobytes: a side whose
 * headers come to be HTTP2_SLACK_BYTES ahead of HTTP2_RATIO_MAX times its frames
 * ends the reading too. Nothing else is kept. A header's value, a key too, stays
 * in its table as long as the peers may refer to it, and is wiped when it goes.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

#define HTTP2_BLOCK_MAX_BYTES (256 * 1024)
#define HTTP2_TABLE_MAX_BYTES (64 * 1024)
#define HTTP2_DECODER_MAX_BYTES (512 * 1024)
#define HTTP2_RATIO_MAX 128
#define HTTP2_SLACK_BYTES (4 * 1024 * 1024)

struct http2;

enum http2_side {
    HTTP2_CLIENT, /* what the client sends */
    HTTP2_SERVER,
};

/* `from` is the side whose bytes say so. Slices are valid until the callback
 * returns. Blocks of pushed streams are decoded and not told. */
struct http2_events {
    void *user;
    /* A header block begins: the head, an interim head, or trailers. */
    void (*on_block)(void *user, enum http2_side from, uint32_t stream);
    /* Pseudo-headers come first and begin with a colon. */
    void (*on_header)(void *user, enum http2_side from, uint32_t stream, struct slice name,
                      struct slice value);
    void (*on_block_end)(void *user, enum http2_side from, uint32_t stream);
    void (*on_data)(void *user, enum http2_side from, uint32_t stream, struct slice piece);
    /* The side sends nothing more on the stream. */
    void (*on_end)(void *user, enum http2_side from, uint32_t stream);
    void (*on_reset)(void *user, enum http2_side from, uint32_t stream, uint32_t code);
    /* Streams above `last_stream` that the other side opened were not looked at. */
    void (*on_goaway)(void *user, enum http2_side from, uint32_t last_stream, uint32_t code);
};

int http2_new(const struct http2_events *events, struct http2 **ret_http) LECTR_MUST_USE;
void http2_free(struct http2 **http);

/* 0; -EPROTO when it is no HTTP/2 or cannot be followed any more, and from then
 * on. */
int http2_feed(struct http2 *h, enum http2_side from, struct slice bytes) LECTR_MUST_USE;
