/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NATS: sole nats.h user of the collector and of lectrctl.
 *
 * The collector reads the whole contract through one durable pull consumer with
 * explicit acks: a message that was not acked comes again. A connection that is
 * lost is made again by the library, for ever.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Messages that may be under way without an ack. */
#define BUS_ACKS_PENDING_MAX 20000

struct bus;
struct bus_batch;

struct bus_settings {
    const char *url;
    const char *creds;   /* file, "" = none */
    const char *ca_file; /* "" = no TLS but what the URL asks for */
    const char *stream;
    uint32_t stream_max_age_h; /* of a stream that is made; 0: no limit */
    uint64_t stream_max_bytes;
    const char *durable;
    const char *name; /* shown by the server */
};

struct bus_message {
    const char *subject;
    struct slice data;
    uint64_t stream_seq; /* position in the JetStream stream, 0 outside */
};

/* -ECONNREFUSED and others while the server cannot be reached: try again. */
int bus_open(const struct bus_settings *settings, struct bus **ret_bus) LECTR_MUST_USE;
void bus_close(struct bus **bus);
/* Text of the last failure. */
const char *bus_error(const struct bus *b);
bool bus_is_connected(const struct bus *b);

/* Makes the stream (lectr.v1.>) when it is absent. */
int bus_ensure_stream(struct bus *b) LECTR_MUST_USE;
/* The same, and the consumer. */
int bus_consume(struct bus *b) LECTR_MUST_USE;
/* Up to `max` messages; returns as soon as there are some, and with an empty
 * batch after wait_ms. -EIO: the consumer must be made again. */
int bus_fetch(struct bus *b, int max, uint32_t wait_ms,
              struct bus_batch **ret_batch) LECTR_MUST_USE;
int bus_batch_count(const struct bus_batch *batch);
/* Borrowed from the batch. */
struct bus_message bus_batch_at(const struct bus_batch *batch, int index);
/* After the commit. An ack that gets lost only means that the message comes again. */
void bus_batch_ack(struct bus_batch *batch);
void bus_batch_free(struct bus_batch **batch);
/* Messages of the stream not delivered or not acked yet. */
int bus_pending(struct bus *b, uint64_t *ret_pending) LECTR_MUST_USE;

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
