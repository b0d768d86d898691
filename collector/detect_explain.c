/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cause, one alert: a deviation is told of the highest node that deviates and
 * whose excess no single child holds. What a told alert covers is not told again,
 * be it above (the same calls, diluted), below (a part of it) or across (the calls
 * that a feature and a provider share).
 */
#include "collector/detect_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A child that holds so much of its parent's excess is what explains it. */
#define CHILD_HOLDS 0.6
/* And its other children together must depart less than this part of what it departs. */
#define REST_DEPARTS 0.5
#define REST_BLUR 0.05 /* of the usual: what the rest is not judged more finely than */
/* A told alert that holds so much of an excess covers it. */
#define COVER_HOLDS 0.5
/* Below a told alert: a part that rose so much more than the whole is told by itself. */
#define STANDS_OUT 3.0
/* A parent tells for its children, and a child for its parent, when its own deviation
 * comes once in this part of the target. */
#define NOTABLE_ABOVE 0.1
#define NOTABLE_BELOW 0.01

bool explain_is_akin(const struct node *a, const struct node *b)
{
    if (node_is_below(a, b) || node_is_below(b, a))
        return true;
    /* A feature and a provider meet in models. */
    if (a->level == ALERT_LEVEL_PROVIDER && b->level == ALERT_LEVEL_FEATURE)
        return explain_is_akin(b, a);
    if (a->level != ALERT_LEVEL_FEATURE || b->level != ALERT_LEVEL_PROVIDER)
        return false;
    for (const struct node *c = node_next(a, 0, NULL); c; c = node_next(a, 0, c))
        if (c->parents[1] == b)
            return true;
    return false;
}

static bool is_notable(const struct detect *d, enum alert_rule rule, const struct finding *f,
                       double part)
{
    if (f->fires)
        return true;
    if (f->is_calm)
        return false;
    /* Shares have no return period. */
    return rule == ALERT_ERRORS_RATE || rule == ALERT_LATENCY_P95 ||
           f->return_weeks >= part * d->settings.target_weeks;
}

static double departure_of(struct stats_amount a)
{
    return a.usual > 0 && a.observed > 0 ? fabs(log(a.observed / a.usual)) : INFINITY;
}

static double departure(const struct finding *f)
{
    return departure_of((struct stats_amount){f->observed, f->baseline});
}

/* Does a part of something departing explain it? The rest must be much as usual. */
static bool does_explain(struct stats_amount whole, struct stats_amount part)
{
    double excess = whole.observed - whole.usual, blur = REST_BLUR * whole.usual;
    double all = log((whole.observed + blur) / (whole.usual + blur));
    double rest = log((fmax(whole.observed - part.observed, 0) + blur) /
                      (fmax(whole.usual - part.usual, 0) + blur));

    return (part.observed - part.usual) / excess >= CHILD_HOLDS &&
           fabs(rest) <= REST_DEPARTS * fabs(all);
}

/* What two nodes have in common: the models of a feature at a provider. */
static struct stats_amount amount_shared(const struct detect *d, const struct node *feature,
                                         const struct node *provider, enum alert_rule rule,
                                         const struct turn *turn, const struct finding *f)
{
    struct stats_amount sum = {0};

    for (const struct node *c = node_next(feature, 0, NULL); c; c = node_next(feature, 0, c))
        if (c->parents[1] == provider) {
            struct stats_amount a = judge_amount(d, c, rule, turn, f);

            sum.observed += a.observed;
            sum.usual += a.usual;
        }
    return sum;
}

/* A feature is below no provider, and may yet be what departs there: more than the provider does.
 */
static struct node *find_across(struct detect *d, const struct node *provider, enum alert_rule rule,
                                const struct turn *turn, const struct finding *f)
{
    struct stats_amount whole = judge_amount(d, provider, rule, turn, f);
    const struct node *org = provider->parents[0];
    double furthest = departure_of(whole);
    struct node *holder = NULL;

    for (struct node *c = node_next(org, 0, NULL); c; c = node_next(org, 0, c)) {
        struct stats_amount part = amount_shared(d, c, provider, rule, turn, f);
        struct finding own;

        if (!does_explain(whole, part) || departure_of(part) <= furthest)
            continue;
        judge_node(d, node_source(c), rule, turn, &own);
        if (is_notable(d, rule, &own, NOTABLE_BELOW)) {
            furthest = departure_of(part);
            holder = node_source(c);
        }
    }
    return holder;
}

/* The child that explains it; of two (a feature, a provider) the one that departs more. */
static struct node *find_holder(struct detect *d, struct node *n, enum alert_rule rule,
                                const struct turn *turn, const struct finding *f)
{
    struct stats_amount whole = judge_amount(d, n, rule, turn, f);
    struct node *holder = NULL;
    double furthest = -1;

    for (unsigned dimension = 0; dimension < 2; dimension++)
        for (struct node *c = node_next(n, dimension, NULL); c; c = node_next(n, dimension, c)) {
            struct node *source = node_source(c);
            struct finding own;

            if (!does_explain(whole, judge_amount(d, source, rule, turn, f)))
                continue;
            judge_node(d, source, rule, turn, &own);
            if (is_notable(d, rule, &own, NOTABLE_BELOW) && departure(&own) > furthest) {
                furthest = departure(&own);
                holder = source;
            }
        }
    return !holder && n->level == ALERT_LEVEL_PROVIDER ? find_across(d, n, rule, turn, f) : holder;
}

