/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2: a call per stream, many at a time. */
#include "agent/header.h"
#include "agent/http2.h"
#include "agent/meter_impl.h"

#include <errno.h>
#include <stdlib.h>

#define BUCKETS 256
#define ASK_BYTES (sizeof(struct stream) + sizeof(struct ask))
#define READER_BYTES sizeof(struct ask_reader)
#define REPLY_BYTES sizeof(struct reply)

struct stream {
    struct stream *next_in_bucket;
    struct stream *prev, *next; /* oldest first */
    uint32_t id;
    bool begun; /* the request's head is complete: a call */
    bool has_protocol;
    bool is_tunnel; /* CONNECT: its data is no body once the answer agrees */
    bool answered;  /* the final head of the answer is complete */
    bool reply_ended;
    struct meter_session *session; /* of a CONNECT with a protocol (RFC 8441) */
    struct ask *ask;
    struct ask_reader *reader; /* while the request passes */
    struct reply *reply;       /* from the answer's first byte on */
    size_t taken_bytes;        /* of the budget */
};

_Static_assert(sizeof(struct stream) + sizeof(struct ask) + sizeof(struct ask_reader) +
                       sizeof(struct reply) <=
                   METER_STREAM_MAX_BYTES,
               "as the contract says");

/* The header block that is passing in one direction. */
struct block {
    struct stream *stream; /* NULL: nobody wants it */
    bool is_trailers;
    bool untracked, grpc, has_protocol;
    uint16_t status;
    uint8_t method_len;
    char method[32];
    uint16_t path_len;
    char path[HTTP1_TARGET_MAX];
};

struct meter_h2 {
    struct http2 *http;
    struct block block[2]; /* by enum http2_side */
    struct stream *bucket[BUCKETS];
    struct stream *oldest, *newest;
    uint32_t count, last_request;
};

static struct stream **place_of(struct meter_h2 *h2, uint32_t id)
{
    struct stream **at = &h2->bucket[(id >> 1) % BUCKETS];

    while (*at && (*at)->id != id)
        at = &(*at)->next_in_bucket;
    return at;
}

static struct stream *stream_of(struct meter_h2 *h2, uint32_t id)
{
    return *place_of(h2, id);
}

/* False: what all connections may hold is used up. */
static bool take_memory(struct meter *m, struct stream *s, size_t bytes)
{
    if (!body_budget_take(m->env.budget, bytes))
        return false;
    s->taken_bytes += bytes;
    return true;
}

static void give_memory(struct meter *m, struct stream *s, size_t bytes)
{
    body_budget_give(m->env.budget, bytes);
    s->taken_bytes -= bytes;
}

static void reader_free(struct meter *m, struct stream *s)
{
    if (!s->reader)
        return;
    ask_reader_fini(s->reader);
    free(s->reader);
    s->reader = NULL;
    if (s->taken_bytes >= READER_BYTES)
        give_memory(m, s, READER_BYTES);
}

static void stream_free(struct meter *m, struct stream *s)
{
    meter_session_free(&s->session);
    reader_free(m, s);
    meter_ask_free(m, &s->ask);
    if (s->reply) {
        reply_fini(s->reply);
        free(s->reply);
    }
    give_memory(m, s, s->taken_bytes);
    free(s);
}

static void unlink_stream(struct meter_h2 *h2, struct stream *s)
{
    *place_of(h2, s->id) = s->next_in_bucket;
    *(s->prev ? &s->prev->next : &h2->oldest) = s->next;
    *(s->next ? &s->next->prev : &h2->newest) = s->prev;
    h2->count--;
    for (int i = 0; i < 2; i++)
        if (h2->block[i].stream == s)
            h2->block[i].stream = NULL;
}

/* The stream is over; `s` is gone afterwards. */
static void stream_end(struct meter *m, struct stream *s, enum call_outcome outcome)
{
    unlink_stream(m->h2, s);
    if (s->session)
        meter_session_end(&s->session, outcome);
    else if (s->begun)
        meter_call_end(m, s->ask, s->answered ? s->reply : NULL, outcome);
    stream_free(m, s);
}

/* Before its own end. What was answered in whole stays answered. */
static void stream_cut(struct meter *m, struct stream *s, enum meter_end end)
{
    struct reply *reply = s->answered ? s->reply : NULL;

    if (reply && !s->reply_ended)
        reply_end(reply, false);
    stream_end(m, s, s->reply_ended ? meter_outcome(reply) : meter_end_outcome(reply, end));
}

static struct stream *stream_new(struct meter *m, uint32_t id)
{
    struct meter_h2 *h2 = m->h2;
    struct stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->id = id;
    s->ask = calloc(1, sizeof(*s->ask));
    s->reader = calloc(1, sizeof(*s->reader));
    if (!s->ask || !s->reader) {
        stream_free(m, s);
        return NULL;
    }
    ask_reader_init(s->reader, m->provider, m->env.fingerprint_key, m->env.budget);
    ask_begin(s->reader, s->ask, m->now_ns);
    meter_ask_fed(m, s->ask);
    s->prev = h2->newest;
    *(h2->newest ? &h2->newest->next : &h2->oldest) = s;
    h2->newest = s;
    *place_of(h2, id) = s;
    h2->count++;
    return s;
}

