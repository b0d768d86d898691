/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/detect_priv.h"

#include <errno.h>
#include <string.h>

/* A series without a call for so long is dropped; one that lived for less than a day. */
#define GONE_S (15 * 86400)
#define GONE_YOUNG_S (2 * 86400)
#define DROP_EVERY_S 3600

int detect_new(const struct config_detect *settings, struct detect **ret_detect)
{
    struct detect *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    if (context_new(&d->context) < 0) {
        free(d);
        return -ENOMEM;
    }
    d->tree.leaves_max = DETECT_SERIES_MAX;
    d->settings.windows_count = settings->windows_count;
    for (unsigned i = 0; i < settings->windows_count; i++)
        d->settings.windows_min[i] = settings->windows_s[i] / MINUTE_S;
    d->settings.history_min = settings->history_h * 60;
    d->settings.target_weeks = settings->target_weeks;
    d->settings.ratio_min = settings->ratio_min;
    d->resolve_after_min = settings->resolve_after_min;
    *ret_detect = d;
    return 0;
}

void detect_free(struct detect **detect)
{
    if (!*detect)
        return;
    episodes_fini(*detect);
    tree_fini(&(*detect)->tree);
    context_free(&(*detect)->context);
    free(*detect);
    *detect = NULL;
}

void detect_set_planned(struct detect *d, detect_planned planned, void *ctx)
{
    d->planned = planned;
    d->planned_ctx = ctx;
}

uint64_t detect_series(const struct detect *d)
{
    return d->tree.leaves;
}

uint64_t detect_refused(const struct detect *d)
{
    return d->refused;
}

int64_t detect_last_minute(const struct detect *d)
{
    return d->last_minute_s;
}

static int tell_state(const struct detect *d, const struct node *n,
                      int (*each)(void *ctx, const struct detect_state *state), void *ctx)
{
    struct detect_state s = {
        .level = (enum alert_level)n->level,
        .name = {.org = node_name(n, NODE_ORG),
                 .feature = node_name(n, NODE_FEATURE),
                 .provider = node_name(n, NODE_PROVIDER),
                 .model = node_name(n, NODE_MODEL)},
        .seen_s = n->level == ALERT_LEVEL_MODEL ? n->seen_s : 0,
    };
    struct stats_facts facts;

    stats_facts(n->stats, &d->settings, ALERT_CALLS_SPIKE, &facts);
    s.confidence = facts.confidence;
    s.history_hours = facts.history_hours;
    for (const struct episode *e = n->episodes; e; e = e->next)
        s.active += e->is_active;
    s.calls.ratio = stats_ratio_least(n->stats, &d->settings, ALERT_CALLS_SPIKE, &s.calls.window_s);
    s.cost.ratio = stats_ratio_least(n->stats, &d->settings, ALERT_COST_SPIKE, &s.cost.window_s);
    s.tokens.ratio =
        stats_ratio_least(n->stats, &d->settings, ALERT_TOKENS_SPIKE, &s.tokens.window_s);
    return each(ctx, &s);
}

