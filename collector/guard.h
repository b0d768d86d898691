/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bound on names. Clients choose models and features, agents choose
 * organisations: what they choose must not grow the store, the detector and the
 * outputs without a limit. Of each organisation so many names are kept for each
 * dimension; a name beyond becomes "(other)" in that dimension only, so that no
 * call and no dollar is left out of a sum.
 *
 * First come, first kept: the names of the stored series are learned first, so
 * that a restart changes nothing. Pure. Holds eight bytes for each name.
 */
#pragma once

#include "collector/record.h"
#include "proto/base/cleanup.h"

#include <stdint.h>

#define GUARD_OTHER "(other)"

enum guard_dimension {
    GUARD_ORG, /* of the whole store; all others are of one organisation */
    GUARD_FEATURE,
    GUARD_PROVIDER,
    GUARD_MODEL,
    GUARD_WORKLOAD,
    GUARD_SERIES, /* combinations of the four */
    GUARD__COUNT,
};

struct guard_settings {
    uint32_t limits[GUARD__COUNT]; /* at least 1 each */
    uint32_t series_all;           /* of all organisations together */
    uint64_t seed;                 /* secret, or names could be made to collide */
};

struct guard_stats {
    uint32_t limit;
    uint32_t names;  /* of the organisation that has the most */
    uint32_t full;   /* organisations at the limit */
    uint64_t folded; /* records in which this dimension became "(other)" */
};

struct guard;

/* "feature", …: as in the settings, the API and the metrics. */
const char *guard_dimension_name(enum guard_dimension d);

int guard_new(const struct guard_settings *settings, struct guard **ret_guard) LECTR_MUST_USE;
void guard_free(struct guard **guard);
static inline void guard_cleanup_free(struct guard **guard)
{
    guard_free(guard);
}
#define CLEAN_GUARD __attribute__((cleanup(guard_cleanup_free)))

struct guard_names {
    const char *org, *feature, *provider, *model, *workload;
};
/* A series that is stored: its names are known, even beyond a limit (which then was larger).
 * `feature` and `model` NULL: of coverage, which has no series. Copied. -ENOMEM. */
int guard_learn(struct guard *g, const struct guard_names *names) LECTR_MUST_USE;

/* Rewrites what is beyond a limit. The empty name is always kept. `ret_first`: bit d is set when
 * this organisation met the limit of dimension d for the first time: time to say so. -ENOMEM. */
int guard_pass(struct guard *g, struct record *rec, uint32_t *ret_first) LECTR_MUST_USE;

/* Goes on counting from where `from` was. */
void guard_take_counts(struct guard *g, const struct guard *from);
void guard_get_stats(const struct guard *g, enum guard_dimension d, struct guard_stats *ret_stats);
