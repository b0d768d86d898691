/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baseline.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define WEEK_MIN 10080.0
#define HOURS_FIRST 23 /* hours that must be there to fit the first day */
#define HOUR_MIN_LEAST 15
/* The local state: how long it remembers, and how long what it follows lasts. */
#define LOCAL_DECAY_MIN 360.0
#define LOCAL_WANDER_MIN 120.0
#define LOCAL_CLIP 3.0
#define LOCAL_MAX 5.0
#define FREEZE_MAX_MIN 90
#define EXCURSION_SIGMAS 4.0
#define EXCURSION_END_SIGMAS 2.5
/* Windows overlap, and the tail errs on the safe side: measured, not derived. */
#define WINDOWS_INDEPENDENT 0.5
#define SLOT_UNIT 1024.0
#define SLOT_STEP_LEAST 0.15
#define MINUTE_STEP_LEAST 0.04
#define CLIFF 1.0 /* hours that differ by more are not blended, and one week is no proof */
#define CLIFF_WEEKS 3
#define SLOT_ERRORS 1.5 /* what is smaller than so many of its errors is taken for none */
#define NOISE_PRIOR 0.02
#define NOISE_LEAST 0.008 /* no profile is known better than to 9% */
#define NOISE_PRIOR_MIN 120.0
#define BAND_SIGMAS 2.05 /* 96% */
#define CALM_SIGMAS 2.5
#define DROP_RATIO 2.0    /* a drop must at least halve */
#define RUNNING_LOOKS 4.0 /* independent ones, at most */
#define MARKS_HALF_LIFE_MIN WEEK_MIN

int baseline_new(struct baseline **ret_baseline)
{
    struct baseline *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    b->day = calloc(BASELINE_DAY_MIN, sizeof(*b->day));
    if (!b->day) {
        free(b);
        return -ENOMEM;
    }
    b->local.wander = (float)NOISE_PRIOR;
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
    free((*baseline)->day);
    free(*baseline);
    *baseline = NULL;
}

/* --- expectation --- */

static int hour_of_day(int64_t minute)
{
    return (int)(minute / 60 % 24);
}

static int hour_of_week(int64_t minute)
{
    return (int)(minute / 60 % 168);
}

static double mean_mark(const struct baseline *b)
{
    return b->marks > 0 ? b->mark_sum / b->marks : 0;
}

/* Squared coefficient of variation of one call's mark. */
static double mark_cv2(const struct baseline *b)
{
    double mean = mean_mark(b);

    if (mean <= 0)
        return 0;
    return fmax(b->mark_squares / b->marks / (mean * mean) - 1.0, 0);
}

static double shrunk(float value, uint16_t hours)
{
    return (double)value * hours / (hours + 1.0);
}

/* Only what stands out of its own error is taken for real. */
static double beyond_error(double value, double variance, double visits)
{
    double error = SLOT_ERRORS * sqrt(variance / visits);

    return value > error ? value - error : value < -error ? value + error : 0;
}

static double of_week(const struct baseline *b, int64_t minute)
{
    int w = hour_of_week(minute);

    return b->of_week_hours[w] ? beyond_error((double)b->of_week[w], (double)b->local.wander,
                                              fmin(b->of_week_hours[w], 5))
                               : 0;
}

/* Log of the expected sum per minute, at the centre of the minute's hour. */
static double log_of_hour(const struct baseline *b, int64_t minute)
{
    int h = hour_of_day(minute);

    return b->level + shrunk(b->of_day[h], b->of_day_hours[h]) + of_week(b, minute);
}

static double log_of_hours(const struct baseline *b, int64_t minute)
{
    double place = (double)(minute % 60) / 60.0 - 0.5;
    double here = log_of_hour(b, minute);
    double beside = log_of_hour(b, place < 0 ? minute - 60 : minute + 60);

    return fabs(beside - here) > CLIFF ? here : here + fabs(place) * (beside - here);
}

/* Where few weeks say that an hour is quite unlike the same hour of other days,
 * that may have been an incident: the other explanation, relative to the first. */
static double alternative(const struct baseline *b, int64_t minute)
{
    double w = of_week(b, minute);

    return fabs(w) > CLIFF && b->of_week_hours[hour_of_week(minute)] < CLIFF_WEEKS ? -w : 0;
}

