/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LINK: @detect
 *
 * Many live series: what they hold in memory and how long a minute takes.
 *
 *   series_bench [--series N] [--per-min X] [--hours H] [--seed N]
 *
 * Series are models of an organisation: features with two models at each of two
 * providers, X calls a minute in the mean, from 0.2 to 5 X. H hours are told, so that the
 * first day is over; printed are resident bytes a series, all levels above it included,
 * and the last hour's seconds a minute: to tell the cells, and to close it.
 */
#include "collector/detect.h"
#include "proto/base/clock.h"

#include <getopt.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_S INT64_C(1767225600)
#define MODELS_A_FEATURE 4
#define CALLS_AT_ONCE 8 /* latencies that are drawn of a minute */

struct bench {
    unsigned series;
    double per_min;
    unsigned hours;
    uint64_t random;
    struct rollup_cell cell;
    uint64_t tell_ns, close_ns, close_most_ns, minutes, alerts;
};

static double uniform(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static unsigned poisson(uint64_t *state, double mean)
{
    double limit = exp(-mean), product = 1;
    unsigned n = 0;

    while ((product *= uniform(state)) > limit)
        n++;
    return n;
}

/* Resident now, in bytes. */
static double resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f || fscanf(f, "%*u %lu", &pages) != 1)
        abort();
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int count_alert(void *ctx, const struct alert *a)
{
    struct bench *b = ctx;

    (void)a;
    b->alerts++;
    return 0;
}

static void make_cell(struct bench *b, unsigned i)
{
    double rate = b->per_min * exp(log(25.0) * ((i % 97) / 96.0)) * 0.2;
    unsigned calls = poisson(&b->random, rate);

    b->cell.sums = (struct rollup_sums){.calls = calls};
    sketch_reset(&b->cell.latency);
    for (unsigned k = 0; k < calls; k++) {
        double usd = 0.002 + 0.01 * uniform(&b->random);

        b->cell.sums.cost_expected_nanousd += (int64_t)(usd * 1e9);
        b->cell.sums.cost_squares += usd * usd;
        b->cell.sums.input_total += (uint64_t)(1e5 * usd);
        b->cell.sums.errors += uniform(&b->random) < 0.01;
        if (k < CALLS_AT_ONCE &&
            sketch_add(&b->cell.latency, (uint64_t)(3e5 * (1 + 9 * uniform(&b->random)))) < 0)
            abort();
    }
}

static void tell_minute(struct bench *b, struct detect *d, int64_t minute_s)
{
    static const char *const models[MODELS_A_FEATURE] = {"gpt-5", "gpt-5-mini", "claude", "haiku"};

    if (detect_begin(d, minute_s) < 0)
        abort();
    for (unsigned i = 0; i < b->series; i++) {
        char feature[32];
        const struct store_series_name name = {"acme", feature,
                                               i % MODELS_A_FEATURE < 2 ? "openai" : "anthropic",
                                               models[i % MODELS_A_FEATURE], "api"};

        snprintf(feature, sizeof(feature), "feature-%u", i / MODELS_A_FEATURE);
        make_cell(b, i);
        if (b->cell.sums.calls && detect_add(d, &name, &b->cell) < 0)
            abort();
    }
}

static void run(struct bench *b, struct detect *d)
{
    for (int64_t i = 0; i < 60 * (int64_t)b->hours; i++) {
        uint64_t began_ns = clock_mono_ns(), told_ns, closed_ns;

        tell_minute(b, d, START_S + 60 * i);
        told_ns = clock_mono_ns();
        if (detect_close(d, false, count_alert, b) < 0)
            abort();
        closed_ns = clock_mono_ns() - told_ns;
        if (i < 60 * ((int64_t)b->hours - 1))
            continue;
        b->tell_ns += told_ns - began_ns;
        b->close_ns += closed_ns;
        b->close_most_ns = closed_ns > b->close_most_ns ? closed_ns : b->close_most_ns;
        b->minutes++;
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"series", required_argument, NULL, 's'},
                                            {"per-min", required_argument, NULL, 'p'},
                                            {"hours", required_argument, NULL, 'h'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {0}};
    static const struct config_detect settings = {
        .windows_s = {60, 300, 900, 3600},
        .windows_count = 4,
        .history_h = 24,
        .target_weeks = 100,
        .ratio_min = 1.3,
        .resolve_after_min = 5,
    };
    struct bench b = {.series = 50000, .per_min = 1, .hours = 26, .random = 1};
    struct detect *d = NULL;
    double before, allocated;
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (opt) {
        case 's':
            b.series = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            b.per_min = strtod(optarg, NULL);
            break;
        case 'h':
            b.hours = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            b.random = strtoull(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    before = resident();
    allocated = (double)mallinfo2().uordblks;
    if (detect_new(&settings, &d) < 0 || b.hours == 0)
        return 1;
    run(&b, d);
    malloc_trim(0); /* the first day's memory, freed in pieces */
    printf("%llu series, %.1f calls a minute each, %u h: %.0f bytes a series (resident), "
           "%.0f (allocated)\n",
           (unsigned long long)detect_series(d), b.per_min, b.hours,
           (resident() - before) / (double)detect_series(d),
           ((double)mallinfo2().uordblks - allocated) / (double)detect_series(d));
    printf("a minute: %.3f s to make and tell, %.3f s to close (most %.3f s); %llu alerts\n",
           1e-9 * (double)b.tell_ns / (double)b.minutes,
           1e-9 * (double)b.close_ns / (double)b.minutes, 1e-9 * (double)b.close_most_ns,
           (unsigned long long)b.alerts);
    detect_free(&d);
    sketch_fini(&b.cell.latency);
    return 0;
}
