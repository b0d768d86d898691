/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator: bus -> intake -> store -> ack, for the lanes that are this
 * process's. A thread beside it keeps up the lease (lanes), another one judges
 * what was stored (judge).
 */
#pragma once

#include "collector/bus.h"
#include "collector/config.h"
#include "collector/guard.h"
#include "proto/base/cleanup.h"

#include <stdatomic.h>
#include <stdint.h>

struct pipeline;
struct judge_hooks;

/* Of the file of rules. */
struct rules_stats {
    uint64_t rules, groups, refused; /* refused: groups beyond the limit, each time they came */
    uint64_t silences, silenced;     /* silenced: transitions that receivers were not told */
    uint64_t reloads, reload_failures;
};

/* A copy of what other threads may know. Counters count since the start. */
struct pipeline_stats {
    bool connected, store_ok;
    uint64_t calls, gaps, coverages, others;
    uint64_t duplicates, malformed, late;
    uint64_t batches, store_errors, bus_errors;
    uint64_t commit_ns_total, commit_ns_max;
    struct bus_state stream;
    /* While more waits: when the stream had the last message that was stored, or when those that
     * are not stored yet were fetched. Else 0. */
    uint64_t behind_ns;
    uint64_t alerts, alerts_pending, alerts_given_up;
    uint64_t rollups_told, rollups_revised; /* messages; of them: told before */
    uint64_t rollups_given_up;
    uint64_t series_refused;    /* beyond what the detector holds */
    unsigned collectors, lanes; /* alive; this one's */
    uint64_t series;            /* the detector's */
    uint64_t watermark_ns;      /* latest end time seen, 0 = none */
    int64_t closed_s;           /* minutes before this are closed, 0 = none */
    uint64_t tick_mono_ns;      /* last turn of the loop */
    uint64_t started_ns;
    struct rules_stats rules;
    struct guard_stats names[GUARD__COUNT]; /* how names are bounded */
};

/* Opens the store; NATS is reached for when it runs. -errno, logged. */
int pipeline_new(const struct config *config, struct pipeline **ret_pipeline) LECTR_MUST_USE;
/* judge.h */
void pipeline_set_hooks(struct pipeline *p, const struct judge_hooks *hooks);
/* Until *stop. A NATS or store that is away is waited for. */
int pipeline_run(struct pipeline *p, const atomic_bool *stop) LECTR_MUST_USE;
void pipeline_free(struct pipeline **pipeline);
/* How NATS is reached. */
struct bus_settings pipeline_bus_settings(const struct config *config, const char *name);
/* Any thread. */
void pipeline_get_stats(struct pipeline *p, struct pipeline_stats *ret_stats);
