/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to PostgreSQL in libpq's pipeline mode, for db_postgres.c: what is
 * sent, what is waited for, and what a failure means.
 */
#pragma once

#include "collector/db_priv.h"

#include <libpq-fe.h>

/* Statements on their way whose results were not looked at. */
#define PG_PENDING_MAX 256

struct pg {
    PGconn *conn;
    unsigned generation; /* of prepared statements: what was prepared before is gone */
    unsigned pending;    /* results to come before that of the next statement */
    bool in_transaction;
    bool is_lost;              /* the transaction cannot be committed any more */
    const void *scanning;      /* the statement whose cursor opened a transaction */
    struct db_stmt *gathering; /* its rows are not sent yet */
    char name[64];             /* application_name; "": the library's choice */
    char error[256];
};

/* Text of a failure that libpq has no text for. */
void pg_note_error(struct pg *pg, const char *text);
/* libpq refused: its text is noted. Returns the errno. */
int pg_conn_failed(struct pg *pg) LECTR_MUST_USE;

/* Connects; everything that was is forgotten. */
int pg_connect_anew(struct db *db) LECTR_MUST_USE;
/* Outside a transaction a connection that broke is replaced. */
int pg_be_connected(struct db *db) LECTR_MUST_USE;

/* Sets application_name, outside a transaction. */
int pg_tell_name(struct pg *pg) LECTR_MUST_USE;

/* Sends one statement, to be waited for later. */
int pg_send(struct pg *pg, const char *sql) LECTR_MUST_USE;
/* Waits for the result of what was sent last. */
int pg_await(struct pg *pg, PGresult **ret_result) LECTR_MUST_USE;
/* Waits for all that was sent: the first failure of it. A sync, not a flush: between
 * the two the server knows that it waits for us, and its idle timeout runs. */
int pg_sync(struct pg *pg) LECTR_MUST_USE;
/* The same, when anything was sent. */
int pg_drain(struct pg *pg) LECTR_MUST_USE;
/* Which statements a failure left prepared is not known: none. */
int pg_forget_prepared(struct pg *pg) LECTR_MUST_USE;
/* Outside the pipeline: several statements. */
int pg_exec_plain(struct pg *pg, const char *script) LECTR_MUST_USE;
