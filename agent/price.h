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

struct price_table;

/* An error a person can act on. */
struct price_error {
    char text[512]; /* "prices.json: providers[3] (openai): …" */
};

/* -errno; ret_error is filled, *ret untouched on failure. */
int price_table_load(const char *path, struct price_table **ret,
                     struct price_error *ret_error) LECTR_MUST_USE;
void price_table_free(struct price_table **table);

struct price_summary {
    const char *version; /* lives as long as the table */
    unsigned providers, models;
};
void price_table_summary(const struct price_table *table, struct price_summary *ret_summary);

/*
 * Fills call->cost from the call's other fields; reads nothing else and cannot
 * fail. `unix_s` is when the call began (prices have dates). The basis says how:
 *   provider       the answer said what it cost; wins over the table
 *   table          list price × usage, per model and tier of context length
 *   free           an operation that is not billed, or a request that was refused
 *                  before any work (401, 429, …) or never sent
 *   unknown_tier   flex, priority, batch, …: the table has no prices for them
 *   unknown_model  no such model at that provider, or none was named
 *   unknown_usage  some count is not known
 *   unknown_unit   the model has no price for something that was used
 * With one of the unknown ones all three costs are unknown. A row without a
 * count but with low and high costs an interval; its expected value is the
 * middle. `table` may be NULL: then unknown_model.
 */
void price_call(const struct price_table *table, struct call *call, uint64_t unix_s);
