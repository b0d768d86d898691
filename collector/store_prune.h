/* SPDX-License-Identifier: Apache-2.0 */
/* Housekeeping of the store, in slices: each is a transaction of its own that holds
 * up writers for a moment only. See housekeep.h. */
#pragma once

#include "collector/store.h"

/* What stays. */
struct store_keep {
    int64_t from_s[ROLLUP__COUNT]; /* cells, coverage and gaps of buckets from here on */
    uint64_t calls_from_ns;        /* blocks with a call that ended from here on */
    int64_t alerts_from_s;         /* of episodes that are over; silences that ended from here on */
};
/* Deletes at most `rows_max` rows of what does not stay; 0 rows: there is no more. */
int store_prune_some(struct store *s, const struct store_keep *keep, unsigned rows_max,
                     uint64_t *ret_rows) LECTR_MUST_USE;

/* Joins some small blocks of calls whose latest lies in *from_ns <= end < to_ns. How many blocks
 * there are fewer, and in *from_ns where to go on: to_ns when there is no more. Damaged blocks and
 * those that go with no other stay as they are. -EAGAIN: another joins them. */
int store_join_calls(struct store *s, uint64_t *from_ns, uint64_t to_ns,
                     unsigned *ret_fewer) LECTR_MUST_USE;

/* Gives free pages back to the file system, some at a time; PostgreSQL does that itself. */
int store_give_back(struct store *s, unsigned pages) LECTR_MUST_USE;
