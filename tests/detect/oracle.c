/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LINK: tests/detect/traffic.c tests/detect/classes.c
 *
 * How much of a lasting factor can be told at all? By someone who knows the generator's
 * shape, the size of its noise and the factor, but neither the noise's path nor the moment:
 *
 *   oracle [--weeks N] [--events N] [--seed N] [--class NAME] [--factor X]
 *
 * The log of the likelihood ratio of a step at the likeliest of the latest starts, told
 * beyond what so many of --weeks clean weeks reach. Seeds, series and moments of the
 * events are those of eval.
 */
#include "tests/detect/classes.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEEK_MIN 10080
#define SERIES_WEEKS 5
#define LEARN_WEEKS 2
#define PART_MIN 5
#define STARTS (360 / PART_MIN)
#define CLUSTER_PARTS (720 / PART_MIN) /* peaks nearer than half a day are one */
#define NOISE_MIN 120.0                /* as in traffic.c */
#define EVENTS_MAX 10000

static const int64_t bounds_min[3] = {90, 180, 360};

struct options {
    int weeks, events;
    uint64_t seed;
    const struct traffic_class *class;
    double factor;
};

/* A step of one that begins here: what the filter has taken of it for noise, the expected
 * surprises' squares, their product with those that came; each over their variance. */
struct start {
    double taken, squares, score;
};

struct run {
    struct traffic traffic;
    double noise, variance; /* of it, as far as it is known */
    struct start starts[STARTS];
    unsigned part;
    double best; /* of all starts */
};

struct found {
    double *peaks; /* of clean weeks */
    size_t peaks_count;
    double events[EVENTS_MAX][3]; /* the best within each bound */
    int events_count;
};

/* Relative to what was known before it, nearly normal, and its variance. */
static double surprise_of(const struct run *r, double calls, double expected, double *ret_variance)
{
    double sampling = 1 / (expected + 1), power;
    double ratio = (calls + 0.5) / (expected * exp(r->variance / 2) + 0.5);

    *ret_variance = r->variance + sampling;
    power = sampling / *ret_variance;
    return power > 0.01 ? (pow(ratio, power) - 1) / power : log(ratio);
}

static void weigh(struct run *r, double step, double calls, double expected)
{
    double keep = exp(-PART_MIN / NOISE_MIN), usual = pow(r->traffic.noise_sigma, 2);
    double variance, surprise, gain;

    r->noise *= keep;
    r->variance = keep * keep * r->variance + (1 - keep * keep) * usual;
    surprise = surprise_of(r, calls, expected * exp(r->noise), &variance);
    gain = r->variance / variance;
    r->starts[r->part++ % STARTS] = (struct start){0};
    r->best = 0;
    for (int i = 0; i < STARTS; i++) {
        struct start *s = &r->starts[i];
        double left;

        s->taken *= keep;
        left = 1 - s->taken;
        s->squares += left * left / variance;
        s->score += left * surprise / variance;
        s->taken += gain * left;
        r->best = fmax(r->best, step * (s->score - step * s->squares / 2));
    }
    r->noise += gain * surprise;
    r->variance *= 1 - gain;
}

static void advance(struct run *r, double step)
{
    double calls = 0, expected = 0;

    for (int i = 0; i < PART_MIN; i++) {
        struct traffic_minute m;

        expected += traffic_rate_at(&r->traffic, r->traffic.minute);
        traffic_next(&r->traffic, &m);
        calls += m.calls;
    }
    weigh(r, step, calls, expected);
}

/* In a copy: the series itself goes on as if nothing had been. */
static void suffer(const struct run *run, const struct options *o, struct found *found)
{
    struct run r = *run;
    double best = 0;
    int64_t from = r.traffic.minute;

    r.traffic.events[r.traffic.events_count++] = (struct traffic_event){
        .kind = TRAFFIC_CALLS, .from_min = from, .to_min = INT64_MAX, .factor = o->factor};
    for (int i = 0; i < 3; i++) {
        while (r.traffic.minute < from + bounds_min[i]) {
            advance(&r, log(o->factor));
            best = fmax(best, r.best);
        }
        found->events[found->events_count][i] = best;
    }
    found->events_count++;
}

