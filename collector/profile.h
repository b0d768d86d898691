/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile of a baseline: what its times are like. A level, hours of the day,
 * hours of the week, minutes of the hour and five-minute slots of the day, all in
 * the log domain; of each only what stands out of its own error. For baseline.c.
 */
#pragma once

#include "collector/baseline.h"

/* What else the log rate may be taken for, relative to what is expected: an hour of
 * the week that few weeks know, a ragged day that few days know. */
struct profile_doubt {
    double up, down;
};

int profile_hour_of_week(int64_t minute);
/* One call's mark: its mean, its squared coefficient of variation. */
double profile_mean_mark(const struct baseline *b);
double profile_mark_cv2(const struct baseline *b);
/* Of the log of a sum whose expectation is `expected`. */
double profile_sampling_variance(const struct baseline *b, double expected);
/* Log of the expected sum of a minute; of its hour alone. */
double profile_log_expected(const struct baseline *b, int64_t minute);
double profile_log_of_hour(const struct baseline *b, int64_t minute);
/* The hour that begins with `minute` is quite unlike the one before. */
bool profile_is_cliff(const struct baseline *b, int64_t minute);
struct profile_doubt profile_doubt(const struct baseline *b, int64_t minute);

void profile_learn_marks(struct baseline *b, const struct baseline_minute *m);
/* `minute` is the last one of the hour. */
void profile_close_hour(struct baseline *b, int64_t minute);
/* The first day becomes the level and the hours of the day. */
void profile_fit_first_day(struct baseline *b);
/* A minute that the local state has followed. */
void profile_learn_recurring(struct baseline *b, int64_t minute);
void profile_survey_day(struct baseline *b);
