/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/detect_stats.h"

#include "collector/profile.h"
#include "collector/rate.h"

#include <errno.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

#define MINUTE_S 60
#define ERROR_SHARE_MIN 0.05
/* Fewer calls than this part of the usual explain less of anything else. */
#define CALLS_DOWN 0.67
#define BAND_PCT 96.0
#define SEASON_WEEKS 2

struct stats {
    struct baseline *calls, *cost, *tokens; /* the calls learn first, the others read them */
    struct rate errors;
    struct latency latency;
};

int stats_new(struct stats **ret_stats)
{
    struct stats *st = calloc(1, sizeof(*st));
    int r = st ? baseline_new(NULL, &st->calls) : -ENOMEM;

    if (r == 0)
        r = baseline_new(st->calls, &st->cost);
    if (r == 0)
        r = baseline_new(st->calls, &st->tokens);
    if (r == 0)
        *ret_stats = TAKE_PTR(st);
    stats_free(&st);
    return r;
}

void stats_free(struct stats **stats)
{
    struct stats *st = *stats;

    if (!st)
        return;
    baseline_free(&st->cost);
    baseline_free(&st->tokens);
    baseline_free(&st->calls);
    latency_fini(&st->latency);
    free(st);
    *stats = NULL;
}

int stats_copy(const struct stats *from, struct stats **ret_stats)
{
    struct buf bytes;
    struct slice rest;
    int r;

    buf_init(&bytes, SIZE_MAX);
    r = stats_save(from, &bytes);
    rest = buf_slice(&bytes);
    if (r == 0)
        r = stats_load(&rest, ret_stats);
    buf_fini(&bytes);
    return r;
}

/* --- learning --- */

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

int stats_learn(struct stats *st, const struct baseline_settings *s, int64_t minute,
                const struct stats_minute *m, struct stats_hold hold)
{
    static const struct stats_minute nothing;
    const struct stats_minute *there = m ? m : &nothing;
    struct baseline_minute cost = cost_minute(&there->sums), calls = calls_minute(&there->sums);
    struct baseline_minute tokens = tokens_minute(st->tokens, &there->sums);
    struct rate_counts errors = error_counts(&there->sums);
    int r = baseline_learn(st->calls, s, minute, &calls, hold.all);

    if (r == 0)
        r = baseline_learn(st->cost, s, minute, &cost, hold.all);
    if (r == 0)
        r = baseline_learn(st->tokens, s, minute, &tokens, hold.all);
    rate_learn(&st->errors, minute, &errors, hold.all || hold.errors);
    return r < 0 ? r
                 : latency_learn(&st->latency, minute, &there->latency, hold.all || hold.latency);
}

/* --- judging --- */

/* The rules over sums. */
struct sum_rule {
    const struct baseline *baseline;
    bool down, is_shift;
};

static bool sum_rule_of(const struct stats *st, enum alert_rule rule, struct sum_rule *ret_rule)
{
    static const struct {
        size_t baseline;
        bool down, is_shift;
    } sums[] = {
        [ALERT_CALLS_SPIKE] = {offsetof(struct stats, calls), false, false},
        [ALERT_CALLS_DROP] = {offsetof(struct stats, calls), true, false},
        [ALERT_COST_SPIKE] = {offsetof(struct stats, cost), false, false},
        [ALERT_COST_DROP] = {offsetof(struct stats, cost), true, false},
        [ALERT_TOKENS_SPIKE] = {offsetof(struct stats, tokens), false, false},
        [ALERT_TOKENS_DROP] = {offsetof(struct stats, tokens), true, false},
        [ALERT_CALLS_SHIFT] = {offsetof(struct stats, calls), false, true},
        [ALERT_COST_SHIFT] = {offsetof(struct stats, cost), false, true},
    };
    const struct baseline *baseline;

    if ((size_t)rule >= sizeof(sums) / sizeof(sums[0]))
        return false;
    memcpy(&baseline, (const char *)st + sums[rule].baseline, sizeof(baseline));
    *ret_rule = (struct sum_rule){baseline, sums[rule].down, sums[rule].is_shift};
    return true;
}

