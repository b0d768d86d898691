/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/estimate_impl.h"
#include "agent/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define F ESTIMATE_FEATURES
#define COVERAGE 0.90
#define FACTOR_STEP 0.04
#define FACTOR_MIN 0.4
#define FACTOR_MAX 6
#define WEIGHT_MAX 60.0 /* reports that the noise's size remembers */
#define FADE 1.003      /* what a report costs the certainty of those before */
#define FLOOR_TOKENS 14 /* of the scale: a count of few tokens is off by whole ones */
#define REPORTS_MAX 1e6
#define DELTAS_SEEN 3
#define DELTAS_BETTER 0.6 /* and no contradiction: then deltas are believed */
#define HIDDEN_MAX 100e3
#define TAIL 4.0 /* degrees of freedom: how little a freak report does */

/* Before any report. Units are those of agent/tally.h; features in this order:
 *   input   units of text, units of tools, messages, whether there are tools, 1
 *   output  units (or deltas) of text, of reasoning, units of arguments, calls, 1 */
static const struct {
    double mean[F], sd[F], apart[F]; /* apart: how much models differ */
    double noise;
} start[ESTIMATE_CLASSES] = {
    [ESTIMATE_INPUT] = {{1.0, 0.8, 4, 10, 3}, {.2, .4, 3, 80, 6}, {.08, .2, 1, 40, 3}, .02},
    [ESTIMATE_OUTPUT] = {{1.0, 1.0, 1.2, 10, 1}, {.2, .4, .4, 8, 3}, {.06, .15, .15, 4, 1}, .02},
    [ESTIMATE_OUTPUT_DELTAS] = {{1.0, 1.0, 1.2, 10, 1}, {1, 1, .4, 8, 3}, {.5, .5, .15, 4, 1}, .10},
};

static void cell_start(struct cell *c, enum estimate_class class)
{
    memset(c, 0, sizeof(*c));
    memcpy(c->mean, start[class].mean, sizeof(c->mean));
    for (int i = 0; i < F; i++)
        c->cov[i * (i + 1) / 2 + i] = start[class].sd[i] * start[class].sd[i];
    c->noise = start[class].noise;
    c->weight = 8;
}

/* What is known of a member of the group that `c` describes. */
static void cell_below(struct cell *c, enum estimate_class class)
{
    for (int i = 0; i < F; i++)
        c->cov[i * (i + 1) / 2 + i] += start[class].apart[i] * start[class].apart[i];
    c->weight = fmin(c->weight, 15);
    c->reports = 0;
}

static void entry_start(struct entry *e)
{
    for (int k = 0; k < ESTIMATE_CLASSES; k++)
        cell_start(&e->cells[k], (enum estimate_class)k);
}

