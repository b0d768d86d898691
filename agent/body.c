/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/body.h"

#include <brotli/decode.h>
#include <errno.h>
#include <stdlib.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* What every allocation of a decoder begins with: its size, for the wipe. */
struct block {
    size_t bytes;
    _Alignas(16) uint8_t data[];
};

static void *wiping_alloc(void *opaque, size_t bytes)
{
    struct body *b = opaque;
    struct body_budget *budget = b->flow->budget;
    struct block *block;

    if (bytes > BODY_WINDOW_MAX_BYTES || b->allocated_bytes + bytes > BODY_WINDOW_MAX_BYTES)
        return NULL;
    if (budget && budget->memory_used_bytes + bytes > budget->memory_limit_bytes)
        return NULL;
    block = malloc(sizeof(*block) + bytes);
    if (!block)
        return NULL;
    block->bytes = bytes;
    b->allocated_bytes += bytes;
    if (budget)
        budget->memory_used_bytes += bytes;
    return block->data;
}

static void wiping_free(void *opaque, void *data)
{
    struct body *b = opaque;
    struct block *block;

    if (!data)
        return;
    block = (struct block *)(void *)((uint8_t *)data - offsetof(struct block, data));
    b->allocated_bytes -= block->bytes;
    if (b->flow->budget)
        b->flow->budget->memory_used_bytes -= block->bytes;
    explicit_bzero(block, sizeof(*block) + block->bytes);
    free(block);
}

static void *zlib_alloc(void *opaque, unsigned items, unsigned size)
{
    return wiping_alloc(opaque, (size_t)items * size);
}

static const struct {
    const char *name;
    enum body_coding coding;
} codings[] = {
    {"", BODY_IDENTITY},   {"identity", BODY_IDENTITY}, {"gzip", BODY_GZIP},
    {"x-gzip", BODY_GZIP}, {"deflate", BODY_DEFLATE},   {"br", BODY_BROTLI},
    {"zstd", BODY_ZSTD},
};

enum body_coding body_coding_of(struct slice value)
{
    while (value.len && (value.data[0] == ' ' || value.data[0] == '\t'))
        value = slice_of(value.data + 1, value.len - 1);
    while (value.len && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++)
        if (slice_eq_nocase(value, slice_str(codings[i].name)))
            return codings[i].coding;
    return BODY_UNKNOWN;
}

void body_init(struct body *b, enum body_coding coding, struct body_flow *flow)
{
    *b = (struct body){.coding = coding, .flow = flow};
}

void body_init_messages(struct body *b, uint8_t window_bits, struct body_flow *flow)
{
    /* zlib's deflate makes 9 of 8, and so do those that use it. */
    *b = (struct body){
        .coding = BODY_MESSAGES, .window_bits = window_bits > 9 ? window_bits : 9, .flow = flow};
}

static void decoder_free(struct body *b)
{
    if (!b->decoder)
        return;
    switch (b->coding) {
    case BODY_GZIP:
    case BODY_DEFLATE:
    case BODY_MESSAGES:
        inflateEnd(b->decoder);
        wiping_free(b, b->decoder);
        break;
    case BODY_BROTLI:
        BrotliDecoderDestroyInstance(b->decoder);
        break;
    case BODY_ZSTD:
        ZSTD_freeDStream(b->decoder);
        break;
    default:
        break;
    }
    b->decoder = NULL;
}

void body_fini(struct body *b)
{
    decoder_free(b);
    body_init(b, BODY_IDENTITY, NULL);
}

static int inflate_new(struct body *b, int window_bits)
{
    z_stream *z = wiping_alloc(b, sizeof(*z));

    if (!z)
        return -ENOMEM;
    *z = (z_stream){.zalloc = zlib_alloc, .zfree = wiping_free, .opaque = b};
    if (inflateInit2(z, window_bits) != Z_OK) {
        wiping_free(b, z);
        return -ENOMEM;
    }
    b->decoder = z;
    return 0;
}

