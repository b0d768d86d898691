/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/alert.h"

#include "collector/ruling.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define HOURS_OF_WEEK 168.0
#define PART_TOLD 0.5 /* of the deviation; smaller parts are not in the sentence */
#define REASON_BYTES 1024

enum unit {
    UNIT_USD,
    UNIT_CALLS,
    UNIT_TOKENS,
    UNIT_SHARE,
    UNIT_MICROSECONDS,
};

static const struct rule {
    const char *name, *kind, *metric, *unit_name, *severity;
    const char *subject; /* begins the sentence */
    enum unit unit;
    bool is_down;
} rules[ALERT_ANY__COUNT] = {
    [ALERT_COST_SPIKE] = {"cost.spike", "cost", "cost_usd", "USD", "warning", "Cost", UNIT_USD,
                          false},
    [ALERT_COST_DROP] = {"cost.drop", "cost", "cost_usd", "USD", "info", "Cost", UNIT_USD, true},
    [ALERT_CALLS_SPIKE] = {"calls.spike", "calls", "calls", "calls", "warning", "Number of calls",
                           UNIT_CALLS, false},
    [ALERT_CALLS_DROP] = {"calls.drop", "calls", "calls", "calls", "warning", "Number of calls",
                          UNIT_CALLS, true},
    [ALERT_TOKENS_SPIKE] = {"tokens.spike", "tokens", "tokens", "tokens", "warning",
                            "Number of tokens", UNIT_TOKENS, false},
    [ALERT_TOKENS_DROP] = {"tokens.drop", "tokens", "tokens", "tokens", "info", "Number of tokens",
                           UNIT_TOKENS, true},
    [ALERT_CALLS_SHIFT] = {"calls.shift", "calls", "calls", "calls", "warning", "Number of calls",
                           UNIT_CALLS, false},
    [ALERT_COST_SHIFT] = {"cost.shift", "cost", "cost_usd", "USD", "warning", "Cost", UNIT_USD,
                          false},
    [ALERT_ERRORS_RATE] = {"errors.rate", "errors", "error_ratio", "ratio", "critical",
                           "Share of failed calls", UNIT_SHARE, false},
    [ALERT_LATENCY_P95] = {"latency.p95", "latency", "latency_p95", "us", "warning", "p95 latency",
                           UNIT_MICROSECONDS, false},
    [ALERT_ERRORS_BURN_RATE] = {"errors.burn_rate", "errors", "error_ratio", "ratio", "critical",
                                "Share of failed calls", UNIT_SHARE, false},
    [ALERT_LATENCY_BURN_RATE] = {"latency.burn_rate", "latency", "slow_ratio", "ratio", "critical",
                                 "Share of slow calls", UNIT_SHARE, false},
    [ALERT_COST_BUDGET] = {"cost.budget", "cost", "cost_usd", "USD", "warning", "Cost", UNIT_USD,
                           false},
    [ALERT_COST_FORECAST] = {"cost.forecast", "cost", "cost_usd", "USD", "warning", "Cost",
                             UNIT_USD, false},
    [ALERT_MODEL_FIRST_SEEN] = {"model.first_seen", "model", "values_new", "values", "info",
                                "New models", UNIT_CALLS, false},
    [ALERT_PROVIDER_FIRST_SEEN] = {"provider.first_seen", "provider", "values_new", "values",
                                   "info", "New providers", UNIT_CALLS, false},
    [ALERT_KEY_FIRST_SEEN] = {"key.first_seen", "key", "values_new", "values", "info", "New keys",
                              UNIT_CALLS, false},
    [ALERT_FEATURE_FIRST_SEEN] = {"feature.first_seen", "feature", "values_new", "values", "info",
                                  "New features", UNIT_CALLS, false},
    [ALERT_REGION_FIRST_SEEN] = {"region.first_seen", "region", "values_new", "values", "info",
                                 "New regions", UNIT_CALLS, false},
    [ALERT_FEATURE_SILENT] = {"feature.silent", "feature", "calls", "calls", "warning",
                              "Number of calls", UNIT_CALLS, true},
    [ALERT_MODEL_UNPRICED] = {"model.unpriced", "model", "calls_unpriced", "calls", "warning",
                              "Calls without a price", UNIT_CALLS, false},
    [ALERT_COVERAGE_LOW] = {"coverage.low", "coverage", "coverage_ratio", "ratio", "warning",
                            "Share of metered connections", UNIT_SHARE, true},
    [ALERT_RETRIES_AMPLIFYING] = {"retries.amplifying", "retries", "retry_ratio", "ratio",
                                  "warning", "Repeated calls", UNIT_SHARE, false},
};

