/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of store that a test runs on: a fresh one for every test. Static, for
 * a test program includes it once.
 */
#pragma once

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What store_open() wants; "" when this kind cannot run here. */
static char stores_where[256];
static char stores_folder[64];
static char stores_why[160]; /* it cannot run */

/* First in every test. */
#define STORES_NEEDED()                                                                            \
    do {                                                                                           \
        if (!stores_where[0]) {                                                                    \
            print_message("SKIP %s: %s\n", __func__, stores_why);                                  \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static inline int stores_setup_sqlite(void **state)
{
    (void)state;
    snprintf(stores_folder, sizeof(stores_folder), "/tmp/lectr-test-store-XXXXXX");
    if (!mkdtemp(stores_folder))
        return -1;
    snprintf(stores_where, sizeof(stores_where), "%s/db", stores_folder);
    return 0;
}

/* A server of our own, that nobody else reaches. */
static inline int stores_start(const char *how, unsigned port)
{
    char command[256];
    FILE *f;
    int status;

    stores_where[0] = '\0';
    snprintf(stores_folder, sizeof(stores_folder), "/tmp/lectr-test-pg-%d", (int)getpid());
    snprintf(command, sizeof(command), "tests/harness/postgres %s %s %u 2>%s.why", how,
             stores_folder, port, stores_folder);
    f = popen(command, "re");
    if (!f || !fgets(stores_where, sizeof(stores_where), f))
        stores_where[0] = '\0';
    stores_where[strcspn(stores_where, "\n")] = '\0';
    status = f ? pclose(f) : -1;
    if (status == 0)
        return 0;
    stores_where[0] = '\0';
    snprintf(command, sizeof(command), "%s.why", stores_folder);
    f = fopen(command, "re");
    if (!f || !fgets(stores_why, sizeof(stores_why), f))
        snprintf(stores_why, sizeof(stores_why), "PostgreSQL does not start");
    if (f)
        fclose(f);
    stores_why[strcspn(stores_why, "\n")] = '\0';
    return WEXITSTATUS(status) == 77 ? 0 : -1;
}

static inline int stores_setup_postgres(void **state)
{
    (void)state;
    return stores_start("start", 0);
}

/* A port that was free a moment ago. */
static inline unsigned stores_free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

/* On loopback, with TLS and a password. */
static inline int stores_setup_postgres_tls(void **state)
{
    (void)state;
    return stores_start("start-tls", stores_free_port());
}

static inline int stores_teardown(void **state)
{
    char command[512];

    (void)state;
    snprintf(command, sizeof(command),
             "tests/harness/postgres stop %s; rm -rf '%s' '%s.why' '%s.log'", stores_folder,
             stores_folder, stores_folder, stores_folder);
    return system(command);
}

static inline void stores_sql(const char *sql)
{
    PGconn *conn = PQconnectdb(stores_where);
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        print_message("%s", PQerrorMessage(conn));
    assert_true(PQresultStatus(result) == PGRES_COMMAND_OK ||
                PQresultStatus(result) == PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(conn);
}

static inline bool stores_is_postgres(void)
{
    return strncmp(stores_where, "postgresql:", 11) == 0;
}

/* After every test. */
static inline int stores_empty(void **state)
{
    char command[320];

    (void)state;
    if (!stores_where[0])
        return 0;
    if (stores_is_postgres()) {
        /* A test that failed has left its connection. */
        stores_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE backend_type = 'client backend' AND pid != pg_backend_pid();"
                   "SET client_min_messages = warning; DROP SCHEMA public CASCADE;"
                   "CREATE SCHEMA public");
        return 0;
    }
    snprintf(command, sizeof(command), "rm -f '%s'*", stores_where);
    return system(command);
}
