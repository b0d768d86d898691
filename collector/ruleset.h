/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the file, other than return periods: closed minutes -> alerts. Each
 * rule looks at groups of traffic (its match, told apart by its `by`) and has at most
 * one episode for each.
 *
 * Pure, event time only: the same minutes in the same order give the same alerts.
 * State is saved and loaded as bytes and goes on exactly; a rule that has none (a new
 * one, or one that was changed) is told hours of the past first.
 *
 * Limits: RULESET_GROUPS_MAX groups for each rule; what is beyond is counted and not
 * judged. Nothing of burn rates, budgets and silences is known that the roll-ups have not.
 */
#pragma once

#include "collector/alert.h"
#include "collector/alerting.h"
#include "collector/store_query.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"

#define RULESET_GROUPS_MAX 5000

struct ruleset;

/* What an evaluation found; the alert is borrowed for the call. -errno ends it. */
typedef int (*ruleset_emit)(void *ctx, const struct alert *alert);
/* Is the scope in a planned silence in that minute? */
typedef bool (*ruleset_planned)(void *ctx, const struct alerting_scope *scope, int64_t minute_s);

/* `rules` are borrowed for the life of the set. `planned` may be NULL. */
int ruleset_new(const struct alerting *rules, ruleset_planned planned, void *planned_ctx,
                struct ruleset **ret_set) LECTR_MUST_USE;
void ruleset_free(struct ruleset **set);
/* There is a rule to be told minutes for. */
bool ruleset_has_rules(const struct ruleset *set);

/* One minute: begin, everything of it, close. -EINVAL: not after the last one of any rule;
 * rules that have had it do not listen. Minutes that are left out had nothing. */
int ruleset_begin(struct ruleset *set, int64_t minute_s) LECTR_MUST_USE;
int ruleset_add(void *set, const struct store_series_name *name,
                const struct rollup_cell *cell) LECTR_MUST_USE;
int ruleset_add_coverage(void *set, const struct store_coverage_row *row) LECTR_MUST_USE;
int ruleset_add_unpriced(void *set, const struct store_unpriced_row *row) LECTR_MUST_USE;
/* A value of a dimension that the organisation has not had before. */
struct ruleset_new_value {
    const char *org;
    enum alerting_dimension dimension;
    const char *value;
    const char *feature, *provider, *model; /* of the first call with it */
    int64_t age_s; /* of the organisation's first value of this dimension, when it came */
};
int ruleset_add_new_value(void *set, const struct ruleset_new_value *value) LECTR_MUST_USE;
/* `quiet`: learn and follow episodes, tell nobody. */
int ruleset_close(struct ruleset *set, bool quiet, ruleset_emit emit, void *ctx) LECTR_MUST_USE;

/* --- the past --- */

/* Hours of it that rules without a state ask for; 0: none. */
uint32_t ruleset_history_h(const struct ruleset *set);
/* A whole hour, oldest first, before any minute: begin, ruleset_add() with its cells,
 * end. Rules that have a state do not listen. */
void ruleset_recall_begin(struct ruleset *set, int64_t hour_s);
int ruleset_recall_end(struct ruleset *set) LECTR_MUST_USE;
/* From here on minutes are wanted by somebody; 0: by nobody yet. */
int64_t ruleset_next_s(const struct ruleset *set);

/* Appends all state, as of the last closed minute. */
int ruleset_save(const struct ruleset *set, struct buf *out) LECTR_MUST_USE;
/* The same of first_seen rules alone: small, and told by no roll-up. */
int ruleset_save_news(const struct ruleset *set, struct buf *out) LECTR_MUST_USE;
/* Into a new set; several may be loaded, the first one that has groups of a rule counts. What
 * belongs to rules that are no more, or are not the same, is left
 * out. -EBADMSG: damaged; the set may then hold part of it. */
int ruleset_load(struct ruleset *set, struct slice saved) LECTR_MUST_USE;

/* --- episodes --- */

/* Those that were told before go on after a load or a quiet learning; the others end
 * with nobody told. */
bool ruleset_has_episode(const struct ruleset *set, const char *fingerprint);
void ruleset_set_told(struct ruleset *set, const char *fingerprint);
void ruleset_drop_untold(struct ruleset *set);

uint64_t ruleset_groups(const struct ruleset *set);
uint64_t ruleset_refused(const struct ruleset *set);
