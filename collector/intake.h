/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a batch -> what they change in the store. Coordinates ingest, seqs,
 * guard, series, rollup, cells and the store; knows nothing of the bus.
 *
 * A batch is taken in memory first; then one transaction writes all of it, or
 * nothing: numbers of messages, cells, gaps, coverage, calls. What is held in
 * memory between batches is what the store has, of the lanes that are taken.
 */
#pragma once

#include "collector/config.h"
#include "collector/guard.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/clock.h"
#include "proto/base/slice.h"

#define INTAKE_LANES 64

/* What ended later than this from now is set aside: nothing would ever delete it. */
#define INTAKE_AHEAD_MAX_NS (24 * 3600 * NSEC_PER_SEC)

struct intake;

struct intake_message {
    const char *subject; /* borrowed until the batch has ended */
    struct slice data;
    uint64_t stream_seq;
    unsigned lane;
};

/* Of one batch. */
struct intake_counts {
    uint64_t calls, gaps, coverages, others, duplicates, malformed;
};

/* Reads the names that the store has. `config` and `store` are borrowed. */
int intake_new(const struct config *config, struct store *store,
               struct intake **ret_intake) LECTR_MUST_USE;
void intake_free(struct intake **intake);

/* The lane is this process's from now on. */
int intake_take_lane(struct intake *in, unsigned lane) LECTR_MUST_USE;
/* Not any more: what is known of it is forgotten. */
void intake_drop_lane(struct intake *in, unsigned lane);

/* Between begin and commit or roll_back: messages, then write once. A negative return, from the
 * store or for want of memory: roll back, and give the same messages again. */
void intake_begin(struct intake *in);
int intake_message(struct intake *in, const struct intake_message *message) LECTR_MUST_USE;
/* What needs no transaction, or one of its own: reads, and the numbers of new series. */
int intake_prepare(struct intake *in) LECTR_MUST_USE;
/* Into the transaction that the caller began. */
int intake_write(struct intake *in) LECTR_MUST_USE;
void intake_commit(struct intake *in);
void intake_roll_back(struct intake *in);

void intake_get_counts(const struct intake *in, struct intake_counts *ret_counts);
/* Minutes in which calls of the batch ended, after intake_prepare(): each once for a series. */
int intake_each_minute(struct intake *in, int (*each)(void *ctx, int64_t minute_s, uint64_t calls),
                       void *ctx) LECTR_MUST_USE;
/* Latest end of a call of the batch, 0 without any. */
uint64_t intake_latest_ns(const struct intake *in);
/* How names are bounded. */
const struct guard *intake_guard(const struct intake *in);
