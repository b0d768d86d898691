/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a SQL database: SQLite (a path) or PostgreSQL (a URL), seen
 * alike. Not thread-safe: a thread has a connection of its own.
 *
 * Statements are a table given at opening and named by their place in it. They
 * are written in the dialect both have in common: parameters ?1 ?2 ..., types
 * BIGINT, DOUBLE PRECISION, TEXT, BYTEA, and these words where they differ:
 *
 *   $ID         a number given by the database, primary key
 *   $END        ends CREATE TABLE of rows that are found by their primary key and
 *               replaced often
 *   $NOW_MS     the database's clock, Unix milliseconds
 *   $FOR_SHARE  ends a SELECT whose rows nobody may change before the commit
 *   $SKIP_BUSY  ends a SELECT of rows to change; rows others hold are left out
 *   $EVICTED    ends a SELECT that ends the connections named ?1 (db_set_name)
 *   $SCAN       begins a SELECT of many rows: they are read some at a time. Outside a
 *               transaction nothing is written before its end
 *   $BIGSCAN    the same for few rows of many bytes
 *   $MANY       begins a write of VALUES(?1, ?2, ...) that is run for row after row: the rows may
 *               be written together. None may be of the same key, no parameter NULL or of another
 *               type than the row before's
 *
 * Functions return 0 or -errno: -EIO for what the database reports, with its
 * text in db_error(); -EAGAIN when the transaction was given up for another's
 * sake and may be tried again, -ENOTCONN when the connection broke (the next
 * db_begin() or statement outside a transaction connects anew), -EBUSY in the middle of a scan.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define DB_PARAMS_MAX 40

enum db_mode {
    DB_WRITER, /* creates what is not there */
    DB_READER,
};

struct db;
struct db_stmt;

/* `statements` are borrowed for the life of the connection. -errno with
 * ret_error (as db_error() would say it) filled. */
struct db_error_text {
    char text[256];
};
int db_open(const char *where, enum db_mode mode, const char *const *statements, unsigned count,
            struct db **ret_db, struct db_error_text *ret_error) LECTR_MUST_USE;
void db_close(struct db **db);
/* Text of the last failure; valid until the next call. Never holds a password. */
const char *db_error(const struct db *db);
/* Several processes may write to it at once: PostgreSQL. */
bool db_is_shared(const struct db *db);
/* True when `where` names a PostgreSQL database. */
bool db_is_url(const char *where);
/* `where` as it may be logged: without user, password and options. */
void db_describe(const char *where, char *ret_text, size_t size);

/* The name by which others see, and may end, this connection. */
int db_set_name(struct db *db, const char *name) LECTR_MUST_USE;
/* This process is the only one that owns the database, until it ends: -EBUSY when
 * another one is. Several may own one that is shared. */
int db_own(struct db *db) LECTR_MUST_USE;

/* Room that is free, to the file system: at most so many pages. */
int db_give_back(struct db *db, unsigned pages) LECTR_MUST_USE;

/* Several statements without parameters. */
int db_exec(struct db *db, const char *script) LECTR_MUST_USE;
/* The number that migrations count up; 0 for an empty database. */
int db_get_version(struct db *db, int *ret_version) LECTR_MUST_USE;
int db_set_version(struct db *db, int version) LECTR_MUST_USE;
/* Waits until no other process migrates; held until the transaction ends. */
int db_lock_schema(struct db *db) LECTR_MUST_USE;

int db_begin(struct db *db) LECTR_MUST_USE;
/* -ENOTCONN: whether it happened is not known. */
int db_commit(struct db *db) LECTR_MUST_USE;
/* Leaves nothing of the transaction, whatever state it is in. */
void db_rollback(struct db *db);

/* The statement, reset and without parameters. It is prepared when it first runs. */
struct db_stmt *db_stmt(struct db *db, unsigned which);
/* Parameters count from 1. Text and bytes live as long as the caller's memory does;
 * they are read by the first db_step() or db_run(). */
void db_bind_int(struct db_stmt *stmt, int index, int64_t value);
void db_bind_real(struct db_stmt *stmt, int index, double value);
void db_bind_text(struct db_stmt *stmt, int index, const char *text);
void db_bind_slice(struct db_stmt *stmt, int index, struct slice text);
void db_bind_blob(struct db_stmt *stmt, int index, struct slice blob);

/* 1 a row, 0 none, -errno; at the end the statement is reset. */
int db_step(struct db_stmt *stmt) LECTR_MUST_USE;
/* To the end, rows are dropped. Inside a transaction a failure may be told by a
 * later call instead, db_commit() at the latest: writes are not waited for. */
int db_run(struct db_stmt *stmt) LECTR_MUST_USE;
/* Waits, and says how many rows were written. */
int db_run_counted(struct db_stmt *stmt, uint64_t *ret_rows) LECTR_MUST_USE;

/* Columns count from 0; NULL reads as 0, "" and no bytes. Text and bytes live
 * until the next step. */
int64_t db_int(struct db_stmt *stmt, int column);
double db_real(struct db_stmt *stmt, int column);
const char *db_text(struct db_stmt *stmt, int column);
struct slice db_blob(struct db_stmt *stmt, int column);

void db_reset(struct db_stmt *const *stmt);
/* Resets at the end of the scope: no reader is left holding an old snapshot. */
#define CLEAN_STMT __attribute__((cleanup(db_reset)))
