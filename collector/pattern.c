/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/pattern.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOURS 24
/* Decimal digits of improbability that count as certainty. */
#define SCORE_FULL 10.0

const struct pattern_params pattern_params_frozen = {
    .bins = 16,
    .warmup = 100,
    .memory = 80,
    .escalation = 0.6f,
    .slow = 0.01f,
    .fast = 0.1f,
    .day = 0.02f,
    .weight_value = 0.5f,
};

enum feature {
    FEATURE_DEPARTURE,
    FEATURE_FAST,
    FEATURE_VALUE,
    FEATURE_DAY, /* given the hour */
    FEATURE__COUNT,
};

struct histogram {
    double low, high;
    float total;
    float counts[PATTERN_BINS_MAX];
};

struct warmup {
    double values[PATTERN_WARMUP_MAX];
    uint8_t hours[PATTERN_WARMUP_MAX];
};

struct pattern {
    const struct pattern_params *params;
    struct warmup *warmup; /* until it is over */
    uint32_t fed;
    double slow, fast, day, scale;
    struct histogram histograms[FEATURE__COUNT];
    float hour_counts[HOURS][PATTERN_BINS_MAX];
    float hour_totals[HOURS];
    float memory[PATTERN_MEMORY_MAX];
    uint32_t remembered;
};

int pattern_new(const struct pattern_params *params, struct pattern **ret_pattern)
{
    struct pattern *p;

    if (params->bins < 2 || params->bins > PATTERN_BINS_MAX || params->warmup < 2 ||
        params->warmup > PATTERN_WARMUP_MAX || params->memory < 1 ||
        params->memory > PATTERN_MEMORY_MAX)
        return -EINVAL;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->warmup = calloc(1, sizeof(*p->warmup));
    if (!p->warmup) {
        free(p);
        return -ENOMEM;
    }
    p->params = params;
    *ret_pattern = p;
    return 0;
}

void pattern_free(struct pattern **pattern)
{
    if (!*pattern)
        return;
    free((*pattern)->warmup);
    free(*pattern);
    *pattern = NULL;
}

/* --- features of a sample --- */

struct sample {
    double features[FEATURE__COUNT];
    unsigned hour;
};

static void follow(double *mean, double weight, double value)
{
    *mean += weight * (value - *mean);
}

/* `i`: samples before this one. */
static struct sample take(struct pattern *p, uint32_t i, double v, unsigned hour)
{
    const struct pattern_params *k = p->params;
    double first = 1.0 / (i + 1.0);
    struct sample s = {.hour = hour};

    if (i == 0)
        p->slow = p->fast = p->day = v;
    s.features[FEATURE_DEPARTURE] = v - p->slow;
    follow(&p->slow, fmax((double)k->slow, first), v);
    follow(&p->fast, fmax((double)k->fast, first), v);
    follow(&p->day, fmax((double)k->day, first), v);
    s.features[FEATURE_FAST] = p->fast;
    s.features[FEATURE_VALUE] = asinh(3.0 * v / p->scale);
    s.features[FEATURE_DAY] = p->day;
    return s;
}

/* --- histograms --- */

static uint32_t bin_of(const struct histogram *h, uint32_t bins, double x)
{
    double place = (x - h->low) / (h->high - h->low) * bins;

    return place >= bins - 1 ? bins - 1 : place > 0 ? (uint32_t)place : 0;
}

/* Moves the counts of the bins of `from` to those of `to` that hold their centres. */
static void rebin(const struct histogram *from, const struct histogram *to, uint32_t bins,
                  float *counts)
{
    float moved[PATTERN_BINS_MAX] = {0};
    double width = (from->high - from->low) / bins;

    for (uint32_t i = 0; i < bins; i++)
        moved[bin_of(to, bins, from->low + (i + 0.5) * width)] += counts[i];
    memcpy(counts, moved, sizeof(moved));
}

static void extend(struct pattern *p, enum feature f, double x)
{
    struct histogram *h = &p->histograms[f];
    const struct histogram before = *h;

    if (x >= h->low && x <= h->high)
        return;
    h->low = fmin(h->low, x);
    h->high = fmax(h->high, x);
    rebin(&before, h, p->params->bins, h->counts);
    for (int hour = 0; f == FEATURE_DAY && hour < HOURS; hour++)
        rebin(&before, h, p->params->bins, p->hour_counts[hour]);
}

/* Surprise in decimal digits; the sample is counted. */
static double surprise(struct pattern *p, enum feature f, const struct sample *s)
{
    struct histogram *h = &p->histograms[f];
    double x = s->features[f], prior, probability;
    uint32_t b;

    extend(p, f, x);
    b = bin_of(h, p->params->bins, x);
    prior = ((double)h->counts[b] + 0.5 / p->params->bins) / ((double)h->total + 0.5);
    if (f == FEATURE_DAY) {
        probability =
            ((double)p->hour_counts[s->hour][b] + prior) / ((double)p->hour_totals[s->hour] + 1.0);
        p->hour_counts[s->hour][b]++;
        p->hour_totals[s->hour]++;
    } else {
        probability = ((double)h->counts[b] + prior) / ((double)h->total + 1.0);
    }
    h->counts[b]++;
    h->total++;
    return -log10(probability);
}

