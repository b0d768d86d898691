/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baseline.h"

#include "collector/profile.h"

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
#define FREEZE_MAX_MIN 90
#define EXCURSION_SIGMAS 4.0
#define EXCURSION_END_SIGMAS 2.5
#define NOISE_PRIOR 0.02
#define NOISE_LEAST 0.008 /* no profile is known better than to 9% */
#define NOISE_CALLS_LEAST 3.0
#define NOISE_PRIOR_MIN 120.0
#define SHIFT_MAX 3.0
#define BAND_SIGMAS 2.05 /* 96% */
#define CALM_SIGMAS 2.5
#define DROP_RATIO 2.0    /* a drop must at least halve */
#define RUNNING_LOOKS 4.0 /* independent ones, at most */

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
    free((*baseline)->day);
    free(*baseline);
    *baseline = NULL;
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
 * `doubt`: what else may be usual. */
static struct baseline_look make_look(const struct baseline *b, const struct baseline_window *w,
                                      uint32_t window_min, double sum, double samples,
                                      double expected, double before, struct profile_doubt doubt)
{
    double mark = profile_mean_mark(b);
    double corrected = expected * exp(before * exp(-(window_min / 2.0) / LOCAL_DECAY_MIN));
    double variance = (double)w->noise + profile_sampling_variance(b, corrected);
    double spread = 1.0 + profile_mark_cv2(b), noise = (double)w->noise;
    double scale = sqrt(variance), most = corrected * exp(doubt.up);
    double usual = log((sum + mark / 2 + 1e-12) / (corrected + mark / 2 + 1e-12));
    double beyond = log((sum + mark / 2 + 1e-12) / (most + mark / 2 + 1e-12));

    return (struct baseline_look){
        .sum = (float)sum,
        .samples = (float)samples,
        .expected = (float)corrected,
        .variance = (float)variance,
        .z = (float)(beyond / scale),
        .z_down = (float)deviance_z(sum, corrected * exp(doubt.down), mark, noise, spread),
        .plain = (float)(usual / scale),
        .plain_down = (float)deviance_z(sum, corrected, mark, noise, spread),
    };
}

/* The local state at a minute, for what came after. A window that a cliff upwards
 * lies in is mostly beyond it. */
static double state_before(const struct baseline *b, int64_t minute)
{
    const struct baseline_local *l = &b->local;

    return l->cliff > minute && l->cliff_up ? 0 : (double)l->states[(size_t)minute % BASELINE_RING];
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
    return make_look(b, w, window_min, sum, samples, expected, state_before(b, minute - window_min),
                     profile_doubt(b, minute));
}

/* --- learning --- */

/* Where next to nothing is expected next to nothing is learned of the noise. */
static bool tells_noise(const struct baseline *b, double expected)
{
    return expected >= NOISE_CALLS_LEAST * profile_mean_mark(b) &&
           fabs((double)b->local.state) <= LOCAL_FITS;
}

static void learn_noise(struct baseline_window *w, const struct baseline_look *k)
{
    double floor_variance = (double)(k->variance - w->noise);
    double z = fmin(fmax((double)k->plain, -3.0), 3.0);
    double step = fmax(1.0 / (w->learned + NOISE_PRIOR_MIN), 1.0 / WEEK_MIN);

    w->noise += (float)(step * (z * z * (double)k->variance - floor_variance - (double)w->noise));
    w->noise = fmaxf(w->noise, (float)NOISE_LEAST);
}

/* How far the log rate wanders from the profile, told by a short window. */
static void learn_wander(struct baseline *b, const struct baseline_window *w, int64_t minute,
                         uint32_t window_min)
{
    double mark = profile_mean_mark(b), expected = 0, floor_variance, residual, step, limit;

    for (uint32_t i = 0; i < window_min; i++)
        expected += (double)b->expected[(size_t)(minute - i) % BASELINE_RING];
    if (!tells_noise(b, expected))
        return;
    floor_variance = profile_sampling_variance(b, expected);
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
    double mark = profile_mean_mark(b), state = (double)l->state * exp(-1.0 / LOCAL_DECAY_MIN);
    double expected = (double)b->expected[minute % BASELINE_RING] * exp(state);
    double prior = (double)l->variance + 2.0 * (double)l->wander / LOCAL_WANDER_MIN;
    double calls = mark > 0 ? fmax(expected / mark, 1e-3) : 1e-3;
    double total = prior + (1.0 + profile_mark_cv2(b)) / calls;
    double innovation =
        expected > 0 ? (double)b->ring[minute % BASELINE_RING].sum / expected - 1.0 : 0;
    double limit = LOCAL_CLIP * sqrt(total), gain = prior / total;

    state += gain * fmin(fmax(innovation, -limit), limit);
    l->state = (float)fmin(fmax(state, LOCAL_MIN), LOCAL_MAX);
    l->variance = (float)fmin((1.0 - gain) * prior, (double)l->wander);
}

