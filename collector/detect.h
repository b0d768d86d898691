/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closed minutes -> alerts. Holds the baseline of every series
 * (org, feature, provider, model), of the features, providers and organisations
 * above them, and the episodes that are under way. A deviation is told once, at the
 * level that explains it (detect_explain.c).
 *
 * Pure, event time only: the same minutes in the same order give the same
 * alerts, whenever they are told. Nothing is stored here; after a start the
 * minutes of the store are told again with `quiet` set.
 */
#pragma once

#include "collector/alert.h"
#include "collector/config.h"
#include "collector/sketch.h"
#include "collector/store_query.h"
#include "proto/base/cleanup.h"

/* Series with a baseline; further ones are counted, not judged. */
#define DETECT_SERIES_MAX 100000

struct detect;

/* What an evaluation found; the alert is borrowed for the call. -errno ends it. */
typedef int (*detect_emit)(void *ctx, const struct alert *alert);

int detect_new(const struct config_detect *settings, struct detect **ret_detect) LECTR_MUST_USE;
void detect_free(struct detect **detect);

/* One minute: detect_begin, every cell of the minute (workloads apart or
 * summed), then detect_close (the minute is over: judge and learn) or
 * detect_peek (it is still running, `elapsed_s` of it are told: judge only;
 * the cells are forgotten). -EINVAL: not the minute after the last closed one;
 * an empty minute is told with no cells. */
int detect_begin(struct detect *d, int64_t minute_s) LECTR_MUST_USE;
int detect_add(void *ctx, const struct store_series_name *name,
               const struct rollup_cell *cell) LECTR_MUST_USE;
/* `quiet`: learn and follow episodes, tell nobody. */
int detect_close(struct detect *d, bool quiet, detect_emit emit, void *ctx) LECTR_MUST_USE;
int detect_peek(struct detect *d, uint32_t elapsed_s, detect_emit emit, void *ctx) LECTR_MUST_USE;

uint64_t detect_series(const struct detect *d);
uint64_t detect_refused(const struct detect *d);

/* Episodes after a quiet learning: those that were told before go on, others
 * are dropped and may begin anew. */
bool detect_has_episode(const struct detect *d, const char *fingerprint);
void detect_set_told(struct detect *d, const char *fingerprint);
void detect_drop_untold(struct detect *d);
