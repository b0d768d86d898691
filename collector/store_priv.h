/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by store*.c only. */
#pragma once

#include "collector/call_block.h"
#include "collector/db.h"
#include "collector/store.h"

/* Every statement has a place, so that it is prepared once. */
enum store_stmt {
    STMT_NUMBER_GET,
    STMT_NUMBER_LANE,
    STMT_NUMBER_SET,
    STMT_NUMBER_PUT,
    STMT_NUMBER_ADD,
    STMT_INTERVALS_LANE,
    STMT_INTERVALS_STREAM,
    STMT_INTERVAL_AT,
    STMT_INTERVAL_PUT,
    STMT_INTERVAL_DELETE,
    STMT_LOSS,
    STMT_HOLES,
    STMT_NAMES_EACH,
    STMT_SERIES_GET,
    STMT_SERIES_ADD,
    STMT_CELL_GET,
    STMT_CELL_PUT,
    STMT_CELLS_LANE,
    STMT_GAP_ADD,
    STMT_REASONS_EACH,
    STMT_COVERAGE_ADD,
    STMT_UNPRICED_ADD,
    STMT_UNPRICED_HAS,
    STMT_UNPRICED_COUNT,
    STMT_CALL_BLOCK_ADD,
    STMT_MALFORMED_ADD,
    STMT_MALFORMED_SAME,
    STMT_MALFORMED_TRIM,
    STMT_MALFORMED_FORGET,
    STMT_MALFORMED_EACH,
    STMT_MALFORMED_DELETE,
    STMT_TOUCH,
    STMT_TOUCHED_EACH,
    STMT_TOUCHED_CLEAR,
    STMT_LANE_GET,
    STMT_LANE_PUT,
    STMT_LANE_EACH,
    STMT_PRUNE_CELLS,
    STMT_PRUNE_GAPS,
    STMT_PRUNE_COVERAGE,
    STMT_PRUNE_UNPRICED,
    STMT_PRUNE_CALLS,
    STMT_PRUNE_ALERTS,
    STMT_PRUNE_SILENCES,
    STMT_BLOCKS_SMALL,
    STMT_BLOCK_DELETE,
    STMT_ALERT_ADD,
    STMT_ALERT_UNPUBLISHED,
    STMT_ALERT_WAITING,
    STMT_ALERT_PUBLISHED,
    STMT_ALERT_LIST,
    STMT_ALERT_ACTIVE,
    STMT_ALERT_ACTIVE_AFTER,
    STMT_ALERT_LAST,
    STMT_ALERT_UNROUTED,
    STMT_ALERT_ROUTED,
    STMT_LETTER_ADD,
    STMT_LETTER_END,
    STMT_LETTER_PUT,
    STMT_LETTERS_DUE,
    STMT_LETTERS_DEAD,
    STMT_LETTERS_TRIM,
    STMT_LETTERS_BURY,
    STMT_LETTERS_REVIVE,
    STMT_LETTERS_COUNT,
    STMT_TOLD_PUT,
    STMT_TOLD_END,
    STMT_TOLD_GET,
    STMT_TOLD_EACH,
    STMT_QUERY_CELLS,
    STMT_QUERY_ERRORS,
    STMT_QUERY_GAPS,
    STMT_QUERY_COVERAGE,
    STMT_QUERY_UNPRICED,
    STMT_QUERY_CALLS,
    STMT_QUERY_SPAN,
    STMT_SHARES_MODEL,
    STMT_SHARES_FEATURE,
    STMT_SHARES_PROVIDER,
    STMT_SHARES_ORG,
    STMT_BASELINE_PUT,
    STMT_BASELINE_EACH,
    STMT_BASELINE_NEWEST,
    STMT_BASELINE_DROP,
    STMT_COLLECTOR_SEEN,
    STMT_COLLECTOR_EACH,
    STMT_COLLECTOR_LEAVE,
    STMT_COLLECTOR_FORGET,
    STMT_COLLECTOR_EVICT,
    STMT_LEASE_ADD,
    STMT_LEASE_EACH,
    STMT_LEASE_HELD,
    STMT_LEASE_TAKE,
    STMT_LEASE_RELEASE,
    STMT_SEEN_ADD,
    STMT_SEEN_EACH,
    STMT_SEEN_UNTOLD,
    STMT_SEEN_TOLD,
    STMT_SILENCE_ADD,
    STMT_SILENCE_EACH,
    STMT_SILENCE_END,
    STMT_FEEDBACK_PUT,
    STMT_FEEDBACK_GET,
    STMT_RULE_STATE_GET,
    STMT_RULE_STATE_PUT,
    STMT_CHANGED_EACH,
    STMT_TOUCHED_BUCKET,
    STMT_UNTOLD_CELLS,
    STMT_CELL_TOLD,
    STMT_COVERAGE_PARTS,
    STMT_COVERAGE_TOLD,
    STMT_PRUNE_COVERAGE_TOLD,
    STMT_PRUNE_CELLS_TOLD,
    /* migrations */
    STMT_OLD_ERRORS,
    STMT_OLD_ERRORS_PUT,
    STMT_OLD_CALLS,
    STMT_OLD_CALLS_PUT,
    STMT__COUNT,
};

/* How many rows of unpriced calls a minute of a lane has, as far as the transaction knows. */
struct store_room {
    bool is_known, is_full;
    int64_t bucket, lane;
    int64_t most; /* no more than so many */
};
#define STORE_ROOMS 64

struct store {
    int (*fence)(void *ctx, struct store *s);
    void *fence_ctx;
    struct db *db;
    struct store_room rooms[STORE_ROOMS];
    struct reason *reasons; /* of gaps, see store_reason.c */
    bool knows_reasons;     /* those that are stored */
};

extern const char *const store_sql[STMT__COUNT];

/* The reason of a gap, or that of all beyond the limit. */
int store_pass_reason(struct store *s, const struct record *rec, int64_t at_s,
                      const char **ret_reason) LECTR_MUST_USE;
void store_forget_reasons(struct store *s);

/* Rows of ALERT_COLUMNS. */
int store_each_alert_row(struct db_stmt *stmt,
                         int (*each)(void *ctx, const struct store_alert *alert),
                         void *ctx) LECTR_MUST_USE;

/* Creates the tables or brings them forward. -ENOTSUP: written by a newer version. */
int store_migrate(struct db *db, struct db_error_text *ret_error) LECTR_MUST_USE;

/* 0 for the -EBADMSG of a part of a roll-up, which is counted; all else as it is. */
int store_pass_damage(int r) LECTR_MUST_USE;
/* Adds the columns of a cell that begin at column 0; their number is STORE_CELL_COLUMNS. */
#define STORE_CELL_COLUMNS 24
int store_read_cell(struct db_stmt *stmt, struct rollup_cell *into) LECTR_MUST_USE;
