/* SPDX-License-Identifier: Apache-2.0 */
/* What the table and its rules have no price for. */
#include "agent/price_table.h"

/* The tiers that a provider's answers may name. */
static const struct {
    const char *provider, *tier;
} TIERS[] = {
    {"openai", "batch"},       {"openai", "flex"},    {"openai", "priority"},
    {"azure", "batch"},        {"azure", "priority"}, {"anthropic", "batch"},
    {"anthropic", "priority"}, {"google", "batch"},   {"google", "flex"},
    {"google", "priority"},    {"groq", "batch"},     {"groq", "flex"},
    {"groq", "performance"},   {"mistral", "batch"},  {"aws", "batch"},
    {"aws", "flex"},           {"aws", "priority"},   {"x-ai", "batch"},
    {"deepseek", "batch"},     {"together", "batch"}, {"fireworks", "batch"},
};

/* Today's prices. */
static const struct price_period *last_period(const struct price_model *m)
{
    for (unsigned i = m->periods_count; i > 0; i--)
        if (!m->periods[i - 1].is_daily)
            return &m->periods[i - 1];
    return &m->periods[0];
}

static bool is_tier_priced(const struct price_table *t, const char *provider, const char *tier,
                           const struct price_model *m)
{
    static const struct price_dims DIMS[] = {
        {.family = FAMILY_TOKEN, .direction = DIRECTION_INPUT, .modality = MODALITY_TEXT},
        {.family = FAMILY_TOKEN, .direction = DIRECTION_OUTPUT, .modality = MODALITY_TEXT},
    };
    static const struct call NO_CALL;
    const struct price_period *period = last_period(m);

    for (size_t i = 0; i < sizeof(DIMS) / sizeof(DIMS[0]); i++) {
        const struct price *list = price_best(period->prices, period->count, &DIMS[i]);
        struct price_range range;
        const struct price_item item = {.table = t,
                                        .call = &NO_CALL,
                                        .provider = provider,
                                        .model = m,
                                        .name = m->id,
                                        .dims = &DIMS[i],
                                        .unix_s = UINT32_MAX,
                                        .tier = tier};

        if (list && price_item_range(&item, list, &range))
            return false;
    }
    return true;
}

static void report_tier(const struct price_table *t, const struct price_provider *p,
                        const char *tier, struct price_unpriced *ret)
{
    *ret = (struct price_unpriced){.provider = p->id, .tier = tier, .models = p->models_count};
    for (unsigned i = 0; i < p->models_count; i++)
        if (!is_tier_priced(t, p->id, tier, &p->models[i])) {
            if (ret->unpriced < PRICE_UNPRICED_NAMES)
                ret->name[ret->unpriced] = p->models[i].id;
            ret->unpriced++;
        }
}

static void report_provider(const struct price_provider *p, struct price_unpriced *ret)
{
    *ret = (struct price_unpriced){.provider = p->id, .tier = "", .models = p->models_count};
    for (unsigned i = 0; i < p->models_count; i++)
        if (last_period(&p->models[i])->count == 0) {
            if (ret->unpriced < PRICE_UNPRICED_NAMES)
                ret->name[ret->unpriced] = p->models[i].id;
            ret->unpriced++;
        }
}

void price_each_unpriced(const struct price_table *t,
                         void (*each)(void *ctx, const struct price_unpriced *found), void *ctx)
{
    struct price_unpriced found;

    for (unsigned i = 0; i < t->count; i++) {
        report_provider(&t->providers[i], &found);
        if (found.unpriced)
            each(ctx, &found);
    }
    for (size_t i = 0; i < sizeof(TIERS) / sizeof(TIERS[0]); i++) {
        const struct price_provider *p = price_provider_by_id(t, TIERS[i].provider);

        if (!p)
            continue;
        report_tier(t, p, TIERS[i].tier, &found);
        if (found.unpriced)
            each(ctx, &found);
    }
}
