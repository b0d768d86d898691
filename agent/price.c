/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/price_table.h"

#include <ctype.h>

/* A multiple of every unit's `per`, so that rows add up before the one rounding. */
#define LOT 9000000ULL
#define PICO_PER_NANO 1000ULL

static char *lower_copy(char *to, size_t size, const char *from)
{
    size_t len = 0;

    while (isspace((unsigned char)*from))
        from++;
    for (; from[len] && len < size - 1; len++)
        to[len] = (char)tolower((unsigned char)from[len]);
    while (len && isspace((unsigned char)to[len - 1]))
        len--;
    to[len] = '\0';
    return to;
}

bool price_match(const struct match *m, const char *model)
{
    size_t len = strlen(model), text_len = m->text ? strlen(m->text) : 0;

    switch (m->kind) {
    case MATCH_EQUALS:
        return strcmp(model, m->text) == 0;
    case MATCH_STARTS_WITH:
        return strncmp(model, m->text, text_len) == 0;
    case MATCH_ENDS_WITH:
        return len >= text_len && strcmp(model + len - text_len, m->text) == 0;
    case MATCH_CONTAINS:
        return strstr(model, m->text) != NULL;
    case MATCH_REGEX:
        return regexec(m->regex, model, 0, NULL, 0) == 0;
    case MATCH_NOT:
        return !price_match(m->parts, model);
    case MATCH_AND:
    case MATCH_OR:
        for (unsigned i = 0; i < m->count; i++) {
            if (price_match(&m->parts[i], model) == (m->kind == MATCH_OR))
                return m->kind == MATCH_OR;
        }
        return m->kind == MATCH_AND;
    case MATCH__COUNT:
        break;
    }
    return false;
}

static const struct price_provider *provider_by_id(const struct price_table *t, const char *id)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (strcmp(t->providers[i].id, id) == 0)
            return &t->providers[i];
    }
    return NULL;
}

static const struct price_provider *provider_by_name(const struct price_table *t, const char *name)
{
    for (unsigned i = 0; i < t->count; i++) {
        for (unsigned k = 0; k < t->providers[i].names_count; k++) {
            if (strcmp(t->providers[i].names[k], name) == 0)
                return &t->providers[i];
        }
    }
    return NULL;
}

static const struct price_provider *provider_by_host(const struct price_table *t, const char *host)
{
    char url[sizeof("https:///") + 256];

    snprintf(url, sizeof(url), "https://%s/", host);
    for (unsigned i = 0; i < t->count; i++) {
        if (t->providers[i].host && regexec(t->providers[i].host, url, 0, NULL, 0) == 0)
            return &t->providers[i];
    }
    return NULL;
}

static const struct price_provider *provider_find(const struct price_table *t,
                                                  const struct call *call)
{
    const struct price_provider *p = provider_by_id(t, call->provider);

    if (!p)
        p = provider_by_name(t, call->provider);
    return p ? p : provider_by_host(t, call->server_address);
}

static const struct price_model *model_of(const struct price_provider *p, const char *model)
{
    for (unsigned i = 0; i < p->models_count; i++) {
        if (price_match(&p->models[i].match, model))
            return &p->models[i];
    }
    return NULL;
}

static const struct price_model *
model_or_fallback(const struct price_table *t, const struct price_provider *p, const char *model)
{
    const struct price_model *found = model_of(p, model);

    for (unsigned i = 0; !found && i < p->fallback_count; i++) {
        const struct price_provider *other = provider_by_id(t, p->fallback[i]);

        found = other ? model_of(other, model) : NULL;
    }
    return found;
}

static unsigned digits_value(const char *s, unsigned count)
{
    unsigned value = 0;

    while (count--)
        value = value * 10 + (unsigned)(*s++ - '0');
    return value;
}

static bool is_date(const char *s)
{
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;

    if (strspn(s, "0123456789") != 8 || (s[8] && s[8] != '-' && s[8] != ':'))
        return false;
    year = digits_value(s, 4);
    month = digits_value(s + 4, 2);
    day = digits_value(s + 6, 2);
    if (year / 100 != 20 || month < 1 || month > 12 || day < 1)
        return false;
    return day <= DAYS[month - 1] || (month == 2 && day == 29 && year % 4 == 0);
}

/* Providers write the date of a model as 20250514 here and 2025-05-14 there. */
static bool spell_dates_out(const char *model, char *to, size_t size)
{
    bool changed = false;
    size_t len = 0;

    for (const char *c = model; *c && len + 3 < size; c++) {
        to[len++] = *c;
        if (*c != '-' || !is_date(c + 1) || len + 12 >= size)
            continue;
        len += (size_t)snprintf(to + len, size - len, "%.4s-%.2s-%.2s", c + 1, c + 5, c + 7);
        c += 8;
        changed = true;
    }
    to[len] = '\0';
    return changed;
}

