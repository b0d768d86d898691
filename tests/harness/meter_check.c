/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/meter_check.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_mismatch(struct check *c, const char *field, const char *expected, const char *got)
{
    c->failed++;
    if (!c->quiet)
        printf("%s %s %s %s\n", c->id, field, expected, got);
}

static void check_text(struct check *c, const json_t *truth, const char *field, const char *got)
{
    const json_t *want = json_object_get(truth, field);
    char text[512] = "";

    c->fields++;
    if (json_is_string(want))
        snprintf(text, sizeof(text), "%s", json_string_value(want));
    else if (json_is_integer(want))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(want));
    if (strcmp(text, got) != 0)
        check_mismatch(c, field, text[0] ? text : "-", got[0] ? got : "-");
}

static void check_number(struct check *c, const json_t *truth, const char *field, bool known,
                         double got)
{
    const json_t *want = json_object_get(truth, field);
    char a[64] = "-", b[64] = "-";

    c->fields++;
    if (json_is_number(want))
        snprintf(a, sizeof(a), "%.6g", json_number_value(want));
    if (known)
        snprintf(b, sizeof(b), "%.6g", got);
    if (json_is_number(want) != known ||
        (known && fabs(json_number_value(want) - got) > 1e-9 * (1 + fabs(got))))
        check_mismatch(c, field, a, b);
}

static void check_flag(struct check *c, const json_t *truth, const char *field, bool got)
{
    bool want = json_is_true(json_object_get(truth, field));

    c->fields++;
    if (want != got)
        check_mismatch(c, field, want ? "true" : "false", got ? "true" : "false");
}

