/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expectation of a sum over time (cost, tokens, calls) in the log domain: a level,
 * the hour of the day, the hour of the week, for series of enough calls also the
 * minute of the hour and five-minute slots of the day that recur (cron), and a local
 * state that follows what is going on now, the faster the more calls there are to
 * follow. The noise has a floor from sampling, so that a series of few calls is
 * judged as what it is. Event time only; minutes come in order, empty ones included.
 *
 * Nothing fires before history_min minutes: the first day is learned, then gone
 * through once more against what was learned, to know its noise.
 *
 * Memory: one struct, 168 bytes for the hours of the week once a day is over, and
 * 0.8 KiB more where times of the day can stand out (PROFILE_FINE_CALLS). The first
 * day is kept in half hours meanwhile, where there is more to see in minutes.
 */
#pragma once

#include "collector/config.h"
#include "collector/finding.h"
#include "collector/shift.h"
#include "collector/tail.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#define BASELINE_WINDOWS_MAX CONFIG_DETECT_WINDOWS_MAX
#define BASELINE_DAY_MIN 1440
#define BASELINE_STEP_MIN 5
#define BASELINE_SLOTS (BASELINE_DAY_MIN / BASELINE_STEP_MIN)
/* The latest minutes are kept one by one, those before as steps of five. Windows
 * beyond BASELINE_MINUTES - 1 begin with a step: up to four minutes later. */
#define BASELINE_MINUTES 16
#define BASELINE_STEPS 13
#define BASELINE_STEP_UNIT 32

struct baseline_settings {
    uint32_t windows_min[BASELINE_WINDOWS_MAX]; /* rising, at most 60 */
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

struct baseline_window {
    float noise;     /* variance beyond sampling */
    float z, z_down; /* of the latest minute, see window.h */
    uint16_t learned;
    struct tail up, down;
};

/* The log rate wanders around its expectation: a Kalman filter of one state. */
struct baseline_local {
    float state, variance;
    float wander;       /* variance of the log rate around its expectation */
    uint32_t cliff;     /* the minute of the last cliff of the profile, 0 = none */
    uint8_t frozen_min; /* how long an excursion has held it */
    int8_t step;        /* of the level, lately: in 1/BASELINE_STEP_UNIT */
    bool cliff_up;
    uint8_t step_parts; /* of shift.h: so long it is remembered */
};

/* Sums of minutes and of steps, each at its number modulo the size. */
struct baseline_ring {
    float minutes[BASELINE_MINUTES];
    float steps[BASELINE_STEPS];
};

/* What the hour under way is expected to be: logs, of a minute's sum. */
struct baseline_hour {
    uint32_t number;   /* since 1970; 0 = to be found anew */
    float here;        /* at its centre */
    float back, ahead; /* to the centres of its neighbours, where they are blended */
    float doubt_up, doubt_down;
};

/* In 1/1024: what recurs at a minute of the hour, at a time of the day. */
struct baseline_fine {
    uint32_t since_min; /* the age at which it began */
    int16_t of_minute[60], slots[BASELINE_SLOTS];
};

struct first_day;

struct baseline {
    const struct baseline *calls; /* borrowed: its sums are how many; NULL: its own */
    struct first_day *first;      /* until it was gone through again */
    struct baseline_fine *fine;
    int8_t *of_week;      /* 168, companded; NULL on the first day */
    uint32_t last_minute; /* Unix minutes; 0 = nothing yet */
    uint32_t age_min;
    uint32_t hours;       /* learned */
    uint32_t fitted_hour; /* since 1970: the first one after the first day was fitted; 0 */
    struct baseline_ring sums;
    struct baseline_ring expected;       /* without the local state */
    int16_t states[BASELINE_MINUTES];    /* after each minute, in 1/2048 */
    int16_t step_states[BASELINE_STEPS]; /* after each step */
    float hour_sum, hour_count;          /* the running hour */
    uint8_t hour_minutes, hour_held;
    bool is_ragged;           /* times of the day differ by factors: one day is no proof of them */
    uint32_t has_first;       /* hours of the day, bit by bit */
    int16_t of_day[24];       /* in 1/1024; on the first day the log rates themselves */
    float level, level_first; /* of the first day */
    float departure;          /* from it and the rest, lately: no hour's own */
    float highest, lowest;    /* log rate that any time of the day has */
    float marks, mark_sum, mark_squares; /* of single calls, forgotten slowly */
    struct baseline_hour hour;
    struct baseline_local local;
    struct shift shift;
    struct shift_found shifted; /* at the minute learned last */
    struct baseline_window windows[BASELINE_WINDOWS_MAX];
};

/* `calls`: the baseline of the same series' calls, which learns each minute before
 * this one and outlives it; NULL: this is the one, or what is summed is counted. */
int baseline_new(const struct baseline *calls, struct baseline **ret_baseline) LECTR_MUST_USE;
void baseline_free(struct baseline **baseline);

/* A minute that is over; `minute` is Unix minutes, rising by one. `hold`: it is not
 * what the series is like (a planned interval, a hole): judged, not learned. */
int baseline_learn(struct baseline *b, const struct baseline_settings *s, int64_t minute,
                   const struct baseline_minute *m, bool hold) LECTR_MUST_USE;
/* `down`: judges a drop. `fresh_min`: longer windows have no say, for they still
 * remember an episode that is over. `running` and its length in seconds: a
 * minute that is not over, judged together with the ones before; NULL: the last
 * one learned. */
void baseline_judge(const struct baseline *b, const struct baseline_settings *s, bool down,
                    uint32_t fresh_min, const struct baseline_minute *running, uint32_t running_s,
                    struct finding *ret_finding);
/* Nothing is far out in any window, as of the minute learned last: there is no need to
 * judge what is not under way. */
bool baseline_is_quiet(const struct baseline *b, const struct baseline_settings *s, bool down);
/* One window by itself, over minutes that are learned: what was expected of it and
 * how rare it is, whichever way it departs. All zero while it is too early. */
void baseline_look(const struct baseline *b, const struct baseline_settings *s, unsigned window,
                   struct finding *ret_finding);
/* The ratio to the expectation that would be told now: of the most sensitive window.
 * 0: none would, it is too early or nothing is expected. */
double baseline_ratio_least(const struct baseline *b, const struct baseline_settings *s,
                            uint32_t *ret_window_min);
/* The usual size of one call; 0 = not known. */
double baseline_mean_mark(const struct baseline *b);
/* A new level, found at the minute learned last; it is learned already. */
void baseline_shift(const struct baseline *b, struct finding *ret_finding);
bool baseline_is_warm(const struct baseline *b, const struct baseline_settings *s);
/* 20 clusters of the tail and two weeks. */
bool baseline_is_calibrated(const struct baseline *b);

/* "warming": nothing is told; "provisional": little stands behind a return period;
 * "calibrated". */
const char *baseline_confidence(const struct baseline *b, const struct baseline_settings *s);

/* The whole state, for this version of the program on this kind of machine: what is
 * loaded goes on bit for bit as what was saved. Load: -EPROTO when the bytes are of
 * another version or damaged (learn anew), -ENOMEM. */
int baseline_save(const struct baseline *b, struct buf *into) LECTR_MUST_USE;
int baseline_load(struct slice bytes, const struct baseline *calls,
                  struct baseline **ret_baseline) LECTR_MUST_USE;
/* Bytes in memory, its allocations included. */
size_t baseline_bytes(const struct baseline *b);
