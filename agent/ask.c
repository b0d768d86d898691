/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ask.h"
#include "agent/call_estimate.h"
#include "agent/header.h"
#include "agent/keyhash.h"
#include "agent/sdk.h"
#include "agent/text.h"

#include <stdlib.h>

#define RANK_NONE 255

void ask_reader_init(struct ask_reader *r, const struct provider *provider,
                     const uint8_t *fingerprint_key, struct body_budget *budget)
{
    memset(r, 0, sizeof(*r));
    r->provider = provider;
    r->fingerprint_key = fingerprint_key;
    r->flow.budget = budget;
}

static void body_stop(struct ask_reader *r)
{
    body_fini(&r->body);
    json_fini(&r->json);
    explicit_bzero(&r->extent, sizeof(r->extent));
    multipart_fini(&r->multipart);
    r->body_wanted = false;
    r->is_multipart = false;
}

void ask_reader_fini(struct ask_reader *r)
{
    body_stop(r);
    explicit_bzero(r, sizeof(*r));
}

void ask_begin(struct ask_reader *r, struct ask *ask, uint64_t now_ns)
{
    body_stop(r);
    r->ask = ask;
    r->coding = BODY_IDENTITY;
    ask->start_ns = now_ns;
    ask->attempt = 1;
    ask->model_rank = ask->max_rank = RANK_NONE;
}

const char *ask_operation(const struct ask *ask)
{
    return ask->operation ? ask->operation->operation : "other";
}

/* A signature differs from request to request; the key's id within it does not. */
static struct slice signing_key(struct slice value)
{
    static const char mark[] = "Credential=";
    const uint8_t *at = memmem(value.data, value.len, mark, sizeof(mark) - 1), *slash;

    if (!at || !slice_starts_nocase(value, "aws4-"))
        return value;
    at += sizeof(mark) - 1;
    slash = memchr(at, '/', value.len - (size_t)(at - value.data));
    return slash ? slice_of(at, (size_t)(slash - at)) : value;
}

static void take_key(struct ask_reader *r, struct slice value)
{
    static const char *const schemes[] = {"bearer ", "basic "};

    if (value.len)
        value = signing_key(value);

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (slice_starts_nocase(value, schemes[i])) {
            size_t skip = strlen(schemes[i]);

            value = slice_of(value.data + skip, value.len - skip);
        }
    if (!r->fingerprint_key || !value.len || r->ask->key_fingerprint[0])
        return;
    keyhash_hex(r->fingerprint_key, value, r->ask->key_fingerprint);
}

/* traceparent: version-traceid-parent-flags; all zeros is no trace. */
static void take_trace(struct ask *ask, struct slice value)
{
    bool zero = true;

    if (value.len < 55 || value.data[2] != '-' || value.data[35] != '-')
        return;
    for (size_t i = 3; i < 35; i++) {
        if (!strchr("0123456789abcdef", value.data[i]))
            return;
        zero &= value.data[i] == '0';
    }
    if (!zero)
        text_copy(ask->trace_id, sizeof(ask->trace_id), slice_of(value.data + 3, 32));
}

static void take_retry(struct ask *ask, struct slice value)
{
    struct opt_u64 n = header_number(value);

    if (!n.known || n.value >= 1000)
        return;
    ask->attempt = (uint32_t)n.value + 1;
    ask->attempt_counted = true;
}

static void take_attempt(struct ask *ask, struct slice value)
{
    uint32_t n = sdk_attempt(value);

    if (n == 0)
        return;
    ask->attempt = n;
    ask->attempt_counted = true;
}

/* The user agent counts, unless it names but a browser or a runtime. */
static void take_sdk(struct ask *ask, struct slice value, bool is_user_agent)
{
    char name[sizeof(ask->sdk)];
    bool named = sdk_name(value, name, sizeof(name));

    if (ask->sdk[0] && (ask->sdk_named || !named) && !(is_user_agent && named))
        return;
    memcpy(ask->sdk, name, sizeof(name));
    ask->sdk_named = named;
}

/* AWS's id is the SDK's own and the same in its logs; an idempotency key may say
 * something about the business, and only has to be equal. */
