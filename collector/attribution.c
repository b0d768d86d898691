/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/attribution.h"

#include "collector/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define FACTORS 4
#define SUBSETS (1 << FACTORS)
#define SHARE_LEAST 0.02 /* smaller parts by value are not told */
#define NOTHING 1e-9     /* of the deviation */

static const char *const factor_names[FACTORS] = {"volume", "mix", "tokens_per_call", "price"};

enum dimension {
    DIMENSION_LEAF,
    DIMENSION_WORKLOAD,
    DIMENSION_MODEL,
    DIMENSION_FEATURE,
    DIMENSION_PROVIDER,
    DIMENSION__COUNT
};

struct amount {
    double calls, tokens, metric;
};

struct value {
    UT_hash_handle hh;
    enum dimension dimension;
    struct amount sides[2];
    char key[];
};

struct attribution {
    enum alert_rule rule;
    bool is_cost, is_tokens, is_share;
    struct value *values;
    unsigned counts[DIMENSION__COUNT];
};

bool attribution_is_for(enum alert_rule rule)
{
    return rule <= ALERT_ERRORS_RATE;
}

int attribution_new(enum alert_rule rule, struct attribution **ret_attribution)
{
    struct attribution *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    a->rule = rule;
    a->is_cost = strcmp(alert_rule_kind(rule), "cost") == 0;
    a->is_tokens = strcmp(alert_rule_kind(rule), "tokens") == 0;
    a->is_share = rule == ALERT_ERRORS_RATE;
    *ret_attribution = a;
    return 0;
}

void attribution_free(struct attribution **attribution)
{
    struct value *v, *next;

    if (!*attribution)
        return;
    HASH_ITER(hh, (*attribution)->values, v, next)
    {
        HASH_DEL((*attribution)->values, v);
        free(v);
    }
    free(*attribution);
    *attribution = NULL;
}

/* --- collecting --- */

/* The key is the dimension's digit and the name. */
static struct value *value_of(struct attribution *a, enum dimension dimension, const char *name,
                              size_t length)
{
    char key[400];
    struct value *v;

    key[0] = (char)('0' + dimension);
    if (length > sizeof(key) - 1)
        length = sizeof(key) - 1;
    memcpy(key + 1, name, length);
    HASH_FIND(hh, a->values, key, length + 1, v);
    if (v)
        return v;
    if (a->counts[dimension] == ATTRIBUTION_VALUES_MAX && strcmp(name, "(other)") != 0)
        return value_of(a, dimension, "(other)", strlen("(other)"));
    v = calloc(1, sizeof(*v) + length + 2);
    if (!v)
        return NULL;
    v->dimension = dimension;
    memcpy(v->key, key, length + 1);
    HASH_ADD(hh, a->values, key, length + 1, v);
    a->counts[dimension]++;
    return v;
}

static struct amount amount_of(const struct attribution *a, const struct rollup_sums *s)
{
    const double tokens = (double)(s->input_total + s->output_total);
    const double cost = 1e-9 * (double)s->cost_expected_nanousd;

    return (struct amount){
        .calls = (double)(a->is_cost ? s->calls - s->cost_unknown : s->calls),
        .tokens = tokens,
        .metric = a->is_cost     ? cost
                  : a->is_tokens ? tokens
                  : a->is_share  ? (double)s->errors
                                 : (double)s->calls,
    };
}

int attribution_add(struct attribution *a, enum attribution_side side,
                    const struct store_series_name *name, const struct rollup_sums *sums)
{
    const char *const names[DIMENSION__COUNT] = {NULL, name->workload, name->model, name->feature,
                                                 name->provider};
    const struct amount amount = amount_of(a, sums);
    char leaf[330];
    int length = snprintf(leaf, sizeof(leaf), "%s%c%s%c%s", name->feature, 0, name->provider, 0,
                          name->model);

    for (int i = 0; i < DIMENSION__COUNT; i++) {
        const char *text = i == DIMENSION_LEAF ? leaf : names[i] ? names[i] : "";
        size_t bytes = i == DIMENSION_LEAF ? (size_t)length : strlen(text);
        struct value *v =
            value_of(a, (enum dimension)i, text, bytes < sizeof(leaf) ? bytes : sizeof(leaf) - 1);

        if (!v)
            return -ENOMEM;
        v->sides[side].calls += amount.calls;
        v->sides[side].tokens += amount.tokens;
        v->sides[side].metric += amount.metric;
    }
    return 0;
}

