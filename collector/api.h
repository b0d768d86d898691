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

#define API_PARAMS_MAX 4

struct api_route {
    const char *path;
    const char *content_type;
    /* 0, or -EINVAL with the complaint as api_complain() makes it in `out`, or -errno. */
    int (*answer)(const struct api_request *req, struct buf *out);
    bool is_probe;                      /* looks at nothing but config, stats and wall_ns */
    bool is_loose;                      /* takes any parameter, and looks at none */
    const char *params[API_PARAMS_MAX]; /* that it knows, NULL behind the last */
};

/* A parameter as it was sent; a value may be empty. */
struct api_param {
    struct slice name, value;
};

/* NULL: no such path. */
const struct api_route *api_find(const char *path);

/* The complaint as JSON, {"error":…,"parameter":…}: -EINVAL. `parameter` "" is left out. */
int api_complain(struct buf *out, const char *parameter, const char *problem) LECTR_MUST_USE;
/* What no route looks at: names it does not know, the same twice, NUL. 0 or a complaint. */
int api_check_params(const struct api_route *route, const struct api_param *params, unsigned count,
                     struct buf *out) LECTR_MUST_USE;

/* In metrics.c: the Prometheus text format. */
int metrics_answer(const struct api_request *req, struct buf *out) LECTR_MUST_USE;
