/* SPDX-License-Identifier: Apache-2.0 */
/* An answer's numbers -> the call's reported numbers, disjoint rows and totals. */
#pragma once

#include "agent/answer.h"

/* Fills reported, usage, the totals, usage_reported and usage_final of `call`.
 * `repeats`: an earlier answer told or promised the numbers; the rows count only when the call
 * amends that one, and the call is marked as late.
 * Without usage: one unknown row for each direction that the profile counts. */
void usage_fill(const struct answer *a, bool stream, bool repeats, struct call *call);
