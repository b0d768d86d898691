/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define HEAD_BYTES 9
#define SETTING_BYTES 6
#define TABLE_DEFAULT_BYTES 4096

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* What of the payload comes next. */
enum part {
    PART_HEAD,  /* of the frame */
    PART_PAD,   /* the pad length */
    PART_SMALL, /* a fixed part */
    PART_BODY,  /* data, or a fragment of a header block */
    PART_SKIP,
};

struct direction {
    nghttp2_hd_inflater *inflater;
    nghttp2_mem mem; /* the decoder's, by pointer */
    size_t allocated_bytes;
    uint32_t table_bytes, table_allowed_bytes; /* as the decoder knows it; as the other side says */
    uint8_t preface_left;
    bool is_settled; /* its first frame was SETTINGS */
    enum part part;
    uint8_t type, flags;
    uint32_t stream;
    uint32_t left; /* of the payload, padding included */
    uint32_t pad;
    uint8_t small[HEAD_BYTES];
    uint8_t small_len, small_want;
    bool in_block, block_ends_stream, block_is_pushed;
    uint32_t block_stream;
    uint64_t block_bytes;
    uint64_t ahead_bytes; /* headers beyond HTTP2_RATIO_MAX of the frames; never below zero */
};

struct http2 {
    struct http2_events events;
    struct direction side[2];
    bool broken;
};

/* What the tables hold are header values, keys among them. */
struct block {
    size_t bytes;
    _Alignas(16) uint8_t data[];
};

static struct block *block_of(void *data)
{
    return (struct block *)(void *)((uint8_t *)data - offsetof(struct block, data));
}

static void *wiping_malloc(size_t bytes, void *user)
{
    struct direction *d = user;
    struct block *b;

    if (bytes > HTTP2_DECODER_MAX_BYTES - d->allocated_bytes)
        return NULL;
    b = malloc(sizeof(*b) + bytes);
    if (!b)
        return NULL;
    b->bytes = bytes;
    d->allocated_bytes += bytes;
    return b->data;
}

static void wiping_free(void *data, void *user)
{
    struct direction *d = user;
    struct block *b;

    if (!data)
        return;
    b = block_of(data);
    d->allocated_bytes -= b->bytes;
    explicit_bzero(b, sizeof(*b) + b->bytes);
    free(b);
}

static void *wiping_calloc(size_t count, size_t size, void *user)
{
    void *data = size && count > SIZE_MAX / size ? NULL : wiping_malloc(count * size, user);

    return data ? memset(data, 0, count * size) : NULL;
}

static void *wiping_realloc(void *old, size_t bytes, void *user)
{
    void *data = wiping_malloc(bytes, user);

    if (data && old)
        memcpy(data, old, block_of(old)->bytes < bytes ? block_of(old)->bytes : bytes);
    if (data)
        wiping_free(old, user);
    return data;
}

static int direction_init(struct direction *d)
{
    d->mem = (nghttp2_mem){d, wiping_malloc, wiping_free, wiping_calloc, wiping_realloc};
    d->small_want = HEAD_BYTES;
    d->table_bytes = d->table_allowed_bytes = TABLE_DEFAULT_BYTES;
    return nghttp2_hd_inflate_new2(&d->inflater, &d->mem) ? -ENOMEM : 0;
}

int http2_new(const struct http2_events *events, struct http2 **ret_http)
{
    struct http2 *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->events = *events;
    h->side[HTTP2_CLIENT].preface_left = sizeof(preface) - 1;
    for (int i = 0; i < 2; i++)
        if (direction_init(&h->side[i])) {
            http2_free(&h);
            return -ENOMEM;
        }
    *ret_http = h;
    return 0;
}

void http2_free(struct http2 **http)
{
    struct http2 *h = *http;

    if (!h)
        return;
    for (int i = 0; i < 2; i++)
        if (h->side[i].inflater)
            nghttp2_hd_inflate_del(h->side[i].inflater);
    explicit_bzero(h, sizeof(*h));
    free(h);
    *http = NULL;
}

