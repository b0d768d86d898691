/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baselines.h"

#include "collector/detect.h"
#include "collector/snapshot.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

struct listing {
    FILE *out;
    bool as_json;
};

static void print_ratio(FILE *out, double ratio)
{
    if (ratio > 0)
        fprintf(out, "  %6.1fx", ratio);
    else
        fprintf(out, "  %7s", "-");
}

static int print_text(void *ctx, const struct detect_state *s)
{
    const struct listing *l = ctx;

    fprintf(l->out, "%-11s  %7.0f", s->confidence, s->history_hours);
    print_ratio(l->out, s->calls.ratio);
    print_ratio(l->out, s->cost.ratio);
    print_ratio(l->out, s->tokens.ratio);
    fprintf(l->out, "  %6u  %s %s", s->active, alert_level_name(s->level), s->name.org);
    if (s->level == ALERT_LEVEL_MODEL || s->level == ALERT_LEVEL_FEATURE)
        fprintf(l->out, " %s", s->name.feature[0] ? s->name.feature : "?");
    if (s->level == ALERT_LEVEL_MODEL || s->level == ALERT_LEVEL_PROVIDER)
        fprintf(l->out, " %s", s->name.provider[0] ? s->name.provider : "?");
    if (s->level == ALERT_LEVEL_MODEL)
        fprintf(l->out, " %s", s->name.model[0] ? s->name.model : "?");
    fprintf(l->out, "\n");
    return 0;
}

static json_t *ratio_json(double ratio, uint32_t window_s)
{
    return ratio > 0 ? json_pack("{s:f, s:i}", "ratio", ratio, "window_seconds", (int)window_s)
                     : json_null();
}

static int print_json(void *ctx, const struct detect_state *s)
{
    const struct listing *l = ctx;
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:i, s:{s:o, s:o, s:o}}", "level",
                  alert_level_name(s->level), "org", s->name.org, "feature", s->name.feature,
                  "provider", s->name.provider, "model", s->name.model, "confidence", s->confidence,
                  "history_hours", s->history_hours, "active_alerts", (int)s->active,
                  "min_detectable", "calls", ratio_json(s->calls.ratio, s->calls.window_s), "cost",
                  ratio_json(s->cost.ratio, s->cost.window_s), "tokens",
                  ratio_json(s->tokens.ratio, s->tokens.window_s));
    int r = line ? json_dumpf(line, l->out, JSON_COMPACT) : -1;

    json_decref(line);
    fprintf(l->out, "\n");
    return r < 0 ? -ENOMEM : 0;
}

static int list(const struct listing *l, const struct detect *d, int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm tm;
    char when[32];

    if (l->as_json)
        return detect_each(d, print_json, (void *)(uintptr_t)l);
    gmtime_r(&at, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
    fprintf(l->out, "As of %s UTC. The least that would be told, as a ratio to the usual:\n", when);
    fprintf(l->out, "%-11s  %7s  %7s  %7s  %7s  %6s  %s\n", "state", "hours", "calls", "cost",
            "tokens", "alerts", "series");
    return detect_each(d, print_text, (void *)(uintptr_t)l);
}

int baselines_run(const struct config *config, const char *format, FILE *out)
{
    CLEAN_STORE struct store *store = NULL;
    const struct listing l = {.out = out, .as_json = format && strcmp(format, "json") == 0};
    struct detect *d = NULL;
    int64_t at_s = 0;
    int r;

    if (format && !l.as_json && strcmp(format, "text") != 0) {
        fprintf(stderr, "usage: lectr-collector baselines [--format text|json]\n");
        return 2;
    }
    r = store_open_reader(config_store_where(config), &store);
    if (r < 0) {
        fprintf(stderr, "the store cannot be opened: %s\n", strerror(-r));
        return 2;
    }
    r = snapshot_load(store, &config->detect, INT64_MAX, &d, &at_s);
    if (r == -ENOENT)
        fprintf(stderr, "nothing yet: baselines are kept each hour, of these settings\n");
    else if (r < 0)
        fprintf(stderr, "not read: %s\n", store_error(store));
    if (r == 0)
        r = list(&l, d, at_s);
    detect_free(&d);
    return r == 0 ? 0 : r == -ENOENT ? 1 : 2;
}
