/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of series, and of what happens to them, that the detector is judged on. */
#pragma once

#include "tests/detect/traffic.h"

#include <stddef.h>

struct event_kind {
    const char *name;
    enum traffic_kind kind;
    double factor;
    int64_t length_min;    /* 0: stays */
    int64_t bounds_min[3]; /* told within these */
    int64_t watch_min;     /* what is told until then counts as told about it */
    bool drops_only;       /* anything but a drop is a false alarm */
};

extern const struct traffic_class traffic_classes[];
extern const size_t traffic_classes_count;
extern const struct event_kind event_kinds[];
extern const size_t event_kinds_count;
