/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/alerting.h"

#include <stddef.h>
#include <string.h>

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

bool alerting_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *retry = NULL;

    if (!pattern)
        return true;
    text = or_empty(text);
    /* Only the last star has to be tried again: that keeps it at length times length. */
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++retry;
        } else {
            return false;
        }
    }
    pattern += strspn(pattern, "*");
    return *pattern == '\0';
}

bool alerting_matches(const struct alerting_match *m, const struct alerting_scope *s)
{
    return alerting_glob(m->org, s->org) && alerting_glob(m->feature, s->feature) &&
           alerting_glob(m->provider, s->provider) && alerting_glob(m->model, s->model) &&
           alerting_glob(m->severity, s->severity) &&
           (!m->rule || alerting_glob(m->rule, s->rule) || alerting_glob(m->rule, s->name));
}

uint64_t alerting_route(const struct alerting *a, const struct alerting_scope *scope)
{
    uint64_t set = 0;

    if (a->routes_count == 0)
        return a->receivers_count >= 64 ? UINT64_MAX : (UINT64_C(1) << a->receivers_count) - 1;
    for (unsigned i = 0; i < a->routes_count; i++) {
        if (!alerting_matches(&a->routes[i].match, scope))
            continue;
        set |= a->routes[i].receiver_set;
        if (!a->routes[i].go_on)
            break;
    }
    return set;
}

const struct alerting_silence *alerting_silenced(const struct alerting *a,
                                                 const struct alerting_scope *scope, int64_t at_s)
{
    for (unsigned i = 0; i < a->silences_count; i++) {
        const struct alerting_silence *s = &a->silences[i];

        if (s->from_s <= at_s && at_s < s->until_s && alerting_matches(&s->match, scope))
            return s;
    }
    return NULL;
}

const struct alerting_rule *alerting_period_rule(const struct alerting *a,
                                                 enum alerting_metric metric, bool is_down,
                                                 const struct alerting_scope *scope)
{
    for (unsigned i = 0; i < a->rules_count; i++) {
        const struct alerting_rule *r = &a->rules[i];

        if (r->kind != ALERTING_RETURN_PERIOD || r->period.metric != metric ||
            r->period.direction == (is_down ? ALERTING_UP : ALERTING_DOWN))
            continue;
        if (alerting_matches(&r->match, scope))
            return r;
    }
    return NULL;
}

const char *alerting_severity_name(enum alerting_severity severity)
{
    static const char *const names[] = {
        [ALERTING_SEVERITY_OF_KIND] = NULL,
        [ALERTING_INFO] = "info",
        [ALERTING_WARNING] = "warning",
        [ALERTING_CRITICAL] = "critical",
    };

    return names[severity];
}
