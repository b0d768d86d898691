/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/profile.h"

#include "collector/window.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WEEK_MIN 10080.0
#define WEEK_HOURS 168
#define HOUR_MIN_LEAST 15
#define HOUR_HELD_MOST 15
#define UNIT 1024.0
#define SLOT_STEP_LEAST 0.15
#define MINUTE_STEP_LEAST 0.04
#define ERRORS 1.5 /* what is smaller than so many of its errors is taken for none */
#define ERRORS_FAR 4.0
#define ERRORS_OF_MANY 1.2
#define CLIFF 2.0  /* hours that differ by more are not blended */
#define UNLIKE 1.0 /* what differs by more is no proof by itself */
#define CLIFF_WEEKS 3
#define RAGGED_WEEKS 2
#define UNLIKE_SHARE 0.05
/* Hours to either side; so many of them wander as one. */
#define WEEK_REACH 6
#define WEEK_ALIKE 4.0
#define DAY_REACH 2
#define REST_DAYS 2
#define LEVEL_STEP_LEAST 0.015
#define DEPARTURE_STEP 0.1
#define SHARE_MISSING 0.25
#define MARKS_HALF_LIFE_MIN WEEK_MIN
/* Hours of the week in one byte: fine where they are small, 12 at most. */
#define WEEK_MAX 12.0
#define WEEK_LINEAR 0.1
#define WEEK_CODES 127.0
#define WEEK_UNKNOWN INT8_MIN

static int hour_of_day(int64_t minute)
{
    return (int)(minute / 60 % 24);
}

static int hour_of_week(int64_t minute)
{
    return (int)(minute / 60 % WEEK_HOURS);
}

double profile_mean_mark(const struct baseline *b)
{
    return b->marks > 0 ? (double)b->mark_sum / (double)b->marks : 0;
}

/* Squared coefficient of variation of one call's mark. */
double profile_mark_cv2(const struct baseline *b)
{
    double mean = profile_mean_mark(b);

    if (mean <= 0)
        return 0;
    return fmax((double)b->mark_squares / (double)b->marks / (mean * mean) - 1.0, 0);
}

double profile_sampling_variance(const struct baseline *b, double expected)
{
    double mark = profile_mean_mark(b);

    return mark > 0 ? (1.0 + profile_mark_cv2(b)) / (expected / mark + 1.0) : 1.0;
}

/* --- hours --- */

static double week_scale(void)
{
    return WEEK_CODES / asinh(WEEK_MAX / WEEK_LINEAR);
}

static double week_decoded(int8_t code)
{
    return code && code != WEEK_UNKNOWN ? WEEK_LINEAR * sinh(code / week_scale()) : 0;
}

/* What lies between two codes becomes either, in proportion: means stay true. */
static int8_t week_coded(double value, int64_t minute)
{
    double place = week_scale() * asinh(value / WEEK_LINEAR);
    double dice = (uint32_t)(minute * 2654435761u) / 4294967296.0;

    return (int8_t)fmin(fmax(floor(place + dice), -WEEK_CODES), WEEK_CODES);
}

/* Visits of an hour before the hour of `minute`, from the first one after the fit. */
static uint32_t visits(const struct baseline *b, int64_t minute, int64_t of_minute, int64_t period)
{
    int64_t now = minute / 60, first = b->fitted_hour;
    int64_t ahead = ((of_minute / 60 - first) % period + period) % period;

    return now > first + ahead ? (uint32_t)((now - first - ahead - 1) / period + 1) : 0;
}

uint32_t profile_weeks_seen(const struct baseline *b, int64_t minute)
{
    return visits(b, minute, minute, WEEK_HOURS);
}

static uint32_t days_seen(const struct baseline *b, int64_t now, int64_t minute)
{
    return visits(b, now, minute, 24) + (b->has_first >> hour_of_day(minute) & 1);
}

/* Only what stands out of its own error is taken for real, less that error; what stands
 * out by far is what it is. */
static double beyond_error(double value, double variance, double seen)
{
    double error = ERRORS * sqrt(variance / seen), size = fabs(value);

    if (size <= error)
        return 0;
    if (size > ERRORS_FAR * error)
        error *= ERRORS_FAR * error / size;
    return value > 0 ? value - error : value + error;
}

/* The same of what many hours say together: nearer to what it is. */
static double beyond_error_of_many(double value, double variance)
{
    double least = ERRORS_OF_MANY * ERRORS_OF_MANY * variance;

    return value * value <= least ? 0 : value - least / value;
}

