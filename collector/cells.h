/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole cells of what was written lately: a cache, by write-through, of what the
 * store has, so that a batch writes its cells without reading them. Pure: reads
 * and writes through what it is given.
 *
 * A batch is merged in, cells_save() writes what changed into the transaction,
 * and then it is cells_committed() or cells_rolled_back(), which forgets what the
 * batch changed, to be read again.
 *
 * A cell that is not there is read, unless it cannot be in the store either:
 * buckets newer than all that the lane has stored are known to be empty.
 *
 * Bounded: cells that were not used for long are forgotten beyond `bytes_max`.
 */
#pragma once

#include "collector/rollup.h"
#include "proto/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

struct cells;

/* Calls return 0 or -errno. */
struct cells_store {
    void *ctx;
    /* Adds what the store has of the cell; revision 0 when it has nothing. */
    int (*load)(void *ctx, unsigned lane, struct rollup_cell *cell, int64_t *ret_revision);
    int (*put)(void *ctx, unsigned lane, const struct rollup_cell *cell, int64_t revision);
    /* Something in this bucket has changed; once for each bucket of a batch. */
    int (*touch)(void *ctx, unsigned lane, uint32_t seconds, int64_t bucket);
};

#define CELLS_LANES 64

/* `store` is borrowed. */
/* Start of the bucket. */
int64_t cells_floor(int64_t time_s, uint32_t seconds);

int cells_new(const struct cells_store *store, size_t bytes_max,
              struct cells **ret_cells) LECTR_MUST_USE;
void cells_free(struct cells **cells);

/* The lane is this process's from now on; the store has no bucket of it that begins after
 * `newest_s`, or none at all (INT64_MIN). */
void cells_take_lane(struct cells *c, unsigned lane, int64_t newest_s);
/* What the store has, read ahead after taking the lane. Empties `cell`. -ENOSPC when there is
 * memory for no more: the rest is read when it is asked for. */
int cells_know(struct cells *c, unsigned lane, struct rollup_cell *cell,
               int64_t revision) LECTR_MUST_USE;
/* Everything of this resolution from `from_s` on has been read ahead. */
void cells_know_all(struct cells *c, unsigned lane, enum rollup_resolution res, int64_t from_s);
/* Somebody else may write it from now on. */
void cells_drop_lane(struct cells *c, unsigned lane);

/* Adds what happened in a minute of a series to its minute, hour and day. After a failure the
 * batch must be rolled back. */
int cells_merge(struct cells *c, unsigned lane, const struct rollup_cell *minute) LECTR_MUST_USE;
/* Something else in this minute has changed, that is no cell. */
int cells_touch(struct cells *c, unsigned lane, int64_t minute_s) LECTR_MUST_USE;
/* By resolution, bucket, series and lane, then the touches by resolution, bucket and lane: whoever
 * else locks several of these rows does so in this order. */
int cells_save(struct cells *c) LECTR_MUST_USE;
void cells_committed(struct cells *c);
void cells_rolled_back(struct cells *c);

size_t cells_bytes(const struct cells *c);
