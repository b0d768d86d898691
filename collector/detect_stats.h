/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one series, whatever its level: what is usual of its cost, calls,
 * tokens, errors and latency. The one place where the detector meets baseline.h,
 * rate.h and latency.h. Pure.
 */
#pragma once

#include "collector/alert.h"
#include "collector/baseline.h"
#include "collector/latency.h"
#include "collector/rollup.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"

struct stats;

/* What there was of a series within a minute. */
struct stats_minute {
    struct rollup_sums sums;
    struct sketch latency;
};

/* A minute that is not over; `minute` NULL: judge what was learned. */
struct stats_running {
    const struct stats_minute *minute;
    uint32_t seconds;
};

/* How a rule is judged, besides by its numbers. */
struct stats_ask {
    enum alert_rule rule;
    bool is_active;     /* an episode of it is under way */
    uint32_t fresh_min; /* longer windows have no say */
    struct stats_running running;
};

/* What an alert says of where its baseline comes from. */
struct stats_facts {
    const char *method, *season;
    double history_hours;
    uint64_t hours;        /* that were learned from */
    uint32_t slot_samples; /* of them of this hour of the week */
    double band_pct;       /* that the band holds; 0 = it is none of a share */
    const char *confidence;
};

int stats_new(struct stats **ret_stats) LECTR_MUST_USE;
void stats_free(struct stats **stats);
/* Another one that goes on from the same state. */
int stats_copy(const struct stats *from, struct stats **ret_stats) LECTR_MUST_USE;

/* What is not to be learned of a minute: all of it, for it was planned; errors, latency,
 * for an alert on them is under way. */
struct stats_hold {
    bool all, errors, latency;
};
/* A minute that is over; NULL: nothing came. */
int stats_learn(struct stats *st, const struct baseline_settings *s, int64_t minute,
                const struct stats_minute *m, struct stats_hold hold) LECTR_MUST_USE;
void stats_judge(const struct stats *st, const struct baseline_settings *s,
                 const struct stats_ask *ask, struct finding *ret_finding);
/* One of the windows that ended with the minute learned last, by itself; sums only. */
bool stats_look(const struct stats *st, const struct baseline_settings *s, enum alert_rule rule,
                uint32_t window_s, struct finding *ret_finding);
/* What there was and what is usual of a rule's metric, in a unit that adds up over
 * series: calls, USD, tokens; calls that failed or were slow. `f` tells the window. */
struct stats_amount {
    double observed, usual;
};
struct stats_amount stats_amount(const struct stats *st, const struct baseline_settings *s,
                                 const struct stats_ask *ask, const struct finding *f);
/* There are clearly fewer calls than usual. */
bool stats_are_calls_down(const struct stats *st, const struct baseline_settings *s);
void stats_facts(const struct stats *st, const struct baseline_settings *s, enum alert_rule rule,
                 struct stats_facts *ret_facts);
/* The smallest ratio to the usual that would be told now in some window, of a rule on
 * sums that looks for too much; 0 = not known yet. */
double stats_ratio_least(const struct stats *st, const struct baseline_settings *s,
                         enum alert_rule rule, uint32_t *ret_window_s);

/* Appends all there is, so that stats_load() goes on bit by bit. -ENOSPC, -ENOMEM. */
int stats_save(const struct stats *st, struct buf *out) LECTR_MUST_USE;
/* Takes it from the front of *from. -EBADMSG, -EPROTO: not what stats_save() of this
 * version wrote. */
int stats_load(struct slice *from, struct stats **ret_stats) LECTR_MUST_USE;
