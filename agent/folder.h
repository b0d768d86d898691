/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instance's folder of the spool: <spool>/<instance>/{lock, loss, *.seg}.
 *
 * `lock` is flocked by the process that works on the folder; a folder whose
 * lock is free is an orphan and may be adopted. Making, adopting and removing
 * are done under the flock of the spool directory itself, so that nobody meets
 * a half-made folder. `loss` is a mapped record of what had to be dropped and
 * has not been told yet: it outlives the process. Not thread-safe.
 */
#pragma once

#include "agent/segment.h"

/* Events dropped so far, and how many of them were told as a Gap. Both only
 * grow and each is one store, so a kill leaves a loss told, or to be told again
 * under the same name (instance and told_events). */
struct folder_loss {
    uint64_t lost_events, told_events;
    uint64_t first_wall_ns, last_wall_ns; /* of those not told */
    uint64_t last_seq; /* of the records in removed segments, and after adoption in all */
    uint64_t adopted;  /* not 0: last_seq is final */
};

struct folder {
    int dir_fd, lock_fd;
    char instance[EVENT_UUID_BYTES];
    struct folder_loss *loss;     /* mapped shared */
    struct segment *first, *last; /* in order of their records */
    uint64_t bytes;               /* of segment files */
    uint64_t torn;                /* damaged records or files met when it was read */
    struct folder *link;
};

/* A new, locked folder. The caller holds the spool directory's lock. */
int folder_create(int spool_fd, const char *instance, struct folder **ret_folder) LECTR_MUST_USE;
/* Takes over what a dead process left: -EBUSY while its process lives. Files
 * without a record, or not of this instance, are removed. The caller holds the
 * spool directory's lock. */
int folder_adopt(int spool_fd, const char *instance, struct folder **ret_folder) LECTR_MUST_USE;
/* Unmaps and unlocks; files stay. NULL-safe. */
void folder_free(struct folder **folder);
/* Removes an empty folder from disk, then frees it. The caller holds the spool
 * directory's lock. */
void folder_remove(int spool_fd, struct folder **folder);

void folder_link_segment(struct folder *f, struct segment *s);
/* Unlinks from the list, not from disk. */
void folder_unlink_segment(struct folder *f, struct segment *s);
/* Before its file is removed: its numbers stay known. */
void folder_note_seq(struct folder *f, const struct segment *s);
/* What an adopted folder's record says. 0: no folder. -EAGAIN: not adopted. */
int folder_last_seq(int spool_fd, const char *instance, uint64_t *ret_seq) LECTR_MUST_USE;
/* The segment that holds `seq`, or NULL. */
struct segment *folder_find(const struct folder *f, uint64_t seq);
