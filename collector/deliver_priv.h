/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by deliver*.c only: what the thread of deliver.c has in its hands. */
#pragma once

#include "collector/alerting.h"
#include "collector/deliver.h"
#include "collector/store.h"
#include "collector/webhook.h"

#include <pthread.h>
#include <stdatomic.h>

/* Under way at once for one receiver: two letters and one repetition of what is active. */
#define LETTERS_AT_ONCE 2
#define SLOTS (DELIVER_RECEIVERS_MAX * (LETTERS_AT_ONCE + 1))
#define RESEND_AT_ONCE 200
#define RESEND_RETRY_S 15

_Static_assert(DELIVER_RECEIVERS_MAX == ALERTING_RECEIVERS_MAX, "as many as the file may name");

struct channel {
    const struct alerting_receiver *to; /* of `alerting` */
    uint64_t hold_until_ns;             /* it asked to be left alone; monotonic */
    uint64_t resend_ns;                 /* when what is active is told again; monotonic */
    int64_t resend_after;               /* alert row: what comes before was told in this round */
    unsigned letters;                   /* under way */
    bool is_resending, is_failing;
    unsigned resent[RESEND_AT_ONCE]; /* hashes of the fingerprints, while is_resending */
    unsigned resent_count;
    struct deliver_receiver_stats stats;
};

/* One attempt: under way until webhook says that it is done, then until the store knows. */
struct slot {
    bool is_used, is_done, is_resend;
    int channel; /* -1: its receiver is not in the file any more */
    int64_t letter;
    uint32_t attempts;
    unsigned resent;
    int64_t last_row;
    struct webhook_result result;
};

struct deliver {
    struct store *store;
    char *path;         /* of the file of rules */
    bool may_be_absent; /* until it was read once */
    struct alerting *alerting;
    struct webhook *webhook;
    struct channel channels[DELIVER_RECEIVERS_MAX];
    unsigned count;
    struct slot slots[SLOTS];
    uint64_t store_errors;
    bool store_failing;
    atomic_bool stop, is_active, must_reload;
    pthread_t thread;
    pthread_mutex_t lock; /* of shared */
    struct deliver_stats shared;
};

int64_t deliver_now_ms(void);
/* Counts and tells what the store refused, once until it works again. */
void deliver_note_store(struct deliver *d, int error);

/* --- deliver_send.c --- */

/* The letters that are due, as far as the channel may have them under way. */
int deliver_send_due(struct deliver *d, struct channel *c) LECTR_MUST_USE;
/* Alertmanager forgets what is not told again. */
int deliver_resend(struct deliver *d, struct channel *c) LECTR_MUST_USE;

/* --- deliver_settle.c --- */

/* A slot is free again when the store knows what came of it. */
void deliver_settle(struct deliver *d);
