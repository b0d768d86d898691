/* SPDX-License-Identifier: Apache-2.0 */
/* The gaps between an answer's output events: their mean and 95th percentile. */
#pragma once

#include "agent/call.h"

#define GAP_BUCKETS 160 /* four to the doubling, in microseconds */

struct gaps {
    uint64_t last_ns, sum_us;
    uint32_t count;
    uint32_t bucket[GAP_BUCKETS];
};

/* Output was seen. */
void gaps_add(struct gaps *g, uint64_t now_ns);
void gaps_fill(const struct gaps *g, struct call_latency *l);
