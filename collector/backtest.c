/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/backtest.h"

#include "collector/baseline.h"
#include "collector/pattern.h"
#include "collector/points.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_S 60
#define STEP_MAX_S 86400
#define LOOK_MAX_MIN 60 /* what is longer is judged by its first hour */
/* A longer silence begins the baseline anew. */
#define HOLE_MAX_MIN (7 * 1440)
/* How many calls a value was made of is not known: it is taken as very many small
 * ones, so that no sampling noise is assumed. */
#define PIECE 1e-6
#define STEP_ROWS 1000
/* The baseline counts in floats: one infinite minute would be an alert for ever. */
#define AMOUNT_MAX 1e18

struct backtest {
    struct baseline_settings settings;
    struct baseline *baseline; /* NULL: the series is none of amounts */
    struct pattern *pattern;
    uint32_t step_min;
    uint32_t look_min;   /* of a row, when it is judged */
    int64_t next_minute; /* 0 = none yet */
    double per_minute;   /* of the row before: fills holes */
    double piece;        /* 0 = not known yet */
};

static void choose_windows(struct backtest *b, const struct config_detect *settings)
{
    const uint32_t factors[] = {1, 3, 12};

    b->settings.history_min = settings->history_h * 60;
    b->settings.target_weeks = settings->target_weeks;
    b->settings.ratio_min = settings->ratio_min;
    for (int i = 0; i < 3; i++)
        if (b->look_min * factors[i] <= LOOK_MAX_MIN)
            b->settings.windows_min[b->settings.windows_count++] = b->look_min * factors[i];
}

int backtest_new(const struct config_detect *settings, int64_t step_s,
                 struct backtest **ret_backtest)
{
    struct backtest *b = calloc(1, sizeof(*b));
    int r = b ? pattern_new(&pattern_params_frozen, &b->pattern) : -ENOMEM;

    if (r == 0 && step_s >= MINUTE_S && step_s <= STEP_MAX_S) {
        b->step_min = (uint32_t)(step_s / MINUTE_S);
        b->look_min = b->step_min < LOOK_MAX_MIN ? b->step_min : LOOK_MAX_MIN;
        choose_windows(b, settings);
        r = baseline_new(NULL, &b->baseline);
    }
    if (r < 0) {
        backtest_free(&b);
        return r;
    }
    *ret_backtest = b;
    return 0;
}

void backtest_free(struct backtest **backtest)
{
    if (!*backtest)
        return;
    baseline_free(&(*backtest)->baseline);
    pattern_free(&(*backtest)->pattern);
    free(*backtest);
    *backtest = NULL;
}

static int learn(struct backtest *b, double amount)
{
    struct baseline_minute m = {
        .count = b->piece > 0 ? (float)(amount / b->piece) : 0,
        .sum = (float)amount,
        .squares = (float)(amount * b->piece),
    };

    return baseline_learn(b->baseline, &b->settings, b->next_minute++, &m, false);
}

/* The minutes from the row before to where this one is judged. */
static int learn_row(struct backtest *b, int64_t minute, double value)
{
    double amount = fmin(value / b->step_min, AMOUNT_MAX);
    int r = 0;

    if (b->piece <= 0)
        b->piece = PIECE * amount;
    if (b->next_minute && minute > b->next_minute + HOLE_MAX_MIN) {
        baseline_free(&b->baseline);
        b->next_minute = 0;
        r = baseline_new(NULL, &b->baseline);
    }
    if (b->next_minute == 0)
        b->next_minute = minute;
    while (r == 0 && b->next_minute < minute)
        r = learn(b, b->per_minute);
    while (r == 0 && b->next_minute < minute + b->look_min)
        r = learn(b, amount);
    b->per_minute = amount;
    return r;
}

static int learn_rest(struct backtest *b, int64_t minute)
{
    int r = 0;

    while (r == 0 && b->next_minute < minute + b->step_min)
        r = learn(b, b->per_minute);
    return r;
}

