/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/realtime_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void keep(char *to, size_t size, const struct json_value *v)
{
    if (v->type == JSON_STRING && v->len)
        text_copy(to, size, v->text);
}

static bool stands(const struct json_value *v)
{
    return v->type != JSON_NULL && v->type != JSON_FALSE;
}

/* "models/gemini-x", "projects/p/…/models/gemini-x" -> "gemini-x" */
static void keep_model(char *to, size_t size, const struct json_value *v)
{
    static const char mark[] = "models/";
    struct slice name = v->text;

    if (v->type != JSON_STRING || !name.len)
        return;
    for (size_t at = name.len; at-- > 0;) {
        struct slice rest = slice_of(name.data + at, name.len - at);

        if (slice_starts_nocase(rest, mark)) {
            name = slice_of(rest.data + sizeof(mark) - 1, rest.len - (sizeof(mark) - 1));
            break;
        }
    }
    text_copy(to, size, name);
}

static void on_client_value(void *user, const struct json_value *v)
{
    struct realtime *rt = user;
    struct client_message *m = &rt->said;

    switch ((enum profile_field)v->field) {
    case FIELD_CLIENT_EVENT:
        keep(m->event, sizeof(m->event), v);
        break;
    case FIELD_CLIENT_ID:
        keep(m->id, sizeof(m->id), v);
        break;
    case FIELD_CLIENT_MODEL:
        /* What the upgrade asked for cannot be changed. */
        if (!rt->model_requested[0])
            keep_model(rt->model_requested, sizeof(rt->model_requested), v);
        break;
    case FIELD_ASK:
        m->ask |= stands(v);
        break;
    case FIELD_TRIGGER:
        m->trigger |= stands(v);
        break;
    case FIELD_RESUME:
        m->resume |= stands(v);
        break;
    default:
        break;
    }
}

static void on_server_value(void *user, const struct json_value *v)
{
    struct realtime *rt = user;

    switch ((enum profile_field)v->field) {
    case FIELD_SESSION_ID:
        keep(rt->session_id, sizeof(rt->session_id), v);
        break;
    case FIELD_SESSION_MODEL:
        keep_model(rt->model_responded, sizeof(rt->model_responded), v);
        break;
    case FIELD_ASIDE_MODEL:
        keep_model(rt->aside_model, sizeof(rt->aside_model), v);
        break;
    case FIELD_TURN:
        rt->heard.turn |= stands(v);
        break;
    case FIELD_BEGIN:
        rt->heard.begin |= stands(v);
        break;
    case FIELD_INTERRUPTED:
        rt->heard.interrupted |= stands(v);
        break;
    case FIELD_ERROR_SOURCE:
        keep(rt->heard.error_source, sizeof(rt->heard.error_source), v);
        break;
    default:
        answer_value(&rt->scan, v);
        break;
    }
}

static void on_client_data(void *user, struct slice piece)
{
    struct realtime *rt = user;

    json_feed(&rt->client.json, piece);
}

static void on_server_data(void *user, struct slice piece)
{
    struct realtime *rt = user;

    json_feed(&rt->server.json, piece);
}

/* The message is over: whether it was a document, and its size on the wire. */
static bool finish(struct side_state *side, uint64_t *ret_bytes)
{
    bool whole;

    json_finish(&side->json);
    whole = json_complete(&side->json);
    json_reset(&side->json);
    *ret_bytes = side->ws.payload_bytes - side->seen_bytes;
    side->seen_bytes = side->ws.payload_bytes;
    return whole;
}

static void on_client_message(void *user, bool text)
{
    struct realtime *rt = user;
    const struct profile_session *s = rt->profile;
    struct client_message *m = &rt->said;
    uint64_t bytes;
    bool whole = finish(&rt->client, &bytes);

    (void)text; /* some send their JSON as binary */
    rt->request_bytes += bytes;
    if (whole) {
        if (m->ask || realtime_matches(s->ask_events, s->ask_events_count, m->event))
            turn_ask(rt);
        else if (m->resume)
            turn_resume(rt);
        else if (m->trigger ||
                 realtime_matches(s->trigger_events, s->trigger_events_count, m->event))
            rt->trigger_ns = rt->now_ns;
    }
    explicit_bzero(m, sizeof(*m));
}

static void keep_error(struct realtime *rt)
{
    const struct answer_event *e = &rt->scan.event;

    if (e->error_type.rank != 255)
        text_copy(rt->error_type, sizeof(rt->error_type), slice_str(e->error_type.text));
    if (e->error_code.rank != 255)
        text_copy(rt->error_code, sizeof(rt->error_code), slice_str(e->error_code.text));
}

/* False: the message belongs to no turn. */
static bool server_message(struct realtime *rt, uint64_t bytes)
{
    const struct profile_session *s = rt->profile;
    const struct profile_answer *a = rt->family->answer;
    const char *name = realtime_event(rt);

    if (realtime_matches(s->server_trigger_events, s->server_trigger_events_count, name))
        rt->trigger_ns = rt->now_ns;
    if (realtime_matches(s->aside_events, s->aside_events_count, name)) {
        turn_aside(rt, bytes);
        return true;
    }
    if (realtime_matches(a->error_events, a->error_events_count, name)) {
        if (turn_error(rt, bytes))
            return true;
        keep_error(rt);
        return false;
    }
    if (!rt->heard.turn && !realtime_matches(s->turn_events, s->turn_events_count, name))
        return false;
    return turn_message(rt, bytes);
}

