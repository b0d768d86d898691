/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/alerting_priv.h"
#include "collector/yamlread.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define OPTIONAL_POINTER (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER)
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define TEXT_MAX 1024

/* A key of `type` that is kept in `member`. */
#define TEXT(key, type, member)                                                                    \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL_POINTER, struct type, member, 0, TEXT_MAX)
#define UINT(key, type, member) CYAML_FIELD_UINT(key, OPTIONAL, struct type, member)
#define REAL(key, type, member) CYAML_FIELD_FLOAT(key, OPTIONAL, struct type, member)
#define BOOL(key, type, member) CYAML_FIELD_BOOL(key, OPTIONAL, struct type, member)
#define WORD(key, type, member, words)                                                             \
    CYAML_FIELD_ENUM(key, OPTIONAL | CYAML_FLAG_STRICT, struct type, member, words, COUNT(words))
#define SET(key, type, member, words)                                                              \
    CYAML_FIELD_FLAGS(key, OPTIONAL | CYAML_FLAG_STRICT, struct type, member, words, COUNT(words))
#define LIST(key, type, member, entry, max)                                                        \
    CYAML_FIELD_SEQUENCE(key, OPTIONAL_POINTER, struct type, member, entry, 0, max)
#define PART(key, type, member, fields)                                                            \
    CYAML_FIELD_MAPPING(key, OPTIONAL, struct type, member, fields)

static const cyaml_strval_t kind_words[] = {
    {"return_period", ALERTING_RETURN_PERIOD},
    {"burn_rate", ALERTING_BURN_RATE},
    {"budget", ALERTING_BUDGET},
    {"first_seen", ALERTING_FIRST_SEEN},
    {"silent", ALERTING_SILENT},
    {"unpriced", ALERTING_UNPRICED},
    {"coverage", ALERTING_COVERAGE},
    {"retries", ALERTING_RETRIES},
};
static const cyaml_strval_t severity_words[] = {
    {"info", ALERTING_INFO},
    {"warning", ALERTING_WARNING},
    {"critical", ALERTING_CRITICAL},
};
static const cyaml_strval_t metric_words[] = {
    {"calls", ALERTING_CALLS},   {"cost", ALERTING_COST},       {"tokens", ALERTING_TOKENS},
    {"errors", ALERTING_ERRORS}, {"latency", ALERTING_LATENCY},
};
static const cyaml_strval_t direction_words[] = {
    {"both", ALERTING_BOTH},
    {"up", ALERTING_UP},
    {"down", ALERTING_DOWN},
};
static const cyaml_strval_t period_words[] = {
    {"month", ALERTING_MONTH},
    {"week", ALERTING_WEEK},
    {"day", ALERTING_DAY},
};
static const cyaml_strval_t by_words[] = {
    {"feature", ALERTING_BY_FEATURE},
    {"provider", ALERTING_BY_PROVIDER},
    {"model", ALERTING_BY_MODEL},
};
static const cyaml_strval_t dimension_words[] = {
    {"model", ALERTING_DIM_MODEL},   {"provider", ALERTING_DIM_PROVIDER},
    {"key", ALERTING_DIM_KEY},       {"feature", ALERTING_DIM_FEATURE},
    {"region", ALERTING_DIM_REGION},
};
static const cyaml_strval_t receiver_words[] = {
    {"webhook", ALERTING_WEBHOOK},
    {"alertmanager", ALERTING_ALERTMANAGER},
    {"slack", ALERTING_SLACK},
    {"pagerduty", ALERTING_PAGERDUTY},
};

static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX),
};
static const cyaml_schema_value_t real_value = {CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, double)};

/* A rule names traffic, a route or silence alerts. */
#define SCOPE_FIELDS                                                                               \
    TEXT("org", alerting_match, org), TEXT("feature", alerting_match, feature),                    \
        TEXT("provider", alerting_match, provider), TEXT("model", alerting_match, model)
static const cyaml_schema_field_t scope_fields[] = {SCOPE_FIELDS, CYAML_FIELD_END};
static const cyaml_schema_field_t alert_fields[] = {
    SCOPE_FIELDS,
    TEXT("severity", alerting_match, severity),
    TEXT("rule", alerting_match, rule),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t window_fields[] = {
    UINT("long_min", alerting_window, long_min),
    UINT("short_min", alerting_window, short_min),
    REAL("burn", alerting_window, burn),
    WORD("severity", alerting_window, severity, severity_words),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t window_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct alerting_window, window_fields),
};

static const cyaml_schema_field_t rule_fields[] = {
    TEXT("name", alerting_rule, name),
    WORD("kind", alerting_rule, kind, kind_words),
    BOOL("enabled", alerting_rule, enabled),
    PART("match", alerting_rule, match, scope_fields),
    WORD("severity", alerting_rule, severity, severity_words),
    UINT("for_min", alerting_rule, for_min),
    SET("by", alerting_rule, by, by_words),
    WORD("metric", alerting_rule, period.metric, metric_words),
    WORD("direction", alerting_rule, period.direction, direction_words),
    REAL("target_weeks", alerting_rule, period.target_weeks),
    REAL("ratio_min", alerting_rule, period.ratio_min),
    REAL("objective", alerting_rule, burn.objective),
    LIST("error", alerting_rule, burn.error, &text_value, 32),
    LIST("except", alerting_rule, burn.except, &text_value, 32),
    UINT("latency_above_ms", alerting_rule, burn.latency_above_ms),
    LIST("windows", alerting_rule, burn.windows, &window_value, ALERTING_WINDOWS_MAX),
    UINT("period_d", alerting_rule, burn.period_d),
    UINT("hits_min", alerting_rule, burn.hits_min),
    REAL("usd", alerting_rule, budget.usd),
    WORD("period", alerting_rule, budget.period, period_words),
    TEXT("utc_offset", alerting_rule, budget.utc_offset),
    LIST("thresholds", alerting_rule, budget.thresholds, &real_value, ALERTING_THRESHOLDS_MAX),
    BOOL("forecast", alerting_rule, budget.forecast),
    WORD("dimension", alerting_rule, dimension, dimension_words),
    UINT("warmup_h", alerting_rule, warmup_h),
    UINT("calls_min", alerting_rule, calls_min),
    REAL("below", alerting_rule, below),
    REAL("drop", alerting_rule, drop),
    REAL("ratio", alerting_rule, ratio),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t rule_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct alerting_rule, rule_fields),
};

