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

/* --- as bytes --- */

/* Before each feature: what is of fixed length. */
struct saved {
    uint32_t key_bytes, pattern_bytes;
    double cost_usd;
    float scores[SCORES];
    uint32_t fed;
};

static int save_feature(const struct feature *f, struct buf *out)
{
    struct saved s = {.key_bytes = (uint32_t)f->hh.keylen, .cost_usd = f->cost_usd, .fed = f->fed};
    size_t at = out->len;
    int r;

    memcpy(s.scores, f->scores, sizeof(s.scores));
    r = buf_append(out, slice_of(&s, sizeof(s)));
    if (r == 0)
        r = buf_append(out, slice_of(f->key, f->hh.keylen));
    if (r == 0)
        r = pattern_save(f->pattern, out);
    if (r < 0)
        return r;
    s.pattern_bytes = (uint32_t)(out->len - at - sizeof(s) - s.key_bytes);
    memcpy(out->data + at, &s, sizeof(s));
    return 0;
}

int context_save(const struct context *c, struct buf *out)
{
    for (const struct feature *f = c->features; f; f = f->hh.next) {
        int r = save_feature(f, out);

        if (r < 0)
            return r;
    }
    return 0;
}

static int load_feature(struct context *c, struct cursor *from)
{
    struct slice fixed = cursor_take(from, sizeof(struct saved)), key, pattern;
    struct feature *f;
    struct saved s;
    int r;

    if (from->failed)
        return -EPROTO;
    memcpy(&s, fixed.data, sizeof(s));
    key = cursor_take(from, s.key_bytes);
    pattern = cursor_take(from, s.pattern_bytes);
    if (from->failed || find(c, (const char *)key.data, key.len))
        return -EPROTO;
    f = calloc(1, sizeof(*f) + key.len);
    r = f ? pattern_load(pattern, &pattern_params_frozen, &f->pattern) : -ENOMEM;
    if (r < 0) {
        free(f);
        return r;
    }
    memcpy(f->key, key.data, key.len);
    memcpy(f->scores, s.scores, sizeof(f->scores));
    f->cost_usd = s.cost_usd;
    f->fed = s.fed;
    HASH_ADD_KEYPTR(hh, c->features, f->key, key.len, f);
    return 0;
}

int context_load(struct context *c, struct slice bytes)
{
    struct cursor from = cursor_of(bytes);

    while (from.rest.len) {
        int r = load_feature(c, &from);

        if (r < 0)
            return r;
    }
    return 0;
}
