/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/cloudevent.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HOURS_OF_WEEK 168.0

/* One object of `data`; all of them take the alert and fill what they are given. */
typedef int fill_fn(const Lectr__V1__Alert *a, json_t *into);

static int fill_labels(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_text(into, "metric", notice_text(a->metric));

    if (r == 0)
        r = notice_set_text(into, "org", notice_text(a->org));
    for (size_t i = 0; i < a->n_labels && r == 0; i++)
        if (notice_text(a->labels[i]->name)[0])
            r = notice_set_text(into, a->labels[i]->name, notice_text(a->labels[i]->value));
    return r;
}

static int fill_window(const Lectr__V1__Alert *a, json_t *into)
{
    bool known = a->has_window_start_unix_nano && a->has_window_end_unix_nano &&
                 a->window_end_unix_nano >= a->window_start_unix_nano;
    int r =
        notice_set_time(into, "start", a->has_window_start_unix_nano, a->window_start_unix_nano);

    if (r == 0)
        r = notice_set_time(into, "end", a->has_window_end_unix_nano, a->window_end_unix_nano);
    if (r == 0)
        r = notice_set_count(into, "seconds", known,
                             (a->window_end_unix_nano - a->window_start_unix_nano) / NSEC_PER_SEC);
    return r;
}

static int fill_observed(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_real(into, "value", a->has_observed, a->observed);

    if (r == 0)
        r = notice_set_text(into, "unit", a->unit);
    if (r == 0)
        r = notice_set_count(into, "samples", a->has_samples, a->samples);
    return r;
}

static int fill_baseline(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_real(into, "value", a->has_baseline, a->baseline);

    if (r == 0)
        r = notice_set_real(into, "lower", a->has_baseline_lower, a->baseline_lower);
    if (r == 0)
        r = notice_set_real(into, "upper", a->has_baseline_upper, a->baseline_upper);
    if (r == 0)
        r = notice_set_text(into, "method", a->baseline_method);
    if (r == 0)
        r = notice_set_real(into, "history_weeks", a->has_history_hours,
                            a->history_hours / HOURS_OF_WEEK);
    if (r == 0)
        r = notice_set_count(into, "samples", a->has_baseline_samples, a->baseline_samples);
    return r;
}

static int fill_deviation(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_real(into, "absolute", a->has_deviation_absolute, a->deviation_absolute);

    if (r == 0)
        r = notice_set_real(into, "ratio", a->has_deviation_ratio, a->deviation_ratio);
    if (r == 0)
        r = notice_set_real(into, "sigmas", a->has_deviation_sigmas, a->deviation_sigmas);
    if (r == 0)
        r = notice_set_text(into, "direction", a->direction);
    return r;
}

/* "5m", "90s" */
static json_t *window_names(const Lectr__V1__Alert *a)
{
    CLEAN_JSON json_t *list = json_array();

    for (size_t i = 0; list && i < a->n_windows_agreeing_seconds; i++) {
        uint32_t s = a->windows_agreeing_seconds[i];

        if (json_array_append_new(list, json_sprintf(s % 60 ? "%us" : "%um", s % 60 ? s : s / 60)) <
            0)
            return NULL;
    }
    return json_incref(list);
}

static int fill_evidence(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_real(into, "return_period_weeks", a->has_return_period_weeks,
                            a->return_period_weeks);

    if (r == 0)
        r = notice_set_count(into, "tail_events_seen", a->has_tail_events_seen,
                             a->tail_events_seen);
    if (r == 0)
        r = notice_set(into, "beyond_seen",
                       a->has_beyond_seen ? json_boolean(a->beyond_seen) : json_null());
    if (r == 0)
        r = notice_set_real(into, "min_detectable_ratio", a->has_min_detectable_ratio,
                            a->min_detectable_ratio);
    if (r == 0)
        r = notice_set(into, "windows_agreeing", window_names(a));
    if (r == 0)
        r = notice_set_text(into, "confidence", a->confidence);
    return r;
}

