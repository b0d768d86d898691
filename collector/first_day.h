/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first day of a baseline, kept until its end, to be gone through once more: by
 * the minute in hours that follow a busy one, otherwise in half hours, whose calls
 * are scattered over their minutes when they are told again (seeded by the time).
 */
#pragma once

#include "collector/baseline.h"

/* The hours of a day that begins within one, and the time until all are there. */
#define FIRST_DAY_HOURS_MAX 31
/* There is room for these from the beginning: what grows bit by bit beside thousands of
 * others leaves holes that are nobody's. */
#define FIRST_DAY_ENTRIES_LEAST (2 * FIRST_DAY_HOURS_MAX)

struct first_day {
    uint32_t first_minute, last_minute; /* of what is kept */
    uint32_t by_minute;                 /* hours, bit by bit from the first one */
    uint8_t hours;
    uint16_t count; /* of entries */
    float *entries;
    float *hour; /* the minutes of the running hour; NULL: it is not a busy one */
};

int first_day_new(int64_t minute, struct first_day **ret_first) LECTR_MUST_USE;
void first_day_free(struct first_day **first);
void first_day_note(struct first_day *f, int64_t minute, double sum);
/* `minute` is the last one told, perhaps within an hour; before its state is gone from
 * the windows. -ENOMEM, -ENOSPC. */
int first_day_close_hour(struct first_day *f, const struct baseline *b,
                         int64_t minute) LECTR_MUST_USE;

/* Sums of the minutes of hour `h` of those kept; returns how many, ret_minute is the
 * first one. */
uint32_t first_day_hour(const struct first_day *f, unsigned h, double mark, float ret_sums[60],
                        int64_t *ret_minute);
