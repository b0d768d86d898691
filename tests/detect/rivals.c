/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/detect/rivals.h"

#include <math.h>
#include <string.h>

#define DAY_MIN 1440
#define SUMS (RIVALS_WEEK_MIN + 64)
#define SPREADS (26 * 60)
#define HIGH_SPREAD 0.5
#define MARGIN 0.5
#define SIGMAS_GRAFANA 2.0
#define SIGMAS 3.0
#define WAIT_MIN 5

void rivals_init(struct rivals *r)
{
    memset(r, 0, sizeof(*r));
}

static double sum_at(const struct rivals *r, int64_t minute)
{
    return (double)r->sums[minute % SUMS];
}

/* Mean and spread of the hour that ends with `minute`; what is 0 is not there. */
static bool hour_at(const struct rivals *r, int64_t minute, double *ret_mean, double *ret_spread)
{
    double sum = 0, squares = 0;
    int n = 0;

    if (minute < 60)
        return false;
    for (int64_t i = minute - 59; i <= minute; i++) {
        double v = sum_at(r, i);

        if (v > 0) {
            sum += v;
            squares += v * v;
            n++;
        }
    }
    if (n == 0)
        return false;
    *ret_mean = sum / n;
    *ret_spread = sqrt(fmax(0, squares / n - *ret_mean * *ret_mean));
    return true;
}

static void judge_sigma(struct rivals *r, double value, int64_t now)
{
    double mean = r->day_sum / DAY_MIN;
    double spread = sqrt(fmax(0, r->day_squares / DAY_MIN - mean * mean));

    r->sigma_fires = now >= DAY_MIN + 5 && value > mean + SIGMAS * spread;
    r->day_sum += value;
    r->day_squares += value * value;
    if (now >= DAY_MIN) {
        double old = sum_at(r, now - DAY_MIN);

        r->day_sum -= old;
        r->day_squares -= old * old;
    }
}

static void note_spread(struct rivals *r, int64_t now, double spread)
{
    float *place = &r->spreads[now % SPREADS];

    if (*place > 0) {
        r->spread_sum -= (double)*place;
        r->spread_count--;
    }
    *place = (float)spread;
    if (spread > 0) {
        r->spread_sum += (double)*place;
        r->spread_count++;
    }
}

static void judge_grafana(struct rivals *r, double value, int64_t now)
{
    static const int64_t back[] = {DAY_MIN - 30, RIVALS_WEEK_MIN - 30};
    double mean, spread, low, high;
    bool beyond = false;

    if (hour_at(r, now, &mean, &spread)) {
        note_spread(r, now, spread > HIGH_SPREAD * mean ? spread : 0);
        low = mean * (1 - MARGIN);
        high = mean * (1 + MARGIN);
        if (r->spread_count) {
            double wide = SIGMAS_GRAFANA * r->spread_sum / r->spread_count;

            low = fmin(low, mean - wide);
            high = fmax(high, mean + wide);
        }
        for (int i = 0; i < 2; i++)
            if (hour_at(r, now - back[i], &mean, &spread)) {
                low = fmin(low, mean - SIGMAS_GRAFANA * spread);
                high = fmax(high, mean + SIGMAS_GRAFANA * spread);
            }
        beyond = value > 0 && now > SPREADS && (value > high || value < fmax(low, 0));
    } else {
        note_spread(r, now, 0);
    }
    r->beyond_min = beyond ? r->beyond_min + 1 : 0;
    r->grafana_fires = r->beyond_min > WAIT_MIN;
}

void rivals_next(struct rivals *r, double value)
{
    int64_t now = r->minutes++;
    double sum = 0;

    r->minute[now % 8] = (float)value;
    for (int64_t i = now; i > now - 5 && i >= 0; i--)
        sum += (double)r->minute[i % 8];
    judge_sigma(r, sum, now);
    r->sums[now % SUMS] = (float)sum;
    judge_grafana(r, sum, now);
}