static int fill_context(const Lectr__V1__Alert *a, json_t *into)
{
    return notice_set_real(into, "unusual_pattern_score", a->has_unusual_pattern_score,
                           a->unusual_pattern_score);
}

static int fill_head(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_text(into, "fingerprint", a->fingerprint);

    if (r == 0)
        r = notice_set_text(into, "status", notice_status(a));
    if (r == 0)
        r = notice_set_text(into, "severity", a->severity);
    if (r == 0)
        r = notice_set_text(into, "rule", a->rule);
    return r;
}

static int fill_times(const Lectr__V1__Alert *a, json_t *into)
{
    bool has_delay = a->has_starts_at_unix_nano && a->has_detected_at_unix_nano &&
                     a->detected_at_unix_nano >= a->starts_at_unix_nano;
    int r = notice_set_time(into, "starts_at", a->has_starts_at_unix_nano, a->starts_at_unix_nano);

    if (r == 0)
        r = notice_set_time(into, "detected_at", a->has_detected_at_unix_nano,
                            a->detected_at_unix_nano);
    if (r == 0)
        r = notice_set_time(into, "ends_at", a->has_ends_at_unix_nano, a->ends_at_unix_nano);
    if (r == 0)
        r = notice_set_count(into, "detection_delay_s", has_delay,
                             (a->detected_at_unix_nano - a->starts_at_unix_nano) / NSEC_PER_SEC);
    return r;
}

static int fill_tail(const Lectr__V1__Alert *a, json_t *into)
{
    int r = notice_set_text(into, "reason", a->reason);

    if (r == 0)
        r = notice_set(into, "synthetic", json_boolean(a->has_synthetic && a->synthetic));
    return r;
}

/* In the order in which a person reads; without a key: into `data` itself. */
static const struct {
    const char *key;
    fill_fn *fill;
} parts[] = {
    {NULL, fill_head},
    {"labels", fill_labels},
    {NULL, fill_times},
    {"window", fill_window},
    {"observed", fill_observed},
    {"baseline", fill_baseline},
    {"deviation", fill_deviation},
    {"evidence", fill_evidence},
    {"context", fill_context},
    {NULL, fill_tail},
};

json_t *cloudevent_data(const Lectr__V1__Alert *a)
{
    CLEAN_JSON json_t *data = json_object();

    for (size_t i = 0; data && i < sizeof(parts) / sizeof(parts[0]); i++) {
        CLEAN_JSON json_t *inner = parts[i].key ? json_object() : json_incref(data);

        if (!inner || parts[i].fill(a, inner) < 0 ||
            (parts[i].key && json_object_set(data, parts[i].key, inner) < 0))
            return NULL;
    }
    return json_incref(data);
}

int cloudevent_format(const Lectr__V1__Alert *a, struct buf *out)
{
    CLEAN_JSON json_t *event = json_object();
    char type[64];
    int r = event ? notice_set_text(event, "specversion", "1.0") : -ENOMEM;

    snprintf(type, sizeof(type), "lectr.anomaly.v1.%s", notice_status(a));
    if (r == 0)
        r = notice_set_text(event, "id", notice_text(a->id));
    if (r == 0)
        r = notice_set(event, "source", json_sprintf("/lectr/alert/%s", notice_text(a->org)));
    if (r == 0)
        r = notice_set_text(event, "type", type);
    if (r == 0)
        r = notice_set_text(event, "subject", notice_text(a->fingerprint));
    if (r == 0)
        r = notice_set_time(event, "time", true, a->detected_at_unix_nano);
    if (r == 0)
        r = notice_set_text(event, "datacontenttype", "application/json");
    if (r == 0)
        r = notice_set_text(event, "dataschema", CLOUDEVENT_SCHEMA);
    if (r == 0)
        r = notice_set(event, "data", cloudevent_data(a));
    return r < 0 ? r : notice_dump(event, out);
}
