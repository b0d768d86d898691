/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What alerts, whom it is told, and when nobody wants to hear of it: one YAML
 * file of rules, silences, receivers and routes. Pure but for alerting_load().
 *
 * The file is read as a whole or refused with file, line and field. Strings are
 * NULL where the file says nothing; everything lives as long as the struct.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define ALERTING_FILE_MAX (512 * 1024)
#define ALERTING_RULES_MAX 256
#define ALERTING_SILENCES_MAX 1024
#define ALERTING_RECEIVERS_MAX 64 /* bits of a set */
#define ALERTING_ROUTES_MAX 256
#define ALERTING_WINDOWS_MAX 8
#define ALERTING_THRESHOLDS_MAX 8

/* Which alerts, or which traffic. NULL: any. '*' stands for any run of characters. */
struct alerting_match {
    char *org, *feature, *provider, *model;
    char *severity, *rule; /* of routes and silences only; the rule's kind or its name */
};

/* What is matched; NULL counts as "". */
struct alerting_scope {
    const char *org, *feature, *provider, *model;
    const char *severity, *rule; /* "cost.spike" */
    const char *name;            /* the name in the file; "" or NULL for built-in rules */
};

enum alerting_kind {
    ALERTING_RETURN_PERIOD,
    ALERTING_BURN_RATE,
    ALERTING_BUDGET,
    ALERTING_FIRST_SEEN,
    ALERTING_SILENT,
    ALERTING_UNPRICED,
    ALERTING_COVERAGE,
    ALERTING_RETRIES,
    ALERTING_KIND__COUNT,
};

enum alerting_severity {
    ALERTING_SEVERITY_OF_KIND, /* not said: the kind's own */
    ALERTING_INFO,
    ALERTING_WARNING,
    ALERTING_CRITICAL,
};

enum alerting_metric {
    ALERTING_CALLS,
    ALERTING_COST,
    ALERTING_TOKENS,
    ALERTING_ERRORS,
    ALERTING_LATENCY,
    ALERTING_METRIC__COUNT,
};

enum alerting_direction { ALERTING_BOTH, ALERTING_UP, ALERTING_DOWN };

enum alerting_period { ALERTING_MONTH, ALERTING_WEEK, ALERTING_DAY };

/* What is looked at apart; the organisation always is. */
enum alerting_by {
    ALERTING_BY_FEATURE = 1 << 0,
    ALERTING_BY_PROVIDER = 1 << 1,
    ALERTING_BY_MODEL = 1 << 2,
};

enum alerting_dimension {
    ALERTING_DIM_MODEL,
    ALERTING_DIM_PROVIDER,
    ALERTING_DIM_KEY,
    ALERTING_DIM_FEATURE,
    ALERTING_DIM_REGION,
    ALERTING_DIM__COUNT,
};

/* Both windows must burn at `burn` times the speed that just uses the budget up. */
struct alerting_window {
    uint32_t long_min, short_min;
    double burn;
    enum alerting_severity severity;
};

/* Every rule has the first part; of the rest its kind's own, with the defaults filled in. */
struct alerting_rule {
    char *name; /* unique */
    enum alerting_kind kind;
    bool enabled; /* default true */
    struct alerting_match match;
    enum alerting_severity severity;
    uint32_t for_min; /* has to hold for so long; of silent: quiet for so long, default 60 */
    unsigned by;      /* set of alerting_by */
    struct {          /* return_period */
        enum alerting_metric metric;
        enum alerting_direction direction; /* default both */
        double target_weeks;               /* 0: as detect.target_weeks says */
        double ratio_min;                  /* 0: as detect.ratio_min says */
    } period;
    struct { /* burn_rate; counted are calls that fail, or are slower than latency_above_ms */
        double objective; /* % of calls that are good */
        char **error;     /* types that count, '*' allowed; none: every type but `except` */
        unsigned error_count;
        char **except; /* default client_abort, policy_denied */
        unsigned except_count;
        uint32_t latency_above_ms;       /* 0: errors */
        struct alerting_window *windows; /* default 60/5x14.4, 360/30x6, 4320/360x1 */
        unsigned windows_count;
        uint32_t period_d; /* of the error budget, default 30 */
        uint32_t hits_min; /* fewer in the long window are no alert, default 5 */
    } burn;
    struct { /* budget */
        double usd;
        enum alerting_period period; /* default month */
        int32_t utc_offset_min;      /* when days begin, from utc_offset: "+02:00" */
        char *utc_offset;
        double *thresholds; /* % of usd, rising; default 50, 80, 100 */
        unsigned thresholds_count;
        bool forecast; /* default true */
    } budget;
    enum alerting_dimension dimension; /* first_seen; silent has features only */
    uint32_t warmup_h;                 /* first_seen: an organisation's first hours, default 24 */
    uint32_t calls_min;                /* fewer are no alert: unpriced 1, retries 50, silent 20 a
                                          day, coverage (connections) and burn_rate 20 */
    double below;                      /* coverage: share of connections, default 0.9 */
    double drop;                       /* coverage: against the day before, default 0.1 */
    double ratio;                      /* retries: of calls that are repetitions, default 0.3 */
};

