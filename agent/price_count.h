/* SPDX-License-Identifier: Apache-2.0 */
/* How costs came to be known, counted. */
#pragma once

#include "agent/call.h"

#define PRICE_BASES 8
/* Further providers are counted together as "(other)". */
#define PRICE_COUNT_PROVIDERS_MAX 16

struct price_counts {
    uint64_t basis[PRICE_BASES];
    /* Calls whose provider said a cost more than 1% off the table. */
    struct {
        char provider[32];
        uint64_t calls;
    } disagreements[PRICE_COUNT_PROVIDERS_MAX];
};

/* The bases of agent/price.h; NULL behind the last. */
const char *price_basis(unsigned index);
/* After price_call(). */
void price_count(struct price_counts *counts, const struct call *call);
