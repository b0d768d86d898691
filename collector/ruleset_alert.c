/* SPDX-License-Identifier: Apache-2.0 */
/* What an alert of a rule says: its numbers, and a sentence with the same ones. */
#include "collector/ruleset_priv.h"
#include "collector/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct line {
    char *text;
    size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void say(struct line *l, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(l->text + l->len, l->size - l->len, fmt, args);
    va_end(args);
    l->len = n < 0 ? l->len : l->len + (size_t)n < l->size ? l->len + (size_t)n : l->size - 1;
}

static void say_scope(struct line *l, const struct group *g)
{
    const struct {
        const char *word, *name;
    } parts[] = {{"feature", g->feature}, {"provider", g->provider}, {"model", g->model}};
    bool any = false;

    for (int i = 0; i < 3; i++) {
        if (!parts[i].name[0])
            continue;
        say(l, "%s%s %.100s", any ? ", " : "", parts[i].word, parts[i].name);
        any = true;
    }
    if (!any)
        say(l, "organisation %.63s", g->org);
}

static void say_time(struct line *l, int64_t at_s, const char *format)
{
    time_t at = (time_t)at_s;
    struct tm tm;
    char text[40];

    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), format, &tm);
    say(l, "%s", text);
}

static void say_length(struct line *l, int64_t seconds)
{
    if (seconds % 86400 == 0)
        say(l, "%lld d", (long long)(seconds / 86400));
    else if (seconds % HOUR_S == 0)
        say(l, "%lld h", (long long)(seconds / HOUR_S));
    else
        say(l, "%lld min", (long long)(seconds / MINUTE_S));
}

static double part(uint64_t hits, uint64_t all)
{
    return all ? (double)hits / (double)all : 0;
}

/* --- burn rates --- */

static void fill_burn(const struct alerting_rule *rule, const struct group *g,
                      const struct verdict *v, struct line *l, struct alert *a)
{
    const struct burn_verdict *b = &v->burn;
    double budget = (100 - rule->burn.objective) / 100;

    a->window_start_s = b->in_long.from_s;
    a->window_end_s = b->in_long.to_s;
    a->samples = b->in_long.calls;
    a->observed = part(b->in_long.hits, b->in_long.calls);
    a->baseline = budget;
    a->baseline_lower = 0;
    a->baseline_upper = fmin(budget * b->window.burn, 1);
    a->method = "objective";
    a->baseline_samples = b->in_period.calls;
    a->history_hours = (double)(b->in_period.to_s - b->in_period.from_s) / HOUR_S;
    say_scope(l, g);
    say(l, ": %llu of %llu calls (%.3g%%) ", (unsigned long long)b->in_long.hits,
        (unsigned long long)b->in_long.calls, 100 * a->observed);
    if (rule->burn.latency_above_ms)
        say(l, "took longer than %.3g s", rule->burn.latency_above_ms / 1000.0);
    else
        say(l, "failed");
    say(l, " in ");
    say_length(l, b->in_long.to_s - b->in_long.from_s);
    say(l, " to ");
    say_time(l, b->in_long.to_s, "%H:%M UTC");
    say(l, "; the error budget of %.4g%% burns %.3g times as fast as it may (limit %.3g), ",
        100 * budget, b->long_burn, b->window.burn);
    say_length(l, b->in_short.to_s - b->in_short.from_s);
    say(l, ": %.3g times; ", b->short_burn);
    if (b->budget_left < 0)
        say(l, "the budget of the last %u days is used up %.1f times.", rule->burn.period_d,
            1 - b->budget_left);
    else
        say(l, "%.3g%% of the budget of the last %u days is left.", 100 * b->budget_left,
            rule->burn.period_d);
}

/* --- budgets --- */