static struct baseline_minute minute_of(const struct stats *st, const struct baseline *b,
                                        const struct rollup_sums *sums)
{
    return b == st->cost    ? cost_minute(sums)
           : b == st->calls ? calls_minute(sums)
                            : tokens_minute(b, sums);
}

static void judge_sum(const struct stats *st, const struct baseline_settings *s,
                      const struct sum_rule *rule, const struct stats_ask *ask,
                      struct finding *ret_finding)
{
    const struct stats_running *running = &ask->running;
    struct baseline_minute now;

    if (rule->is_shift) {
        *ret_finding = (struct finding){.is_calm = true};
        if (!running->minute)
            baseline_shift(rule->baseline, ret_finding);
        return;
    }
    if (!running->minute && !ask->is_active && baseline_is_quiet(rule->baseline, s, rule->down)) {
        *ret_finding = (struct finding){.is_calm = true};
        return;
    }
    if (running->minute)
        now = minute_of(st, rule->baseline, &running->minute->sums);
    baseline_judge(rule->baseline, s, rule->down, ask->fresh_min, running->minute ? &now : NULL,
                   running->seconds, ret_finding);
}

static void judge_errors(const struct stats *st, const struct baseline_settings *s,
                         const struct stats_running *running, struct finding *ret_finding)
{
    struct rate_counts now;

    if (running->minute)
        now = error_counts(&running->minute->sums);
    rate_judge(&st->errors, s, ERROR_SHARE_MIN, running->minute ? &now : NULL, running->seconds,
               ret_finding);
}

void stats_judge(const struct stats *st, const struct baseline_settings *s,
                 const struct stats_ask *ask, struct finding *ret_finding)
{
    const struct stats_running *running = &ask->running;
    struct sum_rule rule;

    if (sum_rule_of(st, ask->rule, &rule)) {
        judge_sum(st, s, &rule, ask, ret_finding);
        return;
    }
    if (ask->rule == ALERT_LATENCY_P95)
        latency_judge(&st->latency, s, ask->is_active,
                      running->minute ? &running->minute->latency : NULL, running->seconds,
                      ret_finding);
    else
        judge_errors(st, s, running, ret_finding);
}

bool stats_look(const struct stats *st, const struct baseline_settings *s, enum alert_rule rule,
                uint32_t window_s, struct finding *ret_finding)
{
    struct sum_rule sum;

    if (!sum_rule_of(st, rule, &sum))
        return false;
    for (unsigned i = 0; i < s->windows_count; i++)
        if (s->windows_min[i] * MINUTE_S >= window_s) { /* long ones may begin a little late */
            baseline_look(sum.baseline, s, i, ret_finding);
            return ret_finding->window_s != 0;
        }
    return false;
}

struct stats_amount stats_amount(const struct stats *st, const struct baseline_settings *s,
                                 const struct stats_ask *ask, const struct finding *f)
{
    struct finding own = {0};
    struct sum_rule sum;
    double scale = 1;

    if (!sum_rule_of(st, ask->rule, &sum)) {
        if (ask->rule == ALERT_LATENCY_P95)
            rate_judge(&st->latency.slow, s, 0, NULL, 0, &own);
        else
            judge_errors(st, s, &ask->running, &own);
        scale = own.samples;
    } else if (sum.is_shift) { /* by the hour: each has its own beginning */
        baseline_shift(sum.baseline, &own);
        scale = own.fires ? 3600.0 / own.window_s : 0;
    } else if (ask->running.minute) {
        judge_sum(st, s, &sum, ask, &own);
    } else {
        stats_look(st, s, ask->rule, f->window_s, &own);
    }
    return (struct stats_amount){.observed = scale * own.observed, .usual = scale * own.baseline};
}

bool stats_are_calls_down(const struct stats *st, const struct baseline_settings *s)
{
    struct finding f;

    for (unsigned i = 0; i < s->windows_count; i++) {
        baseline_look(st->calls, s, i, &f);
        if (f.observed < CALLS_DOWN * f.baseline)
            return true;
    }
    return false;
}

/* --- what an alert says of it --- */

void stats_facts(const struct stats *st, const struct baseline_settings *s, enum alert_rule rule,
                 struct stats_facts *ret_facts)
{
    struct sum_rule sum = {.baseline = st->calls};
    const bool is_sum = sum_rule_of(st, rule, &sum);
    const struct baseline *b = sum.baseline;
    const bool is_weekly = b->hours >= SEASON_WEEKS * 7 * 24;

