/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the collector keeps: in one SQLite file, or in PostgreSQL, where several
 * collectors share the work.
 *
 * Everything that a batch of messages changed, the numbers of the messages
 * included, is one transaction between store_begin() and store_commit(); a message
 * is acked after that. Who only reads opens the store for itself
 * (store_open_reader) and sees whole transactions only.
 *
 * A lane is what one writer owns at a time: rows that are summed up carry their
 * lane and are merged when they are read. See store_lane.h.
 *
 * Functions return 0 or -errno: -EIO for what the database reports, -ENOTCONN
 * when it is away, -EAGAIN when the transaction has to be tried again; the text is
 * in store_error(). Inside a transaction the failure of a write may be told by a
 * later call, store_commit() at the latest.
 */
#pragma once

#include "collector/record.h"
#include "collector/rollup.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_SCHEMA_VERSION 4
/* Parts of the subject space; numbers of parts are below. */
#define STORE_PARTS 64
/* Malformed messages that are remembered; all are counted. */
#define STORE_MALFORMED_MAX 1000
#define STORE_MALFORMED_BYTES_MAX (64 * 1024)
/* Reasons of gaps that are told apart in an organisation, first come, first kept; the rest are
 * "(other)". */
#define STORE_REASONS_MAX 64
/* Models without a cost that are told apart in a minute; the rest are "(other)". */
#define STORE_UNPRICED_MAX 200

struct store;

/* `where` is a path or postgresql://... Creates or migrates forward. -ENOTSUP: written
 * by a newer version. Why it failed is in store_error(NULL), for this thread. */
int store_open(const char *where, struct store **ret_store) LECTR_MUST_USE;
int store_open_reader(const char *where, struct store **ret_store) LECTR_MUST_USE;
void store_close(struct store **store);
static inline void store_cleanup_close(struct store **store)
{
    store_close(store);
}
#define CLEAN_STORE __attribute__((cleanup(store_cleanup_close)))
/* Text of the last failure; valid until the next call. */
const char *store_error(const struct store *s);

int store_begin(struct store *s) LECTR_MUST_USE;
/* Asked at the beginning of every transaction: a negative return ends it, and is
 * store_begin()'s. */
void store_set_fence(struct store *s, int (*fence)(void *ctx, struct store *s), void *ctx);
/* -ENOTCONN: it may have happened all the same. What is in memory is then no copy of
 * the store any more; see lease_doubt(). */
int store_commit(struct store *s) LECTR_MUST_USE;
void store_rollback(struct store *s);

/* --- numbers of messages: (instance, part, seq), kept for ever as intervals --- */

/* Of a stream that nobody has in memory: true when this number was not there yet; it is from now
 * on. */
int store_claim(struct store *s, const char *instance, uint32_t part, uint64_t seq,
                bool *ret_is_new) LECTR_MUST_USE;

int store_has_seq(struct store *s, const char *instance, uint32_t part, uint64_t seq,
                  bool *ret_has) LECTR_MUST_USE;

struct store_loss {
    uint64_t streams;  /* (instance, part) pairs */
    uint64_t received; /* numbers that are there */
    uint64_t missing;  /* numbers below the highest of their stream that are not */
};
int store_loss(struct store *s, struct store_loss *ret_loss) LECTR_MUST_USE;
/* Every hole: first and last missing number of a stream. */
struct store_hole {
    const char *instance;
    uint32_t part;
    uint64_t first, last;
};
int store_each_hole(struct store *s, unsigned limit,
                    int (*each)(void *ctx, const struct store_hole *hole),
                    void *ctx) LECTR_MUST_USE;

/* --- writing --- */

/* Once for each position in the JetStream stream, however often it is delivered; what has the
 * number of another message is of a stream made anew, and told apart by more than 2^48.
 * The first STORE_MALFORMED_BYTES_MAX bytes are kept, so that a newer version can try again. */
struct store_malformed {
    uint64_t stream_seq;
    const char *subject;
    const char *reason;
    size_t bytes; /* of the message */
    struct slice payload;
};
int store_add_malformed(struct store *s, int64_t lane,
                        const struct store_malformed *m) LECTR_MUST_USE;
