/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NATS, for the collector and lectrctl; bus*.c are the only users of nats.h there.
 *
 * What is consumed comes from one durable pull consumer of the whole contract, in
 * order, in lanes: all of it in lane 0; or, where several processes share the work,
 * lane n has what ends in part n, and each process has a consumer of its own, from
 * which it takes the lanes that it attached. A consumer for each part would be dear:
 * the server would look at every message for every part.
 *
 * A delivery that got lost on the way must never be passed over: deliveries are
 * counted, and at a hole, after a reconnect or at a take-over the consumer is made
 * anew from the first message that was not taken. Lane 0's consumer knows what that is by
 * its ack, one for the last message that was stored and all that came before it. Of
 * lanes that are shared the store knows, for it is another process's consumer next time.
 *
 * A connection that is lost is made again by the library, for ever.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define BUS_LANES 64
#define BUS_ERROR_BYTES 256
/* Asked for and not fetched yet, over all lanes. */
#define BUS_AHEAD_MAX 32768
/* The same in bytes, in the worst case of messages as large as the server allows. */
#define BUS_AHEAD_BYTES (64 * 1024 * 1024)
/* A batch that has so many bytes gets no further message. */
#define BUS_BATCH_BYTES ((size_t)64 * 1024 * 1024)

struct bus;
struct bus_batch;

struct bus_settings {
    const char *url;
    /* Files; "" or NULL: none. */
    const char *creds;
    const char *nkey_seed;            /* with the public key on a line of its own */
    const char *cert_file, *key_file; /* the client's own */
    const char *ca_file;              /* "" = no TLS but what the URL asks for */
    const char *stream;
    uint32_t stream_max_age_h; /* of a stream that is made; 0: no limit */
    uint64_t stream_max_bytes;
    const char *durable; /* beginning of the consumers' names */
    /* Several processes share the parts; this one's part of its consumer's name: never used
     * twice. NULL: lane 0 for all. */
    const char *share_id;
    const char *name; /* shown by the server */
};

struct bus_message {
    const char *subject;
    struct slice data;
    uint64_t stream_seq; /* position in the JetStream stream, 0 outside */
    unsigned lane;
    const char *reply;
};

/* -ECONNREFUSED and others while the server cannot be reached: try again. ret_error: why,
 * for a person; may be NULL. */
int bus_open(const struct bus_settings *settings, struct bus **ret_bus,
             char ret_error[BUS_ERROR_BYTES]) LECTR_MUST_USE;
void bus_close(struct bus **bus);
/* Text of the last failure. */
const char *bus_error(const struct bus *b);
bool bus_is_connected(const struct bus *b);

/* Makes the stream (lectr.v1.>) when it is absent. */
int bus_ensure_stream(struct bus *b) LECTR_MUST_USE;
/* Looks at the stream, and makes it when it is absent. */
int bus_look(struct bus *b) LECTR_MUST_USE;
/* When the stream was made, Unix nanoseconds, as it was looked at last: positions are of this one
 * only. It is looked at anew in bus_fetch() as well, never while a batch grows. */
int64_t bus_stream_made(const struct bus *b);

/* A message of the stream up to which all of a lane is stored. */
struct bus_position {
    uint64_t seq;    /* 0: none */
    int64_t time_ns; /* when the stream had it; 0: not known */
};

/* Takes over the lane. `taken`: of a lane that is shared, its position in the stream as bus_look()
 * found it; another message in its place, or none, shows that the stream lost its end: then it is
 * read from its beginning. Of a lane that is not: what another one has not acked comes first. */
int bus_attach(struct bus *b, unsigned lane, struct bus_position taken) LECTR_MUST_USE;
/* Where lanes are shared: to be stored with what was fetched. */
struct bus_position bus_position(const struct bus *b, unsigned lane);
/* All messages up to here were fetched or were of no lane that is attached. */
uint64_t bus_seen_seq(const struct bus *b);
/* When the stream had the last one of them, Unix. */
uint64_t bus_seen_ns(const struct bus *b);

struct bus_state {
    uint64_t cuts;    /* times that positions were none: the stream lost its end, or is another */
    uint64_t gone;    /* messages that the stream dropped before they were taken */
    uint64_t pending; /* messages behind the last one that was fetched */
};
void bus_get_state(const struct bus *b, struct bus_state *ret_state);
/* Stops to ask for messages of the lane and drops what is on its way. */
void bus_detach(struct bus *b, unsigned lane);
/* Begins a batch: up to `max` messages of the attached lanes. Waits up to wait_ms for the first
 * one. Messages are asked for only here and in bus_fetch_more: who does not fetch is not sent more
 * than BUS_AHEAD_MAX. The batch, and what its messages point to, is borrowed until the next call
 * or bus_batch_free. -errno: not connected, or a lane cannot be attached anew; try again. -EACCES:
 * the server refused something, see bus_error(). */
int bus_fetch(struct bus *b, int max, uint32_t wait_ms,
              struct bus_batch **ret_batch) LECTR_MUST_USE;
/* Adds up to `max` more to the batch; when none is there, waits linger_ms once. Nothing is added
 * while the connection is away or a lane is out of step, which bus_fetch mends. */
void bus_fetch_more(struct bus *b, int max, uint32_t linger_ms);
int bus_batch_count(const struct bus_batch *batch);
/* Borrowed from the batch. */
const struct bus_message *bus_batch_at(const struct bus_batch *batch, int index);
/* After the commit: all of the lane up to the last one in the batch, or up to bus_position. An ack
 * that gets lost only means that messages come again. */
void bus_ack(struct bus *b, const struct bus_batch *batch, unsigned lane);
/* Instead of an ack: what was fetched of the lane since comes again. */
void bus_give_back(struct bus *b, unsigned lane);
/* What the batch has is gone; its memory is kept for the next one. */
void bus_batch_free(struct bus *b);

/* Into the stream, once for each `id`; returns when the server has it. */
int bus_publish(struct bus *b, const char *subject, const char *id,
                struct slice data) LECTR_MUST_USE;
/* The same without waiting; bus_flush() waits for all of them and gives -EIO if one failed. */
int bus_publish_async(struct bus *b, const char *subject, const char *id,
                      struct slice data) LECTR_MUST_USE;
int bus_flush(struct bus *b, uint32_t wait_ms) LECTR_MUST_USE;

/* Live messages of a subject, without the stream. `each` runs on a thread of
 * the library, one message at a time. */
int bus_watch(struct bus *b, const char *subject,
              void (*each)(void *ctx, const struct bus_message *message), void *ctx) LECTR_MUST_USE;
