/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/price_table.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <sys/stat.h>

/* Of all repetitions in a regular expression, multiplied. */
#define REGEX_REPEATS_MAX 4096

#define TOKEN(name, dir, kind, mod, life)                                                          \
    {                                                                                              \
        name, 1000000,                                                                             \
        {                                                                                          \
            FAMILY_TOKEN, DIRECTION_##dir, TYPE_##kind, MODALITY_##mod, TTL_##life                 \
        }                                                                                          \
    }
#define TOKEN_MODALITIES(prefix, infix, dir, kind, life)                                           \
    TOKEN(prefix infix "_mtok", dir, kind, ANY, life),                                             \
        TOKEN(prefix "_text" infix "_mtok", dir, kind, TEXT, life),                                \
        TOKEN(prefix "_audio" infix "_mtok", dir, kind, AUDIO, life),                              \
        TOKEN(prefix "_image" infix "_mtok", dir, kind, IMAGE, life),                              \
        TOKEN(prefix "_video" infix "_mtok", dir, kind, VIDEO, life)

static const struct price_unit UNITS[] = {
    TOKEN_MODALITIES("input", "", INPUT, ANY, ANY),
    TOKEN_MODALITIES("input", "_tool", INPUT, TOOL, ANY),
    TOKEN_MODALITIES("cache", "_read", INPUT, CACHE_READ, ANY),
    TOKEN_MODALITIES("cache", "_write", INPUT, CACHE_WRITE, ANY),
    TOKEN_MODALITIES("cache", "_write_5m", INPUT, CACHE_WRITE, 5M),
    TOKEN_MODALITIES("cache", "_write_1h", INPUT, CACHE_WRITE, 1H),
    TOKEN_MODALITIES("output", "", OUTPUT, ANY, ANY),
    TOKEN_MODALITIES("output", "_reasoning", OUTPUT, REASONING, ANY),
    {"audio_hours", 3600, {FAMILY_SECOND, DIRECTION_ANY, TYPE_ANY, MODALITY_AUDIO, TTL_ANY}},
    {"input_audio_hours",
     3600,
     {FAMILY_SECOND, DIRECTION_INPUT, TYPE_ANY, MODALITY_AUDIO, TTL_ANY}},
    {"output_audio_hours",
     3600,
     {FAMILY_SECOND, DIRECTION_OUTPUT, TYPE_ANY, MODALITY_AUDIO, TTL_ANY}},
    {"input_document_kpages", 1000, {.family = FAMILY_PAGE, .direction = DIRECTION_INPUT}},
    {"web_searches_kcount", 1000, {.family = FAMILY_WEB_SEARCH}},
    {"rerank_searches_kcount", 1000, {.family = FAMILY_RERANK_SEARCH}},
    {"requests_kcount", 1000, {.family = FAMILY_REQUEST}},
    /* The supplement's own. */
    {"images", 1, {.family = FAMILY_IMAGE}},
    {"characters_mcount", 1000000, {.family = FAMILY_CHARACTER}},
    {"output_video_seconds",
     1,
     {FAMILY_SECOND, DIRECTION_OUTPUT, TYPE_ANY, MODALITY_VIDEO, TTL_ANY}},
};

const struct price_unit *price_unit_at(unsigned index)
{
    return index < sizeof(UNITS) / sizeof(UNITS[0]) ? &UNITS[index] : NULL;
}

const struct price_unit *price_unit_by_key(const char *key)
{
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (strcmp(UNITS[i].key, key) == 0)
            return &UNITS[i];
    }
    return NULL;
}

static void regex_free(regex_t **regex)
{
    if (*regex)
        regfree(*regex);
    free(*regex);
    *regex = NULL;
}

static void match_fini(struct match *m)
{
    for (unsigned i = 0; i < m->count; i++)
        match_fini(&m->parts[i]);
    free(m->parts);
    free(m->text);
    regex_free(&m->regex);
}

