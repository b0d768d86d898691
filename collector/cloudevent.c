/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/cloudevent.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define HOURS_OF_WEEK 168.0

/* A row of a table: how a member is filled from the message. */
enum kind {
    KIND_TEXT,  /* char * */
    KIND_REAL,  /* has, double */
    KIND_COUNT, /* has, uint64_t */
    KIND_SMALL, /* has, uint32_t */
    KIND_TIME,  /* has, fixed64 nanoseconds */
    KIND_BOOL,  /* has, protobuf_c_boolean */
};

struct member {
    const char *key;
    enum kind kind;
    size_t has, at; /* offsets; `has` of a text is not read */
};

#define HAS(type, field, kind, key)                                                                \
    {                                                                                              \
        key, kind, offsetof(type, has_##field), offsetof(type, field)                              \
    }
#define TEXT(type, field, key)                                                                     \
    {                                                                                              \
        key, KIND_TEXT, 0, offsetof(type, field)                                                   \
    }

typedef Lectr__V1__Alert alert_t;
typedef Lectr__V1__Alert__BurnRate burn_t;
typedef Lectr__V1__Alert__Budget budget_t;
typedef Lectr__V1__Alert__FirstSeen first_t;
typedef Lectr__V1__Alert__Attribution part_t;

static int fill_member(const struct member *m, const void *message, json_t *into)
{
    const char *base = message;
    const void *at = base + m->at;
    bool known = m->kind != KIND_TEXT && *(const protobuf_c_boolean *)(base + m->has);

    switch (m->kind) {
    case KIND_TEXT:
        return notice_set_text(into, m->key, *(char *const *)at);
    case KIND_REAL:
        return notice_set_real(into, m->key, known, *(const double *)at);
    case KIND_COUNT:
        return notice_set_count(into, m->key, known, *(const uint64_t *)at);
    case KIND_SMALL:
        return notice_set_count(into, m->key, known, *(const uint32_t *)at);
    case KIND_TIME:
        return notice_set_time(into, m->key, known, *(const uint64_t *)at);
    case KIND_BOOL:
        return notice_set(into, m->key,
                          known ? json_boolean(*(const protobuf_c_boolean *)at) : json_null());
    }
    return -EINVAL;
}

static int fill_members(const struct member *members, size_t count, const void *message,
                        json_t *into)
{
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++)
        r = fill_member(&members[i], message, into);
    return r;
}

#define FILL(members, message, into)                                                               \
    fill_members(members, sizeof(members) / sizeof((members)[0]), message, into)

static json_t *text_list(char *const *texts, size_t count)
{
    CLEAN_JSON json_t *list = json_array();

    for (size_t i = 0; list && i < count; i++)
        if (json_array_append_new(list, json_string(notice_text(texts[i]))) < 0)
            return NULL;
    return json_incref(list);
}

static int fill_head(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        TEXT(alert_t, severity, "severity"),
        TEXT(alert_t, rule, "rule"),
        TEXT(alert_t, rule_name, "rule_name"),
        TEXT(alert_t, level, "level"),
    };
    int r = notice_set_text(into, "fingerprint", a->fingerprint);

    if (r == 0)
        r = notice_set_text(into, "status", notice_status(a));
    return r < 0 ? r : FILL(members, a, into);
}

static int fill_labels(const alert_t *a, json_t *into)
{
    int r = notice_set_text(into, "metric", notice_text(a->metric));

    if (r == 0)
        r = notice_set_text(into, "org", notice_text(a->org));
    for (size_t i = 0; i < a->n_labels && r == 0; i++)
        if (notice_text(a->labels[i]->name)[0])
            r = notice_set_text(into, a->labels[i]->name, notice_text(a->labels[i]->value));
    return r;
}

static int fill_times(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, starts_at_unix_nano, KIND_TIME, "starts_at"),
        HAS(alert_t, detected_at_unix_nano, KIND_TIME, "detected_at"),
        HAS(alert_t, ends_at_unix_nano, KIND_TIME, "ends_at"),
        HAS(alert_t, detection_delay_seconds, KIND_REAL, "detection_delay_s"),
    };

    return FILL(members, a, into);
}

static int fill_window(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, window_start_unix_nano, KIND_TIME, "start"),
        HAS(alert_t, window_end_unix_nano, KIND_TIME, "end"),
    };
    bool known = a->has_window_start_unix_nano && a->has_window_end_unix_nano &&
                 a->window_end_unix_nano >= a->window_start_unix_nano;
    int r = FILL(members, a, into);

    if (r < 0)
        return r;
    return notice_set_count(into, "seconds", known,
                            (a->window_end_unix_nano - a->window_start_unix_nano) / NSEC_PER_SEC);
}

