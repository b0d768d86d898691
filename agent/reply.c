/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reply.h"
#include "agent/call_estimate.h"
#include "agent/header.h"
#include "agent/text.h"
#include "agent/usage.h"
#include "proto/base/clock.h"

#include <math.h>
#include <stdlib.h>

static const char done_text[] = "[DONE]";

void reply_init(struct reply *r, const struct provider *provider, struct body_budget *budget)
{
    memset(r, 0, sizeof(*r));
    r->provider = provider;
    r->flow.budget = budget;
}

void reply_fini(struct reply *r)
{
    body_fini(&r->body);
    explicit_bzero(r, sizeof(*r));
}

void reply_begin(struct reply *r, uint64_t now_ns)
{
    const struct provider *provider = r->provider;
    struct body_flow flow;

    body_fini(&r->body);
    flow = r->flow;
    reply_fini(r);
    r->provider = provider;
    r->flow = flow;
    r->open = true;
    r->first_byte_ns = r->now_ns = now_ns;
}

/* Seconds, with a fraction perhaps; a date says nothing here. */
static struct opt_u64 seconds_to_ms(struct slice value)
{
    char text[32];
    char *end;
    double seconds;

    if (!value.len || value.len >= sizeof(text))
        return (struct opt_u64){0};
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    seconds = strtod(text, &end);
    if (*end || !isfinite(seconds) || seconds < 0 || seconds > 1e9)
        return (struct opt_u64){0};
    return opt_u64((uint64_t)llround(seconds * 1000));
}

/* A number of the usage that stands in a header. */
static void number_header(struct reply *r, const struct profile_headers *h, struct slice name,
                          struct slice value)
{
    struct opt_u64 n = header_number(value);

    for (unsigned i = 0; n.known && i < h->numbers_count; i++)
        for (unsigned k = 0; k < h->numbers[i].path_count; k++)
            if (r->number_count < HEADER_NUMBERS_MAX &&
                slice_eq_nocase(name, slice_str(h->numbers[i].path[k])))
                r->numbers[r->number_count++] = (struct reply_number){
                    h->numbers[i].path[k], h->numbers[i].field, (double)n.value};
}

static struct slice before_colon(struct slice value)
{
    const uint8_t *colon = value.len ? memchr(value.data, ':', value.len) : NULL;

    return colon ? slice_of(value.data, (size_t)(colon - value.data)) : value;
}

/* Of several headers that say the same the one that the profile lists first counts. */
static uint8_t header_place(char *const *list, unsigned count, struct slice name)
{
    for (unsigned i = 0; i < count; i++)
        if (slice_eq_nocase(name, slice_str(list[i])))
            return (uint8_t)(i + 1);
    return 0;
}

static void provider_header(struct reply *r, const struct profile_headers *h, struct slice name,
                            struct slice value)
{
    const struct {
        char *const *list;
        unsigned count;
        char *text;
        size_t size;
        struct opt_u64 *number;
    } table[] = {
        {h->request_id, h->request_id_count, r->request_id, sizeof(r->request_id), NULL},
        {h->organization, h->organization_count, r->organization, sizeof(r->organization), NULL},
        {h->project, h->project_count, r->project, sizeof(r->project), NULL},
        {h->service_tier, h->service_tier_count, r->service_tier, sizeof(r->service_tier), NULL},
        {h->model, h->model_count, r->model, sizeof(r->model), NULL},
        {h->error_type, h->error_type_count, r->error_type, sizeof(r->error_type), NULL},
        {h->limit_requests, h->limit_requests_count, NULL, 0, &r->limit_requests},
        {h->remaining_requests, h->remaining_requests_count, NULL, 0, &r->remaining_requests},
        {h->limit_tokens, h->limit_tokens_count, NULL, 0, &r->limit_tokens},
        {h->remaining_tokens, h->remaining_tokens_count, NULL, 0, &r->remaining_tokens},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t place = header_place(table[i].list, table[i].count, name);

        if (!place)
            continue;
        if (table[i].number) {
            *table[i].number = header_number(value);
        } else if (value.len && (!table[i].text[0] || place < r->header_rank[i])) {
            r->header_rank[i] = place;
            text_copy(table[i].text, table[i].size,
                      table[i].text == r->error_type ? before_colon(value) : value);
        }
        return;
    }
    number_header(r, h, name, value);
}

