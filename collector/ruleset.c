/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ruleset_priv.h"

#include <errno.h>
#include <string.h>

/* Quiet minutes before an alert is resolved. */
#define RESOLVE_AFTER_MIN 5
#define SWEEP_EVERY_S 86400

/* Changes with the bytes of any state. */
#define LAYOUT 1

static uint64_t mix(uint64_t digest, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++)
        digest = (digest ^ p[i]) * UINT64_C(0x100000001b3);
    return digest;
}

static uint64_t mix_text(uint64_t digest, const char *text)
{
    /* With its end, so that "a" "bc" is not "ab" "c"; NULL is no "". */
    return text ? mix(digest, text, strlen(text) + 1) : mix(digest, "\1", 1);
}

static uint64_t mix_number(uint64_t digest, int64_t number)
{
    return mix(digest, &number, sizeof(number));
}

static uint64_t digest_of(const struct alerting_rule *rule)
{
    const int64_t numbers[] = {
        LAYOUT,
        rule->kind,
        rule->by,
        rule->dimension,
        rule->burn.latency_above_ms,
        rule->budget.period,
        rule->budget.utc_offset_min,
        (int64_t)ruleset_state_bytes(rule),
    };
    uint64_t d = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        d = mix_number(d, numbers[i]);
    d = mix_text(d, rule->match.org);
    d = mix_text(d, rule->match.feature);
    d = mix_text(d, rule->match.provider);
    d = mix_text(d, rule->match.model);
    for (unsigned i = 0; i < rule->burn.error_count; i++)
        d = mix_text(d, rule->burn.error[i]);
    for (unsigned i = 0; i < rule->burn.except_count; i++)
        d = mix_text(mix_text(d, "except"), rule->burn.except[i]);
    return d;
}

int ruleset_new(const struct alerting *rules, ruleset_planned planned, void *planned_ctx,
                struct ruleset **ret_set)
{
    struct ruleset *set = calloc(1, sizeof(*set));

    if (!set)
        return -ENOMEM;
    set->planned = planned;
    set->planned_ctx = planned_ctx;
    set->rules = calloc(rules->rules_count + 1, sizeof(*set->rules));
    if (!set->rules) {
        free(set);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < rules->rules_count; i++) {
        const struct alerting_rule *rule = &rules->rules[i];

        if (!rule->enabled || rule->kind == ALERTING_RETURN_PERIOD)
            continue;
        set->rules[set->rules_count++] = (struct rule_state){
            .rule = rule,
            .digest = digest_of(rule),
            .state_bytes = ruleset_state_bytes(rule),
        };
    }
    *ret_set = set;
    return 0;
}

void ruleset_drop_group(struct rule_state *rs, struct group *g)
{
    HASH_DEL(rs->groups, g);
    free(g->state);
    free(g);
}

void ruleset_free(struct ruleset **set)
{
    struct group *g, *next;

    if (!*set)
        return;
    for (unsigned i = 0; i < (*set)->rules_count; i++)
        HASH_ITER(hh, (*set)->rules[i].groups, g, next)
        {
            ruleset_drop_group(&(*set)->rules[i], g);
        }
    free((*set)->rules);
    free(*set);
    *set = NULL;
}

bool ruleset_has_rules(const struct ruleset *set)
{
    return set->rules_count > 0;
}

/* --- groups --- */

/* Names that are too long are cut: their groups may then be shared. */
static size_t make_key(char key[KEY_BYTES_MAX], const char *const names[4], size_t ret_at[4])
{
    size_t len = 0;

    for (int i = 0; i < 4; i++) {
        size_t bytes = strnlen(names[i], KEY_BYTES_MAX / 4 - 1);

        ret_at[i] = len;
        memcpy(key + len, names[i], bytes);
        len += bytes;
        key[len++] = '\0';
    }
    return len;
}

struct group *ruleset_find_group(const struct rule_state *rs, const char *org, const char *feature,
                                 const char *provider, const char *model)
{
    const char *const names[4] = {org, feature, provider, model};
    char key[KEY_BYTES_MAX];
    size_t at[4], len = make_key(key, names, at);
    struct group *g;

    HASH_FIND(hh, rs->groups, key, len, g);
    return g;
}

static struct group *group_new(const struct rule_state *rs, const char *const names[4])
{
    char key[KEY_BYTES_MAX];
    size_t at[4], len = make_key(key, names, at);
    struct group *g = calloc(1, sizeof(*g) + len);

    if (!g)
        return NULL;
    g->state = calloc(1, rs->state_bytes);
    if (!g->state) {
        free(g);
        return NULL;
    }
    memcpy(g->key, key, len);
    g->key_bytes = len;
    g->org = g->key + at[0];
    g->feature = g->key + at[1];
    g->provider = g->key + at[2];
    g->model = g->key + at[3];
    return g;
}

