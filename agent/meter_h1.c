/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.x: requests may queue up, their answers come one after the other. */
#include "agent/meter_impl.h"

#include <errno.h>
#include <stdlib.h>

struct meter_h1 {
    struct http1 *requests, *responses;
    struct ask_reader reader;
    struct ask *incoming; /* its head is not complete: not begun yet */
    struct ask *first, **last;
    struct reply reply;
    bool reply_waits;              /* the answer is whole, its request is not */
    struct meter_session *session; /* the first ask's, from its 101 on */
};

_Static_assert(sizeof(struct meter_h1) + sizeof(struct meter) +
                       METER_PIPELINE_MAX * sizeof(struct ask) <
                   192 * 1024,
               "leaves room for the HTTP parsers and zlib's windows");

/* Ends the oldest open call. `answered`: the reply belongs to it. */
static void call_end(struct meter *m, bool answered, enum call_outcome outcome)
{
    struct meter_h1 *h1 = m->h1;
    struct ask *ask = h1->first;

    h1->first = ask->next;
    if (!h1->first)
        h1->last = &h1->first;
    h1->reply_waits = false;
    if (h1->reader.ask == ask)
        h1->reader.ask = NULL;
    if (h1->session)
        meter_session_end(&h1->session, outcome);
    else
        meter_call_end(m, ask, answered ? &h1->reply : NULL, outcome);
    h1->reply.ask = NULL;
    meter_ask_free(m, &ask);
}

static void h1_give_up(struct meter *m)
{
    struct meter_h1 *h1 = m->h1;

    if (h1->first && h1->reply.ask == h1->first) {
        reply_end(&h1->reply, false);
        call_end(m, true, CALL_UNMETERABLE);
    }
    while (h1->first)
        call_end(m, false, CALL_UNMETERABLE);
    meter_ask_free(m, &h1->incoming);
    h1->reader.ask = NULL;
}

static void request_begin(void *user)
{
    struct meter *m = user;

    meter_ask_free(m, &m->h1->incoming);
    m->h1->incoming = calloc(1, sizeof(*m->h1->incoming));
    m->h1->reader.ask = NULL;
    if (!m->h1->incoming)
        return;
    ask_begin(&m->h1->reader, m->h1->incoming, m->now_ns);
    meter_ask_fed(m, m->h1->incoming);
}

static void request_header(void *user, struct slice name, struct slice value)
{
    struct meter *m = user;

    ask_header(&m->h1->reader, name, value);
}

static enum http1_body request_head(void *user, const struct http1_head *head)
{
    struct meter *m = user;
    struct ask *ask = m->h1->incoming;

    if (!ask || m->open >= METER_PIPELINE_MAX) {
        m->state = METER_NOT_HTTP; /* ends in h1_request */
        return HTTP1_BODY_OPAQUE;
    }
    ask_head(&m->h1->reader, head);
    m->h1->incoming = NULL;
    *m->h1->last = ask;
    m->h1->last = &ask->next;
    meter_call_begin(m, ask, head->method);
    /* What follows a CONNECT is the tunnel's once the answer agrees. */
    return HTTP1_BODY_AS_SAID;
}

static void request_body(void *user, struct slice piece)
{
    struct meter *m = user;

    ask_body(&m->h1->reader, piece);
}

static void request_end(void *user)
{
    struct meter *m = user;
    bool is_first = m->h1->reader.ask && m->h1->reader.ask == m->h1->first;

    ask_end(&m->h1->reader, m->now_ns);
    if (is_first && m->h1->reply_waits)
        call_end(m, true, meter_outcome(&m->h1->reply));
}

static void response_begin(void *user)
{
    struct meter *m = user;

    /* The next answer proves that the last request will not be read further. */
    if (m->h1->reply_waits)
        call_end(m, true, meter_outcome(&m->h1->reply));
    if (m->h1->first)
        meter_ask_fed(m, m->h1->first);
    reply_begin(&m->h1->reply, m->now_ns);
}

static void response_header(void *user, struct slice name, struct slice value)
{
    struct meter *m = user;

    reply_header(&m->h1->reply, name, value);
}

static enum http1_body response_head(void *user, const struct http1_head *head)
{
    struct meter *m = user;
    struct ask *ask = m->h1->first;
    bool tunnel = ask && ask->is_connect && head->status >= 200 && head->status < 300;

    m->h1->reply.interim = head->status >= 100 && head->status < 200 && head->status != 101;
    if (m->h1->reply.interim)
        return HTTP1_BODY_NONE;
    reply_head(&m->h1->reply, ask, head->status);
    if (head->status == 101 && ask && ask->complete && !ask->next &&
        meter_session_begin(m, ask, &m->h1->reply, &m->h1->session) == 0)
        return HTTP1_BODY_OPAQUE; /* goes on in h1_response */
    if (head->status == 101 || tunnel) {
        m->state = METER_UPGRADED; /* ends in h1_response */
        return HTTP1_BODY_OPAQUE;
    }
    /* Whatever length these say, it is that of what they leave out. */
    if ((ask && ask->is_head) || head->status == 204 || head->status == 304)
        return HTTP1_BODY_NONE;
    return HTTP1_BODY_AS_SAID;
}

