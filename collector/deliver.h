/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator of letters: stored alerts -> routes -> letters in the store ->
 * receivers. A thread of its own with its own connection to the store.
 *
 * An alert becomes letters in one transaction, once. A letter stays until its
 * receiver took it (at least once: a crash between the two sends it again, with
 * the same id), or until it is dead. Letters of one episode go to a receiver in
 * order, and its end waits while Alertmanager is told again that it goes on;
 * receivers do not wait for each other, and nothing else waits for them.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define DELIVER_NAME_BYTES 256
#define DELIVER_RECEIVERS_MAX 64
/* Alertmanager hears of active alerts this often. */
#define DELIVER_RESEND_S 60

struct deliver;

struct deliver_settings {
    const char *store;    /* where it is, as for store_open() */
    const char *alerting; /* file of receivers and routes */
    bool may_be_absent;   /* as long as it was never there: there are no receivers then */
};

struct deliver_receiver_stats {
    char name[DELIVER_NAME_BYTES];
    const char *type;
    uint64_t delivered, failed_attempts, died, dropped; /* since the start */
    uint64_t pending, dead;                             /* now, in the store */
    int64_t oldest_alert_ns;                            /* of those that wait; 0: none */
};

struct deliver_stats {
    bool is_active;
    uint64_t store_errors;
    unsigned count;
    struct deliver_receiver_stats receivers[DELIVER_RECEIVERS_MAX];
};

/* Logged: a file of rules that cannot be read, a store that cannot be opened. */
int deliver_start(const struct deliver_settings *settings,
                  struct deliver **ret_deliver) LECTR_MUST_USE;
/* Attempts under way are broken off and made again after the next start. */
void deliver_stop(struct deliver **deliver);

/* From any thread. */
/* Only one collector delivers: the one that judges. */
void deliver_set_active(struct deliver *d, bool is_active);
/* The file of receivers and routes is read again; a broken one changes nothing. */
void deliver_reload(struct deliver *d);
void deliver_get_stats(struct deliver *d, struct deliver_stats *ret_stats);
