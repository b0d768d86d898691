/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text: the collector's own counters, and the traffic under the
 * OpenTelemetry GenAI names (with that convention's histogram bounds). */
#include "collector/api.h"
#include "collector/store_query.h"
#include "collector/view.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

static const double duration_bounds_s[] = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                           1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};

/* Quotes of a label value. */
static void escape_label(const char *text, char *ret_text, size_t size)
{
    size_t n = 0;

    for (; *text && n + 3 < size; text++) {
        if (*text == '"' || *text == '\\')
            ret_text[n++] = '\\';
        ret_text[n++] = *text;
    }
    ret_text[n] = '\0';
}

static void make_labels(const struct view_row *row, char *ret_text, size_t size)
{
    char org[128], feature[192], provider[128], model[320];

    escape_label(row->org, org, sizeof(org));
    escape_label(row->feature, feature, sizeof(feature));
    escape_label(row->provider, provider, sizeof(provider));
    escape_label(row->model, model, sizeof(model));
    snprintf(ret_text, size,
             "lectr_org=\"%s\",lectr_feature=\"%s\",gen_ai_provider_name=\"%s\","
             "gen_ai_request_model=\"%s\"",
             org, feature, provider, model);
}

static int add_histogram(struct buf *out, const char *name, const char *labels,
                         const struct sketch *s)
{
    int r = 0;

    if (s->count == 0)
        return 0;
    for (size_t i = 0; i < sizeof(duration_bounds_s) / sizeof(duration_bounds_s[0]) && r == 0; i++)
        r = buf_printf(
            out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, duration_bounds_s[i],
            (unsigned long long)(s->count - sketch_count_above(s, duration_bounds_s[i] * 1e6)));
    if (r == 0)
        r = buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.6f\n%s_count{%s} %llu\n",
                       name, labels, (unsigned long long)s->count, name, labels,
                       1e-6 * (double)s->sum, name, labels, (unsigned long long)s->count);
    return r;
}

/* One counter of a row; `type` is the token type or "". */
struct traffic_counter {
    const char *name, *help, *type;
    size_t offset;
};

static const struct traffic_counter counters[] = {
    {"lectr_calls_total", "Calls that ended", "", offsetof(struct rollup_sums, calls)},
    {"lectr_call_errors_total", "Calls that failed", "", offsetof(struct rollup_sums, errors)},
    {"gen_ai_client_token_usage_sum", "Tokens of calls where they are known", "input",
     offsetof(struct rollup_sums, input_total)},
    {"gen_ai_client_token_usage_sum", NULL, "output", offsetof(struct rollup_sums, output_total)},
    {"lectr_calls_tokens_unknown_total", "Calls whose tokens are not known", "input",
     offsetof(struct rollup_sums, input_unknown)},
    {"lectr_calls_tokens_unknown_total", NULL, "output",
     offsetof(struct rollup_sums, output_unknown)},
    {"lectr_calls_cost_unknown_total", "Calls whose cost is not known", "",
     offsetof(struct rollup_sums, cost_unknown)},
};

static int add_counter(struct buf *out, const struct traffic_counter *c,
                       const struct view_row *rows, unsigned count)
{
    int r = c->help
                ? buf_printf(out, "# HELP %s %s.\n# TYPE %s counter\n", c->name, c->help, c->name)
                : 0;

    for (unsigned i = 0; i < count && r == 0; i++) {
        const char *sums = (const char *)&rows[i].cell.sums;
        char labels[1024];

        make_labels(&rows[i], labels, sizeof(labels));
        r = buf_printf(out, "%s{%s%s%s%s} %llu\n", c->name, labels,
                       c->type[0] ? ",gen_ai_token_type=\"" : "", c->type, c->type[0] ? "\"" : "",
                       (unsigned long long)*(const uint64_t *)(const void *)(sums + c->offset));
    }
    return r;
}

