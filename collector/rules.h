/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coordinates the file of rules: reads it and reads it again, brings its rules up to
 * date from the store, tells them the minutes that are closed, and says which alerts
 * somebody has silenced. Runs on the pipeline's thread.
 */
#pragma once

#include "collector/alert.h"
#include "collector/alerting.h"
#include "collector/config.h"
#include "collector/pipeline.h"
#include "collector/ruleset.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

struct rules;

/* `config` and `store` are borrowed. A bad file is told with file, line and field:
 * -EINVAL. -errno, logged. */
int rules_new(const struct config *config, struct store *store,
              struct rules **ret_rules) LECTR_MUST_USE;
void rules_free(struct rules **rules);
/* Any thread, and signal handlers: the file is read again in the next turn. */
void rules_request_reload(void);

/* Called when the file was read again and holds. */
void rules_on_reload(struct rules *r, void (*on_reload)(void *ctx), void *ctx);

/* Reads the file again when it has changed (one that is broken leaves the old rules), and
 * catches up a slice: -EAGAIN while that goes on and no minute may be closed. */
int rules_turn(struct rules *r, int64_t closed_s) LECTR_MUST_USE;
/* One minute, in the transaction that closes it. */
int rules_close(struct rules *r, int64_t minute_s, ruleset_emit emit, void *ctx) LECTR_MUST_USE;
/* That transaction came to nothing: go on from what is stored. */
void rules_rolled_back(struct rules *r);

/* What the file says of an alert of the detector: its severity, and whether a rule of kind
 * return_period holds it back. */
void rules_mark_period(const struct alerting *alerting, struct alert *a);
/* Marks an alert that is silenced, or held back by a rule of kind return_period. */
void rules_mark(struct rules *r, struct alert *a);
/* Was the minute planned for this traffic? Then it is not learned. */
bool rules_is_planned(const struct rules *r, const struct alerting_scope *scope, int64_t minute_s);
void rules_get_stats(const struct rules *r, struct rules_stats *ret_stats);
