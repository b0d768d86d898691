/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/api.h"

#include "collector/api_query.h"
#include "collector/store_query.h"
#include "collector/view.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define DAY_S 86400
#define LIMIT_MAX 10000
#define LIMIT_DEFAULT 1000
#define UNPRICED_MAX 1000
#define BUCKETS_MAX 50000
#define TIME_MAX_S INT64_C(253402300799) /* the last of year 9999 */

struct range {
    enum rollup_resolution res;
    int64_t from_s, to_s; /* bucket bounds */
};

/* ?window=15m&to=UNIX: the finest resolution that is kept and is not too much. */
static int read_range(const struct api_request *req, const char *fallback, struct range *ret_range,
                      struct buf *out)
{
    const char *window = req->param(req->param_ctx, "window");
    const char *to = req->param(req->param_ctx, "to");
    const bool event_clock = strcmp(req->config->detect.clock, "event") == 0;
    uint64_t now_ns = event_clock ? req->stats->watermark_ns : req->wall_ns;
    int64_t to_s = (int64_t)(now_ns / NSEC_PER_SEC), span_s = 0, step_s;

    if (api_span(window && *window ? window : fallback, &span_s) < 0)
        return api_complain(out, "window",
                            "use a number and s, m, h, d or w, as in 15m, 3660d at most");
    if (to && *to && api_number(to, TIME_MAX_S, &to_s) < 0)
        return api_complain(out, "to", "use Unix seconds");
    ret_range->res = span_s <= DAY_S * 2    ? ROLLUP_MINUTE
                     : span_s <= DAY_S * 60 ? ROLLUP_HOUR
                                            : ROLLUP_DAY;
    step_s = rollup_seconds[ret_range->res];
    ret_range->to_s = to_s - to_s % step_s + step_s;
    ret_range->from_s = ret_range->to_s - (span_s + step_s - 1) / step_s * step_s;
    if (ret_range->from_s < 0)
        ret_range->from_s = 0;
    return 0;
}

/* --- JSON --- */

static json_t *number_or_null(bool known, double value)
{
    return known ? json_real(value) : json_null();
}

static json_t *count_or_null(bool known, uint64_t value)
{
    return known ? json_integer((json_int_t)value) : json_null();
}

/* [us] */
static json_t *quantiles(const struct sketch *s)
{
    bool known = s->count > 0;

    return json_pack("{s:o, s:o, s:o, s:I}", "p50", number_or_null(known, sketch_quantile(s, 0.5)),
                     "p95", number_or_null(known, sketch_quantile(s, 0.95)), "p99",
                     number_or_null(known, sketch_quantile(s, 0.99)), "calls",
                     (json_int_t)s->count);
}

static json_t *tally_json(const struct tally *t)
{
    json_t *o = json_object();

    for (uint32_t i = 0; i < t->count; i++)
        json_object_set_new(o, t->items[i].name, json_integer((json_int_t)t->items[i].count));
    return o;
}

/* A sum is null when nothing of it is known; *_unknown says how many calls are not in it. */
static json_t *row_json(const struct view_row *row)
{
    const struct rollup_sums *s = &row->cell.sums;
    bool has_input = s->input_unknown < s->calls;
    bool has_output = s->output_unknown < s->calls;
    bool has_cost = s->cost_unknown < s->calls;
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "org", row->org, "feature", row->feature,
                  "provider", row->provider, "model", row->model, "calls", (json_int_t)s->calls,
                  "errors", (json_int_t)s->errors, "synthetic", (json_int_t)s->synthetic);

    if (row->bucket)
        json_object_set_new(o, "time", json_integer(row->bucket));
    json_object_set_new(o, "input_tokens", count_or_null(has_input, s->input_total));
    json_object_set_new(o, "input_unknown", json_integer((json_int_t)s->input_unknown));
    json_object_set_new(o, "output_tokens", count_or_null(has_output, s->output_total));
    json_object_set_new(o, "output_unknown", json_integer((json_int_t)s->output_unknown));
    json_object_set_new(o, "tokens",
                        json_pack("{s:o, s:o, s:o, s:o, s:o}", "input",
                                  count_or_null(has_input, s->input), "cached_input",
                                  count_or_null(has_input, s->cached_input), "cache_write",
                                  count_or_null(has_input, s->cache_write), "output",
                                  count_or_null(has_output, s->output), "reasoning",
                                  count_or_null(has_output, s->reasoning)));
    json_object_set_new(o, "retries", json_integer((json_int_t)s->retries));
    json_object_set_new(o, "usage", tally_json(&row->cell.usage));
    json_object_set_new(o, "error_types", tally_json(&row->cell.error_types));
    json_object_set_new(o, "tokens_estimated", json_integer((json_int_t)s->tokens_estimated));
    json_object_set_new(
        o, "cost_usd",
        json_pack("{s:o, s:o, s:o}", "low",
                  number_or_null(has_cost, 1e-9 * (double)s->cost_low_nanousd), "expected",
                  number_or_null(has_cost, 1e-9 * (double)s->cost_expected_nanousd), "high",
                  number_or_null(has_cost, 1e-9 * (double)s->cost_high_nanousd)));
    json_object_set_new(o, "cost_unknown", json_integer((json_int_t)s->cost_unknown));
    json_object_set_new(o, "latency_us", quantiles(&row->cell.latency));
    json_object_set_new(o, "ttft_us", quantiles(&row->cell.ttft));
    json_object_set_new(o, "added_us", quantiles(&row->cell.added));
    return o;
}

