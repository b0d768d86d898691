/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands of lectrctl share. */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ctl_options {
    const char *collector; /* base URL of its API */
    const char *nats;
    const char *creds, *nkey_seed, *ca_file, *cert_file, *key_file; /* NULL: none */
    const char *window;                                             /* NULL: the API's own */
    const char *by;
    const char *org;
    bool json;
    bool once;
    bool active;
    unsigned limit; /* 0: none */
};

int top_run(const struct ctl_options *o) LECTR_MUST_USE;
int report_run(const struct ctl_options *o) LECTR_MUST_USE;
int alerts_run(const struct ctl_options *o) LECTR_MUST_USE;
int coverage_run(const struct ctl_options *o) LECTR_MUST_USE;
int tail_run(const struct ctl_options *o) LECTR_MUST_USE;

/* --- fetch.c: sole curl user --- */

#define FETCH_BYTES_MAX (64 * 1024 * 1024)
/* GET of an object; an error is told on stderr. Without `json` every string
 * may be printed as it is. */
int fetch_json(const struct ctl_options *o, const char *path_and_query,
               json_t **ret_root) LECTR_MUST_USE;
/* Prints the answer as it is, once it is known to be JSON. */
int fetch_print(const struct ctl_options *o, const char *path_and_query) LECTR_MUST_USE;

/* --- clean.c: names come from whoever makes calls, and may be made to act on a terminal --- */

/* Every string in it, as text_copy() does, and no longer than a screen has use for. */
int clean_names(json_t *value) LECTR_MUST_USE;
/* Valid JSON as it is, but for control characters that JSON lets pass: they are escaped. -EIO. */
int clean_print(FILE *to, struct slice json) LECTR_MUST_USE;

/* --- cells.c: numbers for people; unknown is "?", never 0 --- */

#define CELL_BYTES 48
void cell_count(const json_t *value, char ret_cell[CELL_BYTES]);
/* `usd` with how many calls it leaves out: "$1.23 +4?"; "?" when nothing is known. */
void cell_usd(const json_t *usd, json_int_t unknown, char ret_cell[CELL_BYTES]);
/* "$1.20-$1.30", or "exact" when both are the same. */
void cell_usd_range(const json_t *cost, char ret_cell[CELL_BYTES]);
void cell_duration(const json_t *us, char ret_cell[CELL_BYTES]);
void cell_tokens(const json_t *row, char ret_cell[CELL_BYTES]);
void cell_time(json_int_t unix_s, char ret_cell[CELL_BYTES]);
/* "?" for a name that is not known. */
const char *cell_name(const json_t *row, const char *key);
json_int_t cell_int(const json_t *row, const char *key);

/* --- table.c: columns as wide as their widest cell --- */

#define TABLE_COLUMNS_MAX 16
struct table;
/* `alignment`: one character for each column, 'l' or 'r'. */
int table_new(const char *alignment, struct table **ret_table) LECTR_MUST_USE;
void table_free(struct table **table);
static inline void table_cleanup_free(struct table **table)
{
    table_free(table);
}
#define CLEAN_TABLE __attribute__((cleanup(table_cleanup_free)))
/* As many texts as there are columns; copied. */
int table_add(struct table *t, const char *const *cells) LECTR_MUST_USE;
void table_print(const struct table *t);
