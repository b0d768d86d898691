/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch on a thread of its own, with its own connections to the store and to
 * NATS: however long it looks at a minute, messages are taken in. Runs while the
 * judge's lane is this process's; keeps house in the store as well.
 */
#pragma once

#include "collector/config.h"
#include "collector/lanes.h"
#include "collector/pipeline.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct judge;

/* `lanes` is borrowed. -errno, logged. */
int judge_start(const struct config *config, struct lanes *lanes,
                struct judge **ret_judge) LECTR_MUST_USE;
void judge_stop(struct judge **judge);

/* Who else follows what the judge does; each may be NULL. Called on its thread. */
struct judge_hooks {
    void (*on_reload)(void *ctx);                 /* the file of rules was read again */
    void (*on_active)(void *ctx, bool is_active); /* the judge's lane came or went */
    void *ctx;
};
/* Any thread. */
void judge_set_hooks(struct judge *j, const struct judge_hooks *hooks);

/* What the pipeline has committed. For its thread. */
void judge_note(struct judge *j, int64_t minute_s, uint64_t calls);
void judge_note_latest(struct judge *j, uint64_t end_ns);
/* The watch's part of the stats; any thread. */
void judge_fill_stats(struct judge *j, struct pipeline_stats *stats);
