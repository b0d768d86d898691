/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ruleset_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_counted(const struct alerting_rule *rule, const char *type)
{
    for (unsigned i = 0; i < rule->burn.error_count; i++)
        if (alerting_glob(rule->burn.error[i], type))
            return true;
    if (rule->burn.error_count)
        return false;
    for (unsigned i = 0; i < rule->burn.except_count; i++)
        if (alerting_glob(rule->burn.except[i], type))
            return false;
    return true;
}

static void count_burn(const struct alerting_rule *rule, const struct rollup_cell *cell,
                       struct told *t)
{
    if (rule->burn.latency_above_ms) {
        t->all += cell->latency.count;
        t->hits += sketch_count_above(&cell->latency, rule->burn.latency_above_ms * 1000.0);
        return;
    }
    t->all += cell->sums.calls;
    for (uint32_t i = 0; i < cell->error_types.count; i++)
        if (is_counted(rule, cell->error_types.items[i].name))
            t->hits += cell->error_types.items[i].count;
}

static void count_budget(const struct alerting_rule *rule, const struct rollup_cell *cell,
                         struct told *t)
{
    (void)rule;
    t->all += cell->sums.calls;
    t->unknown += cell->sums.cost_unknown;
    t->low_usd += 1e-9 * (double)cell->sums.cost_low_nanousd;
    t->expected_usd += 1e-9 * (double)cell->sums.cost_expected_nanousd;
    t->high_usd += 1e-9 * (double)cell->sums.cost_high_nanousd;
}

static void count_calls(const struct alerting_rule *rule, const struct rollup_cell *cell,
                        struct told *t)
{
    (void)rule;
    t->all += cell->sums.calls;
}

/* Logical calls, and how often one was made again. */
static void count_retries(const struct alerting_rule *rule, const struct rollup_cell *cell,
                          struct told *t)
{
    (void)rule;
    t->all += cell->sums.calls - cell->sums.retries;
    t->hits += cell->sums.retries;
}

static void (*const count_cell[ALERTING_KIND__COUNT])(const struct alerting_rule *rule,
                                                      const struct rollup_cell *cell,
                                                      struct told *t) = {
    [ALERTING_BURN_RATE] = count_burn,  [ALERTING_BUDGET] = count_budget,
    [ALERTING_SILENT] = count_calls,    [ALERTING_UNPRICED] = count_calls,
    [ALERTING_RETRIES] = count_retries,
};

/* Rules that have been told this time already do not listen. */
static bool listens(const struct ruleset *set, const struct rule_state *rs)
{
    return set->is_recall ? rs->next_s == 0 : set->at_s >= rs->next_s;
}

static int group_by(struct ruleset *set, struct rule_state *rs, const struct store_series_name *n,
                    struct group **ret_group)
{
    /* All calls of a provider, to set those without a price against. */
    unsigned by =
        rs->rule->kind == ALERTING_UNPRICED ? (unsigned)ALERTING_BY_PROVIDER : rs->rule->by;

    return ruleset_group(set, rs, n->org, by & ALERTING_BY_FEATURE ? n->feature : "",
                         by & ALERTING_BY_PROVIDER ? n->provider : "",
                         by & ALERTING_BY_MODEL ? n->model : "", ret_group);
}

int ruleset_add(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct ruleset *set = ctx;
    const struct alerting_scope scope = {.org = name->org,
                                         .feature = name->feature,
                                         .provider = name->provider,
                                         .model = name->model};

    for (unsigned i = 0; i < set->rules_count; i++) {
        struct rule_state *rs = &set->rules[i];
        struct group *g = NULL;
        int r;

        if (!count_cell[rs->rule->kind] || !listens(set, rs) ||
            !alerting_matches(&rs->rule->match, &scope))
            continue;
        r = group_by(set, rs, name, &g);
        if (r == -ENOSPC)
            continue;
        if (r < 0)
            return r;
        g->told.is_there = true;
        g->told.synthetic += cell->sums.synthetic;
        count_cell[rs->rule->kind](rs->rule, cell, &g->told);
    }
    return 0;
}

/* Adds to the group of one rule; what has no room is counted by ruleset_group(). */
static int add_counts(struct ruleset *set, struct rule_state *rs, const char *org,
                      const char *provider, const char *model, uint64_t all, uint64_t hits)
{
    struct group *g = NULL;
    int r = ruleset_group(set, rs, org, "", provider, model, &g);

    if (r < 0)
        return r == -ENOSPC ? 0 : r;
    g->told.is_there = true;
    g->told.all += all;
    g->told.hits += hits;
    return 0;
}

int ruleset_add_coverage(void *ctx, const struct store_coverage_row *row)
{
    struct ruleset *set = ctx;
    const struct alerting_scope scope = {.org = row->org, .provider = row->provider};

    for (unsigned i = 0; i < set->rules_count; i++) {
        struct rule_state *rs = &set->rules[i];
        int r;

        if (rs->rule->kind != ALERTING_COVERAGE || !listens(set, rs) ||
            !alerting_matches(&rs->rule->match, &scope))
            continue;
        r = add_counts(set, rs, row->org, rs->rule->by & ALERTING_BY_PROVIDER ? row->provider : "",
                       "", row->seen, row->metered);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A count that is not known is no lack of a price. */
static bool lacks_price(const char *basis)
{
    return strcmp(basis, "unknown_usage") != 0;
}

int ruleset_add_unpriced(void *ctx, const struct store_unpriced_row *row)
{
    struct ruleset *set = ctx;
    const struct alerting_scope scope = {
        .org = row->org, .provider = row->provider, .model = row->model};

    if (!lacks_price(row->basis))
        return 0;
    for (unsigned i = 0; i < set->rules_count; i++) {
        struct rule_state *rs = &set->rules[i];
        int r;

        if (rs->rule->kind != ALERTING_UNPRICED || !listens(set, rs) ||
            !alerting_matches(&rs->rule->match, &scope))
            continue;
        r = add_counts(set, rs, row->org, row->provider, row->model[0] ? row->model : "?", 0,
                       row->calls);
        if (r < 0)
            return r;
    }
    return 0;
}

static void add_value(struct novel *n, const char *value, int64_t minute_s)
{
    n->last_s = minute_s;
    n->values.total++;
    if (n->values.count == RULING_VALUES_MAX)
        return;
    snprintf(n->values.list[n->values.count++], RULING_VALUE_BYTES, "%.*s", RULING_VALUE_BYTES - 1,
             value);
}

int ruleset_add_new_value(void *ctx, const struct ruleset_new_value *v)
{
    struct ruleset *set = ctx;
    const struct alerting_scope scope = {
        .org = v->org, .feature = v->feature, .provider = v->provider, .model = v->model};

    for (unsigned i = 0; i < set->rules_count; i++) {
        struct rule_state *rs = &set->rules[i];
        struct group *g = NULL;
        int r;

        if (rs->rule->kind != ALERTING_FIRST_SEEN || rs->rule->dimension != v->dimension ||
            v->age_s < (int64_t)rs->rule->warmup_h * HOUR_S || !listens(set, rs) ||
            !alerting_matches(&rs->rule->match, &scope))
            continue;
        r = ruleset_group(set, rs, v->org, "", "", "", &g);
        if (r == -ENOSPC)
            continue;
        if (r < 0)
            return r;
        g->told.is_there = true;
        g->told.hits++;
        add_value(g->state, v->value, set->at_s);
    }
    return 0;
}
