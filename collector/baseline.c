/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baseline.h"

#include "collector/first_day.h"
#include "collector/profile.h"
#include "collector/window.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define WEEK_MIN 10080.0
#define HOURS_FIRST 23 /* hours that must be there to fit the first day */
/* The local state: how long it remembers, and how long what it follows lasts. */
#define LOCAL_DECAY_MIN 360.0
#define LOCAL_WANDER_MIN 120.0
#define LOCAL_CLIP 3.0
#define LOCAL_MAX 2.5
#define LOCAL_MIN (-8.0)
#define LOCAL_FITS 1.0 /* beyond it the profile does not fit, and shows no noise */
#define ANEW_MIN 15    /* so long it must look so: shorter ones see it by chance */
#define FREEZE_MAX_MIN 90
#define EXCURSION_SIGMAS 4.0
#define EXCURSION_END_SIGMAS 2.5
#define NOISE_PRIOR 0.02
#define NOISE_LEAST 0.008 /* no profile is known better than to 9% */
#define NOISE_CALLS_LEAST 3.0
#define NOISE_PRIOR_MIN 120.0
#define SHIFT_MAX 3.0
#define SHIFT_REMEMBER_PARTS (BASELINE_DAY_MIN / SHIFT_PART_MIN)

int baseline_new(const struct baseline *calls, struct baseline **ret_baseline)
{
    struct baseline *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    b->calls = calls;
    b->local.wander = (float)NOISE_PRIOR;
    shift_init(&b->shift);
    for (int i = 0; i < BASELINE_WINDOWS_MAX; i++) {
        b->windows[i].noise = (float)NOISE_PRIOR;
        tail_init(&b->windows[i].up);
        tail_init(&b->windows[i].down);
    }
    *ret_baseline = b;
    return 0;
}

void baseline_free(struct baseline **baseline)
{
    if (!*baseline)
        return;
    first_day_free(&(*baseline)->first);
    free((*baseline)->fine);
    free((*baseline)->of_week);
    shift_fini(&(*baseline)->shift);
    free(*baseline);
    *baseline = NULL;
}

/* --- learning --- */

/* Where next to nothing is expected next to nothing is learned of the noise. */
static bool tells_noise(const struct baseline *b, double expected)
{
    return expected >= NOISE_CALLS_LEAST * profile_mean_mark(b) &&
           fabs((double)b->local.state) <= LOCAL_FITS;
}

static double learning_step(const struct baseline_window *w)
{
    return fmax(1.0 / (w->learned + NOISE_PRIOR_MIN), 1.0 / WEEK_MIN);
}

static void learn_noise(struct baseline_window *w, const struct window_look *k)
{
    double floor_variance = k->variance - (double)w->noise;
    double z = fmin(fmax(k->plain, -3.0), 3.0);

    w->noise +=
        (float)(learning_step(w) * (z * z * k->variance - floor_variance - (double)w->noise));
    w->noise = fmaxf(w->noise, (float)NOISE_LEAST);
}

/* How far the log rate wanders from the profile, told by a short window. */
static void learn_wander(struct baseline *b, const struct baseline_window *w,
                         const struct window_span *span)
{
    double mark = profile_mean_mark(b), floor_variance, residual, limit;

    if (!tells_noise(b, span->expected))
        return;
    floor_variance = profile_sampling_variance(b, span->expected);
    residual = log((span->sum + mark / 2 + 1e-12) / (span->expected + mark / 2 + 1e-12));
    limit = 9.0 * ((double)b->local.wander + floor_variance);
    b->local.wander += (float)(learning_step(w) * (fmin(residual * residual, limit) -
                                                   floor_variance - (double)b->local.wander));
    b->local.wander = fminf(fmaxf(b->local.wander, (float)NOISE_LEAST), 1);
}

/* What went on is over: things are on their way to what the profile says. */
static bool find_anew(struct baseline *b, int64_t minute)
{
    struct baseline_local *l = &b->local;
    struct window_span span;
    double half = profile_mean_mark(b) / 2 + 1e-12, now;

    if (fabs((double)l->state) <= LOCAL_FITS)
        return false;
    span = window_span(b, minute, ANEW_MIN);
    now = log((span.sum + half) / (span.expected + half));
    if (l->state < 0 ? now <= (double)l->state + LOCAL_FITS : now >= (double)l->state - LOCAL_FITS)
        return false;
    l->state = 0;
    l->variance = l->wander;
    return true;
}

/* In units of the expectation, not in logarithms: minutes without a call say what
 * they are worth. */
