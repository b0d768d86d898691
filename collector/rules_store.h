/* SPDX-License-Identifier: Apache-2.0 */
/* What rules.c reads from the store and writes to it. */
#pragma once

#include "collector/ruleset.h"
#include "collector/silence.h"
#include "collector/store.h"

#define RULES_STATE_NAME "ruleset"
#define RULES_NEWS_NAME "ruleset.news"
#define RULES_STATE_BYTES_MAX ((size_t)128 * 1024 * 1024)

/* Begins the minute and tells its cells, coverage and calls without a price. */
int rules_tell_minute(struct store *store, struct ruleset *set, int64_t minute_s) LECTR_MUST_USE;
/* Values that came up to the minute's end and that nobody was told of; within a transaction. */
int rules_tell_news(struct store *store, struct ruleset *set, int64_t minute_s,
                    unsigned *ret_count) LECTR_MUST_USE;
/* Active alerts of rules that know nothing of them are over; episodes that the store does not
 * have were never told. */
int rules_reconcile(struct store *store, struct ruleset *set, int64_t closed_s) LECTR_MUST_USE;
/* Alerts that last longer than their silence are told again. */
int rules_end_silences(struct store *store, const struct silences *silences, int64_t now_s,
                       bool *ret_has_silenced) LECTR_MUST_USE;
/* Adds the transition that says what a person said of the episode; of a planned one also the
 * silence, from its beginning to its end or for a day. In a transaction; nobody adds a transition
 * before it ends. -ENOENT: there is none. */
int rules_tell_feedback(struct store *store, const char *fingerprint, const char *verdict,
                        int64_t now_s) LECTR_MUST_USE;
