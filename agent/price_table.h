/* SPDX-License-Identifier: Apache-2.0 */
/* The price table in memory; shared by price.c and price_table.c alone. */
#pragma once

#include "agent/price.h"
#include "proto/base/slice.h"

#include <regex.h>

#define PRICE_TIERS_MAX 4
#define PRICE_MATCH_DEPTH_MAX 6
#define PRICE_MODEL_ID_MAX 160
#define PRICE_RULES_MAX 256
#define PRICE_FACTOR_ONE 10000U /* a factor is in ten-thousandths */
#define PRICE_FACTOR_MAX (10 * PRICE_FACTOR_ONE)

/* What is counted. A price names some of these; a usage row has all that apply,
 * and the price that names most of them without contradiction is the row's:
 * cached audio costs cache_audio_read_mtok, else …, else input_mtok. */
enum price_family {
    FAMILY_NONE,
    FAMILY_TOKEN,
    FAMILY_SECOND,
    FAMILY_PAGE,
    FAMILY_WEB_SEARCH,
    FAMILY_RERANK_SEARCH,
    FAMILY_REQUEST,
    FAMILY_IMAGE,
    FAMILY_CHARACTER,
    FAMILY__COUNT,
};
enum price_direction { DIRECTION_ANY, DIRECTION_INPUT, DIRECTION_OUTPUT };
enum price_type { TYPE_ANY, TYPE_CACHE_READ, TYPE_CACHE_WRITE, TYPE_TOOL, TYPE_REASONING };
enum price_modality {
    MODALITY_ANY,
    MODALITY_TEXT,
    MODALITY_AUDIO,
    MODALITY_IMAGE,
    MODALITY_VIDEO,
    MODALITY_OTHER,
};
enum price_ttl { TTL_ANY, TTL_5M, TTL_1H };

struct price_dims {
    uint8_t family, direction, type, modality, ttl;
};

/* "…_mtok" is USD per 1,000,000 of them. */
struct price_unit {
    const char *key;
    uint32_t per;
    struct price_dims dims;
};

struct price_tier {
    uint64_t above_tokens; /* of all input of the request */
    uint64_t picousd;
};

struct price {
    const struct price_unit *unit;
    uint64_t picousd; /* per `unit->per` */
    struct price_tier tiers[PRICE_TIERS_MAX];
    unsigned tiers_count;
};

/* One set of prices and when it holds; the last that holds counts. */
struct price_period {
    uint64_t from_unix_s; /* 0: always */
    bool is_daily;
    uint32_t daily_from_s, daily_until_s; /* of the UTC day; may wrap */
    struct price *prices;
    unsigned count;
};

enum match_kind {
    MATCH_EQUALS,
    MATCH_STARTS_WITH,
    MATCH_ENDS_WITH,
    MATCH_CONTAINS,
    MATCH_REGEX,
    MATCH_NOT,
    MATCH_AND,
    MATCH_OR,
    MATCH__COUNT,
};

struct match {
    enum match_kind kind;
    char *text;
    regex_t *regex;
    struct match *parts;
    unsigned count;
};

struct price_model {
    char *id;
    struct match match;
    struct price_period *periods;
    unsigned periods_count;
    uint32_t min_seconds; /* a shorter recording is billed as this long */
};

struct price_provider {
    char *id;
    char **names; /* what provider profiles call it, besides its id */
    unsigned names_count;
    regex_t *host;
    char **fallback; /* ids of providers whose models it serves */
    unsigned fallback_count;
    struct price_model *models;
    unsigned models_count;
};

/* Low, expected, high. */
enum { LOW, EXPECTED, HIGH, VARIANTS };

/* What a factor is for, one bit each. */
enum price_class {
    CLASS_INPUT = 1 << 0, /* tokens: not cached, tool input too */
    CLASS_CACHED_INPUT = 1 << 1,
    CLASS_CACHE_WRITE = 1 << 2,
    CLASS_OUTPUT = 1 << 3, /* reasoning too */
    CLASS_SEARCH = 1 << 4,
    CLASS_PAGE = 1 << 5,
    CLASS_SECOND = 1 << 6,
    CLASS_IMAGE = 1 << 7,
    CLASS_CHARACTER = 1 << 8,
    CLASS_REQUEST = 1 << 9,
};

/* One rule of the supplement: when it applies, and the price or factor it says.
 * Its texts are the supplement's. */
struct price_rule {
    const char *provider;     /* an id of the table, or of a provider profile */
    const char *const *model; /* patterns, lower case; none: every model */
    unsigned models_count;
    const char *tier;                    /* "": list price */
    const char *when_path, *when_value;  /* NULL: always; else a usage value of the answer */
    uint64_t since_unix_s, until_unix_s; /* until 0: open */
    uint64_t max_input_tokens;           /* 0: whatever the input */
    uint32_t classes;                    /* that `factor` is for */
    uint32_t factor[VARIANTS];           /* of the list price; 0: none */
    struct price *prices[VARIANTS];      /* counts: one of them may have less */
    unsigned prices_count[VARIANTS];
};

struct price_supplement; /* price_supplement.c */

struct price_table {
    char version[PRICE_VERSION_MAX];
    struct price_provider *providers;
    unsigned count;
    struct price_rule *rules; /* in the order of the file */
    unsigned rules_count;
    struct price_supplement *supplement; /* what the rules point into */
};

const struct price_unit *price_unit_by_key(const char *key);
const struct price_unit *price_unit_at(unsigned index); /* NULL behind the last */
/* "0.003625" [USD] -> pico-USD, exactly. -EINVAL: no such price; -ERANGE: too high. */
int price_parse_picousd(const char *text, uint64_t *ret_picousd) LECTR_MUST_USE;

/* price_supplement.c; the table is left without rules. */
void price_supplement_free(struct price_table *table);
const char *price_supplement_version(const struct price_table *table); /* NULL: none */

/* price_match.c: which provider, which model. */
bool price_match(const struct match *m, const char *model);
const struct price_provider *price_provider_find(const struct price_table *t,
                                                 const struct call *call);
const struct price_provider *price_provider_by_id(const struct price_table *t, const char *id);
/* The provider's own models, then those of its fallbacks. */
const struct price_model *price_model_find(const struct price_table *t,
                                           const struct price_provider *p, const char *name);
/* `to` has the name without blanks around it, in lower case. */
char *price_lower_copy(char *to, size_t size, const char *from);

/* price_rule.c: what the supplement adds. */
struct price_item {
    const struct price_table *table;
    const struct call *call;
    const char *provider;            /* id of the table, or of the profile */
    const struct price_model *model; /* NULL: not in the table */
    const char *name;                /* as the answer or the row names it */
    const struct price_dims *dims;
    uint64_t unix_s;
    uint64_t input_tokens[VARIANTS]; /* of the whole request */
    const char *tier;                /* "": list */
};

/* Pico-USD per `per`. */
struct price_range {
    uint64_t picousd[VARIANTS];
    uint32_t per;
    bool by_rule;
};

/* The price of the table that names most of a row's dimensions, NULL: none. */
const struct price *price_best(const struct price *prices, unsigned count,
                               const struct price_dims *dims);
/* The price of all tokens follows the request's whole input: a cliff, not a slope. */
uint64_t price_at_input(const struct price *price, uint64_t input_tokens);
/* What an item costs: `list` is the table's price or NULL. NULL, or the basis that
 * says why it has no price; ret_range is then untouched. */
const char *price_item_range(const struct price_item *item, const struct price *list,
                             struct price_range *ret_range);
