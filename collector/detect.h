/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closed minutes -> alerts. Holds the baseline of every series
 * (org, feature, provider, model), of the features, providers and organisations
 * above them, and the episodes that are under way. A deviation is told once, at the
 * level that explains it (detect_explain.c).
 *
 * Pure, event time only: the same minutes in the same order give the same
 * alerts, whenever they are told. Nothing is stored here; after a start the
 * minutes of the store are told again with `quiet` set.
 */
#pragma once

#include "collector/alert.h"
#include "collector/config.h"
#include "collector/sketch.h"
#include "collector/store_query.h"
#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

/* Series with a baseline; further ones are counted, not judged. */
#define DETECT_SERIES_MAX 100000

/* The rules that are judged here are the first of enum alert_rule. */
#define DETECT_RULE_COUNT (ALERT_LATENCY_P95 + 1)

struct detect;

/* What an evaluation found; the alert is borrowed for the call. -errno ends it. */
typedef int (*detect_emit)(void *ctx, const struct alert *alert);

int detect_new(const struct config_detect *settings, struct detect **ret_detect) LECTR_MUST_USE;
void detect_free(struct detect **detect);

/* One minute: detect_begin, every cell of the minute (workloads apart or
 * summed), then detect_close (the minute is over: judge and learn) or
 * detect_peek (it is still running, `elapsed_s` of it are told: judge only;
 * the cells are forgotten). -EINVAL: not the minute after the last closed one;
 * an empty minute is told with no cells. */
int detect_begin(struct detect *d, int64_t minute_s) LECTR_MUST_USE;
int detect_add(void *ctx, const struct store_series_name *name,
               const struct rollup_cell *cell) LECTR_MUST_USE;
/* `quiet`: learn and follow episodes, tell nobody. */
int detect_close(struct detect *d, bool quiet, detect_emit emit, void *ctx) LECTR_MUST_USE;
int detect_peek(struct detect *d, uint32_t elapsed_s, detect_emit emit, void *ctx) LECTR_MUST_USE;

/* Was a minute planned for this traffic (names beyond its level are "")? It is judged,
 * not learned. NULL: none is. */
typedef bool (*detect_planned)(void *ctx, const struct store_series_name *name, int64_t minute_s);
void detect_set_planned(struct detect *d, detect_planned planned, void *ctx);

uint64_t detect_series(const struct detect *d);
uint64_t detect_refused(const struct detect *d);

/* The whole state after the minute closed last, as chunks of at least `chunk_bytes`:
 * detect_save_begin(), then detect_save_some() until *ret_done; no minute is told
 * meanwhile. What is loaded into a new detector of the same settings goes on bit by bit:
 * each chunk in its order, then detect_load_end(). -EPROTO: of another version, other
 * settings, or damaged; the detector must be thrown away. */
void detect_save_begin(struct detect *d);
int detect_save_some(struct detect *d, size_t chunk_bytes, struct buf *out,
                     bool *ret_done) LECTR_MUST_USE;
int detect_load(struct detect *d, struct slice chunk) LECTR_MUST_USE;
int detect_load_end(struct detect *d) LECTR_MUST_USE;
/* The minute closed last; 0 = none. */
int64_t detect_last_minute(const struct detect *d);

/* What would be told of a series that is quiet now. */
struct detect_state {
    enum alert_level level;
    struct store_series_name name; /* borrowed; workload NULL */
    const char *confidence;        /* warming, provisional, calibrated */
    double history_hours;
    int64_t seen_s;  /* the minute of the last call; models only */
    unsigned active; /* alerts under way */
    /* The least ratio to the usual that would be told now, and its window; 0 = none yet. */
    struct {
        double ratio;
        uint32_t window_s;
    } calls, cost, tokens;
};
/* Every series that is judged by itself, in the order in which they came. */
int detect_each(const struct detect *d, int (*each)(void *ctx, const struct detect_state *state),
                void *ctx) LECTR_MUST_USE;

/* Episodes after a quiet learning: those that were told before go on, others
 * are dropped and may begin anew. One that was told of a minute before it was over is not found
 * by learning whole minutes, or at another level: it is adopted as it was told, and ends as any
 * other. Nothing happens when its series is not known. -ENOMEM. */
int detect_adopt(struct detect *d, const struct alert *told) LECTR_MUST_USE;
bool detect_has_episode(const struct detect *d, const char *fingerprint);
void detect_set_told(struct detect *d, const char *fingerprint);
void detect_drop_untold(struct detect *d);
