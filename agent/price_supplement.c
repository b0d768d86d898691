/* SPDX-License-Identifier: Apache-2.0 */
/* The supplement: a YAML file of rules, each with the document that it is from. */
#include "agent/price_table.h"
#include "agent/yamldoc.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

/* The units that a rule may price, in the order of struct unit_prices. */
#define UNIT_KEYS(X)                                                                               \
    X(input_mtok)                                                                                  \
    X(input_audio_mtok)                                                                            \
    X(input_image_mtok)                                                                            \
    X(cache_read_mtok)                                                                             \
    X(cache_audio_read_mtok)                                                                       \
    X(cache_write_mtok)                                                                            \
    X(cache_write_5m_mtok)                                                                         \
    X(cache_write_1h_mtok)                                                                         \
    X(output_mtok)                                                                                 \
    X(output_audio_mtok)                                                                           \
    X(output_image_mtok)                                                                           \
    X(output_reasoning_mtok)                                                                       \
    X(audio_hours)                                                                                 \
    X(output_video_seconds)                                                                        \
    X(images)                                                                                      \
    X(characters_mcount)                                                                           \
    X(input_document_kpages)                                                                       \
    X(web_searches_kcount)                                                                         \
    X(rerank_searches_kcount)                                                                      \
    X(requests_kcount)

#define MEMBER(key) char *key;
#define FIELD(key)                                                                                 \
    CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct unit_prices,     \
                           key, 1, 24),
#define NAME(key) #key,

struct unit_prices {
    UNIT_KEYS(MEMBER)
};

static const char *const unit_names[] = {UNIT_KEYS(NAME)};
#define UNITS_COUNT (sizeof(unit_names) / sizeof(unit_names[0]))

struct source {
    char *id, *title, *date, *url;
};

struct rule {
    char *provider, *tier, *when, *since, *until, *factor, *factor_low, *factor_high, *source;
    char **models;
    unsigned models_count;
    uint64_t max_input_tokens;
    uint32_t classes;
    struct unit_prices *usd, *usd_low, *usd_high;
};

struct document {
    uint32_t format;
    char *version;
    struct source *sources;
    unsigned sources_count;
    struct rule *rules;
    unsigned rules_count;
};

struct price_supplement {
    struct document *document;
};

#define TEXT(type, key, name, more)                                                                \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (more), struct type, name, 1, 240)
#define PRICES(name)                                                                               \
    CYAML_FIELD_MAPPING_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct rule, name,    \
                            unit_fields)

static const cyaml_schema_field_t unit_fields[] = {UNIT_KEYS(FIELD) CYAML_FIELD_END};

static const cyaml_strval_t class_names[] = {
    {"input", CLASS_INPUT},     {"cached_input", CLASS_CACHED_INPUT},
    {"output", CLASS_OUTPUT},   {"cache_write", CLASS_CACHE_WRITE},
    {"search", CLASS_SEARCH},   {"page", CLASS_PAGE},
    {"second", CLASS_SECOND},   {"image", CLASS_IMAGE},
    {"request", CLASS_REQUEST}, {"character", CLASS_CHARACTER},
};

static const cyaml_schema_value_t pattern_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, PRICE_MODEL_ID_MAX),
};

static const cyaml_schema_field_t source_fields[] = {
    TEXT(source, "id", id, 0),
    TEXT(source, "title", title, 0),
    TEXT(source, "date", date, 0),
    TEXT(source, "url", url, CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t rule_fields[] = {
    TEXT(rule, "provider", provider, 0),
    CYAML_FIELD_SEQUENCE("models", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct rule, models,
                         &pattern_schema, 1, 64),
    TEXT(rule, "tier", tier, CYAML_FLAG_OPTIONAL),
    TEXT(rule, "when", when, CYAML_FLAG_OPTIONAL),
    TEXT(rule, "since", since, CYAML_FLAG_OPTIONAL),
    TEXT(rule, "until", until, CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_UINT("max_input_tokens", CYAML_FLAG_OPTIONAL, struct rule, max_input_tokens),
    CYAML_FIELD_FLAGS("for", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct rule, classes,
                      class_names, CYAML_ARRAY_LEN(class_names)),
    TEXT(rule, "factor", factor, CYAML_FLAG_OPTIONAL),
    TEXT(rule, "factor_low", factor_low, CYAML_FLAG_OPTIONAL),
    TEXT(rule, "factor_high", factor_high, CYAML_FLAG_OPTIONAL),
    PRICES(usd),
    PRICES(usd_low),
    PRICES(usd_high),
    TEXT(rule, "source", source, 0),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t source_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct source, source_fields),
};
static const cyaml_schema_value_t rule_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct rule, rule_fields),
};
static const cyaml_schema_field_t document_fields[] = {
    CYAML_FIELD_UINT("format", CYAML_FLAG_DEFAULT, struct document, format),
    TEXT(document, "version", version, 0),
    CYAML_FIELD_SEQUENCE("sources", CYAML_FLAG_POINTER, struct document, sources, &source_schema, 1,
                         64),
    CYAML_FIELD_SEQUENCE("rules", CYAML_FLAG_POINTER, struct document, rules, &rule_schema, 1,
                         PRICE_RULES_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t document_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct document, document_fields),
};

