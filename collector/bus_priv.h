/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by bus*.c only. */
#pragma once

#include "collector/bus.h"
#include "collector/bus_ref.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

/* Requests that the server may be answering at a time: while one is served, the next
 * is there already. */
#define REQUESTS_MAX 2
#define CONSUMER_BYTES 224

struct request {
    uint32_t id;
    uint32_t asked,
        left; /* messages; those that it may still bring, as if one came after the other */
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
    uint64_t heard_ns;                     /* when its server answered last, or when it was made */
    uint64_t delivered_ns;                 /* when a message came last, or was looked for */
    uint64_t mend_from_ns;                 /* not made anew before */
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
        struct bus_position taken;
    } parts[BUS_LANES];       /* where they are shared */
    uint64_t marks_until;     /* the highest of their positions, as the consumer was made */
    struct bus_position seen; /* the latest delivery that was in order */
    struct bus_state state;
    struct reader reader;
    uint32_t request_ids;
    int64_t stream_created; /* when the stream was made that the positions are of */
    int64_t stream_consumers;
    uint64_t stream_first, stream_last; /* numbers of its messages */
    struct bus_batch batch;             /* memory of the one under way */
    char stream[128];
    int64_t stream_max_age_ns, stream_max_bytes;
    char durable[192]; /* begins the consumer's names */
    char named[128];   /* as it is set */
    char error[BUS_ERROR_BYTES];
    pthread_mutex_t denied_lock;
    char denied[200]; /* what the server has refused since it was told last */
};

/* --- bus_batch.c --- */

/* Copies what the message has, with lane and stream_seq from `message`. -ENOMEM: unchanged. */
int batch_add(struct bus_batch *batch, natsMsg *msg, struct bus_message *message) LECTR_MUST_USE;
/* Empties it, keeps most of the memory. */
void batch_reset(struct bus_batch *batch);
void batch_fini(struct bus_batch *batch);

/* Keeps the text, gives the -errno. */
int bus_fail(struct bus *b, const char *what, natsStatus status);
/* -EACCES, with the text, when the server has refused something since; else 0. */
int bus_tell_denied(struct bus *b, const char *what) LECTR_MUST_USE;

/* --- bus_consumer.c --- */

uint64_t bus_larger(uint64_t a, uint64_t b);
void bus_consumer_name(const struct bus *b, unsigned which, char ret_name[CONSUMER_BYTES]);
/* What is not there is as good. */
natsStatus bus_drop_consumer(struct bus *b, const char *name);
/* Positions from here on are of messages that the stream has lost. */
void bus_forget_from(struct bus *b, uint64_t seq);
/* The reader's consumer is there and in step, or -errno. */
int bus_ready_consumer(struct bus *b) LECTR_MUST_USE;

/* Forgets the consumer. */
void bus_pull_close(struct bus *b);