static int zstd_new(struct body *b)
{
    const ZSTD_customMem mem = {wiping_alloc, wiping_free, b};
    ZSTD_DStream *z = ZSTD_createDStream_advanced(mem);

    if (!z)
        return -ENOMEM;
    b->decoder = z;
    /* RFC 9659: a content coding's window is at most 8 MiB. */
    return ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 23)) ? -ENOMEM : 0;
}

static int decoder_new(struct body *b, uint8_t first)
{
    switch (b->coding) {
    case BODY_GZIP:
        return inflate_new(b, 15 + 32);
    case BODY_DEFLATE:
        /* Some servers leave the zlib wrapper away; its first byte is told by
         * the method in its low bits. */
        b->raw_deflate = (first & 0x0f) != 8;
        return inflate_new(b, b->raw_deflate ? -15 : 15);
    case BODY_MESSAGES:
        return inflate_new(b, -b->window_bits);
    case BODY_BROTLI:
        b->decoder = BrotliDecoderCreateInstance(wiping_alloc, wiping_free, b);
        return b->decoder ? 0 : -ENOMEM;
    default:
        return zstd_new(b);
    }
}

/* Hands on what a decoder made of `in_bytes`; -E2BIG when it made too much. */
static int give(struct body *b, size_t in_bytes, struct slice piece, body_sink sink, void *user)
{
    struct body_flow *flow = b->flow;
    struct body_budget *budget = flow->budget;
    uint64_t earned = BODY_RATIO_MAX * (uint64_t)in_bytes;

    flow->ahead_bytes -= earned < flow->ahead_bytes ? earned : flow->ahead_bytes;
    if (!piece.len)
        return 0;
    if (flow->ahead_bytes + piece.len > BODY_SLACK_BYTES)
        return -E2BIG;
    if (budget && piece.len > budget->output_left_bytes)
        return -E2BIG;
    flow->ahead_bytes += piece.len;
    if (budget)
        budget->output_left_bytes -= piece.len;
    sink(user, piece);
    return 0;
}

/* Whether more follows in `z` after what ended there; -EPROTO when it cannot be read. */
static int member_next(struct body *b, z_stream *z, bool *ret_more)
{
    /* Only gzip has members; padding and rubbish after the end is let go. A
     * message's last block may be marked as such, and the window stays. */
    *ret_more = z->avail_in &&
                (b->coding == BODY_MESSAGES || (b->coding == BODY_GZIP && z->next_in[0] == 0x1f));
    if (!*ret_more)
        return 0;
    b->member_ended = false;
    return (b->coding == BODY_MESSAGES ? inflateResetKeep(z) : inflateReset(z)) == Z_OK ? 0
                                                                                        : -EPROTO;
}

static int feed_inflate(struct body *b, struct slice in, body_sink sink, void *user)
{
    uint8_t out[BODY_PIECE_BYTES];
    z_stream *z = b->decoder;
    int r = Z_OK, given = 0;

    z->next_in = (z_const Bytef *)(uintptr_t)in.data;
    z->avail_in = (unsigned)in.len;
    do {
        size_t before = z->avail_in;
        bool more = true;

        if (b->member_ended && member_next(b, z, &more))
            return -EPROTO;
        if (!more)
            return 0;
        z->next_out = out;
        z->avail_out = sizeof(out);
        r = inflate(z, Z_SYNC_FLUSH);
        given =
            give(b, before - z->avail_in, slice_of(out, sizeof(out) - z->avail_out), sink, user);
        explicit_bzero(out, sizeof(out) - z->avail_out);
        if (given)
            return given;
        b->member_ended = r == Z_STREAM_END;
    } while ((r == Z_OK || r == Z_STREAM_END) && (z->avail_in || !z->avail_out));
    if (r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR)
        return 0;
    return r == Z_MEM_ERROR ? -ENOMEM : -EPROTO;
}