struct reader {
    const char *path;
    const struct yamldoc *doc;
    struct price_error *error;
};

/* A key that is not there is looked for where its parent stands. */
static unsigned line_of(const struct reader *r, const char *field)
{
    char parent[96];
    unsigned line = yamldoc_line(r->doc, field);
    char *dot;

    snprintf(parent, sizeof(parent), "%s", field);
    while (!line && (dot = strrchr(parent, '.')) != NULL) {
        *dot = '\0';
        line = yamldoc_line(r->doc, parent);
    }
    return line ? line : 1;
}

/* `field` is a path as in "rules[3].source". */
__attribute__((format(printf, 3, 4))) static int refuse(const struct reader *r, const char *field,
                                                        const char *fmt, ...)
{
    char problem[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(problem, sizeof(problem), fmt, args);
    va_end(args);
    snprintf(r->error->text, sizeof(r->error->text), "%.120s:%u: %.120s%s%s", r->path,
             line_of(r, field), field, field[0] ? ": " : "", problem);
    return -EINVAL;
}

/* "2025-08-01" -> Unix time. */
static int parse_date(const char *text, uint64_t *ret_unix_s)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    struct tm back;
    time_t t;

    if (strlen(text) != 10 || !end || *end || tm.tm_year < 120)
        return -EINVAL;
    t = timegm(&tm);
    /* The 31st of a month with 30 days is another day. */
    if (!gmtime_r(&t, &back) || back.tm_mday != atoi(text + 8))
        return -EINVAL;
    *ret_unix_s = (uint64_t)t;
    return 0;
}

static int read_date(const struct reader *r, unsigned rule, const char *key, const char *text,
                     uint64_t *ret_unix_s)
{
    char field[64];

    if (!text)
        return 0;
    snprintf(field, sizeof(field), "rules[%u].%s", rule, key);
    return parse_date(text, ret_unix_s) < 0 ? refuse(r, field, "must be a date as in 2025-08-01")
                                            : 0;
}

static int read_factor(const struct reader *r, unsigned rule, const char *key, const char *text,
                       uint32_t *ret_factor)
{
    uint64_t pico;
    char field[64];

    if (!text)
        return 0;
    snprintf(field, sizeof(field), "rules[%u].%s", rule, key);
    /* Ten-thousandths: what is finer is no price list's. */
    if (price_parse_picousd(text, &pico) < 0 || pico % 100000000 != 0 || pico == 0 ||
        pico / 100000000 > PRICE_FACTOR_MAX)
        return refuse(r, field, "must be above 0, at most 10, with at most 4 decimals");
    *ret_factor = (uint32_t)(pico / 100000000);
    return 0;
}

static int read_factors(const struct reader *r, unsigned i, const struct rule *from,
                        struct price_rule *to)
{
    char field[64];
    int res = read_factor(r, i, "factor", from->factor, &to->factor[EXPECTED]);

    to->factor[LOW] = to->factor[HIGH] = to->factor[EXPECTED];
    if (res == 0)
        res = read_factor(r, i, "factor_low", from->factor_low, &to->factor[LOW]);
    if (res == 0)
        res = read_factor(r, i, "factor_high", from->factor_high, &to->factor[HIGH]);
    if (res < 0)
        return res;
    to->classes = from->classes;
    snprintf(field, sizeof(field), "rules[%u].factor", i);
    if ((to->factor[EXPECTED] != 0) != (to->classes != 0))
        return refuse(r, field, "factor and for go together");
    if ((from->factor_low || from->factor_high) && !from->factor)
        return refuse(r, field, "must stand beside factor_low and factor_high");
    if (to->factor[LOW] > to->factor[EXPECTED] || to->factor[EXPECTED] > to->factor[HIGH])
        return refuse(r, field, "must lie between factor_low and factor_high");
    return 0;
}

