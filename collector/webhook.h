/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP POSTs to receivers, some at once. Sole curl user of the collector. One
 * thread owns it; webhook_wake() may be called by any.
 *
 * Certificates are verified, redirects are not followed (their status is what is
 * told), an answer is read up to WEBHOOK_ANSWER_BYTES_MAX and forgotten but for
 * its first words, and every attempt ends by its timeout.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

#define WEBHOOK_ANSWER_BYTES_MAX (64 * 1024)
#define WEBHOOK_PLACE_BYTES 280
#define WEBHOOK_TEXT_BYTES 200
/* A longer wish of the receiver's is cut to this. */
#define WEBHOOK_RETRY_AFTER_MAX_S 3600

struct webhook;

/* Copied by webhook_start(). */
struct webhook_post {
    const char *url;     /* http or https; user and password in it are basic authentication */
    const char *ca_file; /* NULL or "": the system's */
    const char *const *headers; /* "Name: value", without line breaks */
    unsigned headers_count;
    struct slice body;
    uint32_t timeout_ms;
};

struct webhook_result {
    unsigned status; /* of the answer; 0: there was none */
    uint32_t retry_after_s;
    /* What went wrong, or the first words of the answer; no part of the URL but the host. */
    char text[WEBHOOK_TEXT_BYTES];
};

int webhook_new(unsigned at_once, struct webhook **ret_webhook) LECTR_MUST_USE;
/* What is under way is broken off. */
void webhook_free(struct webhook **webhook);
/* -EBUSY: as many as may be are under way. -EINVAL: not a URL, or a header with a line break. */
int webhook_start(struct webhook *w, const struct webhook_post *post, uint64_t tag) LECTR_MUST_USE;
unsigned webhook_under_way(const struct webhook *w);
/* Works until something is done or wait_ms are over; `done` once for each that is. */
void webhook_turn(struct webhook *w, uint32_t wait_ms,
                  void (*done)(void *ctx, uint64_t tag, const struct webhook_result *result),
                  void *ctx);
void webhook_wake(struct webhook *w);

/* "https://host:port": what may be logged of a URL. Path, query and user may be secrets. */
void webhook_place(const char *url, char ret_place[WEBHOOK_PLACE_BYTES]);