static void follow_local(struct baseline *b, int64_t minute)
{
    struct baseline_local *l = &b->local;
    size_t place = (size_t)minute % BASELINE_MINUTES;
    double mark = profile_mean_mark(b), state = (double)l->state * exp(-1.0 / LOCAL_DECAY_MIN);
    double expected = (double)b->expected.minutes[place] * exp(state);
    double prior = (double)l->variance + 2.0 * (double)l->wander / LOCAL_WANDER_MIN;
    double calls = mark > 0 ? fmax(expected / mark, 1e-3) : 1e-3;
    /* Minutes that come and go say less of where the rate is than their calls would. */
    double ragged = fmax((double)(b->windows[0].noise - l->wander), 0);
    double total = prior + (1.0 + profile_mark_cv2(b)) / calls + ragged;
    double innovation = expected > 0 ? (double)b->sums.minutes[place] / expected - 1.0 : 0;
    double limit = LOCAL_CLIP * sqrt(total), gain = prior / total;

    state += gain * fmin(fmax(innovation, -limit), limit);
    l->state = (float)fmin(fmax(state, LOCAL_MIN), LOCAL_MAX);
    l->variance = (float)fmin((1.0 - gain) * prior, (double)l->wander);
}

static void learn_window(const struct baseline *b, struct baseline_window *w,
                         const struct window_look *k, int64_t minute, uint32_t window_min)
{
    if (tells_noise(b, k->expected))
        learn_noise(w, k);
    tail_learn(&w->up, k->plain, minute, window_min);
    tail_learn(&w->down, -k->plain_down, minute, window_min);
    w->learned += w->learned < UINT16_MAX;
}

/* An excursion holds the local state where it was before; one that lasts becomes
 * the new normal. `window_min`: the shortest window that is beyond, 0: none is. */
static void learn_local(struct baseline *b, int64_t minute, uint32_t window_min)
{
    struct baseline_local *l = &b->local;
    int cliff = minute % 60 == 0 ? profile_cliff(b, minute) : 0;

    /* What was learned before a cliff says nothing of what is beyond it. */
    if (cliff) {
        l->state = 0;
        l->variance = l->wander;
        l->cliff = (uint32_t)minute;
        l->cliff_up = cliff > 0;
    }
    if (window_min && l->frozen_min == 0)
        l->state = (float)window_state(b, minute - window_min);
    if (window_min)
        l->frozen_min += l->frozen_min < UINT8_MAX;
    else
        l->frozen_min = 0;
    if ((!window_min || l->frozen_min > FREEZE_MAX_MIN) && !find_anew(b, minute))
        follow_local(b, minute);
}

static bool is_unusual(const struct window_look *k)
{
    return k->plain > EXCURSION_SIGMAS || k->plain_down < -EXCURSION_SIGMAS;
}

/* The shortest window that says that something is going on now; 0: none. Long ones
 * remember what is over. */
static uint32_t find_excursion(const struct baseline *b, const struct baseline_settings *s)
{
    double sigmas = b->local.frozen_min ? EXCURSION_END_SIGMAS : EXCURSION_SIGMAS;

    for (unsigned i = 0; i < 2 && i < s->windows_count; i++)
        if (((double)b->windows[i].z > sigmas || (double)b->windows[i].z_down < -sigmas) &&
            s->windows_min[i] < BASELINE_MINUTES)
            return s->windows_min[i];
    return 0;
}

static bool is_held(const struct baseline *b)
{
    return b->local.frozen_min && b->local.frozen_min <= FREEZE_MAX_MIN;
}

static void learn_windows(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                          double sum, uint32_t minutes_there, bool hold)
{
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    struct window_look looks[BASELINE_WINDOWS_MAX];
    struct window_span spans[BASELINE_WINDOWS_MAX];
    double log_expected;
    uint32_t beyond_min;

    profile_turn(b, minute);
    log_expected = profile_log_expected(b, &b->hour, minute);
    window_enter(b, minute, sum, exp(log_expected));
    for (unsigned i = 0; i < s->windows_count; i++) {
        struct baseline_window *w = &b->windows[i];

        w->z = w->z_down = 0;
        if (minutes_there < s->windows_min[i])
            continue;
        spans[i] = window_span(b, minute, s->windows_min[i]);
        looks[i] = window_look(b, w, &spans[i], log_expected, &b->hour);
        w->z = (float)looks[i].z;
        w->z_down = (float)looks[i].z_down;
    }
    beyond_min = find_excursion(b, s);
    for (unsigned i = 0; i < s->windows_count && !hold; i++) {
        if (minutes_there < s->windows_min[i] || is_unusual(&looks[i]) ||
            (beyond_min && b->local.frozen_min <= FREEZE_MAX_MIN))
            continue;
        learn_window(b, &b->windows[i], &looks[i], minute, s->windows_min[i]);
        if (i == recent)
            learn_wander(b, &b->windows[i], &spans[i]);
    }
    if (!hold)
        learn_local(b, minute, beyond_min);
    window_enter_state(b, minute);
}

/* The first day again, minute by minute, against what all of it taught. */
static int go_through_first_day(struct baseline *b, const struct baseline_settings *s)
{
    const struct baseline_ring latest = b->sums;
    double mark = profile_mean_mark(b);
    uint32_t there = 0;

    for (unsigned h = 0; h < b->first->hours; h++) {
        float sums[60];
        int64_t minute;
        uint32_t minutes = first_day_hour(b->first, h, mark, sums, &minute);

        for (uint32_t i = 0; i < minutes; i++) {
            learn_windows(b, s, minute + i, (double)sums[i], ++there, false);
            profile_learn_recurring(b, minute + i);
        }
    }
    b->sums = latest;
    first_day_free(&b->first);
    return profile_survey_day(b);
}

