/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coordinates what happens when minutes end: the store's cells go to the
 * detector, its alerts to the store and from there to the bus, roll-ups that
 * changed to the bus. Runs on the judge's thread.
 */
#pragma once

#include "collector/bus.h"
#include "collector/config.h"
#include "collector/pipeline.h"
#include "collector/record.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

struct watch;

/* Learns again what the store has. The store stays the caller's. -errno, logged. */
int watch_new(const struct config *config, struct store *store,
              struct watch **ret_watch) LECTR_MUST_USE;
void watch_free(struct watch **watch);
/* See rules_on_reload(). */
void watch_on_reload(struct watch *w, void (*on_reload)(void *ctx), void *ctx);
/* Calls of this minute came into the store. */
void watch_note(struct watch *w, int64_t minute_s, uint64_t calls);
/* How far event time has come. */
void watch_note_latest(struct watch *w, uint64_t end_ns);
/* While true no minute is closed or looked at: what of it was taken in is not complete. */
void watch_wait(struct watch *w, bool is_waiting);
/* Closes the minutes that are over, judges the running one, publishes. `bus`
 * may be NULL: what is to be published waits in the store. */
void watch_turn(struct watch *w, struct bus *bus);
/* The last turn left a slice of its work to the next one: no need to wait for news. */
bool watch_has_more(const struct watch *w);
void watch_fill_stats(const struct watch *w, struct pipeline_stats *stats);
