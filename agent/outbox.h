/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers events, packs them and appends them to the spool; tells what had to
 * be dropped. Knows nothing of NATS. Thread-safe.
 *
 * One sequence per agent instance numbers its Calls, Gaps and Coverages alike,
 * from 1 without a hole. A dropped event takes no number.
 */
#pragma once

#include "agent/spool.h"

struct outbox;
struct config;

struct outbox_counts {
    uint64_t appended, dropped;
};

/* A new instance. -ENAMETOOLONG: config->org does not fit a subject. */
int outbox_open(const struct config *config, struct outbox **ret_outbox) LECTR_MUST_USE;
/* Tells untold losses out of the spool's reserve, then closes the spool. */
void outbox_close(struct outbox **outbox);

const char *outbox_instance(const struct outbox *o);
struct spool *outbox_spool(struct outbox *o);

/* As publish_call() and its siblings in agent/publish.h. */
int outbox_call(struct outbox *o, Lectr__V1__Call *call) LECTR_MUST_USE;
int outbox_gap(struct outbox *o, Lectr__V1__Gap *gap) LECTR_MUST_USE;
int outbox_coverage(struct outbox *o, Lectr__V1__Coverage *coverage) LECTR_MUST_USE;

/* As publish_promise() in agent/publish.h. */
void outbox_promise(struct outbox *o, uint64_t *cell, uint64_t base);
/* As publish_attempt() in agent/publish.h. */
void outbox_attempt(struct outbox *o, uint64_t *cell);
/* Appends a Gap for every loss not told yet, as far as there is room. */
void outbox_tell_losses(struct outbox *o);
/* A stored event that the server will never take. */
void outbox_note_refused(struct outbox *o);

void outbox_count(struct outbox *o, struct outbox_counts *ret_counts);