static const cyaml_schema_field_t silence_fields[] = {
    PART("match", alerting_silence, match, alert_fields),
    TEXT("from", alerting_silence, from),
    TEXT("until", alerting_silence, until),
    BOOL("planned", alerting_silence, planned),
    TEXT("comment", alerting_silence, comment),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t silence_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct alerting_silence, silence_fields),
};

static const cyaml_schema_field_t header_fields[] = {
    TEXT("name", alerting_header, name),
    TEXT("value", alerting_header, value),
    TEXT("value_file", alerting_header, value_file),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t header_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct alerting_header, header_fields),
};

static const cyaml_schema_field_t receiver_fields[] = {
    TEXT("name", alerting_receiver, name),
    WORD("type", alerting_receiver, type, receiver_words),
    TEXT("url", alerting_receiver, url),
    TEXT("url_file", alerting_receiver, url_file),
    TEXT("secret_file", alerting_receiver, secret_file),
    TEXT("routing_key_file", alerting_receiver, routing_key_file),
    TEXT("bearer_file", alerting_receiver, bearer_file),
    TEXT("ca_file", alerting_receiver, ca_file),
    LIST("headers", alerting_receiver, headers, &header_value, 16),
    UINT("max_attempts", alerting_receiver, max_attempts),
    UINT("timeout_ms", alerting_receiver, timeout_ms),
    BOOL("send_updates", alerting_receiver, send_updates),
    BOOL("send_resolved", alerting_receiver, send_resolved),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t receiver_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct alerting_receiver, receiver_fields),
};

static const cyaml_schema_field_t route_fields[] = {
    PART("match", alerting_route, match, alert_fields),
    LIST("receivers", alerting_route, receivers, &text_value, ALERTING_RECEIVERS_MAX),
    BOOL("continue", alerting_route, go_on),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t route_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct alerting_route, route_fields),
};

static const cyaml_schema_field_t file_fields[] = {
    TEXT("external_url", alerting, external_url),
    TEXT("runbook_url", alerting, runbook_url),
    LIST("rules", alerting, rules, &rule_value, ALERTING_RULES_MAX),
    LIST("silences", alerting, silences, &silence_value, ALERTING_SILENCES_MAX),
    LIST("receivers", alerting, receivers, &receiver_value, ALERTING_RECEIVERS_MAX),
    LIST("routes", alerting, routes, &route_value, ALERTING_ROUTES_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct alerting, file_fields),
};

void alerting_free(struct alerting **alerting)
{
    yamlread_free(&file_schema, *alerting);
    *alerting = NULL;
}

static int refuse(const char *name, unsigned line, const char *field, const char *problem,
                  struct alerting_error *ret_error)
{
    snprintf(ret_error->text, sizeof(ret_error->text), "%.128s:%u: %.128s%s%.200s", name, line,
             field, field[0] ? ": " : "", problem);
    return -EINVAL;
}

int alerting_parse(const char *name, struct slice text, struct alerting **ret_alerting,
                   struct alerting_error *ret_error)
{
    CLEAN_ALERTING struct alerting *a = NULL;
    CLEAN_PLACES struct places *places = NULL;
    struct places_fault fault = {.line = 0};
    void *data = NULL;
    int r;

    if (text.len > ALERTING_FILE_MAX)
        return refuse(name, 0, "", "the file is too long", ret_error);
    r = yamlread(text, &file_schema, &places, &data, &fault);
    if (r == -EINVAL)
        return refuse(name, fault.line, fault.field, fault.problem, ret_error);
    if (r < 0)
        return r;
    a = data ? data : calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    r = alerting_settle(a, name, places, ret_error);
    if (r == 0)
        *ret_alerting = TAKE_PTR(a);
    return r;
}

int alerting_load(const char *path, struct alerting **ret_alerting,
                  struct alerting_error *ret_error)
{
    CLEAN_FILE FILE *f = path ? fopen(path, "re") : NULL;
    CLEAN_FREE char *text = NULL;
    size_t len;

    if (!path)
        return alerting_parse("defaults", slice_str(""), ret_alerting, ret_error);
    if (!f) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%.256s: cannot be read: %m", path);
        return -EINVAL;
    }
    text = malloc(ALERTING_FILE_MAX + 1);
    if (!text)
        return -ENOMEM;
    len = fread(text, 1, ALERTING_FILE_MAX + 1, f);
    if (ferror(f)) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%.256s: cannot be read", path);
        return -EINVAL;
    }
    return alerting_parse(path, slice_of(text, len), ret_alerting, ret_error);
}