/* --- header blocks --- */

/* Each stream beyond the limit is an event; so many of them are made to be a burden. */
static bool is_flooded(const struct meter *m)
{
    return m->counts.untracked >= METER_STREAMS_MAX;
}

static void request_block(struct meter *m, struct block *b, uint32_t id)
{
    struct meter_h2 *h2 = m->h2;

    b->stream = stream_of(h2, id);
    b->is_trailers = b->stream && b->stream->begun;
    if (b->stream || id <= h2->last_request || is_flooded(m))
        return;
    h2->last_request = id;
    b->stream = stream_new(m, id);
    /* One beyond the limit is told at once. */
    if (b->stream)
        b->untracked =
            h2->count > METER_STREAMS_MAX || !take_memory(m, b->stream, ASK_BYTES + READER_BYTES);
}

static void response_block(struct meter *m, struct block *b, uint32_t id)
{
    struct stream *s = stream_of(m->h2, id);

    if (!s || !s->begun)
        return;
    b->is_trailers = s->answered;
    if (!s->reply) {
        if (take_memory(m, s, REPLY_BYTES))
            s->reply = calloc(1, sizeof(*s->reply));
        if (!s->reply) {
            m->counts.untracked++;
            stream_end(m, s, CALL_UNMETERABLE);
            return;
        }
        reply_init(s->reply, m->provider, m->env.budget);
    }
    b->stream = s;
    if (!s->answered)
        reply_begin(s->reply, m->now_ns);
    meter_ask_fed(m, s->ask);
}

static void on_block(void *user, enum http2_side from, uint32_t id)
{
    struct meter *m = user;
    struct block *b = &m->h2->block[from];

    explicit_bzero(b, sizeof(*b));
    if (from == HTTP2_CLIENT)
        request_block(m, b, id);
    else
        response_block(m, b, id);
}

static void pseudo_header(struct block *b, struct slice name, struct slice value)
{
    if (slice_eq(name, slice_str(":method"))) {
        b->method_len = (uint8_t)(value.len < sizeof(b->method) ? value.len : sizeof(b->method));
        memcpy(b->method, value.data, b->method_len);
    } else if (slice_eq(name, slice_str(":path"))) {
        b->path_len = (uint16_t)(value.len < sizeof(b->path) ? value.len : sizeof(b->path));
        memcpy(b->path, value.data, b->path_len);
    } else if (slice_eq(name, slice_str(":protocol"))) {
        b->has_protocol = true;
    } else if (slice_eq(name, slice_str(":status"))) {
        struct opt_u64 status = header_number(value);

        b->status = status.known && status.value < 1000 ? (uint16_t)status.value : 0;
    }
}

static void on_header(void *user, enum http2_side from, uint32_t id, struct slice name,
                      struct slice value)
{
    struct meter *m = user;
    struct block *b = &m->h2->block[from];
    struct stream *s = b->stream;

    (void)id;
    if (!s || !name.len)
        return;
    if (value.len > HTTP1_VALUE_MAX && name.data[0] != ':')
        value.len = HTTP1_VALUE_MAX;
    if (name.data[0] == ':') {
        pseudo_header(b, name, value);
        return;
    }
    if (from == HTTP2_SERVER) {
        reply_header(s->reply, name, value);
        return;
    }
    if (slice_eq(name, slice_str("content-type")) && slice_starts_nocase(value, "application/grpc"))
        b->grpc = true;
    if (!b->is_trailers)
        ask_header(s->reader, name, value);
}

static void request_head(struct meter *m, struct block *b)
{
    struct stream *s = b->stream;
    struct http1_head head = {
        .method = slice_of(b->method, b->method_len),
        .target = slice_of(b->path, b->path_len),
        .major = 2,
    };

    if (b->grpc) {
        m->counts.grpc++;
        stream_end(m, s, CALL_UNMETERABLE);
        return;
    }
    ask_head(s->reader, &head);
    s->begun = true;
    s->is_tunnel = s->ask->is_connect;
    s->has_protocol = b->has_protocol;
    meter_call_begin(m, s->ask, head.method);
    if (b->untracked) {
        m->counts.untracked++;
        stream_end(m, s, CALL_UNMETERABLE);
    }
}

static void response_head(struct meter *m, struct block *b)
{
    struct stream *s = b->stream;

    s->reply->interim = b->status >= 100 && b->status < 200;
    if (s->reply->interim)
        return;
    s->answered = true;
    reply_head(s->reply, s->ask, b->status);
    /* From here on it is the tunnel's. */
    if (s->is_tunnel && b->status >= 200 && b->status < 300) {
        reply_end(s->reply, false);
        if (!s->has_protocol || meter_session_begin(m, s->ask, s->reply, &s->session))
            stream_end(m, s, CALL_UNMETERABLE);
    }
}

