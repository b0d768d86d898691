/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded minutes of made-up AI traffic of one series, with what may happen to it.
 * The same class, seed and events give the same minutes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TRAFFIC_LATENCIES_MAX 20 /* told of a minute; more calls tell no more */
#define TRAFFIC_EVENTS_MAX 16

struct traffic_class {
    const char *name;
    double per_min;               /* calls, mean of a day */
    double noise_low, noise_high; /* sigma of the log rate, correlated over two hours */
    double cv_low, cv_high;       /* of one call's cost */
    double daily;                 /* amplitude of the log rate */
    double weekend;               /* factor on Saturday and Sunday */
    bool has_holiday;             /* one weekday is like a Sunday */
    bool is_office;               /* nothing at night and at the weekend */
    bool has_cron;                /* bursts each hour and a batch each night */
    double event_min;             /* events come only at this many calls a minute */
    double growth;                /* of the log rate, a week */
    double zeros;                 /* part of the minutes that have nothing at all */
    bool has_dst;                 /* people's day begins an hour earlier from some day on */
};

enum traffic_kind {
    TRAFFIC_COST,   /* cost (and tokens) of a call x factor */
    TRAFFIC_PRICE,  /* cost of a call x factor, tokens as before */
    TRAFFIC_CALLS,  /* calls x factor */
    TRAFFIC_RETRY,  /* calls x factor, half of them failing */
    TRAFFIC_ERRORS, /* share of errors: factor */
    TRAFFIC_SLOW,   /* latency x factor */
    TRAFFIC_OUTAGE, /* nothing comes */
    TRAFFIC_RAMP,   /* calls rise to x factor within a day, and stay */
};

struct traffic_event {
    enum traffic_kind kind;
    int64_t from_min, to_min; /* since the start; to_min INT64_MAX: stays */
    double factor;
};

struct traffic_minute {
    uint32_t calls, errors;
    double cost_usd, cost_squares, tokens;
    uint32_t latencies_us[TRAFFIC_LATENCIES_MAX];
    uint32_t latencies;
};

struct traffic {
    const struct traffic_class *class;
    uint64_t random;
    double noise, noise_sigma, cv, phase;
    int64_t minute; /* since the start, which is a Thursday's midnight */
    int64_t holiday;
    int64_t dst_day; /* -1 = none */
    struct traffic_event events[TRAFFIC_EVENTS_MAX];
    unsigned events_count;
};

void traffic_init(struct traffic *t, const struct traffic_class *class, uint64_t seed);
void traffic_next(struct traffic *t, struct traffic_minute *ret_minute);
/* Calls a minute that the class has at a minute, noise and events apart. */
double traffic_rate_at(const struct traffic *t, int64_t minute);
/* 0 <= x < 1, from the same seed. */
double traffic_random(uint64_t *state);
