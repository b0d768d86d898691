/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by ruleset*.c only. */
#pragma once

#include "collector/budget.h"
#include "collector/burn.h"
#include "collector/quiet.h"
#include "collector/ruleset.h"
#include "collector/ruling.h"
#include "collector/share.h"

#include <uthash.h>

#define MINUTE_S 60
#define HOUR_S 3600
#define KEY_BYTES_MAX 512

/* What the minute (or hour) that is told has for a group. */
struct told {
    bool is_there;
    uint64_t all, hits, unknown, synthetic;
    double low_usd, expected_usd, high_usd;
};

/* Plain bytes: it is saved as it is. */
struct ruleset_episode {
    uint8_t is_active, was_told; /* no bool: they come from bytes */
    uint8_t level;               /* rises: told as an update */
    uint32_t calm_min, held_min;
    int64_t starts_s;
    char fingerprint[37];
};

/* New values of an organisation, while their episode lasts. */
struct novel {
    struct ruling_values values;
    int64_t last_s;
};

/* Episodes of a group; budgets have two. */
enum { EPISODE_MAIN, EPISODE_FORECAST, EPISODE__COUNT };

struct group {
    UT_hash_handle hh;
    const char *org, *feature, *provider, *model; /* in key */
    struct told told;
    int64_t seen_s; /* minute of the last traffic */
    bool is_synthetic;
    struct ruleset_episode episodes[EPISODE__COUNT];
    void *state; /* of the rule's kind, state_bytes long */
    size_t key_bytes;
    char key[];
};

struct rule_state {
    const struct alerting_rule *rule;
    uint64_t digest; /* of the settings that its state depends on */
    size_t state_bytes;
    int64_t next_s; /* first minute it has not been told; 0: nothing at all */
    struct group *groups;
};

struct ruleset {
    struct rule_state *rules;
    unsigned rules_count;
    ruleset_planned planned;
    void *planned_ctx;
    int64_t at_s; /* being told, 0 = nothing */
    bool is_recall;
    uint64_t refused;
};

/* What a rule says of a group. */
struct verdict {
    enum alert_rule rule;
    bool fires, is_calm;
    bool is_final;     /* over, whatever it was */
    bool is_immediate; /* for_min has been waited for already */
    bool is_further;   /* more of what fires: an update, whatever its level */
    uint8_t level;     /* of what fires: higher is worse */
    const char *over;  /* why it ended, if not by itself */
    struct burn_verdict burn;
    struct budget_verdict budget;
    struct quiet_verdict quiet;
    struct share_count share, before; /* the last hour, the day before it */
    enum alerting_severity severity;
};

/* The group of these names, made when it is new. -ENOSPC: the rule has too many, which
 * is counted. */
int ruleset_group(struct ruleset *set, struct rule_state *rs, const char *org, const char *feature,
                  const char *provider, const char *model, struct group **ret_group) LECTR_MUST_USE;
/* NULL: there is none. */
struct group *ruleset_find_group(const struct rule_state *rs, const char *org, const char *feature,
                                 const char *provider, const char *model);
void ruleset_drop_group(struct rule_state *rs, struct group *g);

/* --- ruleset_judge.c --- */

size_t ruleset_state_bytes(const struct alerting_rule *rule);
/* The episodes a rule has for each group. */
unsigned ruleset_episodes(const struct alerting_rule *rule);
/* Nothing is lost when the group goes. */
bool ruleset_is_idle(const struct rule_state *rs, const struct group *g, int64_t minute_s);

/* The minute's counts go to the state. */
void ruleset_learn(struct ruleset *set, struct rule_state *rs, struct group *g);
/* What one of the group's episodes is about, as of the minute's end. */
void ruleset_judge(struct ruleset *set, struct rule_state *rs, struct group *g, unsigned which,
                   struct verdict *ret_verdict);

/* --- ruleset_alert.c --- */

/* Fills all but the episode's part of the alert. */
void ruleset_fill(const struct ruleset *set, const struct rule_state *rs, const struct group *g,
                  const struct verdict *v, struct ruling *ruling, struct alert *a);