static void fill_budget(const struct alerting_rule *rule, const struct group *g,
                        const struct verdict *v, struct line *l, struct alert *a)
{
    const struct budget_verdict *b = &v->budget;
    const bool is_forecast = v->rule == ALERT_COST_FORECAST;
    static const char *const periods[] = {
        [ALERTING_MONTH] = "month", [ALERTING_WEEK] = "week", [ALERTING_DAY] = "day"};

    a->window_start_s = b->from_s;
    a->samples = b->spent.calls;
    a->observed = is_forecast ? b->forecast : b->spent.expected_usd;
    a->baseline = rule->budget.usd;
    a->baseline_lower = 0;
    a->baseline_upper = rule->budget.usd;
    a->method = is_forecast ? "budget, hour_of_week forecast" : "budget";
    a->history_hours = 24.0 * b->days_learned;
    a->baseline_samples = b->days_learned;
    say_scope(l, g);
    say(l, ": $%.2f of the %s's $%.2f spent (%.3g%%)", b->spent.expected_usd,
        periods[rule->budget.period], rule->budget.usd, 100 * b->used);
    if (b->has_forecast)
        say(l, ", $%.2f ($%.2f to $%.2f) expected by its end", b->forecast, b->forecast_low,
            b->forecast_high);
    say(l, "; %llu calls since ", (unsigned long long)b->spent.calls);
    say_time(l, b->from_s, "%Y-%m-%d %H:%M UTC");
    if (b->spent.unknown)
        alert_limit(a, "%llu calls of unknown cost are not in the sum",
                    (unsigned long long)b->spent.unknown);
    if (rule->budget.forecast && !b->has_forecast)
        alert_limit(a, "no forecast: %u of %d days learned", b->days_learned, BUDGET_DAYS_LEAST);
    if (b->spent.unknown)
        say(l, ", %llu of them at unknown cost and not counted",
            (unsigned long long)b->spent.unknown);
    say(l, ".");
}

/* --- categories --- */

static void fill_quiet(const struct alerting_rule *rule, const struct group *g,
                       const struct verdict *v, struct line *l, struct alert *a)
{
    const struct quiet_verdict *q = &v->quiet;

    (void)rule;
    a->window_start_s = a->window_end_s - MINUTE_S;
    a->baseline = a->baseline_lower = a->baseline_upper = q->usual_per_hour;
    a->method = "hour_of_week";
    a->baseline_samples = q->weeks_seen;
    a->history_hours = 168.0 * q->weeks_seen;
    say_scope(l, g);
    if (q->is_calm) {
        say(l, ": calls come again; %.0f an hour are usual at this time.", q->usual_per_hour);
        return;
    }
    a->window_start_s = q->last_s + MINUTE_S;
    a->observed = 0;
    a->baseline = q->missing;
    a->baseline_lower = a->baseline_upper = q->missing;
    say(l, ": no call since ");
    say_time(l, q->last_s + MINUTE_S, "%Y-%m-%d %H:%M UTC");
    say(l,
        " (%lld min); %.0f were expected, and the longest pause at this time of the week was "
        "%u min.",
        (long long)((a->window_end_s - a->window_start_s) / MINUTE_S), q->missing, q->pause_min);
}

static void fill_share(const struct verdict *v, struct alert *a)
{
    a->window_start_s = v->share.from_s;
    a->window_end_s = v->share.to_s;
    a->samples = v->share.all;
    a->observed = part(v->share.hits, v->share.all);
    a->baseline = part(v->before.hits, v->before.all);
    a->baseline_lower = a->baseline_upper = a->baseline;
    a->baseline_samples = v->before.all;
    a->history_hours = v->before.all ? 24 : 0;
    a->method = "last day";
}

static void fill_unpriced(const struct alerting_rule *rule, const struct group *g,
                          const struct verdict *v, struct line *l, struct alert *a)
{
    (void)rule;
    fill_share(v, a);
    a->observed = (double)v->share.hits;
    a->baseline = a->baseline_lower = a->baseline_upper = 0;
    a->method = "none";
    say_scope(l, g);
    say(l, ": %llu calls in the hour to ", (unsigned long long)v->share.hits);
    say_time(l, v->share.to_s, "%H:%M UTC");
    say(l, " have no price, %.3g%% of the provider's %llu; their cost is unknown and in no sum.",
        100 * part(v->share.hits, v->share.all), (unsigned long long)v->share.all);
}

static void fill_coverage(const struct alerting_rule *rule, const struct group *g,
                          const struct verdict *v, struct line *l, struct alert *a)
{
    fill_share(v, a);
    say_scope(l, g);
    say(l, ": %llu of %llu connections (%.3g%%) were metered in the hour to ",
        (unsigned long long)v->share.hits, (unsigned long long)v->share.all, 100 * a->observed);
    say_time(l, v->share.to_s, "%H:%M UTC");
    say(l, "; %.3g%% are wanted", 100 * rule->below);
    if (v->before.all)
        say(l, ", the day before had %.3g%% of %llu", 100 * a->baseline,
            (unsigned long long)v->before.all);
    say(l, ".");
}

static void fill_retries(const struct alerting_rule *rule, const struct group *g,
                         const struct verdict *v, struct line *l, struct alert *a)
{
    fill_share(v, a);
    say_scope(l, g);
    say(l, ": %llu calls were made again for %llu logical ones in the hour to ",
        (unsigned long long)v->share.hits, (unsigned long long)v->share.all);
    say_time(l, v->share.to_s, "%H:%M UTC");
    say(l, " (%.3g%%; the limit is %.3g%%", 100 * a->observed, 100 * rule->ratio);
    if (v->before.all)
        say(l, ", the day before had %.3g%%", 100 * a->baseline);
    say(l, ").");
}

