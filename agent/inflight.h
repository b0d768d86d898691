/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process has open, in a mapped file <state_dir>/inflight/<instance>
 * that outlives it: the file's lock is held while the process lives. Whoever
 * finds a file without its lock tells what was lost with the dead process.
 *
 * At most INFLIGHT_SLOTS connections; plain stores, no system calls.
 */
#pragma once

#include "agent/caller.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define INFLIGHT_SLOTS 16384

enum inflight_state {
    INFLIGHT_FREE,
    INFLIGHT_OPEN,
    INFLIGHT_ENDED, /* ended, but its verdict is not in the spool yet */
};

/* One connection. The owner of the connection writes it. */
struct inflight_slot {
    uint32_t state;
    uint32_t calls_open; /* calls begun whose event is not in the spool yet */
    uint32_t decided;    /* the connection's verdict was tallied */
    uint32_t noted;      /* … and the tally is in the spool */
    uint64_t start_wall_ns;
    char provider[32];
    struct caller caller;
};

struct inflight;

/* Makes the folder when absent. */
int inflight_open(const char *state_dir, const char *instance,
                  struct inflight **ret_inflight) LECTR_MUST_USE;
/* Removes the file when nothing is left in it. */
void inflight_close(struct inflight **inflight);

/* A cleared slot in state OPEN; NULL when all are taken. */
struct inflight_slot *inflight_take(struct inflight *i);
/* The connection is over. The slot is freed at once when its verdict was noted
 * and no call is open, else by inflight_note(). */
void inflight_end(struct inflight *i, struct inflight_slot *slot);
/* Every verdict tallied so far is in the spool now. */
void inflight_note(struct inflight *i);
/* Call now and then: the time up to which this process was alive. */
void inflight_beat(struct inflight *i, uint64_t wall_ns);

/* What a dead process left, added up per workload and provider. */
struct inflight_loss {
    char id[37]; /* the same loss has the same id */
    char provider[32];
    struct caller caller;
    uint64_t connections; /* open, or ended, without a verdict in the spool */
    uint64_t calls;
    uint64_t start_wall_ns; /* last sign of life */
};

/* Told of every loss; a negative answer keeps the file for another time. */
typedef int (*inflight_loss_fn)(void *user, const struct inflight_loss *loss);

/* Looks for files of dead processes; returns how many were adopted, or -errno. */
int inflight_adopt(const char *state_dir, inflight_loss_fn fn, void *user) LECTR_MUST_USE;
