/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ingest.h"

#include "collector/region.h"
#include "collector/text.h"
#include "proto/subject.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Keeps sums of low-high differences and SQLite's signed integers safe. */
#define SEQ_MAX (UINT64_C(1) << 62)
#define TIME_MAX_NS (UINT64_C(1) << 62)
/* No single call has more; keeps every sum inside 63 bits. */
#define COUNT_MAX (UINT64_C(1) << 40)
#define COST_MAX_NANOUSD (INT64_C(10000) * 1000000000)

#define COPY(field, text) text_copy((field), sizeof(field), (text))

/* What the three messages have in common. */
struct envelope {
    const char *instance, *org, *provider;
    const Lectr__V1__Workload *workload;
    bool has_start;
    uint32_t part;
    uint64_t seq, start_ns, end_ns;
};

#define ENVELOPE(m)                                                                                \
    ((struct envelope){.instance = (m)->agent_instance,                                            \
                       .org = (m)->org,                                                            \
                       .provider = (m)->provider,                                                  \
                       .workload = (m)->workload,                                                  \
                       .has_start = (m)->has_start_time_unix_nano,                                 \
                       .part = (m)->part,                                                          \
                       .seq = (m)->seq,                                                            \
                       .start_ns = (m)->start_time_unix_nano,                                      \
                       .end_ns = (m)->end_time_unix_nano})

static bool has_text(const char *s)
{
    return s && *s;
}

static void workload_name(const Lectr__V1__Workload *w, char *ret_name, size_t size)
{
    const char *owner;
    size_t len;

    text_copy(ret_name, size, w ? w->namespace_ : "");
    if (!w)
        return;
    owner = has_text(w->owner) ? w->owner : has_text(w->process) ? w->process : w->pod;
    len = strlen(ret_name);
    if (len && has_text(owner) && len + 1 < size)
        ret_name[len++] = '/';
    text_copy(ret_name + len, size - len, owner);
}

static const char *take_envelope(const struct envelope *e, const struct subject *subject,
                                 struct record *rec)
{
    const char *org = has_text(e->org) ? e->org : "default";

    if (strlen(e->instance) >= sizeof(rec->instance))
        return "agent_instance too long";
    if (e->seq > SEQ_MAX || e->end_ns > TIME_MAX_NS)
        return "seq or end_time_unix_nano out of range";
    /* Permissions are given on the subject's organisation: the message must not
     * speak for another one. */
    if (strcmp(subject->org, org) != 0)
        return "org differs from the subject's";
    /* And not for a part of which another one keeps the numbers. */
    if (subject->has_part && subject->part != e->part)
        return "part differs from the subject's";
    COPY(rec->instance, e->instance);
    rec->part = e->part;
    rec->seq = e->seq;
    rec->end_ns = e->end_ns;
    rec->start_ns = e->has_start ? e->start_ns : e->end_ns;
    COPY(rec->org, org);
    COPY(rec->provider, e->provider);
    workload_name(e->workload, rec->workload, sizeof(rec->workload));
    return NULL;
}

static uint64_t bounded(uint64_t v)
{
    return v < COUNT_MAX ? v : COUNT_MAX;
}

static struct opt_count optional(bool has, uint64_t v)
{
    return (struct opt_count){.known = has, .value = has ? bounded(v) : 0};
}

/* Usage kind -> where it is summed; kinds not named here are in the totals only. */
static const struct token_kind {
    const char *kind;
    size_t offset;
} token_kinds[] = {
    {"input", offsetof(struct record_tokens, input)},
    {"cached_input", offsetof(struct record_tokens, cached_input)},
    {"cache_write", offsetof(struct record_tokens, cache_write)},
    {"cache_write_5m", offsetof(struct record_tokens, cache_write)},
    {"cache_write_1h", offsetof(struct record_tokens, cache_write)},
    {"output", offsetof(struct record_tokens, output)},
    {"reasoning", offsetof(struct record_tokens, reasoning)},
};

/* What only looks at or arranges things spends no tokens. */
static bool spends_nothing(const char *operation)
{
    static const char *const operations[] = {
        "retrieve", "batch", "files", "models", "cache", "assistants", "count_tokens",
    };

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (operation && strcmp(operation, operations[i]) == 0)
            return true;
    return false;
}

/* Quantities are in rows. A total without them repeats what another call has told:
 * a stored answer read again, a run that is polled. */
static struct opt_count total_of(const Lectr__V1__Call *call, bool has_rows, bool has, uint64_t v)
{
    if (has_rows)
        return optional(has, v);
    return (struct opt_count){.known = has || spends_nothing(call->operation)};
}

static const char *const source_names[] = {
    [LECTR__V1__SOURCE__SOURCE_UNKNOWN] = "unknown",
    [LECTR__V1__SOURCE__SOURCE_REPORTED] = "reported",
    [LECTR__V1__SOURCE__SOURCE_MEASURED] = "measured",
    [LECTR__V1__SOURCE__SOURCE_ESTIMATED] = "estimated",
};