struct alerting_silence {
    struct alerting_match match;
    char *from, *until; /* RFC 3339 as written */
    int64_t from_s, until_s;
    bool planned; /* not learned by the baselines either */
    char *comment;
};

enum alerting_receiver_type {
    ALERTING_WEBHOOK,
    ALERTING_ALERTMANAGER,
    ALERTING_SLACK,
    ALERTING_PAGERDUTY,
};

struct alerting_header {
    char *name;
    char *value, *value_file; /* one of both */
};

struct alerting_receiver {
    char *name; /* unique */
    enum alerting_receiver_type type;
    char *url, *url_file;   /* one of both; http or https; PagerDuty has a default */
    char *secret_file;      /* webhook: key of the HMAC */
    char *routing_key_file; /* PagerDuty */
    char *bearer_file;
    char *ca_file;
    struct alerting_header *headers;
    unsigned headers_count;
    uint32_t max_attempts; /* default 10 */
    uint32_t timeout_ms;   /* of one attempt, default 10000 */
    bool send_updates;     /* default true */
    bool send_resolved;    /* default true */
};

struct alerting_route {
    struct alerting_match match;
    char **receivers;
    unsigned receivers_count;
    uint64_t receiver_set; /* bit i: receivers[i] of the file */
    bool go_on;            /* "continue": look at further routes, too */
};

struct alerting {
    char *external_url; /* what alerts link to; NULL: none */
    char *runbook_url;  /* of the runbook; the rule is added as "#cost-spike"; NULL: none */
    struct alerting_rule *rules;
    unsigned rules_count;
    struct alerting_silence *silences;
    unsigned silences_count;
    struct alerting_receiver *receivers;
    unsigned receivers_count;
    struct alerting_route *routes;
    unsigned routes_count;
};

struct alerting_error {
    char text[512]; /* "alerting.yaml:12: rules[0].usd: …" */
};

/* `name` is what errors call the text. -EINVAL with ret_error filled, -ENOMEM. */
int alerting_parse(const char *name, struct slice text, struct alerting **ret_alerting,
                   struct alerting_error *ret_error) LECTR_MUST_USE;
/* `path` NULL: the defaults, without rules, receivers or routes of its own. */
int alerting_load(const char *path, struct alerting **ret_alerting,
                  struct alerting_error *ret_error) LECTR_MUST_USE;
void alerting_free(struct alerting **alerting);
static inline void alerting_cleanup_free(struct alerting **alerting)
{
    alerting_free(alerting);
}
#define CLEAN_ALERTING __attribute__((cleanup(alerting_cleanup_free)))

/* '*' in `pattern` stands for any run of characters; NULL matches everything. */
bool alerting_glob(const char *pattern, const char *text);
bool alerting_matches(const struct alerting_match *match, const struct alerting_scope *scope);

/* The receivers of an alert: the first route that matches decides, and those behind
 * it as long as they say "continue". Without any route every receiver is told. */
uint64_t alerting_route(const struct alerting *a, const struct alerting_scope *scope);
/* The file's silence that covers the alert at that time; NULL: none. */
const struct alerting_silence *alerting_silenced(const struct alerting *a,
                                                 const struct alerting_scope *scope, int64_t at_s);
/* The first rule of kind return_period for the metric and direction in this scope: what it
 * says replaces the detector's settings; not enabled: nothing is told. NULL: the settings hold. */
const struct alerting_rule *alerting_period_rule(const struct alerting *a,
                                                 enum alerting_metric metric, bool is_down,
                                                 const struct alerting_scope *scope);
/* "info", "warning", "critical"; NULL for ALERTING_SEVERITY_OF_KIND. */
const char *alerting_severity_name(enum alerting_severity severity);
