/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unconnected sockets that the helper opened in callers' network namespaces,
 * per (namespace, family), so that a connection need not wait for a message.
 * Pure bookkeeping over descriptors; it only closes what it gives up.
 *
 * At most POOL_KEYS_MAX keys, POOL_SOCKETS_MAX sockets a key, and as many in all
 * as pool_new() was told. A key that ran empty doubles its target up to that;
 * one that did not for POOL_DECAY_MS halves it, down to where it began, and
 * closes what it has beyond.
 */
#pragma once

#include "agent/ipc.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define POOL_KEYS_MAX IPC_NETNS_KEYS_MAX
#define POOL_SOCKETS_MAX 64
#define POOL_DECAY_MS 30000
/* An order that was not answered for so long is taken as lost. */
#define POOL_ORDER_MS 2000

struct pool;

struct pool_stats {
    uint32_t keys, sockets;
    uint64_t taken, empty;
};

/* `target`: how many sockets of a key are kept ready; `sockets_max`: of all. */
int pool_new(unsigned target, unsigned sockets_max, struct pool **ret_pool) LECTR_MUST_USE;
void pool_free(struct pool **pool);

/* Call now and then: lets targets decay. */
void pool_tend(struct pool *p, uint64_t now_ms);
/* Takes the descriptor over in any case. -ENOSPC, -ENOMEM: it was closed. */
int pool_put(struct pool *p, uint64_t netns_cookie, int family, int fd) LECTR_MUST_USE;
/* Hands out a descriptor; -EAGAIN when there is none. */
int pool_take(struct pool *p, uint64_t netns_cookie, int family) LECTR_MUST_USE;
/* How many to order from the helper now for `waiting` connections; counted as ordered. */
unsigned pool_order(struct pool *p, uint64_t netns_cookie, int family, unsigned waiting,
                    uint64_t now_ms);
/* Closes what belongs to a namespace. */
void pool_drop(struct pool *p, uint64_t netns_cookie);

void pool_stats(const struct pool *p, struct pool_stats *ret_stats);
