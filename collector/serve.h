/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP: the API, probes and /metrics. Sole microhttpd user. A thread for each
 * connection; one answer at a time is made from its reader of the store, probes
 * wait for none. Never writes.
 */
#pragma once

#include "collector/config.h"
#include "collector/deliver.h"
#include "collector/pipeline.h"
#include "proto/base/cleanup.h"

#define SERVE_CONNECTIONS_MAX 64
#define SERVE_ANSWER_BYTES_MAX (32 * 1024 * 1024)
/* With so much in answers that are still to be read no further one is made, but 503. */
#define SERVE_HELD_BYTES_MAX (128 * 1024 * 1024)

struct serve;

/* Both outlive it; `deliver` may be NULL. -EADDRINUSE and others, logged. */
int serve_start(const struct config *config, struct pipeline *pipeline, struct deliver *deliver,
                struct serve **ret_serve) LECTR_MUST_USE;
void serve_stop(struct serve **serve);
