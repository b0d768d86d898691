/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/gaps.h"
#include "proto/base/clock.h"

static unsigned bucket_of(uint64_t us)
{
    unsigned octave, bucket;

    if (us < 4)
        return (unsigned)us;
    octave = 63 - (unsigned)__builtin_clzll(us);
    bucket = octave * 4 + (unsigned)(us >> (octave - 2) & 3) - 4;
    return bucket < GAP_BUCKETS ? bucket : GAP_BUCKETS - 1;
}

static uint64_t bucket_us(unsigned bucket)
{
    unsigned octave = (bucket + 4) / 4;

    if (bucket < 4)
        return bucket;
    return (4ULL + bucket % 4) << (octave - 2);
}

void gaps_add(struct gaps *g, uint64_t now_ns)
{
    if (g->last_ns) {
        uint64_t us = (now_ns - g->last_ns) / NSEC_PER_USEC;

        g->sum_us += us;
        g->count++;
        g->bucket[bucket_of(us)]++;
    }
    g->last_ns = now_ns;
}

void gaps_fill(const struct gaps *g, struct call_latency *l)
{
    uint32_t want = (uint32_t)(((uint64_t)g->count * 95 + 99) / 100), seen = 0;

    if (!g->count)
        return;
    l->mean_gap_us = opt_u64(g->sum_us / g->count);
    for (unsigned i = 0; i < GAP_BUCKETS; i++) {
        seen += g->bucket[i];
        if (seen >= want) {
            l->p95_gap_us = opt_u64(bucket_us(i));
            return;
        }
    }
}
