/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How unusual is the latest sample of a series, of whatever kind? Four histograms
 * that learn as they go tell how surprising it is: the departure from the slow
 * mean, the fast mean, the value itself, and the level given the hour of the day.
 * A score is told only when an episode escalates beyond what went before it.
 *
 * Context for people, not a reason to page. Samples are equally spaced, five
 * minutes or more; no look-ahead, no prior knowledge of the range.
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_BINS_MAX 32
#define PATTERN_MEMORY_MAX 128
#define PATTERN_WARMUP_MAX 256

struct pattern_params {
    uint32_t bins;
    uint32_t warmup;       /* samples that set the first ranges; nothing is told for them */
    uint32_t memory;       /* samples that an episode must exceed, */
    float escalation;      /* by this */
    float slow, fast, day; /* weights of a sample in the means */
    float weight_value;    /* of the histogram of the value itself; the others have 1 */
};

/* What the collector uses everywhere; how it was chosen: tests/detect/README.md. */
extern const struct pattern_params pattern_params_frozen;

struct pattern;

/* `params` is borrowed. -ENOMEM, -EINVAL. */
int pattern_new(const struct pattern_params *params, struct pattern **ret_pattern) LECTR_MUST_USE;
void pattern_free(struct pattern **pattern);

/* The next sample, taken in `hour` of its day (0..23): its score in 0..1, 0 when
 * there is nothing to tell. Values that are not finite are left out, score 0. */
double pattern_feed(struct pattern *p, double value, unsigned hour);

/* The whole state, for this version of the program on this kind of machine: what is
 * loaded goes on bit for bit. `params` as in pattern_new(). Load: -EPROTO when the bytes
 * are of another version or damaged, -ENOMEM. */
int pattern_save(const struct pattern *p, struct buf *into) LECTR_MUST_USE;
int pattern_load(struct slice bytes, const struct pattern_params *params,
                 struct pattern **ret_pattern) LECTR_MUST_USE;
