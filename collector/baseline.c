/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baseline.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define WEEK_MIN 10080.0
#define HOURS_FIRST 23 /* hours that must be there to fit the first day */
#define HOUR_MIN_LEAST 15
#define LOCAL_SHARE 0.7
#define LOCAL_HALF_LIFE_MIN 60.0
#define FREEZE_MAX_MIN 90
#define EXCURSION_SIGMAS 4.0
#define NOISE_PRIOR 0.02
#define NOISE_LEAST 0.0025
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

/* Log of the expected sum per minute, at the centre of the minute's hour. */
static double log_of_hour(const struct baseline *b, int64_t minute)
{
    int h = hour_of_day(minute), w = hour_of_week(minute);

    return b->level + shrunk(b->of_day[h], b->of_day_hours[h]) +
           shrunk(b->of_week[w], b->of_week_hours[w]);
}

static double log_expected(const struct baseline *b, int64_t minute)
{
    double place = (double)(minute % 60) / 60.0 - 0.5;
    double here = log_of_hour(b, minute);
    double beside = log_of_hour(b, place < 0 ? minute - 60 : minute + 60);

    return here + fabs(place) * (beside - here);
}

static const struct baseline_minute *minute_at(const struct baseline *b, int64_t minute)
{
    return &b->ring[minute % BASELINE_RING];
}

/* The window that ends with `minute`, against its expectation. */
struct look {
    double sum, samples;
    double expected; /* without the local correction */
    double residual; /* ln(sum / expected), both with half a call added */
    double variance;
    double corrected; /* after the local correction */
    double z;         /* in the log domain: for what is too much */
    double z_down;    /* from the Poisson deviance: for what is too little */
};

/* The logarithm exaggerates how rare few calls are: none where nine are usual is
 * one hour in ten thousand. In units of calls, widened for what is not Poisson. */
static double deviance_z(const struct look *k, double mark, double noise, double spread)
{
    double seen, usual, deviance;

    if (mark <= 0)
        return 0;
    seen = k->sum / mark;
    usual = k->corrected / mark;
    deviance = 2.0 * ((seen > 0 ? seen * log(seen / usual) : 0) - (seen - usual));
    deviance = sqrt(fmax(deviance, 0) / (spread + noise * usual));
    return seen < usual ? -deviance : deviance;
}

static void finish_look(const struct baseline *b, const struct baseline_window *w, struct look *k)
{
    double mark = mean_mark(b);
    double corrected;

    k->residual = log((k->sum + mark / 2 + 1e-12) / (k->expected + mark / 2 + 1e-12));
    corrected = k->residual - LOCAL_SHARE * (double)w->local;
    k->corrected = k->expected * exp(LOCAL_SHARE * (double)w->local);
    k->variance =
        (double)w->noise + (1.0 + mark_cv2(b)) / (mark > 0 ? k->corrected / mark + 1.0 : 1.0);
    k->z = corrected / sqrt(k->variance);
    k->z_down = deviance_z(k, mark, (double)w->noise, 1.0 + mark_cv2(b));
}

static void look_at(const struct baseline *b, const struct baseline_window *w, int64_t minute,
                    uint32_t window_min, struct look *ret_look)
{
    *ret_look = (struct look){0};
    for (uint32_t i = 0; i < window_min; i++) {
        const struct baseline_minute *m = minute_at(b, minute - i);

        ret_look->sum += (double)m->sum;
        ret_look->samples += (double)m->count;
    }
    ret_look->expected = window_min * exp(log_expected(b, minute - window_min / 2));
    finish_look(b, w, ret_look);
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

    d = fmin(fmax(d, -0.5), 0.5);
    b->level += (float)(fmax(1.0 / (b->hours + 1.0), 0.04) * d);
    b->of_day[h] += (float)(fmax(1.0 / (b->of_day_hours[h] + 1.0), 0.1) * d);
    b->of_day_hours[h] += b->of_day_hours[h] < 1000;
    b->of_week[w] += (float)(0.5 * fmax(1.0 / (b->of_week_hours[w] + 1.0), 0.2) * d);
    b->of_week_hours[w] += b->of_week_hours[w] < 1000;
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

static void learn_noise(struct baseline_window *w, const struct look *k)
{
    double floor_variance = k->variance - (double)w->noise;
    double z = fmin(fmax(k->z, -3.0), 3.0);
    double step = fmax(1.0 / (w->learned + NOISE_PRIOR_MIN), 1.0 / WEEK_MIN);

    w->noise += (float)(step * (z * z * k->variance - floor_variance - (double)w->noise));
    w->noise = fmaxf(w->noise, (float)NOISE_LEAST);
}

/* The residual of `window_min` ago moves the local level, but for what an
 * excursion left there; a lasting one becomes the new normal. */
static void learn_local(struct baseline_window *w, int64_t minute, uint32_t window_min)
{
    double step = 1.0 - exp2(-1.0 / LOCAL_HALF_LIFE_MIN);
    double delayed = (double)w->residuals[(minute - window_min) % BASELINE_RING];

    w->local += (float)(step * (delayed - (double)w->local));
}

static void learn_window(struct baseline *b, struct baseline_window *w, int64_t minute,
                         uint32_t window_min)
{
    struct look k;
    bool is_excursion;

    look_at(b, w, minute, window_min, &k);
    is_excursion = k.z > EXCURSION_SIGMAS || k.z_down < -EXCURSION_SIGMAS;
    w->residuals[minute % BASELINE_RING] = (float)k.residual;
    /* While an excursion or what it left in the delay line is there, hold. */
    if (is_excursion && w->frozen_min < FREEZE_MAX_MIN + window_min)
        w->frozen_min++;
    else if (!is_excursion && w->frozen_min > 0)
        w->frozen_min -= w->frozen_min > window_min ? w->frozen_min - window_min : 1;
    if (w->frozen_min == 0 || w->frozen_min >= FREEZE_MAX_MIN)
        learn_local(w, minute, window_min);
    if (is_excursion)
        return;
    learn_noise(w, &k);
    tail_learn(&w->up, k.z, minute, window_min);
    tail_learn(&w->down, -k.z_down, minute, window_min);
    w->learned++;
}

static void learn_windows(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                          uint32_t minutes_there)
{
    for (unsigned i = 0; i < s->windows_count; i++)
        if (minutes_there >= s->windows_min[i])
            learn_window(b, &b->windows[i], minute, s->windows_min[i]);
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
    }
    memcpy(b->ring, latest, sizeof(latest));
    free(b->day);
    b->day = NULL;
}