static int slot_of(int64_t minute)
{
    return (int)(minute % BASELINE_DAY_MIN / BASELINE_SLOT_MIN);
}

/* Days that went into a slot, as far as they are remembered. */
static double slot_days(const struct baseline *b)
{
    return fmin(fmax(floor(b->age_min / (double)BASELINE_DAY_MIN), 1), 2 / SLOT_STEP_LEAST);
}

static double sampling_variance(const struct baseline *b, double expected)
{
    double mark = mean_mark(b);

    return mark > 0 ? (1.0 + mark_cv2(b)) / (expected / mark + 1.0) : 1.0;
}

static double minute_visits(const struct baseline *b)
{
    return fmin(fmax(b->age_min / 60.0, 1), 1 / MINUTE_STEP_LEAST);
}

static double recurring(const struct baseline *b, double value, double visits, double minutes,
                        double log_rate)
{
    double variance;

    if (value == 0)
        return 0;
    variance = sampling_variance(b, minutes * exp(log_rate + fmax(value, 0))) +
               (double)b->windows[0].noise;
    return beyond_error(value, variance, visits);
}

static double of_minute(const struct baseline *b, int64_t minute, double log_hours)
{
    return recurring(b, b->of_minute[minute % 60] / SLOT_UNIT, minute_visits(b), 1, log_hours);
}

static double log_of_minute(const struct baseline *b, int64_t minute)
{
    double log_hours = log_of_hours(b, minute);

    return log_hours + of_minute(b, minute, log_hours);
}

static double expected_of(const struct baseline *b, int64_t minute)
{
    double log_rate = log_of_minute(b, minute);

    return exp(log_rate + recurring(b, b->slots[slot_of(minute)] / SLOT_UNIT, slot_days(b),
                                    BASELINE_SLOT_MIN, log_rate));
}

static const struct baseline_minute *minute_at(const struct baseline *b, int64_t minute)
{
    return &b->ring[minute % BASELINE_RING];
}

/* The logarithm exaggerates how rare few calls are: none where nine are usual is
 * one hour in ten thousand. In units of calls, widened for what is not Poisson. */
static double deviance_z(double sum, double expected, double mark, double noise, double spread)
{
    double seen, usual, deviance;

    if (mark <= 0)
        return 0;
    seen = sum / mark;
    usual = expected / mark;
    deviance = 2.0 * ((seen > 0 ? seen * log(seen / usual) : 0) - (seen - usual));
    deviance = sqrt(fmax(deviance, 0) / (spread + noise * usual));
    return seen < usual ? -deviance : deviance;
}

/* `expected`: of the profile; `before`: the local state when the window began;
 * `other`: the other explanation. */
static struct baseline_look make_look(const struct baseline *b, const struct baseline_window *w,
                                      uint32_t window_min, double sum, double samples,
                                      double expected, double before, double other)
{
    double mark = mean_mark(b);
    double corrected = expected * exp(before * exp(-(window_min / 2.0) / LOCAL_DECAY_MIN));
    double variance = (double)w->noise + sampling_variance(b, corrected);
    double most = corrected * exp(fmax(other, 0)), least = corrected * exp(fmin(other, 0));
    double residual = log((sum + mark / 2 + 1e-12) / (most + mark / 2 + 1e-12));

    return (struct baseline_look){
        .sum = (float)sum,
        .samples = (float)samples,
        .expected = (float)corrected,
        .variance = (float)variance,
        .z = (float)(residual / sqrt(variance)),
        .z_down = (float)deviance_z(sum, least, mark, (double)w->noise, 1.0 + mark_cv2(b)),
    };
}

static struct baseline_look look_at(const struct baseline *b, const struct baseline_window *w,
                                    int64_t minute, uint32_t window_min)
{
    double sum = 0, samples = 0, expected = 0;

    for (uint32_t i = 0; i < window_min; i++) {
        size_t place = (size_t)(minute - i) % BASELINE_RING;

        sum += (double)b->ring[place].sum;
        samples += (double)b->ring[place].count;
        expected += (double)b->expected[place];
    }
    return make_look(b, w, window_min, sum, samples, expected,
                     (double)b->local.states[(size_t)(minute - window_min) % BASELINE_RING],
                     alternative(b, minute));
}

