/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/shift.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

/* The rate wanders for two hours; what the profile does not know lasts longer. */
#define FAST_MIN 120.0
#define SLOW_MIN 900.0
#define SLOW_SHARE 0.1
#define SLOW_LEAST 0.004  /* what no profile is known better than */
#define SAMPLING_MOST 0.1 /* a part that is surer than this is long enough */
#define PART_MIN_MOST 120
#define PARTS_LEAST 4 /* a short burst is no shift */
#define START_MIN_MOST 360
#define SURPRISE_MAX 5.0 /* one part alone is no shift */
#define FOLLOW_MAX 4.0
#define OUTAGE 0.135 /* a part with less than an eighth is no new level */
/* A z comes by chance as in so many looks: measured, not derived. */
#define LOOKS_A_WEEK 500.0
/* Where sampling hides less than this the profile's own errors show: measured too. */
#define SAMPLING_HIDES 0.007
#define USUAL_SHARE 0.02
#define USUAL_LEVEL 2.0
/* What series that wander as modelled stay below: others must go further. */
#define USUAL_LEVEL_MOST 3.7
#define USUAL_STEP 0.002
#define VARIANCE_PRIOR 0.04
#define VARIANCE_LEAST 0.008
#define VARIANCE_MOST 1.0
#define VARIANCE_PRIOR_PARTS 96.0
#define VARIANCE_PARTS 1344.0
#define WEEKS_LEARN 1.0
#define WEEKS_JUDGE 2.0

void shift_init(struct shift *s)
{
    *s = (struct shift){
        .variance = (float)VARIANCE_PRIOR,
        .fast_variance = (float)(VARIANCE_PRIOR * (1 - SLOW_SHARE)),
        .slow_variance = (float)(VARIANCE_PRIOR * SLOW_SHARE),
        .up.level = (float)USUAL_LEVEL,
        .down.level = (float)USUAL_LEVEL,
    };
}

int shift_begin(struct shift *s)
{
    s->starts = calloc(SHIFT_STARTS, sizeof(*s->starts));
    return s->starts ? 0 : -ENOMEM;
}

void shift_fini(struct shift *s)
{
    free(s->starts);
    s->starts = NULL;
}

void shift_add(struct shift *s, double sum, double expected, double samples, bool hold)
{
    s->sum += (float)sum;
    s->expected += (float)expected;
    s->samples += (float)samples;
    s->minutes++;
    s->held += hold;
}

/* The part under way begins anew. */
static void end_part(struct shift *s)
{
    s->sum = s->expected = s->samples = 0;
    s->minutes = s->held = 0;
}

static void pass_time(struct shift *s)
{
    double fast = exp(-s->minutes / FAST_MIN), slow = exp(-s->minutes / SLOW_MIN);
    double variance = (double)s->variance, unknown = fmax(variance * SLOW_SHARE, SLOW_LEAST);

    s->fast *= (float)fast;
    s->slow *= (float)slow;
    s->fast_variance = (float)(fast * fast * (double)s->fast_variance +
                               (1 - fast * fast) * variance * (1 - SLOW_SHARE));
    s->slow_variance =
        (float)(slow * slow * (double)s->slow_variance + (1 - slow * slow) * unknown);
    s->covariance *= (float)(fast * slow);
    for (int i = 0; i < SHIFT_STARTS; i++) {
        struct shift_start *r = &s->starts[i];

        r->fast *= (float)fast;
        r->slow *= (float)slow;
        if (r->minutes)
            r->minutes += s->minutes;
        if (r->minutes > START_MIN_MOST)
            *r = (struct shift_start){0};
    }
}

/* What a part says beyond what was known before it. */
struct surprise {
    double log;      /* of the rate */
    double variance; /* of that */
    double fast_gain, slow_gain;
};

/* A few calls are symmetric as they are, many in the logarithm, where the rate wanders. */
static struct surprise surprise_of(const struct shift *s, const struct shift_context *c,
                                   double sampling)
{
    double fast = (double)(s->fast_variance + s->covariance);
    double slow = (double)(s->slow_variance + s->covariance);
    double variance = fast + slow + sampling, power = sampling / variance;
    double half = c->mark / 2 + 1e-12;
    double ratio =
        ((double)s->sum + half) / ((double)s->expected * exp((double)(s->fast + s->slow)) + half);

    return (struct surprise){
        .log = power > 0.01 ? (pow(ratio, power) - 1) / power : log(ratio),
        .variance = variance,
        .fast_gain = fast / variance,
        .slow_gain = slow / variance,
    };
}

static double clipped(const struct surprise *u, double sigmas)
{
    double most = sigmas * sqrt(u->variance);

    return fmin(fmax(u->log, -most), most);
}

static void follow(struct shift *s, const struct surprise *u)
{
    double by = clipped(u, FOLLOW_MAX), z2 = u->log * u->log / u->variance, weight;
    double fast = u->fast_gain * u->variance, slow = u->slow_gain * u->variance;

    s->fast += (float)(u->fast_gain * by);
    s->slow += (float)(u->slow_gain * by);
    s->fast_variance -= (float)(u->fast_gain * fast);
    s->slow_variance -= (float)(u->slow_gain * slow);
    s->covariance -= (float)(u->fast_gain * slow);
    s->learned += s->learned < UINT16_MAX;
    weight = 2 * fmax(1 / (s->learned + VARIANCE_PRIOR_PARTS), 1 / VARIANCE_PARTS);
    s->variance *= (float)exp(weight * (fmin(z2, 9) - 1));
    s->variance = fminf(fmaxf(s->variance, (float)VARIANCE_LEAST), (float)VARIANCE_MOST);
}

