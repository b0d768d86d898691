/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roll-ups of closed buckets -> lectr.v1.rollup.<org>.<1m|1h|1d>: when they are
 * closed, and again with a higher revision when late events changed them.
 *
 * What waits is in the store, not here: buckets that were touched, and of each
 * cell the revision that was told last. So a crash leaves nothing out, only cells
 * that changed are told, and a flood of late events costs time and no memory. A
 * message that is told twice has the same id and revision.
 *
 * A subject that is denied holds up no other one; what waits for it waits in the
 * store as well. In the end it is given up, as hold.h says.
 */
#pragma once

#include "collector/bus.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

/* Messages of one turn, and on the average of one second. */
#define PUBLISH_ROLLUPS_MAX 1000
#define PUBLISH_ROLLUPS_PER_S 10000

struct publish_rollup;

struct publish_rollup_stats {
    uint64_t told;          /* messages, since the start */
    uint64_t revised;       /* of them: cells that had been told before */
    uint64_t given_up;      /* messages that were never sent, for their subject is denied */
    unsigned subjects_held; /* now */
};

int publish_rollup_new(struct store *store, struct publish_rollup **ret_publish) LECTR_MUST_USE;
void publish_rollup_free(struct publish_rollup **publish);
/* A bounded step: buckets that end at or before `closed_s`. `bus` NULL: nothing is told, and
 * what waits is forgotten. `now_ns`: monotonic. */
int publish_rollup_turn(struct publish_rollup *p, struct bus *bus, int64_t closed_s,
                        uint64_t now_ns) LECTR_MUST_USE;
/* The server took something else: see hold.h. */
void publish_rollup_note_taken(struct publish_rollup *p);
void publish_rollup_get_stats(const struct publish_rollup *p,
                              struct publish_rollup_stats *ret_stats);
/* Minutes that were touched after they had been told, by any collector, since the last call;
 * `ret_from_s`: the earliest of them. Before the first turn what ends two minutes before
 * `closed_s` of it counts as told. */
unsigned publish_rollup_take_late(struct publish_rollup *p, int64_t *ret_from_s);
