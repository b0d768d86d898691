/* SPDX-License-Identifier: Apache-2.0 */
/* lectrctl top, lectrctl report: rows of sums. */
#include "collector/ctl/ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REFRESH_S 1
#define LEGEND                                                                                     \
    "? unknown (never counted as 0); +N? the sum leaves out N calls whose value is unknown; "      \
    "RANGE low-high, exact when both are the same; * made by a generator\n"

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* Columns that are shown only where they say something. */
struct layout {
    bool with_time;
    bool with_org;
};

static int add_cells(struct table *t, const struct layout *l, const char *time, const char *org,
                     const char *const *rest, unsigned count)
{
    const char *cells[TABLE_COLUMNS_MAX];
    unsigned n = 0;

    if (l->with_time)
        cells[n++] = time;
    if (l->with_org)
        cells[n++] = org;
    for (unsigned i = 0; i < count; i++)
        cells[n++] = rest[i];
    return table_add(t, cells);
}

#define REST_COLUMNS 11

static int add_row(struct table *t, const struct layout *l, const json_t *row)
{
    const json_t *cost = json_object_get(row, "cost_usd");
    const json_t *latency = json_object_get(row, "latency_us");
    const json_t *ttft = json_object_get(row, "ttft_us");
    char time[CELL_BYTES], calls[CELL_BYTES], tokens[CELL_BYTES], usd[CELL_BYTES],
        range[CELL_BYTES], p50[CELL_BYTES], p95[CELL_BYTES], first[CELL_BYTES], errors[CELL_BYTES];
    char feature[128];
    const char *const rest[REST_COLUMNS] = {feature,
                                            cell_name(row, "provider"),
                                            cell_name(row, "model"),
                                            calls,
                                            tokens,
                                            usd,
                                            range,
                                            p50,
                                            p95,
                                            first,
                                            errors};

    cell_time(cell_int(row, "time"), time);
    cell_count(json_object_get(row, "calls"), calls);
    cell_count(json_object_get(row, "errors"), errors);
    cell_tokens(row, tokens);
    cell_usd(json_object_get(cost, "expected"), cell_int(row, "cost_unknown"), usd);
    cell_usd_range(cost, range);
    cell_duration(json_object_get(latency, "p50"), p50);
    cell_duration(json_object_get(latency, "p95"), p95);
    cell_duration(json_object_get(ttft, "p50"), first);
    snprintf(feature, sizeof(feature), "%.120s%s", cell_name(row, "feature"),
             cell_int(row, "synthetic") > 0 ? "*" : "");
    return add_cells(t, l, time, cell_name(row, "org"), rest, REST_COLUMNS);
}

static bool has_many_orgs(const json_t *rows)
{
    const json_t *first = json_object_get(json_array_get(rows, 0), "org");

    for (size_t i = 1; i < json_array_size(rows); i++)
        if (!json_equal(json_object_get(json_array_get(rows, i), "org"), first))
            return true;
    return false;
}

static int print_rows(const json_t *root, bool with_time)
{
    static const char *const titles[REST_COLUMNS] = {
        "FEATURE", "PROVIDER", "MODEL", "CALLS", "TOKENS(in/out)", "COST",
        "RANGE",   "P50",      "P95",   "TTFT",  "ERRORS"};
    CLEAN_TABLE struct table *t = NULL;
    const json_t *rows = json_object_get(root, "rows");
    const struct layout l = {.with_time = with_time, .with_org = has_many_orgs(rows)};
    int r = table_new(&"lllllrrrrrrrr"[2 - l.with_time - l.with_org], &t);

    if (r == 0)
        r = add_cells(t, &l, "TIME (UTC)", "ORG", titles, REST_COLUMNS);
    for (size_t i = 0; i < json_array_size(rows) && r == 0; i++)
        r = add_row(t, &l, json_array_get(rows, i));
    if (r < 0)
        return r;
    table_print(t);
    if (json_is_true(json_object_get(root, "cut")))
        printf("(more rows than can be shown)\n");
    return 0;
}

static int show(const struct ctl_options *o, const char *query, bool with_time)
{
    json_t *root = NULL;
    int r;

    if (o->json)
        return fetch_print(o, query);
    r = fetch_json(o, query, &root);
    if (r == 0)
        r = print_rows(root, with_time);
    json_decref(root);
    return r;
}

static void print_head(const struct ctl_options *o)
{
    char now[32];
    time_t t = time(NULL);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(now, sizeof(now), "%H:%M:%S", &tm);
    /* Home, then clear to the end: no flicker. */
    printf("\033[H\033[J"
           "lectr top   last %s   %s UTC   (Ctrl-C ends)\n\n",
           o->window ? o->window : "15m", now);
}

int top_run(const struct ctl_options *o)
{
    const bool live = !o->once && !o->json;
    char query[256];
    int r;

    snprintf(query, sizeof(query), "/api/v1/top?window=%.64s", o->window ? o->window : "15m");
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    do {
        if (live)
            print_head(o);
        r = show(o, query, false);
        if (r == 0 && !o->json)
            printf("\n" LEGEND);
        fflush(stdout);
        if (live && !stopped)
            sleep(REFRESH_S);
    } while (live && !stopped && r == 0);
    return r;
}

int report_run(const struct ctl_options *o)
{
    char query[256];
    int r;

    snprintf(query, sizeof(query), "/api/v1/report?by=%.16s&window=%.64s", o->by ? o->by : "day",
             o->window ? o->window : "");
    r = show(o, query, true);
    if (r == 0 && !o->json)
        printf("\n" LEGEND);
    return r;
}
