/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/detect_priv.h"

#include "collector/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* An update is told when the deviation grew by this factor, not more often than that. */
#define UPDATE_GROWTH 1.5
#define UPDATE_EVERY_S 300
/* So far from the usual is not back, whatever the peak was. */
#define STAYS_AWAY 1.5
/* Rules look back so far for an episode that ended. */
#define REMEMBER_S (12 * 3600)
#define CHANGE_RECENT_S 86400
#define SLOT_SAMPLES_FEW 3
#define HOUR_S 3600
#define HOURS_OF_WEEK 168.0

struct episode *episode_of(const struct node *n, enum alert_rule rule)
{
    struct episode *e = n->episodes;

    while (e && e->rule != rule)
        e = e->next;
    return e;
}

bool episode_is_active(const struct node *n, enum alert_rule rule)
{
    const struct episode *e = episode_of(n, rule);

    return e && e->is_active;
}

int episode_adopt(struct detect *d, struct node *n, enum alert_rule rule,
                  struct episode **ret_episode)
{
    struct episode *e;

    if (d->episodes_count == d->episodes_capacity) {
        unsigned capacity = d->episodes_capacity ? 2 * d->episodes_capacity : 16;
        struct episode **grown = realloc(d->episodes, capacity * sizeof(struct episode *));

        if (!grown)
            return -ENOMEM;
        d->episodes = grown;
        d->episodes_capacity = capacity;
    }
    e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->node = n;
    e->rule = rule;
    e->next = n->episodes;
    n->episodes = e;
    d->episodes[d->episodes_count++] = e;
    *ret_episode = e;
    return 0;
}

static void forget(struct episode *e)
{
    struct episode **place = &e->node->episodes;

    while (*place != e)
        place = &(*place)->next;
    *place = e->next;
    free(e);
}

/* Where it was in the last hour: of few calls that says it better, of what changed it lags. */
static double last_hour(const struct detect *d, const struct episode *e)
{
    struct finding f;

    return stats_look(e->node->stats, &d->settings, e->rule, HOUR_S, &f) && f.before > 0
               ? f.observed / f.before
               : 1;
}

void episodes_sweep(struct detect *d)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < d->episodes_count; i++) {
        struct episode *e = d->episodes[i];

        if (!e->is_active && e->last.is_new_usual &&
            d->minute_s + MINUTE_S == e->ended_s + SETTLE_MIN * MINUTE_S)
            e->settled = last_hour(d, e);
        if (e->is_active || d->minute_s < e->ended_s + REMEMBER_S)
            d->episodes[kept++] = e;
        else
            forget(e);
    }
    d->episodes_count = kept;
}

void episodes_fini(struct detect *d)
{
    for (unsigned i = 0; i < d->episodes_count; i++)
        forget(d->episodes[i]);
    free(d->episodes);
    d->episodes = NULL;
    d->episodes_count = d->episodes_capacity = 0;
}

/* --- what an alert says --- */

/* What a return period rests on. */
static void fill_evidence(const struct detect *d, const struct finding *f, struct alert *a)
{
    a->has_return = f->return_weeks > 0;
    a->return_weeks = f->return_weeks;
    a->tail_events = f->tail_events;
    a->ratio_least = f->ratio_least;
    a->windows_agree = 0;
    for (unsigned i = 0; i < d->settings.windows_count; i++)
        if (f->windows_agree & (1u << i))
            a->windows_agree_s[a->windows_agree++] = d->settings.windows_min[i] * MINUTE_S;
}

static void fill_window(const struct finding *f, int64_t end_s, struct alert *a)
{
    a->window_end_s = end_s;
    a->window_start_s = end_s - f->window_s;
    a->observed = f->observed;
    a->samples = (uint64_t)llround(f->samples);
    a->baseline = f->baseline;
    a->baseline_lower = f->lower;
    a->baseline_upper = f->upper;
    a->has_sigmas = f->sigmas != 0;
    a->sigmas = f->sigmas;
    a->detected_s = end_s;
}

static void fill_basis(const struct detect *d, const struct node *n, const struct finding *f,
                       struct alert *a)
{
    struct stats_facts facts;
    struct finding calls;

    stats_facts(n->stats, &d->settings, a->rule, &facts);
    a->method = facts.method;
    a->season = facts.season;
    a->history_hours = facts.history_hours;
    a->baseline_samples = facts.hours;
    a->slot_samples = facts.slot_samples;
    a->band_pct = facts.band_pct;
    a->confidence = facts.confidence;
    a->samples_expected = 0;
    if (strcmp(alert_rule_kind(a->rule), "calls") == 0)
        a->samples_expected = f->baseline;
    else if (stats_look(n->stats, &d->settings, ALERT_CALLS_SPIKE, f->window_s, &calls))
        a->samples_expected = calls.baseline;
}