static enum reply_says says_of(struct slice type)
{
    static const struct {
        const char *type;
        enum reply_says says;
    } table[] = {
        {"text/event-stream", REPLY_SAYS_SSE},
        {"application/vnd.amazon.eventstream", REPLY_SAYS_EVENTSTREAM},
        {"application/x-ndjson", REPLY_SAYS_LINES},
        {"application/ndjson", REPLY_SAYS_LINES},
        {"application/jsonl", REPLY_SAYS_LINES},
        {"application/x-jsonl", REPLY_SAYS_LINES},
        {"application/stream+json", REPLY_SAYS_LINES},
        {"application/json-lines", REPLY_SAYS_LINES},
        {"application/json", REPLY_SAYS_JSON},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (slice_starts_nocase(type, table[i].type))
            return table[i].says;
    return REPLY_SAYS_NOTHING;
}

void reply_header(struct reply *r, struct slice name, struct slice value)
{
    if (slice_eq_nocase(name, slice_str("content-encoding"))) {
        r->coding = body_coding_of(value);
    } else if (slice_eq_nocase(name, slice_str("content-type"))) {
        r->says = says_of(value);
    } else if (slice_eq_nocase(name, slice_str("sec-websocket-extensions"))) {
        ws_extensions_add(&r->extensions, value);
    } else if (slice_eq_nocase(name, slice_str("retry-after-ms"))) {
        r->retry_after_ms = header_number(value);
        r->retry_in_ms = r->retry_after_ms.known;
    } else if (slice_eq_nocase(name, slice_str("retry-after"))) {
        if (!r->retry_in_ms)
            r->retry_after_ms = seconds_to_ms(value);
    } else if (r->provider && r->provider->headers) {
        provider_header(r, r->provider->headers, name, value);
    }
}

static void output_seen(struct reply *r)
{
    if (!r->first_output_ns)
        r->first_output_ns = r->now_ns;
    gaps_add(&r->gaps, r->now_ns);
}

/* One document a line. Where the type does not say so: as asked, or as it proves to be. */
static bool is_lines(const struct reply *r)
{
    const struct profile_family *f = r->answer.family;

    if (!f || !f->answer || f->answer->framing != FRAMING_LINES)
        return false;
    if (r->says == REPLY_SAYS_LINES || r->json.documents > 1 || r->answer.events > 1)
        return true;
    return r->says != REPLY_SAYS_JSON && r->ask && r->ask->stream;
}

static bool is_stream(const struct reply *r)
{
    if (r->status >= 400)
        return false;
    if (r->framing == REPLY_UNSEEN && r->undecoded)
        return r->says == REPLY_SAYS_SSE || r->says == REPLY_SAYS_EVENTSTREAM;
    if (r->framing == REPLY_JSON)
        return is_lines(r);
    return r->framing == REPLY_SSE || r->framing == REPLY_EVENTSTREAM ||
           (r->framing == REPLY_JSON_ARRAY && r->ask && r->ask->operation &&
            r->ask->operation->streams);
}

static void on_value(void *user, const struct json_value *v)
{
    struct reply *r = user;

    answer_value(&r->answer, v);
}

static void on_document(void *user)
{
    struct reply *r = user;
    bool stream = is_stream(r);

    if (r->framing == REPLY_SSE || r->framing == REPLY_EVENTSTREAM)
        return; /* the event's end decides */
    if (answer_event_end(&r->answer, stream ? ANSWER_STREAM : ANSWER_DOCUMENT, "") && stream)
        output_seen(r);
}

static void on_data(void *user, struct slice piece)
{
    struct reply *r = user;

    for (size_t i = 0; i < piece.len && r->data_len + i < sizeof(r->data_start); i++)
        r->data_start[r->data_len + i] = piece.data[i];
    r->data_len += piece.len;
    json_feed(&r->json, piece);
    if (r->extent_scan.total)
        extent_feed(&r->extent_scan, piece);
}

/* Ready for the next event's data. */
static void data_end(struct reply *r)
{
    json_reset(&r->json);
    if (r->extent_scan.total)
        extent_reset(&r->extent_scan);
    explicit_bzero(r->data_start, sizeof(r->data_start));
    r->data_len = 0;
}

static void on_event(void *user, const char *name, bool cut)
{
    struct reply *r = user;
    bool done = r->data_len == sizeof(done_text) - 1 &&
                memcmp(r->data_start, done_text, sizeof(done_text) - 1) == 0;

    json_finish(&r->json);
    if (done) {
        r->answer.events++;
        r->done_mark = true;
        answer_event_drop(&r->answer);
    } else if (json_complete(&r->json) || !cut) {
        if (!json_complete(&r->json))
            answer_event_drop(&r->answer);
        if (answer_event_end(&r->answer, is_stream(r) ? ANSWER_STREAM : ANSWER_DOCUMENT, name))
            output_seen(r);
    } else {
        answer_event_drop(&r->answer);
        r->cut = true;
    }
    data_end(r);
}

static void on_message(void *user, const char *name, bool is_error)
{
    struct reply *r = user;

    json_finish(&r->json);
    if (!json_complete(&r->json))
        answer_event_drop(&r->answer);
    if (is_error)
        answer_exception(&r->answer, name);
    if (answer_event_end(&r->answer, is_stream(r) ? ANSWER_STREAM : ANSWER_DOCUMENT, name))
        output_seen(r);
    data_end(r);
}

void reply_head(struct reply *r, const struct ask *ask, uint16_t status)
{
    const struct profile_operation *op = ask ? ask->operation : NULL;

    r->ask = ask;
    r->status = status;
    answer_init(&r->answer, op ? op->family : NULL);
    for (uint32_t i = 0; i < r->number_count; i++)
        answer_header_number(&r->answer, r->numbers[i].slot, r->numbers[i].name,
                             r->numbers[i].value);
    body_init(&r->body, r->coding, &r->flow);
}

static void framing_begin(struct reply *r, uint8_t first)
{
    const struct json_events json_events = {
        .user = r, .on_value = on_value, .on_document = on_document};
    const struct sse_events sse_events = {.user = r, .on_data = on_data, .on_event = on_event};
    const struct eventstream_events messages = {
        .user = r, .on_data = on_data, .on_message = on_message};
    const struct profile_family *family = r->answer.family;

    /* Whatever the header says: some providers send JSON errors as streams. */
    if (first == '{')
        r->framing = REPLY_JSON;
    else if (first == '[')
        r->framing = REPLY_JSON_ARRAY;
    else if (r->says == REPLY_SAYS_EVENTSTREAM)
        r->framing = REPLY_EVENTSTREAM;
    else
        r->framing = r->says == REPLY_SAYS_SSE ? REPLY_SSE : REPLY_OTHER;
    if (!family) {
        r->framing = r->framing == REPLY_SSE ? REPLY_SSE : REPLY_OTHER;
        return;
    }
    json_init(&r->json, family->answer_paths, &json_events, r->framing == REPLY_JSON_ARRAY);
    if (call_is_measured(r->ask->operation))
        extent_init(&r->extent_scan,
                    is_stream(r) || (family->answer && family->answer->framing == FRAMING_LINES)
                        ? EXTENT_STREAM
                        : EXTENT_ANSWER,
                    &r->extent);
    if (r->framing == REPLY_SSE)
        sse_init(&r->sse, &sse_events);
    else if (r->framing == REPLY_EVENTSTREAM)
        eventstream_init(&r->eventstream, &messages);
}

static void on_piece(void *user, struct slice piece)
{
    struct reply *r = user;

    if (r->framing == REPLY_UNSEEN) {
        size_t skip = 0;

        while (skip < piece.len && strchr(" \t\r\n", piece.data[skip]) && piece.data[skip])
            skip++;
        if (skip == piece.len)
            return;
        framing_begin(r, piece.data[skip]);
        piece = slice_of(piece.data + skip, piece.len - skip);
    }
    if (!r->answer.family)
        return;
    if (r->framing == REPLY_SSE) {
        sse_feed(&r->sse, piece);
    } else if (r->framing == REPLY_EVENTSTREAM) {
        eventstream_feed(&r->eventstream, piece);
    } else if (r->framing == REPLY_JSON || r->framing == REPLY_JSON_ARRAY) {
        json_feed(&r->json, piece);
        if (r->extent_scan.total)
            extent_feed(&r->extent_scan, piece);
    }
}

void reply_body(struct reply *r, struct slice piece, uint64_t now_ns)
{
    r->now_ns = now_ns;
    r->body_bytes += piece.len;
    if (r->ask && !r->body.failed && body_feed(&r->body, piece, on_piece, r))
        r->cut = r->undecoded = true;
}

/* Whatever the framing around it still owed: the document has been said. */
static bool document_whole(const struct reply *r)
{
    return r->answer.family && (r->framing == REPLY_JSON || r->framing == REPLY_JSON_ARRAY) &&
           json_complete(&r->json);
}

void reply_end(struct reply *r, bool whole)
{
    if (!r->open)
        return;
    r->open = false;
    whole |= document_whole(r);
    if (r->answer.family && r->framing == REPLY_SSE)
        sse_finish(&r->sse);
    if (r->answer.family && (r->framing == REPLY_JSON || r->framing == REPLY_JSON_ARRAY)) {
        json_finish(&r->json);
        if (!json_complete(&r->json)) {
            r->cut = true;
            /* A torn document still said what it said; a torn element of a stream did not. */
            if (r->framing == REPLY_JSON && !is_stream(r))
                on_document(r);
            answer_event_drop(&r->answer);
        }
    }
    if (r->answer.family && r->framing == REPLY_EVENTSTREAM &&
        !eventstream_whole(&r->eventstream)) {
        r->cut = true;
        answer_event_drop(&r->answer);
    }
    r->cut |= !whole;
    extent_finish(&r->extent_scan);
    json_fini(&r->json);
    sse_fini(&r->sse);
    eventstream_fini(&r->eventstream);
    body_fini(&r->body);
}

bool reply_failed(const struct reply *r)
{
    return r->status >= 400 || r->answer.error;
}

bool reply_content_complete(const struct reply *r)
{
    return is_stream(r) ? r->done_mark || r->answer.end : r->answer.events > 0 && !r->cut;
}

static void fill_latency(const struct reply *r, struct call *call)
{
    const struct ask *ask = r->ask;

    if (ask->complete && r->first_byte_ns >= ask->complete_ns)
        call->latency.first_byte_us =
            opt_u64((r->first_byte_ns - ask->complete_ns) / NSEC_PER_USEC);
    if (r->first_output_ns)
        call->latency.first_token_us =
            opt_u64((r->first_output_ns - ask->start_ns) / NSEC_PER_USEC);
    gaps_fill(&r->gaps, &call->latency);
}

/* "com.amazon.coral#ThrottlingException" */
static const char *after_hash(const char *type)
{
    const char *hash = strrchr(type, '#');

    return hash ? hash + 1 : type;
}

static void fill_text(char *to, size_t size, const char *first, const char *second)
{
    text_copy(to, size, slice_str(first[0] ? first : second));
}

void reply_fill(const struct reply *r, bool repeats, struct call *call)
{
    const struct answer *a = &r->answer;
    const struct profile_answer *p = a->family ? a->family->answer : NULL;
    bool stream = is_stream(r);

    call->status_code = r->status;
    call->streaming = stream;
    fill_text(call->model_responded, sizeof(call->model_responded), a->model, r->model);
    fill_text(call->request_id, sizeof(call->request_id), r->request_id, "");
    /* The id of an error is not one of an answer. */
    if (r->status < 400)
        fill_text(call->response_id, sizeof(call->response_id), a->id, "");
    fill_text(call->service_tier, sizeof(call->service_tier), a->tier, r->service_tier);
    fill_text(call->finish_reason, sizeof(call->finish_reason), a->finish, "");
    call->pending = a->pending && !reply_failed(r);
    fill_text(call->result_id, sizeof(call->result_id), a->result, "");
    fill_text(call->amend_id, sizeof(call->amend_id), r->ask->response, a->id);
    if (a->promise[0])
        fill_text(call->amend_id, sizeof(call->amend_id), a->promise, "");
    if (r->organization[0])
        fill_text(call->billed_organization, sizeof(call->billed_organization), r->organization,
                  "");
    if (r->project[0])
        fill_text(call->billed_project, sizeof(call->billed_project), r->project, "");
    if (reply_failed(r)) {
        fill_text(call->error_type, sizeof(call->error_type), r->error_type,
                  after_hash(a->error_type));
        fill_text(call->error_code, sizeof(call->error_code), a->error_code, "");
    }
    call->tool_calls = a->tool_calls;
    if (stream || (p && p->framing == FRAMING_NDJSON))
        call->stream_events = a->events;
    call->stream_complete = stream && reply_content_complete(r);
    call->limit_requests = r->limit_requests;
    call->remaining_requests = r->remaining_requests;
    call->limit_tokens = r->limit_tokens;
    call->remaining_tokens = r->remaining_tokens;
    call->retry_after_ms = r->retry_after_ms;
    call->response_body_bytes = r->body_bytes;
    usage_fill(a, stream, repeats, call);
    call->usage_final &= !r->undecoded;
    fill_latency(r, call);
}