/* Hours of the day near by say what one is like, too. */
static double around_day(const struct baseline *b, int64_t now, int64_t minute, double here)
{
    double sum = 0, weights = 0;

    for (int i = -DAY_REACH; i <= DAY_REACH; i++) {
        double there = b->of_day[hour_of_day(minute + BASELINE_DAY_MIN + 60 * i)] / UNIT,
               weight = DAY_REACH + 1 - abs(i);

        if (fabs(there - here) > UNLIKE || !days_seen(b, now, minute + 60 * i))
            continue;
        sum += weight * there;
        weights += weight;
    }
    return sum / weights;
}

/* How much of the hours of the day is no error of theirs. */
static double share_of_day(const struct baseline *b, double variance)
{
    double squares = 0;

    for (int h = 0; h < 24; h++)
        squares += pow(b->of_day[h] / UNIT, 2) / 24;
    return squares > 0 ? fmax(1 - variance / squares, 0) : 0;
}

static double of_day(const struct baseline *b, int64_t now, int64_t minute)
{
    double seen = fmin(days_seen(b, now, minute), 10), here, around;

    if (seen == 0)
        return 0;
    here = b->of_day[hour_of_day(minute)] / UNIT;
    around = around_day(b, now, minute, here);
    return around * share_of_day(b, (double)b->local.wander / seen) +
           beyond_error(here - around, (double)b->local.wander, seen);
}

/* Hours of the week near by: a weekend is told by all of them sooner than by each. */
static double around_week(const struct baseline *b, int64_t now, int64_t minute, double here,
                          double *ret_hours)
{
    double sum = 0;

    *ret_hours = 0;
    for (int64_t i = -WEEK_REACH; i <= WEEK_REACH; i++) {
        double there = week_decoded(b->of_week[hour_of_week(minute + 60 * i)]);

        if (fabs(there - here) > UNLIKE ||
            b->of_week[hour_of_week(minute + 60 * i)] == WEEK_UNKNOWN ||
            !visits(b, now, minute + 60 * i, WEEK_HOURS))
            continue;
        sum += there;
        ++*ret_hours;
    }
    return *ret_hours > 0 ? sum / *ret_hours : 0;
}

static double of_week(const struct baseline *b, int64_t now, int64_t minute)
{
    uint32_t seen = b->of_week ? visits(b, now, minute, WEEK_HOURS) : 0;
    double wander = (double)b->local.wander, here, around, hours;

    if (!seen)
        return 0;
    here = week_decoded(b->of_week[hour_of_week(minute)]);
    around = around_week(b, now, minute, here, &hours);
    return beyond_error_of_many(around, wander * fmin(1, WEEK_ALIKE / hours) / fmin(seen, 5)) +
           beyond_error(here - around, wander, fmin(seen, 5));
}

/* To the centre of a neighbouring hour. What one week says of it, perhaps of an
 * incident that is just over, is left out. */
static double slope_to(const struct baseline *b, int64_t now, int64_t next, double day, double week)
{
    double to = of_day(b, now, next) - day;

    if (visits(b, now, next, WEEK_HOURS) > 1)
        to += of_week(b, now, next) - week;
    return fabs(to) > CLIFF ? 0 : to;
}

struct baseline_hour profile_hour(const struct baseline *b, int64_t minute)
{
    double day = of_day(b, minute, minute), week = of_week(b, minute, minute);
    struct baseline_hour h = {
        .number = (uint32_t)(minute / 60),
        .here = (float)((double)b->level + day + week),
        .back = (float)slope_to(b, minute, minute - 60, day, week),
        .ahead = (float)slope_to(b, minute, minute + 60, day, week),
    };

    /* Where few weeks say that an hour is quite unlike the same hour of other days,
     * that may have been an incident. */
    if (fabs(week) > UNLIKE && profile_weeks_seen(b, minute) < CLIFF_WEEKS) {
        h.doubt_up = (float)fmax(-week, 0);
        h.doubt_down = (float)fmin(-week, 0);
    }
    return h;
}

void profile_turn(struct baseline *b, int64_t minute)
{
    if (b->hour.number != minute / 60)
        b->hour = profile_hour(b, minute);
}

int profile_cliff(const struct baseline *b, int64_t minute)
{
    struct baseline_hour before = profile_hour(b, minute - 1), now = profile_hour(b, minute);
    double by = (double)(now.here - before.here);

    return by > CLIFF ? 1 : by < -CLIFF ? -1 : 0;
}

/* --- minutes --- */

/* Between the centres of two hours. */
static double log_of_hours(const struct baseline_hour *hour, int64_t minute)
{
    double place = (double)(minute % 60) / 60.0 - 0.5;

    return (double)hour->here +
           (place < 0 ? -place * (double)hour->back : place * (double)hour->ahead);
}

