/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new level that is too small for the short windows: a CUSUM of what the hours
 * depart from the profile, each against the one before it, so that an afternoon
 * that is high stays one observation. Judged from two weeks on, once an hour. A
 * shift that was found becomes the level. For baseline.c.
 */
#pragma once

#include "collector/tail.h"

#include <stdint.h>

struct shift_run {
    float score;
    float sum, expected, samples;
    uint32_t hours;   /* since it rose from nothing */
    struct tail tail; /* of the score's peaks */
};

struct shift {
    float variance; /* of an hour's departure */
    float last;     /* the departure of the hour before */
    uint32_t learned;
    struct shift_run up, down;
};

/* An hour that is over, in terms of the profile alone. */
struct shift_hour {
    int64_t minute; /* its last one */
    double sum, expected, samples;
    double departure; /* ln(sum / expected) */
};

struct shift_found {
    int16_t direction; /* 1, -1; 0: nothing */
    uint16_t hours, tail_events;
    float sum, expected, samples, weeks;
};

void shift_init(struct shift *s);
/* `weeks`: of history; `target_weeks`: what is rarer is found. */
struct shift_found shift_learn(struct shift *s, const struct shift_hour *hour, double weeks,
                               double target_weeks, double ratio_min);
