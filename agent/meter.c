/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/meter_impl.h"
#include "agent/call_estimate.h"
#include "agent/text.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stdlib.h>

void meter_ask_fed(struct meter *m, struct ask *ask)
{
    if (ask->fed == m->pieces)
        return;
    ask->fed = m->pieces;
    ask->added_ns += m->took_ns;
    ask->next_fed = m->fed;
    m->fed = ask;
}

void meter_ask_free(struct meter *m, struct ask **ask)
{
    struct ask **at = &m->fed;

    if (!*ask)
        return;
    while ((*ask)->fed == m->pieces && *at != *ask)
        at = &(*at)->next_fed;
    if ((*ask)->fed == m->pieces)
        *at = (*ask)->next_fed;
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
    memcpy(call->logical_call_id, ask->logical_call_id, sizeof(call->logical_call_id));
    memcpy(call->feature_header, ask->feature, sizeof(call->feature_header));
    memcpy(call->billed_organization, ask->organization, sizeof(call->billed_organization));
    memcpy(call->billed_project, ask->project, sizeof(call->billed_project));
    memcpy(call->key_fingerprint, ask->key_fingerprint, sizeof(call->key_fingerprint));
    call->streaming_requested = ask->stream;
    call->max_output_tokens = ask->max_output_tokens;
    call->attempt = ask->attempt;
    call->attempt_counted = ask->attempt_counted;
    call->request_body_bytes = ask->body_bytes;
    call->request_complete = ask->complete;
    call->added_ns = ask->added_ns;
}

void meter_call_begin(struct meter *m, const struct ask *ask, struct slice method)
{
    struct request_head begin = {
        .method = method,
        .host = slice_str(m->host),
        .provider = m->provider ? provider_name(m->provider) : "",
        .operation = ask_operation(ask),
    };

    m->open++;
    if (m->env.on_begin)
        m->env.on_begin(m->env.user, &begin);
}

struct call *meter_call_fill(struct meter *m, const struct ask *ask, const struct reply *reply)
{
    struct call *call = &m->call;

    memset(call, 0, sizeof(*call));
    fill_ask(m, ask, call);
    if (reply)
        reply_fill(reply, ask->operation && ask->operation->repeats, call);
    if (!call->service_tier[0] && strcmp(ask->service_tier, "auto") != 0)
        memcpy(call->service_tier, ask->service_tier, sizeof(call->service_tier));
    return call;
}

void meter_call_end(struct meter *m, const struct ask *ask, const struct reply *reply,
                    enum call_outcome outcome)
{
    struct call *call = meter_call_fill(m, ask, reply);

    call->outcome = outcome;
    call->end_mono_ns = m->now_ns;
    if (reply)
        call_estimate(m->env.estimator, ask, reply, call);
    call->latency.total_us = opt_u64((m->now_ns - ask->start_ns) / NSEC_PER_USEC);
    m->open--;
    m->env.on_call(m->env.user, call);
}

enum call_outcome meter_outcome(const struct reply *reply)
{
    return reply_failed(reply) ? CALL_PROVIDER_ERROR : CALL_OK;
}

enum call_outcome meter_end_outcome(const struct reply *reply, enum meter_end end)
{
    if (reply && reply_failed(reply))
        return CALL_PROVIDER_ERROR;
    if (reply && reply_content_complete(reply))
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
    return reply ? CALL_UPSTREAM_ABORT : CALL_NETWORK_ERROR;
}

void meter_give_up(struct meter *m, enum meter_state state)
{
    m->state = state;
    m->wire->give_up(m);
}

int meter_new(const struct meter_env *env, enum meter_protocol protocol, struct slice host,
              struct meter **ret_meter)
{
    struct meter *m = calloc(1, sizeof(*m));
    int r;

    if (!m)
        return -ENOMEM;
    m->env = *env;
    m->provider = env->providers ? provider_by_host(env->providers, host) : NULL;
    text_copy(m->host, sizeof(m->host), host);
    r = protocol == METER_HTTP2 ? meter_h2_new(m) : meter_h1_new(m);
    if (r < 0) {
        meter_free(&m);
        return r;
    }
    *ret_meter = m;
    return 0;
}

void meter_free(struct meter **meter)
{
    struct meter *m = *meter;

    if (!m)
        return;
    m->wire->free(m);
    explicit_bzero(m, sizeof(*m));
    free(m);
    *meter = NULL;
}

static void piece_begin(struct meter *m, uint64_t now_mono_ns)
{
    m->now_ns = now_mono_ns;
    m->pieces++;
    m->fed = NULL;
}

void meter_request(struct meter *m, struct slice bytes, uint64_t now_mono_ns)
{
    if (m->state != METER_READING || m->closed || !bytes.len)
        return;
    piece_begin(m, now_mono_ns);
    m->wire->request(m, bytes);
}

void meter_request_took(struct meter *m, uint64_t ns)
{
    for (struct ask *ask = m->fed; ask; ask = ask->next_fed)
        ask->added_ns += ns;
}

void meter_response(struct meter *m, struct slice bytes, uint64_t now_mono_ns)
{
    if (m->state != METER_READING || m->closed || !bytes.len)
        return;
    piece_begin(m, now_mono_ns);
    m->wire->response(m, bytes);
    m->took_ns = 0;
}

void meter_response_took(struct meter *m, uint64_t ns)
{
    m->took_ns = ns;
}

void meter_close(struct meter *m, enum meter_end end, uint64_t now_mono_ns)
{
    if (m->closed)
        return;
    m->closed = true;
    m->now_ns = now_mono_ns;
    m->wire->close(m, end);
}

enum meter_state meter_state(const struct meter *m)
{
    return m->state;
}

const struct meter_counts *meter_counts(const struct meter *m)
{
    return &m->counts;
}

uint32_t meter_calls_open(const struct meter *m)
{
    return m->open;
}
