/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/rules.h"

#include "collector/rules_store.h"
#include "collector/ruling.h"
#include "collector/silence.h"
#include "collector/store_query.h"
#include "collector/store_rules.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MINUTE_S 60
#define HOUR_S 3600
#define LOOK_EVERY_NS NSEC_PER_SEC
#define SLICE_NS (100 * NSEC_PER_MSEC)
/* Windows of up to six hours are counted by the minute. */
#define MINUTES_TOLD_S (6 * HOUR_S)
/* State is stored this often; one that is large less often. */
#define SAVE_EVERY_S 600
#define SAVE_LARGE_EVERY_S 3600
#define SAVE_LARGE_BYTES (1024 * 1024)
/* Silences that are over matter for what is told once more. */
#define SILENCE_KEEP_S (40 * 86400)

enum step {
    STEP_LOAD,    /* what is stored of the rules' state */
    STEP_HOURS,   /* for rules that have none */
    STEP_MINUTES, /* since the state was stored */
    STEP_EPISODES,
    STEP_DONE,
};

struct rules {
    const struct config *config;
    struct store *store;
    struct alerting *alerting;
    struct ruleset *set;
    struct silences *silences;
    struct stat file; /* as read last; st_ino 0: there was none */
    struct stat seen; /* as it was at the last look */
    bool has_file;    /* the rules in use are a file's */
    enum step step;
    int64_t hours_s, hours_end_s; /* told up to here; up to where */
    int64_t minute_s;             /* next one to tell while catching up */
    size_t saved_bytes;
    bool has_silenced; /* some active alert may be silenced */
    uint64_t looked_mono_ns;
    void (*on_reload)(void *ctx);
    void *on_reload_ctx;
    struct rules_stats stats;
};

static atomic_bool reload_requested;

void rules_request_reload(void)
{
    atomic_store(&reload_requested, true);
}

/* --- the file --- */

/* The default file may be absent, but not go: whoever takes it away or is about to replace it has
 * not said that nobody is to be told any more. */
static const char *path_of(const struct rules *r, struct stat *ret_stat)
{
    const char *path = r->has_file ? r->config->alerting.file : config_alerting_file(r->config);

    *ret_stat = (struct stat){0};
    (void)(path && stat(path, ret_stat));
    return path;
}

static bool is_planned(void *ctx, const struct alerting_scope *scope, int64_t minute_s)
{
    return rules_is_planned(ctx, scope, minute_s);
}

/* Appends what the rules know; nothing when it is too large. */
static int save_all(const struct rules *r, struct buf *state)
{
    int ret = r->set && r->step == STEP_DONE ? ruleset_save(r->set, state) : 0;

    if (ret != -ENOSPC)
        return ret;
    log_warn("state of the rules is too large to go on with: rules begin as after a start",
             "limit_bytes=%u", (unsigned)RULES_STATE_BYTES_MAX);
    buf_reset(state);
    return 0;
}

/* Takes over the file's rules with what the old ones knew. */
static int adopt(struct rules *r, struct alerting **alerting)
{
    struct ruleset *set = NULL;
    struct buf state;
    int ret = ruleset_new(*alerting, is_planned, r, &set);

    buf_init(&state, RULES_STATE_BYTES_MAX);
    if (ret == 0)
        ret = save_all(r, &state);
    if (ret == 0 && state.len)
        ret = ruleset_load(set, buf_slice(&state));
    if (ret < 0) {
        ruleset_free(&set);
        buf_fini(&state);
        return ret;
    }
    r->step = state.len ? STEP_HOURS : STEP_LOAD;
    buf_fini(&state);
    ruleset_free(&r->set);
    alerting_free(&r->alerting);
    r->set = set;
    r->alerting = TAKE_PTR(*alerting);
    r->hours_end_s = 0;
    r->minute_s = 0;
    return 0;
}

