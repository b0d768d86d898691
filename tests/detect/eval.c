/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LINK: collector/ruling.c
 * LINK: @detect tests/detect/traffic.c tests/detect/rivals.c tests/detect/classes.c
 *
 * The detector, whole, over seeded traffic:
 *
 *   eval [--weeks N] [--events N] [--seed N] [--nominal N] [--class NAME] [--kind NAME]
 *        [--jobs N] [--gate] [--rivals] [--trace]
 *
 * --weeks: clean series-weeks a class; --events: of each kind a class;
 * --nominal: false alarms in 100 series-weeks that are asked for;
 * --jobs: classes at a time; --rivals: other people's rules on the same minutes;
 * --trace: each alert's sentence; --gate: fails when wide bounds are missed.
 *
 * An event happens to a copy of the process: the series itself goes on clean, and all
 * kinds of events come at the same moments.
 */
#include "collector/detect.h"
#include "tests/detect/classes.h"
#include "tests/detect/rivals.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WEEK_MIN 10080
#define DAY_MIN 1440
#define SERIES_WEEKS 5
#define LEARN_WEEKS 2
#define SPOTS (SERIES_WEEKS - LEARN_WEEKS) /* events of a series */
#define START_S INT64_C(1767225600)        /* a Thursday */
#define KINDS_MAX 20

/* What one judge said, from one event or week to the next. */
struct judge {
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
static bool with_rivals, is_tracing;

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

struct clean {
    double fired[WHO__COUNT], first_day, first_week, rules[ALERT_RULE__COUNT];
    int series;
};

static void print_clean(const struct traffic_class *class, const struct clean *c)
{
    double per_100 = 100.0 / (c->series * SERIES_WEEKS);

    printf("clean %-9s %5d series-weeks, nominal %g: %.1f in 100 (up to %.1f); first day %.0f, "
           "first week %.1f in 100;",
           class->name, c->series * SERIES_WEEKS, nominal, c->fired[OURS] * per_100,
           poisson_upper(c->fired[OURS]) * per_100, c->first_day, c->first_week * 100 / c->series);
    for (int r = 0; r < ALERT_RULE__COUNT; r++)
        if (c->rules[r] > 0)
            printf(" %s %.0f", alert_rule_name((enum alert_rule)r), c->rules[r]);
    if (with_rivals)
        printf("; 3-sigma %.0f, grafana %.0f", c->fired[SIGMA] * per_100,
               c->fired[GRAFANA] * per_100);
    printf("\n");
}

/* --- events --- */

struct recall {
    uint64_t events, within[3], alerts, most, beside;
};

/* What one event led to, as its process says. */
struct outcome {
    int64_t delay_min[WHO__COUNT]; /* INT64_MAX: nothing */
    uint64_t fired[WHO__COUNT];
    uint64_t beside; /* alerts that the event does not explain */
};

static void tally(struct recall *r, const struct event_kind *kind, const struct outcome *o,
                  enum who who)
{
    r->events++;
    for (int i = 0; i < 3; i++)
        r->within[i] += o->delay_min[who] <= kind->bounds_min[i];
    r->alerts += o->fired[who];
    r->beside += who == OURS ? o->beside : 0;
    if (o->fired[who] > r->most)
        r->most = o->fired[who];
}

static struct outcome suffer(struct run *run, const struct event_kind *kind)
{
    struct outcome o = {0};
    int64_t from = run->minute;

    run->traffic.events[run->traffic.events_count++] = (struct traffic_event){
        .kind = kind->kind,
        .from_min = from,
        .to_min = kind->length_min ? from + kind->length_min : INT64_MAX,
        .factor = kind->factor,
    };
    for (int w = 0; w < WHO__COUNT; w++)
        run->judges[w] = (struct judge){.first_min = -1};
    advance(run, from + kind->watch_min);
    for (int w = 0; w < WHO__COUNT; w++) {
        o.delay_min[w] = run->judges[w].first_min < 0 ? INT64_MAX : run->judges[w].first_min - from;
        o.fired[w] = run->judges[w].fired;
    }
    for (int r = 0; kind->drops_only && r < ALERT_RULE__COUNT; r++)
        if (!strstr(alert_rule_name((enum alert_rule)r), "drop"))
            o.beside += run->judges[OURS].by_rule[r];
    return o;
}

/* In a copy of this process, so that the series goes on as if nothing had been. */
static struct outcome happens(struct run *run, const struct event_kind *kind)
{
    struct outcome o;
    int ends[2];
    pid_t child;

