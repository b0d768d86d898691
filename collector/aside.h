/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a batch adds beside its cells: gaps, coverage, and calls without a cost,
 * summed up so that the store is written once for each place and minute. Pure,
 * bounded by the batch.
 */
#pragma once

#include "collector/record.h"
#include "proto/base/cleanup.h"

struct aside;

int aside_new(struct aside **ret_aside) LECTR_MUST_USE;
void aside_free(struct aside **aside);
void aside_reset(struct aside *a);
/* A gap, coverage, or a call whose cost is not known. */
int aside_add(struct aside *a, unsigned lane, const struct record *rec) LECTR_MUST_USE;
/* `rec` is the first one of its kind, place and minute, with the sums of all; `calls` how many
 * there were. Stops at the first negative return and returns it. */
int aside_each(const struct aside *a,
               int (*each)(void *ctx, unsigned lane, const struct record *rec, uint64_t calls),
               void *ctx) LECTR_MUST_USE;