static void model_fini(struct price_model *m)
{
    for (unsigned i = 0; i < m->periods_count; i++)
        free(m->periods[i].prices);
    free(m->periods);
    match_fini(&m->match);
    free(m->id);
}

static void strings_free(char **strings, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(strings[i]);
    free(strings);
}

static void provider_fini(struct price_provider *p)
{
    for (unsigned i = 0; i < p->models_count; i++)
        model_fini(&p->models[i]);
    free(p->models);
    strings_free(p->names, p->names_count);
    strings_free(p->fallback, p->fallback_count);
    regex_free(&p->host);
    free(p->id);
}

void price_table_free(struct price_table **table)
{
    if (!*table)
        return;
    for (unsigned i = 0; i < (*table)->count; i++)
        provider_fini(&(*table)->providers[i]);
    free((*table)->providers);
    price_supplement_free(*table);
    free(*table);
    *table = NULL;
}

void price_table_summary(const struct price_table *table, struct price_summary *ret_summary)
{
    *ret_summary = (struct price_summary){.version = table->version,
                                          .supplement = price_supplement_version(table),
                                          .providers = table->count,
                                          .rules = table->rules_count};
    for (unsigned i = 0; i < table->count; i++)
        ret_summary->models += table->providers[i].models_count;
}

/* Where the reader is, for messages. */
struct reader {
    const char *path;
    const char *provider;
    const char *model;
    struct price_error *error;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct reader *r, const char *fmt,
                                                        ...)
{
    char problem[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(problem, sizeof(problem), fmt, args);
    va_end(args);
    snprintf(r->error->text, sizeof(r->error->text),
             "%s: %s%s%s%s%s; make the file anew with \"lectr-agent prices update\"", r->path,
             r->provider ? r->provider : "", r->model ? ", model " : "", r->model ? r->model : "",
             r->provider ? ": " : "", problem);
    return -EINVAL;
}

/* Allocates for a JSON array; -EINVAL when it is none. An absent one is empty. */
static int array_alloc(const struct reader *r, const json_t *array, const char *name, size_t size,
                       void **ret)
{
    if (array && !json_is_array(array))
        return refuse(r, "%s must be a list", name);
    *ret = calloc(json_array_size(array) + 1, size);
    return *ret ? 0 : -ENOMEM;
}

static int read_string(const struct reader *r, const json_t *object, const char *key, char **ret)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text || !text[0])
        return refuse(r, "%s must be a text", key);
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

static int read_strings(const struct reader *r, const json_t *object, const char *key, char ***ret,
                        unsigned *ret_count)
{
    const json_t *array = json_object_get(object, key), *item;
    size_t i;
    int res = array_alloc(r, array, key, sizeof(char *), (void **)ret);

    if (res < 0)
        return res;
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item))
            return refuse(r, "%s[%zu] must be a text", key, i);
        (*ret)[i] = strdup(json_string_value(item));
        if (!(*ret)[i])
            return -ENOMEM;
        *ret_count = (unsigned)i + 1;
    }
    return 0;
}

/* The compiled expression holds what is repeated once for each time ("x+" is "xx*"), and what is
 * nested multiplies: as if all of it were. */
static bool is_regex_bounded(const char *pattern)
{
    unsigned long times = 1;

    for (const char *at = strpbrk(pattern, "+{"); at && times <= REGEX_REPEATS_MAX;
         at = strpbrk(at + 1, "+{")) {
        char *end = NULL;
        unsigned long low = *at == '{' ? strtoul(at + 1, &end, 10) : 2;
        unsigned long high = end && *end == ',' ? strtoul(end + 1, NULL, 10) : low;
        unsigned long most = high > low ? high : low;

        if (most > REGEX_REPEATS_MAX)
            return false;
        times *= most > 1 ? most : 1;
    }
    return times <= REGEX_REPEATS_MAX;
}

