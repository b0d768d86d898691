// SPDX-License-Identifier: Apache-2.0
#include "agent/event.h"

#include "proto/base/clock.h"

#include <assert.h>

static_assert((int)CALL_UNMETERABLE == (int)LECTR__V1__OUTCOME__OUTCOME_UNMETERABLE,
              "call_outcome has the values of lectr.v1.Outcome");
static_assert((int)USAGE_ESTIMATED == (int)LECTR__V1__SOURCE__SOURCE_ESTIMATED,
              "usage_source has the values of lectr.v1.Source");

/* Generated structs hold `char *`, which packing only reads. Empty is absent. */
static char *text(const char *s)
{
    union {
        const char *given;
        char *member;
    } u = {.given = s && *s ? s : NULL};

    return u.member;
}

#define SET(m, field, v)                                                                           \
    do {                                                                                           \
        (m)->has_##field = true;                                                                   \
        (m)->field = (v);                                                                          \
    } while (0)

/* Only what is known. */
#define SET_OPT(m, field, opt)                                                                     \
    do {                                                                                           \
        if ((opt).known)                                                                           \
            SET(m, field, (opt).value);                                                            \
    } while (0)

int64_t event_clock_offset(void)
{
    return (int64_t)(clock_wall_ns() - clock_mono_ns());
}

void event_feature(const struct caller *who, const char *header, Lectr__V1__Feature *ret_feature)
{
    const struct {
        const char *value;
        Lectr__V1__Feature__From from;
    } places[] = {
        {header, LECTR__V1__FEATURE__FROM__FROM_HEADER},
        {who->feature_env, LECTR__V1__FEATURE__FROM__FROM_ENVIRONMENT},
        {who->feature_pod, LECTR__V1__FEATURE__FROM__FROM_POD},
        {who->owner, LECTR__V1__FEATURE__FROM__FROM_OWNER},
        {who->process, LECTR__V1__FEATURE__FROM__FROM_COMMAND},
    };

    lectr__v1__feature__init(ret_feature);
    SET(ret_feature, source, LECTR__V1__FEATURE__FROM__FROM_UNKNOWN);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        ret_feature->value = text(places[i].value);
        if (ret_feature->value) {
            ret_feature->source = places[i].from;
            return;
        }
    }
}

void event_workload(const struct caller *who, const struct event_context *ctx,
                    Lectr__V1__Workload *ret_workload)
{
    Lectr__V1__Workload *w = ret_workload;

    lectr__v1__workload__init(w);
    w->cluster = text(ctx->cluster);
    w->node = text(ctx->node);
    w->namespace_ = text(who->namespace_name);
    w->pod = text(who->pod);
    w->container = text(who->container);
    w->owner = text(who->owner);
    w->process = text(who->process);
    w->cgroup = text(who->cgroup);
    /* no process has pid 0: the caller was not resolved, so its uid means nothing */
    if (who->pid > 0) {
        SET(w, pid, who->pid);
        SET(w, uid, who->uid);
    }
}

static void fill_latency(const struct call *c, const struct event_context *ctx,
                         struct event_record *r)
{
    Lectr__V1__Latency *l = &r->latency;

    lectr__v1__latency__init(l);
    SET_OPT(l, connect_us, ctx->connect_us);
    SET_OPT(l, tls_us, ctx->tls_us);
    SET_OPT(l, client_tls_us, ctx->client_tls_us);
    SET_OPT(l, added_us, ctx->added_us);
    SET_OPT(l, first_byte_us, c->latency.first_byte_us);
    SET_OPT(l, first_token_us, c->latency.first_token_us);
    SET_OPT(l, total_us, c->latency.total_us);
    SET_OPT(l, mean_gap_us, c->latency.mean_gap_us);
    SET_OPT(l, p95_gap_us, c->latency.p95_gap_us);
    r->call.latency = l;
}