static void on_block_end(void *user, enum http2_side from, uint32_t id)
{
    struct meter *m = user;
    struct block *b = &m->h2->block[from];

    (void)id;
    if (b->stream && !b->is_trailers) {
        if (from == HTTP2_CLIENT)
            request_head(m, b);
        else
            response_head(m, b);
    }
    explicit_bzero(b, sizeof(*b));
}

/* --- bodies and ends --- */

static void on_data(void *user, enum http2_side from, uint32_t id, struct slice piece)
{
    struct meter *m = user;
    struct stream *s = stream_of(m->h2, id);

    if (!s || !s->begun)
        return;
    meter_ask_fed(m, s->ask);
    if (s->session) {
        int r = meter_session_feed(s->session, from == HTTP2_CLIENT, piece);

        if (r)
            stream_end(m, s, r > 0 ? CALL_OK : CALL_UNMETERABLE);
        return;
    }
    if (from == HTTP2_CLIENT && s->reader)
        ask_body(s->reader, piece);
    else if (from == HTTP2_SERVER && s->answered && !s->reply_ended)
        reply_body(s->reply, piece, m->now_ns);
}

static void on_end(void *user, enum http2_side from, uint32_t id)
{
    struct meter *m = user;
    struct stream *s = stream_of(m->h2, id);

    if (!s || !s->begun)
        return;
    if (s->session) {
        stream_end(m, s, from == HTTP2_CLIENT ? CALL_CLIENT_ABORT : CALL_UPSTREAM_ABORT);
        return;
    }
    if (from == HTTP2_CLIENT && s->reader) {
        ask_end(s->reader, m->now_ns);
        reader_free(m, s);
    } else if (from == HTTP2_SERVER && s->answered && !s->reply_ended) {
        reply_end(s->reply, true);
        s->reply_ended = true;
    }
    if (s->ask->complete && s->reply_ended)
        stream_end(m, s, meter_outcome(s->reply));
}

static void on_reset(void *user, enum http2_side from, uint32_t id, uint32_t code)
{
    struct meter *m = user;
    struct stream *s = stream_of(m->h2, id);

    (void)code;
    if (s)
        stream_cut(m, s, from == HTTP2_CLIENT ? METER_END_CLIENT : METER_END_UPSTREAM);
}

/* The provider did not look at them: the client may send them again elsewhere. */
static void on_goaway(void *user, enum http2_side from, uint32_t last, uint32_t code)
{
    struct meter *m = user;
    struct stream *s, *next;

    (void)code;
    if (from == HTTP2_CLIENT)
        return;
    for (s = m->h2->oldest; s; s = next) {
        next = s->next;
        if (s->id > last)
            stream_cut(m, s, METER_END_UPSTREAM);
    }
}

/* --- the connection --- */

static void h2_request(struct meter *m, struct slice bytes)
{
    if (http2_feed(m->h2->http, HTTP2_CLIENT, bytes) || is_flooded(m))
        meter_give_up(m, METER_NOT_HTTP);
}

static void h2_response(struct meter *m, struct slice bytes)
{
    if (http2_feed(m->h2->http, HTTP2_SERVER, bytes))
        meter_give_up(m, METER_NOT_HTTP);
}

static void h2_close(struct meter *m, enum meter_end end)
{
    while (m->h2->oldest)
        stream_cut(m, m->h2->oldest, end);
}

static void h2_give_up(struct meter *m)
{
    while (m->h2->oldest) {
        struct stream *s = m->h2->oldest;

        if (s->answered && !s->reply_ended)
            reply_end(s->reply, false);
        stream_end(m, s, CALL_UNMETERABLE);
    }
}

static void h2_free(struct meter *m)
{
    struct meter_h2 *h2 = m->h2;

    if (!h2)
        return;
    while (h2->oldest) {
        struct stream *s = h2->oldest;

        unlink_stream(h2, s);
        stream_free(m, s);
    }
    http2_free(&h2->http);
    explicit_bzero(h2, sizeof(*h2));
    free(h2);
    m->h2 = NULL;
}

static const struct meter_wire h2_wire = {
    .request = h2_request,
    .response = h2_response,
    .close = h2_close,
    .give_up = h2_give_up,
    .free = h2_free,
};

int meter_h2_new(struct meter *m)
{
    const struct http2_events events = {
        .user = m,
        .on_block = on_block,
        .on_header = on_header,
        .on_block_end = on_block_end,
        .on_data = on_data,
        .on_end = on_end,
        .on_reset = on_reset,
        .on_goaway = on_goaway,
    };

    m->wire = &h2_wire;
    m->h2 = calloc(1, sizeof(*m->h2));
    return m->h2 ? http2_new(&events, &m->h2->http) : -ENOMEM;
}