static int slot_of(int64_t minute)
{
    return (int)(minute % BASELINE_DAY_MIN / BASELINE_STEP_MIN);
}

static uint32_t fine_age_min(const struct baseline *b)
{
    return b->age_min - b->fine->since_min;
}

/* Days that went into a slot, as far as they are remembered. */
static double slot_days(const struct baseline *b)
{
    return fmin(fmax(floor(fine_age_min(b) / (double)BASELINE_DAY_MIN), 1), 2 / SLOT_STEP_LEAST);
}

static double minute_visits(const struct baseline *b)
{
    return fmin(fmax(fine_age_min(b) / 60.0, 1), 1 / MINUTE_STEP_LEAST);
}

static double recurring(const struct baseline *b, int16_t place, double seen, double minutes,
                        double log_rate)
{
    double value = place / UNIT, variance;

    /* Short for what follows: most of the day does not stand out. */
    if (value * value * seen <= ERRORS * ERRORS * (double)b->windows[0].noise)
        return 0;
    variance = profile_sampling_variance(b, minutes * exp(log_rate + fmax(value, 0))) +
               (double)b->windows[0].noise;
    return beyond_error(value, variance, seen);
}

static double log_of_minute(const struct baseline *b, const struct baseline_hour *hour,
                            int64_t minute)
{
    double log_hours = log_of_hours(hour, minute);

    if (!b->fine)
        return log_hours;
    return log_hours +
           recurring(b, b->fine->of_minute[minute % 60], minute_visits(b), 1, log_hours);
}

static double of_slot(const struct baseline *b, int64_t minute, double log_rate)
{
    return recurring(b, b->fine->slots[slot_of(minute)], slot_days(b), BASELINE_STEP_MIN, log_rate);
}

double profile_log_expected(const struct baseline *b, const struct baseline_hour *hour,
                            int64_t minute)
{
    double log_rate = log_of_minute(b, hour, minute);

    return b->fine ? log_rate + of_slot(b, minute, log_rate) : log_rate;
}

/* A ragged day may be ragged otherwise the next. */
struct profile_doubt profile_doubt(const struct baseline *b, const struct baseline_hour *hour,
                                   double log_expected)
{
    struct profile_doubt d = {.up = (double)hour->doubt_up, .down = (double)hour->doubt_down};

    if (b->is_ragged && b->age_min < RAGGED_WEEKS * WEEK_MIN) {
        d.up = fmax(d.up, (double)b->highest - log_expected);
        d.down = fmin(d.down, (double)b->lowest - log_expected);
    }
    return d;
}

/* Once an hour: how far the times of a day reach, generously. */
static void survey_hours(struct baseline *b)
{
    double highest = -INFINITY, lowest = INFINITY;

    b->is_ragged = false;
    for (int h = 0; h < 24; h++) {
        double here = b->of_day[h] / UNIT, next = b->of_day[(h + 1) % 24] / UNIT;

        b->is_ragged |= fabs(next - here) > UNLIKE;
        highest = fmax(highest, here);
        lowest = fmin(lowest, here);
    }
    b->highest = (float)((double)b->level + highest);
    b->lowest = (float)((double)b->level + lowest);
}

static void survey_fine(struct baseline *b)
{
    double highest = -INFINITY, lowest = INFINITY, most = 0, least = 0;
    int64_t day = (int64_t)b->last_minute / BASELINE_DAY_MIN * BASELINE_DAY_MIN;

    for (int i = 0; i < 60; i++) {
        most = fmax(most, b->fine->of_minute[i] / UNIT);
        least = fmin(least, b->fine->of_minute[i] / UNIT);
    }
    for (int i = 0; i < BASELINE_SLOTS; i++) {
        int64_t minute = day + (int64_t)i * BASELINE_STEP_MIN;
        double here = b->of_day[hour_of_day(minute)] / UNIT, slot = b->fine->slots[i] / UNIT;

        if (!b->is_ragged && fabs(slot) > UNLIKE)
            b->is_ragged =
                fabs(of_slot(b, minute, (double)b->level + of_day(b, b->last_minute, minute))) >
                UNLIKE;
        highest = fmax(highest, here + slot);
        lowest = fmin(lowest, here + slot);
    }
    b->highest = (float)((double)b->level + highest + most);
    b->lowest = (float)((double)b->level + lowest + least);
}