static int read_file(struct rules *r)
{
    CLEAN_ALERTING struct alerting *alerting = NULL;
    struct alerting_error error = {.text = ""};
    const char *path = path_of(r, &r->file);
    int ret = alerting_load(path, &alerting, &error);

    if (ret == -EINVAL)
        log_error("rules cannot be used", "error=%s", error.text);
    else if (ret == 0)
        ret = adopt(r, &alerting);
    if (ret == 0) {
        r->looked_mono_ns = 0;
        r->has_file = path;
    } else if (ret != -EINVAL)
        log_error("rules not read", "error=%s", strerror(-ret));
    return ret;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* And is the same at two looks: one that is being written may be good YAML up to there. */
static bool has_changed(struct rules *r)
{
    struct stat now;
    bool is_settled;

    (void)path_of(r, &now);
    is_settled = is_same(&now, &r->seen);
    r->seen = now;
    return is_settled && !is_same(&now, &r->file);
}

static void reload(struct rules *r)
{
    if (!atomic_exchange(&reload_requested, false) && !has_changed(r))
        return;
    if (read_file(r) < 0) {
        r->stats.reload_failures++;
        return;
    }
    r->stats.reloads++;
    if (r->on_reload)
        r->on_reload(r->on_reload_ctx);
    log_info("rules read again", "file=%s rules=%u receivers=%u", r->config->alerting.file,
             r->alerting->rules_count, r->alerting->receivers_count);
}

void rules_on_reload(struct rules *r, void (*on_reload)(void *ctx), void *ctx)
{
    r->on_reload = on_reload;
    r->on_reload_ctx = ctx;
}

/* --- silences --- */

static int add_stored(void *ctx, const struct store_silence *row)
{
    const struct alerting_silence silence = {
        .match = {.org = (char *)(uintptr_t)row->org,
                  .feature = (char *)(uintptr_t)row->feature,
                  .provider = (char *)(uintptr_t)row->provider,
                  .model = (char *)(uintptr_t)row->model,
                  .severity = (char *)(uintptr_t)row->severity,
                  .rule = (char *)(uintptr_t)row->rule},
        .from_s = row->from_s,
        .until_s = row->until_s,
        .planned = row->is_planned,
    };
    int r = silences_add(ctx, row->id, &silence);

    return r == -ENOSPC ? 0 : r;
}

static int read_silences(struct rules *r, int64_t closed_s)
{
    int ret = 0;

    silences_clear(r->silences);
    for (unsigned i = 0; i < r->alerting->silences_count && ret == 0; i++) {
        char id[32];

        snprintf(id, sizeof(id), "silences[%u]", i);
        ret = silences_add(r->silences, id, &r->alerting->silences[i]);
    }
    if (ret == 0)
        ret = store_each_silence(r->store, closed_s - SILENCE_KEEP_S, add_stored, r->silences);
    r->stats.silences = silences_count(r->silences);
    return ret;
}

bool rules_is_planned(const struct rules *r, const struct alerting_scope *scope, int64_t minute_s)
{
    return silences_is_planned(r->silences, scope, minute_s);
}

static enum alerting_metric metric_of(enum alert_rule rule)
{
    static const enum alerting_metric metrics[ALERT_RULE__COUNT] = {
        [ALERT_CALLS_SPIKE] = ALERTING_CALLS,   [ALERT_CALLS_DROP] = ALERTING_CALLS,
        [ALERT_CALLS_SHIFT] = ALERTING_CALLS,   [ALERT_COST_SPIKE] = ALERTING_COST,
        [ALERT_COST_DROP] = ALERTING_COST,      [ALERT_COST_SHIFT] = ALERTING_COST,
        [ALERT_TOKENS_SPIKE] = ALERTING_TOKENS, [ALERT_TOKENS_DROP] = ALERTING_TOKENS,
        [ALERT_ERRORS_RATE] = ALERTING_ERRORS,  [ALERT_LATENCY_P95] = ALERTING_LATENCY,
    };

    return metrics[rule];
}

static bool is_held_back(const struct alerting_rule *rule, const struct alert *a)
{
    double ratio = a->baseline > 0 ? a->observed / a->baseline : 0;

    if (!rule->enabled)
        return true;
    if (a->has_return && rule->period.target_weeks > 0 &&
        a->return_weeks < rule->period.target_weeks)
        return true;
    return rule->period.ratio_min > 0 && ratio > 0 && ratio < rule->period.ratio_min &&
           ratio > 1 / rule->period.ratio_min;
}

static struct alerting_scope scope_of(const struct alert *a)
{
    return (struct alerting_scope){
        .org = a->org,
        .feature = a->feature,
        .provider = a->provider,
        .model = a->model,
        .rule = alert_rule_name(a->rule),
        .name = a->ruling ? a->ruling->rule->name : NULL,
    };
}

void rules_mark_period(const struct alerting *alerting, struct alert *a)
{
    const struct alerting_scope scope = scope_of(a);
    const struct alerting_rule *rule;

    if (a->ruling)
        return;
    rule = alerting_period_rule(alerting, metric_of(a->rule), alert_rule_is_down(a->rule), &scope);
    if (!rule)
        return;
    a->severity = alerting_severity_name(rule->severity);
    if (is_held_back(rule, a))
        snprintf(a->silenced_by, sizeof(a->silenced_by), "rule:%.50s", rule->name);
}

void rules_mark(struct rules *r, struct alert *a)
{
    struct alerting_scope scope = scope_of(a);
    const char *id;

    rules_mark_period(r->alerting, a);
    scope.severity = alert_severity(a);
    id = silences_find(r->silences, &scope, a->detected_s, &a->is_planned);
    /* What a rule holds back stays so when the silence is over. */
    if (id && !a->silenced_by[0]) {
        snprintf(a->silenced_by, sizeof(a->silenced_by), "%.63s", id);
        r->has_silenced = true;
    }
    r->stats.silenced += a->silenced_by[0] != '\0';
}

/* --- catching up --- */

/* What was stored after `since_s` under a name. */
static int load_one(struct rules *r, const char *name, int64_t since_s, int64_t *ret_at_s)
{
    struct buf state;
    int ret;

    buf_init(&state, RULES_STATE_BYTES_MAX);
    ret = store_get_rule_state(r->store, name, ret_at_s, &state);
    if (ret == 0 && *ret_at_s > since_s)
        ret = ruleset_load(r->set, buf_slice(&state));
    buf_fini(&state);
    return ret;
}

static int find_state(struct rules *r, int64_t *ret_at_s)
{
    struct buf state;
    int ret;

    buf_init(&state, RULES_STATE_BYTES_MAX);
    ret = store_get_rule_state(r->store, RULES_STATE_NAME, ret_at_s, &state);
    buf_fini(&state);
    return ret;
}

static int load_state(struct rules *r)
{
    int64_t all_s = 0, news_s = 0;
    int ret = find_state(r, &all_s);

    /* The newer news come first: a rule takes the first state that it finds. */
    if (ret == 0)
        ret = load_one(r, RULES_NEWS_NAME, all_s, &news_s);
    if (ret == 0)
        ret = load_one(r, RULES_STATE_NAME, 0, &all_s);
    if (ret != -EBADMSG)
        return ret;
    log_warn("stored state of the rules is damaged, made anew", NULL);
    ruleset_free(&r->set);
    return ruleset_new(r->alerting, is_planned, r, &r->set);
}

/* Which hours and minutes of the past are told. */
static void plan(struct rules *r, int64_t closed_s)
{
    int64_t history_s = (int64_t)ruleset_history_h(r->set) * HOUR_S;
    int64_t next_s = ruleset_next_s(r->set);

    r->minute_s = next_s && next_s < closed_s ? next_s : closed_s;
    r->hours_end_s = r->hours_s = 0;
    if (!history_s || !closed_s)
        return;
    r->hours_end_s = (closed_s - MINUTES_TOLD_S) / HOUR_S * HOUR_S;
    r->hours_s = r->hours_end_s - history_s;
    if (r->hours_end_s < r->minute_s)
        r->minute_s = r->hours_end_s;
}

static int tell_hours(struct rules *r, uint64_t until_ns)
{
    int ret = 0;

    while (ret == 0 && r->hours_s < r->hours_end_s && clock_mono_ns() < until_ns) {
        ruleset_recall_begin(r->set, r->hours_s);
        ret = store_each_cell(r->store, ROLLUP_HOUR, r->hours_s, r->hours_s + HOUR_S, ruleset_add,
                              r->set);
        if (ret == 0)
            ret = ruleset_recall_end(r->set);
        r->hours_s += HOUR_S;
    }
    return ret;
}

static int tell_minutes(struct rules *r, int64_t closed_s, uint64_t until_ns)
{
    int ret = 0;

    while (ret == 0 && r->minute_s < closed_s && clock_mono_ns() < until_ns) {
        ret = rules_tell_minute(r->store, r->set, r->minute_s);
        if (ret == 0)
            ret = ruleset_close(r->set, true, NULL, NULL);
        r->minute_s += MINUTE_S;
    }
    return ret;
}

/* The hours begin with the first one there is. */
static int skip_empty_hours(struct rules *r)
{
    int64_t first_s = 0, last_s = 0;
    int ret = store_span(r->store, ROLLUP_HOUR, &first_s, &last_s);

    if (ret == 0 && first_s > r->hours_s)
        r->hours_s = first_s;
    return ret;
}

static int step(struct rules *r, int64_t closed_s, uint64_t until_ns)
{
    int ret = 0;

    switch (r->step) {
    case STEP_LOAD:
        ret = load_state(r);
        break;
    case STEP_HOURS:
        if (r->hours_end_s == 0) {
            plan(r, closed_s);
            ret = skip_empty_hours(r);
        }
        if (ret == 0)
            ret = tell_hours(r, until_ns);
        if (ret < 0 || r->hours_s < r->hours_end_s)
            return ret;
        break;
    case STEP_MINUTES:
        ret = tell_minutes(r, closed_s, until_ns);
        if (ret < 0 || r->minute_s < closed_s)
            return ret;
        break;
    case STEP_EPISODES:
        ret = rules_reconcile(r->store, r->set, closed_s);
        break;
    case STEP_DONE:
        break;
    }
    if (ret == 0)
        r->step++;
    return ret;
}

static int catch_up(struct rules *r, int64_t closed_s)
{
    uint64_t until_ns = clock_mono_ns() + SLICE_NS;
    int ret = 0;

    while (ret == 0 && r->step != STEP_DONE && clock_mono_ns() < until_ns)
        ret = step(r, closed_s, until_ns);
    if (ret < 0) {
        rules_rolled_back(r);
        return ret;
    }
    return r->step == STEP_DONE ? 0 : -EAGAIN;
}

/* --- life --- */

int rules_new(const struct config *config, struct store *store, struct rules **ret_rules)
{
    struct rules *r = calloc(1, sizeof(*r));
    int ret = r ? silences_new(&r->silences) : -ENOMEM;

    if (ret == 0) {
        r->config = config;
        r->store = store;
        r->has_silenced = true;
        ret = read_file(r);
    }
    if (ret == 0)
        *ret_rules = TAKE_PTR(r);
    rules_free(&r);
    return ret;
}

void rules_free(struct rules **rules)
{
    struct rules *r = *rules;

    if (!r)
        return;
    ruleset_free(&r->set);
    alerting_free(&r->alerting);
    silences_free(&r->silences);
    free(r);
    *rules = NULL;
}

int rules_turn(struct rules *r, int64_t closed_s)
{
    int ret = 0;

    if (clock_mono_ns() >= r->looked_mono_ns + LOOK_EVERY_NS || r->looked_mono_ns == 0) {
        reload(r);
        r->looked_mono_ns = clock_mono_ns();
        ret = read_silences(r, closed_s);
        if (ret == 0 && r->has_silenced && r->step == STEP_DONE)
            ret = rules_end_silences(r->store, r->silences, closed_s, &r->has_silenced);
    }
    return ret < 0 ? ret : catch_up(r, closed_s);
}

static int save(struct rules *r, int64_t at_s, bool news_only)
{
    struct buf state;
    int ret;

    buf_init(&state, RULES_STATE_BYTES_MAX);
    ret = news_only ? ruleset_save_news(r->set, &state) : ruleset_save(r->set, &state);
    if (ret == -ENOSPC) { /* minutes go on; after a start the rules know less */
        log_warn("state of the rules not kept: too large", "limit_bytes=%u",
                 (unsigned)RULES_STATE_BYTES_MAX);
        buf_fini(&state);
        return 0;
    }
    if (ret == 0)
        ret = store_put_rule_state(r->store, news_only ? RULES_NEWS_NAME : RULES_STATE_NAME, at_s,
                                   buf_slice(&state));
    if (!news_only)
        r->saved_bytes = state.len;
    buf_fini(&state);
    return ret;
}

int rules_close(struct rules *r, int64_t minute_s, ruleset_emit emit, void *ctx)
{
    int64_t every_s = r->saved_bytes > SAVE_LARGE_BYTES ? SAVE_LARGE_EVERY_S : SAVE_EVERY_S;
    unsigned news = 0;
    int ret;

    if (r->step != STEP_DONE)
        return -EAGAIN;
    ret = rules_tell_minute(r->store, r->set, minute_s);
    if (ret == 0)
        ret = rules_tell_news(r->store, r->set, minute_s, &news);
    if (ret == 0)
        ret = ruleset_close(r->set, false, emit, ctx);
    if (ret < 0 || !ruleset_has_rules(r->set))
        return ret;
    if ((minute_s + MINUTE_S) % every_s == 0)
        return save(r, minute_s + MINUTE_S, false);
    /* New values are told once: what was told must not be forgotten. */
    return news ? save(r, minute_s + MINUTE_S, true) : 0;
}

void rules_rolled_back(struct rules *r)
{
    struct ruleset *set = NULL;

    /* Without memory the old set goes on: it may have told what nobody heard. */
    if (ruleset_new(r->alerting, is_planned, r, &set) < 0)
        return;
    ruleset_free(&r->set);
    r->set = set;
    r->step = STEP_LOAD;
    r->hours_end_s = 0;
}

void rules_get_stats(const struct rules *r, struct rules_stats *ret_stats)
{
    *ret_stats = r->stats;
    ret_stats->rules = r->alerting->rules_count;
    ret_stats->groups = ruleset_groups(r->set);
    ret_stats->refused = ruleset_refused(r->set);
}