static int fill_observed(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, observed, KIND_REAL, "value"),
        TEXT(alert_t, unit, "unit"),
        HAS(alert_t, samples, KIND_COUNT, "samples"),
        HAS(alert_t, samples_expected, KIND_REAL, "samples_expected"),
    };

    return FILL(members, a, into);
}

static int fill_baseline(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, baseline, KIND_REAL, "value"),
        HAS(alert_t, baseline_lower, KIND_REAL, "lower"),
        HAS(alert_t, baseline_upper, KIND_REAL, "upper"),
        HAS(alert_t, baseline_band_pct, KIND_REAL, "band_pct"),
        TEXT(alert_t, baseline_method, "method"),
        HAS(alert_t, baseline_samples, KIND_COUNT, "samples"),
        HAS(alert_t, baseline_slot_samples, KIND_SMALL, "slot_samples"),
        TEXT(alert_t, baseline_season, "season"),
    };
    int r = FILL(members, a, into);

    if (r < 0)
        return r;
    return notice_set_real(into, "history_weeks", a->has_history_hours,
                           a->history_hours / HOURS_OF_WEEK);
}

static int fill_deviation(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, deviation_absolute, KIND_REAL, "absolute"),
        HAS(alert_t, deviation_ratio, KIND_REAL, "ratio"),
        HAS(alert_t, deviation_sigmas, KIND_REAL, "sigmas"),
        TEXT(alert_t, direction, "direction"),
    };

    return FILL(members, a, into);
}

/* "5m", "90s" */
static json_t *window_names(const alert_t *a)
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

static int fill_evidence(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, return_period_weeks, KIND_REAL, "return_period_weeks"),
        HAS(alert_t, tail_events_seen, KIND_SMALL, "tail_events_seen"),
        HAS(alert_t, beyond_seen, KIND_BOOL, "beyond_seen"),
        HAS(alert_t, min_detectable_ratio, KIND_REAL, "min_detectable_ratio"),
        TEXT(alert_t, confidence, "confidence"),
    };
    int r = FILL(members, a, into);

    return r < 0 ? r : notice_set(into, "windows_agreeing", window_names(a));
}

static int fill_impact(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        HAS(alert_t, impact_excess_usd, KIND_REAL, "excess_usd_so_far"),
        HAS(alert_t, impact_excess_usd_per_hour, KIND_REAL, "excess_usd_per_hour"),
        HAS(alert_t, affected_series, KIND_SMALL, "affected_series"),
    };

    return FILL(members, a, into);
}

static int fill_context(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        TEXT(alert_t, last_change, "last_change"),
        HAS(alert_t, last_change_unix_nano, KIND_TIME, "last_change_at"),
        HAS(alert_t, unusual_pattern_score, KIND_REAL, "unusual_pattern_score"),
        TEXT(alert_t, feedback, "feedback"),
    };
    int r = FILL(members, a, into);

    return r < 0 ? r : notice_set(into, "related", text_list(a->related, a->n_related));
}

static json_t *attribution(const alert_t *a)
{
    static const struct member members[] = {
        TEXT(part_t, dimension, "dimension"),
        TEXT(part_t, value, "value"),
        HAS(part_t, amount, KIND_REAL, "amount"),
        HAS(part_t, share, KIND_REAL, "share"),
    };
    CLEAN_JSON json_t *list = json_array();

    for (size_t i = 0; list && i < a->n_attribution; i++) {
        CLEAN_JSON json_t *part = json_object();

        if (!part || FILL(members, a->attribution[i], part) < 0 ||
            json_array_append(list, part) < 0)
            return NULL;
    }
    return json_incref(list);
}

