/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lease of this process, kept up by a thread of its own with its own
 * connection: however long a batch takes, others see that it lives. Tells what was
 * gained and lost; the pipeline follows with the parts, the judge with its lane.
 */
#pragma once

#include "collector/config.h"
#include "collector/lease.h"
#include "proto/base/cleanup.h"

struct lanes;

/* Takes a first turn. -errno, logged; -EBUSY: another process has the store. */
int lanes_start(const struct config *config, struct lanes **ret_lanes) LECTR_MUST_USE;
/* Lets go of everything. */
void lanes_stop(struct lanes **lanes);

/* What to do first, second and third; a lane may be both lost and gained again. */
struct lanes_change {
    uint64_t lost;    /* forget it; write and ack nothing */
    uint64_t gained;  /* load it, and consume */
    uint64_t leaving; /* let go of it, then lanes_released() */
};
/* Since the last call. For the thread of the pipeline. */
void lanes_take_change(struct lanes *l, struct lanes_change *ret_change);
void lanes_released(struct lanes *l, uint64_t parts);
/* Whether this process judges. For the thread of the judge, which lets go of it when it
 * no longer is to; `ret_epoch` changes when it was lost meanwhile. */
bool lanes_may_judge(struct lanes *l, uint64_t *ret_epoch);
void lanes_judge_released(struct lanes *l);

/* Of every transaction, see store_set_fence(). Any thread. -ESTALE. */
int lanes_check(struct lanes *l, struct store *store, struct lease_lanes held) LECTR_MUST_USE;
/* A commit may have happened or not. Any thread. */
void lanes_doubt(struct lanes *l);
/* A connection of this process. */
int lanes_name(struct lanes *l, struct store *store) LECTR_MUST_USE;
/* This process, as the lease knows it. */
const char *lanes_id(const struct lanes *l);
/* How many collectors live, as of the last turn. */
unsigned lanes_collectors(struct lanes *l);
