/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/shift.h"

#include <math.h>

#define CARRY 0.3 /* of a departure to the next hour */
#define SLACK 1.8
#define STEP_MAX 7.0   /* one hour alone is no shift */
#define SCORE_UNIT 2.0 /* scores are told to the tail in this unit */
/* The prior of the tail expects more of so rare a score than comes: measured, not
 * derived. */
#define TOO_SHY 3.0
#define THRESHOLD_FIRST 1.0f
#define TAIL_WINDOW_MIN 180
#define VARIANCE_PRIOR 0.03
#define VARIANCE_LEAST 0.004
#define VARIANCE_PRIOR_HOURS 24.0
#define VARIANCE_HOURS 336.0
#define WEEKS_LEARN 1.0
#define WEEKS_JUDGE 2.0
#define HOURS_LEAST 2

void shift_init(struct shift *s)
{
    *s = (struct shift){.variance = (float)VARIANCE_PRIOR};
    tail_init(&s->up.tail);
    tail_init(&s->down.tail);
    /* Scores are zero most of the time. */
    s->up.tail.threshold = s->down.tail.threshold = THRESHOLD_FIRST;
}

static void step_run(struct shift_run *r, const struct shift_hour *hour, double step)
{
    double score = (double)r->score + step;

    if (score <= 0) {
        r->score = r->sum = r->expected = r->samples = 0;
        r->hours = 0;
        return;
    }
    r->score = (float)score;
    r->hours++;
    r->sum += (float)hour->sum;
    r->expected += (float)hour->expected;
    r->samples += (float)hour->samples;
}

static double weeks_of(const struct shift_run *r, double history_weeks)
{
    return tail_return_weeks(&r->tail, (double)r->score / SCORE_UNIT, history_weeks,
                             TAIL_WINDOW_MIN) *
           TOO_SHY;
}

static struct shift_found find(const struct shift_run *r, int direction, double weeks)
{
    return (struct shift_found){
        .direction = (int16_t)direction,
        .hours = (uint16_t)fmin(r->hours, UINT16_MAX),
        .tail_events = r->tail.clusters,
        .sum = r->sum,
        .expected = r->expected,
        .samples = r->samples,
        .weeks = (float)weeks,
    };
}

struct shift_found shift_learn(struct shift *s, const struct shift_hour *hour, double weeks,
                               double target_weeks, double ratio_min)
{
    double news = hour->departure - CARRY * (double)s->last;
    double z = news / sqrt((double)s->variance);
    double weight = fmax(1.0 / (s->learned + VARIANCE_PRIOR_HOURS), 1.0 / VARIANCE_HOURS);
    double limit = 9.0 * (double)s->variance;
    struct shift_run *runs[] = {&s->up, &s->down};

    s->last = (float)fmin(fmax(hour->departure, -2), 2);
    s->learned++;
    s->variance += (float)(weight * (fmin(news * news, limit) - (double)s->variance));
    s->variance = fmaxf(s->variance, (float)VARIANCE_LEAST);
    if (weeks < WEEKS_LEARN)
        return (struct shift_found){0};
    for (int i = 0; i < 2; i++) {
        struct shift_run *r = runs[i];
        double rare, ratio;

        step_run(r, hour, fmin(i == 0 ? z : -z, STEP_MAX) - SLACK);
        rare = weeks_of(r, weeks);
        ratio = r->expected > 0 ? (double)r->sum / (double)r->expected : 0;
        if (weeks >= WEEKS_JUDGE && rare >= target_weeks && r->hours >= HOURS_LEAST &&
            (i == 0 ? ratio >= ratio_min : ratio <= 1 / ratio_min)) {
            struct shift_found found = find(r, i == 0 ? 1 : -1, rare);

            r->score = r->sum = r->expected = r->samples = 0;
            r->hours = 0;
            s->last = 0;
            return found;
        }
        tail_learn(&r->tail, (double)r->score / SCORE_UNIT, hour->minute, TAIL_WINDOW_MIN);
    }
    return (struct shift_found){0};
}