static void take_logical(struct ask_reader *r, struct slice value, bool is_own)
{
    struct ask *ask = r->ask;

    if (is_own && sdk_is_id(value))
        text_copy(ask->logical_call_id, sizeof(ask->logical_call_id), value);
    else if (!is_own && r->fingerprint_key && value.len && !ask->logical_call_id[0])
        keyhash_hex(r->fingerprint_key, value, ask->logical_call_id);
}

static bool client_header(struct ask_reader *r, struct slice name, struct slice value)
{
    struct ask *ask = r->ask;

    if (slice_eq_nocase(name, slice_str("user-agent")))
        take_sdk(ask, value, true);
    else if (slice_eq_nocase(name, slice_str("x-goog-api-client")))
        take_sdk(ask, value, false);
    else if (slice_eq_nocase(name, slice_str("x-stainless-retry-count")))
        take_retry(ask, value);
    else if (slice_eq_nocase(name, slice_str("amz-sdk-request")))
        take_attempt(ask, value);
    else if (slice_eq_nocase(name, slice_str("amz-sdk-invocation-id")))
        take_logical(r, value, true);
    else if (slice_eq_nocase(name, slice_str("idempotency-key")))
        take_logical(r, value, false);
    else
        return false;
    return true;
}

void ask_header(struct ask_reader *r, struct slice name, struct slice value)
{
    const struct profile_headers *h = r->provider ? r->provider->headers : NULL;
    struct ask *ask = r->ask;

    if (!ask)
        return;
    if (slice_eq_nocase(name, slice_str("content-encoding"))) {
        r->coding = body_coding_of(value);
    } else if (slice_eq_nocase(name, slice_str("content-type"))) {
        struct multipart *m = &r->multipart;

        r->is_multipart = multipart_init(m, value, NULL, NULL);
    } else if (slice_eq_nocase(name, slice_str("sec-websocket-extensions"))) {
        ws_extensions_add(&ask->extensions, value);
    } else if (slice_eq_nocase(name, slice_str("traceparent"))) {
        take_trace(ask, value);
    } else if (client_header(r, name, value)) {
        return;
    } else if (slice_eq_nocase(name, slice_str("x-lectr-feature"))) {
        text_copy(ask->feature, sizeof(ask->feature), value);
    } else if (h && header_in(h->key, h->key_count, name)) {
        take_key(r, value);
    } else if (h && header_in(h->request_organization, h->request_organization_count, name)) {
        text_copy(ask->organization, sizeof(ask->organization), value);
    } else if (h && header_in(h->request_project, h->request_project_count, name)) {
        text_copy(ask->project, sizeof(ask->project), value);
    }
}

/* The value of the first parameter of that name; empty when there is none. */
static struct slice query_value(struct slice query, const char *name)
{
    size_t name_len = strlen(name);

    while (query.len) {
        const uint8_t *end = memchr(query.data, '&', query.len);
        size_t len = end ? (size_t)(end - query.data) : query.len;

        if (len > name_len && query.data[name_len] == '=' &&
            slice_eq(slice_of(query.data, name_len), slice_str(name)))
            return slice_of(query.data + name_len + 1, len - name_len - 1);
        query = end ? slice_of(end + 1, query.len - len - 1) : slice_of(NULL, 0);
    }
    return query;
}

/* Of the query only the key and, for sessions, the model are looked at. */
static void take_query(struct ask_reader *r, struct slice query)
{
    const struct profile_operation *op = r->ask->operation;
    const struct profile_session *s = op && op->family ? op->family->session : NULL;

    if (r->provider && r->provider->query_key)
        take_key(r, query_value(query, r->provider->query_key));
    for (unsigned i = 0; s && i < s->query_model_count && !r->ask->model[0]; i++)
        text_copy(r->ask->model, sizeof(r->ask->model), query_value(query, s->query_model[i]));
}

/* "https://host/path" -> "/path"; a target that names no path is "/". */
static struct slice target_path(struct slice target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < 2; i++) {
        const uint8_t *slash;
        size_t skip = strlen(schemes[i]);

        if (!slice_starts_nocase(target, schemes[i]))
            continue;
        slash = memchr(target.data + skip, '/', target.len - skip);
        if (!slash)
            return slice_str("/");
        return slice_of(slash, target.len - (size_t)(slash - target.data));
    }
    return target;
}

