/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people write them. Pure. All -EINVAL for anything else. */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>

/* RFC 3339, zone included: "2026-01-31T12:00:00Z", "…T12:00:00.5+02:00". Years 1970 to 2999. */
int when_parse(const char *text, int64_t *ret_s) LECTR_MUST_USE;
/* "90s", "30m", "2h", "7d"; at most ten years. */
int when_duration(const char *text, int64_t *ret_s) LECTR_MUST_USE;
/* "Z", "+02:00", "-05:30": minutes east of UTC. */
int when_offset(const char *text, int32_t *ret_min) LECTR_MUST_USE;
/* Days since 1970-01-01 of a civil date, and back. */
int64_t when_days(int64_t year, unsigned month, unsigned day);
void when_civil(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day);
