/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment file of the spool: a header and whole records, mapped shared.
 *
 * A record is written first and committed by one store last, so a process
 * killed at any instant leaves it whole or absent; a checksum catches what a
 * dead kernel or disk leaves behind. Acks are marked in the file, so that
 * whoever takes the file over sends only what was not acked.
 *
 * The blocks are allocated when the file is made: a full disk is an error
 * there and never a SIGBUS here. Not thread-safe; the spool holds a lock.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"
#include "proto/event.h"

#define SEGMENT_MIN_BYTES (2 * EVENT_MAX_BYTES)
/* Kept free at the end of every segment for a Gap that tells a loss. */
#define SEGMENT_RESERVE_BYTES 2048
#define SEGMENT_NAME_BYTES 32

struct segment {
    uint8_t *map;
    size_t map_bytes;
    size_t used_bytes;
    uint64_t ordinal; /* its name; order within the folder */
    uint64_t first_seq;
    uint32_t count;     /* records, seq first_seq … first_seq + count - 1 */
    uint32_t queued;    /* of them not sent yet, or to be sent again */
    uint32_t in_flight; /* sent, no answer yet; the rest is acked */
    uint32_t next;      /* nothing queued below this index */
    uint32_t *offsets;
    uint8_t *states;
    uint32_t capacity; /* of both arrays */
    bool sealed;       /* takes no more records */
    struct segment *link;
};

/* Borrowed from the mapping: valid until the record is acked. */
struct segment_record {
    uint64_t seq;
    const char *subject;
    struct slice payload;
};

/* A new file <ordinal>.seg in `dir_fd`, its blocks allocated. -ENOSPC disk full. */
int segment_create(int dir_fd, uint64_t ordinal, size_t bytes,
                   struct segment **ret_segment) LECTR_MUST_USE;
/* Gives a created segment its identity; before the first append. */
void segment_begin(struct segment *s, const char *instance, uint64_t first_seq);
/* Maps a file left behind and reads it up to the first record that is not
 * whole; sealed. -ENODATA: no record was ever begun. -EBADMSG: not a segment of
 * `instance`. `ret_torn`: a record was there but damaged. */
int segment_open(int dir_fd, uint64_t ordinal, const char *instance, struct segment **ret_segment,
                 bool *ret_torn) LECTR_MUST_USE;
/* Unmaps and frees; the file stays. NULL-safe. */
void segment_free(struct segment **segment);
void segment_unlink(int dir_fd, uint64_t ordinal);
/* false when `name` is not a segment's. */
bool segment_parse_name(const char *name, uint64_t *ret_ordinal);

/* `seq` follows the last one. -ENOSPC does not fit; `use_reserve` may use the
 * bytes kept free. -ENOMEM. Nothing is written on failure. */
int segment_append(struct segment *s, uint64_t seq, const char *subject, struct slice payload,
                   bool use_reserve) LECTR_MUST_USE;

/* The first queued record, which becomes in flight; false when there is none. */
bool segment_take(struct segment *s, struct segment_record *ret_record);
/* Marks acked. Returns whether it was not before. */
bool segment_ack(struct segment *s, uint64_t seq);
/* In flight -> queued again. Returns whether it was in flight. */
bool segment_requeue(struct segment *s, uint64_t seq);
/* Everything in flight. */
void segment_requeue_all(struct segment *s);

static inline bool segment_holds(const struct segment *s, uint64_t seq)
{
    return seq >= s->first_seq && seq - s->first_seq < s->count;
}

static inline uint32_t segment_unacked(const struct segment *s)
{
    return s->queued + s->in_flight;
}