/* Those that are kept, beyond `after_seq`, oldest first. */
int store_each_malformed(struct store *s, uint64_t after_seq, unsigned limit,
                         int (*each)(void *ctx, const struct store_malformed *m),
                         void *ctx) LECTR_MUST_USE;
/* One that was understood at last; it stays counted. */
int store_remove_malformed(struct store *s, uint64_t stream_seq) LECTR_MUST_USE;

/* Small durable numbers: counters and marks, the sum over the lanes. Absent reads as 0. */
int store_number_get(struct store *s, const char *name, int64_t *ret_value) LECTR_MUST_USE;
int store_number_set(struct store *s, const char *name, int64_t value) LECTR_MUST_USE;
/* Two lanes never wait for each other here. */
int store_number_add_lane(struct store *s, int64_t lane, const char *name,
                          int64_t by) LECTR_MUST_USE;
/* Set, once for a lane and a name in a row of calls with no other statement between them. */
int store_number_put_lane(struct store *s, int64_t lane, const char *name,
                          int64_t value) LECTR_MUST_USE;
/* Of this lane alone. */
int store_number_get_lane(struct store *s, int64_t lane, const char *name,
                          int64_t *ret_value) LECTR_MUST_USE;

/* Sketches and tallies of roll-ups that this process could not read, and passed over: the sums
 * beside them stand. */
uint64_t store_damaged(void);

/* --- alerts: one row per transition --- */

struct store_alert {
    const char *id;
    const char *fingerprint;
    int status; /* lectr.v1.Alert.Status */
    const char *org;
    const char *kind; /* names the subject */
    int64_t at_ns;
    struct slice payload; /* lectr.v1.Alert */
    int64_t row;          /* set when read */
};
/* An id that is there already is left as it is. */
int store_add_alert(struct store *s, const struct store_alert *alert) LECTR_MUST_USE;
/* By rising row, beyond `after_row`. */
int store_each_unpublished_alert(struct store *s, int64_t after_row, unsigned limit,
                                 int (*each)(void *ctx, const struct store_alert *alert),
                                 void *ctx) LECTR_MUST_USE;
int store_count_unpublished_alerts(struct store *s, uint64_t *ret_count) LECTR_MUST_USE;
/* In a transaction, before reading what it will answer: nobody else adds an alert before its end.
 */
int store_lock_alerts(struct store *s) LECTR_MUST_USE;
/* The last transition of an episode; `each` is not called when there is none. */
int store_last_alert(struct store *s, const char *fingerprint,
                     int (*each)(void *ctx, const struct store_alert *alert),
                     void *ctx) LECTR_MUST_USE;
int store_set_alert_published(struct store *s, int64_t row) LECTR_MUST_USE;
/* It is not published and never will be. */
int store_set_alert_given_up(struct store *s, int64_t row) LECTR_MUST_USE;
/* The last transition of every episode that is not over, by fingerprint. They are read some at a
 * time; of transitions `each` may only add such that end an episode. */
int store_each_active(struct store *s, int (*each)(void *ctx, const struct store_alert *alert),
                      void *ctx) LECTR_MUST_USE;
/* Newest first; `active_only`: the last transition of each episode, when not resolved. */
int store_each_alert(struct store *s, int64_t since_ns, bool active_only, unsigned limit,
                     int (*each)(void *ctx, const struct store_alert *alert),
                     void *ctx) LECTR_MUST_USE;

/* --- what the detectors know, in parts; `at_s`: minutes before it are in --- */

/* One of the same name is replaced. A state counts when its last part is there. */
int store_put_baseline(struct store *s, int64_t at_s, unsigned part, bool is_last,
                       struct slice payload) LECTR_MUST_USE;
/* In their order. */
int store_each_baseline(struct store *s, int64_t at_s, int (*each)(void *ctx, struct slice payload),
                        void *ctx) LECTR_MUST_USE;
/* Whole states at or before `until_s`, newest first, at most `limit`. */
int store_find_baselines(struct store *s, int64_t until_s, unsigned limit, int64_t *ret_at_s,
                         unsigned *ret_count) LECTR_MUST_USE;
/* Deletes those with from_s <= at_s < to_s. */
int store_drop_baselines(struct store *s, int64_t from_s, int64_t to_s) LECTR_MUST_USE;
