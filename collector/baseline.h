/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expectation of a sum over time (cost, tokens, calls) in the log domain: a level,
 * the hour of the day, the hour of the week, five-minute slots of the day that
 * recur (cron), and a local state that follows what is going on now, the faster
 * the more calls there are to follow. The noise has a floor from sampling, so that
 * a series of few calls is judged as what it is. Event time only; minutes come in
 * order, empty ones included.
 *
 * Nothing fires before history_min minutes: the first day is learned, then gone
 * through once more against what was learned, to know its noise.
 */
#pragma once

#include "collector/config.h"
#include "collector/finding.h"
#include "collector/shift.h"
#include "collector/tail.h"
#include "proto/base/cleanup.h"

#define BASELINE_WINDOWS_MAX CONFIG_DETECT_WINDOWS_MAX
#define BASELINE_RING 128 /* minutes that are kept */
#define BASELINE_DAY_MIN 1440
#define BASELINE_SLOT_MIN 5
#define BASELINE_SLOTS (BASELINE_DAY_MIN / BASELINE_SLOT_MIN)

struct baseline_settings {
    uint32_t windows_min[BASELINE_WINDOWS_MAX];
    unsigned windows_count;
    uint32_t history_min;
    double target_weeks;
    double ratio_min;
};

/* One minute of a metric: how many, how much, and the sum of squares. */
struct baseline_minute {
    float count;
    float sum;
    float squares;
};

/* A window that ends with the latest minute, against its expectation. */
struct baseline_look {
    float sum, samples;
    float expected; /* after the local state of before the window */
    float variance; /* of the logarithm */
    float z;        /* in the log domain: for what is too much */
    float z_down;   /* from the Poisson deviance: for what is too little */
    /* The same without the profile's doubts: what is learned from. */
    float plain, plain_down;
};

struct baseline_window {
    float noise; /* variance beyond sampling */
    uint32_t learned;
    struct baseline_look look; /* at the minute learned last */
    struct tail up, down;
};

/* The log rate wanders around its expectation: a Kalman filter of one state. */
struct baseline_local {
    float state, variance;
    float wander;        /* variance of the log rate around its expectation */
    uint32_t frozen_min; /* how long an excursion has held it */
    int64_t cliff;       /* the minute of the last cliff of the profile, 0 = none */
    bool cliff_up;
    float states[BASELINE_RING]; /* after each minute */
};

struct baseline {
    struct baseline_minute ring[BASELINE_RING];
    float expected[BASELINE_RING];     /* of each minute, without the local state */
    struct baseline_minute *day;       /* the first day, until it was gone through again */
    int64_t first_minute, last_minute; /* Unix minutes; 0 = nothing yet */
    uint32_t age_min;
    struct baseline_minute hour; /* the running hour */
    uint32_t hour_minutes;
    float hour_expected; /* by the profile, of the running hour */
    struct shift shift;
    struct shift_found shifted; /* at the minute learned last */
    uint32_t hours;             /* learned */
    bool is_fitted;             /* the first day is in the level and the hours of the day */
    float level;
    bool is_ragged;        /* times of the day differ by factors: one day is no proof of them */
    float highest, lowest; /* log rate that any time of the day has */
    float first_day[24];
    bool has_first[24];
    float of_day[24], of_week[168];
    uint16_t of_day_hours[24], of_week_hours[168];
    struct baseline_local local;
    /* In 1/1024: what recurs at a minute of the hour, at a time of the day. */
    int16_t of_minute[60], slots[BASELINE_SLOTS];
    double marks, mark_sum, mark_squares; /* of single calls, forgotten slowly */
    struct baseline_window windows[BASELINE_WINDOWS_MAX];
};

int baseline_new(struct baseline **ret_baseline) LECTR_MUST_USE;
void baseline_free(struct baseline **baseline);

/* A minute that is over; `minute` is Unix minutes, rising by one. */
int baseline_learn(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                   const struct baseline_minute *m) LECTR_MUST_USE;
/* `down`: judges a drop. `fresh_min`: longer windows have no say, for they still
 * remember an episode that is over. `running` and its length in seconds: a
 * minute that is not over, judged together with the ones before; NULL: the last
 * one learned. */
void baseline_judge(const struct baseline *b, const struct baseline_settings *s, bool down,
                    uint32_t fresh_min, const struct baseline_minute *running, uint32_t running_s,
                    struct finding *ret_finding);
/* One window by itself, over minutes that are learned: what was expected of it and
 * how rare it is, whichever way it departs. All zero while it is too early. */
void baseline_look(const struct baseline *b, const struct baseline_settings *s, unsigned window,
                   struct finding *ret_finding);
/* The usual size of one call; 0 = not known. */
double baseline_mean_mark(const struct baseline *b);
/* A new level, found at the minute learned last; it is learned already. */
void baseline_shift(const struct baseline *b, struct finding *ret_finding);
bool baseline_is_warm(const struct baseline *b, const struct baseline_settings *s);
/* 20 clusters of the tail and two weeks. */
bool baseline_is_calibrated(const struct baseline *b);