const char *alert_rule_name(enum alert_rule rule)
{
    return rules[rule].name;
}

const char *alert_rule_kind(enum alert_rule rule)
{
    return rules[rule].kind;
}

bool alert_rule_is_down(enum alert_rule rule)
{
    return rules[rule].is_down;
}

const char *alert_level_name(enum alert_level level)
{
    static const char *const names[ALERT_LEVEL__COUNT] = {
        [ALERT_LEVEL_MODEL] = "model",
        [ALERT_LEVEL_FEATURE] = "feature",
        [ALERT_LEVEL_PROVIDER] = "provider",
        [ALERT_LEVEL_ORG] = "org",
    };

    return names[level];
}

void alert_limit(struct alert *a, const char *format, ...)
{
    va_list args;

    if (a->limits_count == ALERT_LIMITS_MAX)
        return;
    va_start(args, format);
    vsnprintf(a->limits[a->limits_count++], sizeof(a->limits[0]), format, args);
    va_end(args);
}

void alert_name(struct alert *a)
{
    char name[640];

    /* The level too: a model without a name is not its feature. */
    snprintf(name, sizeof(name), "alert\n%s\n%s\n%s\n%s\n%s\n%lld%s%s%s%.64s", a->org, a->feature,
             a->provider, a->model, rules[a->rule].name, (long long)a->starts_s,
             a->level == ALERT_LEVEL_MODEL ? "" : "\n",
             a->level == ALERT_LEVEL_MODEL ? "" : alert_level_name(a->level), a->ruling ? "\n" : "",
             a->ruling ? a->ruling->rule->name : "");
    event_uuid_named(slice_str(name), a->fingerprint);
}

void alert_number(struct alert *a)
{
    char name[128];

    snprintf(name, sizeof(name), "transition\n%s\n%d\n%lld", a->fingerprint, a->status,
             (long long)a->detected_s);
    event_uuid_named(slice_str(name), a->id);
}

static void print_value(enum unit unit, double v, char *ret_text, size_t size)
{
    switch (unit) {
    case UNIT_USD:
        snprintf(ret_text, size, v >= 1 ? "$%.2f" : v >= 0.01 ? "$%.4f" : "$%.3g", v);
        break;
    case UNIT_CALLS:
    case UNIT_TOKENS:
        snprintf(ret_text, size, v >= 10 || v == floor(v) ? "%.0f" : "%.1f", v);
        break;
    case UNIT_SHARE:
        snprintf(ret_text, size, v >= 0.1 ? "%.0f%%" : "%.2g%%", 100 * v);
        break;
    case UNIT_MICROSECONDS:
        snprintf(ret_text, size, v >= 1e6 ? "%.2f s" : "%.0f ms", v >= 1e6 ? v * 1e-6 : v * 1e-3);
        break;
    }
}

static void print_window(const struct alert *a, char *ret_text, size_t size)
{
    int64_t seconds = a->window_end_s - a->window_start_s;
    time_t end = (time_t)a->window_end_s;
    struct tm tm;
    char clock[32];

    gmtime_r(&end, &tm);
    strftime(clock, sizeof(clock), a->window_end_s % 60 ? "%H:%M:%S" : "%H:%M", &tm);
    if (seconds % 60 == 0)
        snprintf(ret_text, size, "%lld min to %s UTC", (long long)(seconds / 60), clock);
    else if (seconds < 60)
        snprintf(ret_text, size, "%lld s to %s UTC", (long long)seconds, clock);
    else
        snprintf(ret_text, size, "%lld min %lld s to %s UTC", (long long)(seconds / 60),
                 (long long)(seconds % 60), clock);
}

static bool has_ratio(const struct alert *a)
{
    return a->baseline > 0;
}

double alert_return_weeks(const struct alert *a)
{
    return fmin(a->return_weeks, 100 * a->history_hours / HOURS_OF_WEEK);
}

/* "; less than once in 340 weeks", where it goes beyond what was seen; "" when not known. */
static void print_return(const struct alert *a, char *ret_text, size_t size)
{
    double weeks = alert_return_weeks(a);

    ret_text[0] = 0;
    if (a->has_return && a->status != ALERT_RESOLVED && weeks > 0)
        snprintf(ret_text, size, "; %sonce in %.3g weeks",
                 weeks > a->history_hours / HOURS_OF_WEEK ? "less than " : "", weeks);
}

static const char *or_unknown(const char *name)
{
    return name[0] ? name : "?";
}

