/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/alerting_priv.h"
#include "collector/when.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct check {
    struct alerting *a;
    const char *name;
    const struct places *places;
    struct alerting_error *error;
    char at[PLACES_FIELD_MAX]; /* the entry that is looked at: "rules[3]" */
};

static void enter(struct check *c, const char *list, unsigned index)
{
    snprintf(c->at, sizeof(c->at), "%s[%u]", list, index);
}

static bool has(const struct check *c, const char *key)
{
    char field[2 * PLACES_FIELD_MAX];

    snprintf(field, sizeof(field), "%s.%s", c->at, key);
    return places_line(c->places, field) != 0;
}

/* Points at the key, where it is given, else at the entry. */
__attribute__((format(printf, 3, 4))) static int refuse(const struct check *c, const char *key,
                                                        const char *fmt, ...)
{
    char field[2 * PLACES_FIELD_MAX], problem[200];
    unsigned line;
    va_list args;

    va_start(args, fmt);
    vsnprintf(problem, sizeof(problem), fmt, args);
    va_end(args);
    snprintf(field, sizeof(field), "%s%s%s", c->at, c->at[0] ? "." : "", key);
    line = places_line(c->places, field);
    snprintf(c->error->text, sizeof(c->error->text), "%.128s:%u: %.100s: %s", c->name,
             line ? line : places_line(c->places, c->at), field, problem);
    return -EINVAL;
}

/* --- rules --- */

static const char *const common_keys[] = {"name",     "kind",    "enabled", "match",
                                          "severity", "for_min", NULL};

static const struct kind {
    const char *name;
    enum alerting_severity severity;
    unsigned by; /* default, where it may be chosen */
    const char *keys[12];
} kinds[ALERTING_KIND__COUNT] = {
    [ALERTING_RETURN_PERIOD] = {"return_period",
                                ALERTING_SEVERITY_OF_KIND,
                                0,
                                {"metric", "direction", "target_weeks", "ratio_min"}},
    [ALERTING_BURN_RATE] = {"burn_rate",
                            ALERTING_CRITICAL,
                            ALERTING_BY_PROVIDER,
                            {"by", "objective", "error", "except", "latency_above_ms", "windows",
                             "period_d", "calls_min", "hits_min"}},
    [ALERTING_BUDGET] = {"budget",
                         ALERTING_WARNING,
                         0,
                         {"by", "usd", "period", "utc_offset", "thresholds", "forecast"}},
    [ALERTING_FIRST_SEEN] = {"first_seen", ALERTING_INFO, 0, {"dimension", "warmup_h"}},
    [ALERTING_SILENT] = {"silent",
                         ALERTING_WARNING,
                         ALERTING_BY_FEATURE,
                         {"by", "dimension", "calls_min"}},
    [ALERTING_UNPRICED] = {"unpriced",
                           ALERTING_WARNING,
                           ALERTING_BY_PROVIDER | ALERTING_BY_MODEL,
                           {"by", "calls_min"}},
    [ALERTING_COVERAGE] = {"coverage",
                           ALERTING_WARNING,
                           ALERTING_BY_PROVIDER,
                           {"by", "below", "drop", "calls_min"}},
    [ALERTING_RETRIES] = {"retries",
                          ALERTING_WARNING,
                          ALERTING_BY_FEATURE | ALERTING_BY_PROVIDER,
                          {"by", "ratio", "calls_min"}},
};

static bool is_in(const char *key, const char *const *keys)
{
    for (; *keys; keys++)
        if (strcmp(*keys, key) == 0)
            return true;
    return false;
}

static int check_keys(const struct check *c, const struct kind *kind)
{
    const char *key;

    for (unsigned i = 0; (key = places_child(c->places, c->at, i)); i++)
        if (!is_in(key, common_keys) && !is_in(key, kind->keys))
            return refuse(c, key, "is no setting of the kind %s", kind->name);
    return 0;
}

static int settle_period(const struct check *c, struct alerting_rule *rule)
{
    if (!has(c, "metric"))
        return refuse(c, "metric", "is missing: calls, cost, tokens, errors or latency");
    if (has(c, "target_weeks") &&
        (!isfinite(rule->period.target_weeks) || rule->period.target_weeks < 1))
        return refuse(c, "target_weeks", "use at least 1");
    if (has(c, "ratio_min") && (!isfinite(rule->period.ratio_min) || rule->period.ratio_min <= 1))
        return refuse(c, "ratio_min", "use more than 1");
    return 0;
}

static const struct alerting_window windows_of_workbook[] = {
    {60, 5, 14.4, ALERTING_CRITICAL},
    {360, 30, 6, ALERTING_CRITICAL},
    {4320, 360, 1, ALERTING_WARNING},
};
static const char *const no_fault_of_providers[] = {"client_abort", "policy_denied"};