int detect_each(const struct detect *d, int (*each)(void *ctx, const struct detect_state *state),
                void *ctx)
{
    for (const struct node *n = d->tree.nodes; n; n = n->hh.next) {
        int r = n->stats ? tell_state(d, n, each, ctx) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

/* --- telling a minute --- */

static void forget_minute(struct detect *d)
{
    for (struct node *n = d->tree.nodes; n; n = n->hh.next)
        node_forget_minute(n);
    d->minute_s = 0;
}

int detect_begin(struct detect *d, int64_t minute_s)
{
    if (minute_s % MINUTE_S || (d->last_minute_s && minute_s != d->last_minute_s + MINUTE_S))
        return -EINVAL;
    forget_minute(d);
    d->minute_s = minute_s;
    return 0;
}

int detect_add(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct detect *d = ctx;
    struct node *leaf = NULL;
    int r = tree_leaf(&d->tree, name, d->minute_s, &leaf);

    if (r == -ENOSPC) {
        d->refused++;
        return 0;
    }
    if (r < 0)
        return r;
    leaf->seen_s = d->minute_s;
    return node_add(leaf, cell);
}

/* --- judging --- */

struct candidates {
    struct candidate *list;
    unsigned count, capacity;
};

static int add_candidate(struct candidates *c, struct node *n, const struct finding *f)
{
    if (c->count == c->capacity) {
        unsigned capacity = c->capacity ? 2 * c->capacity : 16;
        struct candidate *list = realloc(c->list, capacity * sizeof(*list));

        if (!list)
            return -ENOMEM;
        c->list = list;
        c->capacity = capacity;
    }
    c->list[c->count++] = (struct candidate){.node = n, .finding = *f};
    return 0;
}

static bool is_to_be_judged(const struct node *n, const struct turn *turn)
{
    return n->stats && (!turn->running_s || n->minute);
}

/* First of all: what is over is so for every node that is judged. */
static int step_episodes(struct detect *d, enum alert_rule rule, const struct turn *turn)
{
    int r = 0;

    for (struct node *n = d->tree.nodes; n && r == 0; n = n->hh.next) {
        struct finding f;

        if (!is_to_be_judged(n, turn) || !episode_is_active(n, rule))
            continue;
        judge_node(d, n, rule, turn, &f);
        r = episode_step(d, episode_of(n, rule), &f, turn);
    }
    return r;
}

static int judge_rule(struct detect *d, enum alert_rule rule, const struct turn *turn,
                      struct candidates *candidates)
{
    int r = step_episodes(d, rule, turn);

    candidates->count = 0;
    for (struct node *n = d->tree.nodes; n && r == 0; n = n->hh.next) {
        struct finding f;

        if (!is_to_be_judged(n, turn) || episode_is_active(n, rule))
            continue;
        judge_node(d, n, rule, turn, &f);
        if (f.fires)
            r = add_candidate(candidates, n, &f);
    }
    if (r < 0)
        return r;
    return candidates->count ? explain_rule(d, rule, candidates->list, candidates->count, turn) : 0;
}

/* Rule by rule, for one explains the next. */
static int judge_all(struct detect *d, const struct turn *turn)
{
    struct candidates candidates = {0};
    int r = 0;

    for (int rule = 0; rule < DETECT_RULE_COUNT && r == 0; rule++)
        r = judge_rule(d, (enum alert_rule)rule, turn, &candidates);
    free(candidates.list);
    return r;
}

/* --- learning --- */

static bool must_hold(const struct detect *d, const struct node *n, enum alert_rule rule)
{
    for (unsigned i = 0; i < d->episodes_count; i++) {
        const struct episode *e = d->episodes[i];

        if (e->rule == rule && e->is_active && explain_is_akin(e->node, n))
            return true;
    }
    return false;
}

static struct store_series_name name_of(const struct node *n)
{
    return (struct store_series_name){
        .org = node_name(n, NODE_ORG),
        .feature = node_name(n, NODE_FEATURE),
        .provider = node_name(n, NODE_PROVIDER),
        .model = node_name(n, NODE_MODEL),
        .workload = "",
    };
}

static bool is_planned(const struct detect *d, const struct node *n)
{
    const struct store_series_name name = name_of(n);

    return d->planned && d->planned(d->planned_ctx, &name, d->minute_s);
}

static int learn_node(const struct detect *d, struct node *n)
{
    const struct stats_hold hold = {
        .all = is_planned(d, n),
        .errors = must_hold(d, n, ALERT_ERRORS_RATE),
        .latency = must_hold(d, n, ALERT_LATENCY_P95),
    };
    int r = stats_learn(n->stats, &d->settings, d->minute_s / MINUTE_S, n->minute, hold);

    if (n->minute && n->minute->sums.calls)
        n->is_synthetic = n->minute->sums.synthetic == n->minute->sums.calls;
    return r;
}

static int learn_context(struct detect *d)
{
    for (struct node *n = d->tree.nodes; n; n = n->hh.next) {
        const struct stats_minute *m;
        int r;

        if (n->level != ALERT_LEVEL_FEATURE)
            continue;
        m = node_source(n)->minute;
        r = context_add(d->context, node_name(n, NODE_ORG), node_name(n, NODE_FEATURE),
                        m ? 1e-9 * (double)m->sums.cost_expected_nanousd : 0);
        if (r < 0)
            return r;
    }
    context_close(d->context, d->minute_s);
    return 0;
}

static int close_minute(struct detect *d, const struct turn *turn)
{
    int r = learn_context(d);

    for (struct node *n = d->tree.nodes; n && r == 0; n = n->hh.next)
        if (n->stats)
            r = learn_node(d, n);
    if (r == 0)
        r = judge_all(d, turn);
    if (r < 0)
        return r;
    episodes_sweep(d);
    if (d->minute_s % DROP_EVERY_S == 0)
        tree_drop_gone(&d->tree, d->minute_s - GONE_S, d->minute_s - GONE_YOUNG_S);
    d->last_minute_s = d->minute_s;
    return 0;
}

int detect_close(struct detect *d, bool quiet, detect_emit emit, void *ctx)
{
    const struct turn turn = {
        .minute_s = d->minute_s,
        .end_s = d->minute_s + MINUTE_S,
        .quiet = quiet,
        .emit = emit,
        .ctx = ctx,
    };
    int r;

    if (d->minute_s == 0)
        return -EINVAL;
    r = close_minute(d, &turn);
    forget_minute(d);
    return r;
}

int detect_peek(struct detect *d, uint32_t elapsed_s, detect_emit emit, void *ctx)
{
    const struct turn turn = {
        .running_s = elapsed_s,
        .minute_s = d->minute_s,
        .end_s = d->minute_s + elapsed_s,
        .emit = emit,
        .ctx = ctx,
    };
    int r;

    if (d->minute_s == 0 || elapsed_s == 0 || elapsed_s >= MINUTE_S)
        return -EINVAL;
    r = judge_all(d, &turn);
    forget_minute(d);
    return r;
}

/* --- episodes after a quiet learning --- */

static struct episode *find_episode(const struct detect *d, const char *fingerprint)
{
    for (unsigned i = 0; i < d->episodes_count; i++)
        if (d->episodes[i]->is_active && strcmp(d->episodes[i]->last.fingerprint, fingerprint) == 0)
            return d->episodes[i];
    return NULL;
}

bool detect_has_episode(const struct detect *d, const char *fingerprint)
{
    return find_episode(d, fingerprint) != NULL;
}

int detect_adopt(struct detect *d, const struct alert *told)
{
    const struct store_series_name name = {told->org, told->feature, told->provider, told->model,
                                           NULL};
    struct node *n = tree_find(&d->tree, told->level, &name);
    struct episode *e = n ? episode_of(n, told->rule) : NULL, *next;
    int r;

    if (!n || find_episode(d, told->fingerprint))
        return 0;
    r = e ? 0 : episode_adopt(d, n, told->rule, &e);
    if (r < 0)
        return r;
    next = e->next;
    *e = (struct episode){.next = next,
                          .node = n,
                          .rule = told->rule,
                          .is_active = true,
                          .was_told = true,
                          .told_s = told->detected_s,
                          .usual = 1,
                          .last = *told};
    e->told_ratio = e->peak = told->baseline > 0 ? told->observed / told->baseline : 0;
    return 0;
}

void detect_set_told(struct detect *d, const char *fingerprint)
{
    struct episode *e = find_episode(d, fingerprint);

    if (e)
        e->was_told = true;
}

void detect_drop_untold(struct detect *d)
{
    for (unsigned i = 0; i < d->episodes_count; i++)
        if (!d->episodes[i]->was_told)
            d->episodes[i]->is_active = false;
}