static void look(const struct backtest *b, struct backtest_row *row)
{
    const double scale = b->step_min / (double)b->look_min;

    for (unsigned i = 0; i < b->settings.windows_count; i++) {
        struct finding f;
        double weeks;

        baseline_look(b->baseline, &b->settings, i, &f);
        if (f.window_s == 0)
            return;
        weeks = f.return_weeks / b->settings.windows_count;
        if (i == 0) {
            row->baseline = scale * f.baseline;
            row->lower = scale * f.lower;
            row->upper = scale * f.upper;
            row->return_period_weeks = weeks;
        }
        row->return_period_weeks = fmax(row->return_period_weeks, weeks);
    }
}

static unsigned hour_of(int64_t time_s)
{
    int64_t second = time_s % 86400;

    return (unsigned)((second < 0 ? second + 86400 : second) / 3600);
}

int backtest_feed(struct backtest *b, int64_t time_s, double value, struct backtest_row *ret_row)
{
    struct backtest_row row = {
        .baseline = NAN, .lower = NAN, .upper = NAN, .return_period_weeks = NAN};
    int r = 0;

    if (value < 0 || time_s < 0)
        baseline_free(&b->baseline);
    if (b->baseline) {
        r = learn_row(b, time_s / MINUTE_S, value);
        if (r == 0)
            look(b, &row);
        if (r == 0)
            r = learn_rest(b, time_s / MINUTE_S);
    }
    if (r < 0)
        return r;
    row.score = pattern_feed(b->pattern, value, hour_of(time_s));
    *ret_row = row;
    return 0;
}

/* --- files --- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The median distance of the first rows. */
static int64_t step_of(const struct points *p)
{
    int64_t steps[STEP_ROWS];
    size_t count = 0;

    for (size_t i = 1; i < p->count && count < STEP_ROWS; i++)
        steps[count++] = p->list[i].time_s - p->list[i - 1].time_s;
    if (count == 0)
        return MINUTE_S;
    qsort(steps, count, sizeof(steps[0]), compare);
    return steps[count / 2];
}

static void print_cell(FILE *out, const char *name, double v)
{
    if (name)
        fprintf(out, ",\"%s\":", name);
    else
        fputc(',', out);
    if (isfinite(v))
        fprintf(out, "%.10g", v);
    else if (name)
        fputs("null", out);
}

static void print_row(FILE *out, bool as_json, const struct point *p,
                      const struct backtest_row *row)
{
    const struct {
        const char *name;
        double value;
    } cells[] = {
        {"value", p->value},   {"baseline", row->baseline},
        {"lower", row->lower}, {"upper", row->upper},
        {"score", row->score}, {"return_period_weeks", row->return_period_weeks},
    };

    fprintf(out, as_json ? "{\"timestamp\":\"%s\"" : "%s", p->text);
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
        print_cell(out, as_json ? cells[i].name : NULL, cells[i].value);
    fputs(as_json ? "}\n" : "\n", out);
}

int backtest_file(const char *path, const struct config_detect *settings, bool as_json, FILE *out,
                  char *ret_error, size_t error_size)
{
    struct points points = {0};
    struct backtest *b = NULL;
    int r = points_load(path, &points, ret_error, error_size);

    if (r < 0)
        return r;
    r = backtest_new(settings, step_of(&points), &b);
    if (!as_json)
        fputs("timestamp,value,baseline,lower,upper,score,return_period_weeks\n", out);
    for (size_t i = 0; i < points.count && r == 0; i++) {
        struct backtest_row row;

        r = backtest_feed(b, points.list[i].time_s, points.list[i].value, &row);
        if (r == 0)
            print_row(out, as_json, &points.list[i], &row);
    }
    if (r == 0 && (fflush(out) != 0 || ferror(out)))
        r = -EIO;
    if (r < 0)
        snprintf(ret_error, error_size, "%s: %s", path, strerror(-r));
    backtest_free(&b);
    points_fini(&points);
    return r;
}
