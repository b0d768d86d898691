/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/call_estimate.h"

#include <math.h>
#include <string.h>

bool call_is_measured(const struct profile_operation *op)
{
    return op && op->operation && !op->repeats &&
           (strcmp(op->operation, "chat") == 0 || strcmp(op->operation, "completion") == 0);
}

static struct usage_row *row_find(struct call *call, const char *kind)
{
    for (uint32_t i = 0; i < call->usage_count; i++) {
        struct usage_row *row = &call->usage[i];

        if (strcmp(row->kind, kind) == 0 && strcmp(row->modality, "text") == 0 &&
            strcmp(row->unit, "token") == 0 && !row->model[0])
            return row;
    }
    return NULL;
}

static struct usage_row *row_of(struct call *call, const char *kind)
{
    struct usage_row *row = row_find(call, kind);

    if (row || call->usage_count >= CALL_USAGE_MAX)
        return row;
    row = &call->usage[call->usage_count++];
    *row = (struct usage_row){.kind = kind, .modality = "text", .unit = "token"};
    return row;
}

static uint64_t whole(double tokens)
{
    return (uint64_t)llround(fmin(fmax(tokens, 0), 1e12));
}

/* `least` is known to have been billed, `most` cannot have been passed. */
static void row_fill(struct estimator *e, struct usage_row *row, const struct estimate_range *r,
                     uint64_t least, struct opt_u64 most, enum usage_source source)
{
    uint64_t low = whole(r->low), count = whole(r->expected), high = whole(r->high);

    if (!row)
        return;
    if (most.known) {
        high = high < most.value ? high : most.value;
        count = count < most.value ? count : most.value;
        low = low < most.value ? low : most.value;
    }
    low = low > least ? low : least;
    count = count > low ? count : low;
    high = high > count ? high : count;
    row->low = opt_u64(low);
    row->count = opt_u64(count);
    row->high = opt_u64(high);
    row->source = source;
    estimator_count(e, source);
}

static void fill(struct estimator *e, const struct estimate_key *key,
                 const struct estimate_sizes *sizes, bool provisional, struct call *call)
{
    const struct usage_row *input = row_find(call, "input"), *output = row_find(call, "output");
    uint64_t least = provisional && output && output->count.known ? output->count.value : 0;
    struct estimate_range range;

    if (!(input && input->count.known) && !call->input_tokens_total.known &&
        estimator_input(e, key, sizes, &range) == 0)
        row_fill(e, row_of(call, "input"), &range, 1, (struct opt_u64){0}, USAGE_ESTIMATED);
    if ((output && output->count.known && !provisional) ||
        estimator_output(e, key, sizes, &range) != 0)
        return;
    row_fill(e, row_of(call, "output"), &range, least, call->max_output_tokens, USAGE_MEASURED);
    if (row_find(call, "reasoning") || estimator_hidden(e, key, sizes, &range) != 0)
        return;
    row_fill(e, row_of(call, "reasoning"), &range, 0, call->max_output_tokens, USAGE_ESTIMATED);
}

static void learn(struct estimator *e, const struct estimate_key *key,
                  const struct estimate_sizes *sizes, const struct call *call)
{
    const struct call_reported *r = &call->reported;
    struct estimate_report report = {
        .input_tokens = call->input_tokens_total,
        .output_tokens = call->output_tokens_total,
        .reasoning_tokens = r->reasoning_tokens,
    };

    /* Results of the provider's own tools and media are no part of the request's text. */
    if (r->web_search_requests.value || r->tool_use_input_tokens.value ||
        r->audio_input_tokens.value || r->image_input_tokens.value)
        report.input_tokens.known = false;
    if (r->audio_output_tokens.value || r->image_output_tokens.value)
        report.output_tokens.known = false;
    estimator_learn(e, key, sizes, &report);
}

void call_estimate(struct estimator *e, const struct ask *ask, const struct reply *reply,
                   struct call *call)
{
    const struct profile_usage *u = reply->answer.family ? reply->answer.family->usage : NULL;
    struct estimate_key key = {
        .api = call->api,
        .provider = call->provider,
        .model = call->model_responded[0] ? call->model_responded : call->model_requested,
    };
    struct estimate_sizes sizes = {
        .request = ask->extent,
        .answer = reply->extent,
        .request_whole = ask->complete,
        .streaming = call->streaming,
    };

    for (int k = 0; k < EXTENT_KINDS; k++)
        call->output_bytes += reply->extent.bytes[k];
    if (!e || !call_is_measured(ask->operation) || ask->is_head || call->status_code < 200 ||
        call->status_code >= 300 || reply->undecoded)
        return;
    /* Another answer has the usage, or had it: an estimate would count it twice. */
    if (call->pending || call->late)
        return;
    if (call->usage_reported && call->usage_final) {
        if (call->outcome == CALL_OK)
            learn(e, &key, &sizes, call);
    } else if (call->outcome != CALL_PROVIDER_ERROR || reply->first_output_ns) {
        fill(e, &key, &sizes, u && u->provisional && call->usage_reported, call);
    }
}