static const struct price_model *model_find(const struct price_table *t,
                                            const struct price_provider *p, const char *name)
{
    char model[PRICE_MODEL_ID_MAX], dated[PRICE_MODEL_ID_MAX + 16];
    const struct price_model *found;
    const char *resource;

    lower_copy(model, sizeof(model), name);
    if (!model[0])
        return NULL;
    found = model_or_fallback(t, p, model);
    if (!found && spell_dates_out(model, dated, sizeof(dated)))
        found = model_or_fallback(t, p, dated);
    /* Gemini may answer with the name of a resource: models/gemini-2.5-pro. */
    resource = strstr(model, "models/");
    if (!found && resource)
        found = model_or_fallback(t, p, resource + strlen("models/"));
    return found;
}

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

static bool is_one_of(const char *word, const char *const *list)
{
    while (*list && strcasecmp(word, *list) != 0)
        list++;
    return *list != NULL;
}

static bool is_free(const struct call *call)
{
    /* A retrieved answer was billed with the call that made it; what a session costs, its
     * turns say. */
    static const char *const OPERATIONS[] = {
        "count_tokens", "models", "moderation", "files", "retrieve", "realtime_session", NULL};
    static const uint32_t REFUSALS[] = {401, 402, 403, 404, 405, 413, 429, 529};

    if (call->operation && is_one_of(call->operation, OPERATIONS))
        return true;
    if (call->outcome == CALL_POLICY_DENIED)
        return true;
    if (call->outcome == CALL_NETWORK_ERROR && call->status_code == 0 &&
        call->response_body_bytes == 0)
        return true;
    for (size_t i = 0; i < sizeof(REFUSALS) / sizeof(REFUSALS[0]) && !call->usage_reported; i++) {
        if (call->status_code == REFUSALS[i])
            return true;
    }
    return false;
}