int ruleset_group(struct ruleset *set, struct rule_state *rs, const char *org, const char *feature,
                  const char *provider, const char *model, struct group **ret_group)
{
    const char *const names[4] = {org, feature, provider, model};
    struct group *g = ruleset_find_group(rs, org, feature, provider, model);

    if (!g && HASH_COUNT(rs->groups) >= RULESET_GROUPS_MAX) {
        set->refused++;
        return -ENOSPC;
    }
    if (!g) {
        g = group_new(rs, names);
        if (!g)
            return -ENOMEM;
        HASH_ADD_KEYPTR(hh, rs->groups, g->key, g->key_bytes, g);
    }
    *ret_group = g;
    return 0;
}

uint64_t ruleset_groups(const struct ruleset *set)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < set->rules_count; i++)
        count += HASH_COUNT(set->rules[i].groups);
    return count;
}

uint64_t ruleset_refused(const struct ruleset *set)
{
    return set->refused;
}

static void forget_told(struct ruleset *set)
{
    for (unsigned i = 0; i < set->rules_count; i++)
        for (struct group *g = set->rules[i].groups; g; g = g->hh.next)
            g->told = (struct told){0};
}

/* --- minutes --- */

int64_t ruleset_next_s(const struct ruleset *set)
{
    int64_t next_s = 0;

    for (unsigned i = 0; i < set->rules_count; i++) {
        int64_t here_s = set->rules[i].next_s;

        if (here_s && (!next_s || here_s < next_s))
            next_s = here_s;
    }
    return next_s;
}

/* A rule that was added is told minutes that the others have had. */
static bool is_wanted(const struct ruleset *set, int64_t minute_s)
{
    for (unsigned i = 0; i < set->rules_count; i++)
        if (minute_s >= set->rules[i].next_s)
            return true;
    return set->rules_count == 0;
}

int ruleset_begin(struct ruleset *set, int64_t minute_s)
{
    if (minute_s <= 0 || minute_s % MINUTE_S || !is_wanted(set, minute_s))
        return -EINVAL;
    forget_told(set);
    set->at_s = minute_s;
    set->is_recall = false;
    return 0;
}

struct look {
    struct ruleset *set;
    struct rule_state *rs;
    struct group *g;
    bool quiet;
    ruleset_emit emit;
    void *ctx;
};

static int tell(const struct look *l, struct ruleset_episode *e, const struct verdict *v,
                enum alert_status status)
{
    struct ruling ruling;
    struct alert a = {.status = status};

    if (status == ALERT_FIRING) {
        e->starts_s = l->set->at_s - (int64_t)e->held_min * MINUTE_S;
        e->was_told = false;
    }
    ruleset_fill(l->set, l->rs, l->g, v, &ruling, &a);
    a.starts_s = e->starts_s;
    a.detected_s = l->set->at_s + MINUTE_S;
    a.ends_s = status == ALERT_RESOLVED ? a.detected_s : 0;
    if (status == ALERT_FIRING) {
        alert_name(&a);
        memcpy(e->fingerprint, a.fingerprint, sizeof(e->fingerprint));
    }
    memcpy(a.fingerprint, e->fingerprint, sizeof(a.fingerprint));
    alert_number(&a);
    if (l->quiet)
        return 0;
    e->was_told = true;
    return l->emit(l->ctx, &a);
}

static int begin_episode(const struct look *l, struct ruleset_episode *e, const struct verdict *v)
{
    if (!v->fires) {
        e->held_min = 0;
        return 0;
    }
    if (!v->is_immediate && e->held_min + 1 < l->rs->rule->for_min) {
        e->held_min++;
        return 0;
    }
    e->is_active = true;
    e->level = v->level;
    e->calm_min = 0;
    return tell(l, e, v, ALERT_FIRING);
}

/* Firing, updated, resolved: one step for one minute. */
static int step_episode(const struct look *l, struct ruleset_episode *e, const struct verdict *v)
{
    int r = 0;

    if (!e->is_active)
        return v->is_final ? 0 : begin_episode(l, e, v);
    if (v->fires && (v->is_further || v->level > e->level)) {
        e->level = v->level;
        e->calm_min = 0;
        return tell(l, e, v, ALERT_UPDATED);
    }
    e->calm_min = v->is_calm && !v->fires ? e->calm_min + 1 : 0;
    if (!v->is_final && e->calm_min < RESOLVE_AFTER_MIN)
        return 0;
    r = tell(l, e, v, ALERT_RESOLVED);
    *e = (struct ruleset_episode){0};
    return r;
}

