/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LINK: collector/ruling.c
 * LINK: @detect tests/detect/traffic.c tests/detect/rivals.c
 *
 * The detector, whole, over seeded traffic:
 *
 *   eval [--weeks N] [--events N] [--seed N] [--nominal N] [--class NAME] [--gate] [--no-rivals]
 *
 * --weeks: clean series-weeks a class; --events: of each kind a class;
 * --nominal: false alarms in 100 series-weeks that are asked for;
 * --trace: each alert's sentence;
 * --gate: fails when wide bounds are missed.
 */
#include "collector/detect.h"
#include "tests/detect/rivals.h"
#include "tests/detect/traffic.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEEK_MIN 10080
#define DAY_MIN 1440
#define SERIES_WEEKS 5
#define LEARN_WEEKS 2
#define START_S INT64_C(1767225600) /* a Thursday */
#define EVENT_MIN 60
#define PAUSE_MIN 300 /* an alert this long after the one before is another one */

static const struct traffic_class classes[] = {
    {.name = "200/min",
     .per_min = 200,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 20},
    {.name = "20-60/min",
     .per_min = 35,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 20},
    {.name = "5-20/min",
     .per_min = 9,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 5},
    {.name = "2-5/min",
     .per_min = 3,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 2},
    {.name = "sparse",
     .per_min = 0.2,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6},
    {.name = "holiday",
     .per_min = 60,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6,
     .has_holiday = true,
     .event_min = 20},
    {.name = "cron",
     .per_min = 30,
     .noise_low = 0.1,
     .noise_high = 0.2,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.3,
     .weekend = 0.8,
     .event_min = 20,
     .has_cron = true},
    {.name = "office",
     .per_min = 30,
     .noise_low = 0.1,
     .noise_high = 0.2,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.2,
     .weekend = 1,
     .event_min = 20,
     .is_office = true},
    {.name = "heavy",
     .per_min = 35,
     .noise_low = 0.2,
     .noise_high = 0.4,
     .cv_low = 2,
     .cv_high = 4,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 20},
    {.name = "growing",
     .per_min = 35,
     .noise_low = 0.1,
     .noise_high = 0.25,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 20,
     .growth = 0.2},
};
#define CLASSES (sizeof(classes) / sizeof(classes[0]))

/* What one judge said, from one event or week to the next. */
struct judge {
    int64_t last_min; /* of the last firing, for the rivals' storms */
    uint64_t fired;
    uint64_t by_rule[ALERT_RULE__COUNT];
    int64_t first_min; /* since the start of the event, -1 = none */
    bool was_firing;
};

enum who { OURS, SIGMA, GRAFANA, WHO__COUNT };
static const char *const who_names[] = {"lectr", "3-sigma", "grafana"};

struct run {
    struct traffic traffic;
    struct detect *detect;
    struct rivals *rivals;
    int64_t minute;
    struct judge judges[WHO__COUNT];
};

static double nominal = 1;
static bool with_rivals = true, is_tracing;

static void note(struct run *run, enum who who)
{
    struct judge *j = &run->judges[who];

    j->fired++;
    if (j->first_min < 0)
        j->first_min = run->minute;
}

static int on_alert(void *ctx, const struct alert *a)
{
    struct run *run = ctx;

    if (a->status != ALERT_FIRING)
        return 0;
    if (is_tracing) {
        char reason[512];

        alert_reason(a, reason, sizeof(reason));
        printf("  day %lld %02lld:%02lld %s: %s\n", (long long)(run->minute / DAY_MIN),
               (long long)(run->minute % DAY_MIN / 60), (long long)(run->minute % 60),
               alert_rule_name(a->rule), reason);
    }
    note(run, OURS);
    run->judges[OURS].by_rule[a->rule]++;
    return 0;
}