static enum http2_side side_of(const struct http2 *h, const struct direction *d)
{
    return d == &h->side[HTTP2_CLIENT] ? HTTP2_CLIENT : HTTP2_SERVER;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- settings --- */

/* What one side allows the other's table to be. A larger one may be used from
 * then on, which the other says in a block of its own when it does so. A smaller
 * one it must say too; not all do, and then it never was larger. */
static void setting(struct http2 *h, struct direction *d)
{
    struct direction *other = &h->side[!side_of(h, d)];
    uint32_t id = (uint32_t)d->small[0] << 8 | d->small[1], value = be32(d->small + 2);

    if (id != NGHTTP2_SETTINGS_HEADER_TABLE_SIZE || value <= other->table_allowed_bytes)
        return;
    other->table_allowed_bytes = value < HTTP2_TABLE_MAX_BYTES ? value : HTTP2_TABLE_MAX_BYTES;
}

/* --- header blocks --- */

static int tell_header(struct http2 *h, struct direction *d, const nghttp2_nv *nv)
{
    d->ahead_bytes += nv->namelen + nv->valuelen;
    if (d->ahead_bytes > HTTP2_SLACK_BYTES)
        return -EPROTO;
    if (!d->block_is_pushed)
        h->events.on_header(h->events.user, side_of(h, d), d->block_stream,
                            slice_of(nv->name, nv->namelen), slice_of(nv->value, nv->valuelen));
    return 0;
}

static int inflate(struct http2 *h, struct direction *d, struct slice in, bool last)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(d->inflater, &nv, &flags, in.data, in.len, last);

        if (n < 0)
            return -EPROTO;
        in = slice_of(in.data + n, in.len - (size_t)n);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) && tell_header(h, d, &nv))
            return -EPROTO;
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            return nghttp2_hd_inflate_end_headers(d->inflater) ? -EPROTO : 0;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && in.len == 0)
            return last ? -EPROTO : 0;
    }
}

static int block_end(struct http2 *h, struct direction *d)
{
    enum http2_side from = side_of(h, d);
    int r = inflate(h, d, slice_str(""), true);

    if (r < 0)
        return r;
    d->in_block = false;
    if (d->block_is_pushed)
        return 0;
    h->events.on_block_end(h->events.user, from, d->block_stream);
    if (d->block_ends_stream)
        h->events.on_end(h->events.user, from, d->block_stream);
    return 0;
}

static int block_piece(struct http2 *h, struct direction *d, struct slice piece)
{
    d->block_bytes += piece.len;
    if (d->block_bytes > HTTP2_BLOCK_MAX_BYTES)
        return -EPROTO;
    return inflate(h, d, piece, false);
}

static int block_begin(struct http2 *h, struct direction *d, bool pushed)
{
    if (d->table_bytes != d->table_allowed_bytes &&
        nghttp2_hd_inflate_change_table_size(d->inflater, d->table_allowed_bytes))
        return -EPROTO;
    d->table_bytes = d->table_allowed_bytes;
    d->in_block = true;
    d->block_is_pushed = pushed;
    d->block_ends_stream = !pushed && (d->flags & NGHTTP2_FLAG_END_STREAM);
    d->block_stream = d->stream;
    d->block_bytes = 0;
    if (!pushed)
        h->events.on_block(h->events.user, side_of(h, d), d->stream);
    return 0;
}

/* --- frames --- */

static bool carries_block(uint8_t type)
{
    return type == NGHTTP2_HEADERS || type == NGHTTP2_PUSH_PROMISE || type == NGHTTP2_CONTINUATION;
}