static int default_windows(struct alerting_rule *rule)
{
    rule->burn.windows = calloc(1, sizeof(windows_of_workbook));
    if (!rule->burn.windows)
        return -ENOMEM;
    memcpy(rule->burn.windows, windows_of_workbook, sizeof(windows_of_workbook));
    rule->burn.windows_count = COUNT(windows_of_workbook);
    return 0;
}

static int default_except(struct alerting_rule *rule)
{
    rule->burn.except = calloc(COUNT(no_fault_of_providers), sizeof(char *));
    if (!rule->burn.except)
        return -ENOMEM;
    for (unsigned i = 0; i < COUNT(no_fault_of_providers); i++) {
        rule->burn.except[i] = strdup(no_fault_of_providers[i]);
        if (!rule->burn.except[i])
            return -ENOMEM;
        rule->burn.except_count = i + 1;
    }
    return 0;
}

static int check_windows(const struct check *c, const struct alerting_rule *rule)
{
    for (unsigned i = 0; i < rule->burn.windows_count; i++) {
        const struct alerting_window *w = &rule->burn.windows[i];
        char key[32];

        snprintf(key, sizeof(key), "windows[%u]", i);
        if (w->short_min < 1 || w->long_min < w->short_min || w->long_min > 40 * 1440)
            return refuse(c, key, "needs 1 <= short_min <= long_min <= 57600");
        if (w->long_min > 4320 && (w->long_min % 60 || w->short_min % 60))
            return refuse(c, key, "windows of more than three days are whole hours");
        if (!isfinite(w->burn) || w->burn <= 0)
            return refuse(c, key, "burn: use more than 0");
        if (w->burn * (1 - rule->burn.objective / 100) > 1)
            return refuse(c, key, "burn: more than all calls would have to fail");
    }
    return 0;
}

static int settle_burn(const struct check *c, struct alerting_rule *rule)
{
    int r = 0;

    if (!isfinite(rule->burn.objective) || rule->burn.objective < 1 ||
        rule->burn.objective > 99.9999)
        return refuse(c, "objective", "is needed: %% of calls that are good, 1 to 99.9999");
    if (rule->burn.latency_above_ms && (has(c, "error") || has(c, "except")))
        return refuse(c, "latency_above_ms", "a rule counts errors or slow calls, not both");
    if (has(c, "error") && has(c, "except"))
        return refuse(c, "except", "has no meaning beside error");
    if (!has(c, "period_d"))
        rule->burn.period_d = 30;
    if (rule->burn.period_d < 1 || rule->burn.period_d > 365)
        return refuse(c, "period_d", "use 1 to 365");
    if (!has(c, "calls_min"))
        rule->calls_min = 20;
    if (!has(c, "hits_min"))
        rule->burn.hits_min = 5;
    if (!rule->burn.windows)
        r = default_windows(rule);
    if (r == 0 && !rule->burn.error && !rule->burn.except && !rule->burn.latency_above_ms)
        r = default_except(rule);
    return r < 0 ? r : check_windows(c, rule);
}

static int default_thresholds(struct alerting_rule *rule)
{
    static const double thresholds[] = {50, 80, 100};

    rule->budget.thresholds = calloc(1, sizeof(thresholds));
    if (!rule->budget.thresholds)
        return -ENOMEM;
    memcpy(rule->budget.thresholds, thresholds, sizeof(thresholds));
    rule->budget.thresholds_count = COUNT(thresholds);
    return 0;
}

static int settle_budget(const struct check *c, struct alerting_rule *rule)
{
    int r = 0;

    if (!isfinite(rule->budget.usd) || rule->budget.usd <= 0 || rule->budget.usd > 1e12)
        return refuse(c, "usd", "is needed, more than 0");
    if (rule->budget.utc_offset &&
        when_offset(rule->budget.utc_offset, &rule->budget.utc_offset_min) < 0)
        return refuse(c, "utc_offset", "use \"+02:00\" or \"Z\"");
    if (!has(c, "forecast"))
        rule->budget.forecast = true;
    if (!rule->budget.thresholds)
        r = default_thresholds(rule);
    for (unsigned i = 0; i < rule->budget.thresholds_count && r == 0; i++) {
        double here = rule->budget.thresholds[i];

        if (!isfinite(here) || here <= (i ? rule->budget.thresholds[i - 1] : 0) || here > 1000)
            r = refuse(c, "thresholds", "use rising percentages up to 1000");
    }
    return r;
}

static int settle_first_seen(const struct check *c, struct alerting_rule *rule)
{
    if (!has(c, "dimension"))
        return refuse(c, "dimension", "is missing: model, provider, key, feature or region");
    if (!has(c, "warmup_h"))
        rule->warmup_h = 24;
    if (rule->warmup_h < 1 || rule->warmup_h > 24 * 28)
        return refuse(c, "warmup_h", "use 1 to 672");
    return 0;
}

