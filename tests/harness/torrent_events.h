/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long run of made-up messages of lectr.v1, as many agents at once would tell
 * them, and what a collector must have in the end. Pure; the same plan gives the
 * same bytes, so that a message that was not acked is simply made again.
 *
 * An *emission* is one message on the wire. Most are a numbered event (Call, Gap,
 * Coverage); every TORRENT_EXTRA_EVERY-th is an extra: an event told again under
 * another message id, or garbage. Some numbers are never sent: holes.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"
#include "proto/event.h"
#include "proto/subject.h"

#include <stdio.h>

#define TORRENT_EXTRA_EVERY 101

struct torrent_plan {
    uint64_t seed;
    uint64_t events;    /* numbers that are given away, holes among them */
    uint64_t instances; /* agents; every one has the same number of events, about */
    uint64_t series;    /* org x feature x provider x model x workload */
    uint64_t orgs, features;
    uint64_t end_ns;   /* of the last event */
    uint64_t span_ns;  /* between the first and the last */
    uint64_t late_ns;  /* some events ended up to this long before their turn */
    bool old_subjects; /* some gaps and coverage come under subjects without a part */
    bool clean;        /* no extras, no holes, nothing late: for benchmarks */
};

struct torrent;

/* Borrowed until the next call. */
struct torrent_message {
    const char *subject;
    const char *id; /* Nats-Msg-Id */
    struct slice data;
};

/* -ENOMEM; -EINVAL for a plan without events, instances or series. */
int torrent_new(const struct torrent_plan *plan, struct torrent **ret_torrent) LECTR_MUST_USE;
void torrent_free(struct torrent **torrent);
uint64_t torrent_emissions(const struct torrent *t);
/* False when this emission is a hole. `count`: add it to the totals; once for each emission. */
bool torrent_at(struct torrent *t, uint64_t emission, bool count,
                struct torrent_message *ret_message);
/* What was counted, as one JSON object on one line; `tail` (", \"x\":1" or "") goes in before its
 * end. */
void torrent_print_totals(const struct torrent *t, const char *tail, FILE *out);
