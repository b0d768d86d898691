/* SPDX-License-Identifier: Apache-2.0 */
/* What the API's routes read of a query, and how they answer. Pure. */
#pragma once

#include "collector/api.h"

#include <jansson.h>

/* "90s", "15m", "24h", "7d", "2w", up to ten years. -EINVAL. */
int api_span(const char *text, int64_t *ret_seconds) LECTR_MUST_USE;
/* Decimal digits alone, up to `max`. -EINVAL. */
int api_number(const char *text, int64_t max, int64_t *ret_number) LECTR_MUST_USE;
/* Appends it as one line, and takes it; NULL is -ENOMEM. */
int api_finish(json_t *root, struct buf *out) LECTR_MUST_USE;