static void fill_raw(const struct call_reported *c, struct event_record *r)
{
    uint32_t count = c->raw_count < CALL_RAW_MAX ? c->raw_count : CALL_RAW_MAX;

    for (uint32_t i = 0; i < count; i++) {
        lectr__v1__reported__raw__init(&r->raw[i]);
        r->raw[i].path = text(c->raw[i].path);
        r->raw[i].value = text(c->raw[i].value);
        r->raw_list[i] = &r->raw[i];
    }
    r->reported.n_raw = count;
    r->reported.raw = r->raw_list;
}

static void fill_reported(const struct call_reported *c, struct event_record *r)
{
    Lectr__V1__Reported *m = &r->reported;

    lectr__v1__reported__init(m);
    SET_OPT(m, input_tokens, c->input_tokens);
    SET_OPT(m, output_tokens, c->output_tokens);
    SET_OPT(m, total_tokens, c->total_tokens);
    SET_OPT(m, cached_input_tokens, c->cached_input_tokens);
    SET_OPT(m, cache_creation_tokens, c->cache_creation_tokens);
    SET_OPT(m, cache_creation_tokens_5m, c->cache_creation_tokens_5m);
    SET_OPT(m, cache_creation_tokens_1h, c->cache_creation_tokens_1h);
    SET_OPT(m, reasoning_tokens, c->reasoning_tokens);
    SET_OPT(m, audio_input_tokens, c->audio_input_tokens);
    SET_OPT(m, audio_output_tokens, c->audio_output_tokens);
    SET_OPT(m, image_input_tokens, c->image_input_tokens);
    SET_OPT(m, image_output_tokens, c->image_output_tokens);
    SET_OPT(m, tool_use_input_tokens, c->tool_use_input_tokens);
    SET_OPT(m, counted_tokens, c->counted_tokens);
    SET_OPT(m, audio_seconds, c->audio_seconds);
    SET_OPT(m, images, c->images);
    SET_OPT(m, search_units, c->search_units);
    SET_OPT(m, web_search_requests, c->web_search_requests);
    SET_OPT(m, pages_processed, c->pages_processed);
    SET_OPT(m, cost_nanousd, c->cost_nanousd);
    fill_raw(c, r);
    r->call.reported = m;
}

static void fill_usage(const struct call *c, struct event_record *r)
{
    uint32_t count = c->usage_count < CALL_USAGE_MAX ? c->usage_count : CALL_USAGE_MAX;

    for (uint32_t i = 0; i < count; i++) {
        const struct usage_row *row = &c->usage[i];
        Lectr__V1__Usage *m = &r->usage[i];

        lectr__v1__usage__init(m);
        m->kind = text(row->kind);
        m->modality = text(row->modality);
        m->unit = text(row->unit);
        m->model = text(row->model);
        SET_OPT(m, count, row->count);
        SET_OPT(m, low, row->low);
        SET_OPT(m, high, row->high);
        SET(m, source, (Lectr__V1__Source)row->source);
        r->usage_list[i] = m;
    }
    r->call.n_usage = count;
    r->call.usage = r->usage_list;
    SET(&r->call, usage_reported, c->usage_reported);
    SET(&r->call, usage_final, c->usage_final);
    SET_OPT(&r->call, input_tokens_total, c->input_tokens_total);
    SET_OPT(&r->call, output_tokens_total, c->output_tokens_total);
}

static void fill_cost(const struct call_cost *c, struct event_record *r)
{
    Lectr__V1__Cost *m = &r->cost;

    lectr__v1__cost__init(m);
    SET_OPT(m, low_nanousd, c->low_nanousd);
    SET_OPT(m, expected_nanousd, c->expected_nanousd);
    SET_OPT(m, high_nanousd, c->high_nanousd);
    m->price_version = text(c->price_version);
    m->basis = text(c->basis);
    r->call.cost = m;
}

