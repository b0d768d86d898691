/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/detect_priv.h"

#include <math.h>

/* A shift within this time of another alert on the series is what that one told. */
#define SHIFT_QUIET_S (12 * 3600)
#define REBOUND_MIN 90
#define REBOUND_SLACK 1.5
#define PLACE_SLACK 2.0 /* by itself a part may wander */
/* So much of a deviation is what became usual elsewhere. */
#define STILL_SHARE 0.5
/* While parts of what became usual settle, they may depart so much more than the whole. */
#define PART_SLACK 3.0

static uint32_t minutes_since(const struct detect *d, const struct episode *e)
{
    int64_t minutes = (d->minute_s - e->ended_s) / MINUTE_S;

    return minutes < 0 ? 0 : minutes > UINT32_MAX ? UINT32_MAX : (uint32_t)minutes;
}

/* Since the episode before ended. */
static uint32_t fresh_minutes(const struct detect *d, const struct episode *e)
{
    return !e || e->is_active || e->ended_s == 0 ? UINT32_MAX : minutes_since(d, e);
}

/* Does an alert by the first rule say what one by the second would? */
static bool says_too(enum alert_rule told, enum alert_rule rule)
{
    static const unsigned says[] = {
        [ALERT_COST_SPIKE] = 1u << ALERT_CALLS_SPIKE,
        [ALERT_COST_DROP] = 1u << ALERT_CALLS_DROP,
        [ALERT_TOKENS_SPIKE] = 1u << ALERT_CALLS_SPIKE | 1u << ALERT_COST_SPIKE,
        [ALERT_TOKENS_DROP] = 1u << ALERT_CALLS_DROP | 1u << ALERT_COST_DROP,
    };

    return told == rule ||
           ((size_t)rule < sizeof(says) / sizeof(says[0]) && says[rule] & 1u << told);
}

/* The same for what was told otherwise: of other nodes with the same calls, by rules
 * that say as much. */
static uint32_t fresh_around(const struct detect *d, const struct node *n, enum alert_rule rule)
{
    uint32_t fresh = UINT32_MAX;

    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (says_too(e->rule, rule) && !e->is_active && minutes_since(d, e) < fresh &&
            explain_is_akin(e->node, n))
            fresh = minutes_since(d, e);
    }
    return fresh;
}

static enum alert_rule opposite_of(enum alert_rule rule)
{
    static const enum alert_rule opposites[] = {
        [ALERT_CALLS_SPIKE] = ALERT_CALLS_DROP,   [ALERT_CALLS_DROP] = ALERT_CALLS_SPIKE,
        [ALERT_COST_SPIKE] = ALERT_COST_DROP,     [ALERT_COST_DROP] = ALERT_COST_SPIKE,
        [ALERT_TOKENS_SPIKE] = ALERT_TOKENS_DROP, [ALERT_TOKENS_DROP] = ALERT_TOKENS_SPIKE,
    };

    return rule <= ALERT_TOKENS_DROP ? opposites[rule] : ALERT_RULE__COUNT;
}

/* No further than it was `usual` before, give or take. */
static bool is_within(enum alert_rule rule, const struct finding *f, double usual, double slack)
{
    return alert_rule_is_down(rule) ? f->observed * slack >= usual : f->observed <= usual * slack;
}

/* What was told of the node itself became the usual, and is over after all. */
static bool is_over_after_all(const struct episode *e, enum alert_rule rule,
                              const struct finding *f)
{
    const double usual = alert_rule_is_down(rule) ? fmin(e->usual, 1) : fmax(e->usual, 1);

    return !e->is_active && e->last.is_new_usual &&
           is_within(rule, f, usual * f->before, REBOUND_SLACK);
}

/* What was told is over, and what shares its calls (or their cost), which had grown used
 * to it, is back where it was: no deviation of its own. */
static bool is_back_with(const struct detect *d, const struct node *n, enum alert_rule rule,
                         const struct finding *f, const struct episode *e)
{
    const bool down = alert_rule_is_down(rule);
    const double usual = down ? fmin(f->before, f->level) : fmax(f->before, f->level);
    const double used = down ? f->baseline / usual : usual / f->baseline;
    const double ratio = f->observed / f->baseline * e->peak;

    return e->last.baseline > 0 && explain_is_akin(e->node, n) &&
           (e->is_active || e->last.is_new_usual || minutes_since(d, e) <= REBOUND_MIN) &&
           used >= sqrt(d->settings.ratio_min) && is_within(rule, f, usual, PLACE_SLACK) &&
           (down ? ratio >= 1 / REBOUND_SLACK : ratio <= REBOUND_SLACK);
}

