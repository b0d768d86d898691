/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that once could not be used and were kept aside: a newer version may
 * understand them. Those it does are taken in as if they came now, and removed in
 * the same transaction.
 */
#pragma once

#include "collector/intake.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

/* `lanes`: bit n is lane n; they are taken (intake_take_lane). */
struct again {
    struct intake *intake;
    struct store *store;
    uint64_t lanes;
};
/* After a failure the rest is as it was. */
int again_malformed(const struct again *again, uint64_t *ret_taken) LECTR_MUST_USE;
