/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latest minutes of a baseline as windows: what was seen in them, what was
 * expected, how far apart the two are. For baseline.c.
 */
#pragma once

#include "collector/baseline.h"

/* Minutes that end with one that is known. */
struct window_span {
    uint32_t minutes; /* whole steps beyond the short ones: up to four fewer than asked for */
    double sum, expected;
    double state; /* the local one, when they began */
    double doubt; /* its variance, beyond what is usual */
};

/* A window against its expectation. */
struct window_look {
    double sum;
    double expected; /* after the local state of before the window */
    double level;    /* without the local state */
    double before;   /* without it and a step of the last day */
    double variance; /* of the logarithm */
    double z;        /* in the log domain: for what is too much */
    double z_down;   /* from the Poisson deviance, 0 or less: for what is too little */
    /* The same without the profile's doubts: what is learned from. */
    double plain, plain_down;
};

/* Enters a minute: its sum, what the profile expects of it. */
void window_enter(struct baseline *b, int64_t minute, double sum, double expected);
/* Enters the local state after the minute entered last. */
void window_enter_state(struct baseline *b, int64_t minute);
/* The local state after a minute that is still known. */
double window_state(const struct baseline *b, int64_t minute);
/* All that is remembered, moved by this much in the log domain. */
void window_move(struct baseline *b, double by);

struct window_span window_span(const struct baseline *b, int64_t minute, uint32_t minutes);
/* The sum alone. */
double window_sum(const struct baseline *b, int64_t minute, uint32_t minutes);
/* `log_expected`: of the latest minute, by its profile. */
struct window_look window_look(const struct baseline *b, const struct baseline_window *w,
                               const struct window_span *span, double log_expected,
                               const struct baseline_hour *hour);
