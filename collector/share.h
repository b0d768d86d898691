/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The share of something over the last hour, and over the day before it: calls that
 * are repetitions, calls without a price, connections that were metered. Pure, event
 * time only. Zeroed memory is empty; its bytes are its whole state.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>

#define SHARE_MINUTES 60
#define SHARE_HOURS 26

struct share_slot {
    uint32_t number; /* minutes or hours since 1970; 0: empty */
    uint32_t all, hits;
};

struct share {
    struct share_slot minutes[SHARE_MINUTES];
    struct share_slot hours[SHARE_HOURS];
};

struct share_count {
    int64_t from_s, to_s;
    uint64_t all, hits;
};

/* In rising order of minutes; may be called several times for one. */
void share_add(struct share *s, int64_t minute_s, uint64_t all, uint64_t hits);
/* The hour that ends with this minute. */
struct share_count share_hour(const struct share *s, int64_t minute_s);
/* The 24 whole hours before the hour of the clock in which that hour began. */
struct share_count share_day_before(const struct share *s, int64_t minute_s);
