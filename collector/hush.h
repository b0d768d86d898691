/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that write what people say of alerts into the store: silence, feedback. */
#pragma once

#include "collector/config.h"

#include <stdbool.h>

#define HUSH_MATCHES_MAX 8

struct hush_args {
    const char *matches[HUSH_MATCHES_MAX]; /* "feature=chat" */
    unsigned matches_count;
    const char *duration;     /* "2h" */
    const char *from, *until; /* RFC 3339 */
    const char *comment;
    bool is_planned;
};

/* `operands` ends with NULL. Returns the exit code: 0, 1 for the store, 2 for a mistake of the
 * caller's; says what went wrong on stderr. */
int hush_silence(const struct config *config, char **operands, const struct hush_args *args);
int hush_feedback(const struct config *config, char **operands);
