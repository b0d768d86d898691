/* SPDX-License-Identifier: Apache-2.0 */
/* The routes: a query in, text out. No sockets. */
#pragma once

#include "collector/config.h"
#include "collector/deliver.h"
#include "collector/exposed.h"
#include "collector/pipeline.h"
#include "collector/store.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"

struct api_request {
    const struct config *config;
    const struct pipeline_stats *stats;
    const struct deliver_stats *deliver; /* NULL: nothing is delivered */
    struct exposed *exposed;             /* NULL: every series is told apart */
    struct store *store;                 /* a reader */
    uint64_t wall_ns;
    /* A parameter of the query, NULL when it is not there. */
    const char *(*param)(void *ctx, const char *name);
    void *param_ctx;
};

struct api_route {
    const char *path;
    const char *content_type;
    /* 0, or -EINVAL with the complaint as text in `out`, or -errno. */
    int (*answer)(const struct api_request *req, struct buf *out);
    bool is_probe; /* looks at nothing but config, stats and wall_ns */
};

/* NULL: no such path. */
const struct api_route *api_find(const char *path);

/* In metrics.c: the Prometheus text format. */
int metrics_answer(const struct api_request *req, struct buf *out) LECTR_MUST_USE;
