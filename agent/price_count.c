/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/price_count.h"

#include "agent/price.h"
#include "agent/text.h"

#include <string.h>

static const char *const BASES[PRICE_BASES] = {
    "provider",     "table",         "supplement",    "free",
    "unknown_tier", "unknown_model", "unknown_usage", "unknown_unit",
};

const char *price_basis(unsigned index)
{
    return index < PRICE_BASES ? BASES[index] : NULL;
}

static void count_disagreement(struct price_counts *counts, const char *provider)
{
    for (unsigned i = 0; i < PRICE_COUNT_PROVIDERS_MAX; i++) {
        char *name = counts->disagreements[i].provider;

        if (!name[0] && i == PRICE_COUNT_PROVIDERS_MAX - 1)
            provider = "(other)";
        if (!name[0])
            text_copy(name, sizeof(counts->disagreements[i].provider), slice_str(provider));
        if (strcmp(name, provider) == 0 || i == PRICE_COUNT_PROVIDERS_MAX - 1) {
            counts->disagreements[i].calls++;
            return;
        }
    }
}

void price_count(struct price_counts *counts, const struct call *call)
{
    for (unsigned i = 0; i < PRICE_BASES && call->cost.basis; i++)
        counts->basis[i] += strcmp(call->cost.basis, BASES[i]) == 0;
    if (price_disagrees(&call->cost))
        count_disagreement(counts, call->provider);
}