int profile_survey_day(struct baseline *b)
{
    double mark = profile_mean_mark(b);

    survey_hours(b);
    if (!b->fine && b->fitted_hour && mark > 0 &&
        exp((double)b->highest) >= PROFILE_FINE_CALLS * mark) {
        b->fine = calloc(1, sizeof(*b->fine));
        if (!b->fine)
            return -ENOMEM;
        b->fine->since_min = b->first ? 0 : b->age_min;
    }
    if (b->fine)
        survey_fine(b);
    return 0;
}

/* --- learning --- */

static double log_hour(const struct baseline *b, double sum, double minutes)
{
    return log(sum / minutes + profile_mean_mark(b) / 120.0 + 1e-12);
}

void profile_learn_marks(struct baseline *b, const struct baseline_minute *m)
{
    const float keep = (float)exp2(-1.0 / MARKS_HALF_LIFE_MIN);

    b->marks = b->marks * keep + m->count;
    b->mark_sum = b->mark_sum * keep + m->sum;
    b->mark_squares = b->mark_squares * keep + m->squares;
}

static int16_t in_units(double value)
{
    return (int16_t)lround(UNIT * fmin(fmax(value, -31.0), 31.0));
}

/* The first day becomes the level and the hours of the day. */
int profile_fit_first_day(struct baseline *b, int64_t minute)
{
    double sum = 0;
    int count = 0;

    b->of_week = malloc(WEEK_HOURS * sizeof(*b->of_week));
    if (!b->of_week)
        return -ENOMEM;
    memset(b->of_week, WEEK_UNKNOWN, WEEK_HOURS * sizeof(*b->of_week));
    for (int h = 0; h < 24; h++)
        if (b->has_first >> h & 1) {
            sum += b->of_day[h] / UNIT;
            count++;
        }
    b->level = b->level_first = (float)(sum / count);
    for (int h = 0; h < 24; h++)
        if (b->has_first >> h & 1)
            b->of_day[h] = in_units(b->of_day[h] / UNIT - (double)b->level);
    b->fitted_hour = (uint32_t)(minute / 60 + ((minute + 1) % 60 == 0));
    b->hour.number = 0;
    return 0;
}

/* What the days of the first week were at this hour, the least first. */
static int days_of(const struct baseline *b, int hour, double *days)
{
    int count = 0;

    for (int h = hour; h < WEEK_HOURS; h += 24) {
        double value = week_decoded(b->of_week[h]);
        int at = count;

        if (b->of_week[h] == WEEK_UNKNOWN)
            continue;
        for (; at > 0 && days[at - 1] > value; at--)
            days[at] = days[at - 1];
        days[at] = value;
        count++;
    }
    return count;
}

/* Where most of them are: a weekend is not of them. */
static double most_days(const double *days, int count)
{
    int most = count - (count > REST_DAYS + 2 ? REST_DAYS : 0), best = 0;
    double sum = 0;

    for (int from = 1; from + most <= count; from++)
        if (days[from + most - 1] - days[from] < days[best + most - 1] - days[best])
            best = from;
    for (int i = 0; i < most; i++)
        sum += days[best + i];
    return sum / most;
}

/* The first week, all of it relative to one level, becomes level, hours of the day and of
 * the week: what was learned meanwhile had followed the weekend. */
static void fit_first_week(struct baseline *b, int64_t minute)
{
    double hours[24], days[7], level = 0, moved;

    for (int h = 0; h < 24; h++) {
        int count = days_of(b, h, days);

        hours[h] = count ? (double)b->level_first + most_days(days, count)
                         : (double)b->level + b->of_day[h] / UNIT;
        level += hours[h] / 24;
    }
    moved = level - (double)b->level_first;
    b->level = (float)level;
    for (int h = 0; h < 24; h++)
        b->of_day[h] = in_units(hours[h] - level);
    for (int64_t then = minute + 1; then <= minute + WEEK_HOURS * 60; then += 60) {
        int8_t *place = &b->of_week[hour_of_week(then)];

        if (*place != WEEK_UNKNOWN)
            *place = week_coded(week_decoded(*place) - moved - of_day(b, minute + 1, then), then);
    }
}

static void learn_week(int8_t *place, uint32_t weeks, double value, int64_t minute)
{
    double by = value - week_decoded(*place);

    if (*place == WEEK_UNKNOWN) {
        *place = week_coded(value, minute);
        return;
    }
    if (weeks >= 2)
        by = fmin(fmax(by, -1), 1);
    *place = week_coded(week_decoded(*place) + fmax(1.0 / (weeks + 1.0), 0.2) * by, minute);
}