/* --- learning --- */

static double log_hour(const struct baseline *b, double sum, double minutes)
{
    return log(sum / minutes + mean_mark(b) / 120.0 + 1e-12);
}

static void learn_marks(struct baseline *b, const struct baseline_minute *m)
{
    double keep = exp2(-1.0 / MARKS_HALF_LIFE_MIN);

    b->marks = b->marks * keep + (double)m->count;
    b->mark_sum = b->mark_sum * keep + (double)m->sum;
    b->mark_squares = b->mark_squares * keep + (double)m->squares;
}

/* The first day becomes the level and the hours of the day. */
static void fit_first_day(struct baseline *b)
{
    double sum = 0;
    int count = 0;

    for (int h = 0; h < 24; h++)
        if (b->has_first[h]) {
            sum += (double)b->first_day[h];
            count++;
        }
    b->level = (float)(sum / count);
    for (int h = 0; h < 24; h++)
        if (b->has_first[h]) {
            b->of_day[h] = b->first_day[h] - b->level;
            b->of_day_hours[h] = 1;
        }
    b->is_fitted = true;
}

static void learn_later_hour(struct baseline *b, int64_t minute, double value)
{
    int h = hour_of_day(minute), w = hour_of_week(minute);
    double d = value - log_of_hour(b, minute);

    double week =
        value - b->level - shrunk(b->of_day[h], b->of_day_hours[h]) - (double)b->of_week[w];

    if (b->of_week_hours[w] >= 2)
        week = fmin(fmax(week, -1), 1);
    b->of_week[w] += (float)(fmax(1.0 / (b->of_week_hours[w] + 1.0), 0.2) * week);
    b->of_week_hours[w] += b->of_week_hours[w] < 1000;
    d = fmin(fmax(d, -0.5), 0.5);
    b->level += (float)(fmax(1.0 / (b->hours + 1.0), 0.04) * d);
    b->of_day[h] += (float)(fmax(1.0 / (b->of_day_hours[h] + 1.0), 0.1) * d);
    b->of_day_hours[h] += b->of_day_hours[h] < 1000;
}

/* `minute` is the last one of the hour. */
static void close_hour(struct baseline *b, int64_t minute)
{
    double value = log_hour(b, (double)b->hour.sum, b->hour_minutes);
    int h = hour_of_day(minute);

    if (b->hour_minutes >= HOUR_MIN_LEAST) {
        if (b->is_fitted) {
            learn_later_hour(b, minute, value);
        } else {
            b->first_day[h] = (float)value;
            b->has_first[h] = true;
        }
        b->hours++;
    }
    b->hour = (struct baseline_minute){0};
    b->hour_minutes = 0;
}

static void learn_noise(struct baseline_window *w, const struct baseline_look *k)
{
    double floor_variance = (double)(k->variance - w->noise);
    double z = fmin(fmax((double)k->z, -3.0), 3.0);
    double step = fmax(1.0 / (w->learned + NOISE_PRIOR_MIN), 1.0 / WEEK_MIN);

    w->noise += (float)(step * (z * z * (double)k->variance - floor_variance - (double)w->noise));
    w->noise = fmaxf(w->noise, (float)NOISE_LEAST);
}

/* How far the log rate wanders from the profile, told by a short window. */
static void learn_wander(struct baseline *b, const struct baseline_window *w, int64_t minute,
                         uint32_t window_min)
{
    double mark = mean_mark(b), expected = 0, floor_variance, residual, step, limit;

    for (uint32_t i = 0; i < window_min; i++)
        expected += (double)b->expected[(size_t)(minute - i) % BASELINE_RING];
    floor_variance = sampling_variance(b, expected);
    residual = log(((double)w->look.sum + mark / 2 + 1e-12) / (expected + mark / 2 + 1e-12));
    limit = 9.0 * ((double)b->local.wander + floor_variance);
    step = fmax(1.0 / (w->learned + NOISE_PRIOR_MIN), 1.0 / WEEK_MIN);
    b->local.wander += (float)(step * (fmin(residual * residual, limit) - floor_variance -
                                       (double)b->local.wander));
    b->local.wander = fminf(fmaxf(b->local.wander, (float)NOISE_LEAST), 1);
}

