/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of many subjects into the stream: together while all is well, one by
 * one for a while after something failed, for only then it is known what. Order
 * does not matter. What the server does not take of one subject holds up no other;
 * see hold.h.
 */
#pragma once

#include "collector/bus.h"
#include "collector/hold.h"
#include "proto/base/cleanup.h"

struct courier {
    struct hold hold;
    struct bus *bus; /* of the turn */
    uint64_t now_ns;
    uint64_t careful_until_ns; /* 0: together */
    bool has_pending;          /* sent together, in this turn */
    bool is_news;              /* what is held may have another verdict: reset by who asked again */
    int failure;               /* of this turn, why a message was not taken */
};

void courier_begin(struct courier *c, struct bus *bus, uint64_t now_ns);
/* One by one takes its time: a turn should send less. */
bool courier_is_careful(const struct courier *c);
/* HOLD_GO: it is sent, and taken if courier_end() says so. HOLD_GIVE_UP is logged, once for a
 * subject. After a `failure` the turn should end. */
enum hold_verdict courier_send(struct courier *c, const char *subject, const char *id,
                               struct slice data) LECTR_MUST_USE;
/* -errno: nothing of what was sent in the turn counts; it is to be sent again. */
int courier_end(struct courier *c, uint32_t wait_ms) LECTR_MUST_USE;
/* Something that is held may be tried, or be given up. */
bool courier_is_due(const struct courier *c);
