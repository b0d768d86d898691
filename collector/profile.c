/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/profile.h"

#include <math.h>

#define WEEK_MIN 10080.0
#define HOUR_MIN_LEAST 15
#define SLOT_UNIT 1024.0
#define SLOT_STEP_LEAST 0.15
#define MINUTE_STEP_LEAST 0.04
#define ERRORS 1.5 /* what is smaller than so many of its errors is taken for none */
#define CLIFF 2.0  /* hours that differ by more are not blended */
#define UNLIKE 1.0 /* what differs by more is no proof by itself */
#define CLIFF_WEEKS 3
#define RAGGED_WEEKS 2
#define UNLIKE_SHARE 0.2
#define MARKS_HALF_LIFE_MIN WEEK_MIN

static int hour_of_day(int64_t minute)
{
    return (int)(minute / 60 % 24);
}

int profile_hour_of_week(int64_t minute)
{
    return (int)(minute / 60 % 168);
}

double profile_mean_mark(const struct baseline *b)
{
    return b->marks > 0 ? b->mark_sum / b->marks : 0;
}

/* Squared coefficient of variation of one call's mark. */
double profile_mark_cv2(const struct baseline *b)
{
    double mean = profile_mean_mark(b);

    if (mean <= 0)
        return 0;
    return fmax(b->mark_squares / b->marks / (mean * mean) - 1.0, 0);
}

/* Only what stands out of its own error is taken for real. */
static double beyond_error(double value, double variance, double visits)
{
    double error = ERRORS * sqrt(variance / visits);

    return value > error ? value - error : value < -error ? value + error : 0;
}

static double of_day(const struct baseline *b, int64_t minute)
{
    int h = hour_of_day(minute);

    return b->of_day_hours[h] ? beyond_error((double)b->of_day[h], (double)b->local.wander,
                                             fmin(b->of_day_hours[h], 10))
                              : 0;
}

static double of_week(const struct baseline *b, int64_t minute)
{
    int w = profile_hour_of_week(minute);

    return b->of_week_hours[w] ? beyond_error((double)b->of_week[w], (double)b->local.wander,
                                              fmin(b->of_week_hours[w], 5))
                               : 0;
}

/* Log of the expected sum per minute, at the centre of the minute's hour. */
double profile_log_of_hour(const struct baseline *b, int64_t minute)
{
    return b->level + of_day(b, minute) + of_week(b, minute);
}

/* Between the centres of two hours. What one week says of the hour beside, perhaps
 * of an incident that is just over, is left out. */
static double log_of_hours(const struct baseline *b, int64_t minute)
{
    double place = (double)(minute % 60) / 60.0 - 0.5;
    int64_t next = place < 0 ? minute - 60 : minute + 60;
    double here = profile_log_of_hour(b, minute), to = of_day(b, next) - of_day(b, minute);

    if (b->of_week_hours[profile_hour_of_week(next)] > 1)
        to += of_week(b, next) - of_week(b, minute);
    return fabs(to) > CLIFF ? here : here + fabs(place) * to;
}

