/* SPDX-License-Identifier: Apache-2.0 */
/* An answer's numbers -> the call's reported numbers, disjoint rows and totals. */
#pragma once

#include "agent/answer.h"

/* Fills reported, usage, the totals, usage_reported and usage_final of `call`.
 * `repeats`: the numbers were told by an earlier answer; no rows are made.
 * Without usage: one unknown row for each direction that the profile counts. */
void usage_fill(const struct answer *a, bool stream, bool repeats, struct call *call);