static void start_run(struct run *run, const struct traffic_class *class, uint64_t seed)
{
    const struct config_detect settings = {
        .windows_s = {60, 300, 900, 3600},
        .windows_count = 4,
        .history_h = 24,
        .target_weeks = 100 / nominal,
        .ratio_min = 1.3,
        .resolve_after_min = 5,
    };

    memset(run, 0, sizeof(*run));
    traffic_init(&run->traffic, class, seed);
    if (detect_new(&settings, &run->detect) < 0)
        exit(2);
    run->rivals = with_rivals ? malloc(sizeof(*run->rivals)) : NULL;
    if (run->rivals)
        rivals_init(run->rivals);
    for (int w = 0; w < WHO__COUNT; w++)
        run->judges[w].first_min = -1;
}

static void end_run(struct run *run)
{
    detect_free(&run->detect);
    free(run->rivals);
}

/* A rival that goes on firing has told one alert. */
static void follow(struct run *run, enum who who, bool fires)
{
    struct judge *j = &run->judges[who];

    if (fires && !j->was_firing)
        note(run, who);
    j->was_firing = fires;
}

static void fill_cell(const struct traffic_minute *m, struct rollup_cell *cell)
{
    struct rollup_sums *s = &cell->sums;

    s->calls = m->calls;
    s->errors = m->errors;
    s->cost_expected_nanousd = llround(m->cost_usd * 1e9);
    s->cost_squares = m->cost_squares;
    s->input_total = (uint64_t)llround(m->tokens * 0.8);
    s->output_total = (uint64_t)llround(m->tokens * 0.2);
    sketch_reset(&cell->latency);
    for (uint32_t i = 0; i < m->latencies; i++)
        if (sketch_add(&cell->latency, m->latencies_us[i]) < 0)
            exit(2);
}

static void step(struct run *run)
{
    static const struct store_series_name name = {"o", "f", "p", "m", "w"};
    static struct rollup_cell cell;
    struct traffic_minute m;

    traffic_next(&run->traffic, &m);
    if (detect_begin(run->detect, START_S + run->minute * 60) < 0)
        exit(2);
    run->minute++;
    fill_cell(&m, &cell);
    if ((m.calls && detect_add(run->detect, &name, &cell) < 0) ||
        detect_close(run->detect, false, on_alert, run) < 0)
        exit(2);
    if (!run->rivals)
        return;
    rivals_next(run->rivals, m.cost_usd);
    follow(run, SIGMA, run->rivals->sigma_fires);
    follow(run, GRAFANA, run->rivals->grafana_fires);
}

static void advance(struct run *run, int64_t to_min)
{
    while (run->minute < to_min)
        step(run);
}

/* --- clean traffic --- */

/* Upper end of the 95% interval of a Poisson mean, one-sided. */
static double poisson_upper(double n)
{
    double k = n + 1;

    return k * pow(1 - 1 / (9 * k) + 1.645 / (3 * sqrt(k)), 3);
}

static bool clean(const struct traffic_class *class, int weeks, uint64_t seed)
{
    double count[WHO__COUNT] = {0}, first_day = 0, first_week = 0, rules[ALERT_RULE__COUNT] = {0};
    int series = (weeks + SERIES_WEEKS - 1) / SERIES_WEEKS;
    double per_100 = 100.0 / (series * SERIES_WEEKS);

    for (int i = 0; i < series; i++) {
        struct run run;

        start_run(&run, class, seed + (uint64_t)i);
        advance(&run, DAY_MIN);
        first_day += (double)run.judges[OURS].fired;
        advance(&run, WEEK_MIN);
        first_week += (double)run.judges[OURS].fired;
        advance(&run, SERIES_WEEKS * WEEK_MIN);
        for (int w = 0; w < WHO__COUNT; w++)
            count[w] += (double)run.judges[w].fired;
        for (int r = 0; r < ALERT_RULE__COUNT; r++)
            rules[r] += (double)run.judges[OURS].by_rule[r];
        end_run(&run);
    }
    printf("clean %-9s %5d series-weeks, nominal %g: %.1f in 100 (up to %.1f); first day %.0f, "
           "first week %.1f in 100;",
           class->name, series * SERIES_WEEKS, nominal, count[OURS] * per_100,
           poisson_upper(count[OURS]) * per_100, first_day, first_week * 100 / series);
    for (int r = 0; r < ALERT_RULE__COUNT; r++)
        if (rules[r] > 0)
            printf(" %s %.0f", alert_rule_name((enum alert_rule)r), rules[r]);
    if (with_rivals)
        printf("; 3-sigma %.0f, grafana %.0f", count[SIGMA] * per_100, count[GRAFANA] * per_100);
    printf("\n");
    fflush(stdout);
    /* Wide: what a few weeks can show. */
    return first_day == 0 && count[OURS] <= 3 + 4 * nominal / per_100;
}

