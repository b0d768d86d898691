/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/detect.h"

#include "collector/baseline.h"
#include "collector/context.h"
#include "collector/latency.h"
#include "collector/rate.h"
#include "collector/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define MINUTE_S 60
/* An update is told when the deviation grew by this factor, not more often than that. */
#define UPDATE_GROWTH 1.5
#define UPDATE_EVERY_S 300
#define ERROR_SHARE_MIN 0.05
/* Fewer calls than this part of the usual explain less of anything else. */
/* A shift within this time of another alert on the series is what that one told. */
#define SHIFT_QUIET_S (12 * 3600)
#define CALLS_DOWN 0.67

struct episode {
    bool is_active;
    bool was_told;
    uint32_t calm_minutes;
    int64_t ended_s; /* the one before, 0 = none */
    int64_t told_s;
    double told_ratio;
    struct alert last; /* as told last */
};

/* What the minute being told has for a series. */
struct pending {
    bool is_there;
    struct rollup_sums sums;
    struct sketch latency;
};

struct series {
    UT_hash_handle hh;
    char org[64], feature[96], provider[64], model[160];
    struct baseline *cost, *calls, *tokens;
    struct rate errors;
    struct latency latency;
    struct pending pending;
    bool is_synthetic; /* the last calls were */
    struct episode episodes[ALERT_RULE__COUNT];
    char key[];
};

struct detect {
    struct baseline_settings settings;
    uint32_t resolve_after_min;
    struct series *series;
    struct context *context;
    int64_t last_minute_s; /* the last one closed, 0 = none */
    int64_t minute_s;      /* being told, 0 = none */
    uint64_t refused;
};

