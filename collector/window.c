/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/window.h"

#include "collector/profile.h"

#include <math.h>

#define STATE_UNIT 2048.0
#define LOCAL_DECAY_MIN 360.0
#define CLIFF_LEARN_MIN 15.0
#define CLIFF_FORGOTTEN_MIN 120
#define STATE_FAR 0.7      /* what is going on is not what the profile says */
#define STATE_FAR_STEP 0.2 /* nor is it after a step: the state may be of before it */

static size_t place_of(int64_t minute)
{
    return (size_t)minute % BASELINE_MINUTES;
}

static size_t step_of(int64_t minute)
{
    return (size_t)(minute / BASELINE_STEP_MIN) % BASELINE_STEPS;
}

static bool ends_step(int64_t minute)
{
    return (minute + 1) % BASELINE_STEP_MIN == 0;
}

/* --- what is remembered --- */

static void enter(struct baseline_ring *r, int64_t minute, double value)
{
    float sum = 0;

    r->minutes[place_of(minute)] = (float)value;
    if (!ends_step(minute))
        return;
    for (int i = 0; i < BASELINE_STEP_MIN; i++)
        sum += r->minutes[place_of(minute - i)];
    r->steps[step_of(minute)] = sum;
}

void window_enter(struct baseline *b, int64_t minute, double sum, double expected)
{
    enter(&b->sums, minute, sum);
    enter(&b->expected, minute, expected);
}

void window_enter_state(struct baseline *b, int64_t minute)
{
    int16_t state = (int16_t)lroundf(b->local.state * (float)STATE_UNIT);

    b->states[place_of(minute)] = state;
    if (ends_step(minute))
        b->step_states[step_of(minute)] = state;
}

double window_state(const struct baseline *b, int64_t minute)
{
    return b->states[place_of(minute)] / STATE_UNIT;
}

static void move(int16_t *states, size_t count, double by)
{
    for (size_t i = 0; i < count; i++)
        states[i] = (int16_t)lround(fmin(fmax(states[i] - STATE_UNIT * by, INT16_MIN), INT16_MAX));
}

void window_move(struct baseline *b, double by)
{
    float factor = (float)exp(by);

    move(b->states, BASELINE_MINUTES, by);
    move(b->step_states, BASELINE_STEPS, by);
    for (int i = 0; i < BASELINE_MINUTES; i++)
        b->expected.minutes[i] *= factor;
    for (int i = 0; i < BASELINE_STEPS; i++)
        b->expected.steps[i] *= factor;
}

/* --- windows --- */

/* Single minutes at the end of the window, and steps before them. */
struct extent {
    uint32_t minutes, steps;
};

static struct extent extent_of(int64_t minute, uint32_t wanted)
{
    struct extent e = {.minutes = wanted};

    if (wanted < BASELINE_MINUTES)
        return e;
    e.minutes = (uint32_t)((minute + 1) % BASELINE_STEP_MIN);
    e.steps = (wanted - e.minutes) / BASELINE_STEP_MIN;
    e.steps = e.steps < BASELINE_STEPS ? e.steps : BASELINE_STEPS - 1;
    return e;
}

static double total(const struct baseline_ring *r, int64_t minute, struct extent e)
{
    int64_t before = minute - e.minutes;
    float sum = 0;

    for (uint32_t i = 0; i < e.minutes; i++)
        sum += r->minutes[place_of(minute - i)];
    for (uint32_t i = 0; i < e.steps; i++)
        sum += r->steps[step_of(before - (int64_t)i * BASELINE_STEP_MIN)];
    return (double)sum;
}

/* A window that a cliff upwards lies in is mostly beyond it. */
static double state_before(const struct baseline *b, int64_t before, struct extent e)
{
    if (b->local.cliff > before && b->local.cliff_up)
        return 0;
    return (e.steps ? b->step_states[step_of(before)] : b->states[place_of(before)]) / STATE_UNIT;
}

/* Beyond a cliff it takes a while to know where the local state is. */
static double unknown_state(const struct baseline *b, int64_t before)
{
    double since = b->local.cliff ? (double)(before - b->local.cliff) : INFINITY;

    return since < CLIFF_FORGOTTEN_MIN
               ? (double)b->local.wander * exp(-fmax(since, 0) / CLIFF_LEARN_MIN)
               : 0;
}

struct window_span window_span(const struct baseline *b, int64_t minute, uint32_t minutes)
{
    struct extent e = extent_of(minute, minutes);
    int64_t before = minute - e.minutes - (int64_t)e.steps * BASELINE_STEP_MIN;

    return (struct window_span){
        .minutes = e.minutes + e.steps * BASELINE_STEP_MIN,
        .sum = total(&b->sums, minute, e),
        .expected = total(&b->expected, minute, e),
        .state = state_before(b, before, e),
        .doubt = unknown_state(b, before),
    };
}

double window_sum(const struct baseline *b, int64_t minute, uint32_t minutes)
{
    return total(&b->sums, minute, extent_of(minute, minutes));
}

/* The logarithm exaggerates how rare few calls are: none where nine are usual is
 * one hour in ten thousand. In units of calls, widened for what is not Poisson. */
static double deviance_z(double sum, double expected, double mark, double noise, double spread)
{
    double seen, usual, deviance;

    if (mark <= 0 || sum >= expected)
        return 0;
    seen = sum / mark;
    usual = expected / mark;
    deviance = 2.0 * ((seen > 0 ? seen * log(seen / usual) : 0) - (seen - usual));
    return -sqrt(fmax(deviance, 0) / (spread + noise * usual));
}

static double step_lately(const struct baseline *b)
{
    return b->local.step_parts ? (double)b->local.step / BASELINE_STEP_UNIT : 0;
}

/* Back to what the time of the day is like is no event; nor is it, for a day after a
 * step, to be at the level before it. */
static struct profile_doubt doubt_returns(const struct baseline *b, double state,
                                          struct profile_doubt d)
{
    double far = b->local.step_parts ? STATE_FAR_STEP : STATE_FAR;
    double before = b->local.step_parts ? -step_lately(b) - state : 0;

    if (state < -far)
        d.up = fmax(d.up, -state);
    if (state > far)
        d.down = fmin(d.down, -state);
    d.up = fmax(d.up, before);
    d.down = fmin(d.down, before);
    return d;
}

struct window_look window_look(const struct baseline *b, const struct baseline_window *w,
                               const struct window_span *span, double log_expected,
                               const struct baseline_hour *hour)
{
    double mark = profile_mean_mark(b), half = mark / 2 + 1e-12,
           noise = (double)w->noise + span->doubt;
    double spread = 1.0 + profile_mark_cv2(b);
    double state = span->state * exp(-(span->minutes / 2.0) / LOCAL_DECAY_MIN);
    struct profile_doubt doubt = doubt_returns(b, state, profile_doubt(b, hour, log_expected));
    double expected = span->expected * exp(state);
    double variance = noise + (mark > 0 ? spread / (expected / mark + 1.0) : 1.0);
    double scale = sqrt(variance), usual = log((span->sum + half) / (expected + half)) / scale;
    double down = deviance_z(span->sum, expected, mark, noise, spread);
    double before = span->expected * exp(-step_lately(b));
    struct window_look k = {span->sum, expected, span->expected, before, variance,
                            usual,     down,     usual,          down};

    if (doubt.up > 0)
        k.z = log((span->sum + half) / (expected * exp(doubt.up) + half)) / scale;
    if (doubt.down < 0)
        k.z_down = deviance_z(span->sum, expected * exp(doubt.down), mark, noise, spread);
    return k;
}
