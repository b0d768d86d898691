/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: which message belongs to which, and a turn's call. */
#include "agent/realtime_impl.h"
#include "agent/usage.h"
#include "proto/base/clock.h"

#include <stdlib.h>

static void turn_free(struct turn **turn)
{
    if (!*turn)
        return;
    explicit_bzero(*turn, sizeof(**turn));
    free(*turn);
    *turn = NULL;
}

static void unlink_turn(struct realtime *rt, struct turn *turn)
{
    struct turn **at = &rt->turns;

    while (*at && *at != turn)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = turn->next;
    rt->turns_count--;
}

static void fill_latency(const struct turn *turn, struct call_latency *l)
{
    const uint64_t start_ns = turn->start_ns;

    /* What came in one message, unasked, took who knows how long. */
    if (turn->end_ns > start_ns)
        l->total_us = opt_u64((turn->end_ns - start_ns) / NSEC_PER_USEC);
    if (turn->triggered && turn->taken_up)
        l->first_byte_us = opt_u64((turn->first_byte_ns - start_ns) / NSEC_PER_USEC);
    if (turn->triggered && turn->first_output_ns)
        l->first_token_us = opt_u64((turn->first_output_ns - start_ns) / NSEC_PER_USEC);
    gaps_fill(&turn->gaps, l);
}

static void fill_answer(const struct realtime *rt, const struct turn *turn, struct call *call)
{
    const struct answer *a = &turn->answer;
    const char *finish = a->finish[0] || !turn->interrupted ? a->finish : "interrupted";

    call->streaming = call->streaming_requested = true;
    text_copy(call->model_requested, sizeof(call->model_requested), slice_str(rt->model_requested));
    text_copy(call->model_responded, sizeof(call->model_responded),
              slice_str(a->model[0] ? a->model : rt->model_responded));
    text_copy(call->response_id, sizeof(call->response_id), slice_str(a->id));
    text_copy(call->service_tier, sizeof(call->service_tier), slice_str(a->tier));
    text_copy(call->finish_reason, sizeof(call->finish_reason), slice_str(finish));
    if (a->error) {
        text_copy(call->error_type, sizeof(call->error_type), slice_str(a->error_type));
        text_copy(call->error_code, sizeof(call->error_code), slice_str(a->error_code));
    }
    call->tool_calls = a->tool_calls;
    call->stream_events = a->events;
    call->stream_complete = a->end;
    usage_fill(a, true, false, call);
    realtime_overlap(a, call);
}

/* The turn is no longer rt's. */
static void tell(struct realtime *rt, struct turn *turn, const char *operation, const char *api,
                 enum call_outcome outcome)
{
    struct call *call = rt->env.blank(rt->env.user);

    call->operation = operation;
    if (api)
        text_copy(call->api, sizeof(call->api), slice_str(api));
    call->start_mono_ns = turn->start_ns;
    call->end_mono_ns = turn->end_ns;
    call->outcome = outcome;
    call->request_body_bytes = turn->request_bytes;
    call->response_body_bytes = turn->response_bytes;
    fill_answer(rt, turn, call);
    fill_latency(turn, &call->latency);
    if (api) /* what is said beside the answers has a model of its own */
        text_copy(call->model_requested, sizeof(call->model_requested), slice_str(rt->aside_model));
    if (api && !turn->answer.model[0])
        call->model_responded[0] = '\0';
    turn_free(&turn);
    rt->env.on_call(rt->env.user, call);
}

static void end_turn(struct realtime *rt, struct turn *turn, enum call_outcome outcome)
{
    unlink_turn(rt, turn);
    if (!turn->end_ns)
        turn->end_ns = rt->now_ns;
    tell(rt, turn, rt->profile->turn_operation, NULL, outcome);
}

static enum call_outcome outcome_of(const struct turn *turn)
{
    return turn->answer.error ? CALL_PROVIDER_ERROR : CALL_OK;
}

static struct turn *turn_new(struct realtime *rt)
{
    struct turn *turn = calloc(1, sizeof(*turn)), **at = &rt->turns;

    if (!turn)
        return NULL;
    answer_init(&turn->answer, rt->family);
    turn->triggered = rt->trigger_ns != 0;
    turn->start_ns = turn->triggered ? rt->trigger_ns : rt->now_ns;
    turn->request_bytes = rt->request_bytes;
    rt->trigger_ns = 0;
    rt->request_bytes = 0;
    if (rt->turns_count >= REALTIME_TURNS_MAX)
        end_turn(rt, rt->turns, CALL_UNMETERABLE);
    while (*at)
        at = &(*at)->next;
    *at = turn;
    rt->turns_count++;
    rt->env.on_begin(rt->env.user, rt->profile->turn_operation);
    return turn;
}

static struct turn *first_asked(struct realtime *rt, const char *asked_by)
{
    for (struct turn *t = rt->turns; t; t = t->next)
        if (!t->taken_up && (!asked_by || strcmp(t->asked_by, asked_by) == 0))
            return t;
    return NULL;
}

static struct turn *first_open(struct realtime *rt)
{
    for (struct turn *t = rt->turns; t; t = t->next)
        if (t->taken_up)
            return t;
    return NULL;
}

