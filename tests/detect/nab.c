/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/pattern.c collector/points.c */
/*
 * Scores the "unusual pattern" score by the rules of the Numenta Anomaly
 * Benchmark, with data that lies beside the tree:
 *
 *   nab DIR             the three profiles, with the frozen parameters
 *   nab DIR --least N   fails when the standard profile is below
 *   nab DIR --choose    a grid around them: its spread, and what is reached by
 *                       choosing on some files and scoring on the others
 *   nab DIR --files     each file's part
 */
#include "collector/pattern.h"
#include "collector/points.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILES_MAX 64
#define WINDOWS_MAX 16
#define PROFILES 3

static const struct profile {
    const char *name;
    double false_positive, false_negative;
} profiles[PROFILES] = {{"standard", 0.11, 1}, {"low-FP", 0.22, 1}, {"low-FN", 0.11, 2}};

struct file {
    char name[128];
    struct points points;
    struct {
        size_t first, last;
    } windows[WINDOWS_MAX];
    size_t windows_count;
    uint32_t fold;
};

static struct file files[FILES_MAX];
static size_t files_count;

/* A row that a threshold at its score flags. */
struct flag {
    double score;
    uint32_t file, row;
};

struct flags {
    struct flag *list;
    size_t count;
};

static double sigmoid(double y)
{
    return 2.0 / (1.0 + exp(5.0 * y)) - 1.0;
}

/* --- loading --- */

static int64_t seconds_of(const char *text)
{
    struct tm tm = {0};

    if (!strptime(text, "%Y-%m-%d %H:%M:%S", &tm))
        exit(2);
    return (int64_t)timegm(&tm);
}

static void load_windows(struct file *f, const json_t *windows)
{
    size_t i;
    json_t *window;

    json_array_foreach(windows, i, window)
    {
        int64_t from = seconds_of(json_string_value(json_array_get(window, 0)));
        int64_t to = seconds_of(json_string_value(json_array_get(window, 1)));
        size_t row = 0;

        while (f->points.list[row].time_s < from)
            row++;
        f->windows[i].first = row;
        while (row < f->points.count && f->points.list[row].time_s <= to)
            row++;
        f->windows[i].last = row - 1;
    }
    f->windows_count = json_array_size(windows);
}

static int load_all(const char *dir)
{
    char path[1024], error[1200];
    const char *name;
    json_error_t json_error;
    json_t *root, *windows;

    snprintf(path, sizeof(path), "%s/windows.json", dir);
    root = json_load_file(path, 0, &json_error);
    if (!root)
        return -1;
    json_object_foreach(root, name, windows)
    {
        struct file *f = &files[files_count];

        snprintf(f->name, sizeof(f->name), "%s", name);
        snprintf(path, sizeof(path), "%s/data/%s", dir, name);
        if (points_load(path, &f->points, error, sizeof(error)) < 0) {
            fprintf(stderr, "%s\n", error);
            exit(2);
        }
        load_windows(f, windows);
        files_count++;
    }
    json_decref(root);
    return 0;
}

/* --- detecting --- */

static void detect_file(uint32_t index, const struct pattern_params *params, struct flags *out)
{
    const struct file *f = &files[index];
    size_t probation = f->points.count * 15 / 100 < 750 ? f->points.count * 15 / 100 : 750;
    struct pattern *p = NULL;

    if (pattern_new(params, &p) < 0)
        exit(2);
    for (size_t i = 0; i < f->points.count; i++) {
        double score = pattern_feed(p, f->points.list[i].value,
                                    (unsigned)(f->points.list[i].time_s / 3600 % 24));

        if (score > 0 && i >= probation)
            out->list[out->count++] =
                (struct flag){.score = score, .file = index, .row = (uint32_t)i};
    }
    pattern_free(&p);
}

static int by_score(const void *a, const void *b)
{
    double x = ((const struct flag *)a)->score, y = ((const struct flag *)b)->score;

    return (x < y) - (x > y);
}

static struct flags detect_all(const struct pattern_params *params)
{
    struct flags out = {0};
    size_t rows = 0;

