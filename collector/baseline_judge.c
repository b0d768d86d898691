/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baseline.h"
#include "collector/profile.h"
#include "collector/window.h"

#include <math.h>

#define WEEK_MIN 10080.0
#define CALIBRATED_WEEKS 2
#define CALIBRATED_CLUSTERS 20
#define BAND_SIGMAS 2.05 /* 96% */
#define CALM_SIGMAS 2.5
#define DROP_RATIO 2.0 /* a drop must at least halve */
/* Independent looks at a minute: the windows overlap, and the tail errs on the safe side.
 * Measured, not derived; a running minute is looked at again and again. */
#define LOOKS 1.6
#define CV2_ORDINARY 4.0
#define RUNNING_LOOKS 4.0

bool baseline_is_warm(const struct baseline *b, const struct baseline_settings *s)
{
    return b->fitted_hour && b->age_min >= s->history_min && b->marks > 0;
}

double baseline_mean_mark(const struct baseline *b)
{
    return profile_mean_mark(b);
}

bool baseline_is_calibrated(const struct baseline *b)
{
    return b->age_min >= CALIBRATED_WEEKS * WEEK_MIN &&
           b->windows[0].up.clusters >= CALIBRATED_CLUSTERS;
}

const char *baseline_confidence(const struct baseline *b, const struct baseline_settings *s)
{
    return !baseline_is_warm(b, s)     ? "warming"
           : baseline_is_calibrated(b) ? "calibrated"
                                       : "provisional";
}

/* A window to be judged, perhaps with a running minute at its end. */
struct verdict {
    struct window_look look;
    uint32_t minutes; /* whole ones */
    double samples;
    double z; /* rises with the deviation, up or down */
    double ratio;
    double weeks;
};

static void look_over(const struct baseline *b, const struct baseline_window *w,
                      uint32_t window_min, struct verdict *v)
{
    int64_t minute = b->last_minute;
    struct window_span span = window_span(b, minute, window_min);
    struct baseline_hour hour = b->hour.number == minute / 60 ? b->hour : profile_hour(b, minute);

    v->look = window_look(b, w, &span, profile_log_expected(b, &hour, minute), &hour);
    v->minutes = span.minutes;
    v->samples = b->calls ? window_sum(b->calls, minute, window_min) : span.sum;
}

static void look_running(const struct baseline *b, const struct baseline_window *w,
                         uint32_t window_min, const struct baseline_minute *running,
                         uint32_t running_s, struct verdict *v)
{
    int64_t minute = b->last_minute;
    struct window_span span = window_span(b, minute, window_min - 1);
    struct baseline_hour hour =
        b->hour.number == (minute + 1) / 60 ? b->hour : profile_hour(b, minute + 1);
    double log_expected = profile_log_expected(b, &hour, minute + 1);

    v->samples = (double)running->count +
                 (b->calls ? window_sum(b->calls, minute, window_min - 1) : span.sum);
    v->minutes = span.minutes;
    span.sum += (double)running->sum;
    span.expected += running_s / 60.0 * exp(log_expected);
    span.minutes += 1;
    v->look = window_look(b, w, &span, log_expected, &hour);
}

/* A series that never saw a weekend cannot tell one from an outage. */
static bool may_rest(const struct baseline *b)
{
    int64_t day = b->last_minute / BASELINE_DAY_MIN % 7; /* 0: Thursday */

    return (day == 2 || day == 3) && profile_weeks_seen(b, b->last_minute) == 0;
}

static bool is_beyond(const struct baseline_settings *s, const struct verdict *v, bool down)
{
    return v->z >= CALM_SIGMAS && (down ? v->ratio <= 1.0 / DROP_RATIO : v->ratio >= s->ratio_min);
}

/* Halfway back, that an episode does not end and begin anew. */
static bool is_calm(const struct baseline_settings *s, const struct verdict *v, bool down)
{
    return v->z < CALM_SIGMAS ||
           (down ? v->ratio > 1.0 / sqrt(DROP_RATIO) : v->ratio < sqrt(s->ratio_min));
}

static double weeks_of(const struct baseline *b, const struct baseline_settings *s, unsigned i,
                       bool down, double z)
{
    const struct baseline_window *w = &b->windows[i];

    return tail_return_weeks(down ? &w->down : &w->up, z, b->age_min / WEEK_MIN, s->windows_min[i]);
}

static void judge_window(const struct baseline *b, const struct baseline_settings *s, unsigned i,
                         bool down, struct verdict *v)
{
    v->z = down ? -v->look.z_down : v->look.z;
    v->ratio = v->look.expected > 0 ? v->look.sum / v->look.expected : 0;
    v->weeks = weeks_of(b, s, i, down, v->z);
}

static void describe(const struct verdict *v, uint32_t running_s, struct finding *ret_finding)
{
    double band = BAND_SIGMAS * sqrt(v->look.variance), expected = v->look.expected;

    ret_finding->window_s = 60 * v->minutes + running_s;
    ret_finding->observed = v->look.sum;
    ret_finding->baseline = expected;
    ret_finding->before = v->look.before;
    ret_finding->level = v->look.level;
    ret_finding->lower = expected * exp(-band);
    ret_finding->upper = expected * exp(band);
    ret_finding->samples = v->samples;
    ret_finding->sigmas = v->ratio < 1 ? -fabs(v->z) : v->z;
    ret_finding->return_weeks = v->weeks;
}

