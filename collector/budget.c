/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/budget.h"

#include "collector/when.h"

#include <math.h>

#define HOUR_S 3600
#define DAY_S 86400
#define WEEK_HOURS 168
#define STEP_LEAST 0.25 /* of the usual cost of an hour: about four weeks count */
#define LEVEL_DAYS 7
#define LEVEL_MOST 5.0
#define ERROR_90 1.645

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Local time is UTC plus a fixed offset. */
static int64_t to_local(const struct alerting_rule *rule, int64_t s)
{
    return s + (int64_t)rule->budget.utc_offset_min * 60;
}

static int64_t to_utc(const struct alerting_rule *rule, int64_t s)
{
    return s - (int64_t)rule->budget.utc_offset_min * 60;
}

void budget_period(const struct alerting_rule *rule, int64_t at_s, int64_t *ret_from_s,
                   int64_t *ret_until_s)
{
    int64_t day = floor_div(to_local(rule, at_s), DAY_S), from = day, until = day + 1, year;
    unsigned month, of_month;

    if (rule->budget.period == ALERTING_WEEK) {
        from = day - (((day + 3) % 7) + 7) % 7; /* Monday; 1970 began on a Thursday */
        until = from + 7;
    } else if (rule->budget.period == ALERTING_MONTH) {
        when_civil(day, &year, &month, &of_month);
        from = when_days(year, month, 1);
        until = month == 12 ? when_days(year + 1, 1, 1) : when_days(year, month + 1, 1);
    }
    *ret_from_s = to_utc(rule, from * DAY_S);
    *ret_until_s = to_utc(rule, until * DAY_S);
}

static unsigned hour_of_week(const struct alerting_rule *rule, int64_t hour_s)
{
    return (unsigned)(floor_div(to_local(rule, hour_s), HOUR_S) % WEEK_HOURS);
}

/* The usual cost of an hour: as seen at this hour of the week, else at this hour of other
 * days. False: never seen. */
static bool usual(const struct budget *b, unsigned how, double *ret_usd)
{
    double sum = 0;
    unsigned seen = 0;

    if (b->weeks[how]) {
        *ret_usd = (double)b->of_week[how];
        return true;
    }
    for (unsigned h = how % 24; h < WEEK_HOURS; h += 24)
        if (b->weeks[h]) {
            sum += (double)b->of_week[h];
            seen++;
        }
    *ret_usd = seen ? sum / seen : 0;
    return seen > 0;
}

static void close_day(struct budget *b)
{
    /* Half a day says nothing about a day. */
    if (b->day_hours >= 20 && b->day_known_hours >= 20 && b->day_usual > 0)
        b->days[b->days_count++ % BUDGET_DAYS] =
            (struct budget_day){.actual = b->day_usd, .usual = b->day_usual};
    else if (b->day_hours >= 20 && b->day_usd > 0)
        b->days[b->days_count++ % BUDGET_DAYS] =
            (struct budget_day){.actual = b->day_usd, .usual = b->day_usd};
    b->day_usd = b->day_usual = 0;
    b->day_hours = b->day_known_hours = 0;
}

static void close_hour(struct budget *b, const struct alerting_rule *rule)
{
    unsigned how = hour_of_week(rule, b->hour_s);
    double expected = 0;

    if (usual(b, how, &expected)) {
        b->day_usual += expected;
        b->day_known_hours++;
    }
    b->day_usd += b->hour_usd;
    b->day_hours++;
    b->of_week[how] += (float)((b->hour_usd - (double)b->of_week[how]) *
                               fmax(1.0 / (b->weeks[how] + 1.0), STEP_LEAST));
    b->weeks[how] += b->weeks[how] < UINT8_MAX;
    b->hour_usd = 0;
    b->hour_s += HOUR_S;
    if (how % 24 == 23)
        close_day(b);
}

