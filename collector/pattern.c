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
    uint32_t total;
};

struct pattern {
    const struct pattern_params *params;
    uint8_t *warmup; /* until it is over: values, then hours */
    uint32_t fed;
    uint32_t remembered;
    double slow, fast, day, scale;
    struct histogram histograms[FEATURE__COUNT];
    uint32_t hour_totals[HOURS];
    /* As long as the parameters want them: there is one for each of many thousand features.
     * The scores remembered, the counts of the histograms, those of the hours. */
    float tail[];
};

static size_t warmup_bytes(const struct pattern_params *k)
{
    return k->warmup * (sizeof(double) + 1);
}

static size_t pattern_bytes(const struct pattern_params *k)
{
    return sizeof(struct pattern) + k->memory * sizeof(float) +
           FEATURE__COUNT * k->bins * sizeof(uint32_t) + HOURS * k->bins * sizeof(uint16_t);
}

static uint32_t *counts_of(struct pattern *p, enum feature f)
{
    uint32_t *counts = (uint32_t *)(void *)(p->tail + p->params->memory);

    return counts + f * p->params->bins;
}

static uint16_t *hour_counts_of(struct pattern *p, unsigned hour)
{
    uint16_t *counts = (uint16_t *)(void *)counts_of(p, FEATURE__COUNT);

    return counts + hour * p->params->bins;
}

static double warmup_value(const struct pattern *p, uint32_t i)
{
    double value;

    memcpy(&value, p->warmup + i * sizeof(value), sizeof(value));
    return value;
}

static uint8_t *warmup_hour(const struct pattern *p, uint32_t i)
{
    return p->warmup + p->params->warmup * sizeof(double) + i;
}

int pattern_new(const struct pattern_params *params, struct pattern **ret_pattern)
{
    struct pattern *p;

    if (params->bins < 2 || params->bins > PATTERN_BINS_MAX || params->warmup < 2 ||
        params->warmup > PATTERN_WARMUP_MAX || params->memory < 1 ||
        params->memory > PATTERN_MEMORY_MAX)
        return -EINVAL;
    p = calloc(1, pattern_bytes(params));
    if (!p)
        return -ENOMEM;
    p->warmup = calloc(1, warmup_bytes(params));
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

/* In which bin of `to` the centre of a bin of `from` is. */
static uint32_t moved_to(const struct histogram *from, const struct histogram *to, uint32_t bins,
                         uint32_t i)
{
    double width = (from->high - from->low) / bins;

    return bin_of(to, bins, from->low + (i + 0.5) * width);
}

static uint16_t add_hours(uint16_t a, uint16_t b)
{
    return a > UINT16_MAX - b ? UINT16_MAX : (uint16_t)(a + b);
}

static void rebin(struct pattern *p, enum feature f, const struct histogram *from)
{
    const struct histogram *to = &p->histograms[f];
    const uint32_t bins = p->params->bins;
    uint32_t places[PATTERN_BINS_MAX], moved[PATTERN_BINS_MAX] = {0};

    for (uint32_t i = 0; i < bins; i++) {
        places[i] = moved_to(from, to, bins, i);
        moved[places[i]] += counts_of(p, f)[i];
    }
    memcpy(counts_of(p, f), moved, bins * sizeof(moved[0]));
    for (unsigned hour = 0; f == FEATURE_DAY && hour < HOURS; hour++) {
        uint16_t *counts = hour_counts_of(p, hour), moved_hour[PATTERN_BINS_MAX] = {0};

        for (uint32_t i = 0; i < bins; i++)
            moved_hour[places[i]] = add_hours(moved_hour[places[i]], counts[i]);
        memcpy(counts, moved_hour, bins * sizeof(counts[0]));
    }
}

static void extend(struct pattern *p, enum feature f, double x)
{
    struct histogram *h = &p->histograms[f];
    const struct histogram before = *h;

    if (x >= h->low && x <= h->high)
        return;
    h->low = fmin(h->low, x);
    h->high = fmax(h->high, x);
    rebin(p, f, &before);
}

/* Surprise in decimal digits; the sample is counted. */
static double surprise(struct pattern *p, enum feature f, const struct sample *s)
{
    struct histogram *h = &p->histograms[f];
    uint32_t *counts = counts_of(p, f), b;
    double x = s->features[f], prior, probability;

    extend(p, f, x);
    b = bin_of(h, p->params->bins, x);
    prior = (counts[b] + 0.5 / p->params->bins) / (h->total + 0.5);
    if (f == FEATURE_DAY) {
        uint16_t *of_hour = &hour_counts_of(p, s->hour)[b];

        probability = (*of_hour + prior) / (p->hour_totals[s->hour] + 1.0);
        *of_hour = add_hours(*of_hour, 1);
        p->hour_totals[s->hour]++;
    } else {
        probability = (counts[b] + prior) / (h->total + 1.0);
    }
    counts[b]++;
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
        sizes[i] = fabs(warmup_value(p, i));
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
        samples[i] = take(p, i, warmup_value(p, i), *warmup_hour(p, i));
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
        highest = fmaxf(highest, p->tail[i]);
    p->tail[p->remembered++ % k->memory] = (float)score;
    return score > (double)highest + (double)k->escalation;
}

double pattern_feed(struct pattern *p, double value, unsigned hour)
{
    struct sample s;
    double score;

    if (!isfinite(value) || hour >= HOURS)
        return 0;
    if (p->warmup) {
        memcpy(p->warmup + p->fed * sizeof(value), &value, sizeof(value));
        *warmup_hour(p, p->fed) = (uint8_t)hour;
        if (++p->fed == p->params->warmup)
            finish_warmup(p);
        return 0;
    }
    s = take(p, p->fed, value, hour);
    p->fed += p->fed < UINT32_MAX;
    score = score_of(p, &s);
    return escalates(p, score) ? fmin(score / SCORE_FULL, 1.0) : 0;
}

/* --- as bytes: the struct with its tail, then what is left of the warm-up --- */

int pattern_save(const struct pattern *p, struct buf *into)
{
    const size_t at = into->len, bytes = pattern_bytes(p->params);
    struct pattern flat = *p;
    int r = buf_append(into, slice_of(p, bytes));

    if (r == 0 && p->warmup)
        r = buf_append(into, slice_of(p->warmup, warmup_bytes(p->params)));
    if (r < 0)
        return r;
    flat.params = NULL; /* neither is a place in another process */
    flat.warmup = NULL;
    memcpy(into->data + at, &flat, sizeof(flat));
    return 0;
}

int pattern_load(struct slice bytes, const struct pattern_params *params,
                 struct pattern **ret_pattern)
{
    const size_t fixed = pattern_bytes(params);
    const bool has_warmup = bytes.len == fixed + warmup_bytes(params);
    struct pattern *p = NULL;
    uint8_t *warmup;
    int r;

    if (bytes.len != fixed && !has_warmup)
        return -EPROTO;
    r = pattern_new(params, &p);
    if (r < 0)
        return r;
    warmup = p->warmup;
    memcpy(p, bytes.data, fixed);
    p->params = params;
    p->warmup = warmup;
    if (has_warmup) {
        memcpy(warmup, bytes.data + fixed, warmup_bytes(params));
    } else {
        free(p->warmup);
        p->warmup = NULL;
    }
    *ret_pattern = p;
    return 0;
}