bool profile_is_cliff(const struct baseline *b, int64_t minute)
{
    return fabs(profile_log_of_hour(b, minute) - profile_log_of_hour(b, minute - 1)) > CLIFF;
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

double profile_sampling_variance(const struct baseline *b, double expected)
{
    double mark = profile_mean_mark(b);

    return mark > 0 ? (1.0 + profile_mark_cv2(b)) / (expected / mark + 1.0) : 1.0;
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
    variance = profile_sampling_variance(b, minutes * exp(log_rate + fmax(value, 0))) +
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

static double of_slot(const struct baseline *b, int64_t minute, double log_rate)
{
    return recurring(b, b->slots[slot_of(minute)] / SLOT_UNIT, slot_days(b), BASELINE_SLOT_MIN,
                     log_rate);
}

double profile_log_expected(const struct baseline *b, int64_t minute)
{
    double log_rate = log_of_minute(b, minute);

    return log_rate + of_slot(b, minute, log_rate);
}

/* Where few weeks say that an hour is quite unlike the same hour of other days, that
 * may have been an incident; and a ragged day may be ragged otherwise the next. */
struct profile_doubt profile_doubt(const struct baseline *b, int64_t minute)
{
    double week = of_week(b, minute), here;
    struct profile_doubt d = {0};

    if (fabs(week) > UNLIKE && b->of_week_hours[profile_hour_of_week(minute)] < CLIFF_WEEKS)
        d = (struct profile_doubt){.up = fmax(-week, 0), .down = fmin(-week, 0)};
    if (b->is_ragged && b->age_min < RAGGED_WEEKS * WEEK_MIN) {
        here = profile_log_expected(b, minute);
        d.up = fmax(d.up, (double)b->highest - here);
        d.down = fmin(d.down, (double)b->lowest - here);
    }
    return d;
}

/* Once an hour: how far the times of a day reach, generously. */
void profile_survey_day(struct baseline *b)
{
    double highest = -INFINITY, lowest = INFINITY, most = 0, least = 0;

    for (int i = 0; i < 60; i++) {
        most = fmax(most, b->of_minute[i] / SLOT_UNIT);
        least = fmin(least, b->of_minute[i] / SLOT_UNIT);
    }
    b->is_ragged = false;
    for (int i = 0; i < BASELINE_SLOTS; i++) {
        int64_t minute = (int64_t)i * BASELINE_SLOT_MIN;
        double hour = (double)b->of_day[hour_of_day(minute)];
        double next = (double)b->of_day[hour_of_day(minute + 60)], slot = b->slots[i] / SLOT_UNIT;

        b->is_ragged |= fabs(of_slot(b, minute, b->level + of_day(b, minute))) > UNLIKE ||
                        fabs(next - hour) > UNLIKE;
        highest = fmax(highest, hour + slot);
        lowest = fmin(lowest, hour + slot);
    }
    b->highest = (float)(b->level + highest + most);
    b->lowest = (float)(b->level + lowest + least);
}

static const struct baseline_minute *minute_at(const struct baseline *b, int64_t minute)
{
    return &b->ring[minute % BASELINE_RING];
}

/* --- learning --- */

static double log_hour(const struct baseline *b, double sum, double minutes)
{
    return log(sum / minutes + profile_mean_mark(b) / 120.0 + 1e-12);
}

void profile_learn_marks(struct baseline *b, const struct baseline_minute *m)
{
    double keep = exp2(-1.0 / MARKS_HALF_LIFE_MIN);

    b->marks = b->marks * keep + (double)m->count;
    b->mark_sum = b->mark_sum * keep + (double)m->sum;
    b->mark_squares = b->mark_squares * keep + (double)m->squares;
}

/* The first day becomes the level and the hours of the day. */
void profile_fit_first_day(struct baseline *b)
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
    int h = hour_of_day(minute), w = profile_hour_of_week(minute);
    double d = value - profile_log_of_hour(b, minute);

    double week = value - b->level - of_day(b, minute) - (double)b->of_week[w];

    if (b->of_week_hours[w] >= 2)
        week = fmin(fmax(week, -1), 1);
    b->of_week[w] += (float)(fmax(1.0 / (b->of_week_hours[w] + 1.0), 0.2) * week);
    b->of_week_hours[w] += b->of_week_hours[w] < 1000;
    /* What is quite unlike, a weekend say, is the week's before it is the level's. */
    d = fmin(fmax(d, -0.5), 0.5) * (fabs(d) > UNLIKE ? UNLIKE_SHARE : 1.0);
    b->level += (float)(fmax(1.0 / (b->hours + 1.0), 0.04) * d);
    b->of_day[h] += (float)(fmax(1.0 / (b->of_day_hours[h] + 1.0), 0.1) * d);
    b->of_day_hours[h] += b->of_day_hours[h] < 1000;
}

/* `minute` is the last one of the hour. */
void profile_close_hour(struct baseline *b, int64_t minute)
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
        profile_survey_day(b);
    }
    b->hour = (struct baseline_minute){0};
    b->hour_minutes = 0;
}

static int16_t stepped(int16_t place, double step, double residual)
{
    double value = place / SLOT_UNIT;

    value += step * fmin(fmax(residual - value, -1.5), 1.5);
    return (int16_t)lround(SLOT_UNIT * fmin(fmax(value, -4.0), 4.0));
}

static double state_before(const struct baseline *b, int64_t minute)
{
    return b->local.cliff > minute ? 0 : (double)b->local.states[(size_t)minute % BASELINE_RING];
}

static void learn_of_minute(struct baseline *b, int64_t minute)
{
    double mark = profile_mean_mark(b);
    double expected = exp(log_of_hours(b, minute) + state_before(b, minute - 1));
    int16_t *place = &b->of_minute[minute % 60];

    *place = stepped(*place, 1 / minute_visits(b),
                     log(((double)minute_at(b, minute)->sum + mark / 2 + 1e-12) /
                         (expected + mark / 2 + 1e-12)));
}

/* `minute` is the last one of its slot. */
static void learn_slot(struct baseline *b, int64_t minute)
{
    int16_t *slot = &b->slots[slot_of(minute)];
    double mark = profile_mean_mark(b), sum = 0, expected = 0;

    for (int i = 0; i < BASELINE_SLOT_MIN; i++) {
        sum += (double)minute_at(b, minute - i)->sum;
        expected += exp(log_of_minute(b, minute - i));
    }
    expected *= exp(state_before(b, minute - BASELINE_SLOT_MIN));
    *slot = stepped(*slot, fmax(1.0 / (slot_days(b) + (b->day ? 0.0 : 1.0)), SLOT_STEP_LEAST),
                    log((sum + mark / 2 + 1e-12) / (expected + mark / 2 + 1e-12)));
}

void profile_learn_recurring(struct baseline *b, int64_t minute)
{
    learn_of_minute(b, minute);
    if ((minute + 1) % BASELINE_SLOT_MIN == 0)
        learn_slot(b, minute);
}