static struct amount total_of(const struct attribution *a, enum attribution_side side)
{
    struct amount total = {0};

    for (const struct value *v = a->values; v; v = v->hh.next)
        if (v->dimension == DIMENSION_LEAF) {
            total.calls += v->sides[side].calls;
            total.tokens += v->sides[side].tokens;
            total.metric += v->sides[side].metric;
        }
    return total;
}

/* --- by factor --- */

static void add_part(struct alert *alert, const char *dimension, const char *value, double amount,
                     double deviation)
{
    struct alert_part *part = &alert->parts[alert->parts_count];

    if (alert->parts_count == ALERT_PARTS_MAX)
        return;
    alert->parts_count++;
    text_copy(part->dimension, sizeof(part->dimension), dimension);
    text_copy(part->value, sizeof(part->value), value);
    part->amount = amount;
    part->share = deviation != 0 ? amount / deviation : 0;
}

/* Factors of one model on both sides; [side]. */
struct factors {
    double share[2], tokens[2], price[2];
};

static struct factors factors_of(const struct attribution *a, const struct value *v,
                                 const struct amount totals[2])
{
    const struct amount *s = v->sides;
    const bool has_tokens = (a->is_cost || a->is_tokens) && (s[0].calls <= 0 || s[0].tokens > 0) &&
                            (s[1].calls <= 0 || s[1].tokens > 0);
    struct factors f;

    for (int side = 0; side < 2; side++) {
        f.share[side] = totals[side].calls > 0 ? s[side].calls / totals[side].calls : 0;
        f.tokens[side] = has_tokens && s[side].calls > 0 ? s[side].tokens / s[side].calls : 1;
        f.price[side] = s[side].calls > 0 ? s[side].metric / s[side].calls / f.tokens[side] : 0;
    }
    for (int side = 0; side < 2; side++)
        if (s[side].calls <= 0) {
            f.tokens[side] = f.tokens[1 - side];
            f.price[side] = f.price[1 - side];
        }
    return f;
}

/* The metric with the factors of `subset` observed, the others as usual. */
static void add_to_subsets(const struct factors *f, const double volume[2], double values[SUBSETS])
{
    for (int subset = 0; subset < SUBSETS; subset++)
        values[subset] += volume[subset & 1] * f->share[subset >> 1 & 1] *
                          f->tokens[subset >> 2 & 1] * f->price[subset >> 3 & 1];
}

static double shapley(const double values[SUBSETS], int factor)
{
    /* |S|! (n - |S| - 1)! / n! for n = 4 */
    static const double weights[FACTORS] = {6 / 24.0, 2 / 24.0, 2 / 24.0, 6 / 24.0};
    double sum = 0;

    for (int subset = 0; subset < SUBSETS; subset++)
        if (!(subset & 1 << factor))
            sum += weights[__builtin_popcount((unsigned)subset)] *
                   (values[subset | 1 << factor] - values[subset]);
    return sum;
}

static void fill_factors(const struct attribution *a, const struct amount totals[2], double k,
                         struct alert *alert)
{
    const double volume[2] = {k * totals[0].calls, totals[1].calls};
    double values[SUBSETS] = {0};
    /* Of no calls there is no mix: it stays as usual. */
    const struct amount sides[2] = {totals[0], totals[1]};

