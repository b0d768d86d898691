/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/meter.h"
#include "agent/call_estimate.h"
#include "agent/reply.h"
#include "agent/text.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stdlib.h>

struct meter {
    struct meter_env env;
    const struct provider *provider;
    enum meter_state state;
    bool closed;
    uint64_t now_ns;
    struct http1 *requests, *responses;
    struct ask_reader reader;
    struct ask *incoming; /* its head is not complete: not begun yet */
    struct ask *first, **last;
    uint32_t open;
    struct reply reply;
    bool reply_waits; /* the answer is whole, its request is not */
    struct call call;
    char host[256];
};

_Static_assert(sizeof(struct meter) + METER_PIPELINE_MAX * sizeof(struct ask) < 192 * 1024,
               "leaves room for the HTTP parsers and zlib's windows");

static void ask_free(struct ask **ask)
{
    if (!*ask)
        return;
    explicit_bzero(*ask, sizeof(**ask));
    free(*ask);
    *ask = NULL;
}

static void fill_ask(const struct meter *m, const struct ask *ask, struct call *call)
{
    call->start_mono_ns = ask->start_ns;
    call->operation = ask_operation(ask);
    text_copy(call->provider, sizeof(call->provider),
              slice_str(m->provider ? provider_name(m->provider) : ""));
    text_copy(call->server_address, sizeof(call->server_address), slice_str(m->host));
    text_copy(call->api, sizeof(call->api),
              slice_str(ask->operation ? profile_api(ask->operation) : ""));
    memcpy(call->model_requested, ask->model, sizeof(call->model_requested));
    memcpy(call->http_version, ask->http_version, sizeof(call->http_version));
    memcpy(call->trace_id, ask->trace_id, sizeof(call->trace_id));
    memcpy(call->sdk, ask->sdk, sizeof(call->sdk));
    memcpy(call->feature_header, ask->feature, sizeof(call->feature_header));
    memcpy(call->billed_organization, ask->organization, sizeof(call->billed_organization));
    memcpy(call->billed_project, ask->project, sizeof(call->billed_project));
    memcpy(call->key_fingerprint, ask->key_fingerprint, sizeof(call->key_fingerprint));
    call->streaming_requested = ask->stream;
    call->max_output_tokens = ask->max_output_tokens;
    call->attempt = ask->attempt;
    call->request_body_bytes = ask->body_bytes;
}

/* Ends the oldest open call. `answered`: m->reply belongs to it. */
static void call_end(struct meter *m, bool answered, enum call_outcome outcome)
{
    struct ask *ask = m->first;
    struct call *call = &m->call;

    memset(call, 0, sizeof(*call));
    fill_ask(m, ask, call);
    if (answered)
        reply_fill(&m->reply, ask->operation && ask->operation->repeats, call);
    if (!call->service_tier[0] && strcmp(ask->service_tier, "auto") != 0)
        memcpy(call->service_tier, ask->service_tier, sizeof(call->service_tier));
    call->outcome = outcome;
    call->end_mono_ns = m->now_ns;
    if (answered)
        call_estimate(m->env.estimator, ask, &m->reply, call);
    call->latency.total_us = opt_u64((m->now_ns - ask->start_ns) / NSEC_PER_USEC);

    m->first = ask->next;
    if (!m->first)
        m->last = &m->first;
    m->open--;
    m->reply_waits = false;
    if (m->reader.ask == ask)
        m->reader.ask = NULL;
    m->reply.ask = NULL;
    ask_free(&ask);
    m->env.on_call(m->env.user, call);
}

static enum call_outcome outcome_of(const struct meter *m)
{
    return reply_failed(&m->reply) ? CALL_PROVIDER_ERROR : CALL_OK;
}

/* Whatever is open cannot be followed any more. */
static void give_up(struct meter *m, enum meter_state state)
{
    m->state = state;
    if (m->first && m->reply.ask == m->first) {
        reply_end(&m->reply, false);
        call_end(m, true, CALL_UNMETERABLE);
    }
    while (m->first)
        call_end(m, false, CALL_UNMETERABLE);
    ask_free(&m->incoming);
    m->reader.ask = NULL;
}

static void request_begin(void *user)
{
    struct meter *m = user;

    ask_free(&m->incoming);
    m->incoming = calloc(1, sizeof(*m->incoming));
    if (m->incoming)
        ask_begin(&m->reader, m->incoming, m->now_ns);
    else
        m->reader.ask = NULL;
}

static void request_header(void *user, struct slice name, struct slice value)
{
    struct meter *m = user;

    ask_header(&m->reader, name, value);
}

static enum http1_body request_head(void *user, const struct http1_head *head)
{
    struct meter *m = user;
    struct ask *ask = m->incoming;
    struct request_head begin = {.method = head->method, .host = slice_str(m->host)};

    if (!ask || m->open >= METER_PIPELINE_MAX) {
        m->state = METER_NOT_HTTP; /* ends in meter_request */
        return HTTP1_BODY_OPAQUE;
    }
    ask_head(&m->reader, head);
    m->incoming = NULL;
    *m->last = ask;
    m->last = &ask->next;
    m->open++;
    begin.provider = m->provider ? provider_name(m->provider) : "";
    begin.operation = ask_operation(ask);
    if (m->env.on_begin)
        m->env.on_begin(m->env.user, &begin);
    /* What follows a CONNECT is the tunnel's once the answer agrees. */
    return HTTP1_BODY_AS_SAID;
}