    for (size_t i = 0; i < files_count; i++)
        rows += files[i].points.count;
    out.list = calloc(rows, sizeof(*out.list));
    if (!out.list)
        exit(2);
    for (uint32_t i = 0; i < files_count; i++)
        detect_file(i, params, &out);
    qsort(out.list, out.count, sizeof(*out.list), by_score);
    return out;
}

/* --- scoring --- */

struct tally {
    double score, threshold;
    size_t windows, found, false_rows;
};

static double false_alarm(const struct file *f, size_t row)
{
    size_t i = f->windows_count;
    double y;

    while (i > 0 && f->windows[i - 1].first > row)
        i--;
    if (i == 0)
        return -1;
    y = (double)(row - f->windows[i - 1].last) /
        (double)(f->windows[i - 1].last - f->windows[i - 1].first);
    return y > 3 ? -1 : sigmoid(y);
}

static int window_of(const struct file *f, size_t row)
{
    for (size_t i = 0; i < f->windows_count; i++)
        if (row >= f->windows[i].first && row <= f->windows[i].last)
            return (int)i;
    return -1;
}

static double hit(const struct file *f, int window, size_t row)
{
    size_t first = f->windows[window].first, last = f->windows[window].last;

    return sigmoid(-(double)(last - row + 1) / (double)(last - first + 1)) / sigmoid(-1);
}

/* Walks the threshold down; `folds`: bit mask of the files that count. With
 * `fixed` the score at that threshold, else at the best one. */
static struct tally score(const struct flags *flags, const struct profile *p, uint32_t folds,
                          const double *fixed)
{
    static size_t earliest[FILES_MAX][WINDOWS_MAX];
    struct tally now = {.threshold = 2}, best;

    memset(earliest, 0xff, sizeof(earliest));
    for (size_t i = 0; i < files_count; i++)
        if (folds & (1u << files[i].fold))
            now.windows += files[i].windows_count;
    now.score = -p->false_negative * (double)now.windows;
    best = now;
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *flag = &flags->list[i];
        const struct file *f = &files[flag->file];
        int window = window_of(f, flag->row);

        if (!(folds & (1u << f->fold)))
            continue;
        if (fixed && flag->score < *fixed)
            break;
        if (window < 0) {
            now.score += p->false_positive * false_alarm(f, flag->row);
            now.false_rows++;
        } else if (flag->row < earliest[flag->file][window]) {
            size_t before = earliest[flag->file][window];

            now.score += hit(f, window, flag->row);
            now.score += before == SIZE_MAX ? p->false_negative : -hit(f, window, before);
            now.found += before == SIZE_MAX;
            earliest[flag->file][window] = flag->row;
        }
        now.threshold = flag->score;
        if (now.score > best.score || fixed)
            best = now;
    }
    return best;
}

static double normalised(const struct tally *t, const struct profile *p)
{
    double null = -p->false_negative * (double)t->windows;

    return t->windows ? 100 * (t->score - null) / ((double)t->windows - null) : 0;
}

/* --- choosing --- */

static const struct pattern_params *grid(size_t index)
{
    static const uint32_t bins[] = {12, 14, 16, 18, 20};
    static const uint32_t memory[] = {60, 80, 100};
    static const float escalation[] = {0.5f, 0.6f, 0.7f};
    static const float slow[] = {0.007f, 0.01f, 0.015f};
    static const float fast[] = {0.07f, 0.1f, 0.15f};
    static const float weight[] = {0.5f, 1.0f};
    static struct pattern_params p;

#define PICK(field, list)                                                                          \
    p.field = list[index % (sizeof(list) / sizeof(list[0]))];                                      \
    index /= sizeof(list) / sizeof(list[0])
    p = pattern_params_frozen;
    PICK(bins, bins);
    PICK(memory, memory);
    PICK(escalation, escalation);
    PICK(slow, slow);
    PICK(fast, fast);
    PICK(weight_value, weight);
#undef PICK
    return index ? NULL : &p;
}

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % n;
}

