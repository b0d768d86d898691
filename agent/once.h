/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which events with a fixed id were told already, by whichever process of this
 * node: the newest ONCE_ROWS of them, in one mapped file <state_dir>/inflight/.once
 * that all proxies share, a dead one's successor and an orphan that drains
 * alike. Its lock is held from the look to the append, so no two tell the same;
 * a kill takes the lock away and leaves the event's promised number, and what
 * the dead process's spool came to says whether it was told.
 *
 * Nothing is told that cannot be written down here: without room on the disk,
 * or while another process is stopped within its moment, the event waits.
 *
 * Not known is: what more than ONCE_ROWS others were told after; and the end of a
 * process killed within its moment that had no in-flight file (no room on the
 * disk), once its spool was sent. Both are told again, under the same id.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define ONCE_ROWS 4096
#define ONCE_TOLD 1

struct once;

/* The number of the last event in a dead process's spool, 0 when nothing is
 * known of it; -EAGAIN: it is not known yet. */
typedef int (*once_last_fn)(void *user, const char *instance, uint64_t *ret_last_seq);

/* `instance` is this process's. A file that cannot be had now is no error: it is
 * tried again with each event. */
int once_open(const char *state_dir, const char *instance, once_last_fn last, void *user,
              struct once **ret_once) LECTR_MUST_USE;
void once_close(struct once **once);

/* ONCE_TOLD: the event with this id was told. 0: it is the caller's to tell; its
 * number is to be stored to *ret_cell before it is appended, and once_end()
 * follows at once. -EAGAIN, -ENOSPC, …: offer it again later. */
int once_begin(struct once *o, const char *id, uint64_t **ret_cell) LECTR_MUST_USE;
/* `told`: the event is in the spool. */
void once_end(struct once *o, bool told);

/* Call while a dead process's spool is still known: decides on what it had
 * promised. A failure: call again. */
int once_settle(struct once *o, const char *instance) LECTR_MUST_USE;