static void request_body(void *user, struct slice piece)
{
    struct meter *m = user;

    ask_body(&m->reader, piece);
}

static void request_end(void *user)
{
    struct meter *m = user;
    bool is_first = m->reader.ask && m->reader.ask == m->first;

    ask_end(&m->reader, m->now_ns);
    if (is_first && m->reply_waits)
        call_end(m, true, outcome_of(m));
}

static void response_begin(void *user)
{
    struct meter *m = user;

    /* The next answer proves that the last request will not be read further. */
    if (m->reply_waits)
        call_end(m, true, outcome_of(m));
    reply_begin(&m->reply, m->now_ns);
}

static void response_header(void *user, struct slice name, struct slice value)
{
    struct meter *m = user;

    reply_header(&m->reply, name, value);
}

static enum http1_body response_head(void *user, const struct http1_head *head)
{
    struct meter *m = user;
    struct ask *ask = m->first;
    bool tunnel = ask && ask->is_connect && head->status >= 200 && head->status < 300;

    m->reply.interim = head->status >= 100 && head->status < 200 && head->status != 101;
    if (m->reply.interim)
        return HTTP1_BODY_NONE;
    reply_head(&m->reply, ask, head->status);
    if (head->status == 101 || tunnel) {
        m->state = METER_UPGRADED; /* ends in meter_response */
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

    reply_body(&m->reply, piece, m->now_ns);
}

static void response_end(void *user)
{
    struct meter *m = user;

    if (m->reply.interim || m->state != METER_HTTP1) {
        m->reply.open = m->state != METER_HTTP1;
        return;
    }
    reply_end(&m->reply, true);
    if (!m->first || m->reply.ask != m->first)
        return;
    if (m->first->complete)
        call_end(m, true, outcome_of(m));
    else
        m->reply_waits = true;
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
    int r = http1_new(HTTP1_REQUEST, &requests, &m->requests);

    return r ? r : http1_new(HTTP1_RESPONSE, &responses, &m->responses);
}

int meter_new(const struct meter_env *env, struct slice host, struct meter **ret_meter)
{
    struct meter *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    m->env = *env;
    m->last = &m->first;
    m->provider = env->providers ? provider_by_host(env->providers, host) : NULL;
    text_copy(m->host, sizeof(m->host), host);
    ask_reader_init(&m->reader, m->provider, env->fingerprint_key, env->budget);
    reply_init(&m->reply, m->provider, env->budget);
    if (parsers_new(m)) {
        meter_free(&m);
        return -ENOMEM;
    }
    *ret_meter = m;
    return 0;
}

void meter_free(struct meter **meter)
{
    struct meter *m = *meter;

    if (!m)
        return;
    ask_reader_fini(&m->reader);
    reply_fini(&m->reply);
    ask_free(&m->incoming);
    while (m->first) {
        struct ask *ask = m->first;

        m->first = ask->next;
        ask_free(&ask);
    }
    http1_free(&m->requests);
    http1_free(&m->responses);
    explicit_bzero(m, sizeof(*m));
    free(m);
    *meter = NULL;
}

void meter_request(struct meter *m, struct slice bytes, uint64_t now_mono_ns)
{
    if (m->state != METER_HTTP1 || m->closed || !bytes.len)
        return;
    m->now_ns = now_mono_ns;
    if (http1_feed(m->requests, bytes))
        give_up(m, METER_NOT_HTTP);
}

void meter_response(struct meter *m, struct slice bytes, uint64_t now_mono_ns)
{
    if (m->state != METER_HTTP1 || m->closed || !bytes.len)
        return;
    m->now_ns = now_mono_ns;
    if (http1_feed(m->responses, bytes))
        give_up(m, m->state == METER_UPGRADED ? METER_UPGRADED : METER_NOT_HTTP);
    else if (m->state == METER_UPGRADED)
        give_up(m, METER_UPGRADED);
}

static enum call_outcome end_outcome(const struct meter *m, enum meter_end end, bool answered)
{
    if (answered && reply_failed(&m->reply))
        return CALL_PROVIDER_ERROR;
    if (answered && reply_content_complete(&m->reply))
        return CALL_OK;
    switch (end) {
    case METER_END_CLIENT:
        return CALL_CLIENT_ABORT;
    case METER_END_NETWORK:
        return CALL_NETWORK_ERROR;
    case METER_END_CLEAN:
    case METER_END_UPSTREAM:
        break;
    }
    return answered ? CALL_UPSTREAM_ABORT : CALL_NETWORK_ERROR;
}

void meter_close(struct meter *m, enum meter_end end, uint64_t now_mono_ns)
{
    if (m->closed)
        return;
    m->closed = true;
    m->now_ns = now_mono_ns;
    if (m->state == METER_HTTP1 && (end == METER_END_UPSTREAM || end == METER_END_CLEAN))
        http1_finish(m->responses);
    if (m->first && m->reply_waits)
        call_end(m, true, outcome_of(m));
    if (m->first && m->reply.ask == m->first) {
        reply_end(&m->reply, false);
        call_end(m, true, end_outcome(m, end, true));
    }
    while (m->first)
        call_end(m, false, end_outcome(m, end, false));
    ask_free(&m->incoming);
    m->reader.ask = NULL;
}

enum meter_state meter_state(const struct meter *m)
{
    return m->state;
}

uint32_t meter_calls_open(const struct meter *m)
{
    return m->open;
}