static int read_regex(const struct reader *r, const char *pattern, regex_t **ret)
{
    __attribute__((cleanup(regex_free))) regex_t *regex = NULL;
    regex_t *compiled = calloc(1, sizeof(*compiled));
    int err;

    if (!compiled)
        return -ENOMEM;
    if (!is_regex_bounded(pattern)) {
        free(compiled);
        return refuse(r, "\"%s\" repeats more than %d times", pattern, REGEX_REPEATS_MAX);
    }
    err = regcomp(compiled, pattern, REG_EXTENDED | REG_NOSUB);
    if (err) {
        free(compiled);
        return refuse(r, "\"%s\" is not a POSIX extended regular expression", pattern);
    }
    regex = compiled;
    *ret = TAKE_PTR(regex);
    return 0;
}

int price_parse_picousd(const char *text, uint64_t *ret_picousd)
{
    const uint64_t max = PRICE_USD_MAX * 1000000000000ULL;
    uint64_t pico = 0;
    unsigned decimals = 0;
    bool has_point = false, has_digit = false;

    for (const char *c = text; *c; c++) {
        if (*c == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (*c < '0' || *c > '9' || (has_point && ++decimals > 12) || pico > max)
            return -EINVAL;
        pico = pico * 10 + (uint64_t)(*c - '0');
        has_digit = true;
    }
    if (!has_digit)
        return -EINVAL;
    for (; decimals < 12 && pico <= max; decimals++)
        pico *= 10;
    if (pico > max)
        return -ERANGE;
    *ret_picousd = pico;
    return 0;
}

static int read_picousd(const struct reader *r, const json_t *value, uint64_t *ret)
{
    const char *text = json_string_value(value);
    int res = text && text[0] ? price_parse_picousd(text, ret) : -ENODATA;

    if (res == -ENODATA)
        return refuse(r, "a price must be a text with digits, as in \"0.15\"");
    if (res == -ERANGE)
        return refuse(r, "\"%s\" is too high for a price", text);
    return res < 0 ? refuse(r, "\"%s\" is no price in USD (digits, up to 12 decimals)", text) : 0;
}

static int read_tiers(const struct reader *r, const json_t *value, struct price *price)
{
    const json_t *tiers = json_object_get(value, "tiers"), *tier;
    size_t i;
    int res = read_picousd(r, json_object_get(value, "base"), &price->picousd);

    if (res < 0)
        return res;
    if (!json_is_array(tiers) || json_array_size(tiers) > PRICE_TIERS_MAX)
        return refuse(r, "tiers must be a list of at most %d", PRICE_TIERS_MAX);
    json_array_foreach(tiers, i, tier)
    {
        const json_t *above = json_object_get(tier, "above");
        struct price_tier *t = &price->tiers[i];

        if (!json_is_integer(above) || json_integer_value(above) < 0)
            return refuse(r, "tiers[%zu].above must be a count", i);
        t->above_tokens = (uint64_t)json_integer_value(above);
        if (i && t->above_tokens <= t[-1].above_tokens)
            return refuse(r, "tiers must be in rising order");
        res = read_picousd(r, json_object_get(tier, "price"), &t->picousd);
        if (res < 0)
            return res;
        price->tiers_count = (unsigned)i + 1;
    }
    return 0;
}

/* Keys that this version does not know are for things it does not count. */
static int read_prices(const struct reader *r, json_t *object, struct price_period *period)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return refuse(r, "prices must be an object");
    period->prices = calloc(json_object_size(object) + 1, sizeof(*period->prices));
    if (!period->prices)
        return -ENOMEM;
    json_object_foreach(object, key, value)
    {
        struct price *price = &period->prices[period->count];
        int res;

        price->unit = price_unit_by_key(key);
        if (!price->unit)
            continue;
        period->count++;
        res = json_is_object(value) ? read_tiers(r, value, price)
                                    : read_picousd(r, value, &price->picousd);
        if (res < 0)
            return res;
    }
    return 0;
}