static void learn_later_hour(struct baseline *b, int64_t minute, double value)
{
    int h = hour_of_day(minute);
    uint32_t weeks = profile_weeks_seen(b, minute), days = days_seen(b, minute, minute);
    int8_t *place = &b->of_week[hour_of_week(minute)];
    double d = value - (double)b->hour.here;

    if (weeks == 0)
        *place = week_coded(value - (double)b->level_first, minute);
    else
        learn_week(place, weeks, value - (double)b->level - of_day(b, minute, minute), minute);
    /* What is quite unlike, a weekend say, is the week's before it is the level's. */
    d = fmin(fmax(d, -0.5), 0.5) * (fabs(d) > UNLIKE ? UNLIKE_SHARE : 1.0);
    b->level += (float)(fmax(1.0 / (b->hours + 1.0), LEVEL_STEP_LEAST) * d);
    /* A day that is high as a whole says nothing of its hours. */
    b->departure += (float)(DEPARTURE_STEP * (d - (double)b->departure));
    d -= (double)b->departure;
    b->of_day[h] = in_units(b->of_day[h] / UNIT + fmax(1.0 / (days + 1.0), 0.1) * d);
}

/* `minute` is the last one of the hour. */
void profile_close_hour(struct baseline *b, int64_t minute)
{
    double value = log_hour(b, (double)b->hour_sum, b->hour_minutes);
    int h = hour_of_day(minute);

    if (b->hour_minutes >= HOUR_MIN_LEAST && b->hour_held <= HOUR_HELD_MOST) {
        if (b->fitted_hour) {
            learn_later_hour(b, minute, value);
        } else {
            b->of_day[h] = in_units(value);
            b->has_first |= 1u << h;
        }
        b->hours++;
    }
    if (b->fitted_hour && minute / 60 + 1 == b->fitted_hour + WEEK_HOURS)
        fit_first_week(b, minute);
    b->hour.number = 0;
}

static int16_t stepped(int16_t place, double step, double residual)
{
    double value = place / UNIT;

    value += step * fmin(fmax(residual - value, -1.5), 1.5);
    return (int16_t)lround(UNIT * fmin(fmax(value, -4.0), 4.0));
}

/* The local state after a minute, for what came after. */
static double state_after(const struct baseline *b, int64_t minute)
{
    return b->local.cliff > minute ? 0 : window_state(b, minute);
}

/* What does not come today, at a weekend say, is hardly proof that it comes no more. */
static double share_learned(const struct baseline *b, int64_t minute, double residual)
{
    if (residual > -UNLIKE)
        return 1.0;
    return b->first || profile_weeks_seen(b, minute) ? SHARE_MISSING : 0;
}

static void learn_of_minute(struct baseline *b, int64_t minute)
{
    double mark = profile_mean_mark(b);
    double expected = exp(log_of_hours(&b->hour, minute) + state_after(b, minute - 1));
    int16_t *place = &b->fine->of_minute[minute % 60];
    double residual = log(((double)b->sums.minutes[minute % BASELINE_MINUTES] + mark / 2 + 1e-12) /
                          (expected + mark / 2 + 1e-12));

    *place = stepped(*place, share_learned(b, minute, residual) / minute_visits(b), residual);
}

/* `minute` is the last one of its slot. */
static void learn_slot(struct baseline *b, int64_t minute)
{
    int16_t *slot = &b->fine->slots[slot_of(minute)];
    double mark = profile_mean_mark(b), sum = 0, expected = 0, residual, step;

    for (int i = 0; i < BASELINE_STEP_MIN; i++) {
        sum += (double)b->sums.minutes[(minute - i) % BASELINE_MINUTES];
        expected += exp(log_of_minute(b, &b->hour, minute - i));
    }
    expected *= exp(state_after(b, minute - BASELINE_STEP_MIN));
    residual = log((sum + mark / 2 + 1e-12) / (expected + mark / 2 + 1e-12));
    step = fmax(1.0 / (slot_days(b) + (b->first ? 0.0 : 1.0)), SLOT_STEP_LEAST);
    *slot = stepped(*slot, step * share_learned(b, minute, residual), residual);
}

/* Minutes of an hour are told apart; what the whole hour is like is not theirs. */
static void centre(int16_t *places, int count)
{
    double sum = 0;
    int by;

    for (int i = 0; i < count; i++)
        sum += exp(places[i] / UNIT);
    by = (int)lround(UNIT * log(sum / count));
    for (int i = 0; i < count; i++)
        places[i] = (int16_t)(places[i] - by);
}

void profile_learn_recurring(struct baseline *b, int64_t minute)
{
    if (!b->fine)
        return;
    learn_of_minute(b, minute);
    if ((minute + 1) % BASELINE_STEP_MIN == 0)
        learn_slot(b, minute);
    if ((minute + 1) % 60 == 0)
        centre(b->fine->of_minute, 60);
}