static const char *source_name(const Lectr__V1__Usage *u)
{
    bool known = u->has_source && u->source >= 0 &&
                 (size_t)u->source < sizeof(source_names) / sizeof(source_names[0]);

    return source_names[known ? u->source : LECTR__V1__SOURCE__SOURCE_UNKNOWN];
}

/* Appends what may be part of a name; cut where it is too long. */
static size_t put_word(char *name, size_t len, size_t size, const char *word)
{
    for (; *word && len + 1 < size; word++) {
        char c = *word;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-';

        name[len++] = plain ? c : '_';
    }
    name[len] = '\0';
    return len;
}

static size_t put_mark(char *name, size_t len, size_t size, char mark)
{
    if (len + 1 < size)
        name[len++] = mark;
    name[len] = '\0';
    return len;
}

static void usage_name(const Lectr__V1__Usage *u, char *ret_name, size_t size)
{
    size_t len = put_word(ret_name, 0, size, has_text(u->kind) ? u->kind : "unknown");

    if (has_text(u->modality) && strcmp(u->modality, "text") != 0) {
        len = put_mark(ret_name, len, size, '.');
        len = put_word(ret_name, len, size, u->modality);
    }
    len = put_mark(ret_name, len, size, '/');
    len = put_word(ret_name, len, size, has_text(u->unit) ? u->unit : "token");
    len = put_mark(ret_name, len, size, '/');
    put_word(ret_name, len, size, source_name(u));
}

static void add_usage(struct record *rec, const char *name, uint64_t count)
{
    struct record_usage *row;

    for (uint32_t i = 0; i < rec->usage_count; i++)
        if (strcmp(rec->usage[i].name, name) == 0) {
            rec->usage[i].count = bounded(rec->usage[i].count + count);
            return;
        }
    /* The last place is for what has none. */
    if (rec->usage_count == RECORD_USAGE_MAX - 1 && strcmp(name, "other") != 0) {
        add_usage(rec, "other", count);
        return;
    }
    if (rec->usage_count == RECORD_USAGE_MAX) {
        rec->usage[RECORD_USAGE_MAX - 1].count =
            bounded(rec->usage[RECORD_USAGE_MAX - 1].count + count);
        return;
    }
    row = &rec->usage[rec->usage_count++];
    memcpy(row->name, name, strlen(name) + 1);
    row->count = count;
}

static void add_tokens(struct record_tokens *tokens, const Lectr__V1__Usage *u)
{
    if (has_text(u->unit) && strcmp(u->unit, "token") != 0)
        return;
    if (u->has_source && u->source == LECTR__V1__SOURCE__SOURCE_ESTIMATED)
        tokens->estimated = true;
    for (size_t k = 0; k < sizeof(token_kinds) / sizeof(token_kinds[0]); k++)
        if (u->kind && u->kind[0] == token_kinds[k].kind[0] &&
            strcmp(u->kind, token_kinds[k].kind) == 0) {
            uint64_t *sum = (uint64_t *)(void *)((char *)tokens + token_kinds[k].offset);

            *sum = bounded(*sum + bounded(u->count));
        }
}

static void take_usage(const Lectr__V1__Call *call, struct record *rec)
{
    bool has_rows = false;

    for (size_t i = 0; i < call->n_usage; i++) {
        const Lectr__V1__Usage *u = call->usage[i];
        char name[sizeof(rec->usage[0].name)];

        /* Counted on request: nobody has spent them. */
        has_rows |= !u->kind || strcmp(u->kind, "counted") != 0;
        if (!u->has_count)
            continue;
        usage_name(u, name, sizeof(name));
        add_usage(rec, name, bounded(u->count));
        add_tokens(&rec->tokens, u);
    }
    rec->tokens.input_total =
        total_of(call, has_rows, call->has_input_tokens_total, call->input_tokens_total);
    rec->tokens.output_total =
        total_of(call, has_rows, call->has_output_tokens_total, call->output_tokens_total);
}

static bool in_cost_range(int64_t v)
{
    return v >= 0 && v <= COST_MAX_NANOUSD;
}

static void take_cost(const Lectr__V1__Cost *cost, struct record_cost *ret_cost)
{
    if (!cost || !cost->has_expected_nanousd || !in_cost_range(cost->expected_nanousd))
        return;
    *ret_cost = (struct record_cost){
        .known = true,
        .expected_nanousd = cost->expected_nanousd,
        .low_nanousd = cost->expected_nanousd,
        .high_nanousd = cost->expected_nanousd,
    };
    if (cost->has_low_nanousd && in_cost_range(cost->low_nanousd))
        ret_cost->low_nanousd = cost->low_nanousd;
    if (cost->has_high_nanousd && in_cost_range(cost->high_nanousd))
        ret_cost->high_nanousd = cost->high_nanousd;
}

static const struct outcome_error {
    Lectr__V1__Outcome outcome;
    const char *type;
} outcome_errors[] = {
    {LECTR__V1__OUTCOME__OUTCOME_PROVIDER_ERROR, "provider_error"},
    {LECTR__V1__OUTCOME__OUTCOME_CLIENT_ABORT, "client_abort"},
    {LECTR__V1__OUTCOME__OUTCOME_UPSTREAM_ABORT, "upstream_abort"},
    {LECTR__V1__OUTCOME__OUTCOME_NETWORK_ERROR, "network_error"},
    {LECTR__V1__OUTCOME__OUTCOME_POLICY_DENIED, "policy_denied"},
};

