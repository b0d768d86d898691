/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ruleset_priv.h"

/* A list of new values is closed this long after the last one. */
#define NOVEL_OPEN_S (60 * MINUTE_S)
/* An hour without connections says nothing of coverage; a day of it ends what was said. */
#define COVERAGE_GONE_S 86400

static void learn_burn(struct ruleset *set, struct rule_state *rs, struct group *g)
{
    if (!g->told.is_there)
        return;
    if (set->is_recall)
        burn_recall(g->state, rs->rule, set->at_s, g->told.all, g->told.hits);
    else
        burn_add(g->state, rs->rule, set->at_s, g->told.all, g->told.hits);
}

static void learn_budget(struct ruleset *set, struct rule_state *rs, struct group *g)
{
    struct budget_cost cost = {
        .calls = g->told.all,
        .unknown = g->told.unknown,
        .low_usd = g->told.low_usd,
        .expected_usd = g->told.expected_usd,
        .high_usd = g->told.high_usd,
    };

    if (g->told.is_there)
        budget_add(g->state, rs->rule, set->at_s, &cost);
}

static void learn_quiet(struct ruleset *set, struct rule_state *rs, struct group *g)
{
    struct alerting_scope scope = {
        .org = g->org, .feature = g->feature, .provider = g->provider, .model = g->model};
    bool is_planned = set->planned && set->planned(set->planned_ctx, &scope, set->at_s);

    (void)rs;
    quiet_add(g->state, set->at_s, set->is_recall ? HOUR_S : MINUTE_S, g->told.all,
              g->episodes[EPISODE_MAIN].is_active, is_planned);
}

static void learn_share(struct ruleset *set, struct rule_state *rs, struct group *g)
{
    (void)rs;
    if (!set->is_recall && g->told.is_there)
        share_add(g->state, set->at_s, g->told.all, g->told.hits);
}

static void learn_nothing(struct ruleset *set, struct rule_state *rs, struct group *g)
{
    (void)set;
    (void)rs;
    (void)g;
}

/* --- verdicts --- */

static void judge_burn(struct ruleset *set, struct rule_state *rs, struct group *g, unsigned which,
                       struct verdict *v)
{
    (void)which;
    burn_judge(g->state, rs->rule, set->at_s, &v->burn);
    v->rule = rs->rule->burn.latency_above_ms ? ALERT_LATENCY_BURN_RATE : ALERT_ERRORS_BURN_RATE;
    v->fires = v->burn.fires;
    v->is_calm = !v->burn.fires;
    v->severity = v->burn.severity;
    v->level = (uint8_t)v->burn.severity;
}

static void judge_budget(struct ruleset *set, struct rule_state *rs, struct group *g,
                         unsigned which, struct verdict *v)
{
    const struct alerting_rule *rule = rs->rule;
    const struct ruleset_episode *e = &g->episodes[which];
    int64_t end_s = set->at_s + MINUTE_S;
    unsigned reached;

    budget_judge(g->state, rule, end_s, &v->budget);
    reached = budget_reached(rule, v->budget.used);
    v->severity = rule->severity;
    if (which == EPISODE_FORECAST) {
        v->rule = ALERT_COST_FORECAST;
        v->fires = v->budget.has_forecast && v->budget.used < 1 &&
                   v->budget.forecast_low > rule->budget.usd;
        v->is_calm = v->budget.forecast < rule->budget.usd || v->budget.used >= 1;
    } else {
        v->rule = ALERT_COST_BUDGET;
        v->fires = reached > 0;
        v->level = (uint8_t)reached;
        /* Half of it gone is news, all of it gone an alarm. */
        if (v->budget.used >= 1)
            v->severity = ALERTING_CRITICAL;
        else if (reached < rule->budget.thresholds_count && rule->budget.thresholds[0] < 80 &&
                 reached == 1)
            v->severity = ALERTING_INFO;
    }
    if (e->is_active && e->starts_s < v->budget.from_s) {
        v->is_final = true;
        v->fires = false;
        v->over = "the period is over";
    }
}

