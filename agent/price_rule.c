/* SPDX-License-Identifier: Apache-2.0 */
/* What an item costs by the table and by the rules of the supplement. */
#include "agent/price_table.h"

#include <fnmatch.h>

/* Told in the usage alone; each has a price of its own. */
static const struct {
    const char *path, *value;
} MODIFIERS[] = {{"speed", "fast"}, {"inference_geo", "us"}};

/* How many dimensions the price names; -1 when one of them is not the row's. */
static int dims_fit(const struct price_dims *price, const struct price_dims *row)
{
    const uint8_t wants[] = {price->direction, price->type, price->modality, price->ttl};
    const uint8_t has[] = {row->direction, row->type, row->modality, row->ttl};
    int named = 0;

    if (price->family != row->family)
        return -1;
    for (size_t i = 0; i < sizeof(wants); i++) {
        if (wants[i] && wants[i] != has[i])
            return -1;
        named += wants[i] != 0;
    }
    return named;
}

const struct price *price_best(const struct price *prices, unsigned count,
                               const struct price_dims *dims)
{
    const struct price *best = NULL;
    int best_fit = -1;

    for (unsigned i = 0; i < count; i++) {
        int fit = dims_fit(&prices[i].unit->dims, dims);

        if (fit > best_fit) {
            best_fit = fit;
            best = &prices[i];
        }
    }
    return best;
}

uint64_t price_at_input(const struct price *price, uint64_t input_tokens)
{
    uint64_t picousd = price->picousd;

    for (unsigned i = 0; i < price->tiers_count; i++) {
        if (input_tokens > price->tiers[i].above_tokens)
            picousd = price->tiers[i].picousd;
    }
    return picousd;
}

static uint32_t class_of(const struct price_dims *dims)
{
    static const uint32_t CLASSES[FAMILY__COUNT] = {
        [FAMILY_SECOND] = CLASS_SECOND,       [FAMILY_PAGE] = CLASS_PAGE,
        [FAMILY_WEB_SEARCH] = CLASS_SEARCH,   [FAMILY_RERANK_SEARCH] = CLASS_SEARCH,
        [FAMILY_REQUEST] = CLASS_REQUEST,     [FAMILY_IMAGE] = CLASS_IMAGE,
        [FAMILY_CHARACTER] = CLASS_CHARACTER,
    };

    if (dims->family != FAMILY_TOKEN)
        return CLASSES[dims->family];
    if (dims->direction == DIRECTION_OUTPUT)
        return CLASS_OUTPUT;
    if (dims->type == TYPE_CACHE_READ)
        return CLASS_CACHED_INPUT;
    return dims->type == TYPE_CACHE_WRITE ? CLASS_CACHE_WRITE : CLASS_INPUT;
}

/* The last part of a usage number's path is `key`, its value `value`. */
static bool usage_says(const struct call *call, const char *key, const char *value)
{
    for (uint32_t i = 0; i < call->reported.raw_count; i++) {
        const char *dot = strrchr(call->reported.raw[i].path, '.');

        if (strcmp(dot ? dot + 1 : call->reported.raw[i].path, key) == 0 &&
            strcmp(call->reported.raw[i].value, value) == 0)
            return true;
    }
    return false;
}

static bool is_model(const struct price_rule *rule, const struct price_item *item)
{
    for (unsigned i = 0; i < rule->models_count; i++) {
        if (fnmatch(rule->model[i], item->name, 0) == 0 ||
            (item->model && strcmp(rule->model[i], item->model->id) == 0))
            return true;
    }
    return rule->models_count == 0;
}

static bool applies(const struct price_rule *rule, const struct price_item *item, const char *tier)
{
    return strcmp(rule->tier, tier) == 0 && strcmp(rule->provider, item->provider) == 0 &&
           item->unix_s >= rule->since_unix_s &&
           (!rule->until_unix_s || item->unix_s < rule->until_unix_s) &&
           (!rule->max_input_tokens || item->input_tokens[HIGH] <= rule->max_input_tokens) &&
           is_model(rule, item) &&
           (!rule->when_path || usage_says(item->call, rule->when_path, rule->when_value));
}

static const struct price *rule_price(const struct price_rule *rule, int variant,
                                      const struct price_item *item)
{
    return price_best(rule->prices[variant], rule->prices_count[variant], item->dims);
}

static bool take_prices(const struct price_rule *rule, const struct price_item *item,
                        struct price_range *ret_range)
{
    const struct price *at[VARIANTS];

    for (int v = 0; v < VARIANTS; v++)
        at[v] = rule_price(rule, v, item);
    if (!at[EXPECTED])
        return false;
    for (int v = 0; v < VARIANTS; v++)
        ret_range->picousd[v] = (at[v] ? at[v] : at[EXPECTED])->picousd;
    ret_range->per = at[EXPECTED]->unit->per;
    ret_range->by_rule = true;
    return true;
}