static bool is_frozen(const struct baseline *b, const struct baseline_settings *s)
{
    for (unsigned i = 0; i < s->windows_count; i++)
        if (b->windows[i].frozen_min > 0 && b->windows[i].frozen_min < FREEZE_MAX_MIN)
            return true;
    return false;
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
    if (!b->is_fitted || !is_frozen(b, s))
        learn_marks(b, m);
    if (b->is_fitted)
        learn_windows(b, s, minute, b->age_min);
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

static void look_running(const struct baseline *b, const struct baseline_window *w,
                         uint32_t window_min, const struct baseline_minute *running,
                         uint32_t running_s, struct look *ret_look)
{
    int64_t minute = b->last_minute;
    double length = window_min - 1 + running_s / 60.0;

    *ret_look = (struct look){.sum = (double)running->sum, .samples = (double)running->count};
    for (uint32_t i = 0; i + 1 < window_min; i++) {
        ret_look->sum += (double)minute_at(b, minute - i)->sum;
        ret_look->samples += (double)minute_at(b, minute - i)->count;
    }
    ret_look->expected = length * exp(log_expected(b, minute + 1 - window_min / 2));
    finish_look(b, w, ret_look);
}

struct verdict {
    struct look look;
    double z; /* rises with the deviation, up or down */
    double ratio;
    double weeks;
};

static bool is_beyond(const struct baseline_settings *s, const struct verdict *v, bool down)
{
    return v->z >= CALM_SIGMAS && (down ? v->ratio <= 1.0 / DROP_RATIO : v->ratio >= s->ratio_min);
}

static void judge_window(const struct baseline *b, const struct baseline_settings *s, unsigned i,
                         bool down, struct verdict *v)
{
    const struct baseline_window *w = &b->windows[i];

    v->z = down ? -v->look.z_down : v->look.z;
    v->ratio = v->look.corrected > 0 ? v->look.sum / v->look.corrected : 0;
    v->weeks =
        tail_return_weeks(down ? &w->down : &w->up, v->z, b->age_min / WEEK_MIN, s->windows_min[i]);
}

static void describe(const struct verdict *v, double length_s, struct finding *ret_finding)
{
    double band = BAND_SIGMAS * sqrt(v->look.variance);

    ret_finding->window_s = (uint32_t)length_s;
    ret_finding->observed = v->look.sum;
    ret_finding->baseline = v->look.corrected;
    ret_finding->lower = v->look.corrected * exp(-band);
    ret_finding->upper = v->look.corrected * exp(band);
    ret_finding->samples = v->look.samples;
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
    const double target = s->windows_count * s->target_weeks * (running ? RUNNING_LOOKS : 1.0);
    bool fires = false;

    *ret_finding = (struct finding){.is_calm = true};
    if (!baseline_is_warm(b, s))
        return;
    for (unsigned i = 0; i < s->windows_count; i++) {
        if (running)
            look_running(b, &b->windows[i], s->windows_min[i], running, running_s,
                         &verdicts[i].look);
        else
            look_at(b, &b->windows[i], b->last_minute, s->windows_min[i], &verdicts[i].look);
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
    look_at(b, &b->windows[window], b->last_minute, s->windows_min[window], &v.look);
    down = v.look.sum < v.look.corrected;
    judge_window(b, s, window, down, &v);
    describe(&v, 60.0 * s->windows_min[window], ret_finding);
    ret_finding->is_calm = !is_beyond(s, &v, down);
}