/* Which node below (or the same) explains a deviation of `n`? Each is asked once. */
static struct node *descend(struct detect *d, struct node *n, enum alert_rule rule,
                            const struct turn *turn, const struct finding *f)
{
    struct node *holder;
    struct finding own;

    if (n->asked == d->asks)
        return n->answer;
    n->asked = d->asks;
    n->answer = n;
    holder = find_holder(d, n, rule, turn, f);
    if (holder) {
        judge_node(d, holder, rule, turn, &own);
        n->answer = descend(d, holder, rule, turn, &own);
    }
    return n->answer;
}

/* --- what is told already --- */

static double ratio_of(const struct finding *f)
{
    return f->baseline > 0 ? f->observed / f->baseline : INFINITY;
}

static bool stands_out(const struct episode *e, const struct finding *f, enum alert_rule rule)
{
    return rule <= ALERT_TOKENS_DROP && !alert_rule_is_down(rule) && e->last.baseline > 0 &&
           ratio_of(f) > STANDS_OUT * e->last.observed / e->last.baseline;
}

/* What a told node has of the candidate's excess. */
static double excess_shared(const struct detect *d, const struct node *told,
                            const struct candidate *c, enum alert_rule rule,
                            const struct turn *turn)
{
    double sum = 0;

    if (node_is_below(told, c->node))
        return judge_excess(d, told, rule, turn, &c->finding);
    for (const struct node *k = node_next(c->node, 0, NULL); k; k = node_next(c->node, 0, k))
        if (node_is_below(k, told))
            sum += judge_excess(d, k, rule, turn, &c->finding);
    return sum;
}

static bool is_covered(const struct detect *d, const struct candidate *c, enum alert_rule rule,
                       const struct turn *turn)
{
    double shared = 0;

    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (!e->is_active || e->rule != rule)
            continue;
        if (node_is_below(c->node, e->node)) {
            if (c->node == e->node || !stands_out(e, &c->finding, rule))
                return true;
        } else if (explain_is_akin(e->node, c->node)) {
            shared += excess_shared(d, e->node, c, rule, turn);
        }
    }
    return shared > 0 && shared >= COVER_HOLDS * c->excess;
}

/* --- deciding --- */

static int compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;

    if (a->node->level != b->node->level)
        return a->node->level > b->node->level ? -1 : 1;
    if (a->excess != b->excess)
        return a->excess > b->excess ? -1 : 1;
    for (int i = 0; i < 4; i++) {
        int order =
            strcmp(node_name(a->node, (enum node_name)i), node_name(b->node, (enum node_name)i));

        if (order)
            return order;
    }
    return 0;
}

/* Is the candidate what is left of a deviation above, once what is told is taken off? */
static bool is_the_rest(const struct detect *d, const struct candidate *c, const struct node *above,
                        enum alert_rule rule, const struct turn *turn, const struct finding *f)
{
    double left = judge_excess(d, above, rule, turn, f);

    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (e->rule == rule && e->is_active && node_is_below(e->node, above))
            left -= judge_excess(d, e->node, rule, turn, f);
    }
    return judge_excess(d, c->node, rule, turn, f) >= CHILD_HOLDS * left;
}

/* May `above` tell for the candidate? */
static bool tells_for(struct detect *d, const struct candidate *c, struct node *above,
                      enum alert_rule rule, const struct turn *turn, struct finding *ret_finding)
{
    if (!above || !above->stats)
        return false;
    judge_node(d, above, rule, turn, ret_finding);
    return is_notable(d, rule, ret_finding, NOTABLE_ABOVE) &&
           !is_the_rest(d, c, above, rule, turn, ret_finding) &&
           descend(d, above, rule, turn, ret_finding) == above;
}

/* The highest notable node above that explains itself; else what explains it below. */
static struct node *find_teller(struct detect *d, const struct candidate *c, enum alert_rule rule,
                                const struct turn *turn, struct finding *ret_finding)
{
    struct node *const above[] = {
        c->node->parents[0] ? c->node->parents[0]->parents[0] : NULL,
        c->node->parents[0],
        c->node->parents[1],
    };
    struct node *teller;

    for (unsigned i = 0; i < sizeof(above) / sizeof(above[0]); i++)
        if (tells_for(d, c, above[i], rule, turn, ret_finding))
            return above[i];
    *ret_finding = c->finding;
    teller = descend(d, c->node, rule, turn, &c->finding);
    if (teller != c->node)
        judge_node(d, teller, rule, turn, ret_finding);
    return teller;
}

/* Models that depart as well. */
static uint32_t count_affected(const struct candidate *candidates, unsigned count,
                               const struct node *teller)
{
    uint32_t affected = 0;

    for (unsigned i = 0; i < count; i++)
        affected += candidates[i].node != teller &&
                    candidates[i].node->level == ALERT_LEVEL_MODEL &&
                    node_is_below(candidates[i].node, teller);
    return affected;
}

int explain_rule(struct detect *d, enum alert_rule rule, struct candidate *candidates,
                 unsigned count, const struct turn *turn)
{
    d->asks++;
    for (unsigned i = 0; i < count; i++)
        candidates[i].excess =
            judge_excess(d, candidates[i].node, rule, turn, &candidates[i].finding);
    qsort(candidates, count, sizeof(*candidates), compare);
    for (unsigned i = 0; i < count; i++) {
        struct finding finding;
        struct node *teller;
        int r = 0;

        if (is_covered(d, &candidates[i], rule, turn))
            continue;
        teller = find_teller(d, &candidates[i], rule, turn, &finding);
        if (!episode_is_active(teller, rule))
            r = episode_begin(d, teller, rule, &finding, count_affected(candidates, count, teller),
                              turn);
        if (r < 0)
            return r;
    }
    return 0;
}