static void on_model(void *user, struct slice value)
{
    struct ask_reader *r = user;

    if (!r->ask->model[0])
        text_copy(r->ask->model, sizeof(r->ask->model), value);
}

static void on_value(void *user, const struct json_value *v)
{
    struct ask_reader *r = user;
    struct ask *ask = r->ask;
    uint8_t rank = v->field & 0xff;

    switch ((enum profile_field)(v->field & 0xff00)) {
    case FIELD_REQUEST_MODEL:
        if (v->type != JSON_STRING || rank > ask->model_rank || !v->len)
            return;
        ask->model_rank = rank;
        text_copy(ask->model, sizeof(ask->model), v->text);
        break;
    case FIELD_REQUEST_STREAM:
        if (v->type == JSON_TRUE || v->type == JSON_FALSE)
            ask->stream = v->type == JSON_TRUE || ask->operation->streams;
        break;
    case FIELD_REQUEST_MAX: {
        struct opt_u64 n = header_number(v->text);

        if (v->type != JSON_NUMBER || rank > ask->max_rank || !n.known)
            return;
        ask->max_rank = rank;
        ask->max_output_tokens = n;
        break;
    }
    case FIELD_REQUEST_TIER:
        if (v->type == JSON_STRING)
            text_copy(ask->service_tier, sizeof(ask->service_tier), v->text);
        break;
    default:
        break;
    }
}

static void body_start(struct ask_reader *r)
{
    const struct profile_operation *op = r->ask->operation;
    const struct json_events events = {.user = r, .on_value = on_value};

    body_init(&r->body, r->coding, &r->flow);
    r->body_wanted = op && op->family && op->family->request;
    if (r->body_wanted && op->family->request->stream_default)
        r->ask->stream = true;
    if (r->is_multipart) {
        r->multipart.on_model = on_model;
        r->multipart.user = r;
    }
    if (r->body_wanted)
        json_init(&r->json, op->family->request_paths, &events, false);
    if (call_is_measured(op))
        extent_init(&r->extent, EXTENT_REQUEST, &r->ask->extent);
}

void ask_head(struct ask_reader *r, const struct http1_head *head)
{
    struct ask *ask = r->ask;
    struct slice path = target_path(head->target);
    const uint8_t *mark = memchr(path.data, '?', path.len);
    struct provider_route route = {0};
    struct slice query = {0};

    if (!ask)
        return;
    if (mark) {
        query = slice_of(mark + 1, path.len - (size_t)(mark - path.data) - 1);
        path.len = (size_t)(mark - path.data);
    }
    ask->is_head = slice_eq(head->method, slice_str("HEAD"));
    ask->is_connect = slice_eq(head->method, slice_str("CONNECT"));
    ask->http_version[0] = (char)('0' + head->major % 10);
    if (head->major == 1) {
        ask->http_version[1] = '.';
        ask->http_version[2] = (char)('0' + head->minor % 10);
    }
    if (r->provider && provider_route(r->provider, head->method, path, &route) == 0) {
        ask->operation = route.operation;
        ask->stream = route.operation->streams;
        memcpy(ask->model, route.model, sizeof(ask->model));
        memcpy(ask->response, route.response, sizeof(ask->response));
        /* The path's model is the one served, whatever the body says. */
        if (ask->model[0])
            ask->model_rank = 0;
    }
    take_query(r, query);
    body_start(r);
    if (route.model[0])
        ask->model_rank = 0;
}

static void on_piece(void *user, struct slice piece)
{
    struct ask_reader *r = user;

    if (r->is_multipart)
        multipart_feed(&r->multipart, piece);
    else
        json_feed(&r->json, piece);
    if (r->extent.total)
        extent_feed(&r->extent, piece);
}

void ask_body(struct ask_reader *r, struct slice piece)
{
    if (!r->ask)
        return;
    r->ask->body_bytes += piece.len;
    if (r->body_wanted && body_feed(&r->body, piece, on_piece, r)) {
        r->body_wanted = false;
        r->ask->extent.torn = true;
    }
}

void ask_end(struct ask_reader *r, uint64_t now_ns)
{
    if (r->ask) {
        r->ask->complete = true;
        r->ask->complete_ns = now_ns;
        extent_finish(&r->extent);
    }
    body_stop(r);
    r->ask = NULL;
}
