/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule of the file adds to an alert: its name, its sentence, its evidence. Pure. */
#pragma once

#include "collector/budget.h"
#include "collector/burn.h"
#include "proto/event.h"

#include <stdbool.h>
#include <stdint.h>

#define RULING_VALUES_MAX 10
#define RULING_VALUE_BYTES 128

/* Values of a dimension that were never seen before. */
struct ruling_values {
    char list[RULING_VALUES_MAX][RULING_VALUE_BYTES];
    uint32_t count; /* in the list */
    uint64_t total; /* of them, listed or not */
};

/* Evidence that is NULL is not of this kind of rule. Borrowed for the call. */
struct ruling {
    const struct alerting_rule *rule;
    const char *severity; /* "warning" */
    const struct burn_verdict *burn;
    const struct budget_verdict *budget;
    const struct ruling_values *values;
    char reason[600]; /* a sentence a person can read */
};

/* Messages of lectr.v1.Alert that a ruling fills. */
struct ruling_parts {
    Lectr__V1__Alert__BurnRate burn;
    Lectr__V1__Alert__Budget budget;
    Lectr__V1__Alert__FirstSeen first_seen;
    char *values[RULING_VALUES_MAX];
};

/* Points into `ruling` and `parts`, which have to live until the message is packed. */
void ruling_fill(const struct ruling *ruling, struct ruling_parts *parts,
                 Lectr__V1__Alert *message);
