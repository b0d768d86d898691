/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of values through the detectors, row by row, without looking ahead: what
 * each row would have been told to be had it come in then.
 */
#pragma once

#include "collector/config.h"
#include "proto/base/cleanup.h"

#include <stdio.h>

/* What is said about a row; members that are NAN are not known at that row: the
 * baseline is still learning, or the series is none of amounts (negative values,
 * rows closer than a minute or further apart than a day). Rows of more than an hour
 * are judged by their first one. */
struct backtest_row {
    double baseline, lower, upper;
    double score; /* unusual pattern, 0..1 */
    double return_period_weeks;
};

struct backtest;

/* `step_s`: between two rows. -ENOMEM. */
int backtest_new(const struct config_detect *settings, int64_t step_s,
                 struct backtest **ret_backtest) LECTR_MUST_USE;
void backtest_free(struct backtest **backtest);
/* The row of the interval that begins at `time_s`; times do not go back. */
int backtest_feed(struct backtest *b, int64_t time_s, double value,
                  struct backtest_row *ret_row) LECTR_MUST_USE;

/* timestamp,value,baseline,lower,upper,score,return_period_weeks for each row of
 * `path`; what is not known is left empty (JSON: null). Failures are told in
 * ret_error with file and line. */
int backtest_file(const char *path, const struct config_detect *settings, bool as_json, FILE *out,
                  char *ret_error, size_t error_size) LECTR_MUST_USE;