static void judge_quiet(struct ruleset *set, struct rule_state *rs, struct group *g, unsigned which,
                        struct verdict *v)
{
    (void)which;
    quiet_judge(g->state, rs->rule, set->at_s, &v->quiet);
    v->rule = ALERT_FEATURE_SILENT;
    v->fires = v->quiet.fires;
    v->is_calm = v->quiet.is_calm;
    v->is_immediate = true;
    v->severity = rs->rule->severity;
    v->is_final = v->quiet.is_gone;
    v->over = v->quiet.is_gone ? "it has been gone for a week" : NULL;
}

static double share_of(const struct share_count *c)
{
    return c->all ? (double)c->hits / (double)c->all : 0;
}

static void judge_unpriced(struct ruleset *set, struct rule_state *rs, struct group *g,
                           unsigned which, struct verdict *v)
{
    const struct group *provider = ruleset_find_group(rs, g->org, "", g->provider, "");

    (void)which;
    v->rule = ALERT_MODEL_UNPRICED;
    v->severity = rs->rule->severity;
    v->is_calm = true;
    if (!g->model[0])
        return;
    v->share = share_hour(g->state, set->at_s);
    /* All calls of the provider are counted in the group without a model. */
    if (provider)
        v->share.all = share_hour(provider->state, set->at_s).all;
    if (v->share.all < v->share.hits)
        v->share.all = v->share.hits;
    v->fires = v->share.hits >= rs->rule->calls_min && v->share.hits > 0;
    v->is_calm = v->share.hits == 0;
}

static void judge_coverage(struct ruleset *set, struct rule_state *rs, struct group *g,
                           unsigned which, struct verdict *v)
{
    const struct alerting_rule *rule = rs->rule;
    double share;

    (void)which;
    v->rule = ALERT_COVERAGE_LOW;
    v->severity = rule->severity;
    v->share = share_hour(g->state, set->at_s);
    v->before = share_day_before(g->state, set->at_s);
    share = share_of(&v->share);
    v->fires = v->share.all >= rule->calls_min &&
               (share < rule->below ||
                (v->before.all >= rule->calls_min && share < share_of(&v->before) - rule->drop));
    v->is_calm = v->share.all > 0 && !v->fires;
    v->is_final = set->at_s - g->seen_s > COVERAGE_GONE_S;
    v->over = v->is_final ? "no connection was seen for a day" : NULL;
}

static void judge_retries(struct ruleset *set, struct rule_state *rs, struct group *g,
                          unsigned which, struct verdict *v)
{
    (void)which;
    v->rule = ALERT_RETRIES_AMPLIFYING;
    v->severity = rs->rule->severity;
    v->share = share_hour(g->state, set->at_s);
    v->before = share_day_before(g->state, set->at_s);
    v->fires = v->share.all + v->share.hits >= rs->rule->calls_min &&
               (double)v->share.hits >= rs->rule->ratio * (double)v->share.all && v->share.hits > 0;
    /* Well below, so that it does not come and go. */
    v->is_calm =
        (double)v->share.hits < 0.8 * rs->rule->ratio * (double)v->share.all || v->share.hits == 0;
}

static void judge_novel(struct ruleset *set, struct rule_state *rs, struct group *g, unsigned which,
                        struct verdict *v)
{
    static const enum alert_rule rules[ALERTING_DIM__COUNT] = {
        [ALERTING_DIM_MODEL] = ALERT_MODEL_FIRST_SEEN,
        [ALERTING_DIM_PROVIDER] = ALERT_PROVIDER_FIRST_SEEN,
        [ALERTING_DIM_KEY] = ALERT_KEY_FIRST_SEEN,
        [ALERTING_DIM_FEATURE] = ALERT_FEATURE_FIRST_SEEN,
        [ALERTING_DIM_REGION] = ALERT_REGION_FIRST_SEEN,
    };
    struct novel *n = g->state;