static void fill_novel(const struct alerting_rule *rule, const struct group *g,
                       const struct verdict *v, struct line *l, struct alert *a)
{
    static const char *const names[ALERTING_DIM__COUNT] = {
        [ALERTING_DIM_MODEL] = "model",   [ALERTING_DIM_PROVIDER] = "provider",
        [ALERTING_DIM_KEY] = "key",       [ALERTING_DIM_FEATURE] = "feature",
        [ALERTING_DIM_REGION] = "region",
    };
    const struct novel *n = g->state;
    const char *name = names[rule->dimension];

    (void)v;
    a->window_start_s = a->window_end_s - MINUTE_S;
    a->observed = (double)n->values.total;
    a->method = "none";
    say(l, "organisation %.63s: %llu %s%s never seen before: ", g->org,
        (unsigned long long)n->values.total, name, n->values.total == 1 ? "" : "s");
    for (uint32_t i = 0; i < n->values.count; i++)
        say(l, "%s%.40s", i ? ", " : "", n->values.list[i]);
    say(l, "%s.", n->values.total > n->values.count ? ", ..." : "");
}

static void (*const fill_kind[ALERTING_KIND__COUNT])(const struct alerting_rule *rule,
                                                     const struct group *g, const struct verdict *v,
                                                     struct line *l, struct alert *a) = {
    [ALERTING_BURN_RATE] = fill_burn,    [ALERTING_BUDGET] = fill_budget,
    [ALERTING_FIRST_SEEN] = fill_novel,  [ALERTING_SILENT] = fill_quiet,
    [ALERTING_UNPRICED] = fill_unpriced, [ALERTING_COVERAGE] = fill_coverage,
    [ALERTING_RETRIES] = fill_retries,
};

/* A single new value that has a label of its own is one. */
static void name_novel(const struct alerting_rule *rule, const struct group *g, struct alert *a)
{
    const struct novel *n = g->state;

    if (n->values.total != 1)
        return;
    if (rule->dimension == ALERTING_DIM_MODEL)
        text_copy(a->model, sizeof(a->model), n->values.list[0]);
    else if (rule->dimension == ALERTING_DIM_PROVIDER)
        text_copy(a->provider, sizeof(a->provider), n->values.list[0]);
    else if (rule->dimension == ALERTING_DIM_FEATURE)
        text_copy(a->feature, sizeof(a->feature), n->values.list[0]);
}

void ruleset_fill(const struct ruleset *set, const struct rule_state *rs, const struct group *g,
                  const struct verdict *v, struct ruling *ruling, struct alert *a)
{
    const struct alerting_rule *rule = rs->rule;
    struct line l = {.text = ruling->reason, .size = sizeof(ruling->reason)};

    *ruling = (struct ruling){
        .rule = rule,
        .severity = alerting_severity_name(v->severity),
        .burn = rule->kind == ALERTING_BURN_RATE ? &v->burn : NULL,
        .budget = rule->kind == ALERTING_BUDGET ? &v->budget : NULL,
        .values =
            rule->kind == ALERTING_FIRST_SEEN ? &((const struct novel *)g->state)->values : NULL,
    };
    a->rule = v->rule;
    a->ruling = ruling;
    a->level = g->feature[0] && g->model[0] ? ALERT_LEVEL_MODEL
               : g->feature[0]              ? ALERT_LEVEL_FEATURE
               : g->provider[0]             ? ALERT_LEVEL_PROVIDER
                                            : ALERT_LEVEL_ORG;
    text_copy(a->org, sizeof(a->org), g->org);
    text_copy(a->feature, sizeof(a->feature), g->feature);
    text_copy(a->provider, sizeof(a->provider), g->provider);
    text_copy(a->model, sizeof(a->model), g->model);
    a->window_end_s = set->at_s + MINUTE_S;
    a->confidence = "calibrated";
    a->unusual = -1;
    a->synthetic = g->is_synthetic;
    if (a->status == ALERT_RESOLVED) {
        say(&l, "Over");
        if (v->is_final && v->over)
            say(&l, " (%s)", v->over);
        say(&l, ": ");
    }
    fill_kind[rule->kind](rule, g, v, &l, a);
    if (rule->kind == ALERTING_FIRST_SEEN)
        name_novel(rule, g, a);
}
