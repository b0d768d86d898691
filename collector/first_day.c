/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/first_day.h"

#include "collector/profile.h"
#include "collector/window.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define HOUR_MIN 60
#define HALF_MIN 30
#define BUSY_CALLS (PROFILE_FINE_CALLS * HOUR_MIN)
/* More are as good as evenly spread. */
#define SCATTER_MAX 2000

int first_day_new(int64_t minute, struct first_day **ret_first)
{
    struct first_day *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->first_minute = (uint32_t)minute;
    f->entries = calloc(FIRST_DAY_ENTRIES_LEAST, sizeof(*f->entries));
    if (!f->entries) {
        free(f);
        return -ENOMEM;
    }
    *ret_first = f;
    return 0;
}

void first_day_free(struct first_day **first)
{
    if (!*first)
        return;
    free((*first)->entries);
    free((*first)->hour);
    free(*first);
    *first = NULL;
}

void first_day_note(struct first_day *f, int64_t minute, double sum)
{
    if (f->hour)
        f->hour[minute % HOUR_MIN] = (float)sum;
}

static int append(struct first_day *f, const float *entries, uint32_t count)
{
    if (f->count + count > FIRST_DAY_ENTRIES_LEAST) {
        float *more = realloc(f->entries, (f->count + count) * sizeof(*more));

        if (!more)
            return -ENOMEM;
        f->entries = more;
    }
    memcpy(f->entries + f->count, entries, count * sizeof(*entries));
    f->count += (uint16_t)count;
    return 0;
}

int first_day_close_hour(struct first_day *f, const struct baseline *b, int64_t minute)
{
    float halves[2] = {0};
    uint32_t minutes = (uint32_t)(minute % HOUR_MIN) + 1;
    int r;

    if (f->hours >= FIRST_DAY_HOURS_MAX)
        return -ENOSPC;
    if (f->hour) {
        r = append(f, f->hour, minutes);
        f->by_minute |= 1u << f->hours;
    } else {
        halves[1] = (float)(minutes > HALF_MIN ? window_sum(b, minute, minutes - HALF_MIN) : 0);
        halves[0] = b->hour_sum - halves[1];
        r = append(f, halves, 2);
    }
    if (r < 0)
        return r;
    f->hours++;
    f->last_minute = (uint32_t)minute;
    if (!f->hour && (double)b->hour_count >= BUSY_CALLS) {
        f->hour = calloc(HOUR_MIN, sizeof(*f->hour));
        if (!f->hour)
            return -ENOMEM;
    }
    return 0;
}

/* --- told again --- */

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static void scatter(double sum, double mark, int64_t minute, uint32_t minutes, float *ret_sums)
{
    double calls = mark > 0 ? sum / mark : 0;
    uint64_t random = (uint64_t)minute;

    for (uint32_t i = 0; i < minutes; i++)
        ret_sums[i] = calls > SCATTER_MAX ? (float)(sum / minutes) : 0;
    if (calls > SCATTER_MAX || sum <= 0)
        return;
    calls = fmax(round(calls), 1);
    for (int i = 0; i < (int)calls; i++)
        ret_sums[next_random(&random) % minutes] += (float)(sum / calls);
}

uint32_t first_day_hour(const struct first_day *f, unsigned h, double mark, float ret_sums[60],
                        int64_t *ret_minute)
{
    int64_t hour = (int64_t)(f->first_minute / HOUR_MIN + h) * HOUR_MIN;
    int64_t from = h == 0 ? f->first_minute : hour;
    int64_t to = hour + HOUR_MIN - 1 < f->last_minute ? hour + HOUR_MIN - 1 : f->last_minute;
    uint32_t place = 0;

    for (unsigned i = 0; i < h; i++)
        place += f->by_minute >> i & 1 ? HOUR_MIN : 2;
    if (f->by_minute >> h & 1) {
        memcpy(ret_sums, f->entries + place + from % HOUR_MIN,
               (size_t)(to - from + 1) * sizeof(*ret_sums));
    } else {
        int64_t middle = hour + HALF_MIN;

        if (from < middle)
            scatter((double)f->entries[place], mark, from,
                    (uint32_t)((to < middle ? to + 1 : middle) - from), ret_sums);
        if (to >= middle)
            scatter((double)f->entries[place + 1], mark, middle > from ? middle : from,
                    (uint32_t)(to + 1 - (middle > from ? middle : from)),
                    ret_sums + (middle > from ? middle - from : 0));
    }
    *ret_minute = from;
    return (uint32_t)(to - from + 1);
}