static int brotli_error(const BrotliDecoderState *decoder)
{
    BrotliDecoderErrorCode e = BrotliDecoderGetErrorCode(decoder);

    return e <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                   e >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES
               ? -ENOMEM
               : -EPROTO;
}

static int feed_brotli(struct body *b, struct slice in, body_sink sink, void *user)
{
    uint8_t out[BODY_PIECE_BYTES];
    const uint8_t *next_in = in.data;
    size_t avail_in = in.len;
    BrotliDecoderResult r;
    int given;

    if (b->member_ended)
        return 0;
    do {
        uint8_t *next_out = out;
        size_t avail_out = sizeof(out), before = avail_in;

        r = BrotliDecoderDecompressStream(b->decoder, &avail_in, &next_in, &avail_out, &next_out,
                                          NULL);
        given = give(b, before - avail_in, slice_of(out, sizeof(out) - avail_out), sink, user);
        explicit_bzero(out, sizeof(out) - avail_out);
        if (given)
            return given;
    } while (r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT);
    b->member_ended = r == BROTLI_DECODER_RESULT_SUCCESS;
    return r == BROTLI_DECODER_RESULT_ERROR ? brotli_error(b->decoder) : 0;
}

static int zstd_error(size_t r)
{
    switch (ZSTD_getErrorCode(r)) {
    case ZSTD_error_memory_allocation:
    case ZSTD_error_frameParameter_windowTooLarge:
        return -ENOMEM;
    default:
        return -EPROTO;
    }
}

static int feed_zstd(struct body *b, struct slice bytes, body_sink sink, void *user)
{
    uint8_t out[BODY_PIECE_BYTES];
    ZSTD_inBuffer in = {bytes.data, bytes.len, 0};
    bool full = false;

    while (in.pos < in.size || full) {
        ZSTD_outBuffer o = {out, sizeof(out), 0};
        size_t before = in.pos;
        size_t r = ZSTD_decompressStream(b->decoder, &o, &in);
        int given = ZSTD_isError(r) ? zstd_error(r) : 0;

        if (!given)
            given = give(b, in.pos - before, slice_of(out, o.pos), sink, user);
        explicit_bzero(out, sizeof(out));
        if (given)
            return given;
        full = o.pos == sizeof(out);
    }
    return 0;
}

static int feed_coded(struct body *b, struct slice bytes, body_sink sink, void *user)
{
    int r = b->decoder ? 0 : decoder_new(b, bytes.data[0]);

    if (r)
        return r;
    switch (b->coding) {
    case BODY_BROTLI:
        return feed_brotli(b, bytes, sink, user);
    case BODY_ZSTD:
        return feed_zstd(b, bytes, sink, user);
    default:
        return feed_inflate(b, bytes, sink, user);
    }
}

static void fail(struct body *b, int error)
{
    struct body_budget *budget = b->flow->budget;

    b->failed = true;
    decoder_free(b);
    if (!budget)
        return;
    budget->failed_memory += error == -ENOMEM;
    budget->failed_output += error == -E2BIG;
    budget->failed_coding += error == -EPROTO;
}

int body_feed(struct body *b, struct slice bytes, body_sink sink, void *user)
{
    int r;

    if (b->failed)
        return -EPROTO;
    if (!bytes.len)
        return 0;
    if (b->coding == BODY_IDENTITY) {
        sink(user, bytes);
        return 0;
    }
    r = b->coding == BODY_UNKNOWN ? -EPROTO : feed_coded(b, bytes, sink, user);
    if (r)
        fail(b, r);
    return r;
}

int body_message_end(struct body *b, bool takeover, body_sink sink, void *user)
{
    static const uint8_t tail[] = {0, 0, 0xff, 0xff}; /* what the sender left away */
    int r = body_feed(b, slice_of(tail, sizeof(tail)), sink, user);

    if (!r && !takeover && inflateReset(b->decoder) != Z_OK) {
        r = -EPROTO;
        fail(b, r);
    }
    b->member_ended = b->member_ended && takeover;
    return r;
}
