/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by detect*.c only. */
#pragma once

#include "collector/context.h"
#include "collector/detect.h"
#include "collector/detect_tree.h"

#define MINUTE_S 60
#define WEEK_S (7 * 86400)
/* After what became usual was over: what is seen of it until then is known well. */
#define SETTLE_MIN 60

/* A deviation of a node by a rule, while it lasts and for a while after. */
struct episode {
    struct episode *next; /* of the node */
    struct node *node;
    enum alert_rule rule;
    bool is_active;
    bool was_told;
    uint32_t calm_minutes;
    int64_t ended_s;
    int64_t told_s;
    double told_ratio;
    double peak;       /* the ratio furthest from 1, in the direction of the rule */
    double usual;      /* what was expected when it began, in units of finding.before */
    double settled;    /* over: what is expected from then on, likewise */
    double settling;   /* and at most, while that is not known well */
    struct alert last; /* as told last */
};

struct detect {
    struct baseline_settings settings;
    uint32_t resolve_after_min;
    struct tree tree;
    struct context *context;
    detect_planned planned;
    void *planned_ctx;
    struct episode **episodes; /* in the order in which they began */
    unsigned episodes_count, episodes_capacity;
    int64_t last_minute_s; /* the last one closed, 0 = none */
    int64_t minute_s;      /* being told, 0 = none */
    uint64_t refused;
    uint32_t asks; /* stamps of node->asked */
    struct saving {
        bool has_header, has_contexts;
        const struct node *node; /* the next one; NULL: all are saved */
        unsigned episode;        /* the next one */
    } saving;
    struct loading {
        bool has_header, has_contexts;
        uint64_t nodes, episodes; /* that are still to come */
        int64_t minute_s;
    } loading;
};

/* What is looked at: a minute that is over, or one that still runs. */
struct turn {
    uint32_t running_s; /* 0: it is over */
    int64_t minute_s, end_s;
    bool quiet;
    detect_emit emit;
    void *ctx;
};

/* --- detect_episode.c --- */

struct episode *episode_of(const struct node *n, enum alert_rule rule);
bool episode_is_active(const struct node *n, enum alert_rule rule);
/* The window's numbers, what they rest on and what else is told. */
int episode_begin(struct detect *d, struct node *n, enum alert_rule rule, const struct finding *f,
                  uint32_t affected, const struct turn *turn) LECTR_MUST_USE;
/* Updated, resolved: one step for one look. */
int episode_step(struct detect *d, struct episode *e, const struct finding *f,
                 const struct turn *turn) LECTR_MUST_USE;
/* After each minute: learns where those that became usual settled, deletes those that are
 * over for so long that nothing depends on them. */
void episodes_sweep(struct detect *d);
/* One that exists already: told before a restart. */
int episode_adopt(struct detect *d, struct node *n, enum alert_rule rule,
                  struct episode **ret_episode) LECTR_MUST_USE;
void episodes_fini(struct detect *d);

/* --- detect_judge.c --- */

void judge_node(const struct detect *d, struct node *n, enum alert_rule rule,
                const struct turn *turn, struct finding *ret_finding);
/* What a node has of an amount, over the window of `f`; and how much of it is beyond
 * the usual, positive in the rule's direction. */
struct stats_amount judge_amount(const struct detect *d, const struct node *n, enum alert_rule rule,
                                 const struct turn *turn, const struct finding *f);
double judge_excess(const struct detect *d, const struct node *n, enum alert_rule rule,
                    const struct turn *turn, const struct finding *f);

/* --- detect_explain.c --- */

struct candidate {
    struct node *node;
    struct finding finding;
    double excess;
};

/* Decides where a rule's new deviations are told, and begins their episodes. Sorts
 * the candidates. */
int explain_rule(struct detect *d, enum alert_rule rule, struct candidate *candidates,
                 unsigned count, const struct turn *turn) LECTR_MUST_USE;
/* Do two nodes have calls in common? */
bool explain_is_akin(const struct node *a, const struct node *b);
