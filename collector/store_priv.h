/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by store*.c only. */
#pragma once

#include "collector/store.h"

#include <sqlite3.h>

/* Every statement has a place, so that it is prepared once. */
enum store_stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_NUMBER_GET,
    STMT_NUMBER_SET,
    STMT_NUMBER_ADD,
    STMT_STREAM_GET,
    STMT_STREAM_ADD,
    STMT_INTERVAL_AT,
    STMT_INTERVAL_ADD,
    STMT_INTERVAL_EXTEND,
    STMT_INTERVAL_DELETE,
    STMT_LOSS,
    STMT_HOLES,
    STMT_SERIES_GET,
    STMT_SERIES_ADD,
    STMT_SERIES_COUNT,
    STMT_CELL_GET,
    STMT_CELL_PUT,
    STMT_CELL_ERROR_ADD,
    STMT_CELL_ERRORS_COUNT,
    STMT_GAP_ADD,
    STMT_COVERAGE_ADD,
    STMT_UNPRICED_ADD,
    STMT_UNPRICED_COUNT,
    STMT_CALL_ADD,
    STMT_MALFORMED_ADD,
    STMT_MALFORMED_TRIM,
    STMT_PRUNE_CELLS,
    STMT_PRUNE_ERRORS,
    STMT_PRUNE_GAPS,
    STMT_PRUNE_COVERAGE,
    STMT_PRUNE_UNPRICED,
    STMT_PRUNE_CALLS,
    STMT_ALERT_ADD,
    STMT_ALERT_UNPUBLISHED,
    STMT_ALERT_PUBLISHED,
    STMT_ALERT_LIST,
    STMT_ALERT_ACTIVE,
    STMT_QUERY_CELLS,
    STMT_QUERY_ERRORS,
    STMT_QUERY_GAPS,
    STMT_QUERY_COVERAGE,
    STMT_QUERY_UNPRICED,
    STMT_QUERY_CALLS,
    STMT_QUERY_SPAN,
    STMT_QUERY_REVISED,
    STMT__COUNT,
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *stmts[STMT__COUNT];
};

extern const char *const store_sql[STMT__COUNT];
extern const char *const store_schema[STORE_SCHEMA_VERSION];

/* The statement, reset and without bindings; NULL when it cannot be prepared. */
sqlite3_stmt *store_stmt(struct store *s, enum store_stmt which);
/* Runs it to the end. */
int store_run(sqlite3_stmt *stmt) LECTR_MUST_USE;
/* 1 a row, 0 none, -errno; at the end the statement is reset. */
int store_step(sqlite3_stmt *stmt) LECTR_MUST_USE;
/* The text lives as long as the caller's memory does. */
void store_bind_text(sqlite3_stmt *stmt, int index, const char *text);
void store_bind_blob(sqlite3_stmt *stmt, int index, struct slice blob);
struct slice store_column_blob(sqlite3_stmt *stmt, int index);
const char *store_column_text(sqlite3_stmt *stmt, int index);
void store_reset(sqlite3_stmt *const *stmt);
/* Resets at the end of the scope: no reader is left holding an old snapshot. */
#define CLEAN_STMT __attribute__((cleanup(store_reset)))

/* Adds the columns of a cell that begin at column 0; their number is STORE_CELL_COLUMNS. */
#define STORE_CELL_COLUMNS 21
int store_read_cell(sqlite3_stmt *stmt, struct rollup_cell *into) LECTR_MUST_USE;
