/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lanes are this collector's.
 *
 * In PostgreSQL collectors come and go; each shows by a heartbeat (the database's
 * clock) that it lives, lanes are shared out evenly, and those of one who was not
 * seen for `ttl_ms` are taken over. Every taking makes a new epoch. A transaction
 * that writes for lanes calls lease_check() first: it fails with -ESTALE when one of
 * them is another's by now, and nobody can take them before it ends. So there is
 * never a second writer, whatever a clock or a pause does.
 *
 * In SQLite one process has everything; a second one is refused (-EBUSY).
 *
 * One thread takes turns; lease_check(), lease_held() and lease_name() may be called
 * by any.
 */
#pragma once

#include "collector/store.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define LEASE_ID_BYTES 48
#define LEASE_COLLECTORS_MAX 256

/* A set of lanes. */
struct lease_lanes {
    uint64_t parts; /* bit n: lane n */
    bool judge;     /* closes minutes, detects, publishes */
};

struct lease_settings {
    const char *id; /* of this process: never used twice; lease_make_id() */
    uint32_t ttl_ms;
};

struct lease;

/* Host, process and chance. */
void lease_make_id(char ret_id[LEASE_ID_BYTES]);

/* `store` is borrowed, and named (db_set_name). -EBUSY: another process has the file;
 * the text is in store_error(). */
int lease_new(struct store *store, const struct lease_settings *settings,
              struct lease **ret_lease) LECTR_MUST_USE;
/* Lets go of nothing: see lease_leave(). */
void lease_free(struct lease **lease);

struct lease_turn {
    struct lease_lanes gained;  /* load what the store has of them, and consume */
    struct lease_lanes lost;    /* another's: forget them; write and ack nothing */
    struct lease_lanes leaving; /* finish what was fetched, then lease_release() */
    unsigned collectors;        /* that are alive, this one included */
};

/* A lane is in one of the three at most. Heartbeat and a look at the lanes; outside transactions,
 * several times per ttl (lease_turn_ms()). On failure nothing has changed, and ret_turn is
 * untouched. */
int lease_turn(struct lease *l, struct lease_turn *ret_turn) LECTR_MUST_USE;
uint32_t lease_turn_ms(const struct lease *l);

/* A second connection of this process: it falls with the lease. */
int lease_name(const struct lease *l, struct store *store) LECTR_MUST_USE;

/* What is ours: with the lanes that are leaving. */
struct lease_lanes lease_held(struct lease *l);
/* Lanes of which nothing is in memory or on its way any more: others may take them. */
int lease_release(struct lease *l, struct lease_lanes lanes) LECTR_MUST_USE;
/* All of them at once, before the end. */
int lease_leave(struct lease *l) LECTR_MUST_USE;
/* A commit has failed and may have happened (-ENOTCONN): what is in memory may be wrong.
 * The next turn tells all lanes as lost; the one after it gains them again. */
void lease_doubt(struct lease *l);

/* First in a transaction of `store`, which may be a second connection. -ESTALE. */
int lease_check(struct lease *l, struct store *store, struct lease_lanes lanes) LECTR_MUST_USE;

/* --- the plan: pure --- */

struct lease_view {
    unsigned lanes;     /* of parts */
    unsigned alive, me; /* collectors; which one this is, below `alive` */
    /* Lane -> its owner below `alive`; LEASE_NOBODY: free, or of one who is dead. */
    int owner[STORE_PARTS];
};
#define LEASE_NOBODY (-1)

/* Bits of lanes to take and to give: everybody has lanes / alive of them, the first
 * lanes % alive collectors one more. */
void lease_plan(const struct lease_view *view, uint64_t *ret_take, uint64_t *ret_give);