/* Rounded to a pico-USD per unit, which no count of a call can bring to a nano-USD. */
static bool multiply(const struct price_rule *rule, struct price_range *range)
{
    uint64_t product[VARIANTS];

    for (int v = 0; v < VARIANTS; v++) {
        unsigned __int128 exact = (unsigned __int128)range->picousd[v] * rule->factor[v];

        exact = (exact + PRICE_FACTOR_ONE / 2) / PRICE_FACTOR_ONE;
        if (exact > PRICE_USD_MAX * 1000000000000ULL)
            return false;
        product[v] = (uint64_t)exact;
    }
    memcpy(range->picousd, product, sizeof(product));
    range->by_rule = true;
    return true;
}

static void take_list(const struct price_item *item, const struct price *list,
                      struct price_range *ret_range)
{
    for (int v = 0; v < VARIANTS; v++)
        ret_range->picousd[v] = price_at_input(list, item->input_tokens[v]);
    ret_range->per = list->unit->per;
}

static const char *tier_range(const struct price_item *item, const struct price *list,
                              struct price_range *ret_range)
{
    for (unsigned i = 0; i < item->table->rules_count; i++) {
        const struct price_rule *rule = &item->table->rules[i];

        if (!applies(rule, item, item->tier))
            continue;
        if (take_prices(rule, item, ret_range))
            return NULL;
        if (!list || !(rule->classes & class_of(item->dims)))
            continue;
        take_list(item, list, ret_range);
        return multiply(rule, ret_range) ? NULL : "unknown_tier";
    }
    return item->model ? "unknown_tier" : "unknown_model";
}

/* The first rule of the list tier that has a price for the item. */
static bool listed_by_rule(const struct price_item *item, bool conditional,
                           struct price_range *ret_range)
{
    for (unsigned i = 0; i < item->table->rules_count; i++) {
        const struct price_rule *rule = &item->table->rules[i];

        if ((rule->when_path != NULL) == conditional && applies(rule, item, "") &&
            take_prices(rule, item, ret_range))
            return true;
    }
    return false;
}

/* A rule may know that the table's one price is one of several. */
static void widen(const struct price_item *item, struct price_range *range)
{
    for (unsigned i = 0; i < item->table->rules_count; i++) {
        const struct price_rule *rule = &item->table->rules[i];
        const struct price *low = rule_price(rule, LOW, item);
        const struct price *high = rule_price(rule, HIGH, item);

        if (rule->when_path || rule_price(rule, EXPECTED, item) || (!low && !high) ||
            !applies(rule, item, ""))
            continue;
        if (low && low->unit->per == range->per && low->picousd < range->picousd[LOW])
            range->picousd[LOW] = low->picousd;
        if (high && high->unit->per == range->per && high->picousd > range->picousd[HIGH])
            range->picousd[HIGH] = high->picousd;
        range->by_rule = true;
    }
}

static const char *list_range(const struct price_item *item, const struct price *list,
                              struct price_range *ret_range)
{
    if (listed_by_rule(item, true, ret_range))
        return NULL;
    if (!list && listed_by_rule(item, false, ret_range))
        return NULL;
    if (!list)
        return item->model ? "unknown_unit" : "unknown_model";
    take_list(item, list, ret_range);
    widen(item, ret_range);
    return NULL;
}

/* What a modifier costs is a factor upon whatever the tier costs. */
static bool modify(const struct price_item *item, const char *path, const char *value,
                   struct price_range *range)
{
    for (unsigned i = 0; i < item->table->rules_count; i++) {
        const struct price_rule *rule = &item->table->rules[i];

        if (!rule->when_path || !rule->classes || strcmp(rule->when_path, path) != 0 ||
            strcmp(rule->when_value, value) != 0 || !applies(rule, item, ""))
            continue;
        return !(rule->classes & class_of(item->dims)) || multiply(rule, range);
    }
    return item->dims->family != FAMILY_TOKEN;
}

const char *price_item_range(const struct price_item *item, const struct price *list,
                             struct price_range *ret_range)
{
    struct price_range range = {.by_rule = false};
    const char *unknown =
        item->tier[0] ? tier_range(item, list, &range) : list_range(item, list, &range);

    for (size_t i = 0; !unknown && i < sizeof(MODIFIERS) / sizeof(MODIFIERS[0]); i++) {
        if (usage_says(item->call, MODIFIERS[i].path, MODIFIERS[i].value) &&
            !modify(item, MODIFIERS[i].path, MODIFIERS[i].value, &range))
            unknown = "unknown_tier";
    }
    if (!unknown)
        *ret_range = range;
    return unknown;
}