/* In units of the expectation, not in logarithms: minutes without a call say what
 * they are worth. */
static void follow_local(struct baseline *b, int64_t minute)
{
    struct baseline_local *l = &b->local;
    double mark = mean_mark(b), state = (double)l->state * exp(-1.0 / LOCAL_DECAY_MIN);
    double expected = (double)b->expected[minute % BASELINE_RING] * exp(state);
    double prior = (double)l->variance + 2.0 * (double)l->wander / LOCAL_WANDER_MIN;
    double calls = mark > 0 ? fmax(expected / mark, 1e-3) : 1e-3;
    double total = prior + (1.0 + mark_cv2(b)) / calls;
    double innovation = expected > 0 ? (double)minute_at(b, minute)->sum / expected - 1.0 : 0;
    double limit = LOCAL_CLIP * sqrt(total), gain = prior / total;

    state += gain * fmin(fmax(innovation, -limit), limit);
    l->state = (float)fmin(fmax(state, -LOCAL_MAX), LOCAL_MAX);
    l->variance = (float)fmin((1.0 - gain) * prior, (double)l->wander);
}

static bool is_excursion(const struct baseline_look *k, double sigmas)
{
    return (double)k->z > sigmas || (double)k->z_down < -sigmas;
}

static void learn_window(struct baseline_window *w, int64_t minute, uint32_t window_min)
{
    learn_noise(w, &w->look);
    tail_learn(&w->up, (double)w->look.z, minute, window_min);
    tail_learn(&w->down, -(double)w->look.z_down, minute, window_min);
    w->learned++;
}

/* An excursion holds the local state where it was before; one that lasts becomes
 * the new normal. `window_min`: the shortest window that is beyond, 0: none is. */
static void learn_local(struct baseline *b, int64_t minute, uint32_t window_min)
{
    struct baseline_local *l = &b->local;

    if (window_min && l->frozen_min == 0)
        l->state = l->states[(size_t)(minute - window_min) % BASELINE_RING];
    if (window_min)
        l->frozen_min++;
    else
        l->frozen_min = 0;
    if (!window_min || l->frozen_min > FREEZE_MAX_MIN)
        follow_local(b, minute);
    l->states[minute % BASELINE_RING] = l->state;
}

/* The shortest window that says that something is going on now; 0: none. Long ones
 * remember what is over. */
static uint32_t find_excursion(const struct baseline *b, const struct baseline_settings *s)
{
    double sigmas = b->local.frozen_min ? EXCURSION_END_SIGMAS : EXCURSION_SIGMAS;

    for (unsigned i = 0; i < 2 && i < s->windows_count; i++)
        if (is_excursion(&b->windows[i].look, sigmas))
            return s->windows_min[i];
    return 0;
}

static void learn_windows(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                          uint32_t minutes_there)
{
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    uint32_t beyond_min;

    b->expected[minute % BASELINE_RING] = (float)expected_of(b, minute);
    for (unsigned i = 0; i < s->windows_count; i++)
        b->windows[i].look = minutes_there < s->windows_min[i]
                                 ? (struct baseline_look){0}
                                 : look_at(b, &b->windows[i], minute, s->windows_min[i]);
    beyond_min = find_excursion(b, s);
    for (unsigned i = 0; i < s->windows_count; i++) {
        struct baseline_window *w = &b->windows[i];

        if (minutes_there < s->windows_min[i] || is_excursion(&w->look, EXCURSION_SIGMAS) ||
            (beyond_min && b->local.frozen_min <= FREEZE_MAX_MIN))
            continue;
        learn_window(w, minute, s->windows_min[i]);
        if (i == recent)
            learn_wander(b, w, minute, s->windows_min[i]);
    }
    learn_local(b, minute, beyond_min);
}

static int16_t stepped(int16_t place, double step, double residual)
{
    double value = place / SLOT_UNIT;

    value += step * fmin(fmax(residual - value, -1.5), 1.5);
    return (int16_t)lround(SLOT_UNIT * fmin(fmax(value, -4.0), 4.0));
}