static double z_of(const struct shift_start *r)
{
    return r->squares > 0 ? (double)r->score / sqrt((double)r->squares) : 0;
}

/* A free one; or the least likely, but for the newest, of which little is known. */
static struct shift_start *place_for_start(struct shift *s)
{
    struct shift_start *worst = NULL;

    for (int i = 0; i < SHIFT_STARTS; i++) {
        struct shift_start *r = &s->starts[i];

        if (!r->minutes)
            return r;
        if (r->parts > 1 && (!worst || fabs(z_of(r)) < fabs(z_of(worst))))
            worst = r;
    }
    return worst ? worst : &s->starts[0];
}

static void weigh_starts(struct shift *s, const struct surprise *u)
{
    double by = clipped(u, SURPRISE_MAX);

    *place_for_start(s) = (struct shift_start){.minutes = s->minutes};
    for (int i = 0; i < SHIFT_STARTS; i++) {
        struct shift_start *r = &s->starts[i];
        double expected = 1 - (double)(r->fast + r->slow);

        if (!r->minutes)
            continue;
        r->parts++;
        r->squares += (float)(expected * expected / u->variance);
        r->score += (float)(expected * by / u->variance);
        r->fast += (float)(u->fast_gain * expected);
        r->slow += (float)(u->slow_gain * expected);
        r->sum += s->sum;
        r->expected += s->expected;
        r->samples += s->samples;
    }
}

/* NULL: none goes this way. */
static const struct shift_start *likeliest(const struct shift *s, int direction)
{
    const struct shift_start *best = NULL;

    for (int i = 0; i < SHIFT_STARTS; i++) {
        const struct shift_start *r = &s->starts[i];

        if (r->parts >= PARTS_LEAST && direction * z_of(r) > (best ? direction * z_of(best) : 0))
            best = r;
    }
    return best;
}

static void learn_usual(struct shift_usual *usual, double z, uint32_t learned)
{
    double step = fmax(0.5 / (1 + learned / 200.0), USUAL_STEP);
    bool is_beyond = z > (double)usual->level;

    usual->level += (float)(step * (is_beyond ? 1 - USUAL_SHARE : -USUAL_SHARE));
    usual->beyond += is_beyond && usual->beyond < UINT16_MAX;
}

static double weeks_of(const struct shift_usual *usual, const struct shift_context *c, double z,
                       double sampling)
{
    double far = z / fmax(1, (double)usual->level / USUAL_LEVEL_MOST);
    /* Calls that differ by much have heavier tails than is modelled. */
    double looks = LOOKS_A_WEEK * c->spread * c->spread * fmax(1, SAMPLING_HIDES / sampling);

    return exp(fmin(far * far / 2, 30)) / looks;
}

static bool goes(int direction, float sum, float expected, double ratio_min)
{
    return direction > 0 ? (double)sum >= ratio_min * (double)expected
                         : (double)sum * ratio_min <= (double)expected;
}

/* The likeliest step this way, if it still goes on. */
static struct shift_found judge(struct shift *s, const struct shift_context *c, double sampling,
                                int direction)
{
    struct shift_usual *usual = direction > 0 ? &s->up : &s->down;
    const struct shift_start *r = likeliest(s, direction);
    double z = r ? direction * z_of(r) : 0,
           weeks = weeks_of(usual, c, z, sampling - c->ragged / s->minutes);
    if (r && c->weeks >= WEEKS_JUDGE && weeks >= c->target_weeks &&
        goes(direction, r->sum, r->expected, c->ratio_min) &&
        goes(direction, s->sum, s->expected, c->ratio_min))
        return (struct shift_found){
            .direction = (int16_t)direction,
            .minutes = r->minutes,
            .tail_events = usual->beyond,
            .sum = r->sum,
            .expected = r->expected,
            .samples = r->samples,
            .weeks = (float)weeks,
        };
    learn_usual(usual, z, s->learned);
    return (struct shift_found){0};
}

/* What was found becomes the level, of which little is known yet: what follows is no
 * shift back as soon as it is less than it was. */
static void settle(struct shift *s, double step)
{
    for (int i = 0; i < SHIFT_STARTS; i++)
        s->starts[i] = (struct shift_start){0};
    s->fast = s->slow = 0;
    s->slow_variance += (float)fmin(step * step / 4, 1);
}

static struct shift_found learn_part(struct shift *s, const struct shift_context *c,
                                     double sampling)
{
    struct shift_found found = {0};
    struct surprise u = surprise_of(s, c, sampling);

    weigh_starts(s, &u);
    follow(s, &u);
    if (c->weeks >= WEEKS_LEARN)
        found = judge(s, c, sampling, 1);
    if (c->weeks >= WEEKS_LEARN && !found.direction)
        found = judge(s, c, sampling, -1);
    if (found.direction)
        settle(s, log((double)found.sum / (double)found.expected));
    return found;
}

struct shift_found shift_close(struct shift *s, const struct shift_context *c)
{
    double half = c->mark / 2 + 1e-12,
           ratio = ((double)s->sum + half) / ((double)s->expected + half);
    double sampling = c->mark > 0 ? c->spread / ((double)s->expected / c->mark + 1) : 1;
    struct shift_found found = {0};

    if (s->minutes == 0)
        return found;
    sampling += c->ragged / s->minutes;
    if (!s->held && sampling > SAMPLING_MOST && s->minutes + SHIFT_PART_MIN <= PART_MIN_MOST)
        return found;
    pass_time(s);
    if (!s->held && ratio >= OUTAGE)
        found = learn_part(s, c, sampling);
    end_part(s);
    return found;
}
