/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/quiet.h"

#include <math.h>

#define MINUTE_S 60
#define HOUR_S 3600
#define WEEK_HOURS 168
#define STEP_LEAST 0.25
#define FORGET 0.9 /* of the longest pause, each week */
#define CALM_MIN 2

static unsigned hour_of_week(int64_t s)
{
    return (unsigned)(s / HOUR_S % WEEK_HOURS);
}

static uint32_t pause_at(const struct quiet *q, int64_t end_s)
{
    int64_t minutes = (end_s - q->last_s) / MINUTE_S - 1;

    return minutes <= 0 ? 0 : minutes > UINT16_MAX ? UINT16_MAX : (uint32_t)minutes;
}

static void close_hour(struct quiet *q, bool is_learned)
{
    struct quiet_hour *h = &q->hours[hour_of_week(q->hour_s)];

    if (q->hour_calls == 0)
        q->missing += (double)h->calls;
    if (is_learned) {
        h->calls +=
            (float)((q->hour_calls - (double)h->calls) * fmax(1.0 / (h->seen + 1.0), STEP_LEAST));
        if (q->hour_calls)
            h->pause = (uint16_t)(FORGET * h->pause);
        h->seen += h->seen < UINT8_MAX;
    }
    q->hour_calls = 0;
}

/* A pause is known when it has ended: one that lasts must not become the usual. */
static void learn_pause(struct quiet *q, int64_t end_s)
{
    int64_t hour_s = q->last_s - q->last_s % HOUR_S;

    for (unsigned i = 0; i < WEEK_HOURS && hour_s < end_s; i++, hour_s += HOUR_S) {
        int64_t until_s = hour_s + HOUR_S < end_s ? hour_s + HOUR_S : end_s;
        struct quiet_hour *h = &q->hours[hour_of_week(hour_s)];
        uint32_t pause = pause_at(q, until_s);

        h->pause = (uint16_t)(pause > h->pause ? pause : h->pause);
    }
}

static void begin(struct quiet *q, int64_t at_s)
{
    *q = (struct quiet){.begin_s = at_s, .last_s = at_s, .hour_s = at_s - at_s % HOUR_S};
}

void quiet_add(struct quiet *q, int64_t at_s, uint32_t seconds, uint64_t calls, bool is_told,
               bool is_planned)
{
    int64_t end_s = at_s + seconds, hour_s = at_s - at_s % HOUR_S;

    if (q->begin_s == 0 || end_s - q->last_s > 2 * QUIET_GONE_S) {
        if (calls == 0)
            return;
        begin(q, at_s);
    }
    if (hour_s != q->hour_s) {
        close_hour(q, !is_told && !is_planned);
        q->hour_s = hour_s;
    }
    if (calls == 0)
        return;
    if (!is_told && !is_planned)
        learn_pause(q, at_s + MINUTE_S);
    q->hour_calls += calls > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)calls;
    q->last_s = end_s - MINUTE_S;
    q->missing = 0;
}

static uint32_t longest_pause(const struct quiet *q, unsigned how)
{
    /* An hour seen once may have had its pause before it was known: other days help. */
    unsigned step = q->hours[how].seen < 2 ? 24 : WEEK_HOURS;
    uint32_t longest = 0;

    for (unsigned day = 0; day < WEEK_HOURS; day += step)
        for (unsigned i = WEEK_HOURS - 1; i <= WEEK_HOURS + 1; i++) {
            uint32_t pause = q->hours[(how + day + i) % WEEK_HOURS].pause;

            longest = pause > longest ? pause : longest;
        }
    return longest;
}

void quiet_judge(const struct quiet *q, const struct alerting_rule *rule, int64_t minute_s,
                 struct quiet_verdict *ret_verdict)
{
    const struct quiet_hour *h = &q->hours[hour_of_week(minute_s)];
    int64_t end_s = minute_s + MINUTE_S;
    double part = (double)(end_s - q->hour_s) / HOUR_S;
    uint32_t pause = pause_at(q, end_s);
    struct quiet_verdict v = {
        .last_s = q->last_s,
        .weeks_seen = h->seen,
        .usual_per_hour = (double)h->calls,
        .pause_min = longest_pause(q, hour_of_week(minute_s)),
        .missing = q->missing,
    };

    if (q->hour_calls == 0)
        v.missing += fmin(part, 1) * (double)h->calls;
    v.is_gone = end_s - q->last_s > QUIET_GONE_S;
    v.is_calm = pause < CALM_MIN;
    v.fires = q->begin_s && !v.is_gone && v.weeks_seen > 0 && pause >= rule->for_min &&
              pause > QUIET_LONGER * v.pause_min && v.missing >= rule->calls_min;
    *ret_verdict = v;
}
