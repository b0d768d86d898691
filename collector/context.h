/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "unusual pattern" score of every feature, for people who look at an alert:
 * each five minutes its cost goes through pattern.c. Pure, event time only.
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

/* Features with a score; further ones have none. */
#define CONTEXT_FEATURES_MAX 2000

struct context;

int context_new(struct context **ret_context) LECTR_MUST_USE;
void context_free(struct context **context);
/* What a minute cost, in parts as they come. -ENOMEM. */
int context_add(struct context *c, const char *org, const char *feature,
                double cost_usd) LECTR_MUST_USE;
/* The minute is over. */
void context_close(struct context *c, int64_t minute_s);
/* The highest score of the last hour, 0..1; negative: not known. */
double context_score(const struct context *c, const char *org, const char *feature);
/* Appends all there is / takes over what context_save() appended, into an empty one.
 * -EPROTO: of another version, or damaged. */
int context_save(const struct context *c, struct buf *out) LECTR_MUST_USE;
int context_load(struct context *c, struct slice bytes) LECTR_MUST_USE;