static void response_body(void *user, struct slice piece)
{
    struct meter *m = user;

    reply_body(&m->h1->reply, piece, m->now_ns);
}

static void response_end(void *user)
{
    struct meter *m = user;

    if (m->h1->session)
        return;
    if (m->h1->reply.interim || m->state != METER_READING) {
        m->h1->reply.open = m->state != METER_READING;
        return;
    }
    reply_end(&m->h1->reply, true);
    if (!m->h1->first || m->h1->reply.ask != m->h1->first)
        return;
    if (m->h1->first->complete)
        call_end(m, true, meter_outcome(&m->h1->reply));
    else
        m->h1->reply_waits = true;
}

static int parsers_new(struct meter *m)
{
    const struct http1_events requests = {
        .user = m,
        .on_begin = request_begin,
        .on_header = request_header,
        .on_head = request_head,
        .on_body = request_body,
        .on_end = request_end,
    };
    const struct http1_events responses = {
        .user = m,
        .on_begin = response_begin,
        .on_header = response_header,
        .on_head = response_head,
        .on_body = response_body,
        .on_end = response_end,
    };
    int r = http1_new(HTTP1_REQUEST, &requests, &m->h1->requests);

    return r ? r : http1_new(HTTP1_RESPONSE, &responses, &m->h1->responses);
}

static void h1_request(struct meter *m, struct slice bytes)
{
    int r;

    if (m->h1->reader.ask)
        meter_ask_fed(m, m->h1->reader.ask);
    r = http1_feed(m->h1->requests, bytes);
    if (r)
        meter_give_up(m, METER_NOT_HTTP);
}

static void h1_free(struct meter *m);

static void session_feed(struct meter *m, struct slice bytes, bool client)
{
    int r;

    if (!m->h1->session)
        return; /* both sides have said close */
    meter_ask_fed(m, m->h1->first);
    r = meter_session_feed(m->h1->session, client, bytes);
    if (r > 0)
        call_end(m, true, CALL_OK);
    else if (r)
        meter_give_up(m, METER_UPGRADED);
}

static void session_request(struct meter *m, struct slice bytes)
{
    session_feed(m, bytes, true);
}

static void session_response(struct meter *m, struct slice bytes)
{
    session_feed(m, bytes, false);
}

static void session_close(struct meter *m, enum meter_end end)
{
    if (m->h1->session)
        call_end(m, true, end == METER_END_CLIENT ? CALL_CLIENT_ABORT : CALL_UPSTREAM_ABORT);
}

static const struct meter_wire session_wire = {
    .request = session_request,
    .response = session_response,
    .close = session_close,
    .give_up = h1_give_up,
    .free = h1_free,
};

static void h1_response(struct meter *m, struct slice bytes)
{
    int r;
    size_t rest;

    if (m->h1->first)
        meter_ask_fed(m, m->h1->first);
    r = http1_feed(m->h1->responses, bytes);
    rest = http1_rest(m->h1->responses);
    if (m->h1->session) {
        reply_end(&m->h1->reply, true);
        m->wire = &session_wire;
        session_feed(m, slice_of(bytes.data + bytes.len - rest, rest), false);
    } else if (r || m->state == METER_UPGRADED) {
        meter_give_up(m, m->state == METER_UPGRADED ? METER_UPGRADED : METER_NOT_HTTP);
    }
}

static void h1_close(struct meter *m, enum meter_end end)
{
    struct meter_h1 *h1 = m->h1;

    if (m->state == METER_READING && (end == METER_END_UPSTREAM || end == METER_END_CLEAN))
        http1_finish(h1->responses);
    if (h1->first && h1->reply_waits)
        call_end(m, true, meter_outcome(&h1->reply));
    if (h1->first && h1->reply.ask == h1->first) {
        reply_end(&h1->reply, false);
        call_end(m, true, meter_end_outcome(&h1->reply, end));
    }
    while (h1->first)
        call_end(m, false, meter_end_outcome(NULL, end));
    meter_ask_free(m, &h1->incoming);
    h1->reader.ask = NULL;
}

static void h1_free(struct meter *m)
{
    struct meter_h1 *h1 = m->h1;

    if (!h1)
        return;
    meter_session_free(&h1->session);
    ask_reader_fini(&h1->reader);
    reply_fini(&h1->reply);
    meter_ask_free(m, &h1->incoming);
    while (h1->first) {
        struct ask *ask = h1->first;

        h1->first = ask->next;
        meter_ask_free(m, &ask);
    }
    http1_free(&h1->requests);
    http1_free(&h1->responses);
    explicit_bzero(h1, sizeof(*h1));
    free(h1);
    m->h1 = NULL;
}

static const struct meter_wire h1_wire = {
    .request = h1_request,
    .response = h1_response,
    .close = h1_close,
    .give_up = h1_give_up,
    .free = h1_free,
};

int meter_h1_new(struct meter *m)
{
    struct meter_h1 *h1 = m->h1 = calloc(1, sizeof(*h1));

    m->wire = &h1_wire;
    if (!h1)
        return -ENOMEM;
    h1->last = &h1->first;
    ask_reader_init(&h1->reader, m->provider, m->env.fingerprint_key, m->env.budget);
    reply_init(&h1->reply, m->provider, m->env.budget);
    return parsers_new(m);
}