static int read_daily(const struct reader *r, const json_t *daily, struct price_period *period)
{
    json_int_t from = json_integer_value(json_array_get(daily, 0));
    json_int_t until = json_integer_value(json_array_get(daily, 1));

    if (!daily)
        return 0;
    if (json_array_size(daily) != 2 || from < 0 || from >= 86400 || until < 0 || until >= 86400)
        return refuse(r, "daily must be [from, until] in seconds of the UTC day");
    period->is_daily = true;
    period->daily_from_s = (uint32_t)from;
    period->daily_until_s = (uint32_t)until;
    return 0;
}

static int read_periods(const struct reader *r, const json_t *array, struct price_model *model)
{
    json_t *item;
    size_t i;
    int res = array_alloc(r, array, "prices", sizeof(*model->periods), (void **)&model->periods);

    if (res < 0)
        return res;
    if (json_array_size(array) == 0)
        return refuse(r, "has no prices");
    json_array_foreach(array, i, item)
    {
        struct price_period *period = &model->periods[i];
        const json_t *from = json_object_get(item, "from_unix_s");

        model->periods_count = (unsigned)i + 1;
        if (from && (!json_is_integer(from) || json_integer_value(from) < 0))
            return refuse(r, "from_unix_s must be a Unix time");
        period->from_unix_s = from ? (uint64_t)json_integer_value(from) : 0;
        res = read_daily(r, json_object_get(item, "daily"), period);
        if (res == 0)
            res = read_prices(r, json_object_get(item, "usd"), period);
        if (res < 0)
            return res;
    }
    return 0;
}

static const char *const MATCH_KEYS[] = {
    [MATCH_EQUALS] = "equals",
    [MATCH_STARTS_WITH] = "starts_with",
    [MATCH_ENDS_WITH] = "ends_with",
    [MATCH_CONTAINS] = "contains",
    [MATCH_REGEX] = "regex",
    [MATCH_NOT] = "not",
    [MATCH_AND] = "and",
    [MATCH_OR] = "or",
};

static int read_match(const struct reader *r, const json_t *object, unsigned depth,
                      struct match *match);

static int read_match_parts(const struct reader *r, const json_t *value, unsigned depth,
                            struct match *match)
{
    size_t count = match->kind == MATCH_NOT ? 1 : json_array_size(value);

    match->parts = calloc(count + 1, sizeof(*match->parts));
    if (!match->parts)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const json_t *part = match->kind == MATCH_NOT ? value : json_array_get(value, i);
        int res;

        match->count = (unsigned)i + 1;
        res = read_match(r, part, depth + 1, &match->parts[i]);
        if (res < 0)
            return res;
    }
    return count ? 0 : refuse(r, "an empty match");
}

static int read_match(const struct reader *r, const json_t *object, unsigned depth,
                      struct match *match)
{
    const json_t *value = NULL;
    const char *text;

    for (int kind = 0; kind < MATCH__COUNT && !value; kind++) {
        value = json_object_get(object, MATCH_KEYS[kind]);
        match->kind = (enum match_kind)kind;
    }
    if (!value || json_object_size(object) != 1 || depth == PRICE_MATCH_DEPTH_MAX)
        return refuse(r, "match must be one of equals, starts_with, ends_with, contains, regex, "
                         "not, and, or");
    if (match->kind >= MATCH_NOT)
        return read_match_parts(r, value, depth, match);
    text = json_string_value(value);
    if (!text)
        return refuse(r, "%s must be a text", MATCH_KEYS[match->kind]);
    if (match->kind == MATCH_REGEX)
        return read_regex(r, text, &match->regex);
    match->text = strdup(text);
    return match->text ? 0 : -ENOMEM;
}