/* Their number is bounded as that of the other rows is. */
struct error_list {
    json_t *list;
    bool is_cut;
};

static int add_error_row(void *ctx, const struct store_error_row *row)
{
    struct error_list *errors = ctx;

    errors->is_cut = json_array_size(errors->list) == VIEW_ROWS_MAX;
    if (errors->is_cut)
        return 0;
    json_array_append_new(errors->list,
                          json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "type", row->type, "org",
                                    row->name.org, "feature", row->name.feature, "provider",
                                    row->name.provider, "model", row->name.model, "calls",
                                    (json_int_t)row->calls));
    return 0;
}

static int answer_rows(const struct api_request *req, const struct range *range, struct view *view,
                       struct buf *out)
{
    const struct view_row *rows;
    json_t *root = json_object(), *list = json_array();
    struct error_list errors = {.list = json_array()};
    unsigned count = 0;
    int r = store_each_cell(req->store, range->res, range->from_s, range->to_s, view_add, view);

    if (r == 0)
        r = store_each_error(req->store, range->res, range->from_s, range->to_s, add_error_row,
                             &errors);
    rows = view_rows(view, &count);
    for (unsigned i = 0; i < count && r == 0; i++)
        json_array_append_new(list, row_json(&rows[i]));
    json_object_set_new(root, "from", json_integer(range->from_s));
    json_object_set_new(root, "to", json_integer(range->to_s));
    json_object_set_new(root, "rows", list);
    json_object_set_new(root, "errors_by_type", errors.list);
    json_object_set_new(root, "cut", json_boolean(view_is_cut(view) || errors.is_cut));
    if (r == 0)
        return api_finish(root, out);
    json_decref(root);
    return r;
}

static int answer_top(const struct api_request *req, struct buf *out)
{
    CLEAN_VIEW struct view *view = NULL;
    struct range range = {0};
    int r = read_range(req, "15m", &range, out);

    if (r == 0)
        r = view_new(false, 0, &view);
    return r < 0 ? r : answer_rows(req, &range, view, out);
}

static int answer_report(const struct api_request *req, struct buf *out)
{
    static const struct {
        const char *name;
        const char *window;
        enum rollup_resolution res;
    } steps[] = {
        {"minute", "1h", ROLLUP_MINUTE}, {"hour", "24h", ROLLUP_HOUR}, {"day", "30d", ROLLUP_DAY}};
    CLEAN_VIEW struct view *view = NULL;
    const char *by = req->param(req->param_ctx, "by");
    struct range range = {0};
    int r;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int64_t step_s = rollup_seconds[steps[i].res];

        if (strcmp(by ? by : "day", steps[i].name) != 0)
            continue;
        r = read_range(req, steps[i].window, &range, out);
        if (r < 0)
            return r;
        range.res = steps[i].res;
        range.from_s -= range.from_s % step_s;
        if ((range.to_s - range.from_s) / step_s > BUCKETS_MAX)
            return api_complain(out, "window", "is too long for this step: 50000 of them at most");
        r = view_new(true, (uint32_t)step_s, &view);
        return r < 0 ? r : answer_rows(req, &range, view, out);
    }
    return api_complain(out, "by", "use minute, hour or day");
}

/* --- single messages, as proto3 JSON --- */

struct message_list {
    struct buf *out;
    enum event_type type;
    bool is_first;
    uint64_t unreadable;
};

static int add_message(struct message_list *list, struct slice payload)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    int r = event_unpack(list->type, payload, &message);

    /* What cannot be read any more must not hide the rest. */
    if (r < 0) {
        list->unreadable++;
        return r == -ENOMEM ? r : 0;
    }
    r = list->is_first ? 0 : buf_append_str(list->out, ",\n");
    list->is_first = false;
    return r < 0 ? r : event_json(message, list->out);
}

