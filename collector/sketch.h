/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mergeable quantile sketch over non-negative integers (microseconds here).
 *
 * Values fall into buckets whose bounds grow by gamma = (1 + a) / (1 - a) with
 * a = SKETCH_RELATIVE_ERROR, so every quantile is within 1% of a value that was
 * really there, whatever was merged with whatever, in any order. Count and sum
 * are exact. Values of at most 1 share bucket 0; values beyond 2^40 (12 days in
 * microseconds) share the last one.
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKETCH_RELATIVE_ERROR 0.01
#define SKETCH_BUCKETS 1400
/* Bound of an encoded sketch: header plus two varints for each bucket. */
#define SKETCH_ENCODED_MAX (32 + SKETCH_BUCKETS * 12)

struct sketch_bin {
    uint32_t bucket;
    uint32_t calls;
};

/* Zeroed memory is an empty sketch. Most have few buckets: those are a sorted list. */
struct sketch {
    uint64_t count;
    uint64_t sum;
    union {
        struct sketch_bin *few; /* while there are no places */
        uint64_t *bins;         /* buckets first .. first + places - 1 */
    };
    uint16_t first, places;
    uint16_t few_count, few_room;
};

void sketch_fini(struct sketch *s);
/* Empties it, keeps the memory. */
void sketch_reset(struct sketch *s);
/* -ENOMEM; unchanged on failure. */
int sketch_add(struct sketch *s, uint64_t value) LECTR_MUST_USE;
int sketch_merge(struct sketch *into, const struct sketch *from) LECTR_MUST_USE;
/* q in 0..1. Returns 0 for an empty sketch: ask count first. */
double sketch_quantile(const struct sketch *s, double q);
/* What stands for the values of a bucket. */
double sketch_bucket_value(uint32_t index);
/* How many values lie above / at or below `bound`, to the width of a bucket. */
uint64_t sketch_count_above(const struct sketch *s, double bound);

/* Bytes allocated for it. */
size_t sketch_bytes(const struct sketch *s);

/* The buckets that have something, rising: `while (sketch_walk(s, &w))`, from a zeroed one.
 * The sketch may not change meanwhile. */
struct sketch_walk {
    uint32_t next; /* the walk's own */
    uint32_t bucket;
    uint64_t calls;
};
bool sketch_walk(const struct sketch *s, struct sketch_walk *w);

/* Appends the encoding; an empty sketch encodes to nothing. */
int sketch_encode(const struct sketch *s, struct buf *b) LECTR_MUST_USE;
/* Adds what `data` encodes. -EBADMSG for a damaged encoding: unchanged. -ENOMEM: `into` may
 * hold part of it. */
int sketch_decode_merge(struct sketch *into, struct slice data) LECTR_MUST_USE;