static int settle_silent(const struct check *c, struct alerting_rule *rule)
{
    if (has(c, "dimension") && rule->dimension != ALERTING_DIM_FEATURE)
        return refuse(c, "dimension", "only feature can be watched for silence");
    rule->dimension = ALERTING_DIM_FEATURE;
    if (!has(c, "for_min"))
        rule->for_min = 60;
    if (rule->for_min < 5 || rule->for_min > 7 * 1440)
        return refuse(c, "for_min", "use 5 to 10080");
    if (!has(c, "calls_min"))
        rule->calls_min = 20;
    return 0;
}

static int settle_unpriced(const struct check *c, struct alerting_rule *rule)
{
    if (!has(c, "calls_min"))
        rule->calls_min = 1;
    return 0;
}

static bool is_share(double v)
{
    return isfinite(v) && v > 0 && v <= 1;
}

static int settle_coverage(const struct check *c, struct alerting_rule *rule)
{
    if (!has(c, "below"))
        rule->below = 0.9;
    if (!has(c, "drop"))
        rule->drop = 0.1;
    if (!has(c, "calls_min"))
        rule->calls_min = 20;
    if (!is_share(rule->below))
        return refuse(c, "below", "use a share in 0..1");
    if (!is_share(rule->drop))
        return refuse(c, "drop", "use a share in 0..1");
    if (rule->match.feature || rule->match.model || (rule->by & ~(unsigned)ALERTING_BY_PROVIDER))
        return refuse(c, has(c, "by") ? "by" : "match", "connections have a provider only");
    return 0;
}

static int settle_retries(const struct check *c, struct alerting_rule *rule)
{
    if (!has(c, "ratio"))
        rule->ratio = 0.3;
    if (!has(c, "calls_min"))
        rule->calls_min = 50;
    return is_share(rule->ratio) ? 0 : refuse(c, "ratio", "use a share in 0..1");
}

static int (*const settle_kind[ALERTING_KIND__COUNT])(const struct check *c,
                                                      struct alerting_rule *rule) = {
    [ALERTING_RETURN_PERIOD] = settle_period, [ALERTING_BURN_RATE] = settle_burn,
    [ALERTING_BUDGET] = settle_budget,        [ALERTING_FIRST_SEEN] = settle_first_seen,
    [ALERTING_SILENT] = settle_silent,        [ALERTING_UNPRICED] = settle_unpriced,
    [ALERTING_COVERAGE] = settle_coverage,    [ALERTING_RETRIES] = settle_retries,
};

static int settle_rule(struct check *c, unsigned index)
{
    struct alerting_rule *rule = &c->a->rules[index];
    const struct kind *kind;
    int r;

    if (!rule->name || !rule->name[0])
        return refuse(c, "name", "is missing");
    for (unsigned i = 0; i < index; i++)
        if (strcmp(c->a->rules[i].name, rule->name) == 0)
            return refuse(c, "name", "another rule has this name");
    if (!has(c, "kind"))
        return refuse(c, "kind", "is missing");
    kind = &kinds[rule->kind];
    if (!has(c, "enabled"))
        rule->enabled = true;
    if (!has(c, "severity"))
        rule->severity = kind->severity;
    if (!has(c, "by"))
        rule->by = kind->by;
    if (rule->for_min > 7 * 1440)
        return refuse(c, "for_min", "use up to 10080");
    r = check_keys(c, kind);
    return r < 0 ? r : settle_kind[rule->kind](c, rule);
}

/* --- silences, receivers, routes --- */

/* A severity that no alert has would match nothing, without a word. */
static int check_match(const struct check *c, const struct alerting_match *match)
{
    if (!match->severity)
        return 0;
    for (int i = ALERTING_INFO; i <= ALERTING_CRITICAL; i++)
        if (alerting_glob(match->severity, alerting_severity_name((enum alerting_severity)i)))
            return 0;
    return refuse(c, "match.severity", "use info, warning or critical");
}

static int settle_silence(struct check *c, unsigned index)
{
    struct alerting_silence *s = &c->a->silences[index];
    int r = check_match(c, &s->match);

    if (r < 0)
        return r;
    if (!s->from || when_parse(s->from, &s->from_s) < 0)
        return refuse(c, "from", "is needed as in 2026-01-31T12:00:00Z");
    if (!s->until || when_parse(s->until, &s->until_s) < 0)
        return refuse(c, "until", "is needed as in 2026-01-31T12:00:00Z");
    return s->until_s > s->from_s ? 0 : refuse(c, "until", "is not after from");
}

