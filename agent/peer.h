/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's end of the helper's socket: receives its messages, sends what
 * must not get lost. At most PEER_QUEUE_MAX messages wait while the socket is
 * full; beyond that the newest is refused.
 */
#pragma once

#include "agent/ipc.h"
#include "agent/loop.h"

#define PEER_QUEUE_MAX 4096

struct peer;

/* `fds` become the handler's. */
typedef void (*peer_message_fn)(void *user, const struct ipc_msg *msg, const int *fds,
                                unsigned fds_count);
/* -EPIPE: the helper is gone; anything else: it cannot be understood. Called once. */
typedef void (*peer_gone_fn)(void *user, int error);

int peer_new(struct loop *loop, int fd, peer_message_fn on_message, peer_gone_fn on_gone,
             void *user, struct peer **ret_peer) LECTR_MUST_USE;
/* Closes the socket. */
void peer_free(struct peer **peer);
bool peer_is_alive(const struct peer *p);
/* Messages lost because their descriptors found no room in this process. */
uint64_t peer_lost(const struct peer *p);

/* -EPIPE: gone; -ENOSPC: too much waits. */
int peer_who(struct peer *p, const struct ipc_who *who) LECTR_MUST_USE;
int peer_need_sockets(struct peer *p, uint64_t netns_cookie, int family,
                      unsigned count) LECTR_MUST_USE;
int peer_census_ack(struct peer *p, uint64_t id) LECTR_MUST_USE;
int peer_ready(struct peer *p) LECTR_MUST_USE;
