/* SPDX-License-Identifier: Apache-2.0 */
/* What a torrent comes to, as it is counted while it is made. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define TORRENT_NAMES_MAX 64

/* What is counted under a name, in the order in which it was seen. */
struct torrent_name {
    const char *name, *unit;
    unsigned source;
    uint64_t count;
};

/* Of one feature of one organisation. */
struct torrent_group {
    uint64_t calls, input_tokens, output_tokens;
    int64_t expected_nanousd;
};

struct torrent_totals {
    uint64_t calls, gaps, coverages, duplicates, malformed, holes, bytes;
    uint64_t input_total, output_total, input_unknown, output_unknown, cost_unknown, estimated;
    int64_t low, expected, high;
    uint64_t latencies, ttfts;
    uint64_t connections, in_flight, lost, seen, metered;
    /* Sums over the calls of the minute, hour and day (since the base) they belong to. */
    uint64_t minutes, minutes_squared, hours, days;
    struct torrent_name errors[TORRENT_NAMES_MAX], usage[TORRENT_NAMES_MAX];
    unsigned errors_count, usage_count;
};

/* Adds to the entry of the same name, unit and source. */
void torrent_count(struct torrent_name *list, unsigned *count, struct torrent_name what);
void torrent_org(uint64_t org, char *ret_name, size_t size);
void torrent_feature(uint64_t feature, char *ret_name, size_t size);
/* One JSON object on one line; `groups`: orgs x features; `tail` (",\"x\":1" or "") goes in before
 * its end. */
void torrent_totals_print(const struct torrent_totals *x, const struct torrent_group *groups,
                          uint64_t orgs, uint64_t features, int64_t base_s, const char *tail,
                          FILE *out);
