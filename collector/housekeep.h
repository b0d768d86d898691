/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is too old goes, small blocks of calls become big ones, free pages go back to
 * the file system: a little at each turn, so that no turn holds up the messages.
 * One collector of those that share a store does it: the judge.
 */
#pragma once

#include "collector/config.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

struct housekeep {
    const struct config_retention *retention;
    int64_t pruned_s;                  /* when it was begun last */
    uint64_t joined_ns;                /* when it was begun last */
    uint64_t join_from_ns, join_to_ns; /* still to be joined */
    bool is_pruning, is_joining;
};

void housekeep_init(struct housekeep *h, const struct config_retention *retention);
/* One slice, when there is something to do. `now_s` is what retention counts from: the
 * latest end of a call, 0 when there is none. A failure is tried again later. */
int housekeep_turn(struct housekeep *h, struct store *store, int64_t now_s,
                   uint64_t wall_ns) LECTR_MUST_USE;
