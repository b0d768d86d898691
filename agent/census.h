/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kernel's counts as rows, each exactly once. A row is fixed in the
 * pinned told-map before it leaves and stays the same until it is acknowledged,
 * over any number of deaths of either process. At most CENSUS_FLYING_MAX rows
 * wait for their acknowledgement; one that waits long is sent again, the same:
 * the proxies tell what has one id once.
 */
#pragma once

#include "agent/ipc.h"
#include "bpf/abi.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define CENSUS_FLYING_MAX 1024

struct census;
struct capture;
struct identity;

struct census_clock {
    uint64_t mono_ns, wall_ns;
};

int census_new(struct capture *capture, struct identity *identity, struct census_clock now,
               struct census **ret_census) LECTR_MUST_USE;
void census_free(struct census **census);

/* Reads the counts and sends what is new. `send` returns 0 or -errno: the row
 * is offered again at the next poll. */
typedef int (*census_send_fn)(void *user, const struct ipc_msg *msg);
void census_poll(struct census *c, struct census_clock now, census_send_fn send, void *user);
/* The row is in the spool. Unknown ids are ignored. */
void census_ack(struct census *c, uint64_t id);
/* The proxy is no more. */
void census_proxy_ended(struct census *c, struct census_clock now);
/* There is another proxy: what was not acknowledged is to be sent again. */
void census_proxy_changed(struct census *c);
/* Call when there is a new proxy that nobody was steered to yet: what was steered
 * before and not taken by a proxy never will be, and is told as agent_died. */
void census_before_steering(struct census *c);

/* ---- pure parts ---- */

/* Seen connections that nobody gave a verdict on. */
uint64_t census_undecided(const struct lectr_census *seen);
/* Steered connections that no proxy took (yet). */
uint64_t census_lost(const struct lectr_census *seen, uint64_t taken);
/* The same inputs give the same UUID. */
void census_gap_id(const __u64 epoch[2], const struct lectr_census_key *key, uint64_t first_ns,
                   unsigned slot, uint64_t from, uint64_t to, char ret_id[37]);
/* NULL: rows of this slot are not told. */
const char *census_reason(unsigned slot);
