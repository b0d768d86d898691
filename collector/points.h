/* SPDX-License-Identifier: Apache-2.0 */
/* A file of `timestamp,value` lines, as backtests take them. */
#pragma once

#include "proto/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

#define POINTS_MAX 10000000
#define POINTS_TEXT_MAX 32 /* of a timestamp */

struct point {
    int64_t time_s; /* Unix; without a zone UTC is taken */
    double value;
    char text[POINTS_TEXT_MAX]; /* the timestamp as it was written */
};

struct points {
    struct point *list;
    size_t count;
};

/* A first line that begins with "timestamp" is a heading; timestamps must rise.
 * "2026-01-31 12:00:00", with T, fraction, Z or +hh:mm, or Unix seconds.
 * -EINVAL for a line that is none, other -errno for the file; ret_error says
 * which, with file and line. */
int points_load(const char *path, struct points *ret_points, char *ret_error,
                size_t error_size) LECTR_MUST_USE;
void points_fini(struct points *p);
