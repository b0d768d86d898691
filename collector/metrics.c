/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text: the collector's own counters, and the traffic under the
 * OpenTelemetry GenAI names (with that convention's histogram bounds). */
#include "collector/api.h"
#include "collector/deliver.h"
#include "collector/exposed.h"
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

/* A summary without quantiles: sum and number of the calls where they are known. */
static int add_tokens(struct buf *out, const struct view_row *rows, unsigned count)
{
    int r = buf_append_str(out, "# HELP gen_ai_client_token_usage Tokens of calls where they are"
                                " known.\n# TYPE gen_ai_client_token_usage summary\n");

    for (unsigned i = 0; i < count && r == 0; i++) {
        const struct rollup_sums *s = &rows[i].cell.sums;
        const struct {
            const char *type;
            uint64_t tokens, unknown;
        } types[] = {{"input", s->input_total, s->input_unknown},
                     {"output", s->output_total, s->output_unknown}};
        char labels[1024];

        make_labels(&rows[i], labels, sizeof(labels));
        for (int k = 0; k < 2 && r == 0; k++)
            r = buf_printf(out,
                           "gen_ai_client_token_usage_sum{%s,gen_ai_token_type=\"%s\"} %llu\n"
                           "gen_ai_client_token_usage_count{%s,gen_ai_token_type=\"%s\"} %llu\n",
                           labels, types[k].type, (unsigned long long)types[k].tokens, labels,
                           types[k].type, (unsigned long long)(s->calls - types[k].unknown));
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

/* The rows of the table, those that are not told apart as one. */
struct folding {
    struct exposed *exposed;
    bool is_offering; /* in the same pass */
    struct view *view;
};

static int add_folded(void *ctx, const struct store_series_name *name,
                      const struct rollup_cell *cell)
{
    struct folding *f = ctx;
    int r = f->is_offering ? exposed_offer(f->exposed, name, cell) : 0;
    struct store_series_name told = f->exposed ? exposed_name(f->exposed, name) : *name;

    return r < 0 ? r : view_add(f->view, &told, cell);
}

static int fill_view(const struct api_request *req, struct view *view)
{
    struct folding folding = {.exposed = req->exposed, .view = view};
    int r = 0;

    if (req->exposed) {
        exposed_begin(req->exposed);
        folding.is_offering = exposed_is_full(req->exposed);
        if (!folding.is_offering) {
            r = store_each_cell(req->store, ROLLUP_DAY, 0, INT64_MAX, exposed_offer, req->exposed);
            exposed_settle(req->exposed);
        }
    }
    if (r == 0)
        r = store_each_cell(req->store, ROLLUP_DAY, 0, INT64_MAX, add_folded, &folding);
    if (folding.is_offering)
        exposed_settle(req->exposed);
    return r;
}

static int add_traffic(const struct api_request *req, struct buf *out)
{
    CLEAN_VIEW struct view *view = NULL;
    const struct view_row *rows;
    unsigned count = 0;
    int r = view_new(false, 0, &view);

    if (r == 0)
        r = fill_view(req, view);
    if (r < 0)
        return r;
    rows = view_rows(view, &count);
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]) && r == 0; i++)
        r = add_counter(out, &counters[i], rows, count);
    if (r == 0)
        r = add_tokens(out, rows, count);
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

static int add_names(const struct pipeline_stats *s, struct buf *out)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
        bool is_wide;
    } kinds[] = {
        {"names", "gauge", "Names told apart, of the organisation with the most",
         offsetof(struct guard_stats, names), false},
        {"names_limit", "gauge", "How many are told apart", offsetof(struct guard_stats, limit),
         false},
        {"names_full", "gauge", "Organisations at the limit", offsetof(struct guard_stats, full),
         false},
        {"names_folded_total", "counter", "Events in which a name became (other)",
         offsetof(struct guard_stats, folded), true},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && r == 0; i++) {
        r = buf_printf(out, "# HELP lectr_collector_%s %s.\n# TYPE lectr_collector_%s %s\n",
                       kinds[i].name, kinds[i].help, kinds[i].name, kinds[i].type);
        for (int d = 0; d < GUARD__COUNT && r == 0; d++) {
            const char *field = (const char *)&s->names[d] + kinds[i].offset;
            uint64_t value = kinds[i].is_wide ? *(const uint64_t *)(const void *)field
                                              : *(const uint32_t *)(const void *)field;

            r = buf_printf(out, "lectr_collector_%s{dimension=\"%s\"} %llu\n", kinds[i].name,
                           guard_dimension_name((enum guard_dimension)d),
                           (unsigned long long)value);
        }
    }
    return r;
}

