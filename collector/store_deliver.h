/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letters: which alert goes to which receiver, what became of it, and which
 * episodes a receiver was told of. Written by who delivers (deliver.h) and by
 * `dead-letters retry`. A letter that arrived is gone from here.
 */
#pragma once

#include "collector/store.h"

/* Beyond these the oldest dead letter of a receiver goes, and a new letter is dead at once. */
#define STORE_DEAD_MAX 1000
#define STORE_PENDING_MAX 10000
/* A letter that would wait longer does not: the clock was put back. */
#define STORE_WAIT_MAX_MS (2 * 3600 * 1000)

struct store_letter {
    int64_t id;
    const char *receiver;
    int64_t alert; /* its row: letters of one fingerprint go in this order */
    const char *fingerprint;
    uint32_t attempts;
    int64_t next_ms; /* not before, Unix time */
    const char *error;
    const char *alert_id;
    int status; /* lectr.v1.Alert.Status */
    int64_t at_ns;
    /* The end of the same episode has arrived there already: a letter that was tried again late. */
    bool is_outdated;
    struct slice payload; /* lectr.v1.Alert */
};
typedef int store_letter_fn(void *ctx, const struct store_letter *letter);

/* Alerts that nobody decided on yet, oldest first. */
int store_each_unrouted_alert(struct store *s, unsigned limit,
                              int (*each)(void *ctx, const struct store_alert *alert),
                              void *ctx) LECTR_MUST_USE;
/* False in ret_is_mine: another one did already. */
int store_set_alert_routed(struct store *s, int64_t row, bool *ret_is_mine) LECTR_MUST_USE;
int store_add_letter(struct store *s, const char *receiver,
                     const struct store_alert *alert) LECTR_MUST_USE;

/* Due at now_ms and the oldest of their fingerprint, oldest first. */
int store_each_due_letter(struct store *s, const char *receiver, int64_t now_ms, unsigned limit,
                          store_letter_fn *each, void *ctx) LECTR_MUST_USE;
int store_end_letter(struct store *s, int64_t id) LECTR_MUST_USE;
/* Tried in vain; dead when it is not tried again. */
int store_put_letter(struct store *s, int64_t id, uint32_t attempts, int64_t next_ms, bool is_dead,
                     const char *error) LECTR_MUST_USE;
/* Keeps the newest STORE_DEAD_MAX. */
int store_trim_dead(struct store *s, const char *receiver, uint64_t *ret_dropped) LECTR_MUST_USE;
/* Everything that waits for it. */
int store_bury_letters(struct store *s, const char *receiver, const char *error) LECTR_MUST_USE;

int store_each_dead_letter(struct store *s, unsigned limit, store_letter_fn *each,
                           void *ctx) LECTR_MUST_USE;
/* NULL: of every receiver; id 0: every one. */
int store_revive_letters(struct store *s, const char *receiver, int64_t id,
                         uint64_t *ret_count) LECTR_MUST_USE;

struct store_letter_count {
    const char *receiver;
    uint64_t pending, dead;
    int64_t oldest_alert_ns; /* of those that wait; 0: none */
};
int store_each_letter_count(struct store *s,
                            int (*each)(void *ctx, const struct store_letter_count *count),
                            void *ctx) LECTR_MUST_USE;

/* --- episodes that a receiver was told of and whose end it was not --- */

/* Notes the newest transition. */
int store_set_told(struct store *s, const char *receiver, const char *fingerprint,
                   int64_t alert_row) LECTR_MUST_USE;
int store_end_told(struct store *s, const char *fingerprint) LECTR_MUST_USE;
int store_is_told(struct store *s, const char *receiver, const char *fingerprint,
                  bool *ret_is) LECTR_MUST_USE;
/* Their newest transitions, by alert row from after_row on. */
int store_each_told(struct store *s, const char *receiver, int64_t after_row, unsigned limit,
                    int (*each)(void *ctx, const struct store_alert *alert),
                    void *ctx) LECTR_MUST_USE;
