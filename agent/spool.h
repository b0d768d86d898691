/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue between events and NATS: records in mapped segment files below
 * <state_dir>/spool, this process's own folder plus those of dead processes.
 *
 * Bounded: all segment files this process holds, adopted ones included, stay
 * within limit_bytes; an append beyond is refused and the caller says so with
 * spool_note_loss(). Every other call may come from any thread; appends and the
 * loss calls are the caller's to serialise.
 */
#pragma once

#include "agent/folder.h"

struct spool;

struct spool_options {
    const char *state_dir; /* made when absent */
    uint64_t limit_bytes;
    uint64_t segment_bytes; /* at most a quarter of the limit, at least SEGMENT_MIN_BYTES */
};

/* A record to send. Everything is borrowed until it is acked. */
struct spool_record {
    const char *instance;
    struct segment_record record;
};

struct spool_counts {
    uint64_t queued, in_flight;
    uint64_t bytes, limit_bytes;
    uint64_t adopted_folders;
    uint64_t torn; /* damaged records met in adopted folders */
};

/* Makes <state_dir>/spool/<instance>. Adopts nothing yet. */
int spool_open(const struct spool_options *options, const char *instance,
               struct spool **ret_spool) LECTR_MUST_USE;
/* What was not acked stays on disk for the next process; what is empty is removed. */
void spool_close(struct spool **spool);

/* Durable against the death of the process when it returns 0. `seq` is the last
 * one plus 1, from 1. `use_reserve`: for the Gap that tells a loss when nothing
 * else fits. -ENOSPC full (or the disk is), -EMSGSIZE. */
int spool_append(struct spool *s, uint64_t seq, const char *subject, struct slice payload,
                 bool use_reserve) LECTR_MUST_USE;

/* The next record to send, which becomes in flight; false when there is none, or
 * `window` records are in flight already. */
bool spool_take(struct spool *s, uint64_t window, struct spool_record *ret_record);
/* An unknown or acked record is let be, so an answer may come late or twice;
 * returns whether this was the first ack. */
bool spool_ack(struct spool *s, const char *instance, uint64_t seq);
/* To be sent again. */
void spool_requeue(struct spool *s, const char *instance, uint64_t seq);
void spool_requeue_all(struct spool *s);

/* Housekeeping, off the appending thread: removes what is acked, makes the next
 * segment ready. An adopted folder stays while <state_dir>/inflight has a file of
 * its name: whoever reads that asks for the folder's last number. */
void spool_tend(struct spool *s);
/* Takes over folders whose process is dead. -EAGAIN: another process is at it. */
int spool_adopt(struct spool *s) LECTR_MUST_USE;

/* The number of the last event in a dead process's folder, sent and removed ones
 * included; 0 when there is no such folder. -EAGAIN: nobody has adopted it yet. */
int spool_last_seq(struct spool *s, const char *instance, uint64_t *ret_seq) LECTR_MUST_USE;

/* One more event had to be dropped. */
void spool_note_loss(struct spool *s, uint64_t wall_ns);
/* A loss nobody has told yet, of this process or an adopted one. */
bool spool_find_loss(struct spool *s, const char **ret_instance, struct folder_loss *ret_loss);
/* That loss was appended as an event. */
void spool_loss_told(struct spool *s, const char *instance, const struct folder_loss *loss);

void spool_count(struct spool *s, struct spool_counts *ret_counts);