    for (const struct value *v = a->values; v; v = v->hh.next)
        if (v->dimension == DIMENSION_LEAF) {
            struct factors f = factors_of(a, v, sides);

            if (totals[1].calls <= 0)
                f.share[1] = f.share[0];
            add_to_subsets(&f, volume, values);
        }
    for (int i = 0; i < FACTORS; i++) {
        double amount = shapley(values, i), deviation = totals[1].metric - k * totals[0].metric;

        if (fabs(amount) > NOTHING * fabs(deviation))
            add_part(alert, factor_names[i], "", amount, deviation);
    }
}

/* --- by value --- */

struct moved {
    const struct value *value;
    double amount;
};

static double moved_by(const struct attribution *a, const struct value *v, double k,
                       const struct amount *total, double baseline)
{
    if (a->is_share)
        return total->calls > 0 ? (v->sides[1].metric - baseline * v->sides[1].calls) / total->calls
                                : 0;
    return v->sides[1].metric - k * v->sides[0].metric;
}

/* The largest in the direction of the deviation. */
static void fill_values(const struct attribution *a, enum dimension dimension, const char *name,
                        double k, const struct amount *total, double deviation, struct alert *alert)
{
    struct moved top[ATTRIBUTION_TOP] = {0};
    const double sign = deviation < 0 ? -1 : 1;

    for (const struct value *v = a->values; v; v = v->hh.next) {
        struct moved m = {v, moved_by(a, v, k, total, alert->baseline)};

        if (v->dimension != dimension || sign * m.amount <= SHARE_LEAST * fabs(deviation))
            continue;
        for (int i = 0; i < ATTRIBUTION_TOP; i++)
            if (!top[i].value || sign * m.amount > sign * top[i].amount) {
                struct moved next = top[i];

                top[i] = m;
                m = next;
                if (!m.value)
                    break;
            }
    }
    for (int i = 0; i < ATTRIBUTION_TOP && top[i].value; i++)
        add_part(alert, name, top[i].value->key + 1, top[i].amount, deviation);
}

static void fill_dimensions(const struct attribution *a, double k, const struct amount *total,
                            double deviation, struct alert *alert)
{
    static const struct {
        enum dimension dimension;
        const char *name;
        unsigned levels; /* bit by bit: where it tells something */
    } dimensions[] = {
        {DIMENSION_FEATURE, "feature", 1 << ALERT_LEVEL_PROVIDER | 1 << ALERT_LEVEL_ORG},
        {DIMENSION_PROVIDER, "provider", 1 << ALERT_LEVEL_FEATURE | 1 << ALERT_LEVEL_ORG},
        {DIMENSION_MODEL, "model", 1 << ALERT_LEVEL_FEATURE | 1 << ALERT_LEVEL_PROVIDER},
        {DIMENSION_WORKLOAD, "workload", ~0u},
    };

    for (size_t i = 0; i < sizeof(dimensions) / sizeof(dimensions[0]); i++)
        if (dimensions[i].levels & 1u << alert->level)
            fill_values(a, dimensions[i].dimension, dimensions[i].name, k, total, deviation, alert);
}

bool attribution_fill(const struct attribution *a, struct alert *alert)
{
    const struct amount totals[2] = {total_of(a, ATTRIBUTION_USUAL),
                                     total_of(a, ATTRIBUTION_OBSERVED)};
    const bool is_known = totals[0].metric > 0 && totals[0].calls > 0;
    const double k = is_known ? alert->baseline / totals[0].metric : 0;
    double deviation;

    alert->parts_count = 0;
    if (a->is_share) {
        deviation = totals[1].calls > 0 ? totals[1].metric / totals[1].calls - alert->baseline : 0;
        fill_dimensions(a, 0, &totals[1], deviation, alert);
        return true;
    }
    deviation = totals[1].metric - k * totals[0].metric;
    if (is_known)
        fill_factors(a, totals, k, alert);
    fill_dimensions(a, k, &totals[1], deviation, alert);
    return is_known;
}