static int add_alert(void *ctx, const struct store_alert *alert)
{
    return add_message(ctx, alert->payload);
}

static int add_call(void *ctx, struct slice payload)
{
    return add_message(ctx, payload);
}

/* 0 and "" are as none. */
static int read_limit(const struct api_request *req, unsigned *ret_limit, struct buf *out)
{
    const char *text = req->param(req->param_ctx, "limit");
    int64_t n = 0;

    if (text && *text && api_number(text, LIMIT_MAX, &n) < 0)
        return api_complain(out, "limit", "use 1 to 10000");
    *ret_limit = n ? (unsigned)n : LIMIT_DEFAULT;
    return 0;
}

static int read_active(const struct api_request *req, bool *ret_active, struct buf *out)
{
    const char *text = req->param(req->param_ctx, "active");

    *ret_active = text && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    if (!text || !*text || *ret_active || strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
        return 0;
    return api_complain(out, "active", "use 0 or 1");
}

/* What nanoseconds have no room for is as good as the last they have. */
static int64_t in_ns(int64_t s)
{
    const int64_t most_s = INT64_MAX / (int64_t)NSEC_PER_SEC;

    return (s < 0 ? 0 : s < most_s ? s : most_s) * (int64_t)NSEC_PER_SEC;
}

static int answer_alerts(const struct api_request *req, struct buf *out)
{
    struct message_list list = {.out = out, .type = EVENT_ALERT, .is_first = true};
    bool active_only = false;
    unsigned limit = 0;
    struct range range = {0};
    int r = read_range(req, "30d", &range, out);

    if (r == 0)
        r = read_active(req, &active_only, out);
    if (r == 0)
        r = read_limit(req, &limit, out);
    if (r == 0)
        r = buf_append_str(out, "{\"alerts\":[");
    if (r == 0)
        r = store_each_alert(req->store, in_ns(range.from_s), active_only, limit, add_alert, &list);
    return r < 0 ? r : buf_append_str(out, "]}\n");
}

static int answer_calls(const struct api_request *req, struct buf *out)
{
    struct message_list list = {.out = out, .type = EVENT_CALL, .is_first = true};
    struct range range = {0};
    uint64_t unreadable = 0;
    unsigned limit = 0;
    int r = read_range(req, "15m", &range, out);

    if (r == 0)
        r = read_limit(req, &limit, out);
    if (r == 0)
        r = buf_append_str(out, "{\"calls\":[");
    if (r == 0)
        r = store_each_call(req->store, (uint64_t)in_ns(range.from_s), (uint64_t)in_ns(range.to_s),
                            limit, add_call, &list, &unreadable);
    return r < 0 ? r
                 : buf_printf(out, "],\"unreadable\":%llu}\n",
                              (unsigned long long)(unreadable + list.unreadable));
}

/* --- coverage --- */

static int add_coverage_row(void *ctx, const struct store_coverage_row *row)
{
    double ratio = row->seen ? (double)row->metered / (double)row->seen : 0;

    json_array_append_new(
        ctx, json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "org", row->org, "workload", row->workload,
                       "provider", row->provider, "seen", (json_int_t)row->seen, "metered",
                       (json_int_t)row->metered, "ratio", number_or_null(row->seen > 0, ratio)));
    return 0;
}

static int add_gap_row(void *ctx, const struct store_gap_row *row)
{
    json_array_append_new(ctx,
                          json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "org", row->org,
                                    "workload", row->workload, "provider", row->provider, "reason",
                                    row->reason, "connections", (json_int_t)row->connections,
                                    "calls_in_flight", (json_int_t)row->calls_in_flight,
                                    "events_lost", (json_int_t)row->events_lost));
    return 0;
}

static int add_unpriced_row(void *ctx, const struct store_unpriced_row *row)
{
    json_array_append_new(ctx, json_pack("{s:s, s:s, s:s, s:s, s:I}", "org", row->org, "provider",
                                         row->provider, "model", row->model, "basis", row->basis,
                                         "calls", (json_int_t)row->calls));
    return 0;
}

static int add_hole(void *ctx, const struct store_hole *hole)
{
    json_array_append_new(ctx, json_pack("{s:s, s:I, s:I, s:I}", "agent_instance", hole->instance,
                                         "part", (json_int_t)hole->part, "first",
                                         (json_int_t)hole->first, "last", (json_int_t)hole->last));
    return 0;
}

