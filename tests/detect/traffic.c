/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/detect/traffic.h"

#include <math.h>

#define TWO_PI 6.283185307179586
#define DAY_MIN 1440
#define WEEK_MIN 10080
#define NIGHT_MIN 360.0
#define NOISE_MINUTES 120.0
#define COST_USD 0.01
#define TOKENS_PER_USD 200000.0
#define ERROR_SHARE 0.01
#define LATENCY_US 2e6
#define LATENCY_SIGMA 0.5
#define ONE_BY_ONE 20 /* calls; the costs of more are drawn as one sum */

static uint64_t next_u64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double traffic_random(uint64_t *state)
{
    return (double)(next_u64(state) >> 11) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    double u = 1.0 - traffic_random(state);

    return sqrt(-2.0 * log(u)) * cos(TWO_PI * traffic_random(state));
}

static uint32_t poisson(uint64_t *state, double mean)
{
    double limit, product = 1;
    uint32_t n = 0;

    if (mean > 40)
        return (uint32_t)fmax(0, round(mean + sqrt(mean) * normal(state)));
    limit = exp(-mean);
    while ((product *= traffic_random(state)) > limit)
        n++;
    return n;
}

static double between(uint64_t *state, double low, double high)
{
    return low + (high - low) * traffic_random(state);
}

void traffic_init(struct traffic *t, const struct traffic_class *class, uint64_t seed)
{
    *t = (struct traffic){.class = class, .random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1};
    next_u64(&t->random);
    t->noise_sigma = between(&t->random, class->noise_low, class->noise_high);
    t->cv = between(&t->random, class->cv_low, class->cv_high);
    t->phase = traffic_random(&t->random) * DAY_MIN;
    t->noise = t->noise_sigma * normal(&t->random);
    /* A weekday of the second to fifth week. */
    t->holiday = class->has_holiday ? 7 + (int64_t)(traffic_random(&t->random) * 28) : -1;
    t->dst_day = class->has_dst ? 14 + (int64_t)(traffic_random(&t->random) * 14) : -1;
}

/* Day 0 is a Thursday, as day 0 of Unix time. */
static bool is_rest_day(const struct traffic *t, int64_t day)
{
    return day % 7 == 2 || day % 7 == 3 || day == t->holiday;
}

/* 0 on a weekday, 1 at a weekend; it comes and goes in the night. */
static double rest(const struct traffic *t)
{
    int64_t day = t->minute / DAY_MIN;
    double now = is_rest_day(t, day), before = day > 0 ? is_rest_day(t, day - 1) : now;

    return before + (now - before) * fmin(1.0, (double)(t->minute % DAY_MIN) / NIGHT_MIN);
}

/* Log of the rate without noise. */
static double shape(const struct traffic *t)
{
    const struct traffic_class *c = t->class;
    bool is_summer = t->dst_day >= 0 && t->minute / DAY_MIN >= t->dst_day;
    double place = (double)((t->minute + (is_summer ? 60 : 0)) % DAY_MIN) / DAY_MIN;
    double log_rate = log(c->per_min);
    int hour = (int)(t->minute % DAY_MIN / 60), minute = (int)(t->minute % 60);

    if (c->is_office && (is_rest_day(t, t->minute / DAY_MIN) || hour < 8 || hour >= 18))
        return -INFINITY;
    log_rate += c->daily * sin(TWO_PI * (place - t->phase / DAY_MIN));
    log_rate += c->growth * (double)t->minute / WEEK_MIN;
    log_rate += rest(t) * log(c->weekend);
    if (c->has_cron && minute < 2)
        log_rate += log(8);
    if (c->has_cron && hour == 3 && minute < 20)
        log_rate += log(6);
    return log_rate;
}

static double usual_rate(struct traffic *t)
{
    double keep = exp(-1.0 / NOISE_MINUTES);

    t->noise = keep * t->noise + sqrt(1 - keep * keep) * t->noise_sigma * normal(&t->random);
    if (t->class->zeros > 0 && traffic_random(&t->random) < t->class->zeros)
        return 0;
    return exp(shape(t) + t->noise) / (1 - t->class->zeros);
}

double traffic_rate_at(const struct traffic *t, int64_t minute)
{
    struct traffic then = *t;

    then.minute = minute;
    return exp(shape(&then));
}

struct effect {
    double calls, cost, price, latency, errors;
};

static struct effect effect_now(const struct traffic *t)
{
    struct effect e = {1, 1, 1, 1, ERROR_SHARE};

    for (unsigned i = 0; i < t->events_count; i++) {
        const struct traffic_event *v = &t->events[i];

        if (t->minute < v->from_min || t->minute >= v->to_min)
            continue;
        switch (v->kind) {
        case TRAFFIC_COST:
            e.cost *= v->factor;
            break;
        case TRAFFIC_PRICE:
            e.price *= v->factor;
            break;
        case TRAFFIC_CALLS:
            e.calls *= v->factor;
            break;
        case TRAFFIC_RETRY:
            e.calls *= v->factor;
            e.errors = 0.5;
            break;
        case TRAFFIC_ERRORS:
            e.errors = v->factor;
            break;
        case TRAFFIC_SLOW:
            e.latency *= v->factor;
            break;
        case TRAFFIC_OUTAGE:
            e.calls = 0;
            break;
        case TRAFFIC_RAMP:
            e.calls *= pow(v->factor, fmin(1.0, (double)(t->minute - v->from_min) / DAY_MIN));
            break;
        }
    }
    return e;
}

/* Lognormal costs of mean 1 and the class's coefficient of variation. */
static void draw_costs(struct traffic *t, uint32_t n, double *ret_sum, double *ret_squares)
{
    double cv2 = t->cv * t->cv, variance = log(1 + cv2);

    *ret_sum = *ret_squares = 0;
    if (n > ONE_BY_ONE) { /* mean and variance as of the sum */
        variance = log(1 + cv2 / n);
        *ret_sum = n * exp(sqrt(variance) * normal(&t->random) - variance / 2);
        *ret_squares = n * (1 + cv2);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        double cost = exp(sqrt(variance) * normal(&t->random) - variance / 2);

        *ret_sum += cost;
        *ret_squares += cost * cost;
    }
}

void traffic_next(struct traffic *t, struct traffic_minute *ret_minute)
{
    struct effect e = effect_now(t);
    struct traffic_minute m = {.calls = poisson(&t->random, usual_rate(t) * e.calls)};
    double sum, squares;

    m.errors = poisson(&t->random, m.calls * e.errors);
    if (m.errors > m.calls)
        m.errors = m.calls;
    draw_costs(t, m.calls, &sum, &squares);
    m.cost_usd = sum * COST_USD * e.cost * e.price;
    m.cost_squares = squares * pow(COST_USD * e.cost * e.price, 2);
    m.tokens = sum * COST_USD * e.cost * TOKENS_PER_USD;
    m.latencies = m.calls < TRAFFIC_LATENCIES_MAX ? m.calls : TRAFFIC_LATENCIES_MAX;
    for (uint32_t i = 0; i < m.latencies; i++)
        m.latencies_us[i] =
            (uint32_t)(LATENCY_US * e.latency * exp(LATENCY_SIGMA * normal(&t->random)));
    t->minute++;
    *ret_minute = m;
}
