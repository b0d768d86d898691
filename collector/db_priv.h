/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by db*.c only: what a driver is. */
#pragma once

#include "collector/db.h"
#include "proto/base/buf.h"

#define DB_SQL_BYTES_MAX (64 * 1024)

enum db_type {
    DB_NULL,
    DB_INT,
    DB_REAL,
    DB_TEXT,
    DB_BLOB,
};

struct db_value {
    enum db_type type;
    int64_t number;
    double real;
    struct slice bytes;
};

struct db_stmt {
    struct db *db;
    const char *sql;
    bool is_running; /* has been stepped, not to its end */
    bool is_broken;  /* a parameter that cannot be */
    unsigned params_count;
    struct db_value params[DB_PARAMS_MAX];
    void *prepared; /* the driver's */
};

struct db_word {
    const char *from;
    const char *to;
};

struct db_driver {
    bool is_shared;
    const struct db_word *words; /* ends with a NULL */
    /* `db->conn` is set when it succeeds, or when it can still say what failed. */
    int (*open)(struct db *db);
    void (*close)(struct db *db);
    const char *(*error)(const struct db *db);
    int (*set_name)(struct db *db, const char *name);
    int (*own)(struct db *db);
    int (*give_back)(struct db *db, unsigned pages);
    /* The script is translated already. */
    int (*exec)(struct db *db, const char *script);
    int (*get_version)(struct db *db, int *ret_version);
    int (*set_version)(struct db *db, int version);
    int (*lock_schema)(struct db *db);
    int (*begin)(struct db *db);
    int (*commit)(struct db *db);
    void (*rollback)(struct db *db);
    int (*step)(struct db_stmt *stmt);
    /* NULL rows: need not wait. */
    int (*run)(struct db_stmt *stmt, uint64_t *ret_rows);
    void (*reset)(struct db_stmt *stmt);
    void (*forget)(struct db_stmt *stmt); /* releases `prepared` */
    int64_t (*get_int)(struct db_stmt *stmt, int column);
    double (*get_real)(struct db_stmt *stmt, int column);
    const char *(*get_text)(struct db_stmt *stmt, int column);
    struct slice (*get_blob)(struct db_stmt *stmt, int column);
};

struct db {
    const struct db_driver *driver;
    void *conn; /* the driver's */
    char *where;
    enum db_mode mode;
    struct db_stmt *stmts;
    unsigned stmts_count;
};

extern const struct db_driver db_sqlite, db_postgres;

/* The SQL in the driver's dialect; NUL-terminated. */
int db_translate(const struct db *db, const char *sql, struct buf *ret_sql) LECTR_MUST_USE;