    *ret_facts = (struct stats_facts){
        .method = !is_sum     ? "binomial vs bad hour of the last day"
                  : is_weekly ? "hour_of_week+local"
                              : "hour_of_day+local",
        .season = !is_sum     ? "none"
                  : is_weekly ? "weekly"
                              : "daily",
        .history_hours = b->age_min / 60.0,
        .hours = b->hours,
        .slot_samples = is_sum ? profile_weeks_seen(b, b->last_minute) : 0,
        .band_pct = is_sum ? BAND_PCT : 0,
        .confidence = baseline_confidence(b, s),
    };
}

double stats_ratio_least(const struct stats *st, const struct baseline_settings *s,
                         enum alert_rule rule, uint32_t *ret_window_s)
{
    uint32_t window_min = 0;
    struct sum_rule sum;
    double ratio;

    if (!sum_rule_of(st, rule, &sum) || sum.down || sum.is_shift)
        return 0;
    ratio = baseline_ratio_least(sum.baseline, s, &window_min);
    *ret_window_s = window_min * MINUTE_S;
    return ratio;
}

/* --- as bytes: five parts, each with its length before it --- */

static int begin_part(struct buf *out, size_t *ret_at)
{
    const uint32_t length = 0;

    *ret_at = out->len;
    return buf_append(out, slice_of(&length, sizeof(length)));
}

static void end_part(struct buf *out, size_t at)
{
    const uint32_t length = (uint32_t)(out->len - at - sizeof(length));

    memcpy(out->data + at, &length, sizeof(length));
}

static int take_part(struct slice *from, struct slice *ret_part)
{
    uint32_t length;

    if (from->len < sizeof(length))
        return -EBADMSG;
    memcpy(&length, from->data, sizeof(length));
    if (from->len - sizeof(length) < length)
        return -EBADMSG;
    *ret_part = slice_of(from->data + sizeof(length), length);
    *from = slice_of(ret_part->data + length, from->len - sizeof(length) - length);
    return 0;
}

static int save_baseline(const struct baseline *b, struct buf *out)
{
    size_t at;
    int r = begin_part(out, &at);

    if (r == 0)
        r = baseline_save(b, out);
    if (r == 0)
        end_part(out, at);
    return r;
}

static int load_baseline(struct slice *from, const struct baseline *calls, struct baseline **place)
{
    struct baseline *loaded = NULL;
    struct slice part;
    int r = take_part(from, &part);

    if (r == 0)
        r = baseline_load(part, calls, &loaded);
    if (r < 0)
        return r;
    *place = loaded;
    return 0;
}

static int save_rates(const struct stats *st, struct buf *out)
{
    size_t at;
    int r = begin_part(out, &at);

    if (r == 0)
        r = rate_save(&st->errors, out);
    if (r < 0)
        return r;
    end_part(out, at);
    r = begin_part(out, &at);
    if (r == 0)
        r = latency_save(&st->latency, out);
    if (r == 0)
        end_part(out, at);
    return r;
}

int stats_save(const struct stats *st, struct buf *out)
{
    int r = save_baseline(st->calls, out);

    if (r == 0)
        r = save_baseline(st->cost, out);
    if (r == 0)
        r = save_baseline(st->tokens, out);
    return r < 0 ? r : save_rates(st, out);
}

static int load_rates(struct slice *from, struct stats *st)
{
    struct slice part;
    int r = take_part(from, &part);

    if (r == 0)
        r = rate_load(part, &st->errors);
    if (r == 0)
        r = take_part(from, &part);
    return r < 0 ? r : latency_load(part, &st->latency);
}

int stats_load(struct slice *from, struct stats **ret_stats)
{
    struct stats *st = calloc(1, sizeof(*st));
    int r = st ? load_baseline(from, NULL, &st->calls) : -ENOMEM;

    if (r == 0)
        r = load_baseline(from, st->calls, &st->cost);
    if (r == 0)
        r = load_baseline(from, st->calls, &st->tokens);
    if (r == 0)
        r = load_rates(from, st);
    if (r == 0)
        *ret_stats = TAKE_PTR(st);
    stats_free(&st);
    return r;
}