static void print_scope(const struct alert *a, char *ret_text, size_t size)
{
    switch (a->level) {
    case ALERT_LEVEL_MODEL:
        snprintf(ret_text, size, "feature %s on %s/%s", or_unknown(a->feature),
                 or_unknown(a->provider), or_unknown(a->model));
        break;
    case ALERT_LEVEL_FEATURE:
        snprintf(ret_text, size, "feature %s", or_unknown(a->feature));
        break;
    case ALERT_LEVEL_PROVIDER:
        snprintf(ret_text, size, "provider %s", or_unknown(a->provider));
        break;
    default:
        snprintf(ret_text, size, "organisation %s", or_unknown(a->org));
    }
}

/* " (790 expected)"; "" when not known. */
static void print_expected(const struct alert *a, char *ret_text, size_t size)
{
    ret_text[0] = 0;
    if (a->samples_expected > 0)
        snprintf(ret_text, size,
                 a->samples_expected >= 10 ? " (%.0f expected)" : " (%.1f expected)",
                 a->samples_expected);
}

/* "; 98% of it by price, 95% at workload w"; the largest factor and the largest value
 * that are most of it. */
static void print_parts(const struct alert *a, char *ret_text, size_t size)
{
    const struct alert_part *factor = NULL, *value = NULL;
    size_t at = 0;

    ret_text[0] = 0;
    if (a->status == ALERT_RESOLVED)
        return;
    for (unsigned i = 0; i < a->parts_count; i++) {
        const struct alert_part *p = &a->parts[i];

        if (p->share < PART_TOLD)
            continue;
        if (!p->value[0] && (!factor || p->share > factor->share))
            factor = p;
        if (p->value[0] && (!value || p->share > value->share))
            value = p;
    }
    if (factor)
        at = (size_t)snprintf(ret_text, size, "; %.0f%% of it by %s", 100 * factor->share,
                              factor->dimension);
    if (value && at < size)
        snprintf(ret_text + at, size - at, "%s %.0f%% at %s %s", factor ? "," : ";",
                 100 * value->share, value->dimension, value->value);
}

static void print_impact(const struct alert *a, char *ret_text, size_t size)
{
    char usd[32];

    ret_text[0] = 0;
    if (!a->has_impact)
        return;
    print_value(UNIT_USD, fabs(a->impact_usd), usd, sizeof(usd));
    snprintf(ret_text, size, "; %s %s than usual so far", usd, a->impact_usd < 0 ? "less" : "more");
}

static const char *how_over(const struct alert *a)
{
    return a->status != ALERT_RESOLVED ? ""
           : a->is_new_usual           ? "Taken for the new usual: "
                                       : "Back to normal: ";
}

void alert_reason(const struct alert *a, char *ret_text, size_t size)
{
    const struct rule *rule = &rules[a->rule];
    char observed[32], usual[32], lower[32], upper[32], window[96], times[32] = "against";
    char rare[64], scope[400], expected[48], parts[320], impact[64];

    if (a->ruling) {
        snprintf(ret_text, size, "%s", a->ruling->reason);
        return;
    }
    print_value(rule->unit, a->observed, observed, sizeof(observed));
    print_value(rule->unit, a->baseline, usual, sizeof(usual));
    print_value(rule->unit, a->baseline_lower, lower, sizeof(lower));
    print_value(rule->unit, a->baseline_upper, upper, sizeof(upper));
    print_window(a, window, sizeof(window));
    print_return(a, rare, sizeof(rare));
    print_scope(a, scope, sizeof(scope));
    print_expected(a, expected, sizeof(expected));
    print_parts(a, parts, sizeof(parts));
    print_impact(a, impact, sizeof(impact));
    if (has_ratio(a))
        snprintf(times, sizeof(times), a->observed < a->baseline / 10 ? "%.2fx" : "%.1fx",
                 a->observed / a->baseline);
    snprintf(ret_text, size,
             "%s%s of %s in %s was %s, %s the usual %s (%s-%s), %llu calls%s; "
             "%.0f h of history%s%s%s.",
             how_over(a), rule->subject, scope, window, observed, times, usual, lower, upper,
             (unsigned long long)a->samples, expected, a->history_hours, rare, parts, impact);
}

static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text; /* packed only: never freed or written */
}

static int append_packed(const Lectr__V1__Alert *m, struct buf *out)
{
    uint8_t packed[16384];
    size_t bytes = 0;
    int r = event_pack(&m->base, packed, sizeof(packed), &bytes);

    return r < 0 ? r : buf_append(out, slice_of(packed, bytes));
}

