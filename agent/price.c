/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/price_table.h"

/* A multiple of every unit's `per`, so that rows add up before the one rounding. */
#define LOT 9000000ULL
#define PICO_PER_NANO 1000ULL

static const struct price_period *period_at(const struct price_model *m, uint64_t unix_s)
{
    uint32_t s = (uint32_t)(unix_s % 86400);

    for (unsigned i = m->periods_count; i > 0; i--) {
        const struct price_period *p = &m->periods[i - 1];
        bool wraps = p->daily_until_s < p->daily_from_s;
        bool in_day = wraps ? s >= p->daily_from_s || s < p->daily_until_s
                            : s >= p->daily_from_s && s < p->daily_until_s;

        if (p->is_daily ? in_day : unix_s >= p->from_unix_s)
            return p;
    }
    return &m->periods[0];
}

static bool is_free(const struct call *call)
{
    static const struct {
        const char *operation, *provider; /* NULL: whoever */
    } OPERATIONS[] = {
        {"count_tokens", NULL},   {"models", NULL},
        {"files", NULL},          {"retrieve", NULL}, /* billed with the call that made it */
        {"moderation", "openai"}, {"moderation", "azure"},
    };
    static const uint32_t REFUSALS[] = {401, 402, 403, 404, 405, 413, 429, 529};

    for (size_t i = 0; call->operation && i < sizeof(OPERATIONS) / sizeof(OPERATIONS[0]); i++) {
        if (strcmp(call->operation, OPERATIONS[i].operation) == 0 &&
            (!OPERATIONS[i].provider || strcmp(call->provider, OPERATIONS[i].provider) == 0))
            return true;
    }
    /* What it costs its turns say, where they could be read. */
    if (call->operation && strcmp(call->operation, "realtime_session") == 0 &&
        call->outcome != CALL_UNMETERABLE)
        return true;
    if (call->outcome == CALL_POLICY_DENIED)
        return true;
    /* With all of the request it may have worked, and charged. */
    if (call->outcome == CALL_NETWORK_ERROR && call->status_code == 0 &&
        call->response_body_bytes == 0 && !call->request_complete)
        return true;
    for (size_t i = 0; i < sizeof(REFUSALS) / sizeof(REFUSALS[0]) && !call->usage_reported; i++) {
        if (call->status_code == REFUSALS[i])
            return true;
    }
    return false;
}

/* What the answer says served it -> the tier of the rules; "" is list price. */
static void tier_of(const struct call *call, char *to, size_t size)
{
    static const struct {
        const char *word, *tier;
    } TIERS[] = {
        {"default", ""}, {"standard", ""},           {"on_demand", ""},
        {"auto", ""},    {"on_demand_flex", "flex"}, {"on_demand_priority", "priority"},
    };

    price_lower_copy(to, size, call->service_tier);
    if (!to[0] && call->operation && strcmp(call->operation, "batch") == 0)
        price_lower_copy(to, size, "batch");
    for (size_t i = 0; i < sizeof(TIERS) / sizeof(TIERS[0]); i++) {
        if (strcmp(to, TIERS[i].word) == 0)
            price_lower_copy(to, size, TIERS[i].tier);
    }
}

static const struct {
    const char *kind;
    uint8_t direction, type, ttl;
} KINDS[] = {
    {"input", DIRECTION_INPUT, TYPE_ANY, TTL_ANY},
    {"cached_input", DIRECTION_INPUT, TYPE_CACHE_READ, TTL_ANY},
    {"cache_write", DIRECTION_INPUT, TYPE_CACHE_WRITE, TTL_ANY},
    {"cache_write_5m", DIRECTION_INPUT, TYPE_CACHE_WRITE, TTL_5M},
    {"cache_write_1h", DIRECTION_INPUT, TYPE_CACHE_WRITE, TTL_1H},
    {"tool_use_input", DIRECTION_INPUT, TYPE_TOOL, TTL_ANY},
    {"output", DIRECTION_OUTPUT, TYPE_ANY, TTL_ANY},
    {"reasoning", DIRECTION_OUTPUT, TYPE_REASONING, TTL_ANY},
};

static const struct {
    const char *word;
    uint8_t value;
} MODALITIES[] = {
    {"text", MODALITY_TEXT},   {"audio", MODALITY_AUDIO},    {"image", MODALITY_IMAGE},
    {"video", MODALITY_VIDEO}, {"document", MODALITY_IMAGE}, /* billed as images */
};

