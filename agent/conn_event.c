/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/conn_impl.h"
#include "proto/event.h"

#include "agent/config.h"
#include "agent/policy.h"
#include "agent/price.h"
#include "agent/publish.h"

#include <inttypes.h>
#include <string.h>

static void count_calls_open(struct conn *c)
{
    /* An event that is held is not in the spool yet. */
    if (c->slot)
        inflight_set_calls(c->slot, c->calls_begun - c->calls_ended + c->held_events_count);
}

void conn_set_provider(struct conn *c, const char *provider)
{
    c->provider = provider;
    if (c->slot)
        snprintf(c->slot->provider, sizeof(c->slot->provider), "%s", provider);
}

static void on_begin(void *user, const struct request_head *head)
{
    struct conn *c = user;

    c->calls_begun++;
    c->owner->stats.calls_open++;
    count_calls_open(c);
    /* Nothing can be denied yet; the question is asked where the answer will count. */
    (void)policy_decide(conn_caller(c), head);
}

static void publish_now(struct conn *c, const struct call *call, struct event_context *ctx)
{
    struct conns *cs = c->owner;
    char id[24], fresh[RETRIES_ID_MAX], logical[RETRIES_ID_MAX];

    snprintf(id, sizeof(id), "%016" PRIx64, c->id);
    snprintf(fresh, sizeof(fresh), "%s-%" PRIx64, id, call->start_mono_ns);
    ctx->connection_id = id;
    if (!call->logical_call_id[0] &&
        retries_join(&cs->retries, call, conn_caller(c), fresh, logical))
        ctx->logical_call_id = logical;
    event_call(call, conn_caller(c), ctx, &cs->record);
    /* A kill between the event and the count must not tell the call twice. */
    if (c->slot)
        publish_promise(cs->env.publish, &c->slot->calls, c->slot->calls);
    if (publish_call(cs->env.publish, &cs->record.call) < 0)
        cs->stats.calls_unpublished++;
    count_calls_open(c);
}

static bool hold(struct conn *c, const struct call *call, const struct event_context *ctx)
{
    struct held_event *held, **at = &c->held_events;

    if (c->held_events_count >= HELD_EVENTS_MAX ||
        c->owner->stats.held_events >= HELD_EVENTS_TOTAL_MAX)
        return false;
    held = malloc(sizeof(*held));
    if (!held)
        return false;
    held->next = NULL;
    held->call = *call;
    held->ctx = *ctx;
    while (*at)
        at = &(*at)->next;
    *at = held;
    c->held_events_count++;
    c->owner->stats.held_events++;
    return true;
}

/* A port that providers use by custom is others' as well: what none of the
 * provider's operations fits is no call to it. */
static bool is_foreign(const struct conn *c, const struct call *call)
{
    return c->by_port && (!call->api[0] || strcmp(call->api, "other") == 0);
}

static void cut_port(char *address)
{
    char *colon = strrchr(address, ':');

    if (colon)
        *colon = '\0';
}

static void on_call(void *user, const struct call *call)
{
    struct conn *c = user;
    struct conns *cs = c->owner;
    struct event_context ctx = {
        .org = cs->env.config->org,
        .cluster = cs->env.config->cluster,
        .node = cs->env.config->node,
        .policy_decision = "allow",
        .server_port = c->origin.dport,
        .wall_minus_mono_ns = cs->wall_minus_mono_ns,
        .added_us = opt_u64(call->added_ns / 1000),
    };

    if (is_foreign(c, call)) {
        cs->stats.calls_open--;
        c->calls_ended++;
        count_calls_open(c);
        conn_decide(c, VERDICT_NOT_PROVIDER);
        return;
    }
    /* The connection was made for its first call. */
    if (c->calls_ended == 0) {
        ctx.connect_us = c->connect_us;
        ctx.tls_us = c->tls_us;
        ctx.client_tls_us = c->client_tls_us;
    }
    cs->call = *call;
    if (!amend_take(&cs->amend, call, ctx.amends) && call->late)
        cs->call.usage_count = 0;
    if (amend_awaits(call) && event_uuid7(conn_wall_ns(cs, call->end_mono_ns), ctx.id) == 0)
        amend_note(&cs->amend, call, ctx.id);
    if (c->plan == PLAN_CLEAR)
        cut_port(cs->call.server_address);
    price_call(cs->env.prices, &cs->call, conn_wall_ns(cs, call->start_mono_ns) / NSEC_PER_SEC);
    price_count(&cs->stats.costs, &cs->call);
    cs->stats.calls++;
    cs->stats.calls_open--;
    cs->stats.added_ns_total += call->added_ns;
    c->calls_ended++;
    if (c->caller_known || !hold(c, &cs->call, &ctx)) {
        if (!c->caller_known)
            cs->stats.caller_unknown++;
        publish_now(c, &cs->call, &ctx);
    }
    count_calls_open(c);
}

