/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/torrent_totals.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define SOURCES 4

void torrent_count(struct torrent_name *list, unsigned *count, struct torrent_name what)
{
    for (unsigned i = 0; i < *count; i++)
        if (strcmp(list[i].name, what.name) == 0 && list[i].source == what.source &&
            strcmp(list[i].unit, what.unit) == 0) {
            list[i].count += what.count;
            return;
        }
    assert(*count < TORRENT_NAMES_MAX);
    list[(*count)++] = what;
}

void torrent_org(uint64_t org, char *ret_name, size_t size)
{
    snprintf(ret_name, size, org == 1 ? "Org %" PRIu64 " (EU)" : "org-%" PRIu64, org);
}

void torrent_feature(uint64_t feature, char *ret_name, size_t size)
{
    snprintf(ret_name, size,
             feature == 1 ? "caf\xc3\xa9 \"o'brien\" %%_; %" PRIu64 : "feature-%" PRIu64, feature);
}

static void print_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('"', out);
}

static void print_names(const char *key, const struct torrent_name *list, unsigned count, FILE *out)
{
    static const char *const sources[SOURCES] = {"unknown", "reported", "measured", "estimated"};

    fprintf(out, ",\"%s\":{", key);
    for (unsigned i = 0; i < count; i++) {
        fprintf(out, "%s\"%s", i ? "," : "", list[i].name);
        if (*list[i].unit)
            fprintf(out, "/%s/%s", list[i].unit, sources[list[i].source]);
        fprintf(out, "\":%" PRIu64, list[i].count);
    }
    fputc('}', out);
}

static void print_groups(const struct torrent_group *groups, uint64_t orgs, uint64_t features,
                         FILE *out)
{
    bool first = true;

    fputs(",\"features\":[", out);
    for (uint64_t i = 0; i < orgs * features; i++) {
        const struct torrent_group *g = &groups[i];
        char org[96], feature[96];

        if (!g->calls)
            continue;
        torrent_org(i / features, org, sizeof(org));
        torrent_feature(i % features, feature, sizeof(feature));
        fputs(first ? "[" : ",[", out);
        print_text(org, out);
        fputc(',', out);
        print_text(feature, out);
        fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRId64 "]", g->calls, g->input_tokens,
                g->output_tokens, g->expected_nanousd);
        first = false;
    }
    fputc(']', out);
}

void torrent_totals_print(const struct torrent_totals *x, const struct torrent_group *groups,
                          uint64_t orgs, uint64_t features, int64_t base_s, const char *tail,
                          FILE *out)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"events", (int64_t)(x->calls + x->gaps + x->coverages)},
        {"gaps", (int64_t)x->gaps},
        {"coverages", (int64_t)x->coverages},
        {"duplicates", (int64_t)x->duplicates},
        {"malformed", (int64_t)x->malformed},
        {"holes", (int64_t)x->holes},
        {"bytes", (int64_t)x->bytes},
        {"input_total", (int64_t)x->input_total},
        {"output_total", (int64_t)x->output_total},
        {"input_unknown", (int64_t)x->input_unknown},
        {"output_unknown", (int64_t)x->output_unknown},
        {"cost_unknown", (int64_t)x->cost_unknown},
        {"tokens_estimated", (int64_t)x->estimated},
        {"cost_low", x->low},
        {"cost_expected", x->expected},
        {"cost_high", x->high},
        {"latencies", (int64_t)x->latencies},
        {"ttfts", (int64_t)x->ttfts},
        {"connections", (int64_t)x->connections},
        {"calls_in_flight", (int64_t)x->in_flight},
        {"events_lost", (int64_t)x->lost},
        {"seen", (int64_t)x->seen},
        {"metered", (int64_t)x->metered},
        {"base_s", base_s},
        {"minutes", (int64_t)x->minutes},
        {"minutes_squared", (int64_t)x->minutes_squared},
        {"hours", (int64_t)x->hours},
        {"days", (int64_t)x->days},
    };

    fprintf(out, "{\"calls\":%" PRIu64, x->calls);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        fprintf(out, ",\"%s\":%" PRId64, numbers[i].name, numbers[i].value);
    print_names("errors", x->errors, x->errors_count, out);
    print_names("usage", x->usage, x->usage_count, out);
    print_groups(groups, orgs, features, out);
    fprintf(out, "%s}\n", tail);
    fflush(out);
}