static void fill_rate_limit(const struct call *c, struct event_record *r)
{
    Lectr__V1__RateLimit *m = &r->rate_limit;

    lectr__v1__rate_limit__init(m);
    SET_OPT(m, limit_requests, c->limit_requests);
    SET_OPT(m, remaining_requests, c->remaining_requests);
    SET_OPT(m, limit_tokens, c->limit_tokens);
    SET_OPT(m, remaining_tokens, c->remaining_tokens);
    SET_OPT(m, retry_after_ms, c->retry_after_ms);
    if (m->has_limit_requests || m->has_remaining_requests || m->has_limit_tokens ||
        m->has_remaining_tokens || m->has_retry_after_ms)
        r->call.rate_limit = m;
}

static void fill_policy(const struct event_context *ctx, struct event_record *r)
{
    lectr__v1__policy__init(&r->policy);
    r->policy.decision = text(ctx->policy_decision);
    r->policy.rule = text(ctx->policy_rule);
    if (r->policy.decision)
        r->call.policy = &r->policy;
}

static void fill_request(const struct call *c, Lectr__V1__Call *m)
{
    m->provider = text(c->provider);
    m->server_address = text(c->server_address);
    m->api = text(c->api);
    m->operation = text(c->operation);
    m->model_requested = text(c->model_requested);
    SET(m, streaming_requested, c->streaming_requested);
    m->http_version = text(c->http_version);
    m->trace_id = text(c->trace_id);
    SET_OPT(m, max_output_tokens, c->max_output_tokens);
    if (c->attempt > 0)
        SET(m, attempt, c->attempt);
    m->sdk = text(c->sdk);
    m->key_fingerprint = text(c->key_fingerprint);
    SET(m, request_body_bytes, c->request_body_bytes);
}

static void fill_response(const struct call *c, Lectr__V1__Call *m)
{
    SET(m, status_code, c->status_code);
    SET(m, outcome, (Lectr__V1__Outcome)c->outcome);
    SET(m, streaming, c->streaming);
    m->model_responded = text(c->model_responded);
    m->error_type = text(c->error_type);
    m->error_code = text(c->error_code);
    m->finish_reason = text(c->finish_reason);
    m->request_id = text(c->request_id);
    m->response_id = text(c->response_id);
    m->service_tier = text(c->service_tier);
    m->billed_organization = text(c->billed_organization);
    m->billed_project = text(c->billed_project);
    SET(m, response_body_bytes, c->response_body_bytes);
    SET(m, tool_calls, c->tool_calls);
    /* A file of lines is no stream, but has events too. */
    if (c->streaming || c->stream_events > 0) {
        SET(m, stream_events, c->stream_events);
        SET(m, stream_complete, c->stream_complete);
    }
}

static void fill_context(const struct call *c, const struct caller *who,
                         const struct event_context *ctx, Lectr__V1__Call *m)
{
    uint64_t offset_ns = (uint64_t)ctx->wall_minus_mono_ns;

    SET(m, start_time_unix_nano, c->start_mono_ns + offset_ns);
    SET(m, end_time_unix_nano, c->end_mono_ns + offset_ns);
    m->org = text(who->org[0] ? who->org : ctx->org);
    m->connection_id = text(ctx->connection_id);
    m->logical_call_id = text(c->logical_call_id[0] ? c->logical_call_id : ctx->logical_call_id);
    m->amends = text(ctx->amends);
    if (ctx->server_port > 0)
        SET(m, server_port, ctx->server_port);
}

void event_call(const struct call *c, const struct caller *who, const struct event_context *ctx,
                struct event_record *ret_record)
{
    struct event_record *r = ret_record;

    lectr__v1__call__init(&r->call);
    fill_context(c, who, ctx, &r->call);
    fill_request(c, &r->call);
    fill_response(c, &r->call);
    fill_latency(c, ctx, r);
    fill_reported(&c->reported, r);
    fill_usage(c, r);
    fill_cost(&c->cost, r);
    fill_rate_limit(c, r);
    fill_policy(ctx, r);
    event_feature(who, c->feature_header, &r->feature);
    event_workload(who, ctx, &r->workload);
    r->call.feature = &r->feature;
    r->call.workload = &r->workload;
}