static int add_cost(struct buf *out, const struct view_row *rows, unsigned count)
{
    int r = buf_append_str(out, "# HELP lectr_cost_usd_total Cost of calls where it is known.\n"
                                "# TYPE lectr_cost_usd_total counter\n");

    for (unsigned i = 0; i < count && r == 0; i++) {
        const struct rollup_sums *s = &rows[i].cell.sums;
        char labels[1024];

        make_labels(&rows[i], labels, sizeof(labels));
        r = buf_printf(out,
                       "lectr_cost_usd_total{%s,bound=\"low\"} %.9f\n"
                       "lectr_cost_usd_total{%s,bound=\"expected\"} %.9f\n"
                       "lectr_cost_usd_total{%s,bound=\"high\"} %.9f\n",
                       labels, 1e-9 * (double)s->cost_low_nanousd, labels,
                       1e-9 * (double)s->cost_expected_nanousd, labels,
                       1e-9 * (double)s->cost_high_nanousd);
    }
    return r;
}

static int add_histograms(struct buf *out, const struct view_row *rows, unsigned count,
                          const char *name, const char *help, size_t offset)
{
    int r = buf_printf(out, "# HELP %s %s.\n# TYPE %s histogram\n", name, help, name);

    for (unsigned i = 0; i < count && r == 0; i++) {
        const char *cell = (const char *)&rows[i].cell;
        char labels[1024];

        make_labels(&rows[i], labels, sizeof(labels));
        r = add_histogram(out, name, labels, (const struct sketch *)(const void *)(cell + offset));
    }
    return r;
}

static int add_traffic(const struct api_request *req, struct buf *out)
{
    CLEAN_VIEW struct view *view = NULL;
    const struct view_row *rows;
    unsigned count = 0;
    int r = view_new(false, 0, &view);

    if (r == 0)
        r = store_each_cell(req->store, ROLLUP_DAY, 0, INT64_MAX, view_add, view);
    if (r < 0)
        return r;
    rows = view_rows(view, &count);
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]) && r == 0; i++)
        r = add_counter(out, &counters[i], rows, count);
    if (r == 0)
        r = add_cost(out, rows, count);
    if (r == 0)
        r = add_histograms(out, rows, count, "gen_ai_client_operation_duration_seconds",
                           "Request start to response end", offsetof(struct rollup_cell, latency));
    if (r == 0)
        r = add_histograms(out, rows, count, "gen_ai_server_time_to_first_token_seconds",
                           "Request start to first generated output",
                           offsetof(struct rollup_cell, ttft));
    return r;
}

static int add_own(const struct api_request *req, struct buf *out)
{
    const struct pipeline_stats *s = req->stats;
    struct store_loss loss = {0};
    int64_t malformed = 0, duplicates = 0;
    int r = store_loss(req->store, &loss);

    if (r == 0)
        r = store_number_get(req->store, "malformed", &malformed);
    if (r == 0)
        r = store_number_get(req->store, "duplicates", &duplicates);
    if (r < 0)
        return r;
    const struct {
        const char *name, *type;
        double value;
    } own[] = {
        {"lectr_collector_events_received", "counter", (double)loss.received},
        {"lectr_collector_events_missing", "gauge", (double)loss.missing},
        {"lectr_collector_events_duplicate_total", "counter", (double)duplicates},
        {"lectr_collector_events_malformed_total", "counter", (double)malformed},
        {"lectr_collector_events_late_total", "counter", (double)s->late},
        {"lectr_collector_batches_total", "counter", (double)s->batches},
        {"lectr_collector_commit_seconds_total", "counter", 1e-9 * (double)s->commit_ns_total},
        {"lectr_collector_commit_seconds_max", "gauge", 1e-9 * (double)s->commit_ns_max},
        {"lectr_collector_store_errors_total", "counter", (double)s->store_errors},
        {"lectr_collector_bus_errors_total", "counter", (double)s->bus_errors},
        {"lectr_collector_bus_connected", "gauge", s->connected},
        {"lectr_collector_alerts_total", "counter", (double)s->alerts},
        {"lectr_collector_alerts_pending", "gauge", (double)s->alerts_pending},
        {"lectr_collector_baseline_series", "gauge", (double)s->series},
        {"lectr_collector_watermark_seconds", "gauge", 1e-9 * (double)s->watermark_ns},
    };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && r == 0; i++)
        r = buf_printf(out, "# TYPE %s %s\n%s %.15g\n", own[i].name, own[i].type, own[i].name,
                       own[i].value);
    return r;
}

int metrics_answer(const struct api_request *req, struct buf *out)
{
    int r = add_own(req, out);

    return r < 0 ? r : add_traffic(req, out);
}
