/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/db_pg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A writer that hangs in a transaction loses its locks after this, should nobody who waits for
 * them end its connection sooner (lease.h). */
#define IDLE_IN_TRANSACTION_MS 30000

/* --- failures --- */

void pg_note_error(struct pg *pg, const char *text)
{
    snprintf(pg->error, sizeof(pg->error), "%s", text && *text ? text : "the connection broke");
    for (char *p = pg->error; *p; p++)
        if (*p == '\n')
            *p = p[1] ? ' ' : '\0';
}

static int errno_of(const struct pg *pg, const char *state)
{
    static const struct {
        const char *state; /* or its class */
        int error;
    } errors[] = {
        {"40", -EAGAIN},      /* serialization failure, deadlock */
        {"55P03", -EAGAIN},   /* lock not available */
        {"53100", -ENOSPC},   /* disk full */
        {"53200", -ENOMEM},   /* out of memory */
        {"08", -ENOTCONN},    /* connection exception */
        {"57P", -ENOTCONN},   /* shutdown, crash, not yet up */
        {"25P03", -ENOTCONN}, /* idle in transaction for too long */
    };

    if (PQstatus(pg->conn) != CONNECTION_OK)
        return -ENOTCONN;
    for (size_t i = 0; state && i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strncmp(state, errors[i].state, strlen(errors[i].state)) == 0)
            return errors[i].error;
    return -EIO;
}

int pg_conn_failed(struct pg *pg)
{
    pg_note_error(pg, PQerrorMessage(pg->conn));
    pg->is_lost = true;
    return errno_of(pg, NULL);
}

static int check_result(struct pg *pg, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        return 0;
    case PGRES_PIPELINE_ABORTED: /* the text of the first failure is the one to tell */
        return -EIO;
    default:
        if (!pg->is_lost)
            pg_note_error(pg, PQresultErrorMessage(result));
        pg->is_lost = true;
        return errno_of(pg, PQresultErrorField(result, PG_DIAG_SQLSTATE));
    }
}

/* --- the pipeline --- */

/* The next result, of one statement. `ret_result` NULL: it is dropped. */
static int take_result(struct pg *pg, PGresult **ret_result)
{
    PGresult *result = PQgetResult(pg->conn);
    int r;

    if (!result)
        return pg_conn_failed(pg);
    r = check_result(pg, result);
    if (r == 0 && ret_result)
        *ret_result = result;
    else
        PQclear(result);
    /* The NULL that ends a statement. */
    result = PQgetResult(pg->conn);
    if (result) {
        PQclear(result);
        return r < 0 ? r : pg_conn_failed(pg);
    }
    return r;
}

/* The first failure of what was not waited for. */
static int take_pending(struct pg *pg)
{
    int first = 0;

    for (; pg->pending > 0; pg->pending--) {
        int r = take_result(pg, NULL);

        if (r < 0 && first == 0)
            first = r;
        if (PQstatus(pg->conn) != CONNECTION_OK)
            break;
    }
    return first;
}

/* Up to the answer to PQpipelineSync(): a pipeline that has failed is in order again. */
static int take_sync(struct pg *pg)
{
    PGresult *result;

    while ((result = PQgetResult(pg->conn))) {
        bool is_sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;

        PQclear(result);
        if (is_sync)
            return 0;
    }
    return pg_conn_failed(pg);
}

static int send_sync(struct pg *pg)
{
    return PQpipelineSync(pg->conn) == 1 ? 0 : pg_conn_failed(pg);
}

int pg_sync(struct pg *pg)
{
    int r = send_sync(pg);
    int end;

    if (r < 0)
        return r;
    r = take_pending(pg);
    end = take_sync(pg);
    return r < 0 ? r : end;
}

int pg_drain(struct pg *pg)
{
    return pg->pending ? pg_sync(pg) : 0;
}

int pg_send(struct pg *pg, const char *sql)
{
    if (PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return pg_conn_failed(pg);
    pg->pending++;
    return 0;
}

int pg_forget_prepared(struct pg *pg)
{
    int r = pg_send(pg, "DEALLOCATE ALL");

    pg->generation++;
    return r;
}

int pg_await(struct pg *pg, PGresult **ret_result)
{
    PGresult *result = NULL;
    int r = send_sync(pg);
    int end;

    if (r < 0)
        return r;
    pg->pending--;
    r = take_pending(pg);
    end = take_result(pg, &result);
    r = r < 0 ? r : end;
    end = take_sync(pg);
    r = r < 0 ? r : end;
    if (r == 0)
        *ret_result = result;
    else
        PQclear(result);
    if (r < 0 && !pg->in_transaction && !pg->scanning && pg_forget_prepared(pg) == 0)
        end = pg_sync(pg);
    return r;
}

/* --- connecting --- */

static void ignore_notice(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

int pg_exec_plain(struct pg *pg, const char *script)
{
    PGresult *result = PQexec(pg->conn, script);
    int r = check_result(pg, result);

    PQclear(result);
    return r;
}

static int set_up(struct db *db, struct pg *pg)
{
    char script[256];
    int r;

    snprintf(script, sizeof(script),
             "SET client_encoding = 'UTF8'; SET idle_in_transaction_session_timeout = %d;"
             "SET default_transaction_read_only = %s",
             db->mode == DB_WRITER ? IDLE_IN_TRANSACTION_MS : 0,
             db->mode == DB_WRITER ? "off" : "on");
    PQsetNoticeProcessor(pg->conn, ignore_notice, NULL);
    r = pg_exec_plain(pg, script);
    if (r == 0 && PQenterPipelineMode(pg->conn) != 1)
        r = pg_conn_failed(pg);
    return r;
}

int pg_tell_name(struct pg *pg)
{
    const char *values[] = {pg->name};
    PGresult *result = NULL;
    int r;

    if (!pg->name[0])
        return 0;
    if (PQsendQueryParams(pg->conn, "SELECT set_config('application_name', $1, false)", 1, NULL,
                          values, NULL, NULL, 1) != 1)
        return pg_conn_failed(pg);
    pg->pending++;
    r = pg_await(pg, &result);
    PQclear(result);
    return r;
}

int pg_connect_anew(struct db *db)
{
    /* The URL is read last: what it says wins. */
    const char *const keys[] = {
        "fallback_application_name", "connect_timeout",  "keepalives_idle", "keepalives_interval",
        "keepalives_count",          "tcp_user_timeout", "dbname",          NULL};
    const char *const values[] = {"lectr-collector", "5", "10", "5", "3", "15000", db->where, NULL};
    struct pg *pg = db->conn;
    int r;

    PQfinish(pg->conn);
    pg->pending = 0;
    pg->in_transaction = pg->is_lost = false;
    pg->scanning = NULL;
    pg->generation++;
    pg->conn = PQconnectdbParams(keys, values, 1);
    if (PQstatus(pg->conn) != CONNECTION_OK) {
        pg_note_error(pg, PQerrorMessage(pg->conn));
        return -ENOTCONN;
    }
    r = set_up(db, pg);
    return r < 0 ? r : pg_tell_name(pg);
}

int pg_be_connected(struct db *db)
{
    struct pg *pg = db->conn;

    if (!pg->in_transaction && !pg->scanning)
        pg->is_lost = false;
    if (PQstatus(pg->conn) == CONNECTION_OK)
        return 0;
    if (pg->in_transaction) {
        pg_note_error(pg, PQerrorMessage(pg->conn));
        return -ENOTCONN;
    }
    return pg_connect_anew(db);
}
