/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/enrich.h"

#include "collector/attribution.h"
#include "collector/store_query.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MINUTE_S 60
#define HOUR_S 3600
#define MINUTES_MAX 2048

/* What there was in each minute of the window and before it. */
struct course {
    int64_t from_s;
    unsigned minutes;
    double calls[MINUTES_MAX], metric[MINUTES_MAX];
};

struct reading {
    const struct alert *alert;
    struct attribution *attribution;
    enum attribution_side side;
    struct course *course; /* NULL: of no interest */
    uint64_t cost_unknown;
};

static bool is_in_scope(const struct alert *a, const struct store_series_name *name)
{
    if (strcmp(a->org, name->org) != 0)
        return false;
    if (a->level == ALERT_LEVEL_MODEL || a->level == ALERT_LEVEL_FEATURE)
        if (strcmp(a->feature, name->feature) != 0)
            return false;
    if (a->level == ALERT_LEVEL_MODEL || a->level == ALERT_LEVEL_PROVIDER)
        if (strcmp(a->provider, name->provider) != 0)
            return false;
    return a->level != ALERT_LEVEL_MODEL || strcmp(a->model, name->model) == 0;
}

static double metric_of(const struct alert *a, const struct rollup_sums *s)
{
    const char *kind = alert_rule_kind(a->rule);

    return strcmp(kind, "cost") == 0     ? 1e-9 * (double)s->cost_expected_nanousd
           : strcmp(kind, "tokens") == 0 ? (double)(s->input_total + s->output_total)
           : strcmp(kind, "errors") == 0 ? (double)s->errors
                                         : (double)s->calls;
}

static void add_to_course(struct course *c, const struct alert *a, const struct rollup_cell *cell)
{
    unsigned i = (unsigned)((cell->bucket - c->from_s) / MINUTE_S);

    if (i < c->minutes) {
        c->calls[i] += (double)cell->sums.calls;
        c->metric[i] += metric_of(a, &cell->sums);
    }
}

static int read_cell(void *ctx, const struct store_series_name *name,
                     const struct rollup_cell *cell)
{
    struct reading *r = ctx;

    if (!is_in_scope(r->alert, name))
        return 0;
    if (r->course)
        add_to_course(r->course, r->alert, cell);
    if (r->side == ATTRIBUTION_OBSERVED) {
        if (cell->bucket < r->alert->window_start_s)
            return 0;
        r->cost_unknown += cell->sums.cost_unknown;
    }
    return attribution_add(r->attribution, r->side, name, &cell->sums);
}

/* Where the sum of what lies beyond halfway between usual and observed, taken to the
 * window's end, is highest. */
static int64_t find_onset(const struct course *c, const struct alert *a)
{
    const double minutes = fmax((double)(a->window_end_s - a->window_start_s) / MINUTE_S, 1);
    const bool is_share = a->rule == ALERT_ERRORS_RATE;
    const double middle = (a->observed + a->baseline) / 2 / (is_share ? 1 : minutes);
    const double sign = a->observed < a->baseline ? -1 : 1;
    double sum = 0, highest = -INFINITY;
    unsigned onset = c->minutes;

    for (unsigned i = c->minutes; i-- > 0;) {
        sum += sign * (c->metric[i] - middle * (is_share ? c->calls[i] : 1));
        if (sum > highest) {
            highest = sum;
            onset = i;
        }
    }
    return c->from_s + (int64_t)onset * MINUTE_S;
}

static int read_window(struct store *s, struct reading *r, struct course *course)
{
    const struct alert *a = r->alert;
    int64_t end_s = (a->window_end_s + MINUTE_S - 1) / MINUTE_S * MINUTE_S;

    course->from_s = a->window_start_s / MINUTE_S * MINUTE_S - ENRICH_ONSET_MIN * MINUTE_S;
    if (end_s - course->from_s > MINUTES_MAX * MINUTE_S)
        course->from_s = end_s - MINUTES_MAX * MINUTE_S;
    course->minutes = (unsigned)((end_s - course->from_s) / MINUTE_S);
    r->course = course;
    r->side = ATTRIBUTION_OBSERVED;
    return store_each_cell(s, ROLLUP_MINUTE, course->from_s, end_s, read_cell, r);
}

static int read_usual(struct store *s, struct reading *r)
{
    int64_t to_s = r->alert->window_start_s / HOUR_S * HOUR_S;

    r->course = NULL;
    r->side = ATTRIBUTION_USUAL;
    return store_each_cell(s, ROLLUP_HOUR, to_s - ENRICH_USUAL_HOURS * HOUR_S, to_s, read_cell, r);
}

int enrich_alert(struct store *s, struct alert *alert)
{
    CLEAN_ATTRIBUTION struct attribution *attribution = NULL;
    CLEAN_FREE struct course *course = calloc(1, sizeof(*course));
    struct reading reading = {.alert = alert};
    int r = course ? attribution_new(alert->rule, &attribution) : -ENOMEM;

    reading.attribution = attribution;
    if (r == 0)
        r = read_window(s, &reading, course);
    if (r == 0)
        r = read_usual(s, &reading);
    if (r < 0)
        return r;
    alert->cost_unknown = reading.cost_unknown;
    if (attribution_is_for(alert->rule)) {
        alert->onset_s = find_onset(course, alert);
        if (!attribution_fill(attribution, alert))
            alert_limit(alert, "nothing is stored of the day before: no attribution by factor");
    } else {
        alert->onset_s = alert->window_start_s;
        alert_limit(alert, "a quantile does not come in parts: no attribution");
    }
    if (reading.cost_unknown)
        alert_limit(alert, "the cost of %llu calls in the window is not known",
                    (unsigned long long)reading.cost_unknown);
    return 0;
}
