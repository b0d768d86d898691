/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows for one statement: parameters gathered as arrays, a column each, in
 * PostgreSQL's binary format, and the statement that takes them. Pure.
 */
#pragma once

#include "collector/db_priv.h"

/* As many rows, or as many bytes of a column, are sent together. */
#define PG_MANY_ROWS 512
#define PG_MANY_BYTES (1024 * 1024)

struct pg_many {
    unsigned rows, columns_count;
    enum db_type types[DB_PARAMS_MAX];
    struct buf columns[DB_PARAMS_MAX]; /* whole arrays, but for the number of rows */
};

int pg_many_new(struct pg_many **ret_many) LECTR_MUST_USE;
void pg_many_free(struct pg_many **many);
/* `sql` with its VALUES(...) replaced by as many rows as the arrays have, of parameters of these
 * types. -EINVAL without VALUES. */
int pg_many_translate(const char *sql, const struct db_value *params, unsigned count,
                      struct buf *ret_sql) LECTR_MUST_USE;
/* -EINVAL when the types are not those of the rows before; after a failure: forget all. */
int pg_many_add(struct pg_many *m, const struct db_value *params, unsigned count) LECTR_MUST_USE;
bool pg_many_is_full(const struct pg_many *m);
/* The array, complete; valid until the next call. */
struct slice pg_many_column(struct pg_many *m, unsigned column);
void pg_many_reset(struct pg_many *m);
