/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new level that is too small for the short windows. Quarters of an hour (longer
 * parts where a quarter has too few calls to say anything) go through a Kalman filter
 * of the log rate around its profile; what surprises it is weighed for a step at any
 * of the latest starts, and the likeliest start is judged. Found from two weeks on. A
 * shift that was found becomes the level. For baseline.c.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define SHIFT_PART_MIN 15
#define SHIFT_STARTS 3

/* A step that may have begun here. */
struct shift_start {
    float fast, slow;     /* what the filter has taken for its own of a step of one */
    float squares, score; /* of the expected surprises; of them and the surprises */
    float sum, expected, samples;
    uint16_t parts, minutes; /* so far; no minutes: free */
};

/* How far the likeliest step goes while there is none. */
struct shift_usual {
    float level;     /* that 2% of the parts are above */
    uint16_t beyond; /* parts that were */
};

struct shift {
    float variance; /* of the log rate around its profile */
    float fast, slow, fast_variance, slow_variance, covariance;
    float sum, expected, samples; /* the part under way */
    uint16_t learned;
    uint8_t minutes, held;
    struct shift_start *starts; /* SHIFT_STARTS; NULL until it begins */
    struct shift_usual up, down;
};

/* What is known of the series when a quarter is over. */
struct shift_context {
    double mark;   /* one call's */
    double spread; /* variance of a sum in units of a Poisson one */
    double ragged; /* variance of a minute beyond both */
    double weeks;  /* of history */
    double target_weeks, ratio_min;
};

struct shift_found {
    int16_t direction; /* 1, -1; 0: nothing */
    uint16_t minutes, tail_events;
    float sum, expected, samples, weeks;
};

void shift_init(struct shift *s);
/* From now on minutes may be added. -ENOMEM. */
int shift_begin(struct shift *s) LECTR_MUST_USE;
void shift_fini(struct shift *s);
/* A minute; `hold`: of a part that is not judged. */
void shift_add(struct shift *s, double sum, double expected, double samples, bool hold);
/* A quarter is over. What is rarer than target_weeks is found. */
struct shift_found shift_close(struct shift *s, const struct shift_context *c);
