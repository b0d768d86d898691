/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/context.h"

#include "collector/pattern.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define STEP_S 300
#define MINUTE_S 60
#define SCORES 12 /* an hour */

struct feature {
    UT_hash_handle hh;
    struct pattern *pattern;
    double cost_usd; /* of the running five minutes */
    float scores[SCORES];
    uint32_t fed;
    char key[];
};

struct context {
    struct feature *features;
};

int context_new(struct context **ret_context)
{
    struct context *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    *ret_context = c;
    return 0;
}

void context_free(struct context **context)
{
    struct feature *f, *next;

    if (!*context)
        return;
    HASH_ITER(hh, (*context)->features, f, next)
    {
        HASH_DEL((*context)->features, f);
        pattern_free(&f->pattern);
        free(f);
    }
    free(*context);
    *context = NULL;
}

static struct feature *find(const struct context *c, const char *key, size_t length)
{
    struct feature *f;

    HASH_FIND(hh, c->features, key, length, f);
    return f;
}

static size_t make_key(char *ret_key, size_t size, const char *org, const char *feature)
{
    int length = snprintf(ret_key, size, "%s%c%s", org, 0, feature);

    return (size_t)length < size ? (size_t)length : size - 1;
}

static int feature_new(const char *key, size_t length, struct feature **ret_feature)
{
    struct feature *f = calloc(1, sizeof(*f) + length);
    int r = f ? pattern_new(&pattern_params_frozen, &f->pattern) : -ENOMEM;

    if (r < 0) {
        free(f);
        return r;
    }
    memcpy(f->key, key, length);
    *ret_feature = f;
    return 0;
}

int context_add(struct context *c, const char *org, const char *feature, double cost_usd)
{
    char key[256];
    size_t length = make_key(key, sizeof(key), org, feature);
    struct feature *f = find(c, key, length);
    int r;

    if (!f) {
        if (HASH_COUNT(c->features) >= CONTEXT_FEATURES_MAX)
            return 0;
        r = feature_new(key, length, &f);
        if (r < 0)
            return r;
        HASH_ADD_KEYPTR(hh, c->features, f->key, length, f);
    }
    f->cost_usd += cost_usd;
    return 0;
}

void context_close(struct context *c, int64_t minute_s)
{
    if ((minute_s + MINUTE_S) % STEP_S != 0)
        return;
    for (struct feature *f = c->features; f; f = f->hh.next) {
        f->scores[f->fed++ % SCORES] =
            (float)pattern_feed(f->pattern, f->cost_usd, (unsigned)(minute_s / 3600 % 24));
        f->cost_usd = 0;
    }
}

double context_score(const struct context *c, const char *org, const char *feature)
{
    char key[256];
    const struct feature *f = find(c, key, make_key(key, sizeof(key), org, feature));
    float highest = 0;

    if (!f || f->fed <= pattern_params_frozen.warmup)
        return -1;
    for (int i = 0; i < SCORES; i++)
        highest = fmaxf(highest, f->scores[i]);
    return (double)highest;
}
