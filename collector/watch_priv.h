/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the watch share: minutes (watch.c), learning, alerts that were found. */
#pragma once

#include "collector/watch.h"

#include "collector/alert.h"
#include "collector/detect.h"
#include "collector/minutes.h"
#include "collector/publish.h"
#include "collector/rules.h"
#include "collector/snapshot.h"
#include "proto/base/buf.h"
#include "proto/event.h"

#define MINUTE_S 60

/* An alert on its way into the store. */
struct held {
    struct held *next;
    char id[EVENT_UUID_BYTES], fingerprint[EVENT_UUID_BYTES], org[64];
    const char *kind;
    int status;
    int64_t at_ns;
    struct buf packed;
};

struct watch {
    const struct config *config;
    struct store *store;
    struct detect *detect;
    struct publish *publish;
    struct rules *rules;
    struct minutes minutes;
    bool must_relearn;
    bool is_learning;  /* no minute is closed before this is done */
    bool learns_late;  /* because of late calls */
    int64_t learned_s; /* up to here */
    struct snapshot snapshot;
    int64_t snapshot_s; /* the last one that is whole, 0 = none */
    uint64_t relearned_mono_ns, learning_ns, peeked_mono_ns, peek_ns;
    uint64_t late_pending, late_mono_ns; /* not learned from yet; since when */
    int64_t late_from_s;                 /* the earliest of them */
    uint64_t late, alerts;
    bool has_news;                 /* events since the last look at the running minute */
    struct held *held, **held_end; /* oldest first */
    bool must_ask;                 /* a commit that failed may have happened */
    bool is_waiting;               /* not all lanes have an owner: nothing is closed */
    bool failed;                   /* the last turn */
};

/* The minute's cells into the detector, which is to be told to close it. */
int watch_tell_minute(struct watch *w, int64_t minute_s) LECTR_MUST_USE;

/* --- alerts (watch_alert.c) --- */

/* For the detector and the rules: logs, enriches and holds it. */
int watch_on_alert(void *ctx, const struct alert *told) LECTR_MUST_USE;
/* In a transaction; they are dropped when it holds. */
int watch_store_held(struct watch *w) LECTR_MUST_USE;
void watch_drop_held(struct watch *w);

/* --- learning (watch_learn.c) --- */

bool watch_should_relearn(const struct watch *w);
/* Begins to learn the minutes of the store, up to the last one that was closed. */
int watch_start_learning(struct watch *w) LECTR_MUST_USE;
/* A slice of it, so that messages are taken in meanwhile. */
int watch_learn_some(struct watch *w) LECTR_MUST_USE;
