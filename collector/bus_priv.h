/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by bus*.c only. */
#pragma once

#include "collector/bus.h"
#include "collector/bus_ref.h"

#include <nats/nats.h>
#include <stdatomic.h>

/* Requests that the server may be answering at a time: while one is served, the next
 * is there already. */
#define REQUESTS_MAX 2
#define CONSUMER_BYTES 224

struct request {
    uint32_t id;
    uint32_t left; /* messages it may still bring */
    uint64_t deadline_ns;
};

struct reader {
    bool is_wanted;
    bool is_made;           /* by this process, see bus_attach */
    bool is_ready;          /* its consumer is there and in step */
    bool is_torn;           /* a delivery was lost: the consumer is made anew */
    unsigned current;       /* which of the two names of its consumer */
    uint64_t next_delivery; /* the number that the next message must have */
    uint64_t acked_seq;     /* of the stream, by this process */
    uint64_t bytes_max;     /* of a request */
    uint64_t quiet_until_ns;
    struct request requests[REQUESTS_MAX]; /* oldest first */
    unsigned requests_count;
};

/* The messages' content lies in blocks, one behind the other: the library's own memory of a
 * message is given back at once, while it is still at hand. */
struct block {
    char *data;
    size_t len, capacity;
};

struct bus_batch {
    struct bus_message *messages;
    int count, capacity;
    struct block *blocks;
    unsigned blocks_count, blocks_capacity;
    unsigned block; /* the one that is filled */
    size_t bytes;
};

struct bus {
    natsOptions *options;
    natsConnection *connection;
    jsCtx *js;
    natsSubscription *inbox; /* deliveries */
    char inbox_prefix[64];
    natsSubscription *watch;
    void (*watch_each)(void *ctx, const struct bus_message *message);
    void *watch_ctx;
    uint64_t async_errors;  /* written by the library's threads */
    atomic_uint reconnects; /* likewise */
    unsigned reconnects_seen;
    bool is_shared;
    struct part {
        bool is_wanted;
        uint64_t taken_seq;
    } parts[BUS_LANES]; /* where they are shared */
    uint64_t seen_seq;  /* of the stream: the latest delivery that was in order */
    struct reader reader;
    uint32_t request_ids;
    int64_t stream_created; /* when the stream was made that the positions are of */
    int64_t stream_consumers;
    uint64_t stream_last;   /* number of its last message */
    struct bus_batch batch; /* memory of the one under way */
    char stream[128];
    int64_t stream_max_age_ns, stream_max_bytes;
    char durable[192]; /* begins the consumer's names */
    char named[128];   /* as it is set */
    char error[BUS_ERROR_BYTES];
};

/* --- bus_batch.c --- */

/* Copies what the message has, with lane and stream_seq from `message`. -ENOMEM: unchanged. */
int batch_add(struct bus_batch *batch, natsMsg *msg, struct bus_message *message) LECTR_MUST_USE;
/* Empties it, keeps most of the memory. */
void batch_reset(struct bus_batch *batch);
void batch_fini(struct bus_batch *batch);

/* Keeps the text, gives the -errno. */
int bus_fail(struct bus *b, const char *what, natsStatus status);
/* Forgets the consumer. */
void bus_pull_close(struct bus *b);