static int close_group(const struct look *l)
{
    struct ruleset *set = l->set;
    struct group *g = l->g;

    if (g->told.is_there) {
        g->seen_s = set->at_s;
        g->is_synthetic = g->told.all && g->told.synthetic >= g->told.all;
    }
    ruleset_learn(set, l->rs, g);
    if (set->is_recall)
        return 0;
    for (unsigned i = 0; i < ruleset_episodes(l->rs->rule); i++) {
        struct verdict v;
        int r;

        ruleset_judge(set, l->rs, g, i, &v);
        r = step_episode(l, &g->episodes[i], &v);
        if (r < 0)
            return r;
        /* What was told is told; the next list begins empty. */
        if (v.is_final && l->rs->rule->kind == ALERTING_FIRST_SEEN)
            memset(g->state, 0, l->rs->state_bytes);
    }
    return 0;
}

static void sweep(struct ruleset *set, struct rule_state *rs)
{
    struct group *g, *next;

    if (set->at_s % SWEEP_EVERY_S)
        return;
    HASH_ITER(hh, rs->groups, g, next)
    {
        if (ruleset_is_idle(rs, g, set->at_s))
            ruleset_drop_group(rs, g);
    }
}

int ruleset_close(struct ruleset *set, bool quiet, ruleset_emit emit, void *ctx)
{
    struct look l = {.set = set, .quiet = quiet, .emit = emit, .ctx = ctx};

    if (set->at_s == 0)
        return -EINVAL;
    for (unsigned i = 0; i < set->rules_count; i++) {
        l.rs = &set->rules[i];
        if (set->at_s < l.rs->next_s)
            continue;
        for (l.g = l.rs->groups; l.g; l.g = l.g->hh.next) {
            int r = close_group(&l);

            if (r < 0)
                return r;
        }
        sweep(set, l.rs);
        l.rs->next_s = set->at_s + MINUTE_S;
    }
    forget_told(set);
    set->at_s = 0;
    return 0;
}

/* --- the past --- */

uint32_t ruleset_history_h(const struct ruleset *set)
{
    uint32_t most_h = 0;

    for (unsigned i = 0; i < set->rules_count; i++) {
        const struct alerting_rule *rule = set->rules[i].rule;
        uint32_t hours = 0;

        if (set->rules[i].next_s)
            continue;
        if (rule->kind == ALERTING_BURN_RATE)
            hours = rule->burn.period_d * 24;
        else if (rule->kind == ALERTING_BUDGET)
            hours = 24 * (31 + BUDGET_DAYS);
        else if (rule->kind == ALERTING_SILENT)
            hours = 24 * 28;
        most_h = hours > most_h ? hours : most_h;
    }
    return most_h;
}

void ruleset_recall_begin(struct ruleset *set, int64_t hour_s)
{
    forget_told(set);
    set->at_s = hour_s;
    set->is_recall = true;
}

int ruleset_recall_end(struct ruleset *set)
{
    struct look l = {.set = set, .quiet = true};

    for (unsigned i = 0; i < set->rules_count; i++) {
        l.rs = &set->rules[i];
        if (l.rs->next_s)
            continue;
        for (l.g = l.rs->groups; l.g; l.g = l.g->hh.next) {
            int r = close_group(&l);

            if (r < 0)
                return r;
        }
    }
    forget_told(set);
    set->at_s = 0;
    set->is_recall = false;
    return 0;
}

/* --- episodes --- */

static struct ruleset_episode *find_episode(const struct ruleset *set, const char *fingerprint)
{
    for (unsigned i = 0; i < set->rules_count; i++)
        for (struct group *g = set->rules[i].groups; g; g = g->hh.next)
            for (unsigned k = 0; k < EPISODE__COUNT; k++)
                if (g->episodes[k].is_active &&
                    strcmp(g->episodes[k].fingerprint, fingerprint) == 0)
                    return &g->episodes[k];
    return NULL;
}

bool ruleset_has_episode(const struct ruleset *set, const char *fingerprint)
{
    return find_episode(set, fingerprint) != NULL;
}

void ruleset_set_told(struct ruleset *set, const char *fingerprint)
{
    struct ruleset_episode *e = find_episode(set, fingerprint);

    if (e)
        e->was_told = true;
}

void ruleset_drop_untold(struct ruleset *set)
{
    for (unsigned i = 0; i < set->rules_count; i++)
        for (struct group *g = set->rules[i].groups; g; g = g->hh.next)
            for (unsigned k = 0; k < EPISODE__COUNT; k++)
                if (!g->episodes[k].was_told)
                    g->episodes[k] = (struct ruleset_episode){0};
}
