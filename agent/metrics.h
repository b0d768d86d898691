/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics (Prometheus text), /healthz and /readyz on a listening socket of
 * the proxy. At most METRICS_CLIENTS_MAX clients at once, one request of at
 * most METRICS_REQUEST_BYTES each, METRICS_CLIENT_MS to make it.
 */
#pragma once

#include "agent/loop.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"

#define METRICS_CLIENTS_MAX 32
#define METRICS_REQUEST_BYTES 4096
#define METRICS_TEXT_MAX_BYTES (256 * 1024)
#define METRICS_CLIENT_MS 5000

struct metrics;

struct metrics_source {
    /* Appends the Prometheus text. */
    int (*write)(void *user, struct buf *out);
    /* NULL when ready, else why not. */
    const char *(*not_ready)(void *user);
    void *user;
};

/* "127.0.0.1:9463" or "[::1]:9463" -> a listening, non-blocking socket.
 * -EINVAL: not such an address. */
int metrics_listen(const char *address, int *ret_fd) LECTR_MUST_USE;
/* Takes the socket over. */
int metrics_new(struct loop *loop, int fd, const struct metrics_source *source,
                struct metrics **ret_metrics) LECTR_MUST_USE;
void metrics_free(struct metrics **metrics);
/* Ends clients that took too long. */
void metrics_tick(struct metrics *m, uint64_t now_ms);

/* One sample; `labels` is NULL or `reason="ech"`. HELP and TYPE come with the
 * first sample of a name, so samples of one name stand together. */
struct metrics_sample {
    const char *name, *type, *help, *labels;
    uint64_t value;
};
int metrics_sample(struct buf *out, const struct metrics_sample *sample,
                   const char **last_name) LECTR_MUST_USE;