static void on_server_message(void *user, bool text)
{
    struct realtime *rt = user;
    uint64_t bytes;
    bool whole = finish(&rt->server, &bytes);

    (void)text;
    if (!whole || !server_message(rt, bytes))
        rt->response_bytes += bytes;
    answer_event_drop(&rt->scan);
    explicit_bzero(&rt->heard, sizeof(rt->heard));
}

static void note_close(struct realtime *rt, struct side_state *side, uint16_t code)
{
    side->closed = true;
    if (rt->close_code)
        return;
    rt->close_code = code;
    rt->end = side == &rt->client ? REALTIME_END_CLIENT : REALTIME_END_PROVIDER;
}

static void on_client_close(void *user, uint16_t code)
{
    struct realtime *rt = user;

    note_close(rt, &rt->client, code);
}

static void on_server_close(void *user, uint16_t code)
{
    struct realtime *rt = user;

    note_close(rt, &rt->server, code);
}

int realtime_new(const struct realtime_env *env, const struct profile_family *family,
                 const struct ws_deflate *client, const struct ws_deflate *server,
                 struct body_budget *budget, const char *model, struct realtime **ret_realtime)
{
    struct realtime *rt = calloc(1, sizeof(*rt));
    const struct ws_events said = {rt, on_client_data, on_client_message, on_client_close};
    const struct ws_events heard = {rt, on_server_data, on_server_message, on_server_close};
    const struct json_events said_values = {.user = rt, .on_value = on_client_value};
    const struct json_events heard_values = {.user = rt, .on_value = on_server_value};

    if (!rt)
        return -ENOMEM;
    rt->env = *env;
    rt->family = family;
    rt->profile = family->session;
    text_copy(rt->model_requested, sizeof(rt->model_requested), slice_str(model));
    answer_init(&rt->scan, family);
    ws_init(&rt->client.ws, WS_CLIENT, client, budget, &said);
    ws_init(&rt->server.ws, WS_SERVER, server, budget, &heard);
    json_init(&rt->client.json, family->client_paths, &said_values, false);
    json_init(&rt->server.json, family->answer_paths, &heard_values, false);
    *ret_realtime = rt;
    return 0;
}

void realtime_free(struct realtime **realtime)
{
    struct realtime *rt = *realtime;

    if (!rt)
        return;
    while (rt->turns) {
        struct turn *turn = rt->turns;

        rt->turns = turn->next;
        explicit_bzero(turn, sizeof(*turn));
        free(turn);
    }
    ws_fini(&rt->client.ws);
    ws_fini(&rt->server.ws);
    json_fini(&rt->client.json);
    json_fini(&rt->server.json);
    explicit_bzero(rt, sizeof(*rt));
    free(rt);
    *realtime = NULL;
}

int realtime_client(struct realtime *rt, struct slice bytes, uint64_t now_ns)
{
    rt->now_ns = now_ns;
    return rt->ended ? 0 : ws_feed(&rt->client.ws, bytes);
}

int realtime_server(struct realtime *rt, struct slice bytes, uint64_t now_ns)
{
    rt->now_ns = now_ns;
    return rt->ended ? 0 : ws_feed(&rt->server.ws, bytes);
}

bool realtime_over(const struct realtime *rt)
{
    return rt->client.closed && rt->server.closed;
}

void realtime_close(struct realtime *rt, enum realtime_end end, uint64_t now_ns)
{
    if (rt->ended)
        return;
    rt->ended = true;
    rt->now_ns = now_ns;
    if (!rt->close_code || end == REALTIME_END_UNREADABLE)
        rt->end = end;
    turn_end_all(rt);
    /* Messages that were cut. */
    rt->request_bytes += rt->client.ws.payload_bytes - rt->client.seen_bytes;
    rt->response_bytes += rt->server.ws.payload_bytes - rt->server.seen_bytes;
}

static enum call_outcome session_outcome(const struct realtime *rt)
{
    bool in_order =
        rt->close_code == 1000 || rt->close_code == 1001 || rt->close_code == WS_CLOSE_NO_CODE;

    if (rt->end == REALTIME_END_UNREADABLE)
        return CALL_UNMETERABLE;
    if (in_order)
        return CALL_OK;
    if (rt->end == REALTIME_END_CLIENT)
        return CALL_CLIENT_ABORT;
    return rt->close_code ? CALL_PROVIDER_ERROR : CALL_UPSTREAM_ABORT;
}

void realtime_fill(const struct realtime *rt, struct call *call)
{
    call->outcome = session_outcome(rt);
    call->request_body_bytes = rt->request_bytes;
    call->response_body_bytes = rt->response_bytes;
    text_copy(call->model_requested, sizeof(call->model_requested), slice_str(rt->model_requested));
    text_copy(call->model_responded, sizeof(call->model_responded), slice_str(rt->model_responded));
    text_copy(call->response_id, sizeof(call->response_id), slice_str(rt->session_id));
    text_copy(call->error_type, sizeof(call->error_type), slice_str(rt->error_type));
    text_copy(call->error_code, sizeof(call->error_code), slice_str(rt->error_code));
    if (rt->close_code)
        snprintf(call->finish_reason, sizeof(call->finish_reason), "%u", rt->close_code);
}