static void fill_limits(const struct finding *f, struct alert *a)
{
    const bool is_sum = a->band_pct > 0;

    a->limits_count = 0;
    if (is_sum && a->slot_samples < SLOT_SAMPLES_FEW)
        alert_limit(a, "only %u prior samples of this hour of week", a->slot_samples);
    if (strcmp(a->confidence, "calibrated") != 0)
        alert_limit(a, "the return period is provisional: less than two weeks or 20 tail events");
    if (a->has_return && alert_return_weeks(a) > a->history_hours / HOURS_OF_WEEK)
        alert_limit(a, "the return period reaches beyond the history: an extrapolation");
    if (!f->fires && a->status != ALERT_RESOLVED)
        alert_limit(a, "by itself more frequent than the target: told with what is above or below");
}

static void fill_related(const struct detect *d, const struct node *n, const struct episode *self,
                         struct alert *a)
{
    a->related_count = 0;
    for (unsigned i = 0; i < d->episodes_count && a->related_count < ALERT_RELATED_MAX; i++) {
        const struct episode *e = d->episodes[i];

        if (e != self && e->is_active && explain_is_akin(e->node, n))
            memcpy(a->related[a->related_count++], e->last.fingerprint, sizeof(a->related[0]));
    }
}

static void newest_leaf(const struct node *n, const struct node **newest)
{
    if (n->level == ALERT_LEVEL_MODEL) {
        if (!*newest || n->born_s > (*newest)->born_s)
            *newest = n;
        return;
    }
    for (const struct node *c = node_next(n, 0, NULL); c; c = node_next(n, 0, c))
        newest_leaf(c, newest);
}

/* A model that came lately to what had been without it. */
static void fill_change(const struct node *n, int64_t end_s, struct alert *a)
{
    const struct node *newest = NULL;

    a->change_s = 0;
    newest_leaf(n, &newest);
    if (!newest || newest == n || newest->born_s == n->born_s ||
        newest->born_s < end_s - CHANGE_RECENT_S)
        return;
    a->change_s = newest->born_s;
    snprintf(a->change, sizeof(a->change), "first calls to model %.100s at %.40s",
             node_name(newest, NODE_MODEL), node_name(newest, NODE_PROVIDER));
}

static void fill_alert(const struct detect *d, const struct node *n, const struct episode *self,
                       const struct finding *f, int64_t end_s, struct alert *a)
{
    a->level = (enum alert_level)n->level;
    text_copy(a->org, sizeof(a->org), node_name(n, NODE_ORG));
    text_copy(a->feature, sizeof(a->feature), node_name(n, NODE_FEATURE));
    text_copy(a->provider, sizeof(a->provider), node_name(n, NODE_PROVIDER));
    text_copy(a->model, sizeof(a->model), node_name(n, NODE_MODEL));
    fill_window(f, end_s, a);
    fill_basis(d, n, f, a);
    fill_evidence(d, f, a);
    a->synthetic = n->is_synthetic;
    a->unusual = a->feature[0] ? context_score(d->context, a->org, a->feature) : -1;
    fill_related(d, n, self, a);
    fill_change(n, end_s, a);
    fill_limits(f, a);
}

/* --- what it costs --- */

static bool has_impact(enum alert_rule rule)
{
    return rule != ALERT_ERRORS_RATE && rule != ALERT_LATENCY_P95 && rule != ALERT_CALLS_SHIFT &&
           rule != ALERT_COST_SHIFT;
}

static void rate_impact(struct alert *a, int64_t end_s)
{
    if (end_s > a->impact_from_s)
        a->impact_usd_per_hour = a->impact_usd * 3600.0 / (double)(end_s - a->impact_from_s);
}

/* The window's excess, in whole minutes; each minute after it adds its own. */
static void begin_impact(const struct detect *d, const struct node *n, struct alert *a)
{
    int64_t seconds = a->window_end_s - a->window_start_s;
    uint32_t window_s = (uint32_t)((seconds + MINUTE_S - 1) / MINUTE_S * MINUTE_S);
    struct finding cost;

    a->has_impact = has_impact(a->rule) &&
                    stats_look(n->stats, &d->settings, ALERT_COST_SPIKE, window_s, &cost);
    if (!a->has_impact)
        return;
    a->impact_from_s = (a->window_end_s + MINUTE_S - 1) / MINUTE_S * MINUTE_S - window_s;
    a->impact_usd = cost.observed - cost.baseline;
    rate_impact(a, a->window_end_s);
}

static void add_impact(const struct detect *d, const struct node *n, struct alert *a, int64_t end_s)
{
    const uint32_t least_s = d->settings.windows_min[0] * MINUTE_S;
    struct finding cost;

    if (!a->has_impact) { /* it began within the minute that is now over */
        if (a->impact_from_s == 0 && a->window_end_s > end_s - MINUTE_S) {
            begin_impact(d, n, a);
            if (!a->has_impact)
                a->impact_from_s = end_s;
        }
        return;
    }
    if (stats_look(n->stats, &d->settings, ALERT_COST_SPIKE, least_s, &cost))
        a->impact_usd += (cost.observed - cost.baseline) * MINUTE_S / least_s;
    rate_impact(a, end_s);
}