void turn_ask(struct realtime *rt)
{
    struct turn *turn = rt->profile->parallel ? NULL : first_asked(rt, NULL);
    struct turn *open = rt->profile->parallel ? NULL : first_open(rt);

    if (open && (open->lingers || open->interrupted))
        end_turn(rt, open, outcome_of(open));
    rt->trigger_ns = rt->now_ns;
    /* One comes at a time: asked again before it came, it answers both. */
    if (turn) {
        turn->start_ns = rt->now_ns;
        turn->request_bytes += rt->request_bytes;
        rt->request_bytes = rt->trigger_ns = 0;
    } else {
        turn = turn_new(rt);
    }
    if (turn)
        memcpy(turn->asked_by, rt->said.id, sizeof(turn->asked_by));
}

void turn_resume(struct realtime *rt)
{
    struct turn *open = rt->profile->parallel ? NULL : first_open(rt);

    if (open && open->answer.has_usage) {
        open->answer.end = true;
        end_turn(rt, open, outcome_of(open));
    }
    rt->trigger_ns = rt->now_ns;
}

static struct turn *parallel_turn(struct realtime *rt, bool begins, bool ends)
{
    const struct answer_text *id = &rt->scan.event.id;
    struct turn *turn;

    if (id->rank == 255)
        return NULL;
    for (turn = rt->turns; turn; turn = turn->next)
        if (turn->taken_up && strcmp(turn->answer.id, id->text) == 0)
            return turn;
    turn = begins ? first_asked(rt, NULL) : NULL;
    return turn || !(begins || ends) ? turn : turn_new(rt);
}

static struct turn *single_turn(struct realtime *rt, bool begins)
{
    const struct answer_event *e = &rt->scan.event;
    struct turn *turn = first_open(rt);

    if (turn && turn->lingers && (e->output || !e->has_usage)) {
        end_turn(rt, turn, outcome_of(turn));
        turn = NULL;
    }
    if (!turn)
        turn = first_asked(rt, NULL);
    return turn || !begins ? turn : turn_new(rt);
}

bool turn_message(struct realtime *rt, uint64_t bytes)
{
    const struct profile_session *s = rt->profile;
    const struct profile_answer *a = rt->family->answer;
    const char *name = realtime_event(rt);
    bool begins = rt->heard.begin || realtime_matches(s->begin_events, s->begin_events_count, name);
    bool ends = realtime_matches(a->end_events, a->end_events_count, name);
    struct turn *turn = s->parallel ? parallel_turn(rt, begins, ends) : single_turn(rt, begins);

    if (!turn)
        return false;
    if (!turn->taken_up) {
        turn->taken_up = true;
        turn->first_byte_ns = rt->now_ns;
    }
    turn->response_bytes += bytes;
    turn->interrupted |= rt->heard.interrupted;
    turn->answer.event = rt->scan.event;
    if (answer_event_end(&turn->answer, ANSWER_STREAM, "")) {
        if (!turn->first_output_ns)
            turn->first_output_ns = rt->now_ns;
        gaps_add(&turn->gaps, rt->now_ns);
    }
    if (!turn->answer.end)
        return true;
    if (!turn->end_ns)
        turn->end_ns = rt->now_ns;
    turn->lingers = !s->parallel && !turn->answer.has_usage;
    if (!turn->lingers)
        end_turn(rt, turn, outcome_of(turn));
    return true;
}

void turn_aside(struct realtime *rt, uint64_t bytes)
{
    const struct profile_session *s = rt->profile;
    struct turn *turn = calloc(1, sizeof(*turn));

    if (!turn)
        return;
    answer_init(&turn->answer, rt->family);
    turn->start_ns = turn->end_ns = rt->now_ns;
    turn->response_bytes = bytes;
    turn->answer.event = rt->scan.event;
    answer_event_end(&turn->answer, ANSWER_DOCUMENT, "");
    turn->answer.end = true;
    rt->env.on_begin(rt->env.user, s->aside_operation);
    tell(rt, turn, s->aside_operation, s->aside_api, outcome_of(turn));
}

bool turn_error(struct realtime *rt, uint64_t bytes)
{
    const char *source = rt->heard.error_source;
    struct turn *turn = first_asked(rt, source[0] ? source : NULL);

    if (!turn)
        return false;
    turn->response_bytes += bytes;
    turn->answer.event = rt->scan.event;
    answer_event_end(&turn->answer, ANSWER_STREAM, "");
    turn->answer.error = true;
    end_turn(rt, turn, CALL_PROVIDER_ERROR);
    return true;
}

static enum call_outcome cut_outcome(const struct realtime *rt)
{
    if (rt->end == REALTIME_END_UNREADABLE)
        return CALL_UNMETERABLE;
    return rt->end == REALTIME_END_CLIENT ? CALL_CLIENT_ABORT : CALL_UPSTREAM_ABORT;
}

void turn_end_all(struct realtime *rt)
{
    while (rt->turns) {
        struct turn *turn = rt->turns;

        end_turn(rt, turn, turn->lingers ? outcome_of(turn) : cut_outcome(rt));
    }
}