static json_t *burn_rate(const burn_t *b)
{
    static const struct member members[] = {
        HAS(burn_t, objective_pct, KIND_REAL, "objective_pct"),
        HAS(burn_t, latency_above_us, KIND_COUNT, "latency_above_us"),
        HAS(burn_t, long_seconds, KIND_SMALL, "long_seconds"),
        HAS(burn_t, short_seconds, KIND_SMALL, "short_seconds"),
        HAS(burn_t, burn_limit, KIND_REAL, "burn_limit"),
        HAS(burn_t, long_burn, KIND_REAL, "long_burn"),
        HAS(burn_t, short_burn, KIND_REAL, "short_burn"),
        HAS(burn_t, long_calls, KIND_COUNT, "long_calls"),
        HAS(burn_t, long_bad, KIND_COUNT, "long_bad"),
        HAS(burn_t, short_calls, KIND_COUNT, "short_calls"),
        HAS(burn_t, short_bad, KIND_COUNT, "short_bad"),
        HAS(burn_t, period_days, KIND_SMALL, "period_days"),
        HAS(burn_t, budget_left, KIND_REAL, "budget_left"),
        HAS(burn_t, period_calls, KIND_COUNT, "period_calls"),
        HAS(burn_t, period_bad, KIND_COUNT, "period_bad"),
    };
    CLEAN_JSON json_t *object = json_object();

    return object && FILL(members, b, object) == 0 ? json_incref(object) : NULL;
}

static json_t *budget(const budget_t *b)
{
    static const struct member members[] = {
        HAS(budget_t, from_unix_nano, KIND_TIME, "from"),
        HAS(budget_t, until_unix_nano, KIND_TIME, "until"),
        HAS(budget_t, limit_usd, KIND_REAL, "limit_usd"),
        HAS(budget_t, spent_usd, KIND_REAL, "spent_usd"),
        HAS(budget_t, spent_low_usd, KIND_REAL, "spent_low_usd"),
        HAS(budget_t, spent_high_usd, KIND_REAL, "spent_high_usd"),
        HAS(budget_t, calls, KIND_COUNT, "calls"),
        HAS(budget_t, calls_cost_unknown, KIND_COUNT, "calls_cost_unknown"),
        HAS(budget_t, threshold_pct, KIND_REAL, "threshold_pct"),
        HAS(budget_t, forecast_usd, KIND_REAL, "forecast_usd"),
        HAS(budget_t, forecast_low_usd, KIND_REAL, "forecast_low_usd"),
        HAS(budget_t, forecast_high_usd, KIND_REAL, "forecast_high_usd"),
        HAS(budget_t, days_learned, KIND_SMALL, "days_learned"),
    };
    CLEAN_JSON json_t *object = json_object();

    return object && FILL(members, b, object) == 0 ? json_incref(object) : NULL;
}

static json_t *first_seen(const first_t *f)
{
    static const struct member members[] = {
        TEXT(first_t, dimension, "dimension"),
        HAS(first_t, count, KIND_COUNT, "count"),
    };
    CLEAN_JSON json_t *object = json_object();

    if (!object || FILL(members, f, object) < 0 ||
        notice_set(object, "values", text_list(f->values, f->n_values)) < 0)
        return NULL;
    return json_incref(object);
}

/* What only some rules have is there with these only. */
static int fill_rules(const alert_t *a, json_t *into)
{
    int r = notice_set(into, "attribution", attribution(a));

    if (r == 0 && a->burn_rate)
        r = notice_set(into, "burn_rate", burn_rate(a->burn_rate));
    if (r == 0 && a->budget)
        r = notice_set(into, "budget", budget(a->budget));
    if (r == 0 && a->first_seen)
        r = notice_set(into, "first_seen", first_seen(a->first_seen));
    return r;
}

static int fill_end(const alert_t *a, json_t *into)
{
    static const struct member members[] = {
        TEXT(alert_t, silenced_by, "silenced_by"),
        HAS(alert_t, silence_planned, KIND_BOOL, "silence_planned"),
    };
    int r = notice_set_text(into, "reason", a->reason);

    if (r == 0)
        r = notice_set(into, "limits", text_list(a->limits, a->n_limits));
    if (r == 0 && a->silenced_by)
        r = FILL(members, a, into);
    return r < 0 ? r
                 : notice_set(into, "synthetic", json_boolean(a->has_synthetic && a->synthetic));
}

/* In the order in which a person reads; without a key: into `data` itself. */
static const struct {
    const char *key;
    int (*fill)(const alert_t *a, json_t *into);
} parts[] = {
    {NULL, fill_head},
    {"labels", fill_labels},
    {NULL, fill_times},
    {"window", fill_window},
    {"observed", fill_observed},
    {"baseline", fill_baseline},
    {"deviation", fill_deviation},
    {"evidence", fill_evidence},
    {"impact", fill_impact},
    {NULL, fill_rules},
    {"context", fill_context},
    {NULL, fill_end},
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
