/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "unusual pattern" score of every feature, for people who look at an alert:
 * each five minutes its cost goes through pattern.c. Pure, event time only.
 */
#pragma once

#include "proto/base/cleanup.h"

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
