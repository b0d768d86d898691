/* SPDX-License-Identifier: Apache-2.0 */
/* What JetStream says about a delivery in its ack subject. Pure, allocates nothing. */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

/* Borrowed from the subject. */
struct bus_ref {
    struct slice consumer;
    uint64_t stream_seq;
    uint64_t delivery_seq; /* the consumer's own count: without holes when nothing was lost */
    uint64_t time_ns;      /* when the stream had it, Unix */
    uint64_t pending;      /* messages of the consumer behind it */
};

/* Both forms: $JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<delivery seq>.<time>.<pending>, and
 * the one that begins with domain and account. -EINVAL. */
int bus_ref_parse(const char *reply, struct bus_ref *ret_ref) LECTR_MUST_USE;