/* How names are bounded: what was met of each dimension, and what became "(other)". */
static json_t *names_json(const struct pipeline_stats *s)
{
    json_t *o = json_object();

    for (int d = 0; d < GUARD__COUNT; d++) {
        const struct guard_stats *g = &s->names[d];

        json_object_set_new(o, guard_dimension_name((enum guard_dimension)d),
                            json_pack("{s:I, s:I, s:I, s:I}", "limit", (json_int_t)g->limit, "most",
                                      (json_int_t)g->names, "full", (json_int_t)g->full, "folded",
                                      (json_int_t)g->folded));
    }
    return o;
}

static int answer_coverage(const struct api_request *req, struct buf *out)
{
    json_t *root, *rows = json_array(), *gaps = json_array(), *holes = json_array(),
                  *unpriced = json_array();
    struct store_loss loss = {0};
    struct range range = {0};
    int r = read_range(req, "24h", &range, out);

    if (r == 0)
        r = store_each_coverage(req->store, range.res, range.from_s, range.to_s, add_coverage_row,
                                rows);
    if (r == 0)
        r = store_each_gap(req->store, range.res, range.from_s, range.to_s, add_gap_row, gaps);
    if (r == 0)
        r = store_each_unpriced(req->store, range.from_s, range.to_s, UNPRICED_MAX,
                                add_unpriced_row, unpriced);
    if (r == 0)
        r = store_loss(req->store, &loss);
    if (r == 0)
        r = store_each_hole(req->store, 100, add_hole, holes);
    root = json_pack("{s:I, s:I, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:o}, s:o}", "from",
                     (json_int_t)range.from_s, "to", (json_int_t)range.to_s, "workloads", rows,
                     "gaps", gaps, "unpriced", unpriced, "events", "streams",
                     (json_int_t)loss.streams, "received", (json_int_t)loss.received, "missing",
                     (json_int_t)loss.missing, "holes", holes, "names", names_json(req->stats));
    if (r == 0)
        return api_finish(root, out);
    json_decref(root);
    return r;
}

/* --- state --- */

static bool is_alive(const struct api_request *req)
{
    return clock_mono_ns() - req->stats->tick_mono_ns < 30 * NSEC_PER_SEC;
}

static int answer_status(const struct api_request *req, struct buf *out)
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
    return api_finish(
        json_pack(
            "{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:o}",
            "version", LECTR_VERSION, "nats_connected", s->connected, "store_ok", s->store_ok,
            "events_received", (json_int_t)loss.received, "events_missing",
            (json_int_t)loss.missing, "streams", (json_int_t)loss.streams, "malformed",
            (json_int_t)malformed, "duplicates", (json_int_t)duplicates, "late",
            (json_int_t)s->late, "batches", (json_int_t)s->batches, "series", (json_int_t)s->series,
            "alerts", (json_int_t)s->alerts, "alerts_pending", (json_int_t)s->alerts_pending,
            "closed", (json_int_t)s->closed_s, "watermark", 1e-9 * (double)s->watermark_ns,
            "uptime_s", 1e-9 * (double)(req->wall_ns - s->started_ns), "names", names_json(s)),
        out);
}

static int answer_healthz(const struct api_request *req, struct buf *out)
{
    if (is_alive(req))
        return buf_append_str(out, "ok\n");
    return buf_append_str(out, "the pipeline does not turn\n") < 0 ? -ENOMEM : -EAGAIN;
}

static int answer_readyz(const struct api_request *req, struct buf *out)
{
    const char *why = !is_alive(req)           ? "the pipeline does not turn\n"
                      : !req->stats->store_ok  ? "the store cannot be written\n"
                      : !req->stats->connected ? "NATS is away\n"
                                               : NULL;

    if (!why)
        return buf_append_str(out, "ok\n");
    return buf_append_str(out, why) < 0 ? -ENOMEM : -EAGAIN;
}

#define JSON "application/json"

static const struct api_route routes[] = {
    {"/api/v1/top", JSON, answer_top, false, false, {"window", "to"}},
    {"/api/v1/report", JSON, answer_report, false, false, {"by", "window", "to"}},
    {"/api/v1/alerts", JSON, answer_alerts, false, false, {"window", "to", "active", "limit"}},
    {"/api/v1/calls", JSON, answer_calls, false, false, {"window", "to", "limit"}},
    {"/api/v1/coverage", JSON, answer_coverage, false, false, {"window", "to"}},
    {"/api/v1/status", JSON, answer_status, false, false, {NULL}},
    {"/healthz", "text/plain", answer_healthz, true, true, {NULL}},
    {"/readyz", "text/plain", answer_readyz, true, true, {NULL}},
    {"/metrics", "text/plain; version=0.0.4", metrics_answer, false, true, {NULL}},
};

const struct api_route *api_find(const char *path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strcmp(path, routes[i].path) == 0)
            return &routes[i];
    return NULL;
}
