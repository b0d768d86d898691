/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/alertmanager.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LABEL_NAME_BYTES 128
#define HOURS_OF_WEEK 168.0

/* What Prometheus allows in a name: letters, digits and '_', no digit first. */
static void make_name(const char *name, char ret_name[LABEL_NAME_BYTES])
{
    size_t n = 0;

    if (*name >= '0' && *name <= '9')
        ret_name[n++] = '_';
    for (; *name && n + 1 < LABEL_NAME_BYTES; name++) {
        char c = *name;
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        ret_name[n++] = fine ? c : '_';
    }
    ret_name[n] = '\0';
}

/* To Alertmanager an empty label is none. */
static int add_label(json_t *labels, const char *name, const char *value)
{
    return notice_text(value)[0] ? notice_set_text(labels, name, value) : 0;
}

static json_t *make_labels(const Lectr__V1__Alert *a)
{
    CLEAN_JSON json_t *labels = json_object();
    int r = 0;

    if (!labels)
        return NULL;
    for (size_t i = 0; i < a->n_labels && r == 0; i++) {
        char name[LABEL_NAME_BYTES];

        make_name(notice_text(a->labels[i]->name), name);
        if (name[0])
            r = add_label(labels, name, a->labels[i]->value);
    }
    /* After the scope: no label of it may take the place of these. */
    if (r == 0)
        r = add_label(labels, "alertname", notice_text(a->rule)[0] ? a->rule : "lectr");
    if (r == 0)
        r = add_label(labels, "org", a->org);
    if (r == 0)
        r = add_label(labels, "severity", a->severity);
    if (r == 0)
        r = add_label(labels, "rule", a->rule_name);
    if (r == 0 && a->has_synthetic && a->synthetic)
        r = add_label(labels, "synthetic", "true");
    return r == 0 ? json_incref(labels) : NULL;
}

static int add_real(json_t *annotations, const char *name, bool known, double value)
{
    return known ? notice_set(annotations, name, json_sprintf("%.15g", value)) : 0;
}

static int add_window(json_t *annotations, const Lectr__V1__Alert *a)
{
    char start[NOTICE_TIME_BYTES], end[NOTICE_TIME_BYTES];

    if (!a->has_window_start_unix_nano || !a->has_window_end_unix_nano)
        return 0;
    notice_time(a->window_start_unix_nano, start);
    notice_time(a->window_end_unix_nano, end);
    return notice_set(annotations, "window", json_sprintf("%s/%s", start, end));
}

static int add_words(json_t *annotations, const struct notice *n)
{
    const Lectr__V1__Alert *a = n->alert;
    char title[NOTICE_TITLE_BYTES], runbook[2048];
    const char *const words[][2] = {
        {"summary", title},
        {"description", a->reason},
        {"fingerprint", a->fingerprint},
        {"metric", a->metric},
        {"unit", a->unit},
        {"direction", a->direction},
        {"confidence", a->confidence},
        {"baseline_method", a->baseline_method},
        {"level", a->level},
        {"runbook_url", runbook},
    };
    int r = 0;

    notice_title(a, title);
    notice_runbook(n, runbook, sizeof(runbook));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && r == 0; i++)
        if (notice_text(words[i][1])[0])
            r = notice_set_text(annotations, words[i][0], words[i][1]);
    return r;
}

static json_t *make_annotations(const struct notice *n)
{
    const Lectr__V1__Alert *a = n->alert;
    const struct {
        const char *name;
        bool known;
        double value;
    } numbers[] = {
        {"observed", a->has_observed, a->observed},
        {"baseline", a->has_baseline, a->baseline},
        {"baseline_lower", a->has_baseline_lower, a->baseline_lower},
        {"baseline_upper", a->has_baseline_upper, a->baseline_upper},
        {"deviation_absolute", a->has_deviation_absolute, a->deviation_absolute},
        {"deviation_ratio", a->has_deviation_ratio, a->deviation_ratio},
        {"deviation_sigmas", a->has_deviation_sigmas, a->deviation_sigmas},
        {"samples", a->has_samples, (double)a->samples},
        {"history_weeks", a->has_history_hours, a->history_hours / HOURS_OF_WEEK},
        {"return_period_weeks", a->has_return_period_weeks, a->return_period_weeks},
        {"impact_excess_usd", a->has_impact_excess_usd, a->impact_excess_usd},
        {"impact_excess_usd_per_hour", a->has_impact_excess_usd_per_hour,
         a->impact_excess_usd_per_hour},
    };
    CLEAN_JSON json_t *annotations = json_object();
    int r = annotations ? add_words(annotations, n) : -ENOMEM;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && r == 0; i++)
        r = add_real(annotations, numbers[i].name, numbers[i].known, numbers[i].value);
    if (r == 0)
        r = add_window(annotations, a);
    return r == 0 ? json_incref(annotations) : NULL;
}

static json_t *make_alert(const struct notice *n, uint64_t valid_until_ns)
{
    const Lectr__V1__Alert *a = n->alert;
    bool is_over = a->status == LECTR__V1__ALERT__STATUS__STATUS_RESOLVED;
    CLEAN_JSON json_t *alert = json_object();
    int r = alert ? notice_set(alert, "labels", make_labels(a)) : -ENOMEM;

    if (r == 0)
        r = notice_set(alert, "annotations", make_annotations(n));
    if (r == 0 && a->has_starts_at_unix_nano)
        r = notice_set_time(alert, "startsAt", true, a->starts_at_unix_nano);
    if (r == 0)
        r = notice_set_time(alert, "endsAt", true,
                            is_over ? a->has_ends_at_unix_nano ? a->ends_at_unix_nano
                                                               : a->detected_at_unix_nano
                                    : valid_until_ns);
    if (r == 0 && notice_text(n->generator_url)[0])
        r = notice_set_text(alert, "generatorURL", n->generator_url);
    return r == 0 ? json_incref(alert) : NULL;
}

int alertmanager_format(const struct notice *notices, size_t count, uint64_t valid_until_ns,
                        struct buf *out)
{
    CLEAN_JSON json_t *list = json_array();

    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, make_alert(&notices[i], valid_until_ns)) < 0)
            return -ENOMEM;
    return notice_dump(list, out);
}
