/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process has open, in a mapped file <state_dir>/inflight/<instance>
 * that outlives it: the file's lock is held while the process lives. Whoever
 * finds a file without its lock tells what was lost with the dead process.
 *
 * At most INFLIGHT_SLOTS connections; plain stores, no system calls but for
 * the room of the first ones. Without room on the disk the table is of this
 * process alone, and a crash tells nothing.
 *
 * An event and the slot it concerns lie in two files, so a kill may come
 * between. Before the event is appended its number is promised to the slot;
 * whoever adopts the table asks what the dead process's spool had come to.
 */
#pragma once

#include "agent/caller.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define INFLIGHT_SLOTS 16384
#define INFLIGHT_TALLIES_MAX 8192
/* Of inflight_slot.calls: how many are open, above the number of an event. */
#define INFLIGHT_CALLS_SHIFT 48

enum inflight_state {
    INFLIGHT_FREE,
    INFLIGHT_OPEN,
    INFLIGHT_ENDED, /* ended, but its verdict is not in the spool yet */
};

/* One connection. The owner of the connection writes it. */
struct inflight_slot {
    uint32_t state;
    uint32_t decided; /* the connection's verdict was tallied: in this tally, from 1 */
    uint32_t noted;   /* … and the tally is in the spool */
    uint32_t pad;
    /* Calls begun whose event is not in the spool yet; one fewer if the event
     * with the number in the low bits (0: none) is. */
    uint64_t calls;
    uint64_t start_wall_ns;
    char provider[32];
    struct caller caller;
};

static inline uint32_t inflight_calls(const struct inflight_slot *slot)
{
    return (uint32_t)(slot->calls >> INFLIGHT_CALLS_SHIFT);
}

/* One store: the promise, if there was one, is kept. */
static inline void inflight_set_calls(struct inflight_slot *slot, uint32_t open)
{
    uint64_t word = (uint64_t)(open > UINT16_MAX ? UINT16_MAX : open) << INFLIGHT_CALLS_SHIFT;

    __atomic_store_n(&slot->calls, word, __ATOMIC_RELEASE);
}

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
/* Where the number of the event that tells a tally (from 1) is promised. */
uint64_t *inflight_tally(struct inflight *i, uint32_t tally);
/* False: there was no room, nobody will find it. */
bool inflight_is_kept(const struct inflight *i);
/* Connections that got no slot. */
uint64_t inflight_untracked(const struct inflight *i);
/* Every verdict tallied so far is in the spool now; the tallies begin anew. */
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

/* Whom an adoption asks and tells. A negative answer keeps the file for another
 * time; -EAGAIN is no error. */
struct inflight_adopter {
    /* Asked first: the process is dead, and its spool is known as long as its
     * file is there. */
    int (*settle)(void *user, const char *instance);
    /* The number of the last event in its spool, 0 when nothing is known of it. */
    int (*last)(void *user, const char *instance, uint64_t *ret_last_seq);
    /* Told of every loss. */
    int (*loss)(void *user, const struct inflight_loss *loss);
    void *user;
};

/* Looks for files of dead processes; returns how many were adopted, or -errno. */
int inflight_adopt(const char *state_dir, const struct inflight_adopter *a) LECTR_MUST_USE;