static int read_model(struct reader *r, const json_t *object, struct price_model *model)
{
    const json_t *min = json_object_get(object, "min_seconds");
    int res;

    r->model = NULL;
    res = read_string(r, object, "id", &model->id);
    if (res < 0)
        return res;
    r->model = model->id;
    if (min &&
        (!json_is_integer(min) || json_integer_value(min) < 0 || json_integer_value(min) > 3600))
        return refuse(r, "min_seconds must be 0 to 3600");
    model->min_seconds = (uint32_t)json_integer_value(min);
    res = read_match(r, json_object_get(object, "match"), 0, &model->match);
    return res < 0 ? res : read_periods(r, json_object_get(object, "prices"), model);
}

static int read_provider(struct reader *r, const json_t *object, struct price_provider *provider)
{
    const json_t *models = json_object_get(object, "models"), *item;
    const char *host = json_string_value(json_object_get(object, "host"));
    size_t i;
    int res;

    r->provider = r->model = NULL;
    res = read_string(r, object, "id", &provider->id);
    if (res < 0)
        return res;
    r->provider = provider->id;
    res = read_strings(r, object, "names", &provider->names, &provider->names_count);
    if (res == 0)
        res = read_strings(r, object, "fallback", &provider->fallback, &provider->fallback_count);
    if (res == 0 && host)
        res = read_regex(r, host, &provider->host);
    if (res == 0)
        res =
            array_alloc(r, models, "models", sizeof(*provider->models), (void **)&provider->models);
    if (res < 0)
        return res;
    json_array_foreach(models, i, item)
    {
        provider->models_count = (unsigned)i + 1;
        res = read_model(r, item, &provider->models[i]);
        if (res < 0)
            return res;
    }
    return 0;
}

static int read_table(struct reader *r, const json_t *root, struct price_table *table)
{
    const json_t *providers = json_object_get(root, "providers"), *item;
    const char *version = json_string_value(json_object_get(root, "version"));
    size_t i;
    int res;

    if (json_integer_value(json_object_get(root, "format")) != 1)
        return refuse(r, "format must be 1");
    if (!version || !version[0] || strlen(version) >= 32)
        return refuse(r, "version must be a text of 1 to 31 bytes");
    memcpy(table->version, version, strlen(version) + 1);
    res = array_alloc(r, providers, "providers", sizeof(*table->providers),
                      (void **)&table->providers);
    if (res < 0)
        return res;
    if (json_array_size(providers) == 0)
        return refuse(r, "there are no providers");
    json_array_foreach(providers, i, item)
    {
        table->count = (unsigned)i + 1;
        res = read_provider(r, item, &table->providers[i]);
        if (res < 0)
            return res;
    }
    return 0;
}

static void json_free(json_t **root)
{
    json_decref(*root);
}

int price_table_load(const char *path, struct price_table **ret, struct price_error *ret_error)
{
    __attribute__((cleanup(price_table_free))) struct price_table *table = NULL;
    __attribute__((cleanup(json_free))) json_t *root = NULL;
    struct reader reader = {.path = path, .error = ret_error};
    CLEAN_FILE FILE *f = fopen(path, "re");
    json_error_t error;
    struct stat st;
    int res;

    if (!f || fstat(fileno(f), &st) < 0) {
        res = -errno;
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "%s: cannot be read: %s; set data.prices_file", path, strerror(-res));
        return res;
    }
    if (st.st_size > PRICE_FILE_MAX_BYTES)
        return refuse(&reader, "is larger than %d bytes", PRICE_FILE_MAX_BYTES);
    root = json_loadf(f, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return refuse(&reader, "line %d: %s", error.line, error.text);
    table = calloc(1, sizeof(*table));
    res = table ? read_table(&reader, root, table) : -ENOMEM;
    if (res == -ENOMEM)
        snprintf(ret_error->text, sizeof(ret_error->text), "%s: out of memory", path);
    if (res < 0)
        return res;
    *ret = TAKE_PTR(table);
    return 0;
}