void conn_meter_open(struct conn *c)
{
    const struct conn_env *env = &c->owner->env;
    struct meter_env meter_env = {
        .providers = env->providers,
        .prices = env->prices,
        .estimator = env->estimator,
        .fingerprint_key = env->fingerprint_key,
        .budget = &c->owner->bodies,
        .user = c,
        .on_begin = on_begin,
        .on_call = on_call,
    };

    if (meter_new(&meter_env, conn_speaks_http2(c) ? METER_HTTP2 : METER_HTTP1,
                  slice_str(c->opening->hello.sni), &c->meter) == 0)
        return;
    c->metering = false;
    c->owner->stats.meter_failed++;
    conn_decide(c, VERDICT_OVERLOAD);
}

void conn_meter_check(struct conn *c)
{
    if (meter_state(c->meter) == METER_READING) {
        /* What the first request is says it for all that follow. */
        if (meter_counts(c->meter)->grpc > 0 && c->calls_begun == 0)
            conn_decide(c, VERDICT_GRPC);
        /* Not at the first request: its answer may be an upgrade. */
        if (c->verdict == VERDICT_NONE &&
            (c->calls_ended > 0 || (c->calls_begun > 0 && c->response_reads >= 2)))
            conn_decide(c, VERDICT_METERED);
        return;
    }
    if (c->verdict == VERDICT_NONE)
        conn_decide(c, conn_speaks_http2(c) ? VERDICT_HTTP2_UNMETERED : VERDICT_NOT_HTTP);
    else
        c->owner->stats.upgraded++;
    c->metering = false;
}

void conn_meter_end(struct conn *c, enum meter_end end, uint64_t now_ns)
{
    if (!c->meter)
        return;
    meter_close(c->meter, end, now_ns);
    count_calls_open(c);
    c->metering = false;
}

void conn_decide(struct conn *c, enum verdict v)
{
    if (c->verdict != VERDICT_NONE)
        return;
    c->verdict = v;
    c->owner->stats.verdicts[v]++;
    conn_tell(c, false);
}

static void tell_verdict(struct conn *c)
{
    struct conns *cs = c->owner;
    uint32_t tally;

    c->verdict_told = true;
    /* In mode `all` most connections are nobody's business; but on an address
     * that serves a provider the census counted this one. */
    if (c->verdict == VERDICT_NOT_PROVIDER && !c->provider[0]) {
        if (c->slot)
            c->slot->decided = c->slot->noted = 1;
        return;
    }
    tally = gap_tally(cs->env.gap, conn_caller(c), c->provider, c->verdict, clock_wall_ns());
    if (c->slot)
        c->slot->decided = tally;
}

void conn_tell(struct conn *c, bool give_up)
{
    struct conns *cs = c->owner;

    if (!c->caller_known && !give_up)
        return;
    while (c->held_events) {
        struct held_event *held = c->held_events;

        c->held_events = held->next;
        c->held_events_count--;
        cs->stats.held_events--;
        if (!c->caller_known)
            cs->stats.caller_unknown++;
        publish_now(c, &held->call, &held->ctx);
        free(held);
    }
    count_calls_open(c);
    if (c->verdict != VERDICT_NONE && !c->verdict_told)
        tell_verdict(c);
}