static int read_prices(const struct reader *r, unsigned rule, const char *key,
                       const struct unit_prices *from, struct price **ret_prices,
                       unsigned *ret_count)
{
    char *const *texts = (char *const *)from;
    char field[96];

    if (!from)
        return 0;
    *ret_prices = calloc(UNITS_COUNT, sizeof(**ret_prices));
    if (!*ret_prices)
        return -ENOMEM;
    for (size_t i = 0; i < UNITS_COUNT; i++) {
        struct price *price = &(*ret_prices)[*ret_count];

        if (!texts[i])
            continue;
        snprintf(field, sizeof(field), "rules[%u].%s.%s", rule, key, unit_names[i]);
        price->unit = price_unit_by_key(unit_names[i]);
        if (!price->unit || price_parse_picousd(texts[i], &price->picousd) < 0)
            return refuse(r, field, "\"%s\" is no price in USD (digits, up to 12 decimals)",
                          texts[i]);
        ++*ret_count;
    }
    return 0;
}

static int read_all_prices(const struct reader *r, unsigned i, const struct rule *from,
                           struct price_rule *to)
{
    const struct unit_prices *sets[VARIANTS] = {
        [LOW] = from->usd_low, [EXPECTED] = from->usd, [HIGH] = from->usd_high};
    static const char *const keys[VARIANTS] = {
        [LOW] = "usd_low", [EXPECTED] = "usd", [HIGH] = "usd_high"};
    char field[64];
    int res = 0;

    for (int v = 0; v < VARIANTS && res == 0; v++)
        res = read_prices(r, i, keys[v], sets[v], &to->prices[v], &to->prices_count[v]);
    if (res < 0)
        return res;
    for (unsigned p = 0; p < to->prices_count[EXPECTED]; p++) {
        const struct price *price = &to->prices[EXPECTED][p];
        const struct price *low =
            price_best(to->prices[LOW], to->prices_count[LOW], &price->unit->dims);
        const struct price *high =
            price_best(to->prices[HIGH], to->prices_count[HIGH], &price->unit->dims);

        snprintf(field, sizeof(field), "rules[%u].usd.%s", i, price->unit->key);
        if ((low && low->picousd > price->picousd) || (high && high->picousd < price->picousd))
            return refuse(r, field, "must lie between usd_low and usd_high");
    }
    return 0;
}

/* "search_context_size=low" */
static int read_when(const struct reader *r, unsigned i, struct rule *from, struct price_rule *to)
{
    char field[64], *equals = from->when ? strchr(from->when, '=') : NULL;

    snprintf(field, sizeof(field), "rules[%u].when", i);
    if (!from->when)
        return 0;
    if (!equals || equals == from->when || !equals[1])
        return refuse(r, field, "must be KEY=VALUE of a usage number, as in speed=fast");
    *equals = '\0';
    to->when_path = from->when;
    to->when_value = equals + 1;
    return 0;
}

static int check_lower(const struct reader *r, unsigned i, const struct rule *from)
{
    char field[64];

    for (unsigned m = 0; m < from->models_count; m++) {
        snprintf(field, sizeof(field), "rules[%u].models[%u]", i, m);
        for (const char *c = from->models[m]; *c; c++)
            if (*c >= 'A' && *c <= 'Z')
                return refuse(r, field, "names are compared in lower case");
    }
    return 0;
}

static int check_source(const struct reader *r, unsigned i, const struct document *d)
{
    char field[64];

    for (unsigned s = 0; s < d->sources_count; s++)
        if (strcmp(d->sources[s].id, d->rules[i].source) == 0)
            return 0;
    snprintf(field, sizeof(field), "rules[%u].source", i);
    return refuse(r, field, "there is no source with the id %s", d->rules[i].source);
}

static int read_rule(const struct reader *r, unsigned i, struct document *d, struct price_rule *to)
{
    struct rule *from = &d->rules[i];
    char field[64];
    int res = check_source(r, i, d);

    *to = (struct price_rule){.provider = from->provider,
                              .model = (const char *const *)from->models,
                              .models_count = from->models_count,
                              .tier = from->tier ? from->tier : "",
                              .max_input_tokens = from->max_input_tokens};
    if (res == 0)
        res = check_lower(r, i, from);
    if (res == 0)
        res = read_date(r, i, "since", from->since, &to->since_unix_s);
    if (res == 0)
        res = read_date(r, i, "until", from->until, &to->until_unix_s);
    if (res == 0)
        res = read_when(r, i, from, to);
    if (res == 0)
        res = read_factors(r, i, from, to);
    if (res == 0)
        res = read_all_prices(r, i, from, to);
    if (res < 0)
        return res;
    snprintf(field, sizeof(field), "rules[%u]", i);
    if (!to->classes && !to->prices[LOW] && !to->prices[EXPECTED] && !to->prices[HIGH])
        return refuse(r, field, "says neither a factor nor a price");
    if (to->classes && !to->tier[0] && !to->when_path)
        return refuse(r, field, "a factor needs a tier or a when");
    if (to->until_unix_s && to->until_unix_s <= to->since_unix_s)
        return refuse(r, field, "until must be after since");
    return 0;
}

