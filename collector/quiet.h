/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A feature with regular traffic that has gone silent. Pure, event time only.
 *
 * Its own past decides: for each hour of the week the mean number of calls and the
 * longest pause that was seen then are kept. It is silent when, for an hour of the
 * week that was seen before (so never in its first week), the pause is
 *   - at least for_min,
 *   - longer than QUIET_LONGER times the longest pause at this hour of the week and its
 *     neighbours (in the second week: of every day),
 *   - long enough that calls_min calls are missing by the means.
 * Nights, weekends and hourly jobs thus raise nothing, a bank holiday does once. A
 * silence that is told or planned is not learned. One of QUIET_GONE_S is no alert any more: the
 * feature is gone, and new when it comes back.
 *
 * Zeroed memory is a new feature; its bytes are its whole state.
 */
#pragma once

#include "collector/alerting.h"

#define QUIET_LONGER 1.5
#define QUIET_GONE_S (7 * 86400)

struct quiet_hour {
    float calls;    /* mean */
    uint16_t pause; /* the longest, minutes; slowly forgotten */
    uint8_t seen;
};

struct quiet {
    int64_t begin_s; /* of what is known, 0: nothing told yet */
    int64_t last_s;  /* minute of the last call */
    int64_t hour_s;  /* the running one */
    uint32_t hour_calls;
    double missing; /* calls that the pause would usually have had, whole hours of it */
    struct quiet_hour hours[168];
};

struct quiet_verdict {
    bool fires, is_gone;
    bool is_calm;          /* calls came within the last minutes */
    int64_t last_s;        /* minute of the last call */
    double missing;        /* calls expected since */
    uint32_t pause_min;    /* the longest usual pause at this time */
    uint32_t weeks_seen;   /* of this hour of the week */
    double usual_per_hour; /* calls, at this hour of the week */
};

/* Every minute or hour of `seconds`, in rising order, also without calls. `is_told`:
 * an alert about this silence is out. `is_planned`: nothing is learned. */
void quiet_add(struct quiet *q, int64_t at_s, uint32_t seconds, uint64_t calls, bool is_told,
               bool is_planned);
/* As of the end of the minute told last. */
void quiet_judge(const struct quiet *q, const struct alerting_rule *rule, int64_t minute_s,
                 struct quiet_verdict *ret_verdict);
