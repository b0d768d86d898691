/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the store to the bus: alerts that were not published yet, and the
 * roll-ups of closed buckets. Marks what the server has, so that nothing is
 * left out after a crash; what is told twice carries the same id.
 */
#pragma once

#include "collector/bus.h"
#include "collector/config.h"
#include "collector/publish_rollup.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

struct publish;

int publish_new(const struct config *config, struct store *store,
                struct publish **ret_publish) LECTR_MUST_USE;
void publish_free(struct publish **publish);
/* A bounded amount of work; `bus` NULL: none. now_ns: monotonic. Logs once while it fails. */
void publish_turn(struct publish *p, struct bus *bus, int64_t closed_s, uint64_t now_ns);
/* Alerts that wait, as of the last turn. */
uint64_t publish_pending(const struct publish *p);
/* Alerts that were never published, or without their CloudEvent; since the start. */
uint64_t publish_given_up(const struct publish *p);
void publish_get_rollup_stats(const struct publish *p, struct publish_rollup_stats *ret_stats);
/* See publish_rollup_take_late(). */
unsigned publish_take_late(struct publish *p, int64_t *ret_from_s);
