/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detector's state in the store, so that a start need not learn all minutes again.
 * It is written in slices between two minutes and counts when it is whole; the newest
 * SNAPSHOT_KEPT are kept.
 */
#pragma once

#include "collector/detect.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

#define SNAPSHOT_KEPT 2
/* A slice, about. */
#define SNAPSHOT_BYTES (4 * 1024 * 1024)

/* Zeroed memory: none is under way. */
struct snapshot {
    bool is_under_way;
    int64_t at_s; /* minutes before it are in */
    unsigned parts;
};

/* Of the detector as it is now; no minute may be told before it is whole. */
void snapshot_begin(struct snapshot *s, struct detect *d);
/* Writes a slice, in a transaction of its own. */
int snapshot_step(struct snapshot *s, struct store *store, struct detect *d) LECTR_MUST_USE;
/* The newest one at or before `until_s`, with what it has learned up to. -ENOENT: there
 * is none that can be read. */
int snapshot_load(struct store *store, const struct config_detect *settings, int64_t until_s,
                  struct detect **ret_detect, int64_t *ret_at_s) LECTR_MUST_USE;