/* As in eval, at the beginning of a part. */
static int64_t find_spot(const struct run *r, int week, uint64_t *random)
{
    int64_t at;

    do
        at = week * (int64_t)WEEK_MIN + (int64_t)(traffic_random(random) * (WEEK_MIN - 1));
    while (traffic_rate_at(&r->traffic, at) < r->traffic.class->event_min);
    return at / PART_MIN * PART_MIN;
}

static void go_clean(struct run *r, const struct options *o, int64_t to_min, struct found *found)
{
    double peak = 0;
    int since = 0;

    while (r->traffic.minute < to_min) {
        advance(r, log(o->factor));
        since++;
        if (r->best > peak) {
            peak = r->best;
            since = 0;
        }
        if (peak > 0 && (since >= CLUSTER_PARTS || r->traffic.minute >= to_min)) {
            found->peaks[found->peaks_count++] = peak;
            peak = 0;
        }
    }
}

static void one_series(const struct options *o, uint64_t seed, struct found *found)
{
    uint64_t random = seed;
    struct run r = {0};

    traffic_init(&r.traffic, o->class, seed);
    r.variance = pow(r.traffic.noise_sigma, 2);
    for (int week = LEARN_WEEKS; week < SERIES_WEEKS && found->events_count < o->events; week++) {
        go_clean(&r, o, find_spot(&r, week, &random), found);
        suffer(&r, o, found);
    }
    go_clean(&r, o, SERIES_WEEKS * (int64_t)WEEK_MIN, found);
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

static void print(const struct options *o, struct found *found)
{
    static const double rates[] = {0.2, 0.5, 1, 2}; /* false alarms in 100 series-weeks */

    qsort(found->peaks, found->peaks_count, sizeof(*found->peaks), falling);
    for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        size_t place = (size_t)(rates[r] * o->weeks / 100);
        double limit = place < found->peaks_count ? found->peaks[place] : 0;
        int told[3] = {0};

        for (int e = 0; e < found->events_count; e++)
            for (int i = 0; i < 3; i++)
                told[i] += found->events[e][i] > limit;
        printf("%s x%g, %.1f false in 100 weeks (beyond %.1f): ", o->class->name, o->factor,
               rates[r], limit);
        for (int i = 0; i < 3; i++)
            printf("%.1f%% ", 100.0 * told[i] / fmax(found->events_count, 1));
        printf("within 90, 180, 360 min of %d\n", found->events_count);
    }
}

static const struct traffic_class *class_of(const char *name)
{
    for (size_t i = 0; i < traffic_classes_count; i++)
        if (strcmp(traffic_classes[i].name, name) == 0)
            return &traffic_classes[i];
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"weeks", required_argument, NULL, 'w'},  {"events", required_argument, NULL, 'e'},
        {"seed", required_argument, NULL, 's'},   {"class", required_argument, NULL, 'c'},
        {"factor", required_argument, NULL, 'f'}, {0},
    };
    static struct found found;
    struct options o = {1000, 90, 1, class_of("5-20/min"), 2};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'w')
            o.weeks = atoi(optarg);
        else if (opt == 'e')
            o.events = atoi(optarg);
        else if (opt == 's')
            o.seed = strtoull(optarg, NULL, 10);
        else if (opt == 'c')
            o.class = class_of(optarg);
        else if (opt == 'f')
            o.factor = atof(optarg);
        else
            return 2;
    }
    if (o.weeks < SERIES_WEEKS || o.events > EVENTS_MAX || o.class->event_min <= 0)
        return 2;
    /* Each series has at most one peak in half a day, and one more between two events. */
    found.peaks = calloc((size_t)o.weeks * 16 + 64, sizeof(*found.peaks));
    if (!found.peaks)
        return 2;
    for (int i = 0; i < o.weeks / SERIES_WEEKS; i++)
        one_series(&o, o.seed + (uint64_t)i, &found);
    print(&o, &found);
    free(found.peaks);
    return 0;
}
