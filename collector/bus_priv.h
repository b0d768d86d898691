/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by bus*.c only. */
#pragma once

#include "collector/bus.h"
#include "collector/bus_ref.h"

#include <nats/nats.h>
#include <stdatomic.h>

/* Requests of a lane that the server may be answering at a time: while one is served, the next
 * is there already. */
#define REQUESTS_MAX 2
#define CONSUMER_BYTES 160

struct request {
    uint32_t id;
    uint32_t left; /* messages it may still bring */
    uint64_t deadline_ns;
};

struct lane {
    bool is_wanted;
    bool is_ready;          /* its consumer is there and in step */
    bool is_torn;           /* a delivery was lost: the consumer is made anew */
    unsigned current;       /* which of the two names of its consumer */
    uint64_t next_delivery; /* the number that the next message must have */
    uint64_t acked_seq;     /* of the stream, by this process */
    uint64_t bytes_max;     /* of a request */
    uint64_t quiet_until_ns;
    struct request requests[REQUESTS_MAX]; /* oldest first */
    unsigned requests_count;
    int batch_end; /* behind its last message in the batch; 0: it has none there */
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
    natsSubscription *inbox; /* deliveries of all lanes */
    char inbox_prefix[64];
    natsSubscription *watch;
    void (*watch_each)(void *ctx, const struct bus_message *message);
    void *watch_ctx;
    uint64_t async_errors;  /* written by the library's threads */
    atomic_uint reconnects; /* likewise */
    unsigned reconnects_seen;
    bool is_per_part;
    struct lane lanes[BUS_LANES];
    unsigned lanes_wanted;
    uint32_t request_ids;
    int64_t stream_created; /* when the stream was made that the lanes know */
    struct bus_batch batch; /* memory of the one under way */
    char stream[128];
    int64_t stream_max_age_ns, stream_max_bytes;
    char durable[128];
    char error[256];
};

/* Keeps the text, gives the -errno. */
int bus_fail(struct bus *b, const char *what, natsStatus status);
/* Forgets the lanes. */
void bus_pull_close(struct bus *b);