static void learn_of_minute(struct baseline *b, int64_t minute)
{
    double mark = mean_mark(b);
    double expected = exp(log_of_hours(b, minute) +
                          (double)b->local.states[(size_t)(minute - 1) % BASELINE_RING]);
    int16_t *place = &b->of_minute[minute % 60];

    *place = stepped(*place, 1 / minute_visits(b),
                     log(((double)minute_at(b, minute)->sum + mark / 2 + 1e-12) /
                         (expected + mark / 2 + 1e-12)));
}

/* `minute` is the last one of its slot. */
static void learn_slot(struct baseline *b, int64_t minute)
{
    int16_t *slot = &b->slots[slot_of(minute)];
    double mark = mean_mark(b), sum = 0, expected = 0;

    for (int i = 0; i < BASELINE_SLOT_MIN; i++) {
        sum += (double)minute_at(b, minute - i)->sum;
        expected += exp(log_of_minute(b, minute - i));
    }
    expected *= exp((double)b->local.states[(size_t)(minute - BASELINE_SLOT_MIN) % BASELINE_RING]);
    *slot = stepped(*slot, fmax(1.0 / (slot_days(b) + (b->day ? 0.0 : 1.0)), SLOT_STEP_LEAST),
                    log((sum + mark / 2 + 1e-12) / (expected + mark / 2 + 1e-12)));
}

static void learn_recurring(struct baseline *b, int64_t minute)
{
    learn_of_minute(b, minute);
    if ((minute + 1) % BASELINE_SLOT_MIN == 0)
        learn_slot(b, minute);
}

/* The first day again, minute by minute, against what all of it taught. */
static void go_through_first_day(struct baseline *b, const struct baseline_settings *s)
{
    struct baseline_minute latest[BASELINE_RING];
    uint32_t minutes = b->age_min < BASELINE_DAY_MIN ? b->age_min : BASELINE_DAY_MIN;

    memcpy(latest, b->ring, sizeof(latest));
    for (uint32_t i = 0; i < minutes; i++) {
        int64_t minute = b->first_minute + i;

        b->ring[minute % BASELINE_RING] = b->day[i];
        learn_windows(b, s, minute, i + 1);
        learn_recurring(b, minute);
    }
    memcpy(b->ring, latest, sizeof(latest));
    free(b->day);
    b->day = NULL;
}

int baseline_learn(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                   const struct baseline_minute *m)
{
    if (b->last_minute && minute != b->last_minute + 1)
        return -EINVAL;
    if (!b->last_minute)
        b->first_minute = minute;
    b->last_minute = minute;
    b->ring[minute % BASELINE_RING] = *m;
    if (b->day && b->age_min < BASELINE_DAY_MIN)
        b->day[b->age_min] = *m;
    b->age_min++;
    if (!b->is_fitted || b->local.frozen_min == 0 || b->local.frozen_min > FREEZE_MAX_MIN)
        learn_marks(b, m);
    if (b->is_fitted) {
        learn_windows(b, s, minute, b->age_min);
        learn_recurring(b, minute);
    }
    b->hour.sum += m->sum;
    b->hour_minutes++;
    if ((minute + 1) % 60 == 0)
        close_hour(b, minute);
    if (!b->is_fitted && b->age_min >= BASELINE_DAY_MIN && b->hours >= HOURS_FIRST) {
        fit_first_day(b);
        go_through_first_day(b, s);
    }
    return 0;
}

/* --- judging --- */

bool baseline_is_warm(const struct baseline *b, const struct baseline_settings *s)
{
    return b->is_fitted && b->age_min >= s->history_min && b->marks > 0;
}

bool baseline_is_calibrated(const struct baseline *b)
{
    return b->age_min >= 2 * WEEK_MIN && b->windows[0].up.clusters >= 20;
}

static struct baseline_look look_running(const struct baseline *b, const struct baseline_window *w,
                                         uint32_t window_min, const struct baseline_minute *running,
                                         uint32_t running_s)
{
    int64_t minute = b->last_minute;
    double sum = (double)running->sum, samples = (double)running->count;
    double expected = running_s / 60.0 * expected_of(b, minute + 1);

    for (uint32_t i = 0; i + 1 < window_min; i++) {
        size_t place = (size_t)(minute - i) % BASELINE_RING;

        sum += (double)b->ring[place].sum;
        samples += (double)b->ring[place].count;
        expected += (double)b->expected[place];
    }
    return make_look(b, w, window_min, sum, samples, expected,
                     (double)b->local.states[(size_t)(minute + 1 - window_min) % BASELINE_RING],
                     alternative(b, minute + 1));
}

