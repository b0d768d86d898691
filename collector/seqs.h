/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which numbers of which stream (agent instance, part) were taken in: a cache,
 * by write-through, of intervals that the store keeps for ever. Pure: reads and
 * writes through what it is given.
 *
 * A batch claims numbers, then seqs_save() writes what changed into the
 * transaction, and then it is seqs_committed() or seqs_rolled_back(), which
 * forgets what the batch changed, to be read again.
 *
 * Bounded: streams that were not used for long are forgotten beyond `bytes_max`,
 * and a stream in many pieces (SEQS_PIECES_MAX) is not held at all: its numbers
 * are looked up and claimed in the store one by one.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEQS_INSTANCE_BYTES 64
#define SEQS_PIECES_MAX 1024

struct seqs;

/* Calls return 0 or -errno. */
struct seqs_store {
    void *ctx;
    /* Every interval of the stream in rising order; stops at the first negative return of `each`
     * and returns it. */
    int (*load)(void *ctx, const char *instance, uint32_t part,
                int (*each)(void *each_ctx, uint64_t lo, uint64_t hi), void *each_ctx);
    int (*put)(void *ctx, const char *instance, uint32_t part, uint64_t lo, uint64_t hi);
    int (*drop)(void *ctx, const char *instance, uint32_t part, uint64_t lo);
    /* For streams that are not held: whether the number is there, and its own way in. */
    int (*has)(void *ctx, const char *instance, uint32_t part, uint64_t seq, bool *ret_has);
    int (*claim)(void *ctx, const char *instance, uint32_t part, uint64_t seq);
};

/* `store` is borrowed. */
int seqs_new(const struct seqs_store *store, size_t bytes_max,
             struct seqs **ret_seqs) LECTR_MUST_USE;
void seqs_free(struct seqs **seqs);

/* True when the number was not there yet; it is from now on. After a failure the batch must be
 * rolled back. */
int seqs_claim(struct seqs *q, unsigned lane, const char *instance, uint32_t part, uint64_t seq,
               bool *ret_is_new) LECTR_MUST_USE;
int seqs_save(struct seqs *q) LECTR_MUST_USE;
void seqs_committed(struct seqs *q);
void seqs_rolled_back(struct seqs *q);
/* Somebody else may write them from now on. */
void seqs_drop_lane(struct seqs *q, unsigned lane);
size_t seqs_bytes(const struct seqs *q);