static uint8_t row_family(const struct call *call, const struct usage_row *row)
{
    static const struct {
        const char *unit;
        uint8_t family;
    } UNITS[] = {
        {"token", FAMILY_TOKEN}, {"second", FAMILY_SECOND},       {"page", FAMILY_PAGE},
        {"image", FAMILY_IMAGE}, {"character", FAMILY_CHARACTER}, {"search", FAMILY_WEB_SEARCH},
    };
    const char *unit = row->unit && row->unit[0] ? row->unit : "token";
    uint8_t family = FAMILY_NONE;

    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (strcmp(unit, UNITS[i].unit) == 0)
            family = UNITS[i].family;
    }
    if (family == FAMILY_WEB_SEARCH && call->operation && strcmp(call->operation, "rerank") == 0)
        return FAMILY_RERANK_SEARCH;
    return family;
}

static struct price_dims row_dims(const struct call *call, const struct usage_row *row)
{
    struct price_dims dims = {.family = row_family(call, row)};
    const char *modality = row->modality && row->modality[0] ? row->modality : "text";

    for (size_t i = 0; row->kind && i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strcmp(row->kind, KINDS[i].kind) == 0) {
            dims.direction = KINDS[i].direction;
            dims.type = KINDS[i].type;
            dims.ttl = KINDS[i].ttl;
        }
    }
    dims.modality = MODALITY_OTHER;
    for (size_t i = 0; i < sizeof(MODALITIES) / sizeof(MODALITIES[0]); i++) {
        if (strcmp(modality, MODALITIES[i].word) == 0)
            dims.modality = MODALITIES[i].value;
    }
    /* Seconds are seconds of sound even where the row does not say so. */
    if (dims.family == FAMILY_SECOND && dims.modality == MODALITY_TEXT)
        dims.modality = MODALITY_AUDIO;
    return dims;
}

struct counts {
    uint64_t at[VARIANTS];
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* low <= expected <= high, whatever the row says. */
static bool row_counts(const struct usage_row *row, struct counts *ret)
{
    uint64_t low, high, middle;

    if (!row->count.known && !(row->low.known && row->high.known))
        return false;
    low = row->low.known ? row->low.value : row->count.value;
    high = row->high.known ? row->high.value : row->count.value;
    if (max_u64(low, high) > PRICE_COUNT_MAX ||
        (row->count.known && row->count.value > PRICE_COUNT_MAX))
        return false;
    middle = row->count.known ? row->count.value : (low + high + 1) / 2;
    *ret = (struct counts){.at = {[LOW] = min_u64(min_u64(low, high), middle),
                                  [EXPECTED] = middle,
                                  [HIGH] = max_u64(max_u64(low, high), middle)}};
    return true;
}

struct bill {
    const struct call *call;
    struct price_item item;
    const struct price_provider *provider;
    char name[PRICE_MODEL_ID_MAX]; /* of the call's own model */
    char tier[32];
    unsigned __int128 sum[VARIANTS]; /* pico-USD × LOT */
    bool by_rule;
};

/* All input tokens of the rows of one model. */
static struct counts input_total(const struct call *call, const char *model)
{
    struct counts total = {{0}}, c;

