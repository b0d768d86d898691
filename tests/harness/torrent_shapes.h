/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of the torrent look like: every way in which a number may be known or not. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SHAPE_ROWS_MAX 5

enum shape_source {
    SHAPE_REPORTED = 1,
    SHAPE_MEASURED = 2,
    SHAPE_ESTIMATED = 3,
};

struct shape_row {
    const char *kind, *modality, *unit; /* NULL ends the list; "" is left out */
    enum shape_source source;
    uint32_t max; /* 0: the count is absent */
};

enum shape_cost {
    SHAPE_COST_ABSENT,
    SHAPE_COST_EXACT,
    SHAPE_COST_RANGE,
    SHAPE_COST_FREE,
};

enum shape_totals {
    SHAPE_TOTALS_ABSENT,
    SHAPE_TOTALS_SUMS,
    SHAPE_TOTALS_ZERO,
    SHAPE_TOTALS_REPEATED, /* another call's: not counted here */
    SHAPE_TOTALS_NO_NEED,  /* absent, of an operation that spends nothing: known to be 0 */
};

struct shape {
    unsigned share; /* of all shares */
    const char *operation;
    uint32_t status;
    uint32_t outcome;         /* 0: absent */
    const char *error_type;   /* "" or absent in the message */
    const char *counted_type; /* what it is counted as; "": no error */
    enum shape_cost cost;
    const char *basis;
    enum shape_totals totals;
    bool has_ttft;
    struct shape_row rows[SHAPE_ROWS_MAX];
};

extern const struct shape shapes[];
extern const unsigned shapes_count;