/* Goes on to the hour of `at_s`; a gap of more than eight weeks begins anew. */
static void advance(struct budget *b, const struct alerting_rule *rule, int64_t at_s)
{
    int64_t hour_s = floor_div(at_s, HOUR_S) * HOUR_S, from_s, until_s;

    if (b->period_s && hour_s - b->hour_s > 8 * 7 * (int64_t)DAY_S)
        *b = (struct budget){0};
    if (b->period_s == 0)
        b->hour_s = hour_s;
    while (b->hour_s < hour_s)
        close_hour(b, rule);
    budget_period(rule, at_s, &from_s, &until_s);
    if (from_s != b->period_s)
        b->spent = (struct budget_cost){0};
    b->period_s = from_s;
}

void budget_add(struct budget *b, const struct alerting_rule *rule, int64_t at_s,
                const struct budget_cost *cost)
{
    advance(b, rule, at_s);
    b->spent.calls += cost->calls;
    b->spent.unknown += cost->unknown;
    b->spent.low_usd += cost->low_usd;
    b->spent.expected_usd += cost->expected_usd;
    b->spent.high_usd += cost->high_usd;
    b->hour_usd += cost->expected_usd;
}

static uint32_t days_known(const struct budget *b)
{
    return b->days_count < BUDGET_DAYS ? b->days_count : BUDGET_DAYS;
}

/* The last week against the shape: what grows is expected to stay grown. */
static double level(const struct budget *b)
{
    uint32_t days = days_known(b) < LEVEL_DAYS ? days_known(b) : LEVEL_DAYS;
    double actual = 0, expected = 0;

    for (uint32_t i = 1; i <= days; i++) {
        actual += b->days[(b->days_count - i) % BUDGET_DAYS].actual;
        expected += b->days[(b->days_count - i) % BUDGET_DAYS].usual;
    }
    return expected > 0 ? fmin(fmax(actual / expected, 1 / LEVEL_MOST), LEVEL_MOST) : 1;
}

/* How days differ from the shape. */
static double spread(const struct budget *b)
{
    uint32_t days = days_known(b);
    double sum = 0, squares = 0, mean;

    for (uint32_t i = 0; i < days; i++) {
        double ratio = b->days[i].usual > 0 ? b->days[i].actual / b->days[i].usual : 1;

        sum += ratio;
        squares += ratio * ratio;
    }
    mean = sum / days;
    return fmax(sqrt(fmax(squares / days - mean * mean, 0)),
                BUDGET_SPREAD_LEAST + BUDGET_SPREAD_YOUNG / days);
}

static void forecast(const struct budget *b, const struct alerting_rule *rule, int64_t now_s,
                     struct budget_verdict *v)
{
    double rest = 0, days_left, sd;

    v->days_learned = days_known(b);
    if (v->days_learned < BUDGET_DAYS_LEAST)
        return;
    for (int64_t hour_s = b->hour_s; hour_s < v->until_s; hour_s += HOUR_S) {
        double expected = 0, part = 1;

        (void)usual(b, hour_of_week(rule, hour_s), &expected);
        if (hour_s < now_s)
            part = fmax(0, (double)(hour_s + HOUR_S - now_s) / HOUR_S);
        rest += part * expected;
    }
    rest *= level(b);
    days_left = fmax((double)(v->until_s - now_s) / DAY_S, 1.0 / 24);
    sd = rest * spread(b) * sqrt(1 / days_left + 1.0 / v->days_learned);
    v->has_forecast = true;
    v->forecast = b->spent.expected_usd + rest;
    v->forecast_low = b->spent.expected_usd + fmax(rest - ERROR_90 * sd, 0);
    v->forecast_high = v->forecast + ERROR_90 * sd;
}

void budget_judge(struct budget *b, const struct alerting_rule *rule, int64_t now_s,
                  struct budget_verdict *ret_verdict)
{
    struct budget_verdict v = {0};

    /* The minute that ends now is still of its own hour. */
    advance(b, rule, now_s - 1);
    budget_period(rule, now_s - 1, &v.from_s, &v.until_s);
    v.spent = b->spent;
    v.used = v.spent.expected_usd / rule->budget.usd;
    if (rule->budget.forecast)
        forecast(b, rule, now_s, &v);
    *ret_verdict = v;
}
