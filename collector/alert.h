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
    ALERT_RULE__COUNT, /* those above are the detector's */
    /* Of rules of the file. */
    ALERT_ERRORS_BURN_RATE = ALERT_RULE__COUNT,
    ALERT_LATENCY_BURN_RATE,
    ALERT_COST_BUDGET,
    ALERT_COST_FORECAST,
    ALERT_MODEL_FIRST_SEEN,
    ALERT_PROVIDER_FIRST_SEEN,
    ALERT_KEY_FIRST_SEEN,
    ALERT_FEATURE_FIRST_SEEN,
    ALERT_REGION_FIRST_SEEN,
    ALERT_FEATURE_SILENT,
    ALERT_MODEL_UNPRICED,
    ALERT_COVERAGE_LOW,
    ALERT_RETRIES_AMPLIFYING,
    ALERT_ANY__COUNT,
};

/* What an alert is about. */
enum alert_level {
    ALERT_LEVEL_MODEL, /* of a feature at a provider */
    ALERT_LEVEL_FEATURE,
    ALERT_LEVEL_PROVIDER,
    ALERT_LEVEL_ORG,
    ALERT_LEVEL__COUNT,
};

#define ALERT_PARTS_MAX 14
#define ALERT_RELATED_MAX 8
#define ALERT_LIMITS_MAX 6

/* A part of the deviation, see attribution.h. */
struct alert_part {
    char
        dimension[16]; /* volume, mix, tokens_per_call, price; workload, model, feature, provider */
    char value[160];   /* which one; "" for the first four */
    double amount;     /* in the alert's unit */
    double share;      /* of the deviation */
};
struct ruling;

struct alert {
    enum alert_status status;
    enum alert_rule rule;
    enum alert_level level; /* names beyond it are "" */
    char id[37];            /* of this transition; the same when it is found again */
    char fingerprint[37];   /* of the episode */
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
    bool is_new_usual; /* resolved, but it did not go back */
    /* From here on 0 is "not known". */
    double samples_expected;
    double band_pct;       /* of the windows, that the band holds */
    uint32_t slot_samples; /* hours like this one (of the week) that were learned from */
    const char *season;    /* weekly, daily, none; NULL */
    bool has_impact;
    double impact_usd; /* cost beyond the usual since the episode's first window began */
    double impact_usd_per_hour;
    int64_t impact_from_s; /* that beginning */
    int64_t onset_s;       /* when the window began to depart */
    uint32_t affected;     /* models below that depart as well and are not told */
    uint64_t cost_unknown; /* calls in the window without a cost */
    int64_t change_s;      /* the last thing that changed, */
    char change[200];      /* and what that was */
    struct alert_part parts[ALERT_PARTS_MAX];
    unsigned parts_count;
    char related[ALERT_RELATED_MAX][37]; /* fingerprints of what is told as well */
    unsigned related_count;
    char limits[ALERT_LIMITS_MAX][96]; /* what the numbers are not */
    unsigned limits_count;
    const struct ruling *ruling; /* of a rule of the file, else NULL; borrowed */
    char silenced_by[64];        /* "": nothing silences it */
    bool is_planned;             /* by that silence */
    const char *severity;        /* NULL: the rule's own */
};

/* "cost.spike"; "cost" as the subject's kind; metric and unit. */
const char *alert_rule_name(enum alert_rule rule);
const char *alert_rule_kind(enum alert_rule rule);
const char *alert_level_name(enum alert_level level);
bool alert_rule_is_down(enum alert_rule rule);
/* More than ALERT_LIMITS_MAX are left out. */
void alert_limit(struct alert *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
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
/* What goes on of an episode of the detector, from the stored transition: its rule, series, times
 * and numbers, not what is looked up anew with each transition. -ENOENT: of another rule; -EBADMSG.
 */
int alert_read_told(struct slice packed, struct alert *ret_alert) LECTR_MUST_USE;
/* The stored alert is one of a rule of the file, not the detector's. */
bool alert_is_of_file(struct slice packed);
/* Appends the stored alert as it is told again at `at_s`, as an update (or as resolved, if it
 * was): with what a person said of it, or, when `feedback` is "", with no silence any more. */
int alert_pack_again(struct slice packed, int64_t at_s, const char *feedback, struct buf *out,
                     char ret_id[37], int *ret_status) LECTR_MUST_USE;
const char *alert_severity(const struct alert *a);