/* --- events --- */

struct recall {
    uint64_t events, within[3], alerts, most;
};

static const int bounds_min[3] = {5, 30, 60};

struct kind {
    const char *name;
    enum traffic_kind kind;
    double factor;
    int64_t length_min; /* 0: stays */
    int64_t watch_min;
    uint32_t rules; /* that may find it; 0 = any */
};

static const struct kind kinds[] = {
    {"cost x3", TRAFFIC_COST, 3, EVENT_MIN, EVENT_MIN, 0},
    {"cost x5", TRAFFIC_COST, 5, EVENT_MIN, EVENT_MIN, 0},
    {"cost x10", TRAFFIC_COST, 10, EVENT_MIN, EVENT_MIN, 0},
    {"calls x3", TRAFFIC_CALLS, 3, EVENT_MIN, EVENT_MIN, 0},
    {"retries x3", TRAFFIC_RETRY, 3, EVENT_MIN, EVENT_MIN, 0},
    {"errors 20%", TRAFFIC_ERRORS, .2, EVENT_MIN, EVENT_MIN, 0},
    {"slow x4", TRAFFIC_SLOW, 4, EVENT_MIN, EVENT_MIN, 0},
    {"outage", TRAFFIC_OUTAGE, 0, EVENT_MIN, EVENT_MIN, 0},
    {"shift x2", TRAFFIC_CALLS, 2, 0, 360, 0},
    {"shift /2", TRAFFIC_CALLS, .5, 0, 360, 0},
    {"deploy x1.5", TRAFFIC_CALLS, 1.5, 0, 360, 0},
    {"price x2", TRAFFIC_PRICE, 2, 0, 360, 0},
    {"ramp x3", TRAFFIC_RAMP, 3, 0, 1440, 0},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void tally(struct recall *r, const struct judge *j, int64_t from_min, int64_t watch_min)
{
    int64_t delay = j->first_min < 0 ? INT64_MAX : j->first_min - from_min;

    r->events++;
    for (int i = 0; i < 3; i++)
        r->within[i] += delay <= (watch_min > EVENT_MIN ? watch_min >> (2 - i) : bounds_min[i]);
    r->alerts += j->fired;
    if (j->fired > r->most)
        r->most = j->fired;
}

/* Three events a series for those that pass, weekly; one for those that stay. */
static void one_series(const struct traffic_class *class, const struct kind *kind, uint64_t seed,
                       struct recall recalls[WHO__COUNT])
{
    struct run run;
    uint64_t random = seed;
    int weeks = kind->length_min ? SERIES_WEEKS - LEARN_WEEKS : 1;

    start_run(&run, class, seed);
    for (int i = 0; i < weeks; i++) {
        int64_t from;

        do
            from = (LEARN_WEEKS + i) * WEEK_MIN +
                   (int64_t)(traffic_random(&random) * (WEEK_MIN - 2 * DAY_MIN));
        while (traffic_rate_at(&run.traffic, from) < class->event_min);
        run.traffic.events[run.traffic.events_count++] = (struct traffic_event){
            .kind = kind->kind,
            .from_min = from,
            .to_min = kind->length_min ? from + kind->length_min : INT64_MAX,
            .factor = kind->factor,
        };
        advance(&run, from);
        for (int w = 0; w < WHO__COUNT; w++) {
            run.judges[w].fired = 0;
            run.judges[w].first_min = -1;
            run.judges[w].was_firing = false;
        }
        /* Storms show in the day after. */
        advance(&run, from + DAY_MIN);
        for (int w = 0; w < WHO__COUNT; w++)
            tally(&recalls[w], &run.judges[w], from, kind->watch_min);
    }
    end_run(&run);
}

static double percent(uint64_t n, uint64_t of)
{
    return 100.0 * (double)n / (double)of;
}

static void recall(const struct traffic_class *class, const struct kind *kind, uint64_t events,
                   uint64_t seed, struct recall *ret_ours)
{
    struct recall recalls[WHO__COUNT] = {0};
    const bool stays = kind->length_min == 0;

    while (recalls[OURS].events < events)
        one_series(class, kind, seed++, recalls);
    for (int w = 0; w < (with_rivals ? WHO__COUNT : 1); w++) {
        const struct recall *r = &recalls[w];

        printf("%-11s %-9s %-9s %4llu events:", kind->name, class->name, who_names[w],
               (unsigned long long)r->events);
        for (int i = 0; i < 3; i++)
            printf(" %5.1f%% in %lld min", percent(r->within[i], r->events),
                   (long long)(stays ? kind->watch_min >> (2 - i) : bounds_min[i]));
        printf("; %.2f alerts each, at most %llu\n", (double)r->alerts / (double)r->events,
               (unsigned long long)r->most);
    }
    fflush(stdout);
    *ret_ours = recalls[OURS];
}

/* --- all of it --- */

struct options {
    int weeks;
    uint64_t events, seed;
    const char *class, *kind;
    bool gate;
};

/* What a short run must show, with wide margins. */
static bool is_good(const struct traffic_class *class, const struct kind *kind,
                    const struct recall *r)
{
    if (class->event_min < 20 || class->is_office || class->cv_high > 2)
        return true;
    if (strcmp(kind->name, "cost x10") == 0 || strcmp(kind->name, "cost x5") == 0)
        return percent(r->within[0], r->events) >= 80;
    if (strcmp(kind->name, "cost x3") == 0)
        return percent(r->within[1], r->events) >= 80;
    if (strcmp(kind->name, "shift x2") == 0)
        return percent(r->within[2], r->events) >= 50;
    return true;
}

static bool run_all(const struct options *o)
{
    bool good = true;

    for (size_t c = 0; c < CLASSES; c++) {
        if (o->class && strcmp(o->class, classes[c].name) != 0)
            continue;
        if (o->weeks && !clean(&classes[c], o->weeks, o->seed)) {
            printf("not ok - false alarms on %s\n", classes[c].name);
            good = false;
        }
        for (size_t k = 0; k < KINDS && o->events; k++) {
            struct recall ours;

            if (o->kind && strcmp(o->kind, kinds[k].name) != 0)
                continue;
            recall(&classes[c], &kinds[k], o->events, o->seed + 100000, &ours);
            if (!is_good(&classes[c], &kinds[k], &ours)) {
                printf("not ok - %s on %s\n", kinds[k].name, classes[c].name);
                good = false;
            }
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"weeks", required_argument, NULL, 'w'}, {"events", required_argument, NULL, 'e'},
        {"seed", required_argument, NULL, 's'},  {"nominal", required_argument, NULL, 'n'},
        {"class", required_argument, NULL, 'c'}, {"kind", required_argument, NULL, 'k'},
        {"trace", no_argument, NULL, 't'},       {"gate", no_argument, NULL, 'g'},
        {"no-rivals", no_argument, NULL, 'r'},   {0},
    };
    struct options o = {.weeks = 50, .events = 30, .seed = 1};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'w')
            o.weeks = atoi(optarg);
        else if (opt == 'e')
            o.events = strtoull(optarg, NULL, 10);
        else if (opt == 's')
            o.seed = strtoull(optarg, NULL, 10);
        else if (opt == 'n')
            nominal = atof(optarg);
        else if (opt == 'c')
            o.class = optarg;
        else if (opt == 'k')
            o.kind = optarg;
        else if (opt == 'g')
            o.gate = true;
        else if (opt == 't')
            is_tracing = true;
        else if (opt == 'r')
            with_rivals = false;
        else
            return 2;
    }
    return run_all(&o) || !o.gate ? 0 : 1;
}