static bool is_list_price_tier(const struct call *call)
{
    static const char *const TIERS[] = {"default", "standard", "on_demand", "auto", NULL};

    if (call->service_tier[0] && !is_one_of(call->service_tier, TIERS))
        return false;
    /* Anthropic's fast mode has prices of its own and is told in the usage alone. */
    for (uint32_t i = 0; i < call->reported.raw_count; i++) {
        const char *path = call->reported.raw[i].path;
        size_t len = strlen(path);

        if (len >= 5 && strcmp(path + len - 5, "speed") == 0 &&
            strcmp(call->reported.raw[i].value, "fast") == 0)
            return false;
    }
    return true;
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
    const char *unit = row->unit && row->unit[0] ? row->unit : "token";

    if (strcmp(unit, "token") == 0)
        return FAMILY_TOKEN;
    if (strcmp(unit, "second") == 0)
        return FAMILY_SECOND;
    if (strcmp(unit, "page") == 0)
        return FAMILY_PAGE;
    if (strcmp(unit, "search") != 0)
        return FAMILY_NONE;
    return call->operation && strcmp(call->operation, "rerank") == 0 ? FAMILY_RERANK_SEARCH
                                                                     : FAMILY_WEB_SEARCH;
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

static const struct price *price_for(const struct price_period *period,
                                     const struct price_dims *dims)
{
    const struct price *best = NULL;
    int best_fit = -1;

    for (unsigned i = 0; i < period->count; i++) {
        int fit = dims_fit(&period->prices[i].unit->dims, dims);

        if (fit > best_fit) {
            best_fit = fit;
            best = &period->prices[i];
        }
    }
    return best;
}

/* Low, expected, high. */
enum { LOW, EXPECTED, HIGH, VARIANTS };

struct counts {
    uint64_t at[VARIANTS];
};

static bool row_counts(const struct usage_row *row, struct counts *ret)
{
    struct counts c;

    if (!row->count.known && !(row->low.known && row->high.known))
        return false;
    c.at[LOW] = row->low.known ? row->low.value : row->count.value;
    c.at[HIGH] = row->high.known ? row->high.value : row->count.value;
    if (c.at[LOW] > PRICE_COUNT_MAX || c.at[HIGH] > PRICE_COUNT_MAX ||
        (row->count.known && row->count.value > PRICE_COUNT_MAX))
        return false;
    c.at[EXPECTED] = row->count.known ? row->count.value : (c.at[LOW] + c.at[HIGH] + 1) / 2;
    *ret = c;
    return true;
}

/* The price of all tokens follows the request's whole input: a cliff, not a slope. */
static uint64_t tier_price(const struct price *price, uint64_t input_tokens)
{
    uint64_t picousd = price->picousd;

    for (unsigned i = 0; i < price->tiers_count; i++) {
        if (input_tokens > price->tiers[i].above_tokens)
            picousd = price->tiers[i].picousd;
    }
    return picousd;
}

static unsigned __int128 lots(uint64_t picousd, uint64_t count, uint32_t per)
{
    return (unsigned __int128)picousd * count * (LOT / per);
}

struct bill {
    const struct call *call;
    const struct price_table *table;
    const struct price_provider *provider;
    const struct price_model *model;
    uint64_t unix_s;
    unsigned __int128 sum[VARIANTS]; /* pico-USD × LOT */
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

/* NULL, or the basis that says why the row has no price. */
static const char *bill_row(struct bill *b, const struct usage_row *row)
{
    const struct price_model *model =
        row->model[0] ? model_find(b->table, b->provider, row->model) : b->model;
    struct price_dims dims = row_dims(b->call, row);
    struct counts c, input = input_total(b->call, row->model);
    const struct price *price;

    if (row->kind && strcmp(row->kind, "counted") == 0)
        return NULL;
    if (!row_counts(row, &c))
        return "unknown_usage";
    if (c.at[HIGH] == 0 && c.at[EXPECTED] == 0)
        return NULL;
    if (!model)
        return "unknown_model";
    price = price_for(period_at(model, b->unix_s), &dims);
    if (!price)
        return "unknown_unit";
    for (int v = 0; v < VARIANTS; v++) {
        if (dims.family == FAMILY_SECOND && c.at[v] && c.at[v] < model->min_seconds)
            c.at[v] = model->min_seconds;
        b->sum[v] += lots(tier_price(price, input.at[v]), c.at[v], price->unit->per);
    }
    return NULL;
}

static void bill_request_fee(struct bill *b)
{
    const struct price_dims dims = {.family = FAMILY_REQUEST};
    const struct price *price = price_for(period_at(b->model, b->unix_s), &dims);

    for (int v = 0; price && v < VARIANTS; v++)
        b->sum[v] += lots(price->picousd, 1, price->unit->per);
}

static bool to_nanousd(unsigned __int128 sum, struct opt_i64 *ret)
{
    const unsigned __int128 unit = (unsigned __int128)LOT * PICO_PER_NANO;
    unsigned __int128 nano = (sum + unit / 2) / unit;

    *ret = (struct opt_i64){.value = (int64_t)nano, .known = true};
    return nano <= INT64_MAX;
}

static const char *bill_call(const struct price_table *table, const struct call *call,
                             uint64_t unix_s, struct call_cost *cost)
{
    /* What answered is what is billed; what was asked for may be an alias. */
    const char *name = call->model_responded[0] ? call->model_responded : call->model_requested;
    struct bill b = {.call = call, .table = table, .unix_s = unix_s};
    const char *unknown = NULL;

    if (!is_list_price_tier(call))
        return "unknown_tier";
    b.provider = table ? provider_find(table, call) : NULL;
    b.model = b.provider ? model_find(table, b.provider, name) : NULL;
    if (!b.model)
        return "unknown_model";
    if (call->usage_count == 0)
        return "unknown_usage";
    for (uint32_t i = 0; i < call->usage_count && !unknown; i++)
        unknown = bill_row(&b, &call->usage[i]);
    if (unknown)
        return unknown;
    bill_request_fee(&b);
    if (!to_nanousd(b.sum[LOW], &cost->low_nanousd) ||
        !to_nanousd(b.sum[EXPECTED], &cost->expected_nanousd) ||
        !to_nanousd(b.sum[HIGH], &cost->high_nanousd)) {
        *cost = (struct call_cost){.basis = NULL};
        return "unknown_usage";
    }
    return "table";
}

static void cost_set(struct call_cost *cost, int64_t nanousd, const char *basis)
{
    struct opt_i64 value = {.value = nanousd, .known = true};

    *cost = (struct call_cost){
        .low_nanousd = value, .expected_nanousd = value, .high_nanousd = value, .basis = basis};
}

void price_call(const struct price_table *table, struct call *call, uint64_t unix_s)
{
    struct call_cost cost = {.basis = NULL};

    if (call->reported.cost_nanousd.known) {
        cost_set(&call->cost, call->reported.cost_nanousd.value, "provider");
        return;
    }
    if (is_free(call)) {
        cost_set(&call->cost, 0, "free");
        return;
    }
    cost.basis = bill_call(table, call, unix_s, &cost);
    if (table)
        snprintf(cost.price_version, sizeof(cost.price_version), "%s", table->version);
    call->cost = cost;
}
