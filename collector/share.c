/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/share.h"

#define MINUTE_S 60
#define HOUR_S 3600

static uint32_t sum32(uint32_t a, uint64_t b)
{
    return b > UINT32_MAX - a ? UINT32_MAX : a + (uint32_t)b;
}

static void put(struct share_slot *slot, uint32_t number, uint64_t all, uint64_t hits)
{
    if (slot->number > number)
        return;
    if (slot->number < number)
        *slot = (struct share_slot){.number = number};
    slot->all = sum32(slot->all, all);
    slot->hits = sum32(slot->hits, hits);
}

void share_add(struct share *s, int64_t minute_s, uint64_t all, uint64_t hits)
{
    uint32_t minute = (uint32_t)(minute_s / MINUTE_S), hour = (uint32_t)(minute_s / HOUR_S);

    put(&s->minutes[minute % SHARE_MINUTES], minute, all, hits);
    put(&s->hours[hour % SHARE_HOURS], hour, all, hits);
}

static void count(const struct share_slot *slot, uint32_t number, struct share_count *ret_count)
{
    if (slot->number != number)
        return;
    ret_count->all += slot->all;
    ret_count->hits += slot->hits;
}

struct share_count share_hour(const struct share *s, int64_t minute_s)
{
    uint32_t minute = (uint32_t)(minute_s / MINUTE_S);
    struct share_count c = {.from_s = minute_s + MINUTE_S - HOUR_S, .to_s = minute_s + MINUTE_S};

    for (uint32_t i = 0; i < SHARE_MINUTES; i++)
        count(&s->minutes[(minute - i) % SHARE_MINUTES], minute - i, &c);
    return c;
}

struct share_count share_day_before(const struct share *s, int64_t minute_s)
{
    uint32_t end = (uint32_t)((minute_s + MINUTE_S - HOUR_S) / HOUR_S);
    struct share_count c = {.from_s = (int64_t)(end - 24) * HOUR_S, .to_s = (int64_t)end * HOUR_S};

    for (uint32_t hour = end - 24; hour < end; hour++)
        count(&s->hours[hour % SHARE_HOURS], hour, &c);
    return c;
}