    (void)which;
    v->rule = rules[rs->rule->dimension];
    v->severity = rs->rule->severity;
    v->is_immediate = true;
    v->fires = n->last_s == set->at_s && n->values.total > 0;
    /* Further values are told as they come, each minute at most once. */
    v->is_further = v->fires && g->told.hits;
    v->is_final = n->values.total > 0 && set->at_s >= n->last_s + NOVEL_OPEN_S;
    v->over = "nothing further is new since an hour";
}

static size_t no_bytes(const struct alerting_rule *rule)
{
    (void)rule;
    return 0;
}

static size_t budget_bytes(const struct alerting_rule *rule)
{
    (void)rule;
    return sizeof(struct budget);
}

static size_t quiet_bytes(const struct alerting_rule *rule)
{
    (void)rule;
    return sizeof(struct quiet);
}

static size_t share_bytes(const struct alerting_rule *rule)
{
    (void)rule;
    return sizeof(struct share);
}

static size_t novel_bytes(const struct alerting_rule *rule)
{
    (void)rule;
    return sizeof(struct novel);
}

static const struct kind {
    size_t (*bytes)(const struct alerting_rule *rule);
    void (*learn)(struct ruleset *set, struct rule_state *rs, struct group *g);
    void (*judge)(struct ruleset *set, struct rule_state *rs, struct group *g, unsigned which,
                  struct verdict *v);
} kinds[ALERTING_KIND__COUNT] = {
    [ALERTING_RETURN_PERIOD] = {no_bytes, learn_nothing, NULL},
    [ALERTING_BURN_RATE] = {burn_bytes, learn_burn, judge_burn},
    [ALERTING_BUDGET] = {budget_bytes, learn_budget, judge_budget},
    [ALERTING_FIRST_SEEN] = {novel_bytes, learn_nothing, judge_novel},
    [ALERTING_SILENT] = {quiet_bytes, learn_quiet, judge_quiet},
    [ALERTING_UNPRICED] = {share_bytes, learn_share, judge_unpriced},
    [ALERTING_COVERAGE] = {share_bytes, learn_share, judge_coverage},
    [ALERTING_RETRIES] = {share_bytes, learn_share, judge_retries},
};

unsigned ruleset_episodes(const struct alerting_rule *rule)
{
    return rule->kind == ALERTING_BUDGET && rule->budget.forecast ? 2 : 1;
}

bool ruleset_is_idle(const struct rule_state *rs, const struct group *g, int64_t minute_s)
{
    static const int64_t days[ALERTING_KIND__COUNT] = {
        [ALERTING_BUDGET] = 62,  [ALERTING_FIRST_SEEN] = 1, [ALERTING_SILENT] = 14,
        [ALERTING_UNPRICED] = 2, [ALERTING_COVERAGE] = 2,   [ALERTING_RETRIES] = 2,
    };
    int64_t quiet_s = minute_s - g->seen_s;

    for (unsigned i = 0; i < EPISODE__COUNT; i++)
        if (g->episodes[i].is_active)
            return false;
    if (rs->rule->kind == ALERTING_BURN_RATE)
        return quiet_s > 86400 && burn_is_empty(g->state, rs->rule, minute_s);
    return quiet_s > days[rs->rule->kind] * 86400;
}

size_t ruleset_state_bytes(const struct alerting_rule *rule)
{
    return kinds[rule->kind].bytes(rule);
}

void ruleset_learn(struct ruleset *set, struct rule_state *rs, struct group *g)
{
    kinds[rs->rule->kind].learn(set, rs, g);
}

void ruleset_judge(struct ruleset *set, struct rule_state *rs, struct group *g, unsigned which,
                   struct verdict *ret_verdict)
{
    *ret_verdict = (struct verdict){0};
    kinds[rs->rule->kind].judge(set, rs, g, which, ret_verdict);
}
