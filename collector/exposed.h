/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which series /metrics tells apart: the busiest up to a limit, the rest as one
 * "(other)" an organisation. Pure.
 *
 * A series that is told apart stays so as long as this lives, and one that was
 * folded is only told apart while there is room: a counter that went back would
 * look like a restart to Prometheus.
 */
#pragma once

#include "collector/store_query.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define EXPOSED_OTHER "(other)"

struct exposed;

int exposed_new(unsigned series_max, struct exposed **ret_exposed) LECTR_MUST_USE;
void exposed_free(struct exposed **exposed);

/* The round of one answer: offer every series, then settle, then ask. */
void exposed_begin(struct exposed *e);
/* Fits store_each_cell; ctx is the exposed. */
int exposed_offer(void *ctx, const struct store_series_name *name,
                  const struct rollup_cell *cell) LECTR_MUST_USE;
/* Takes the busiest of those that are new while there is room. */
void exposed_settle(struct exposed *e);
/* The names under which it is told; borrowed. */
struct store_series_name exposed_name(const struct exposed *e,
                                      const struct store_series_name *name);
/* As of the last exposed_settle(). */
unsigned exposed_shown(const struct exposed *e);
/* Nothing that is offered changes any name: it may be offered while names are asked for. */
bool exposed_is_full(const struct exposed *e);
unsigned exposed_folded(const struct exposed *e);
