/* SPDX-License-Identifier: Apache-2.0 */
/* A realtime session in the meter: its turns are calls, and so is itself. */
#include "agent/meter_impl.h"

#include <errno.h>
#include <stdlib.h>

struct meter_session {
    struct meter *m;
    struct ask *ask;
    const struct reply *reply;
    struct realtime *rt;
};

static void on_begin(void *user, const char *operation)
{
    struct meter *m = ((struct meter_session *)user)->m;
    const struct request_head head = {
        .host = slice_str(m->host),
        .provider = m->provider ? provider_name(m->provider) : "",
        .operation = operation,
    };

    m->open++;
    if (m->env.on_begin)
        m->env.on_begin(m->env.user, &head);
}

static struct call *on_blank(void *user)
{
    struct meter_session *s = user;
    struct call *call = meter_call_fill(s->m, s->ask, s->reply);

    call->latency = (struct call_latency){0}; /* the upgrade's */
    return call;
}

static void on_call(void *user, const struct call *call)
{
    struct meter_session *s = user;

    s->ask->added_ns = 0; /* told */
    s->m->open--;
    s->m->env.on_call(s->m->env.user, call);
}

int meter_session_begin(struct meter *m, struct ask *ask, const struct reply *reply,
                        struct meter_session **ret_session)
{
    const struct profile_family *family = ask->operation ? ask->operation->family : NULL;
    struct ws_deflate client = {0}, server = {0};
    struct meter_session *s;
    struct realtime_env env = {.on_begin = on_begin, .blank = on_blank, .on_call = on_call};
    int r;

    if (!family || !family->session || m->sessions >= METER_SESSIONS_MAX)
        return -ENOENT;
    if (ws_agree(&ask->extensions, &reply->extensions, &client, &server))
        return -ENOENT;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct meter_session){.m = m, .ask = ask, .reply = reply};
    env.user = s;
    r = realtime_new(&env, family, &client, &server, m->env.budget, ask->model, &s->rt);
    if (r) {
        free(s);
        return r;
    }
    m->sessions++;
    *ret_session = s;
    return 0;
}

int meter_session_feed(struct meter_session *s, bool client, struct slice bytes)
{
    int r = client ? realtime_client(s->rt, bytes, s->m->now_ns)
                   : realtime_server(s->rt, bytes, s->m->now_ns);

    return r ? r : realtime_over(s->rt);
}

void meter_session_end(struct meter_session **session, enum call_outcome cut)
{
    struct meter_session *s = *session;
    enum realtime_end end = cut == CALL_UNMETERABLE    ? REALTIME_END_UNREADABLE
                            : cut == CALL_CLIENT_ABORT ? REALTIME_END_CLIENT
                                                       : REALTIME_END_PROVIDER;
    struct call *call;

    realtime_close(s->rt, end, s->m->now_ns);
    call = meter_call_fill(s->m, s->ask, s->reply);
    realtime_fill(s->rt, call);
    call->end_mono_ns = s->m->now_ns;
    /* How long one talks is no latency, and what it uses its turns tell. */
    if (call->outcome != CALL_UNMETERABLE)
        call->input_tokens_total = call->output_tokens_total = opt_u64(0);
    on_call(s, call);
    meter_session_free(session);
}

void meter_session_free(struct meter_session **session)
{
    if (!*session)
        return;
    (*session)->m->sessions--;
    realtime_free(&(*session)->rt);
    free(*session);
    *session = NULL;
}
