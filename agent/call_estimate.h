/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the provider reported, the estimator learns; where it did not, the
 * call's rows get counts with a range:
 *
 *   input      ESTIMATED, from the request's sizes; unknown when media, a tool
 *              of the provider's or a context kept there feed the model too
 *   output     MEASURED, from what passed; of a cut stream what had passed when
 *              it was cut. A provisional number of the provider's is its floor.
 *   reasoning  ESTIMATED, where the model is known to think out of sight
 *
 * Only calls that an answer of 2xx shows to have been accepted, of operations
 * that generate text; free, repeated and refused ones never. Where no output
 * passed, output stays unknown. Totals hold what was reported only: the rows
 * carry the estimates.
 */
#pragma once

#include "agent/estimate.h"
#include "agent/reply.h"

/* Whether the bodies of the operation are measured. */
bool call_is_measured(const struct profile_operation *op);

/* `call` is filled but for its cost; `e` may be NULL. */
void call_estimate(struct estimator *e, const struct ask *ask, const struct reply *reply,
                   struct call *call);