static bool is_excursion(const struct baseline_look *k, double sigmas)
{
    return (double)k->z > sigmas || (double)k->z_down < -sigmas;
}

static void learn_window(const struct baseline *b, struct baseline_window *w, int64_t minute,
                         uint32_t window_min)
{
    if (tells_noise(b, (double)w->look.expected))
        learn_noise(w, &w->look);
    tail_learn(&w->up, (double)w->look.plain, minute, window_min);
    tail_learn(&w->down, -(double)w->look.plain_down, minute, window_min);
    w->learned++;
}

/* An excursion holds the local state where it was before; one that lasts becomes
 * the new normal. `window_min`: the shortest window that is beyond, 0: none is. */
static void learn_local(struct baseline *b, int64_t minute, uint32_t window_min)
{
    struct baseline_local *l = &b->local;

    /* What was learned before a cliff says nothing of what is beyond it. */
    if (minute % 60 == 0 && profile_is_cliff(b, minute)) {
        l->state = 0;
        l->variance = l->wander;
        l->cliff = minute;
        l->cliff_up = profile_log_of_hour(b, minute) > profile_log_of_hour(b, minute - 1);
    }
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

static bool is_unusual(const struct baseline_look *k)
{
    return (double)k->plain > EXCURSION_SIGMAS || (double)k->plain_down < -EXCURSION_SIGMAS;
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

    b->expected[minute % BASELINE_RING] = (float)exp(profile_log_expected(b, minute));
    for (unsigned i = 0; i < s->windows_count; i++)
        b->windows[i].look = minutes_there < s->windows_min[i]
                                 ? (struct baseline_look){0}
                                 : look_at(b, &b->windows[i], minute, s->windows_min[i]);
    beyond_min = find_excursion(b, s);
    for (unsigned i = 0; i < s->windows_count; i++) {
        struct baseline_window *w = &b->windows[i];

        if (minutes_there < s->windows_min[i] || is_unusual(&w->look) ||
            (beyond_min && b->local.frozen_min <= FREEZE_MAX_MIN))
            continue;
        learn_window(b, w, minute, s->windows_min[i]);
        if (i == recent)
            learn_wander(b, w, minute, s->windows_min[i]);
    }
    learn_local(b, minute, beyond_min);
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
        profile_learn_recurring(b, minute);
    }
    memcpy(b->ring, latest, sizeof(latest));
    free(b->day);
    b->day = NULL;
    profile_survey_day(b);
}

/* The level moves, the local state need not make up for it any longer. */
static void move_level(struct baseline *b, double by)
{
    b->level += (float)by;
    b->local.state -= (float)by;
    for (int i = 0; i < BASELINE_RING; i++) {
        b->local.states[i] -= (float)by;
        b->expected[i] *= (float)exp(by);
    }
}