int detect_new(const struct config_detect *settings, struct detect **ret_detect)
{
    struct detect *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    if (context_new(&d->context) < 0) {
        free(d);
        return -ENOMEM;
    }
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

static void series_free(struct series *s)
{
    baseline_free(&s->cost);
    baseline_free(&s->calls);
    baseline_free(&s->tokens);
    latency_fini(&s->latency);
    sketch_fini(&s->pending.latency);
    free(s);
}

void detect_free(struct detect **detect)
{
    struct series *s, *next;

    if (!*detect)
        return;
    HASH_ITER(hh, (*detect)->series, s, next)
    {
        HASH_DEL((*detect)->series, s);
        series_free(s);
    }
    context_free(&(*detect)->context);
    free(*detect);
    *detect = NULL;
}

uint64_t detect_series(const struct detect *d)
{
    return HASH_COUNT(d->series);
}

uint64_t detect_refused(const struct detect *d)
{
    return d->refused;
}

/* --- telling a minute --- */

static int series_new(const struct store_series_name *n, const char *key, size_t key_len,
                      struct series **ret_series)
{
    struct series *s = calloc(1, sizeof(*s) + key_len);
    int r = s ? baseline_new(&s->cost) : -ENOMEM;

    if (r == 0)
        r = baseline_new(&s->calls);
    if (r == 0)
        r = baseline_new(&s->tokens);
    if (r < 0) {
        if (s)
            series_free(s);
        return r;
    }
    memcpy(s->key, key, key_len);
    text_copy(s->org, sizeof(s->org), n->org);
    text_copy(s->feature, sizeof(s->feature), n->feature);
    text_copy(s->provider, sizeof(s->provider), n->provider);
    text_copy(s->model, sizeof(s->model), n->model);
    *ret_series = s;
    return 0;
}

static int series_of(struct detect *d, const struct store_series_name *n,
                     struct series **ret_series)
{
    char key[512];
    int len = snprintf(key, sizeof(key), "%s%c%s%c%s%c%s", n->org, 0, n->feature, 0, n->provider, 0,
                       n->model);
    size_t key_len = (size_t)len < sizeof(key) ? (size_t)len : sizeof(key) - 1;
    struct series *s;
    int r;

    HASH_FIND(hh, d->series, key, key_len, s);
    if (!s) {
        if (HASH_COUNT(d->series) >= DETECT_SERIES_MAX)
            return -ENOSPC;
        r = series_new(n, key, key_len, &s);
        if (r < 0)
            return r;
        HASH_ADD_KEYPTR(hh, d->series, s->key, key_len, s);
    }
    *ret_series = s;
    return 0;
}

static void forget_pending(struct detect *d)
{
    for (struct series *s = d->series; s; s = s->hh.next) {
        s->pending.is_there = false;
        s->pending.sums = (struct rollup_sums){0};
        sketch_reset(&s->pending.latency);
    }
    d->minute_s = 0;
}

int detect_begin(struct detect *d, int64_t minute_s)
{
    if (minute_s % MINUTE_S || (d->last_minute_s && minute_s != d->last_minute_s + MINUTE_S))
        return -EINVAL;
    forget_pending(d);
    d->minute_s = minute_s;
    return 0;
}

int detect_add(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct detect *d = ctx;
    struct series *s = NULL;
    int r = series_of(d, name, &s);

    if (r == -ENOSPC) {
        d->refused++;
        return 0;
    }
    if (r < 0)
        return r;
    s->pending.is_there = true;
    rollup_sums_add(&s->pending.sums, &cell->sums);
    return sketch_merge(&s->pending.latency, &cell->latency);
}

static struct baseline_minute cost_minute(const struct rollup_sums *s)
{
    return (struct baseline_minute){
        .count = (float)(s->calls - s->cost_unknown),
        .sum = (float)(1e-9 * (double)s->cost_expected_nanousd),
        .squares = (float)s->cost_squares,
    };
}

static struct baseline_minute calls_minute(const struct rollup_sums *s)
{
    float calls = (float)s->calls;

    return (struct baseline_minute){.count = calls, .sum = calls, .squares = calls};
}

/* The roll-ups have no squares of tokens: the minute's own mean stands for them, set
 * against the usual one. */
static struct baseline_minute tokens_minute(const struct baseline *b, const struct rollup_sums *s)
{
    uint64_t unknown = s->input_unknown > s->output_unknown ? s->input_unknown : s->output_unknown;
    double count = (double)(s->calls - unknown), sum = (double)(s->input_total + s->output_total);
    double mark = baseline_mean_mark(b), off = sum - count * mark;

    return (struct baseline_minute){
        .count = (float)count,
        .sum = (float)sum,
        .squares = (float)(count <= 0 ? 0
                           : mark > 0 ? count * mark * mark + off * off
                                      : sum * sum / count),
    };
}

static struct rate_counts error_counts(const struct rollup_sums *s)
{
    return (struct rate_counts){.calls = (float)s->calls, .hits = (float)s->errors};
}

/* --- judging --- */

/* A minute that is still running; NULL members of it: judge what was learned. */
struct running {
    bool is_there;
    uint32_t seconds;
};

/* Since the episode before ended. */
static uint32_t fresh_minutes(const struct detect *d, const struct episode *e)
{
    int64_t minutes = (d->minute_s - e->ended_s) / MINUTE_S;

    return e->is_active || e->ended_s == 0 || minutes > UINT32_MAX ? UINT32_MAX : (uint32_t)minutes;
}

/* The rules over sums. */
struct sum_rule {
    struct baseline *baseline;
    struct baseline_minute minute;
    bool down, is_shift;
};

static bool sum_rule_of(const struct series *s, enum alert_rule rule, struct sum_rule *ret_rule)
{
    const struct rollup_sums *sums = &s->pending.sums;

    switch (rule) {
    case ALERT_CALLS_SPIKE:
    case ALERT_CALLS_DROP:
        *ret_rule =
            (struct sum_rule){s->calls, calls_minute(sums), rule == ALERT_CALLS_DROP, false};
        return true;
    case ALERT_COST_SPIKE:
    case ALERT_COST_DROP:
        *ret_rule = (struct sum_rule){s->cost, cost_minute(sums), rule == ALERT_COST_DROP, false};
        return true;
    case ALERT_TOKENS_SPIKE:
    case ALERT_TOKENS_DROP:
        *ret_rule = (struct sum_rule){s->tokens, tokens_minute(s->tokens, sums),
                                      rule == ALERT_TOKENS_DROP, false};
        return true;
    case ALERT_CALLS_SHIFT:
        *ret_rule = (struct sum_rule){.baseline = s->calls, .is_shift = true};
        return true;
    case ALERT_COST_SHIFT:
        *ret_rule = (struct sum_rule){.baseline = s->cost, .is_shift = true};
        return true;
    default:
        return false;
    }
}

/* Told, and not over for long. */
static bool was_lately(const struct detect *d, const struct series *s, enum alert_rule rule)
{
    const struct episode *e = &s->episodes[rule];

    return e->is_active || (e->ended_s && d->minute_s < e->ended_s + SHIFT_QUIET_S);
}

static bool are_calls_down(const struct detect *d, const struct series *s)
{
    struct finding f;

    if (s->episodes[ALERT_CALLS_DROP].is_active)
        return true;
    for (unsigned i = 0; i < d->settings.windows_count; i++) {
        baseline_look(s->calls, &d->settings, i, &f);
        if (f.observed < CALLS_DOWN * f.baseline)
            return true;
    }
    return false;
}

/* What another rule tells already is not told again. */
static bool is_explained(const struct detect *d, const struct series *s, enum alert_rule rule)
{
    switch (rule) {
    case ALERT_COST_DROP:
        return are_calls_down(d, s);
    case ALERT_TOKENS_DROP:
        return are_calls_down(d, s) || s->episodes[ALERT_COST_DROP].is_active;
    case ALERT_TOKENS_SPIKE:
        return s->episodes[ALERT_CALLS_SPIKE].is_active || s->episodes[ALERT_COST_SPIKE].is_active;
    case ALERT_CALLS_SHIFT:
    case ALERT_COST_SHIFT:
        for (int other = ALERT_CALLS_SPIKE; other <= ALERT_COST_SHIFT; other++)
            if (was_lately(d, s, (enum alert_rule)other))
                return true;
        return false;
    default:
        return false;
    }
}

static void judge_sum(const struct detect *d, const struct series *s, enum alert_rule rule,
                      const struct sum_rule *sum, const struct running *running,
                      struct finding *ret_finding)
{
    const bool live = running->is_there;
    const struct episode *e = &s->episodes[rule];

    *ret_finding = (struct finding){.is_calm = true};
    /* A generator that ends is no outage; and a running minute is not over. */
    if (sum->down && (s->is_synthetic || live))
        return;
    if (!e->is_active && is_explained(d, s, rule))
        return;
    if (sum->is_shift) {
        if (!live && !s->is_synthetic)
            baseline_shift(sum->baseline, ret_finding);
        return;
    }
    baseline_judge(sum->baseline, &d->settings, sum->down, fresh_minutes(d, e),
                   live ? &sum->minute : NULL, running->seconds, ret_finding);
}

static int judge_rule(const struct detect *d, const struct series *s, enum alert_rule rule,
                      const struct running *running, struct finding *ret_finding)
{
    struct rate_counts errors = error_counts(&s->pending.sums);
    const bool live = running->is_there;
    struct sum_rule sum;

    if (sum_rule_of(s, rule, &sum)) {
        judge_sum(d, s, rule, &sum, running, ret_finding);
        return 0;
    }
    if (rule == ALERT_LATENCY_P95)
        return latency_judge(&s->latency, &d->settings, s->episodes[rule].is_active,
                             live ? &s->pending.latency : NULL, running->seconds, ret_finding);
    rate_judge(&s->errors, &d->settings, ERROR_SHARE_MIN, live ? &errors : NULL, running->seconds,
               ret_finding);
    return 0;
}

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

static void fill_alert(const struct detect *d, const struct series *s, enum alert_rule rule,
                       const struct finding *f, int64_t end_s, struct alert *a)
{
    struct sum_rule sum = {.baseline = s->calls};
    const bool is_sum = sum_rule_of(s, rule, &sum);
    const struct baseline *b = sum.baseline;

    a->rule = rule;
    memcpy(a->org, s->org, sizeof(a->org));
    memcpy(a->feature, s->feature, sizeof(a->feature));
    memcpy(a->provider, s->provider, sizeof(a->provider));
    memcpy(a->model, s->model, sizeof(a->model));
    a->window_end_s = end_s;
    a->window_start_s = end_s - f->window_s;
    a->observed = f->observed;
    a->samples = (uint64_t)llround(f->samples);
    a->baseline = f->baseline;
    a->baseline_lower = f->lower;
    a->baseline_upper = f->upper;
    a->has_sigmas = f->sigmas != 0;
    a->sigmas = f->sigmas;
    a->method = !is_sum                  ? "binomial vs bad hour of the last day"
                : b->hours >= 2 * 7 * 24 ? "hour_of_week+local"
                                         : "hour_of_day+local";
    a->history_hours = b->age_min / 60.0;
    a->baseline_samples = b->hours;
    a->confidence = baseline_is_calibrated(b) ? "calibrated" : "provisional";
    a->synthetic = s->is_synthetic;
    a->detected_s = end_s;
    a->unusual = context_score(d->context, s->org, s->feature);
    fill_evidence(d, f, a);
}

static int tell(struct episode *e, enum alert_status status, bool quiet, detect_emit emit,
                void *ctx)
{
    e->last.status = status;
    alert_number(&e->last);
    e->told_s = e->last.detected_s;
    e->told_ratio = e->last.baseline > 0 ? e->last.observed / e->last.baseline : 0;
    if (quiet)
        return 0;
    e->was_told = true;
    return emit(ctx, &e->last);
}

static bool has_grown(const struct episode *e, const struct finding *f, int64_t end_s)
{
    double ratio = f->baseline > 0 ? f->observed / f->baseline : 0;

    return f->fires && end_s >= e->told_s + UPDATE_EVERY_S && ratio > e->told_ratio * UPDATE_GROWTH;
}

/* Firing, updated, resolved: one step for one look. */
static int step_episode(const struct detect *d, struct series *s, enum alert_rule rule,
                        const struct finding *f, int64_t minute_s, int64_t end_s, bool may_end,
                        bool quiet, detect_emit emit, void *ctx)
{
    struct episode *e = &s->episodes[rule];

    if (!e->is_active) {
        if (!f->fires)
            return 0;
        *e = (struct episode){.is_active = true};
        fill_alert(d, s, rule, f, end_s, &e->last);
        e->last.starts_s = minute_s;
        alert_name(&e->last);
        return tell(e, ALERT_FIRING, quiet, emit, ctx);
    }
    if (has_grown(e, f, end_s)) {
        fill_alert(d, s, rule, f, end_s, &e->last);
        return tell(e, ALERT_UPDATED, quiet, emit, ctx);
    }
    if (!may_end)
        return 0;
    e->calm_minutes = f->is_calm && !f->fires ? e->calm_minutes + 1 : 0;
    if (e->calm_minutes < d->resolve_after_min)
        return 0;
    e->is_active = false;
    e->ended_s = end_s;
    e->last.ends_s = end_s;
    e->last.detected_s = end_s;
    if (f->window_s)
        fill_alert(d, s, rule, f, end_s, &e->last);
    return tell(e, ALERT_RESOLVED, quiet, emit, ctx);
}

static int judge_series(const struct detect *d, struct series *s, int64_t minute_s,
                        const struct running *running, bool quiet, detect_emit emit, void *ctx)
{
    int64_t end_s = minute_s + (running->is_there ? running->seconds : MINUTE_S);

    for (int rule = 0; rule < ALERT_RULE__COUNT; rule++) {
        struct finding f = {0};
        int r = judge_rule(d, s, (enum alert_rule)rule, running, &f);

        if (r == 0)
            r = step_episode(d, s, (enum alert_rule)rule, &f, minute_s, end_s, !running->is_there,
                             quiet, emit, ctx);
        if (r < 0)
            return r;
    }
    return 0;
}

static int learn_series(struct detect *d, struct series *s, int64_t minute)
{
    const struct rollup_sums *sums = &s->pending.sums;
    struct baseline_minute cost = cost_minute(sums), calls = calls_minute(sums);
    struct baseline_minute tokens = tokens_minute(s->tokens, sums);
    struct rate_counts errors = error_counts(sums);
    int r = baseline_learn(s->cost, &d->settings, minute, &cost);

    if (r == 0)
        r = baseline_learn(s->calls, &d->settings, minute, &calls);
    if (r == 0)
        r = baseline_learn(s->tokens, &d->settings, minute, &tokens);
    rate_learn(&s->errors, minute, &errors, s->episodes[ALERT_ERRORS_RATE].is_active);
    if (sums->calls)
        s->is_synthetic = sums->synthetic == sums->calls;
    return r < 0 ? r
                 : latency_learn(&s->latency, minute, &s->pending.latency,
                                 s->episodes[ALERT_LATENCY_P95].is_active);
}

static int close_minute(struct detect *d, int64_t minute_s, bool quiet, detect_emit emit, void *ctx)
{
    const struct running over = {0};

    for (struct series *s = d->series; s; s = s->hh.next) {
        int r = context_add(d->context, s->org, s->feature,
                            1e-9 * (double)s->pending.sums.cost_expected_nanousd);

        if (r < 0)
            return r;
    }
    context_close(d->context, minute_s);
    for (struct series *s = d->series; s; s = s->hh.next) {
        int r = learn_series(d, s, minute_s / MINUTE_S);

        if (r == 0)
            r = judge_series(d, s, minute_s, &over, quiet, emit, ctx);
        if (r < 0)
            return r;
    }
    d->last_minute_s = minute_s;
    return 0;
}

int detect_close(struct detect *d, bool quiet, detect_emit emit, void *ctx)
{
    int64_t minute_s = d->minute_s;
    int r;

    if (minute_s == 0)
        return -EINVAL;
    r = close_minute(d, minute_s, quiet, emit, ctx);
    forget_pending(d);
    return r;
}

int detect_peek(struct detect *d, uint32_t elapsed_s, detect_emit emit, void *ctx)
{
    const struct running running = {.is_there = true, .seconds = elapsed_s};
    int r = 0;

    if (d->minute_s == 0 || elapsed_s == 0 || elapsed_s >= MINUTE_S)
        return -EINVAL;
    for (struct series *s = d->series; s && r == 0; s = s->hh.next)
        if (s->pending.is_there)
            r = judge_series(d, s, d->minute_s, &running, false, emit, ctx);
    forget_pending(d);
    return r;
}

/* --- episodes after a quiet learning --- */

static struct episode *find_episode(const struct detect *d, const char *fingerprint)
{
    for (struct series *s = d->series; s; s = s->hh.next)
        for (int rule = 0; rule < ALERT_RULE__COUNT; rule++)
            if (s->episodes[rule].is_active &&
                strcmp(s->episodes[rule].last.fingerprint, fingerprint) == 0)
                return &s->episodes[rule];
    return NULL;
}

bool detect_has_episode(const struct detect *d, const char *fingerprint)
{
    return find_episode(d, fingerprint) != NULL;
}

void detect_set_told(struct detect *d, const char *fingerprint)
{
    struct episode *e = find_episode(d, fingerprint);

    if (e)
        e->was_told = true;
}

void detect_drop_untold(struct detect *d)
{
    for (struct series *s = d->series; s; s = s->hh.next)
        for (int rule = 0; rule < ALERT_RULE__COUNT; rule++)
            if (!s->episodes[rule].was_told)
                s->episodes[rule].is_active = false;
}
