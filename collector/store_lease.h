/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the collectors that share a store, and of who has which lane: for lease.c. */
#pragma once

#include "collector/store.h"

#define STORE_JUDGE INT64_C(-1) /* the lane of who closes minutes */

/* See db_own(). */
int store_own(struct store *s) LECTR_MUST_USE;
bool store_is_shared(const struct store *s);
/* Names the connection, see store_evict(). */
int store_set_name(struct store *s, const char *id) LECTR_MUST_USE;

/* The rows of all lanes, with nobody as owner unless they are there. */
int store_add_leases(struct store *s) LECTR_MUST_USE;
/* By the database's clock, as all times here. */
int store_heartbeat(struct store *s, const char *id) LECTR_MUST_USE;
/* Those who joined first come first. */
int store_each_collector(struct store *s, uint32_t ttl_ms,
                         int (*each)(void *ctx, const char *id, bool is_alive),
                         void *ctx) LECTR_MUST_USE;
int store_each_lease(struct store *s,
                     int (*each)(void *ctx, int64_t lane, const char *owner, int64_t epoch),
                     void *ctx) LECTR_MUST_USE;
/* The lanes of the owner, which nobody can take before the transaction ends. */
int store_each_held(struct store *s, const char *owner,
                    int (*each)(void *ctx, int64_t lane, int64_t epoch), void *ctx) LECTR_MUST_USE;
/* From `epoch` to the next; not when it moved on, or its owner is in a transaction. */
int store_take_lease(struct store *s, int64_t lane, int64_t epoch, const char *owner,
                     bool *ret_taken) LECTR_MUST_USE;
int store_release_lease(struct store *s, int64_t lane, int64_t epoch,
                        const char *owner) LECTR_MUST_USE;
/* Ends the connections of a collector, and so its transactions. */
int store_evict(struct store *s, const char *id) LECTR_MUST_USE;
int store_leave(struct store *s, const char *id) LECTR_MUST_USE;
/* Rows of collectors that own nothing and were not seen for so long. */
int store_forget_collectors(struct store *s, uint32_t age_ms) LECTR_MUST_USE;
