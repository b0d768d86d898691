/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burn rates: how fast an objective's error budget is used up. At 99.5% the budget
 * is 0.5% of the calls; a burn of 1 means that just this share fails, so that the
 * budget lasts for its period, a burn of 14.4 that it lasts for a 14.4th of it. Pure,
 * event time only.
 *
 * Counts are kept by the minute for BURN_MINUTES, by the hour for the period: a
 * window of up to BURN_MINUTES is exact, a longer one begins with an hour. A window of
 * more than an hour is judged when calls are known for half of it. Zeroed
 * memory of burn_bytes() is an empty counter; its bytes are its whole state.
 */
#pragma once

#include "collector/alerting.h"

#include <stddef.h>

#define BURN_MINUTES 360

struct burn;

/* What a window holds. */
struct burn_count {
    int64_t from_s, to_s;
    uint64_t calls, hits; /* hits: calls that are no good */
};

struct burn_verdict {
    bool fires;
    bool is_calm;                    /* no window's short half burns any more */
    enum alerting_severity severity; /* of the window below */
    struct alerting_window window;   /* the first that fires, else the first */
    struct burn_count in_long, in_short;
    double long_burn, short_burn;
    double budget_left; /* of the calls the period had so far; negative: overdrawn */
    struct burn_count in_period;
};

size_t burn_bytes(const struct alerting_rule *rule);
/* One minute, in rising order; those without calls may be left out. */
void burn_add(struct burn *b, const struct alerting_rule *rule, int64_t minute_s, uint64_t calls,
              uint64_t hits);
/* One whole hour of long ago: before any minute. */
void burn_recall(struct burn *b, const struct alerting_rule *rule, int64_t hour_s, uint64_t calls,
                 uint64_t hits);
/* As of the end of a minute that is told. */
void burn_judge(const struct burn *b, const struct alerting_rule *rule, int64_t minute_s,
                struct burn_verdict *ret_verdict);
/* Nothing in it that a window or the period would still count. */
bool burn_is_empty(const struct burn *b, const struct alerting_rule *rule, int64_t minute_s);