    for (uint32_t i = 0; i < call->usage_count; i++) {
        struct price_dims dims = row_dims(call, &call->usage[i]);

        if (strcmp(call->usage[i].model, model) != 0 || dims.family != FAMILY_TOKEN ||
            dims.direction != DIRECTION_INPUT || !row_counts(&call->usage[i], &c))
            continue;
        for (int v = 0; v < VARIANTS; v++)
            total.at[v] += c.at[v];
    }
    return total;
}

static const struct price *list_price(const struct price_item *item)
{
    const struct price_period *period = item->model ? period_at(item->model, item->unix_s) : NULL;

    return period ? price_best(period->prices, period->count, item->dims) : NULL;
}

static void add(struct bill *b, const struct price_range *range, const struct counts *c)
{
    for (int v = 0; v < VARIANTS; v++)
        b->sum[v] += (unsigned __int128)range->picousd[v] * c->at[v] * (LOT / range->per);
    b->by_rule |= range->by_rule;
}

/* NULL, or the basis that says why the row has no price. */
static const char *bill_row(struct bill *b, const struct usage_row *row)
{
    const struct price_dims dims = row_dims(b->call, row);
    const struct counts input = input_total(b->call, row->model);
    struct price_item item = b->item;
    char name[sizeof(row->model)];
    struct price_range range;
    struct counts c = {{0}};
    bool known = row_counts(row, &c);
    const char *unknown;

    if (row->kind && (strcmp(row->kind, "counted") == 0 || strncmp(row->kind, "unbilled_", 9) == 0))
        return NULL;
    if (known && c.at[HIGH] == 0)
        return NULL;
    item.dims = &dims;
    memcpy(item.input_tokens, input.at, sizeof(input.at));
    if (row->model[0]) {
        item.name = price_lower_copy(name, sizeof(name), row->model);
        item.model = b->provider ? price_model_find(item.table, b->provider, row->model) : NULL;
    }
    unknown = price_item_range(&item, list_price(&item), &range);
    if (unknown)
        return unknown;
    if (!known)
        return "unknown_usage";
    for (int v = 0; v < VARIANTS && item.model && dims.family == FAMILY_SECOND; v++)
        c.at[v] = c.at[v] ? max_u64(c.at[v], item.model->min_seconds) : 0;
    add(b, &range, &c);
    return NULL;
}

/* Where the table or a rule knows of one. */
static const char *bill_request_fee(struct bill *b)
{
    const struct price_dims dims = {.family = FAMILY_REQUEST};
    const struct counts one = {{1, 1, 1}};
    struct price_item item = b->item;
    const struct price *list;
    struct price_range range;
    const char *unknown;

    item.dims = &dims;
    list = list_price(&item);
    unknown = price_item_range(&item, list, &range);
    if (unknown)
        return list ? unknown : NULL;
    add(b, &range, &one);
    return NULL;
}

static bool to_nanousd(unsigned __int128 sum, struct opt_i64 *ret)
{
    const unsigned __int128 unit = (unsigned __int128)LOT * PICO_PER_NANO;
    unsigned __int128 nano = (sum + unit / 2) / unit;

    *ret = (struct opt_i64){.value = (int64_t)nano, .known = true};
    return nano <= INT64_MAX;
}

static const char *bill_sum(const struct bill *b, struct call_cost *cost)
{
    unsigned __int128 expected = b->sum[EXPECTED];
    struct call_cost all = {.basis = NULL};

    /* More input may mean a lower price for all of it. */
    if (!to_nanousd(expected < b->sum[LOW] ? expected : b->sum[LOW], &all.low_nanousd) ||
        !to_nanousd(expected, &all.expected_nanousd) ||
        !to_nanousd(expected > b->sum[HIGH] ? expected : b->sum[HIGH], &all.high_nanousd))
        return "unknown_usage";
    *cost = all;
    return b->by_rule ? "supplement" : "table";
}

static const char *bill_call(const struct price_table *table, const struct call *call,
                             uint64_t unix_s, struct call_cost *cost)
{
    /* What answered is what is billed; what was asked for may be an alias. */
    const char *name = call->model_responded[0] ? call->model_responded : call->model_requested;
    struct bill b = {.call = call};
    const char *unknown = NULL;

    if (!table)
        return "unknown_model";
    b.provider = price_provider_find(table, call);
    tier_of(call, b.tier, sizeof(b.tier));
    b.item = (struct price_item){
        .table = table,
        .call = call,
        .provider = b.provider ? b.provider->id : call->provider,
        .model = b.provider ? price_model_find(table, b.provider, name) : NULL,
        .name = price_lower_copy(b.name, sizeof(b.name), name),
        .unix_s = unix_s,
        .tier = b.tier,
    };
    if (call->usage_count == 0)
        return b.item.model ? "unknown_usage" : "unknown_model";
    for (uint32_t i = 0; i < call->usage_count && !unknown; i++)
        unknown = bill_row(&b, &call->usage[i]);
    if (!unknown)
        unknown = bill_request_fee(&b);
    return unknown ? unknown : bill_sum(&b, cost);
}

static void cost_set(struct call_cost *cost, int64_t nanousd, const char *basis)
{
    struct opt_i64 value = {.value = nanousd, .known = true};

    *cost = (struct call_cost){
        .low_nanousd = value, .expected_nanousd = value, .high_nanousd = value, .basis = basis};
}

bool price_disagrees(const struct call_cost *cost)
{
    unsigned __int128 said, list;

    if (!cost->list_nanousd.known || !cost->expected_nanousd.known ||
        cost->expected_nanousd.value < 0 || cost->list_nanousd.value < 0)
        return false;
    said = (unsigned __int128)cost->expected_nanousd.value;
    list = (unsigned __int128)cost->list_nanousd.value;
    return (said > list ? said - list : list - said) * 100 > (said > list ? said : list);
}

void price_call(const struct price_table *table, struct call *call, uint64_t unix_s)
{
    struct call_cost cost = {.basis = NULL};

    if (!call->reported.cost_nanousd.known && is_free(call)) {
        cost_set(&call->cost, 0, "free");
        return;
    }
    cost.basis = bill_call(table, call, unix_s, &cost);
    if (call->reported.cost_nanousd.known) {
        cost_set(&call->cost, call->reported.cost_nanousd.value, "provider");
        call->cost.list_nanousd = cost.expected_nanousd;
        return;
    }
    if (table)
        snprintf(cost.price_version, sizeof(cost.price_version), "%s", table->version);
    call->cost = cost;
}