/* Where calls differ by much their sums have a heavier tail than is modelled. */
static double target_of(const struct baseline *b, const struct baseline_settings *s)
{
    return s->target_weeks * LOOKS * fmax(1.0, profile_mark_cv2(b) / CV2_ORDINARY);
}

/* How much more than expected it takes in this window until it is told. */
static double ratio_least(const struct baseline *b, const struct baseline_settings *s, unsigned i,
                          const struct window_look *k, double target_weeks)
{
    double z = tail_z(&b->windows[i].up, target_weeks, b->age_min / WEEK_MIN, s->windows_min[i]);
    double half = profile_mean_mark(b) / 2;
    double sum = (k->expected + half) * exp(fmax(z, CALM_SIGMAS) * sqrt(k->variance)) - half;

    return k->expected > 0 ? fmax(sum / k->expected, s->ratio_min) : 0;
}

double baseline_ratio_least(const struct baseline *b, const struct baseline_settings *s,
                            uint32_t *ret_window_min)
{
    double least = 0;
    uint32_t window_min = 0;

    for (unsigned i = 0; i < s->windows_count && baseline_is_warm(b, s); i++) {
        struct verdict v;
        double ratio;

        look_over(b, &b->windows[i], s->windows_min[i], &v);
        ratio = ratio_least(b, s, i, &v.look, target_of(b, s));
        if (ratio > 0 && (least == 0 || ratio < least)) {
            least = ratio;
            window_min = s->windows_min[i];
        }
    }
    *ret_window_min = window_min;
    return least;
}

bool baseline_is_quiet(const struct baseline *b, const struct baseline_settings *s, bool down)
{
    for (unsigned i = 0; i < s->windows_count; i++)
        if ((double)(down ? -b->windows[i].z_down : b->windows[i].z) >= CALM_SIGMAS)
            return false;
    return true;
}

/* Which windows say so, and which says it best. */
static bool find_hits(const struct baseline_settings *s, const struct verdict *verdicts, bool down,
                      uint32_t fresh_min, double target, unsigned *best, uint32_t *agree)
{
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    bool fires = false;

    /* Long windows remember: a shorter one must say that it still goes on. */
    for (unsigned i = 0; i < s->windows_count && s->windows_min[i] <= fresh_min; i++) {
        bool hit = verdicts[i].weeks >= target && is_beyond(s, &verdicts[i], down) &&
                   is_beyond(s, &verdicts[recent], down);

        if (hit && (!fires || verdicts[i].z > verdicts[*best].z))
            *best = i;
        fires |= hit;
        *agree |= (uint32_t)hit << i;
    }
    return fires;
}

void baseline_judge(const struct baseline *b, const struct baseline_settings *s, bool down,
                    uint32_t fresh_min, const struct baseline_minute *running, uint32_t running_s,
                    struct finding *ret_finding)
{
    struct verdict verdicts[BASELINE_WINDOWS_MAX] = {0};
    const unsigned recent = s->windows_count > 1 ? 1 : 0;
    unsigned best = recent;
    const double target = target_of(b, s) * (running ? RUNNING_LOOKS : 1.0);
    bool nothing;

    *ret_finding = (struct finding){.is_calm = true};
    if (!baseline_is_warm(b, s) || (down && may_rest(b)))
        return;
    nothing = !running && baseline_is_quiet(b, s, down);
    for (unsigned i = 0; i < s->windows_count; i++) {
        if (nothing && i != recent)
            continue;
        if (running)
            look_running(b, &b->windows[i], s->windows_min[i], running, running_s, &verdicts[i]);
        else
            look_over(b, &b->windows[i], s->windows_min[i], &verdicts[i]);
        judge_window(b, s, i, down, &verdicts[i]);
    }
    if (!nothing)
        ret_finding->fires =
            find_hits(s, verdicts, down, fresh_min, target, &best, &ret_finding->windows_agree);
    describe(&verdicts[best], running ? running_s : 0, ret_finding);
    ret_finding->tail_events = (down ? &b->windows[best].down : &b->windows[best].up)->clusters;
    if (ret_finding->fires && !down)
        ret_finding->ratio_least = ratio_least(b, s, best, &verdicts[best].look, target);
    /* The minute in which a new level was found was none of it. */
    ret_finding->is_calm = is_calm(s, &verdicts[recent], down) && !b->shifted.direction;
}

void baseline_look(const struct baseline *b, const struct baseline_settings *s, unsigned window,
                   struct finding *ret_finding)
{
    struct verdict v = {0};

    *ret_finding = (struct finding){.is_calm = true};
    if (!baseline_is_warm(b, s))
        return;
    look_over(b, &b->windows[window], s->windows_min[window], &v);
    judge_window(b, s, window, v.look.sum < v.look.expected, &v);
    describe(&v, 0, ret_finding);
    ret_finding->is_calm = is_calm(s, &v, v.look.sum < v.look.expected);
}

void baseline_shift(const struct baseline *b, struct finding *ret_finding)
{
    const struct shift_found *f = &b->shifted;
    double band = BAND_SIGMAS * sqrt((double)b->shift.variance);
    double expected = (double)f->expected;

    *ret_finding = (struct finding){.is_calm = true};
    if (!f->direction)
        return;
    *ret_finding = (struct finding){
        .fires = true,
        .window_s = f->minutes * 60u,
        .observed = (double)f->sum,
        .baseline = expected,
        .lower = expected * exp(-band),
        .upper = expected * exp(band),
        .samples = (double)f->samples,
        .return_weeks = (double)f->weeks,
        .tail_events = f->tail_events,
    };
}