/* The type of the error, "" when there was none. */
static void take_error(const Lectr__V1__Call *call, struct record *rec)
{
    const char *type = "";

    for (size_t i = 0; i < sizeof(outcome_errors) / sizeof(outcome_errors[0]); i++)
        if (call->has_outcome && call->outcome == outcome_errors[i].outcome)
            type = outcome_errors[i].type;
    if (!*type && call->has_status_code && call->status_code >= 400)
        type = "provider_error";
    if (strcmp(type, "provider_error") == 0 && has_text(call->error_type))
        type = call->error_type;
    COPY(rec->error_type, type);
}

static void take_call(const Lectr__V1__Call *call, struct record *rec)
{
    COPY(rec->feature, call->feature ? call->feature->value : NULL);
    COPY(rec->model,
         has_text(call->model_requested) ? call->model_requested : call->model_responded);
    COPY(rec->model_billed,
         has_text(call->model_responded) ? call->model_responded : call->model_requested);
    rec->synthetic = call->has_synthetic && call->synthetic;
    rec->is_retry = call->has_attempt && call->attempt > 1;
    region_of_host(call->server_address, rec->region, sizeof(rec->region));
    COPY(rec->key_fingerprint, call->key_fingerprint);
    take_usage(call, rec);
    take_cost(call->cost, &rec->cost);
    COPY(rec->cost_basis, call->cost ? call->cost->basis : NULL);
    take_error(call, rec);
    /* What a provider refuses may be called anything: inventions are not told apart. */
    if (rec->error_type[0] && strcmp(rec->cost_basis, "unknown_model") == 0)
        COPY(rec->model_billed, "(other)");
    if (!call->latency)
        return;
    rec->latency_us = optional(call->latency->has_total_us, call->latency->total_us);
    rec->ttft_us = optional(call->latency->has_first_token_us, call->latency->first_token_us);
    rec->added_us = optional(call->latency->has_added_us, call->latency->added_us);
}

static void take_gap(const Lectr__V1__Gap *gap, struct record *rec)
{
    COPY(rec->reason, has_text(gap->reason) ? gap->reason : "unknown");
    rec->connections = bounded(gap->connections);
    rec->calls_in_flight = bounded(gap->calls_in_flight);
    rec->events_lost = bounded(gap->events_lost);
}

static void take_coverage(const Lectr__V1__Coverage *cov, struct record *rec)
{
    rec->seen = bounded(cov->seen_connections);
    rec->metered = bounded(cov->metered_connections);
}

static const char *take_message(const struct subject *subject, const ProtobufCMessage *message,
                                struct record *rec)
{
    const void *m = message;
    struct envelope e = {0};
    const char *reason;

    switch (rec->kind) {
    case RECORD_CALL:
        e = ENVELOPE((const Lectr__V1__Call *)m);
        break;
    case RECORD_GAP:
        e = ENVELOPE((const Lectr__V1__Gap *)m);
        break;
    default:
        e = ENVELOPE((const Lectr__V1__Coverage *)m);
        break;
    }
    reason = take_envelope(&e, subject, rec);
    if (reason)
        return reason;
    if (rec->kind == RECORD_CALL)
        take_call(m, rec);
    else if (rec->kind == RECORD_GAP)
        take_gap(m, rec);
    else
        take_coverage(m, rec);
    return NULL;
}

static const enum record_kind kind_of[EVENT__COUNT] = {
    [EVENT_CALL] = RECORD_CALL,   [EVENT_GAP] = RECORD_GAP,      [EVENT_COVERAGE] = RECORD_COVERAGE,
    [EVENT_ALERT] = RECORD_OTHER, [EVENT_ROLLUP] = RECORD_OTHER, [EVENT_CLOUDEVENT] = RECORD_OTHER,
};

static const char *unpack_reason(int error)
{
    switch (error) {
    case -EMSGSIZE:
        return "message too large";
    case -EINVAL:
        return "id, agent_instance, part, seq or times unusable";
    case -EILSEQ:
        return "a string is not UTF-8";
    default:
        return "not the message its subject names";
    }
}

int ingest_decode(struct event_arena *arena, const char *subject_text, struct slice data,
                  struct record *ret_record, const char **ret_reason)
{
    ProtobufCMessage *message = NULL;
    struct subject subject;
    const char *reason;
    int r;

    memset(ret_record, 0, sizeof(*ret_record));
    if (subject_parse(subject_text, &subject) < 0) {
        *ret_reason = "subject is not one of lectr.v1";
        return -EBADMSG;
    }
    ret_record->kind = kind_of[subject.type];
    if (ret_record->kind == RECORD_OTHER)
        return 0;
    r = event_unpack_in(arena, subject.type, data, &message);
    if (r == -ENOMEM)
        return r;
    reason = r < 0 ? unpack_reason(r) : take_message(&subject, message, ret_record);
    if (!reason)
        return 0;
    *ret_reason = reason;
    return -EBADMSG;
}
