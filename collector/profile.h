/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile of a baseline: what its times are like. A level, hours of the day,
 * hours of the week, minutes of the hour and five-minute slots of the day, all in
 * the log domain; of each only what stands out of its own error. For baseline.c.
 */
#pragma once

#include "collector/baseline.h"

/* Minutes and slots are kept where some hour has so many calls a minute: with less,
 * nothing can stand out of its error for long. */
#define PROFILE_FINE_CALLS 5.0

/* What else the log rate may be taken for, relative to what is expected: an hour of
 * the week that few weeks know, a ragged day that few days know. */
struct profile_doubt {
    double up, down;
};

/* One call's mark: its mean, its squared coefficient of variation. */
double profile_mean_mark(const struct baseline *b);
double profile_mark_cv2(const struct baseline *b);
/* Of the log of a sum whose expectation is `expected`. */
double profile_sampling_variance(const struct baseline *b, double expected);

/* To be called before anything is asked about a minute of another hour. */
void profile_turn(struct baseline *b, int64_t minute);
struct baseline_hour profile_hour(const struct baseline *b, int64_t minute);
/* Log of the expected sum of a minute, which lies in `hour`. */
double profile_log_expected(const struct baseline *b, const struct baseline_hour *hour,
                            int64_t minute);
/* The hour that begins with `minute` is quite unlike the one before: -1, 1; 0. */
int profile_cliff(const struct baseline *b, int64_t minute);
struct profile_doubt profile_doubt(const struct baseline *b, const struct baseline_hour *hour,
                                   double log_expected);
/* So many times has this hour of the week, of the day been learned. */
uint32_t profile_weeks_seen(const struct baseline *b, int64_t minute);

void profile_learn_marks(struct baseline *b, const struct baseline_minute *m);
/* `minute` is the last one of the hour. */
void profile_close_hour(struct baseline *b, int64_t minute);
/* The first day becomes the level and the hours of the day. -ENOMEM. */
int profile_fit_first_day(struct baseline *b, int64_t minute) LECTR_MUST_USE;
/* A minute that the local state has followed. */
void profile_learn_recurring(struct baseline *b, int64_t minute);
/* Once an hour: how far the times of a day reach; memory for what recurs, where there
 * is enough to see. -ENOMEM. */
int profile_survey_day(struct baseline *b) LECTR_MUST_USE;