/* Halves at random, the categories mixed. */
static void shuffle_folds(void)
{
    for (size_t i = 0; i < files_count; i++)
        files[i].fold = (uint32_t)(i & 1);
    for (size_t i = files_count; i > 1; i--) {
        uint32_t j = random_below((uint32_t)i);
        uint32_t fold = files[i - 1].fold;

        files[i - 1].fold = files[j].fold;
        files[j].fold = fold;
    }
}

#define GRID_MAX 1024
#define SPLITS 10

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void choose(void)
{
    static struct flags all[GRID_MAX];
    static double values[GRID_MAX];
    size_t count = 0;
    double held = 0, frozen_held = 0;
    struct flags frozen = detect_all(&pattern_params_frozen);

    for (const struct pattern_params *p; count < GRID_MAX && (p = grid(count)); count++) {
        struct tally t;

        all[count] = detect_all(p);
        t = score(&all[count], &profiles[0], UINT32_MAX, NULL);
        values[count] = normalised(&t, &profiles[0]);
        printf("grid %5.2f bins=%u memory=%u escalation=%.1f slow=%.3f fast=%.2f weight=%.1f\n",
               values[count], p->bins, p->memory, (double)p->escalation, (double)p->slow,
               (double)p->fast, (double)p->weight_value);
    }
    for (int split = 0; split < 2 * SPLITS; split++) {
        struct tally best = {.score = -1e9}, t;
        size_t chosen = 0;
        uint32_t fold = split & 1;

        if (fold == 0)
            shuffle_folds();
        for (size_t i = 0; i < count; i++) {
            t = score(&all[i], &profiles[0], 1u << fold, NULL);
            if (t.score > best.score) {
                best = t;
                chosen = i;
            }
        }
        t = score(&all[chosen], &profiles[0], 2u >> fold, &best.threshold);
        held += normalised(&t, &profiles[0]) / (2 * SPLITS);
        t = score(&frozen, &profiles[0], 1u << fold, NULL);
        t = score(&frozen, &profiles[0], 2u >> fold, &t.threshold);
        frozen_held += normalised(&t, &profiles[0]) / (2 * SPLITS);
    }
    qsort(values, count, sizeof(values[0]), compare_doubles);
    printf("grid of %zu: lowest %.2f, median %.2f, highest %.2f\n", count, values[0],
           values[count / 2], values[count - 1]);
    printf("parameters and threshold chosen on one half, scored on the other: %.2f\n", held);
    printf("frozen parameters, threshold from one half, scored on the other: %.2f\n", frozen_held);
    for (size_t i = 0; i < count; i++)
        free(all[i].list);
    free(frozen.list);
}

static void report_files(const struct flags *flags, double threshold)
{
    for (uint32_t i = 0; i < files_count; i++) {
        struct tally t;

        for (uint32_t j = 0; j < files_count; j++)
            files[j].fold = j == i ? 1 : 0;
        t = score(flags, &profiles[0], 2, &threshold);
        printf("%-60s %zu/%zu found, %zu false rows, %.2f\n", files[i].name, t.found, t.windows,
               t.false_rows, t.score);
    }
}

int main(int argc, char **argv)
{
    struct flags flags;
    struct tally t;
    double least = 0, standard = 0;

    if (argc < 2 || !argv[1][0] || load_all(argv[1]) < 0) {
        printf("SKIP - nab: no series in '%s'\n", argc < 2 ? "" : argv[1]);
        return 0;
    }
    flags = detect_all(&pattern_params_frozen);
    for (int i = PROFILES - 1; i >= 0; i--) {
        t = score(&flags, &profiles[i], UINT32_MAX, NULL);
        standard = normalised(&t, &profiles[i]);
        printf("%-9s %6.2f  threshold %.3f, %zu of %zu windows, %zu false rows\n", profiles[i].name,
               standard, t.threshold, t.found, t.windows, t.false_rows);
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--files") == 0)
            report_files(&flags, t.threshold);
        else if (strcmp(argv[i], "--choose") == 0)
            choose();
        else if (strcmp(argv[i], "--least") == 0 && i + 1 < argc)
            least = atof(argv[++i]);
    }
    free(flags.list);
    for (size_t i = 0; i < files_count; i++)
        points_fini(&files[i].points);
    return standard >= least ? 0 : 1;
}
