/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage -> cost, from a table of list prices (prices.json). Integer arithmetic
 * throughout: prices are read as decimal text into pico-USD, one rounding (half
 * up) to nano-USD at the end of a call.
 *
 * Limits: a price is at most PRICE_USD_MAX, a count at most PRICE_COUNT_MAX;
 * what lies beyond makes the file refused or the usage unknown.
 */
#pragma once

#include "agent/call.h"
#include "proto/base/cleanup.h"

#define PRICE_USD_MAX 1000000ULL
#define PRICE_COUNT_MAX 1000000000000ULL
#define PRICE_FILE_MAX_BYTES (16 * 1024 * 1024)
#define PRICE_VERSION_MAX 48
#define PRICE_SUPPLEMENT_NAME "prices-supplement.yaml"

struct price_table;

/* An error a person can act on. */
struct price_error {
    char text[512]; /* "prices.json: providers[3] (openai): …" */
};

/* Reads prices.json alone. -errno; ret_error is filled, *ret untouched on failure. */
int price_table_load(const char *path, struct price_table **ret,
                     struct price_error *ret_error) LECTR_MUST_USE;
/* Adds the hand-kept rules of a supplement. The table is as it was on failure. */
int price_supplement_load(const char *path, struct price_table *table,
                          struct price_error *ret_error) LECTR_MUST_USE;
/* Both: prices.json and, where there is one beside it, PRICE_SUPPLEMENT_NAME. */
int price_load(const char *path, struct price_table **ret,
               struct price_error *ret_error) LECTR_MUST_USE;
void price_table_free(struct price_table **table);

struct price_summary {
    const char *version;    /* lives as long as the table */
    const char *supplement; /* its version, NULL: none */
    unsigned providers, models, rules;
};
void price_table_summary(const struct price_table *table, struct price_summary *ret_summary);

/*
 * Fills call->cost from the call's other fields; reads nothing else and cannot
 * fail. `unix_s` is when the call began (prices have dates). The basis says how:
 *   provider       the answer said what it cost; wins over the table
 *   table          list price x usage, per model and tier of context length
 *   supplement     as table, but a rule of the supplement had a part in it: a
 *                  service tier, a unit or a model that the table lacks
 *   free           an operation that is not billed, or a request that was refused
 *                  before any work (401, 429, ...) or never sent
 *   unknown_tier   the tier that served it (flex, priority, batch, ...) has no
 *                  price for this model
 *   unknown_model  no such model at that provider, or none was named
 *   unknown_usage  some count is not known
 *   unknown_unit   the model has no price for something that was used
 * With one of the unknown ones all three costs are unknown. A row with low and
 * high costs an interval, low <= expected <= high; without a count its expected
 * value is the middle. `table` may be NULL: then unknown_model.
 *
 * With "provider", call->cost.list_nanousd is what the table would have said,
 * where it has all prices.
 */
void price_call(const struct price_table *table, struct call *call, uint64_t unix_s);

/* The provider's cost lies more than 1% outside what the table says. */
bool price_disagrees(const struct call_cost *cost);

/* Models of a provider without any price (tier ""), or without one for a tier
 * that its answers may name. */
#define PRICE_UNPRICED_NAMES 4
struct price_unpriced {
    const char *provider, *tier;
    unsigned models, unpriced;
    const char *name[PRICE_UNPRICED_NAMES]; /* the first of them */
};
void price_each_unpriced(const struct price_table *table,
                         void (*each)(void *ctx, const struct price_unpriced *found), void *ctx);