static int add_own(const struct api_request *req, struct buf *out)
{
    const struct pipeline_stats *s = req->stats;
    struct store_loss loss = {0};
    const uint64_t now_ns = clock_wall_ns();
    int64_t malformed = 0, duplicates = 0;
    int r = store_loss(req->store, &loss);

    if (r == 0)
        r = store_number_get(req->store, "malformed", &malformed);
    if (r == 0)
        r = store_number_get(req->store, "duplicates", &duplicates);
    if (r < 0)
        return r;
    const struct {
        const char *name, *type, *help;
        double value;
    } own[] = {
        {"events_received_total", "counter", "Events in the store", (double)loss.received},
        {"events_missing", "gauge", "Holes in the sequences of the agents", (double)loss.missing},
        {"events_duplicate_total", "counter", "Events that came again", (double)duplicates},
        {"events_malformed_total", "counter", "Messages kept aside", (double)malformed},
        {"events_late_total", "counter", "Calls for minutes that were closed", (double)s->late},
        {"batches_total", "counter", "Transactions of events", (double)s->batches},
        {"commit_seconds_total", "counter", "Time in these", 1e-9 * (double)s->commit_ns_total},
        {"commit_seconds_max", "gauge", "The longest of these", 1e-9 * (double)s->commit_ns_max},
        {"store_errors_total", "counter", "Transactions that failed", (double)s->store_errors},
        {"bus_errors_total", "counter", "Failures to reach NATS", (double)s->bus_errors},
        {"bus_connected", "gauge", "Whether NATS is there", s->connected},
        {"stream_pending_messages", "gauge", "Messages of the stream that were not fetched yet",
         (double)s->stream.pending},
        {"stream_behind_seconds", "gauge",
         "How long messages of the stream wait, 0 when all are stored",
         s->behind_ns && s->behind_ns < now_ns ? 1e-9 * (double)(now_ns - s->behind_ns) : 0},
        {"stream_messages_gone_total", "counter",
         "Messages that the stream dropped before they were taken", (double)s->stream.gone},
        {"stream_cuts_total", "counter",
         "Times that the stream was read again, for it lost its end or was made anew",
         (double)s->stream.cuts},
        {"collectors", "gauge", "Collectors that share the store, alive", s->collectors},
        {"lanes", "gauge", "Lanes that this one writes", s->lanes},
        {"rollups_published_total", "counter", "Roll-ups told on NATS", (double)s->rollups_told},
        {"rollups_given_up_total", "counter", "Roll-ups that NATS does not take",
         (double)s->rollups_given_up},
        {"rollups_revised_total", "counter", "Of these: told before, and changed",
         (double)s->rollups_revised},
        {"baseline_series_refused_total", "counter", "Cells of series beyond the detector's limit",
         (double)s->series_refused},
        {"alerts_total", "counter", "Transitions of alerts", (double)s->alerts},
        {"alerts_silenced_total", "counter", "Transitions that receivers are not told",
         (double)s->rules.silenced},
        {"alerting_rules", "gauge", "Rules of the file", (double)s->rules.rules},
        {"alerting_groups", "gauge", "Groups that rules look at", (double)s->rules.groups},
        {"alerting_groups_refused_total", "counter", "Cells of groups beyond the limit",
         (double)s->rules.refused},
        {"alerting_silences", "gauge", "Silences that are kept", (double)s->rules.silences},
        {"alerting_reloads_total", "counter", "Files of rules read again",
         (double)s->rules.reloads},
        {"alerting_reload_failures_total", "counter", "Broken ones, which left the old rules",
         (double)s->rules.reload_failures},
        {"alerts_pending", "gauge", "Alerts that wait for NATS", (double)s->alerts_pending},
        {"damaged_rollups_total", "counter",
         "Sketches and tallies of roll-ups that were passed over when read, for they are damaged",
         (double)store_damaged()},
        {"alerts_given_up_total", "counter",
         "Alerts, or their CloudEvents, that NATS does not take", (double)s->alerts_given_up},
        {"baseline_series", "gauge", "Series with a baseline", (double)s->series},
        {"watermark_seconds", "gauge", "Latest time of an event", 1e-9 * (double)s->watermark_ns},
    };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && r == 0; i++)
        r = buf_printf(out,
                       "# HELP lectr_collector_%s %s.\n# TYPE lectr_collector_%s %s\n"
                       "lectr_collector_%s %.15g\n",
                       own[i].name, own[i].help, own[i].name, own[i].type, own[i].name,
                       own[i].value);
    return r;
}