static bool is_web(const char *url)
{
    const char *host = strstr(url, "://");

    return host && host[3] &&
           (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
           !strpbrk(url, " \t\r\n");
}

static int check_headers(const struct check *c, const struct alerting_receiver *receiver)
{
    for (unsigned i = 0; i < receiver->headers_count; i++) {
        const struct alerting_header *h = &receiver->headers[i];
        char key[32];

        snprintf(key, sizeof(key), "headers[%u]", i);
        if (!h->name || !h->name[0] || strpbrk(h->name, " \t\r\n:"))
            return refuse(c, key, "needs a name without blank or colon");
        if (!h->value == !h->value_file)
            return refuse(c, key, "needs value or value_file");
        if (h->value && strpbrk(h->value, "\r\n"))
            return refuse(c, key, "has a value of more than one line");
    }
    return 0;
}

static int check_types(const struct check *c, const struct alerting_receiver *receiver)
{
    if (receiver->secret_file && receiver->type != ALERTING_WEBHOOK)
        return refuse(c, "secret_file", "only webhooks are signed");
    if (receiver->routing_key_file && receiver->type != ALERTING_PAGERDUTY)
        return refuse(c, "routing_key_file", "is for pagerduty only");
    if (receiver->type == ALERTING_PAGERDUTY && !receiver->routing_key_file)
        return refuse(c, "routing_key_file", "is needed for pagerduty");
    if (receiver->url && receiver->url_file)
        return refuse(c, "url_file", "has no meaning beside url");
    if (!receiver->url && !receiver->url_file && receiver->type != ALERTING_PAGERDUTY)
        return refuse(c, "url", "is missing (or url_file)");
    if (receiver->url && !is_web(receiver->url))
        return refuse(c, "url", "use http://... or https://...");
    return 0;
}

static int settle_receiver(struct check *c, unsigned index)
{
    struct alerting_receiver *receiver = &c->a->receivers[index];
    int r;

    if (!receiver->name || !receiver->name[0])
        return refuse(c, "name", "is missing");
    for (unsigned i = 0; i < index; i++)
        if (strcmp(c->a->receivers[i].name, receiver->name) == 0)
            return refuse(c, "name", "another receiver has this name");
    if (!has(c, "type"))
        return refuse(c, "type", "is missing: webhook, alertmanager, slack or pagerduty");
    if (!has(c, "max_attempts"))
        receiver->max_attempts = 10;
    if (!has(c, "timeout_ms"))
        receiver->timeout_ms = 10000;
    if (!has(c, "send_updates"))
        receiver->send_updates = true;
    if (!has(c, "send_resolved"))
        receiver->send_resolved = true;
    if (receiver->max_attempts < 1 || receiver->max_attempts > 1000)
        return refuse(c, "max_attempts", "use 1 to 1000");
    if (receiver->timeout_ms < 100 || receiver->timeout_ms > 60000)
        return refuse(c, "timeout_ms", "use 100 to 60000");
    r = check_types(c, receiver);
    return r < 0 ? r : check_headers(c, receiver);
}

static int settle_route(struct check *c, unsigned index)
{
    struct alerting_route *route = &c->a->routes[index];
    int r = check_match(c, &route->match);

    if (r < 0)
        return r;
    for (unsigned i = 0; i < route->receivers_count; i++) {
        unsigned at = 0;
        char key[32];

        while (at < c->a->receivers_count &&
               strcmp(c->a->receivers[at].name, route->receivers[i]) != 0)
            at++;
        snprintf(key, sizeof(key), "receivers[%u]", i);
        if (at == c->a->receivers_count)
            return refuse(c, key, "there is no receiver %.64s", route->receivers[i]);
        route->receiver_set |= UINT64_C(1) << at;
    }
    return has(c, "receivers") ? 0 : refuse(c, "receivers", "is missing; [] drops the alert");
}

int alerting_settle(struct alerting *a, const char *name, const struct places *places,
                    struct alerting_error *ret_error)
{
    const struct {
        const char *list;
        unsigned count;
        int (*settle)(struct check *c, unsigned index);
    } lists[] = {
        {"rules", a->rules_count, settle_rule},
        {"silences", a->silences_count, settle_silence},
        {"receivers", a->receivers_count, settle_receiver},
        {"routes", a->routes_count, settle_route},
    };
    struct check c = {.a = a, .name = name, .places = places, .error = ret_error};

    if (a->external_url && !is_web(a->external_url))
        return refuse(&c, "external_url", "use http://... or https://...");
    if (a->runbook_url && (!is_web(a->runbook_url) || strchr(a->runbook_url, '#')))
        return refuse(&c, "runbook_url", "use http://... or https://..., without #");
    for (unsigned l = 0; l < COUNT(lists); l++)
        for (unsigned i = 0; i < lists[l].count; i++) {
            int r;

            enter(&c, lists[l].list, i);
            r = lists[l].settle(&c, i);
            if (r < 0)
                return r;
        }
    return 0;
}