struct verdict {
    struct baseline_look look;
    double z; /* rises with the deviation, up or down */
    double ratio;
    double weeks;
};

/* A series that never saw a weekend cannot tell one from an outage. */
static bool may_rest(const struct baseline *b)
{
    int64_t day = b->last_minute / BASELINE_DAY_MIN % 7; /* 0: Thursday */

    return (day == 2 || day == 3) && b->of_week_hours[hour_of_week(b->last_minute)] == 0;
}

static bool is_beyond(const struct baseline_settings *s, const struct verdict *v, bool down)
{
    return v->z >= CALM_SIGMAS && (down ? v->ratio <= 1.0 / DROP_RATIO : v->ratio >= s->ratio_min);
}

static void judge_window(const struct baseline *b, const struct baseline_settings *s, unsigned i,
                         bool down, struct verdict *v)
{
    const struct baseline_window *w = &b->windows[i];

    v->z = (double)(down ? -v->look.z_down : v->look.z);
    v->ratio = v->look.expected > 0 ? (double)v->look.sum / (double)v->look.expected : 0;
    v->weeks =
        tail_return_weeks(down ? &w->down : &w->up, v->z, b->age_min / WEEK_MIN, s->windows_min[i]);
}

static void describe(const struct verdict *v, double length_s, struct finding *ret_finding)
{
    double band = BAND_SIGMAS * sqrt((double)v->look.variance);
    double expected = (double)v->look.expected;

    ret_finding->window_s = (uint32_t)length_s;
    ret_finding->observed = (double)v->look.sum;
    ret_finding->baseline = expected;
    ret_finding->lower = expected * exp(-band);
    ret_finding->upper = expected * exp(band);
    ret_finding->samples = (double)v->look.samples;
    ret_finding->sigmas = v->ratio < 1 ? -fabs(v->z) : v->z;
    ret_finding->return_weeks = v->weeks;
}

void baseline_judge(const struct baseline *b, const struct baseline_settings *s, bool down,
                    uint32_t fresh_min, const struct baseline_minute *running, uint32_t running_s,
                    struct finding *ret_finding)
{
    struct verdict verdicts[BASELINE_WINDOWS_MAX] = {0};
    /* Long windows remember: a shorter one must say that it still goes on. */
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    unsigned best = recent;
    /* A running minute is looked at again and again. */
    const double target = WINDOWS_INDEPENDENT * s->target_weeks * (running ? RUNNING_LOOKS : 1.0);
    bool fires = false;

    *ret_finding = (struct finding){.is_calm = true};
    if (!baseline_is_warm(b, s) || (down && may_rest(b)))
        return;
    for (unsigned i = 0; i < s->windows_count; i++) {
        verdicts[i].look =
            running ? look_running(b, &b->windows[i], s->windows_min[i], running, running_s)
                    : b->windows[i].look;
        judge_window(b, s, i, down, &verdicts[i]);
    }
    for (unsigned i = 0; i < s->windows_count && s->windows_min[i] <= fresh_min; i++) {
        bool hit = verdicts[i].weeks >= target && is_beyond(s, &verdicts[i], down) &&
                   is_beyond(s, &verdicts[recent], down);

        if (hit && (!fires || verdicts[i].z > verdicts[best].z))
            best = i;
        fires |= hit;
    }
    describe(&verdicts[best],
             60.0 * (s->windows_min[best] - (running ? 1 : 0)) + (running ? running_s : 0),
             ret_finding);
    ret_finding->fires = fires;
    ret_finding->is_calm = !is_beyond(s, &verdicts[recent], down);
}

void baseline_look(const struct baseline *b, const struct baseline_settings *s, unsigned window,
                   struct finding *ret_finding)
{
    struct verdict v = {0};
    bool down;

    *ret_finding = (struct finding){.is_calm = true};
    if (!baseline_is_warm(b, s))
        return;
    v.look = b->windows[window].look;
    down = v.look.sum < v.look.expected;
    judge_window(b, s, window, down, &v);
    describe(&v, 60.0 * s->windows_min[window], ret_finding);
    ret_finding->is_calm = !is_beyond(s, &v, down);
}