static int frame_end(struct http2 *h, struct direction *d)
{
    d->part = PART_HEAD;
    d->small_len = 0;
    d->small_want = HEAD_BYTES;
    if (carries_block(d->type) && (d->flags & NGHTTP2_FLAG_END_HEADERS))
        return block_end(h, d);
    if (d->type == NGHTTP2_DATA && (d->flags & NGHTTP2_FLAG_END_STREAM))
        h->events.on_end(h->events.user, side_of(h, d), d->stream);
    return 0;
}

static void want_small(struct direction *d, uint8_t bytes)
{
    d->part = PART_SMALL;
    d->small_len = 0;
    d->small_want = bytes;
}

/* What follows the pad length, if there was one. */
static int after_pad(struct http2 *h, struct direction *d)
{
    uint8_t fixed = 0;
    int r = 0;

    switch (d->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_CONTINUATION:
        break;
    case NGHTTP2_HEADERS:
        fixed = d->flags & NGHTTP2_FLAG_PRIORITY ? 5 : 0;
        r = block_begin(h, d, false);
        break;
    case NGHTTP2_PUSH_PROMISE:
        fixed = 4;
        r = block_begin(h, d, true);
        break;
    case NGHTTP2_RST_STREAM:
        fixed = 4;
        break;
    case NGHTTP2_GOAWAY:
        fixed = 8;
        break;
    case NGHTTP2_SETTINGS:
        want_small(d, SETTING_BYTES);
        return 0;
    default:
        d->part = PART_SKIP;
        return 0;
    }
    if (d->left < fixed + d->pad)
        return -EPROTO;
    d->part = PART_BODY;
    if (fixed)
        want_small(d, fixed);
    return r;
}

static bool may_be_padded(uint8_t type)
{
    return type == NGHTTP2_DATA || type == NGHTTP2_HEADERS || type == NGHTTP2_PUSH_PROMISE;
}

/* Of the types that are read here, those that concern the connection as a whole. */
static bool is_of_connection(uint8_t type)
{
    return type == NGHTTP2_SETTINGS || type == NGHTTP2_GOAWAY;
}

static void earn(struct direction *d)
{
    uint64_t earned = HTTP2_RATIO_MAX * (uint64_t)(HEAD_BYTES + d->left);

    d->ahead_bytes -= earned < d->ahead_bytes ? earned : d->ahead_bytes;
}

static int frame_begin(struct http2 *h, struct direction *d)
{
    const uint8_t *p = d->small;

    d->left = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    d->type = p[3];
    d->flags = p[4];
    d->stream = be32(p + 5) & 0x7fffffff;
    d->pad = 0;
    earn(d);
    /* What each side begins with (section 3.4); no other protocol does. */
    if (!d->is_settled && (d->type != NGHTTP2_SETTINGS || d->flags & NGHTTP2_FLAG_ACK))
        return -EPROTO;
    d->is_settled = true;
    if (d->type <= NGHTTP2_CONTINUATION && d->type != NGHTTP2_WINDOW_UPDATE &&
        is_of_connection(d->type) != (d->stream == 0) && d->type != NGHTTP2_PING)
        return -EPROTO;
    /* A block is not interrupted, and only a begun one goes on (section 6.10). */
    if (d->in_block != (d->type == NGHTTP2_CONTINUATION) ||
        (d->in_block && d->stream != d->block_stream))
        return -EPROTO;
    if (may_be_padded(d->type) && (d->flags & NGHTTP2_FLAG_PADDED)) {
        d->part = PART_PAD;
        return d->left == 0 ? -EPROTO : 0;
    }
    return after_pad(h, d);
}

/* A fixed part is complete. */
static int small_end(struct http2 *h, struct direction *d)
{
    enum http2_side from = side_of(h, d);

    switch (d->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_PUSH_PROMISE:
        d->part = PART_BODY;
        return 0;
    case NGHTTP2_SETTINGS:
        d->small_len = 0;
        setting(h, d);
        return 0;
    case NGHTTP2_RST_STREAM:
        h->events.on_reset(h->events.user, from, d->stream, be32(d->small));
        break;
    case NGHTTP2_GOAWAY:
        h->events.on_goaway(h->events.user, from, be32(d->small) & 0x7fffffff, be32(d->small + 4));
        break;
    default:
        break;
    }
    d->part = PART_SKIP;
    return 0;
}

