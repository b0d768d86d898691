/* SPDX-License-Identifier: Apache-2.0 */
/* One transition of an episode: what is told to the world. Pure. */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

/* The values of lectr.v1.Alert.Status. */
enum alert_status {
    ALERT_FIRING = 1,
    ALERT_UPDATED = 2,
    ALERT_RESOLVED = 3,
};

enum alert_rule {
    /* In the order in which they are judged: calls explain cost, cost explains tokens. */
    ALERT_CALLS_SPIKE,
    ALERT_CALLS_DROP,
    ALERT_COST_SPIKE,
    ALERT_COST_DROP,
    ALERT_TOKENS_SPIKE,
    ALERT_TOKENS_DROP,
    ALERT_CALLS_SHIFT,
    ALERT_COST_SHIFT,
    ALERT_ERRORS_RATE,
    ALERT_LATENCY_P95,
    ALERT_RULE__COUNT,
};

struct alert {
    enum alert_status status;
    enum alert_rule rule;
    char id[37];          /* of this transition; the same when it is found again */
    char fingerprint[37]; /* of the episode */
    char org[64], feature[96], provider[64], model[160];
    int64_t window_start_s, window_end_s;
    double observed;
    uint64_t samples; /* calls in the window */
    double baseline, baseline_lower, baseline_upper;
    const char *method;
    double history_hours;
    uint64_t baseline_samples; /* hours that were learned from */
    bool has_sigmas;
    double sigmas;
    const char *confidence;
    bool has_return; /* sums only */
    double return_weeks;
    uint32_t tail_events; /* that the return period rests on */
    double ratio_least;   /* smaller ones would not have been told; 0 = not known */
    double unusual;       /* "unusual pattern" score of the feature, 0..1; negative: not known */
    uint32_t windows_agree_s[4], windows_agree; /* lengths; how many */
    int64_t starts_s, detected_s;
    int64_t ends_s; /* resolved only */
    bool synthetic;
};

/* "cost.spike"; "cost" as the subject's kind; metric and unit. */
const char *alert_rule_name(enum alert_rule rule);
const char *alert_rule_kind(enum alert_rule rule);
/* Names the episode by its series, rule and first window. */
void alert_name(struct alert *a);
/* The transition's id: from the fingerprint, the status and the window. */
void alert_number(struct alert *a);
/* What is told of return_weeks: at most a hundred times the history. */
double alert_return_weeks(const struct alert *a);
/* A sentence a person can read. */
void alert_reason(const struct alert *a, char *ret_text, size_t size);
/* Appends a lectr.v1.Alert. */
int alert_pack(const struct alert *a, struct buf *out) LECTR_MUST_USE;
/* Appends the stored lectr.v1.Alert `packed` as resolved at `ends_s`, with the
 * reason told; the new transition's id goes to ret_id. */
int alert_pack_resolved(struct slice packed, int64_t ends_s, const char *why, struct buf *out,
                        char ret_id[37]) LECTR_MUST_USE;
