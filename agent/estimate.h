/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens from sizes. Pure: no clock, no files, no logging.
 *
 * For every model, provider, wire family and for all together there is a cell
 * per class of count: a linear model tokens = sizes · coefficients with the
 * coefficients' covariance and the noise's size, both relative to the size of
 * the call (a Kalman filter with Student-t weights, so that a freak report does
 * little). A new cell begins as a copy of the one above it, made less certain
 * by how much models differ; so one report of a new model already moves it, and
 * none leaves its provider's. Old reports fade.
 *
 * The interval is the 90 % predictive one (Student-t), widened or narrowed by a
 * factor per class that follows how often the truth was held lately (adaptive
 * conformal inference): what is learned is the coverage itself.
 *
 * Limits: ESTIMATE_ENTRIES_MAX entries; the longest unused one goes.
 */
#pragma once

#include "agent/call.h"
#include "agent/extent.h"
#include "proto/base/cleanup.h"

#define ESTIMATE_FEATURES 5
#define ESTIMATE_ENTRIES_MAX 320
#define ESTIMATE_NAME_MAX 96

enum estimate_class {
    ESTIMATE_INPUT,
    ESTIMATE_OUTPUT,        /* by size */
    ESTIMATE_OUTPUT_DELTAS, /* by the number of deltas: many send a token in each */
    ESTIMATE_CLASSES,
};

/* What the sizes of one call were. */
struct estimate_sizes {
    struct extent request, answer;
    bool request_whole, streaming;
};

struct estimate_range {
    double expected, low, high;
};

struct estimator;
int estimator_new(struct estimator **ret_estimator) LECTR_MUST_USE;
void estimator_free(struct estimator **estimator);

struct estimate_key {
    const char *api, *provider, *model; /* model: as answered, or as asked */
};

/* A call whose usage was reported whole. `reasoning` unknown: not said. */
struct estimate_report {
    struct opt_u64 input_tokens, output_tokens, reasoning_tokens;
};
void estimator_learn(struct estimator *e, const struct estimate_key *key,
                     const struct estimate_sizes *sizes, const struct estimate_report *report);

/* 0, or -ENODATA where nothing supports a number. */
int estimator_input(const struct estimator *e, const struct estimate_key *key,
                    const struct estimate_sizes *sizes,
                    struct estimate_range *ret_range) LECTR_MUST_USE;
/* Of what was seen. */
int estimator_output(const struct estimator *e, const struct estimate_key *key,
                     const struct estimate_sizes *sizes,
                     struct estimate_range *ret_range) LECTR_MUST_USE;
/* Reasoning that is billed and not shown. -ENODATA: there is none. */
int estimator_hidden(const struct estimator *e, const struct estimate_key *key,
                     const struct estimate_sizes *sizes,
                     struct estimate_range *ret_range) LECTR_MUST_USE;

/* As text, a line an entry, with a checksum in the last line: the same format
 * for what is shipped and for what was learned. The caller frees. */
#define ESTIMATE_FILE_MAX_BYTES (1024 * 1024)
int estimator_save(const struct estimator *e, char **ret_text, size_t *ret_len) LECTR_MUST_USE;
/* Replaces what the estimator knows; -EBADMSG for anything but a whole file
 * that estimator_save could have made, and then nothing is changed. */
int estimator_load(struct estimator *e, struct slice text) LECTR_MUST_USE;

struct estimator_stats {
    uint32_t entries;
    uint64_t learned, evicted;
    uint64_t measured, estimated; /* rows, as told by estimator_count */
};
void estimator_count(struct estimator *e, enum usage_source source);
void estimator_stats(const struct estimator *e, struct estimator_stats *ret_stats);