static void check_numbers(struct check *c, const json_t *truth, const struct call *call)
{
    const struct call_reported *r = &call->reported;
    const struct {
        const char *field;
        struct opt_u64 got;
        bool extra; /* compared only where the truth has it */
    } table[] = {
        {"input_tokens", r->input_tokens, false},
        {"output_tokens", r->output_tokens, false},
        {"total_tokens", r->total_tokens, false},
        {"cached_input_tokens", r->cached_input_tokens, false},
        {"cache_creation_tokens", r->cache_creation_tokens, false},
        {"cache_creation_5m_tokens", r->cache_creation_tokens_5m, false},
        {"cache_creation_1h_tokens", r->cache_creation_tokens_1h, false},
        {"reasoning_tokens", r->reasoning_tokens, false},
        {"audio_input_tokens", r->audio_input_tokens, false},
        {"audio_output_tokens", r->audio_output_tokens, false},
        {"image_input_tokens", r->image_input_tokens, false},
        {"image_output_tokens", r->image_output_tokens, false},
        {"tool_use_input_tokens", r->tool_use_input_tokens, false},
        {"input_tokens_total", call->input_tokens_total, false},
        {"output_tokens_total", call->output_tokens_total, false},
        {"counted_tokens", r->counted_tokens, true},
        {"images", r->images, true},
        {"web_search_requests", r->web_search_requests, true},
        {"pages_processed", r->pages_processed, true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (!table[i].extra || json_is_number(json_object_get(truth, table[i].field)))
            check_number(c, truth, table[i].field, table[i].got.known, (double)table[i].got.value);
    if (json_object_get(truth, "audio_seconds"))
        check_number(c, truth, "audio_seconds", r->audio_seconds.known, r->audio_seconds.value);
    if (json_object_get(truth, "search_units"))
        check_number(c, truth, "search_units", r->search_units.known, r->search_units.value);
    if (json_object_get(truth, "reported_cost_usd")) {
        double want = json_number_value(json_object_get(truth, "reported_cost_usd"));
        double got = (double)r->cost_nanousd.value / 1e9;

        c->fields++;
        if (!r->cost_nanousd.known || fabs(want - got) > 1e-9)
            check_mismatch(c, "reported_cost_usd", "cost", "other");
    }
}

static bool raw_has(const struct call_reported *r, const char *key, double number, uint64_t *used)
{
    for (uint32_t i = 0; i < r->raw_count; i++) {
        char path[sizeof(r->raw[i].path)], *last;

        snprintf(path, sizeof(path), "%s", r->raw[i].path);
        last = strrchr(path, '.') ? strrchr(path, '.') + 1 : path;
        last[strcspn(last, "[")] = '\0';
        if (*used & 1ULL << i || (key && strcmp(last, key) != 0) ||
            strtod(r->raw[i].value, NULL) != number)
            continue;
        *used |= 1ULL << i;
        return true;
    }
    return false;
}

/* Every number of the truth's usage stands in the event as it stood in the answer. */
static void check_raw(struct check *c, const char *key, const json_t *truth,
                      const struct call_reported *r, uint64_t *used)
{
    const char *name;
    json_t *value;
    size_t i;
    char text[32];

    if (json_is_number(truth)) {
        c->fields++;
        snprintf(text, sizeof(text), "%.6g", json_number_value(truth));
        if (!raw_has(r, key, json_number_value(truth), used))
            check_mismatch(c, key ? key : "raw", text, "-");
    }
    json_object_foreach((json_t *)(uintptr_t)truth, name, value) check_raw(c, name, value, r, used);
    json_array_foreach(truth, i, value) check_raw(c, key, value, r, used);
}

/* Every token is in exactly one row: the rows of a direction sum up to its total.
 * Where the provider's parts are larger than the whole they say more, and nothing
 * is left for the base row. */
static void check_rows_of(struct check *c, const struct call *call, bool output,
                          const struct opt_u64 *total)
{
    const char *base = output ? "output" : "input";
    double sum = 0, rest = 0;
    char a[32], b[32];

    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *r = &call->usage[i];
        bool is_output = strcmp(r->kind, "output") == 0 || strcmp(r->kind, "reasoning") == 0 ||
                         strcmp(r->kind, "unbilled_output") == 0;

        if (strcmp(r->unit, "token") != 0 || r->model[0] || !r->count.known || is_output != output)
            continue;
        sum += (double)r->count.value;
        if (strcmp(r->kind, base) == 0 && strcmp(r->modality, "text") == 0)
            rest += (double)r->count.value;
    }
    c->fields++;
    if (!total->known || sum == (double)total->value || (sum > (double)total->value && rest == 0))
        return;
    snprintf(a, sizeof(a), "%llu", (unsigned long long)total->value);
    snprintf(b, sizeof(b), "%.0f", sum);
    check_mismatch(c, output ? "rows(output)" : "rows(input)", a, b);
}

void check_call(struct check *c, const json_t *exchange, const struct call *call)
{
    const json_t *truth = json_object_get(exchange, "truth");
    bool error = call->outcome == CALL_PROVIDER_ERROR;

    check_text(c, exchange, "provider", call->provider);
    check_text(c, truth, "api", call->api);
    check_text(c, truth, "operation", call->operation);
    check_text(c, truth, "model_requested", call->model_requested);
    check_text(c, truth, "model_responded", call->model_responded);
    check_flag(c, truth, "streaming", call->streaming);
    check_flag(c, truth, "streaming_requested", call->streaming_requested);
    check_number(c, truth, "status", true, call->status_code);
    check_flag(c, truth, "is_error", error);
    check_text(c, truth, "error_type", call->error_type);
    check_text(c, truth, "error_code", call->error_code);
    check_text(c, truth, "finish_reason", call->finish_reason);
    check_text(c, truth, "request_id", call->request_id);
    check_text(c, truth, "response_id", call->response_id);
    check_flag(c, truth, "usage_reported", call->usage_reported);
    check_flag(c, truth, "usage_final", call->usage_final);
    check_flag(c, truth, "stream_complete", call->stream_complete);
    /* The truth does not look for calls in these bodies; tests/golden has some. */
    if (strcmp(call->api, "ollama.chat") != 0 && strcmp(call->api, "bedrock.invoke") != 0)
        check_number(c, truth, "tool_calls", true, call->tool_calls);
    if (json_is_number(json_object_get(truth, "stream_events")) || call->stream_events)
        check_number(c, truth, "stream_events", true, call->stream_events);
    if (json_is_string(json_object_get(truth, "service_tier")))
        check_text(c, truth, "service_tier", call->service_tier);
    check_numbers(c, truth, call);
    check_raw(c, NULL, json_object_get(truth, "usage_raw"), &call->reported, &(uint64_t){0});
    check_raw(c, NULL, json_object_get(truth, "invocation_metrics"), &call->reported,
              &(uint64_t){0});
    if (call->usage_reported && call->usage_count) {
        check_rows_of(c, call, false, &call->input_tokens_total);
        check_rows_of(c, call, true, &call->output_tokens_total);
    }
}

void check_first(struct check *c, const json_t *truth, const struct call *call)
{
    const json_t *want = json_object_get(truth, "first_output_end_offset");
    double got = (double)call->latency.first_token_us.value;
    char a[32], b[32];

    c->fields++;
    snprintf(a, sizeof(a), "%.0f", json_number_value(want));
    snprintf(b, sizeof(b), call->latency.first_token_us.known ? "%.0f" : "-", got);
    /* An event ends with the CR of its CRLF or the LF: one byte either way. */
    if (json_is_number(want) != call->latency.first_token_us.known ||
        (json_is_number(want) && fabs(json_number_value(want) - got) > 2))
        check_mismatch(c, "first_output_end_offset", json_is_number(want) ? a : "-", b);
}
