/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lectr-collector replay-history: which alerts the given rules would have fired over the
 * minutes that are kept (retention.minutes_d), by the code that judges live, and which were told
 * at the time.
 * Reads the store, changes nothing.
 */
#pragma once

#include "collector/config.h"
#include "proto/base/cleanup.h"

#include <stdio.h>

struct history_args {
    const char *since;  /* "30d"; NULL: a week */
    const char *rules;  /* a file; NULL: alerting.file */
    const char *format; /* NULL or "text", "json": one object a line */
};

/* What main() returns; mistakes are told on stderr. */
int history_run(const struct config *config, const struct history_args *args, FILE *out);
