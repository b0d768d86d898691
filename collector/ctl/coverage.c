/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

#include "collector/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The rest is in the JSON. */
#define UNPRICED_SHOWN 10

static bool is_about(const json_t *row, const json_t *gap)
{
    static const char *const keys[] = {"org", "workload", "provider"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!json_equal(json_object_get(row, keys[i]), json_object_get(gap, keys[i])))
            return false;
    return true;
}

static void add_text(char *text, size_t size, const char *reason, json_int_t n)
{
    size_t len = strlen(text);

    if (n > 0)
        snprintf(text + len, size - len, "%s%s %lld", len ? ", " : "", reason, (long long)n);
}

/* "untrusted_ca 3, ech 1"; what no gap explains is said as well. */
static void explain(const json_t *row, const json_t *gaps, char *ret_text, size_t size)
{
    json_int_t missing = cell_int(row, "seen") - cell_int(row, "metered");
    const json_t *gap;
    size_t i;

    ret_text[0] = '\0';
    json_array_foreach(gaps, i, gap)
    {
        if (!is_about(row, gap))
            continue;
        add_text(ret_text, size, cell_name(gap, "reason"), cell_int(gap, "connections"));
        missing -= cell_int(gap, "connections");
    }
    add_text(ret_text, size, "still open or not explained", missing);
}

static bool has_row(const json_t *rows, const json_t *gap)
{
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (is_about(row, gap))
            return true;
    }
    return false;
}

static int add_coverage(struct table *t, const json_t *row, const json_t *gaps)
{
    char seen[CELL_BYTES], metered[CELL_BYTES], ratio[CELL_BYTES] = "?", why[512];
    const json_t *value = json_object_get(row, "ratio");

    cell_count(json_object_get(row, "seen"), seen);
    cell_count(json_object_get(row, "metered"), metered);
    if (json_is_number(value))
        snprintf(ratio, sizeof(ratio), "%.1f%%", 100 * json_number_value(value));
    explain(row, gaps, why, sizeof(why));
    {
        const char *cells[] = {
            cell_name(row, "workload"), cell_name(row, "provider"), metered, seen, ratio, why};

        return table_add(t, cells);
    }
}

/* A gap of a workload that the census has not told about. */
static int add_gap_only(struct table *t, const json_t *gap)
{
    char why[512];

    why[0] = '\0';
    add_text(why, sizeof(why), cell_name(gap, "reason"), cell_int(gap, "connections"));
    if (!why[0])
        snprintf(why, sizeof(why), "%s", cell_name(gap, "reason"));
    const char *cells[] = {
        cell_name(gap, "workload"), cell_name(gap, "provider"), "?", "?", "?", why};

    return table_add(t, cells);
}

struct losses {
    json_int_t in_flight, lost;
};

static int print_workloads(const json_t *root, struct losses *ret_losses)
{
    static const char *const titles[] = {"WORKLOAD", "PROVIDER", "METERED",
                                         "SEEN",     "COVERAGE", "NOT METERED BECAUSE"};
    CLEAN_TABLE struct table *t = NULL;
    const json_t *rows = json_object_get(root, "workloads"), *gaps = json_object_get(root, "gaps");
    const json_t *row;
    size_t i;
    int r = table_new("llrrrl", &t);

    if (r == 0)
        r = table_add(t, titles);
    json_array_foreach(rows, i, row)
    {
        if (r == 0)
            r = add_coverage(t, row, gaps);
    }
    json_array_foreach(gaps, i, row)
    {
        ret_losses->in_flight += cell_int(row, "calls_in_flight");
        ret_losses->lost += cell_int(row, "events_lost");
        if (r == 0 && !has_row(rows, row))
            r = add_gap_only(t, row);
    }
    if (r == 0)
        table_print(t);
    return r;
}

static void print_losses(const json_t *root, const struct losses *l)
{
    const json_t *events = json_object_get(root, "events"), *hole;
    size_t i;

    printf("\nevents: %lld received, %lld missing", (long long)cell_int(events, "received"),
           (long long)cell_int(events, "missing"));
    printf("; %lld dropped by agents (spool_lost); %lld calls in flight when an agent died\n",
           (long long)l->lost, (long long)l->in_flight);
    json_array_foreach(json_object_get(events, "holes"), i, hole)
        printf("  missing: agent %s part %lld, numbers %lld-%lld\n",
               cell_name(hole, "agent_instance"), (long long)cell_int(hole, "part"),
               (long long)cell_int(hole, "first"), (long long)cell_int(hole, "last"));
}

/* "calls without a cost: 7", then the most of them by reason and model. */
static void print_unpriced(const json_t *root)
{
    const json_t *rows = json_object_get(root, "unpriced"), *row;
    json_int_t calls = 0;
    size_t i;

    json_array_foreach(rows, i, row) calls += cell_int(row, "calls");
    printf("calls without a cost: %lld%s\n", (long long)calls,
           calls ? " (they are in no sum of costs)" : "");
    json_array_foreach(rows, i, row)
    {
        if (i == UNPRICED_SHOWN) {
            printf("  … and %zu more kinds; see --format json\n",
                   json_array_size(rows) - UNPRICED_SHOWN);
            break;
        }
        printf("  %lld %s: %s %s\n", (long long)cell_int(row, "calls"), cell_name(row, "basis"),
               cell_name(row, "provider"), cell_name(row, "model"));
    }
}

/* Only what did not fit: who looks at "(other)" must know that it is not one of them. */
static void print_names(const json_t *root)
{
    const char *dimension;
    json_t *g;

    json_object_foreach(json_object_get(root, "names"), dimension, g)
    {
        char name[CELL_BYTES];

        text_copy(name, sizeof(name), dimension);
        if (cell_int(g, "folded"))
            printf(
                "names: more than %lld (%s) are counted as (other), %lld times since the start\n",
                (long long)cell_int(g, "limit"), name, (long long)cell_int(g, "folded"));
    }
}

int coverage_run(const struct ctl_options *o)
{
    struct losses losses = {0};
    char query[256];
    json_t *root = NULL;
    int r;

    snprintf(query, sizeof(query), "/api/v1/coverage?window=%.64s", o->window ? o->window : "24h");
    if (o->json)
        return fetch_print(o, query);
    r = fetch_json(o, query, &root);
    if (r == 0)
        r = print_workloads(root, &losses);
    if (r == 0)
        print_losses(root, &losses);
    if (r == 0)
        print_unpriced(root);
    if (r == 0)
        print_names(root);
    json_decref(root);
    return r;
}