/* One number of each receiver. */
static const struct receiver_metric {
    const char *name, *type, *help;
    size_t offset;
} receiver_metrics[] = {
    {"delivered_total", "counter", "Letters that a receiver took",
     offsetof(struct deliver_receiver_stats, delivered)},
    {"delivery_failures_total", "counter", "Attempts in vain",
     offsetof(struct deliver_receiver_stats, failed_attempts)},
    {"letters_died_total", "counter", "Letters that were given up",
     offsetof(struct deliver_receiver_stats, died)},
    {"letters_dropped_total", "counter", "Dead letters beyond those that are kept",
     offsetof(struct deliver_receiver_stats, dropped)},
    {"letters_pending", "gauge", "Letters that wait",
     offsetof(struct deliver_receiver_stats, pending)},
    {"letters_dead", "gauge", "Dead letters that are kept",
     offsetof(struct deliver_receiver_stats, dead)},
};

static int add_receivers(const struct deliver_stats *d, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; i < sizeof(receiver_metrics) / sizeof(receiver_metrics[0]) && r == 0; i++) {
        const struct receiver_metric *m = &receiver_metrics[i];

        r = buf_printf(out, "# HELP lectr_collector_%s %s.\n# TYPE lectr_collector_%s %s\n",
                       m->name, m->help, m->name, m->type);
        for (unsigned k = 0; k < d->count && r == 0; k++) {
            const char *stats = (const char *)&d->receivers[k];
            char name[2 * DELIVER_NAME_BYTES];

            escape_label(d->receivers[k].name, name, sizeof(name));
            r = buf_printf(
                out, "lectr_collector_%s{receiver=\"%s\",type=\"%s\"} %llu\n", m->name, name,
                d->receivers[k].type,
                (unsigned long long)*(const uint64_t *)(const void *)(stats + m->offset));
        }
    }
    return r;
}

static int add_exposed(const struct exposed *e, struct buf *out)
{
    return buf_printf(out,
                      "# HELP lectr_collector_metrics_series_shown Series told apart here.\n"
                      "# TYPE lectr_collector_metrics_series_shown gauge\n"
                      "lectr_collector_metrics_series_shown %u\n"
                      "# HELP lectr_collector_metrics_series_folded Series that share (other).\n"
                      "# TYPE lectr_collector_metrics_series_folded gauge\n"
                      "lectr_collector_metrics_series_folded %u\n",
                      exposed_shown(e), exposed_folded(e));
}

int metrics_answer(const struct api_request *req, struct buf *out)
{
    int r = add_own(req, out);

    if (r == 0)
        r = add_names(req->stats, out);
    if (r == 0 && req->deliver)
        r = add_receivers(req->deliver, out);
    if (r == 0)
        r = add_traffic(req, out);
    if (r == 0 && req->exposed)
        r = add_exposed(req->exposed, out);
    return r;
}
