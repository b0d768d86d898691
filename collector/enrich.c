/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/enrich.h"

#include "collector/attribution.h"
#include "collector/store_query.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MINUTE_S 60
#define DAY_S 86400
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
    int64_t bucket;
    struct course *course; /* NULL: of no interest */
    uint64_t cost_unknown;
};

static struct store_series_name scope_of(const struct alert *a)
{
    const bool is_model = a->level == ALERT_LEVEL_MODEL;

    return (struct store_series_name){
        .org = a->org,
        .feature = is_model || a->level == ALERT_LEVEL_FEATURE ? a->feature : NULL,
        .provider = is_model || a->level == ALERT_LEVEL_PROVIDER ? a->provider : NULL,
        .model = is_model ? a->model : NULL,
    };
}

static double metric_of(const struct alert *a, const struct rollup_sums *s)
{
    const char *kind = alert_rule_kind(a->rule);

    return strcmp(kind, "cost") == 0     ? 1e-9 * (double)s->cost_expected_nanousd
           : strcmp(kind, "tokens") == 0 ? (double)(s->input_total + s->output_total)
           : strcmp(kind, "errors") == 0 ? (double)s->errors
                                         : (double)s->calls;
}

static int read_share(void *ctx, const struct store_series_name *name,
                      const struct rollup_sums *sums)
{
    struct reading *r = ctx;

    if (r->course) {
        unsigned i = (unsigned)((r->bucket - r->course->from_s) / MINUTE_S);

        r->course->calls[i] += (double)sums->calls;
        r->course->metric[i] += metric_of(r->alert, sums);
        if (r->bucket < r->alert->window_start_s / MINUTE_S * MINUTE_S)
            return 0;
        r->cost_unknown += sums->cost_unknown;
    }
    return attribution_add(r->attribution, r->side, name, sums);
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
    const struct store_series_name scope = scope_of(a);
    int64_t end_s = (a->window_end_s + MINUTE_S - 1) / MINUTE_S * MINUTE_S;
    int status = 0;

    course->from_s = a->window_start_s / MINUTE_S * MINUTE_S - ENRICH_ONSET_MIN * MINUTE_S;
    if (end_s - course->from_s > MINUTES_MAX * MINUTE_S)
        course->from_s = end_s - MINUTES_MAX * MINUTE_S;
    course->minutes = (unsigned)((end_s - course->from_s) / MINUTE_S);
    r->course = course;
    r->side = ATTRIBUTION_OBSERVED;
    for (r->bucket = course->from_s; r->bucket < end_s && status == 0; r->bucket += MINUTE_S)
        status = store_each_share(s, ROLLUP_MINUTE, r->bucket, &scope, read_share, r);
    return status;
}

static int read_usual(struct store *s, struct reading *r)
{
    const struct store_series_name scope = scope_of(r->alert);

    r->course = NULL;
    r->side = ATTRIBUTION_USUAL;
    r->bucket = r->alert->window_start_s / DAY_S * DAY_S - DAY_S;
    return store_each_share(s, ROLLUP_DAY, r->bucket, &scope, read_share, r);
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
