/* SPDX-License-Identifier: Apache-2.0 */
/* The price table in memory; shared by price.c and price_table.c alone. */
#pragma once

#include "agent/price.h"
#include "proto/base/slice.h"

#include <regex.h>

#define PRICE_TIERS_MAX 4
#define PRICE_MATCH_DEPTH_MAX 6
#define PRICE_MODEL_ID_MAX 160

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

struct price_table {
    char version[32];
    struct price_provider *providers;
    unsigned count;
};

const struct price_unit *price_unit_by_key(const char *key);
bool price_match(const struct match *m, const char *model);