static bool is_rebound(const struct detect *d, const struct node *n, enum alert_rule rule,
                       const struct finding *f)
{
    const enum alert_rule opposite = opposite_of(rule);

    for (unsigned i = 0; i < d->episodes_count && f->baseline > 0 && f->before > 0; i++) {
        const struct episode *e = d->episodes[i];

        if (says_too(e->rule, opposite) &&
            ((e->node == n && is_over_after_all(e, rule, f)) || is_back_with(d, n, rule, f, e)))
            return true;
    }
    return false;
}

/* Is the rule's deviation told, here or of something with the same calls? */
static const struct episode *find_told(const struct detect *d, const struct node *n,
                                       enum alert_rule rule)
{
    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (e->rule == rule && e->is_active && explain_is_akin(e->node, n))
            return e;
    }
    return NULL;
}

static bool is_told(const struct detect *d, const struct node *n, enum alert_rule rule)
{
    return find_told(d, n, rule) != NULL;
}

static bool was_any_told_lately(const struct detect *d, const struct node *n)
{
    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (e->rule <= ALERT_COST_SHIFT &&
            (e->is_active || d->minute_s < e->ended_s + SHIFT_QUIET_S) &&
            explain_is_akin(e->node, n))
            return true;
    }
    return false;
}

/* Calls cost what they cost: so much more of them explain so much more cost. Where they
 * are told of something larger, the node may have grown used to them. */
static bool do_calls_explain(const struct detect *d, const struct node *n, const struct finding *f)
{
    const struct episode *told = find_told(d, n, ALERT_CALLS_SPIKE);
    struct finding calls;
    double ratio;

    if (!told || f->baseline <= 0)
        return false;
    ratio = told->peak;
    if (stats_look(n->stats, &d->settings, ALERT_CALLS_SPIKE, f->window_s, &calls) &&
        calls.baseline > 0)
        ratio = fmax(ratio, calls.observed / calls.baseline);
    return f->observed / f->baseline <= d->settings.ratio_min * ratio;
}

static bool is_settling(const struct detect *d, const struct episode *told)
{
    return minutes_since(d, told) < SETTLE_MIN;
}

/* How far what was told goes on, in units of finding.before. */
static double settled_at(const struct detect *d, const struct episode *told)
{
    return is_settling(d, told) ? told->settling : told->settled;
}

/* How much of what became usual goes on here, beyond what was usual before; as amounts
 * of the rule and in its direction. */
static double still_beyond(const struct detect *d, const struct episode *told, const struct node *n,
                           enum alert_rule rule, uint32_t window_s)
{
    struct finding f;
    double settled;

    if (!stats_look(n->stats, &d->settings, rule, window_s, &f) || f.before <= 0)
        return 0;
    settled = settled_at(d, told) * f.before;
    return alert_rule_is_down(rule) ? f.before - fmax(f.observed, settled)
                                    : fmin(f.observed, settled) - f.before;
}

/* The same of all that the told node has in common with another, which is not below it. */
static double still_beyond_shared(const struct detect *d, const struct episode *told,
                                  const struct node *n, enum alert_rule rule, uint32_t window_s)
{
    double sum = 0;

    if (node_is_below(told->node, n))
        return still_beyond(d, told, told->node, rule, window_s);
    for (const struct node *k = node_next(n, 0, NULL); k; k = node_next(n, 0, k))
        if (node_is_below(k, told->node))
            sum += still_beyond(d, told, k, rule, window_s);
    return sum;
}

/* A part: it departs about as the whole does, from what it is like by itself. */
static bool is_still_part(const struct detect *d, const struct episode *told, enum alert_rule rule,
                          const struct finding *f)
{
    const double slack = is_settling(d, told) ? PART_SLACK : REBOUND_SLACK;
    const double now = f->observed / f->before, known = f->baseline / f->before;
    struct finding whole;
    double ratio;

    if (!stats_look(told->node->stats, &d->settings, rule, f->window_s, &whole) ||
        whole.before <= 0)
        return false;
    ratio = whole.observed / whole.before;
    return alert_rule_is_down(rule)
               ? now * slack >= ratio && known >= ratio * d->settings.ratio_min
               : now <= ratio * slack && known * d->settings.ratio_min <= ratio;
}

/* The whole, or what shares calls: what it has not learned yet of what was told. */
static bool is_still_whole(const struct detect *d, const struct node *n, const struct episode *told,
                           enum alert_rule rule, const struct finding *f)
{
    const double sign = alert_rule_is_down(rule) ? -1 : 1;
    const double learned = fmax(sign * (f->baseline - f->before), 0);

    return still_beyond_shared(d, told, n, rule, f->window_s) - learned >=
           STILL_SHARE * sign * (f->observed - f->baseline);
}