#define SET(field, value) (m.has_##field = true, m.field = (value))

static uint64_t to_ns(int64_t s)
{
    return (uint64_t)s * NSEC_PER_SEC;
}

static void fill_numbers(const struct alert *a, Lectr__V1__Alert *message)
{
#define m (*message)
    SET(observed, a->observed);
    SET(samples, a->samples);
    SET(baseline, a->baseline);
    SET(baseline_lower, a->baseline_lower);
    SET(baseline_upper, a->baseline_upper);
    SET(history_hours, a->history_hours);
    SET(baseline_samples, a->baseline_samples);
    SET(deviation_absolute, a->observed - a->baseline);
    if (has_ratio(a))
        SET(deviation_ratio, a->observed / a->baseline);
    if (a->has_return) {
        SET(return_period_weeks, alert_return_weeks(a));
        SET(beyond_seen, alert_return_weeks(a) > a->history_hours / HOURS_OF_WEEK);
        SET(tail_events_seen, a->tail_events);
    }
    if (a->unusual >= 0)
        SET(unusual_pattern_score, a->unusual);
    if (a->ratio_least > 0)
        SET(min_detectable_ratio, a->ratio_least);
    m.n_windows_agreeing_seconds = a->windows_agree;
    m.windows_agreeing_seconds = (uint32_t *)(uintptr_t)a->windows_agree_s;
    if (a->has_sigmas)
        SET(deviation_sigmas, a->sigmas);
    SET(window_start_unix_nano, to_ns(a->window_start_s));
    SET(window_end_unix_nano, to_ns(a->window_end_s));
    SET(starts_at_unix_nano, to_ns(a->starts_s));
    SET(detected_at_unix_nano, to_ns(a->detected_s));
    if (a->status == ALERT_RESOLVED)
        SET(ends_at_unix_nano, to_ns(a->ends_s));
    SET(synthetic, a->synthetic);
#undef m
}

/* What the lists of a message point to. */
struct lists {
    Lectr__V1__Alert__Label labels[3];
    Lectr__V1__Alert__Label *label_list[3];
    Lectr__V1__Alert__Attribution parts[ALERT_PARTS_MAX];
    Lectr__V1__Alert__Attribution *part_list[ALERT_PARTS_MAX];
    char *related[ALERT_RELATED_MAX], *limits[ALERT_LIMITS_MAX];
};

/* A level has the labels that belong to it, empty ones too. */
static void fill_labels(const struct alert *a, struct lists *l, Lectr__V1__Alert *m)
{
    const struct {
        const char *name, *value;
        bool is_there;
    } labels[] = {
        {"feature", a->feature, a->level == ALERT_LEVEL_MODEL || a->level == ALERT_LEVEL_FEATURE},
        {"provider", a->provider,
         a->level == ALERT_LEVEL_MODEL || a->level == ALERT_LEVEL_PROVIDER},
        {"model", a->model, a->level == ALERT_LEVEL_MODEL},
    };

    m->n_labels = 0;
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        Lectr__V1__Alert__Label *label = &l->labels[m->n_labels];

        if (!labels[i].is_there && !labels[i].value[0])
            continue;
        lectr__v1__alert__label__init(label);
        label->name = borrow(labels[i].name);
        label->value = borrow(labels[i].value);
        l->label_list[m->n_labels++] = label;
    }
    m->labels = l->label_list;
}

static void fill_lists(const struct alert *a, struct lists *l, Lectr__V1__Alert *m)
{
    for (unsigned i = 0; i < a->parts_count; i++) {
        Lectr__V1__Alert__Attribution *part = &l->parts[i];

        lectr__v1__alert__attribution__init(part);
        part->dimension = borrow(a->parts[i].dimension);
        if (a->parts[i].value[0])
            part->value = borrow(a->parts[i].value);
        part->has_amount = part->has_share = true;
        part->amount = a->parts[i].amount;
        part->share = a->parts[i].share;
        l->part_list[i] = part;
    }
    for (unsigned i = 0; i < a->related_count; i++)
        l->related[i] = borrow(a->related[i]);
    for (unsigned i = 0; i < a->limits_count; i++)
        l->limits[i] = borrow(a->limits[i]);
    m->attribution = l->part_list;
    m->n_attribution = a->parts_count;
    m->related = l->related;
    m->n_related = a->related_count;
    m->limits = l->limits;
    m->n_limits = a->limits_count;
}