static void judge_hour(struct baseline *b, const struct baseline_settings *s, int64_t minute)
{
    double half = profile_mean_mark(b) / 2;
    struct shift_hour hour = {
        .minute = minute,
        .sum = (double)b->hour.sum,
        .expected = (double)b->hour_expected,
        .samples = (double)b->hour.count,
    };

    hour.departure = log((hour.sum + half + 1e-12) / (hour.expected + half + 1e-12));
    b->shifted =
        shift_learn(&b->shift, &hour, b->age_min / WEEK_MIN, s->target_weeks, s->ratio_min);
    if (b->shifted.direction)
        move_level(b, fmin(fmax(log(b->shifted.sum / b->shifted.expected), -SHIFT_MAX), SHIFT_MAX));
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
        profile_learn_marks(b, m);
    if (b->is_fitted) {
        learn_windows(b, s, minute, b->age_min);
        profile_learn_recurring(b, minute);
    }
    b->shifted = (struct shift_found){0};
    b->hour.sum += m->sum;
    b->hour.count += m->count;
    b->hour_expected += b->is_fitted ? b->expected[minute % BASELINE_RING] : 0;
    b->hour_minutes++;
    if ((minute + 1) % 60 == 0) {
        if (b->is_fitted && b->hour_minutes == 60)
            judge_hour(b, s, minute);
        profile_close_hour(b, minute);
        b->hour_expected = 0;
    }
    if (!b->is_fitted && b->age_min >= BASELINE_DAY_MIN && b->hours >= HOURS_FIRST) {
        profile_fit_first_day(b);
        go_through_first_day(b, s);
    }
    return 0;
}

/* --- judging --- */

bool baseline_is_warm(const struct baseline *b, const struct baseline_settings *s)
{
    return b->is_fitted && b->age_min >= s->history_min && b->marks > 0;
}

double baseline_mean_mark(const struct baseline *b)
{
    return profile_mean_mark(b);
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
    double expected = running_s / 60.0 * exp(profile_log_expected(b, minute + 1));

    for (uint32_t i = 0; i + 1 < window_min; i++) {
        size_t place = (size_t)(minute - i) % BASELINE_RING;

        sum += (double)b->ring[place].sum;
        samples += (double)b->ring[place].count;
        expected += (double)b->expected[place];
    }
    return make_look(b, w, window_min, sum, samples, expected,
                     state_before(b, minute + 1 - window_min), profile_doubt(b, minute + 1));
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

    return (day == 2 || day == 3) && b->of_week_hours[profile_hour_of_week(b->last_minute)] == 0;
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

/* How much more it takes until it is told: of the window at hand. */
static double ratio_least(const struct baseline *b, const struct baseline_settings *s, unsigned i,
                          const struct baseline_look *k, double target_weeks)
{
    double z = tail_z(&b->windows[i].up, target_weeks, b->age_min / WEEK_MIN, s->windows_min[i]);
    double half = profile_mean_mark(b) / 2, expected = (double)k->expected;
    double sum = (expected + half) * exp(z * sqrt((double)k->variance)) - half;

    return expected > 0 ? fmax(sum / expected, s->ratio_min) : 0;
}

void baseline_judge(const struct baseline *b, const struct baseline_settings *s, bool down,
                    uint32_t fresh_min, const struct baseline_minute *running, uint32_t running_s,
                    struct finding *ret_finding)
{
    struct verdict verdicts[BASELINE_WINDOWS_MAX] = {0};
    /* Long windows remember: a shorter one must say that it still goes on. */
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    unsigned best = recent;
    /* Windows overlap and the tail errs on the safe side: four count as one, which is
     * measured, not derived. A running minute is looked at again and again. */
    const double target = s->target_weeks * (running ? RUNNING_LOOKS : 1.0);
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
        ret_finding->windows_agree |= (uint32_t)hit << i;
    }
    describe(&verdicts[best],
             60.0 * (s->windows_min[best] - (running ? 1 : 0)) + (running ? running_s : 0),
             ret_finding);
    ret_finding->fires = fires;
    ret_finding->tail_events = (down ? &b->windows[best].down : &b->windows[best].up)->clusters;
    if (!down)
        ret_finding->ratio_least = ratio_least(b, s, best, &verdicts[best].look, target);
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

void baseline_shift(const struct baseline *b, struct finding *ret_finding)
{
    const struct shift_found *f = &b->shifted;
    double band = BAND_SIGMAS * sqrt((double)b->shift.variance);

    *ret_finding = (struct finding){.is_calm = true};
    if (!f->direction)
        return;
    *ret_finding = (struct finding){
        .fires = true,
        .window_s = f->hours * 3600,
        .observed = f->sum,
        .baseline = f->expected,
        .lower = f->expected * exp(-band),
        .upper = f->expected * exp(band),
        .samples = f->samples,
        .return_weeks = f->weeks,
        .tail_events = f->tail_events,
    };
}