/* --- steps --- */

static int tell(struct episode *e, enum alert_status status, const struct turn *turn)
{
    e->last.status = status;
    alert_number(&e->last);
    e->told_s = e->last.detected_s;
    e->told_ratio = e->last.baseline > 0 ? e->last.observed / e->last.baseline : 0;
    if (turn->quiet)
        return 0;
    e->was_told = true;
    return turn->emit(turn->ctx, &e->last);
}

static double ratio_of(const struct finding *f)
{
    return f->baseline > 0 ? f->observed / f->baseline : 1;
}

static void note_peak(struct episode *e, const struct finding *f)
{
    e->peak = alert_rule_is_down(e->rule) ? fmin(e->peak, ratio_of(f)) : fmax(e->peak, ratio_of(f));
}

int episode_begin(struct detect *d, struct node *n, enum alert_rule rule, const struct finding *f,
                  uint32_t affected, const struct turn *turn)
{
    struct episode *e = episode_of(n, rule), *next;
    struct node *node = n;
    int r = e ? 0 : episode_adopt(d, n, rule, &e);

    if (r < 0)
        return r;
    next = e->next;
    *e = (struct episode){.next = next, .node = node, .rule = rule, .is_active = true};
    e->last.rule = rule;
    e->last.status = ALERT_FIRING;
    fill_alert(d, n, e, f, turn->end_s, &e->last);
    e->last.affected = affected;
    e->last.starts_s = turn->minute_s;
    e->peak = ratio_of(f);
    e->usual = f->before > 0 ? f->baseline / f->before : 1;
    if (!turn->running_s)
        begin_impact(d, n, &e->last);
    alert_name(&e->last);
    return tell(e, ALERT_FIRING, turn);
}

static bool has_grown(const struct episode *e, const struct finding *f, int64_t end_s)
{
    double ratio = f->baseline > 0 ? f->observed / f->baseline : 0;

    return f->fires && end_s >= e->told_s + UPDATE_EVERY_S &&
           (alert_rule_is_down(e->rule) ? ratio * UPDATE_GROWTH < e->told_ratio
                                        : ratio > e->told_ratio * UPDATE_GROWTH);
}

/* Where it is and what is expected from now on, in units of finding.before. */
static void settle(const struct detect *d, struct episode *e, const struct finding *f)
{
    const bool down = alert_rule_is_down(e->rule);
    const double now = f->observed / f->before;
    const double next =
        (down ? fmin(f->baseline, f->level) : fmax(f->baseline, f->level)) / f->before;
    const double from = down ? fmin(e->usual, 1) : fmax(e->usual, 1);
    const bool is_at_peak = down ? now < from && now <= from * sqrt(e->peak)
                                 : now > from && now >= from * sqrt(e->peak);

    e->settled = down ? fmin(now, next) : fmax(now, next);
    e->settling = down ? fmin(e->settled, last_hour(d, e)) : fmax(e->settled, last_hour(d, e));
    e->last.is_new_usual = is_at_peak || (down ? fmax(now, next) <= from / STAYS_AWAY
                                               : fmin(now, next) >= from * STAYS_AWAY);
    if (e->last.is_new_usual)
        alert_limit(&e->last, "not over: %.2fx of what was usual before is expected from now on",
                    now);
}

static int end_episode(struct detect *d, struct episode *e, const struct finding *f,
                       const struct turn *turn)
{
    e->is_active = false;
    e->ended_s = turn->end_s;
    e->last.status = ALERT_RESOLVED;
    e->last.ends_s = turn->end_s;
    e->last.detected_s = turn->end_s;
    if (f->window_s)
        fill_alert(d, e->node, e, f, turn->end_s, &e->last);
    /* A new level is what is expected as soon as it is found. */
    e->last.is_new_usual = e->rule == ALERT_CALLS_SHIFT || e->rule == ALERT_COST_SHIFT;
    if (f->before > 0)
        settle(d, e, f);
    return tell(e, ALERT_RESOLVED, turn);
}

int episode_step(struct detect *d, struct episode *e, const struct finding *f,
                 const struct turn *turn)
{
    note_peak(e, f);
    if (!turn->running_s)
        add_impact(d, e->node, &e->last, turn->end_s);
    if (has_grown(e, f, turn->end_s)) {
        fill_alert(d, e->node, e, f, turn->end_s, &e->last);
        return tell(e, ALERT_UPDATED, turn);
    }
    if (turn->running_s)
        return 0;
    e->calm_minutes = f->is_calm && !f->fires ? e->calm_minutes + 1 : 0;
    return e->calm_minutes < d->resolve_after_min ? 0 : end_episode(d, e, f, turn);
}