    fflush(stdout);
    if (pipe(ends) < 0 || (child = fork()) < 0)
        exit(2);
    if (child == 0) {
        o = suffer(run, kind);
        fflush(stdout);
        _exit(write(ends[1], &o, sizeof(o)) == sizeof(o) ? 0 : 2);
    }
    close(ends[1]);
    if (read(ends[0], &o, sizeof(o)) != sizeof(o))
        exit(2);
    close(ends[0]);
    waitpid(child, NULL, 0);
    return o;
}

static double percent(uint64_t n, uint64_t of)
{
    return 100.0 * (double)n / (double)of;
}

static void print_recall(const struct traffic_class *class, const struct event_kind *kind,
                         const struct recall *r, enum who who)
{
    printf("%-11s %-9s %-9s nominal %g, %4llu events:", kind->name, class->name, who_names[who],
           nominal, (unsigned long long)r->events);
    for (int i = 0; i < 3; i++)
        printf(" %5.1f%% in %lld min", percent(r->within[i], r->events),
               (long long)kind->bounds_min[i]);
    printf("; %.2f alerts each, at most %llu", (double)r->alerts / (double)r->events,
           (unsigned long long)r->most);
    if (kind->drops_only && who == OURS)
        printf(", beside the point %.2f", (double)r->beside / (double)r->events);
    printf("\n");
}

/* --- a class --- */

struct options {
    int weeks, jobs;
    uint64_t events, seed;
    const char *class, *kind;
    bool gate;
};

struct result {
    struct clean clean;
    struct recall recalls[KINDS_MAX][WHO__COUNT];
};

/* A minute of the week with enough calls for an event to be seen. */
static int64_t find_spot(const struct run *run, int week, uint64_t *random)
{
    int64_t at;

    do
        at = week * (int64_t)WEEK_MIN + (int64_t)(traffic_random(random) * (WEEK_MIN - 1));
    while (traffic_rate_at(&run->traffic, at) < run->traffic.class->event_min);
    return at;
}

static void suffer_all(const struct options *o, struct run *run, struct result *result)
{
    for (size_t k = 0; k < event_kinds_count; k++) {
        struct outcome out;

        if (o->kind && strcmp(o->kind, event_kinds[k].name) != 0)
            continue;
        out = happens(run, &event_kinds[k]);
        for (int w = 0; w < WHO__COUNT; w++)
            tally(&result->recalls[k][w], &event_kinds[k], &out, (enum who)w);
    }
}

static void add_clean(struct clean *c, const struct run *run)
{
    for (int w = 0; w < WHO__COUNT; w++)
        c->fired[w] += (double)run->judges[w].fired;
    for (int r = 0; r < ALERT_RULE__COUNT; r++)
        c->rules[r] += (double)run->judges[OURS].by_rule[r];
    c->series++;
}

static void one_series(const struct options *o, const struct traffic_class *class, uint64_t seed,
                       uint64_t events, struct result *result)
{
    uint64_t random = seed;
    struct run run;

    start_run(&run, class, seed);
    advance(&run, DAY_MIN);
    result->clean.first_day += (double)run.judges[OURS].fired;
    advance(&run, WEEK_MIN);
    result->clean.first_week += (double)run.judges[OURS].fired;
    for (int week = LEARN_WEEKS; week < SERIES_WEEKS && events; week++, events--) {
        advance(&run, find_spot(&run, week, &random));
        suffer_all(o, &run, result);
    }
    advance(&run, SERIES_WEEKS * WEEK_MIN);
    add_clean(&result->clean, &run);
    end_run(&run);
}

/* What a short run must show, with wide margins. */
static bool is_good(const struct traffic_class *class, const struct event_kind *kind,
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

static bool run_class(const struct options *o, const struct traffic_class *class)
{
    static struct result result;
    uint64_t spots = class->event_min > 0 ? o->events : 0;
    int series = (o->weeks + SERIES_WEEKS - 1) / SERIES_WEEKS;
    bool good;

    for (int i = 0; i < series; i++) {
        uint64_t events = spots < SPOTS ? spots : SPOTS;

        one_series(o, class, o->seed + (uint64_t)i, events, &result);
        spots -= events;
    }
    print_clean(class, &result.clean);
    /* Wide: what a few weeks can show. */
    good = result.clean.first_day == 0 &&
           result.clean.fired[OURS] <= 3 + 4 * nominal * series * SERIES_WEEKS / 100;
    for (size_t k = 0; k < event_kinds_count; k++) {
        const struct recall *r = result.recalls[k];

        for (int w = 0; w < (with_rivals ? WHO__COUNT : 1) && r->events; w++)
            print_recall(class, &event_kinds[k], &r[w], (enum who)w);
        if (r->events && !is_good(class, &event_kinds[k], r)) {
            printf("not ok - %s on %s\n", event_kinds[k].name, class->name);
            good = false;
        }
    }
    return good;
}

/* So many classes at a time, each in a process of its own. */
static bool run_all(const struct options *o)
{
    bool good = true;
    int running = 0, status;

    for (size_t c = 0; c < traffic_classes_count; c++) {
        const struct traffic_class *class = &traffic_classes[c];
        pid_t child;

        if (o->class && strcmp(o->class, class->name) != 0)
            continue;
        if (running == o->jobs) {
            wait(&status);
            good &= status == 0;
            running--;
        }
        child = fork();
        if (child < 0)
            exit(2);
        if (child == 0)
            exit(run_class(o, class) ? 0 : 1);
        running++;
    }
    while (running-- && wait(&status) > 0)
        good &= status == 0;
    return good;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"weeks", required_argument, NULL, 'w'},
        {"events", required_argument, NULL, 'e'},
        {"seed", required_argument, NULL, 's'},
        {"nominal", required_argument, NULL, 'n'},
        {"class", required_argument, NULL, 'c'},
        {"kind", required_argument, NULL, 'k'},
        {"jobs", required_argument, NULL, 'j'},
        {"trace", no_argument, NULL, 't'},
        {"gate", no_argument, NULL, 'g'},
        {"rivals", no_argument, NULL, 'r'},
        {0},
    };
    struct options o = {.weeks = 50, .events = 30, .seed = 1, .jobs = 2};
    int opt;

    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
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
        else if (opt == 'j')
            o.jobs = atoi(optarg);
        else if (opt == 'g')
            o.gate = true;
        else if (opt == 't')
            is_tracing = true;
        else if (opt == 'r')
            with_rivals = true;
        else
            return 2;
    }
    return run_all(&o) || !o.gate ? 0 : 1;
}