static int end_first_day(struct baseline *b, const struct baseline_settings *s, int64_t minute)
{
    int r = b->hour_minutes ? first_day_close_hour(b->first, b, minute) : 0;

    if (r == 0)
        r = shift_begin(&b->shift);
    if (r == 0)
        r = profile_fit_first_day(b, minute);
    if (r == 0)
        r = profile_survey_day(b);
    return r < 0 ? r : go_through_first_day(b, s);
}

/* Too much of it was held: another day is needed. */
static int begin_again(struct baseline *b, int64_t minute)
{
    first_day_free(&b->first);
    b->age_min = b->hours = 0;
    b->has_first = 0;
    return first_day_new(minute + 1, &b->first);
}

/* The level moves, the local state need not make up for it any longer. */
static void move_level(struct baseline *b, double by)
{
    b->level += (float)by;
    b->local.state -= (float)by;
    b->hour.number = 0;
    window_move(b, by);
}

/* The level moved because of what was found; where it was is remembered. */
static void step_level(struct baseline *b, double by)
{
    struct baseline_local *l = &b->local;
    double step = (l->step_parts ? l->step : 0) + by * BASELINE_STEP_UNIT;

    l->step = (int8_t)lround(fmin(fmax(step, INT8_MIN), INT8_MAX));
    l->step_parts = SHIFT_REMEMBER_PARTS;
    move_level(b, by);
}

/* A quarter of an hour is over. */
static void judge_shift(struct baseline *b, const struct baseline_settings *s)
{
    const struct shift_context context = {
        .mark = profile_mean_mark(b),
        .spread = 1.0 + profile_mark_cv2(b),
        .ragged = fmax((double)(b->windows[0].noise - b->local.wander), 0),
        .weeks = b->age_min / WEEK_MIN,
        .target_weeks = s->target_weeks,
        .ratio_min = s->ratio_min,
    };

    b->shifted = shift_close(&b->shift, &context);
    b->local.step_parts -= b->local.step_parts > 0;
    if (b->shifted.direction)
        step_level(b,
                   fmin(fmax(log((double)b->shifted.sum / (double)b->shifted.expected), -SHIFT_MAX),
                        SHIFT_MAX));
}

/* `minute` is the last one of its hour. */
static int close_hour(struct baseline *b, int64_t minute)
{
    int r = 0;

    if (b->first)
        r = first_day_close_hour(b->first, b, minute);
    if (r == -ENOSPC)
        r = begin_again(b, minute);
    profile_turn(b, minute);
    profile_close_hour(b, minute);
    if (r == 0 && b->fitted_hour)
        r = profile_survey_day(b);
    b->hour_sum = b->hour_count = 0;
    b->hour_minutes = b->hour_held = 0;
    return r;
}

static void add_to_hour(struct baseline *b, const struct baseline_minute *m, bool hold)
{
    b->hour_sum += m->sum;
    b->hour_count += m->count;
    b->hour_minutes++;
    b->hour_held += hold;
}

int baseline_learn(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                   const struct baseline_minute *m, bool hold)
{
    int r = 0;

    if (minute <= 0 || minute >= UINT32_MAX || (b->last_minute && minute != b->last_minute + 1))
        return -EINVAL;
    if (!b->last_minute)
        r = first_day_new(minute, &b->first);
    if (r < 0)
        return r;
    b->last_minute = (uint32_t)minute;
    b->age_min++;
    b->shifted = (struct shift_found){0};
    if (!hold && (!b->fitted_hour || !is_held(b)))
        profile_learn_marks(b, m);
    if (b->fitted_hour) {
        learn_windows(b, s, minute, (double)m->sum, b->age_min, hold);
        if (!hold)
            profile_learn_recurring(b, minute);
    } else {
        window_enter(b, minute, (double)m->sum, 0);
        first_day_note(b->first, minute, (double)m->sum);
    }
    add_to_hour(b, m, hold);
    if (b->fitted_hour)
        shift_add(&b->shift, (double)m->sum,
                  (double)b->expected.minutes[(size_t)minute % BASELINE_MINUTES], (double)m->count,
                  hold);
    if ((minute + 1) % SHIFT_PART_MIN == 0)
        judge_shift(b, s);
    if ((minute + 1) % 60 == 0)
        r = close_hour(b, minute);
    if (r == 0 && b->first && b->age_min >= BASELINE_DAY_MIN && b->hours >= HOURS_FIRST)
        r = end_first_day(b, s, minute);
    return r;
}

size_t baseline_bytes(const struct baseline *b)
{
    size_t bytes = sizeof(*b) + (b->of_week ? 168 : 0) +
                   (b->shift.starts ? SHIFT_STARTS * sizeof(*b->shift.starts) : 0) +
                   (b->fine ? sizeof(*b->fine) : 0);

    if (b->first)
        bytes += sizeof(*b->first) + b->first->count * sizeof(float) +
                 (b->first->hour ? 60 * sizeof(float) : 0);
    return bytes;
}