int estimator_new(struct estimator **ret_estimator)
{
    struct estimator *e = calloc(1, sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->entries = calloc(ESTIMATE_ENTRIES_MAX, sizeof(*e->entries));
    if (!e->entries) {
        free(e);
        return -ENOMEM;
    }
    snprintf(e->entries[0].name, sizeof(e->entries[0].name), "*");
    entry_start(&e->entries[0]);
    e->count = 1;
    for (int k = 0; k < ESTIMATE_CLASSES; k++)
        for (int level = 0; level < ESTIMATE_LEVELS; level++)
            e->factor[k][level] = 1;
    *ret_estimator = e;
    return 0;
}

void estimator_free(struct estimator **estimator)
{
    if (!*estimator)
        return;
    free((*estimator)->entries);
    free(*estimator);
    *estimator = NULL;
}

/* Snapshots of one model are one model: "-2024-08-06", "-20250514", "@20250514". */
static size_t model_len(const char *model)
{
    static const char *const dates[] = {"-dddd-dd-dd", "-dddddddd", "@dddddddd"};
    size_t len = strlen(model);

    for (size_t k = 0; k < sizeof(dates) / sizeof(dates[0]); k++) {
        size_t date_len = strlen(dates[k]), i = 0;
        const char *at = model + len - date_len;

        if (len <= date_len)
            continue;
        while (i < date_len &&
               (dates[k][i] == 'd' ? at[i] >= '0' && at[i] <= '9' : at[i] == dates[k][i]))
            i++;
        if (i == date_len)
            return len - date_len;
    }
    return len;
}

/* "openai/gpt-5-mini-2025-08-07" -> "gpt-5": to the end of the first number. */
static struct slice model_stem(const char *model)
{
    const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model;
    size_t len = strcspn(name, "0123456789");

    if (!name[len])
        return slice_of(name, strcspn(name, ":@"));
    len += strspn(name + len, "0123456789.");
    return slice_of(name, len);
}

static bool level_name(const struct estimate_key *key, enum estimate_level level, char *ret,
                       size_t size)
{
    struct slice stem = model_stem(key->model);

    switch (level) {
    case LEVEL_ALL:
        snprintf(ret, size, "*");
        return true;
    case LEVEL_API:
        snprintf(ret, size, "a:%s", key->api);
        return key->api[0];
    case LEVEL_PROVIDER:
        snprintf(ret, size, "p:%s/%s", key->provider, key->api);
        return key->provider[0];
    case LEVEL_STEM:
        snprintf(ret, size, "s:%.*s", (int)stem.len, (const char *)stem.data);
        return stem.len > 0;
    default:
        snprintf(ret, size, "m:%s/%.*s", key->provider, (int)model_len(key->model), key->model);
        return key->provider[0] && key->model[0];
    }
}

static struct entry *entry_find(const struct estimator *e, const char *name)
{
    for (uint32_t i = 0; i < e->count; i++)
        if (strcmp(e->entries[i].name, name) == 0)
            return &e->entries[i];
    return NULL;
}

static struct entry *entry_make(struct estimator *e, const char *name, const struct entry *above)
{
    struct entry *entry = NULL, from = *above;

    if (e->count < ESTIMATE_ENTRIES_MAX) {
        entry = &e->entries[e->count++];
    } else {
        for (uint32_t i = 1; i < e->count; i++)
            if (!entry || e->entries[i].used < entry->used)
                entry = &e->entries[i];
        e->stats.evicted++;
    }
    *entry = from;
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    for (int k = 0; k < ESTIMATE_CLASSES; k++)
        cell_below(&entry->cells[k], (enum estimate_class)k);
    memset(entry->hidden, 0, sizeof(entry->hidden));
    return entry;
}

struct sample {
    double x[F];
    double scale; /* tokens, about: errors are relative to it */
};

/* cov · h; returns h · cov · h. */
static double spread(const struct cell *c, const double *h, double *ret_product)
{
    double sum = 0;

    for (int i = 0; i < F; i++) {
        ret_product[i] = 0;
        for (int k = 0; k < F; k++)
            ret_product[i] +=
                h[k] * (i >= k ? c->cov[i * (i + 1) / 2 + k] : c->cov[k * (k + 1) / 2 + i]);
        sum += h[i] * ret_product[i];
    }
    return fmax(sum, 0);
}

static double dot(const double *a, const double *b)
{
    double sum = 0;

    for (int i = 0; i < F; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The 95 % point of Student's t. */
static double student(double freedom)
{
    return 1.645 + 1.6 / fmax(freedom - 0.9, 1) + 0.4 / (fmax(freedom, 2) * freedom);
}

static void cell_learn(struct cell *c, enum estimate_class class, const struct sample *s,
                       double tokens)
{
    double h[F], product[F], error = (tokens - dot(s->x, c->mean)) / s->scale, v, z2, trust, gain;

    for (int i = 0; i < F; i++)
        h[i] = s->x[i] / s->scale;
    v = spread(c, h, product);
    z2 = error * error / (v + c->noise);
    trust = fmin((TAIL + 1) / (TAIL + z2), 1.0);
    gain = 1 / (v + c->noise / trust);
    for (int i = 0; i < F; i++) {
        double limit = start[class].sd[i] * start[class].sd[i];

        c->mean[i] += product[i] * gain * error;
        for (int k = 0; k <= i; k++) {
            double *cov = &c->cov[i * (i + 1) / 2 + k];

            *cov -= product[i] * product[k] * gain;
            if (i == k)
                *cov = fmin(fmax(*cov * FADE, 1e-9), limit);
        }
    }
    c->noise += (trust * error * error * c->noise / (v + c->noise) - c->noise) / (c->weight + 1);
    c->noise = fmin(fmax(c->noise, 1e-6), 4);
    c->weight = fmin(c->weight + 1, WEIGHT_MAX);
    c->reports = fmin(c->reports + 1, REPORTS_MAX);
}

/* Relative standard deviation. */
static double cell_sd(const struct cell *c, const struct sample *s)
{
    double h[F], product[F];

    for (int i = 0; i < F; i++)
        h[i] = s->x[i] / s->scale;
    return sqrt(spread(c, h, product) + c->noise);
}

/* Half the interval at factor 1. */
static double cell_half(const struct cell *c, const struct sample *s)
{
    return s->scale * cell_sd(c, s) * student(c->weight);
}

static struct estimate_range cell_range(const struct cell *c, const struct sample *s, double factor)
{
    double half = cell_half(c, s) * factor;
    double middle = fmax(dot(s->x, c->mean), 0);

    return (struct estimate_range){middle, fmax(middle - half, 0), middle + half};
}

static bool input_sample(const struct estimate_sizes *z, struct sample *ret)
{
    const struct extent *q = &z->request;
    double text = q->milliunits[EXTENT_TEXT] / 1e3, tools = q->milliunits[EXTENT_SCHEMA] / 1e3;

    if (!z->request_whole || q->torn || q->media || q->elsewhere || q->hosted || text + tools <= 0)
        return false;
    *ret = (struct sample){{text, tools, fmax(q->messages, 1), tools > 0, 1},
                           text + tools + 4.0 * q->messages + FLOOR_TOKENS};
    return true;
}

static bool output_sample(const struct estimate_sizes *z, bool deltas, bool shown,
                          struct sample *ret)
{
    const struct extent *a = &z->answer;
    double text = a->milliunits[EXTENT_TEXT] / 1e3;
    double reasoning = shown ? a->milliunits[EXTENT_REASONING] / 1e3 : 0;
    double arguments = a->milliunits[EXTENT_ARGUMENTS] / 1e3;

    if (text + reasoning + arguments <= 0 || (deltas && !z->streaming))
        return false;
    *ret = (struct sample){{text, reasoning, arguments, a->tool_names, 1},
                           text + reasoning + arguments + 8.0 * a->tool_names + FLOOR_TOKENS};
    if (deltas) {
        ret->x[0] = a->deltas[EXTENT_TEXT];
        ret->x[1] = shown ? a->deltas[EXTENT_REASONING] : 0;
    }
    return true;
}

/* The closest relation of the call that has had reports. */
static const struct entry *entry_best(const struct estimator *e, const struct estimate_key *key,
                                      enum estimate_class class, enum estimate_level *ret_level)
{
    char name[ESTIMATE_NAME_MAX];

    for (int level = LEVEL_MODEL; level > LEVEL_ALL; level--) {
        const struct entry *entry = level_name(key, (enum estimate_level)level, name, sizeof(name))
                                        ? entry_find(e, name)
                                        : NULL;

        if (entry && entry->cells[class].reports > 0) {
            *ret_level = (enum estimate_level)level;
            return entry;
        }
    }
    *ret_level = LEVEL_ALL;
    return &e->entries[0];
}

static double shown_reasoning(const struct estimate_sizes *z)
{
    return z->answer.milliunits[EXTENT_REASONING] / 1e3;
}

/* How much of the reported reasoning was not shown. A summary shows some. */
static double hidden_tokens(const struct estimate_sizes *z, struct opt_u64 reasoning)
{
    if (!reasoning.known || (double)reasoning.value < 1.6 * shown_reasoning(z) + 10)
        return 0;
    return (double)reasoning.value;
}

static void hidden_learn(struct hidden *h, double tokens)
{
    h->calls = fmin(h->calls + 1, 200);
    h->hits *= h->calls >= 200 ? 0.995 : 1;
    if (tokens > 0) {
        double log_tokens = log(fmin(tokens, HIDDEN_MAX)), step;

        h->hits++;
        step = 1 / fmin(h->hits + 1, 50);
        if (h->hits <= 1 && h->square == 0) {
            h->mean = log_tokens;
            h->square = 1.2;
        } else {
            double off = log_tokens - h->mean;

            h->mean += off * step;
            h->square += (off * off - h->square) * step;
        }
    }
}

/* Moves the factor so that in the long run 90 % are held. */
static void factor_learn(double *factor, double score)
{
    double f = *factor * exp(FACTOR_STEP * ((score > *factor) - (1 - COVERAGE)));

    *factor = fmin(fmax(f, FACTOR_MIN), FACTOR_MAX);
}

struct lesson {
    bool known[ESTIMATE_CLASSES];
    struct sample sample[ESTIMATE_CLASSES];
    double tokens[ESTIMATE_CLASSES];
    bool about_hidden, shows;
    double hidden;
};

static void entry_learn(struct entry *entry, const struct lesson *l)
{
    for (int k = 0; k < ESTIMATE_CLASSES; k++)
        if (l->known[k])
            cell_learn(&entry->cells[k], (enum estimate_class)k, &l->sample[k], l->tokens[k]);
    if (l->about_hidden)
        hidden_learn(&entry->hidden[l->shows], l->hidden);
}

static void lesson_make(const struct estimate_sizes *z, const struct estimate_report *report,
                        struct lesson *l)
{
    memset(l, 0, sizeof(*l));
    if (report->input_tokens.known && report->input_tokens.value)
        l->known[ESTIMATE_INPUT] = input_sample(z, &l->sample[ESTIMATE_INPUT]);
    l->tokens[ESTIMATE_INPUT] = (double)report->input_tokens.value;
    if (report->output_tokens.known && report->output_tokens.value) {
        l->about_hidden = true;
        l->shows = shown_reasoning(z) > 0;
        l->hidden = hidden_tokens(z, report->reasoning_tokens);
        for (int k = ESTIMATE_OUTPUT; k <= ESTIMATE_OUTPUT_DELTAS; k++) {
            l->tokens[k] = (double)report->output_tokens.value - l->hidden;
            l->known[k] =
                output_sample(z, k == ESTIMATE_OUTPUT_DELTAS, l->hidden <= 0, &l->sample[k]) &&
                l->tokens[k] > 0;
        }
    }
}

void estimator_learn(struct estimator *e, const struct estimate_key *key,
                     const struct estimate_sizes *sizes, const struct estimate_report *report)
{
    struct entry *path[ESTIMATE_LEVELS] = {&e->entries[0]};
    char name[ESTIMATE_NAME_MAX];
    struct lesson l;
    int depth = 1;

    lesson_make(sizes, report, &l);
    for (int k = 0; k < ESTIMATE_CLASSES; k++) {
        enum estimate_level level;
        const struct cell *c = &entry_best(e, key, (enum estimate_class)k, &level)->cells[k];
        double off;

        if (!l.known[k])
            continue;
        /* Counts are whole: half a token is no miss. */
        off = fmax(fabs(l.tokens[k] - fmax(dot(l.sample[k].x, c->mean), 0)) - 0.5, 0);
        if (e->probe)
            e->probe(e->probe_user, (enum estimate_class)k, level,
                     off / cell_half(c, &l.sample[k]));
        else
            factor_learn(&e->factor[k][level], off / cell_half(c, &l.sample[k]));
    }
    if (e->probe)
        return;
    e->clock++;
    for (int level = LEVEL_API; level < ESTIMATE_LEVELS; level++) {
        if (!level_name(key, (enum estimate_level)level, name, sizeof(name)))
            continue;
        path[depth] = entry_find(e, name);
        if (!path[depth])
            path[depth] = entry_make(e, name, path[depth - 1]);
        path[depth++]->used = e->clock;
    }
    for (int i = 0; i < depth; i++)
        entry_learn(path[i], &l);
    e->stats.learned++;
}

int estimator_input(const struct estimator *e, const struct estimate_key *key,
                    const struct estimate_sizes *sizes, struct estimate_range *ret_range)
{
    enum estimate_level level;
    const struct entry *entry = entry_best(e, key, ESTIMATE_INPUT, &level);
    struct sample s;

    if (!input_sample(sizes, &s))
        return -ENODATA;
    *ret_range = cell_range(&entry->cells[ESTIMATE_INPUT], &s, e->factor[ESTIMATE_INPUT][level]);
    return 0;
}

/* Generations that their makers document to think and to show nothing or a
 * summary of it; how much, in nature of a first guess, is a few hundred tokens. */
static const struct hidden *documented(const struct estimate_key *key)
{
    static const char *const stems[] = {"o1",         "o3",       "o4",    "gpt-5",
                                        "gemini-2.5", "gemini-3", "grok-4"};
    static const struct hidden guess = {.calls = 10, .hits = 8, .mean = 5.5, .square = 1.6};
    struct slice stem = model_stem(key->model);

    for (size_t i = 0; i < sizeof(stems) / sizeof(stems[0]); i++)
        if (slice_starts_nocase(stem, stems[i]) && !strstr(key->model, "non-reasoning"))
            return &guess;
    return NULL;
}

/* What the model, or one of its generation, has been seen to do. */
static const struct hidden *hidden_best(const struct estimator *e, const struct estimate_key *key,
                                        bool shows)
{
    char name[ESTIMATE_NAME_MAX];

    for (int level = LEVEL_MODEL; level >= LEVEL_STEM; level--) {
        const struct entry *entry = level_name(key, (enum estimate_level)level, name, sizeof(name))
                                        ? entry_find(e, name)
                                        : NULL;

        if (entry && entry->hidden[shows].calls >= (level == LEVEL_MODEL ? 4 : 1))
            return &entry->hidden[shows];
    }
    return documented(key);
}

int estimator_hidden(const struct estimator *e, const struct estimate_key *key,
                     const struct estimate_sizes *sizes, struct estimate_range *ret_range)
{
    const struct hidden *h = hidden_best(e, key, shown_reasoning(sizes) > 0);
    double often = h ? h->hits / h->calls : 0, reach;
    struct estimate_range range;

    if (often < 0.15 || h->square <= 0)
        return -ENODATA;
    reach = 2.2 * sqrt(h->square * (1 + 1 / fmax(h->hits, 1)));
    range = (struct estimate_range){
        .expected = often > 0.5 ? exp(h->mean) : 0,
        /* Whether it thinks may be the request's to say: surely it did only where it always does.
         */
        .low = h->hits / (h->calls + 4) > 0.95 ? exp(h->mean - reach) : 0,
        .high = exp(fmin(h->mean + reach, log(HIDDEN_MAX))),
    };
    /* What is shown of it is the least there was. */
    range.low = fmax(range.low, 0.5 * shown_reasoning(sizes));
    range.expected = fmax(range.expected, range.low);
    range.high = fmax(range.high, range.expected);
    *ret_range = range;
    return 0;
}

int estimator_output(const struct estimator *e, const struct estimate_key *key,
                     const struct estimate_sizes *sizes, struct estimate_range *ret_range)
{
    struct estimate_range range = {0};
    double best = INFINITY;
    bool shown = estimator_hidden(e, key, sizes, &range) != 0;

    for (int k = ESTIMATE_OUTPUT; k <= ESTIMATE_OUTPUT_DELTAS; k++) {
        enum estimate_level level;
        const struct cell *c = &entry_best(e, key, (enum estimate_class)k, &level)->cells[k];
        struct sample s;
        double half;

        if (!output_sample(sizes, k == ESTIMATE_OUTPUT_DELTAS, shown, &s))
            continue;
        /* How much a delta holds is the server's habit: it must have been seen. */
        if (k == ESTIMATE_OUTPUT_DELTAS && (level < LEVEL_STEM || c->reports < DELTAS_SEEN))
            continue;
        half = cell_half(c, &s) * e->factor[k][level];
        if (k == ESTIMATE_OUTPUT ||
            (half < DELTAS_BETTER * best &&
             fabs(dot(s.x, c->mean) - range.expected) < range.expected / 3 + 2)) {
            best = half;
            range = cell_range(c, &s, e->factor[k][level]);
        }
    }
    if (!isfinite(best))
        return -ENODATA;
    range.low = fmax(range.low, 1);
    range.expected = fmax(range.expected, 1);
    *ret_range = range;
    return 0;
}

void estimator_count(struct estimator *e, enum usage_source source)
{
    e->stats.measured += source == USAGE_MEASURED;
    e->stats.estimated += source == USAGE_ESTIMATED;
}

void estimator_stats(const struct estimator *e, struct estimator_stats *ret_stats)
{
    *ret_stats = e->stats;
    ret_stats->entries = e->count;
}