/* Collects into `small`; true when it is complete. */
static bool collect(struct direction *d, struct slice *bytes)
{
    size_t want = d->small_want - d->small_len;
    size_t n = want < bytes->len ? want : bytes->len;

    memcpy(d->small + d->small_len, bytes->data, n);
    d->small_len += (uint8_t)n;
    *bytes = slice_of(bytes->data + n, bytes->len - n);
    return d->small_len == d->small_want;
}

static int read_small(struct http2 *h, struct direction *d, struct slice *bytes)
{
    size_t before = bytes->len;
    bool whole;

    if (d->left < (uint32_t)(d->small_want - d->small_len))
        return -EPROTO; /* the frame ends inside it */
    whole = collect(d, bytes);
    d->left -= (uint32_t)(before - bytes->len);
    return whole ? small_end(h, d) : 0;
}

static int read_pad(struct http2 *h, struct direction *d, struct slice *bytes)
{
    d->pad = bytes->data[0];
    *bytes = slice_of(bytes->data + 1, bytes->len - 1);
    d->left--;
    return d->pad > d->left ? -EPROTO : after_pad(h, d);
}

/* Data or a fragment, up to the padding. */
static int read_body(struct http2 *h, struct direction *d, struct slice *bytes)
{
    size_t n = d->left - d->pad;
    struct slice piece;

    if (n > bytes->len)
        n = bytes->len;
    piece = slice_of(bytes->data, n);
    *bytes = slice_of(bytes->data + n, bytes->len - n);
    d->left -= (uint32_t)n;
    if (d->left == d->pad)
        d->part = PART_SKIP;
    if (carries_block(d->type))
        return block_piece(h, d, piece);
    if (n)
        h->events.on_data(h->events.user, side_of(h, d), d->stream, piece);
    return 0;
}

static int read_part(struct http2 *h, struct direction *d, struct slice *bytes)
{
    switch (d->part) {
    case PART_HEAD:
        return collect(d, bytes) ? frame_begin(h, d) : 0;
    case PART_PAD:
        return read_pad(h, d, bytes);
    case PART_SMALL:
        return read_small(h, d, bytes);
    case PART_BODY:
        return read_body(h, d, bytes);
    case PART_SKIP:
        break;
    }
    if (d->left < bytes->len) {
        *bytes = slice_of(bytes->data + d->left, bytes->len - d->left);
        d->left = 0;
    } else {
        d->left -= (uint32_t)bytes->len;
        *bytes = slice_str("");
    }
    return 0;
}

/* The payload is over, or what is left of it is nothing to read. */
static bool frame_is_over(const struct direction *d)
{
    if (d->part == PART_HEAD || d->left > 0)
        return false;
    return d->part == PART_SKIP || d->part == PART_BODY ||
           (d->type == NGHTTP2_SETTINGS && d->small_len == 0);
}

static int read_preface(struct direction *d, struct slice *bytes)
{
    while (d->preface_left && bytes->len) {
        if (bytes->data[0] != (uint8_t)preface[sizeof(preface) - 1 - d->preface_left])
            return -EPROTO;
        d->preface_left--;
        *bytes = slice_of(bytes->data + 1, bytes->len - 1);
    }
    return 0;
}

static int feed(struct http2 *h, struct direction *d, struct slice bytes)
{
    int r = read_preface(d, &bytes);

    while (r == 0 && bytes.len) {
        r = read_part(h, d, &bytes);
        if (r == 0 && frame_is_over(d))
            r = frame_end(h, d);
    }
    return r;
}

int http2_feed(struct http2 *h, enum http2_side from, struct slice bytes)
{
    if (!h->broken && feed(h, &h->side[from], bytes))
        h->broken = true;
    return h->broken ? -EPROTO : 0;
}