static bool is_still_here(const struct detect *d, const struct episode *told, enum alert_rule rule,
                          const struct finding *f)
{
    const double more = d->settings.ratio_min, slack = is_settling(d, told) ? REBOUND_SLACK : more;
    const double now = f->observed / f->before, known = f->baseline / f->before;

    return alert_rule_is_down(rule) ? known < 1 / more && now >= settled_at(d, told) / slack
                                    : known > more && now <= settled_at(d, told) * slack;
}

/* What was told lasts and is about to be expected: by its node in part, by what shares
 * its calls sooner or later. */
static bool is_still(const struct detect *d, const struct node *n, const struct episode *told,
                     enum alert_rule rule, const struct finding *f)
{
    return f->before > 0 && (told->node == n                ? is_still_here(d, told, rule, f)
                             : node_is_below(n, told->node) ? is_still_part(d, told, rule, f)
                                                            : is_still_whole(d, n, told, rule, f));
}

static bool is_new_usual(const struct detect *d, const struct node *n, enum alert_rule rule,
                         const struct finding *f)
{
    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (says_too(e->rule, rule) && !e->is_active && e->last.is_new_usual &&
            d->minute_s < e->ended_s + SHIFT_QUIET_S && explain_is_akin(e->node, n) &&
            is_still(d, n, e, rule, f))
            return true;
    }
    return false;
}

/* What another rule tells already is not told again. */
static bool is_explained(const struct detect *d, const struct node *n, enum alert_rule rule,
                         const struct finding *f)
{
    switch (rule) {
    case ALERT_COST_SPIKE:
        return do_calls_explain(d, n, f);
    case ALERT_COST_DROP:
        return is_told(d, n, ALERT_CALLS_DROP) || stats_are_calls_down(n->stats, &d->settings);
    case ALERT_TOKENS_DROP:
        return is_told(d, n, ALERT_CALLS_DROP) || is_told(d, n, ALERT_COST_DROP) ||
               stats_are_calls_down(n->stats, &d->settings);
    case ALERT_TOKENS_SPIKE:
        return is_told(d, n, ALERT_CALLS_SPIKE) || is_told(d, n, ALERT_COST_SPIKE);
    case ALERT_CALLS_SHIFT:
    case ALERT_COST_SHIFT:
        return was_any_told_lately(d, n);
    default:
        return false;
    }
}

static bool is_calm_anyway(const struct node *n, enum alert_rule rule, const struct turn *turn)
{
    const bool is_shift = rule == ALERT_CALLS_SHIFT || rule == ALERT_COST_SHIFT;

    /* A generator that ends is no outage; and a running minute is not over. */
    return (alert_rule_is_down(rule) || is_shift) && (n->is_synthetic || turn->running_s);
}

void judge_node(const struct detect *d, struct node *n, enum alert_rule rule,
                const struct turn *turn, struct finding *ret_finding)
{
    const struct episode *e = episode_of(n, rule);
    struct stats_ask ask = {
        .rule = rule,
        .is_active = e && e->is_active,
        .fresh_min = fresh_minutes(d, e),
        .running = {turn->running_s ? n->minute : NULL, turn->running_s},
    };
    uint32_t fresh;

    *ret_finding = (struct finding){.is_calm = true};
    if (is_calm_anyway(n, rule, turn))
        return;
    stats_judge(n->stats, &d->settings, &ask, ret_finding);
    if (!ret_finding->fires || ask.is_active)
        return;
    fresh = fresh_around(d, n, rule);
    if (fresh < ask.fresh_min) {
        ask.fresh_min = fresh;
        stats_judge(n->stats, &d->settings, &ask, ret_finding);
    }
    if (is_explained(d, n, rule, ret_finding) || is_rebound(d, n, rule, ret_finding) ||
        is_new_usual(d, n, rule, ret_finding))
        *ret_finding = (struct finding){.is_calm = true};
}

struct stats_amount judge_amount(const struct detect *d, const struct node *n, enum alert_rule rule,
                                 const struct turn *turn, const struct finding *f)
{
    const struct stats_ask ask = {
        .rule = rule,
        .fresh_min = UINT32_MAX,
        .running = {turn->running_s ? n->minute : NULL, turn->running_s},
    };

    return stats_amount(n->stats, &d->settings, &ask, f);
}

double judge_excess(const struct detect *d, const struct node *n, enum alert_rule rule,
                    const struct turn *turn, const struct finding *f)
{
    struct stats_amount a = judge_amount(d, n, rule, turn, f);

    if (rule == ALERT_CALLS_SHIFT || rule == ALERT_COST_SHIFT)
        return fabs(a.observed - a.usual);
    return alert_rule_is_down(rule) ? a.usual - a.observed : a.observed - a.usual;
}