static double score_of(struct pattern *p, const struct sample *s)
{
    double value_weight = (double)p->params->weight_value, sum = 0;

    for (int f = 0; f < FEATURE__COUNT; f++)
        sum += (f == FEATURE_VALUE ? value_weight : 1.0) * surprise(p, (enum feature)f, s);
    return sum / (FEATURE__COUNT - 1 + value_weight);
}

/* --- warming up --- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median size of a value, so that a series in cents is judged as one in dollars. */
static double find_scale(const struct pattern *p)
{
    double sizes[PATTERN_WARMUP_MAX];
    uint32_t n = p->params->warmup;

    for (uint32_t i = 0; i < n; i++)
        sizes[i] = fabs(p->warmup->values[i]);
    qsort(sizes, n, sizeof(sizes[0]), compare);
    return sizes[n / 2] > 0 ? sizes[n / 2] : sizes[n - 1] > 0 ? sizes[n - 1] : 1.0;
}

static void find_ranges(struct pattern *p, const struct sample *samples)
{
    for (int f = 0; f < FEATURE__COUNT; f++) {
        struct histogram *h = &p->histograms[f];

        h->low = h->high = samples[0].features[f];
        for (uint32_t i = 1; i < p->params->warmup; i++) {
            h->low = fmin(h->low, samples[i].features[f]);
            h->high = fmax(h->high, samples[i].features[f]);
        }
        if (h->high <= h->low)
            h->high = h->low + fmax(0.1 * fabs(h->high), 1e-9);
    }
}

static void finish_warmup(struct pattern *p)
{
    struct sample samples[PATTERN_WARMUP_MAX];

    p->scale = find_scale(p);
    for (uint32_t i = 0; i < p->params->warmup; i++)
        samples[i] = take(p, i, p->warmup->values[i], p->warmup->hours[i]);
    find_ranges(p, samples);
    for (uint32_t i = 0; i < p->params->warmup; i++)
        score_of(p, &samples[i]);
    free(p->warmup);
    p->warmup = NULL;
}

/* --- feeding --- */

/* An episode escalates; it is not told again and again. */
static bool escalates(struct pattern *p, double score)
{
    const struct pattern_params *k = p->params;
    uint32_t count = p->remembered < k->memory ? p->remembered : k->memory;
    float highest = 0;

    for (uint32_t i = 0; i < count; i++)
        highest = fmaxf(highest, p->memory[i]);
    p->memory[p->remembered++ % k->memory] = (float)score;
    return score > (double)highest + (double)k->escalation;
}

double pattern_feed(struct pattern *p, double value, unsigned hour)
{
    struct sample s;
    double score;

    if (!isfinite(value) || hour >= HOURS)
        return 0;
    if (p->warmup) {
        p->warmup->values[p->fed] = value;
        p->warmup->hours[p->fed] = (uint8_t)hour;
        if (++p->fed == p->params->warmup)
            finish_warmup(p);
        return 0;
    }
    s = take(p, p->fed, value, hour);
    p->fed += p->fed < UINT32_MAX;
    score = score_of(p, &s);
    return escalates(p, score) ? fmin(score / SCORE_FULL, 1.0) : 0;
}

/* --- as bytes: the struct, then what is left of the warm-up --- */

int pattern_save(const struct pattern *p, struct buf *into)
{
    struct pattern flat = *p;
    int r;

    flat.params = NULL; /* neither is a place in another process */
    flat.warmup = NULL;
    r = buf_append(into, slice_of(&flat, sizeof(flat)));
    if (r == 0 && p->warmup)
        r = buf_append(into, slice_of(p->warmup, sizeof(*p->warmup)));
    return r;
}

int pattern_load(struct slice bytes, const struct pattern_params *params,
                 struct pattern **ret_pattern)
{
    struct pattern *p = NULL;
    const bool has_warmup = bytes.len == sizeof(*p) + sizeof(*p->warmup);
    struct warmup *warmup;
    int r;

    if (bytes.len != sizeof(*p) && !has_warmup)
        return -EPROTO;
    r = pattern_new(params, &p);
    if (r < 0)
        return r;
    warmup = p->warmup;
    memcpy(p, bytes.data, sizeof(*p));
    p->params = params;
    p->warmup = warmup;
    if (has_warmup) {
        memcpy(warmup, bytes.data + sizeof(*p), sizeof(*warmup));
    } else {
        free(p->warmup);
        p->warmup = NULL;
    }
    *ret_pattern = p;
    return 0;
}