static int read_sources(const struct reader *r, const struct document *d)
{
    char field[64];
    uint64_t unused;

    if (d->format != 1)
        return refuse(r, "format", "must be 1");
    if (parse_date(d->version, &unused) < 0)
        return refuse(r, "version", "must be a date as in 2025-08-01");
    for (unsigned s = 0; s < d->sources_count; s++) {
        snprintf(field, sizeof(field), "sources[%u].date", s);
        if (parse_date(d->sources[s].date, &unused) < 0)
            return refuse(r, field, "must be a date as in 2025-08-01");
    }
    return 0;
}

static void rules_free(struct price_rule *rules, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        for (int v = 0; v < VARIANTS; v++)
            free(rules[i].prices[v]);
    free(rules);
}

static void supplement_fini(struct price_supplement *s)
{
    if (s)
        yamldoc_free_data(&document_schema, s->document);
    free(s);
}

void price_supplement_free(struct price_table *table)
{
    rules_free(table->rules, table->rules_count);
    supplement_fini(table->supplement);
    table->rules = NULL;
    table->supplement = NULL;
    table->rules_count = 0;
}

const char *price_supplement_version(const struct price_table *table)
{
    return table->supplement ? table->supplement->document->version : NULL;
}

static int read_document(const struct reader *r, struct document *d, struct price_table *table)
{
    struct price_supplement *supplement = calloc(1, sizeof(*supplement));
    struct price_rule *rules = calloc(d->rules_count, sizeof(*rules));
    size_t len = strlen(table->version);
    int res = supplement && rules ? read_sources(r, d) : -ENOMEM;

    for (unsigned i = 0; i < d->rules_count && res == 0; i++)
        res = read_rule(r, i, d, &rules[i]);
    if (res < 0) {
        if (rules)
            rules_free(rules, d->rules_count);
        free(supplement);
        return res;
    }
    price_supplement_free(table);
    supplement->document = d;
    table->supplement = supplement;
    table->rules = rules;
    table->rules_count = d->rules_count;
    snprintf(table->version + len, sizeof(table->version) - len, "+%s", d->version);
    return 0;
}

static void doc_free(struct yamldoc **doc)
{
    yamldoc_free(doc);
}

int price_supplement_load(const char *path, struct price_table *table,
                          struct price_error *ret_error)
{
    __attribute__((cleanup(doc_free))) struct yamldoc *doc = NULL;
    struct yaml_fault fault = {0};
    struct reader r = {.path = path, .error = ret_error};
    void *data = NULL;
    int res = yamldoc_load(path, &document_schema, &data, &doc, &fault);

    if (res < 0) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%.120s:%u: %.140s%s%.200s", path,
                 fault.line, fault.field, fault.field[0] ? ": " : "", fault.problem);
        return res;
    }
    r.doc = doc;
    res = data ? read_document(&r, data, table) : refuse(&r, "", "the file is empty");
    if (res == -ENOMEM)
        snprintf(ret_error->text, sizeof(ret_error->text), "%.160s: out of memory", path);
    if (res < 0)
        yamldoc_free_data(&document_schema, data);
    return res;
}

int price_load(const char *path, struct price_table **ret, struct price_error *ret_error)
{
    __attribute__((cleanup(price_table_free))) struct price_table *table = NULL;
    const char *slash = strrchr(path, '/');
    char beside[4096];
    int res = price_table_load(path, &table, ret_error);

    if (res < 0)
        return res;
    snprintf(beside, sizeof(beside), "%.*s" PRICE_SUPPLEMENT_NAME,
             slash ? (int)(slash + 1 - path) : 0, path);
    if (access(beside, F_OK) == 0)
        res = price_supplement_load(beside, table, ret_error);
    if (res < 0)
        return res;
    *ret = TAKE_PTR(table);
    return 0;
}
