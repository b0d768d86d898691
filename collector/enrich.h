/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stored roll-ups add to an alert: where the deviation comes from
 * (attribution.h, against the day, in UTC, before the one in which the window begins),
 * since when it departs, how many calls have no cost.
 */
#pragma once

#include "collector/alert.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

/* Before the window it is looked so far for the beginning. */
#define ENRICH_ONSET_MIN 60

/* Fills parts, onset_s, cost_unknown and what limits them. */
int enrich_alert(struct store *s, struct alert *alert) LECTR_MUST_USE;