static void fill_context(const struct alert *a, Lectr__V1__Alert *message)
{
#define m (*message)
    if (a->samples_expected > 0)
        SET(samples_expected, a->samples_expected);
    if (a->band_pct > 0) {
        SET(baseline_band_pct, a->band_pct);
        SET(baseline_slot_samples, a->slot_samples);
    }
    if (a->season)
        m.baseline_season = borrow(a->season);
    if (a->has_impact) {
        SET(impact_excess_usd, a->impact_usd);
        SET(impact_excess_usd_per_hour, a->impact_usd_per_hour);
    }
    if (a->onset_s)
        SET(detection_delay_seconds, (double)(a->detected_s - a->onset_s));
    if (a->change_s) {
        m.last_change = borrow(a->change);
        SET(last_change_unix_nano, to_ns(a->change_s));
    }
    m.level = borrow(alert_level_name(a->level));
    SET(affected_series, a->affected);
#undef m
}

int alert_pack(const struct alert *a, struct buf *out)
{
    const struct rule *rule = &rules[a->rule];
    Lectr__V1__Alert m = LECTR__V1__ALERT__INIT;
    struct ruling_parts parts;
    char reason[REASON_BYTES];
    struct lists lists;

    alert_reason(a, reason, sizeof(reason));
    m.id = borrow(a->id);
    m.fingerprint = borrow(a->fingerprint);
    SET(status, (Lectr__V1__Alert__Status)a->status);
    m.severity = borrow(alert_severity(a));
    m.rule = borrow(rule->name);
    m.org = borrow(a->org);
    m.metric = borrow(rule->metric);
    m.unit = borrow(rule->unit_name);
    m.baseline_method = borrow(a->method);
    m.direction = borrow(rule->is_down || a->observed < a->baseline ? "down" : "up");
    m.confidence = borrow(a->confidence);
    m.reason = reason;
    fill_labels(a, &lists, &m);
    fill_lists(a, &lists, &m);
    fill_numbers(a, &m);
    fill_context(a, &m);
    if (a->ruling)
        ruling_fill(a->ruling, &parts, &m);
    if (a->silenced_by[0]) {
        m.silenced_by = borrow(a->silenced_by);
        SET(silence_planned, a->is_planned);
    }
    return append_packed(&m, out);
}

int alert_pack_resolved(struct slice packed, int64_t ends_s, const char *why, struct buf *out,
                        char ret_id[37])
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    char name[128];
    Lectr__V1__Alert m;
    int r = event_unpack(EVENT_ALERT, packed, &message);

    if (r < 0)
        return r;
    /* A shallow copy with the changed fields; `message` goes on owning the rest. */
    memcpy(&m, message, sizeof(m));
    snprintf(name, sizeof(name), "transition\n%s\n%d\n%lld", m.fingerprint ? m.fingerprint : "",
             ALERT_RESOLVED, (long long)ends_s);
    event_uuid_named(slice_str(name), ret_id);
    m.id = ret_id;
    m.reason = borrow(why);
    SET(status, LECTR__V1__ALERT__STATUS__STATUS_RESOLVED);
    SET(ends_at_unix_nano, to_ns(ends_s));
    SET(detected_at_unix_nano, to_ns(ends_s));
    return append_packed(&m, out);
}

bool alert_is_of_file(struct slice packed)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;

    return event_unpack(EVENT_ALERT, packed, &message) == 0 &&
           ((const Lectr__V1__Alert *)(const void *)message)->rule_name;
}

int alert_pack_again(struct slice packed, int64_t at_s, const char *feedback, struct buf *out,
                     char ret_id[37], int *ret_status)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    char name[160];
    Lectr__V1__Alert m;
    int r = event_unpack(EVENT_ALERT, packed, &message);

    if (r < 0)
        return r;
    memcpy(&m, message, sizeof(m));
    if (m.status != LECTR__V1__ALERT__STATUS__STATUS_RESOLVED)
        SET(status, LECTR__V1__ALERT__STATUS__STATUS_UPDATED);
    snprintf(name, sizeof(name), "again\n%s\n%d\n%lld\n%.16s", m.fingerprint ? m.fingerprint : "",
             (int)m.status, (long long)at_s, feedback);
    event_uuid_named(slice_str(name), ret_id);
    m.id = ret_id;
    if (feedback[0]) {
        m.feedback = borrow(feedback);
    } else { /* its silence is over */
        m.silenced_by = NULL;
        m.has_silence_planned = false;
    }
    *ret_status = (int)m.status;
    return append_packed(&m, out);
}

const char *alert_severity(const struct alert *a)
{
    return a->severity ? a->severity : a->ruling ? a->ruling->severity : rules[a->rule].severity;
}
