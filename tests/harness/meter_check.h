/* SPDX-License-Identifier: Apache-2.0 */
/* A call against the truth of a recorded exchange, field by field. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "agent/call.h"

struct check {
    const char *id;
    bool quiet;
    unsigned fields, failed;
};

/* Prints "id field expected got" unless quiet. */
void check_mismatch(struct check *c, const char *field, const char *expected, const char *got);
void check_call(struct check *c, const json_t *exchange, const struct call *call);
/* With single bytes of an uncoded body, first_token_us tells the offset. */
void check_first(struct check *c, const json_t *truth, const struct call *call);
