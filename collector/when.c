/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/when.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define DAY_S 86400
#define DURATION_MAX_S (INT64_C(3660) * DAY_S)
#define OFFSET_MAX_H 14

/* Exactly `count` digits at *p. */
static int digits(const char **p, int count, unsigned *ret_value)
{
    unsigned value = 0;

    for (int i = 0; i < count; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return -EINVAL;
        value = value * 10 + (unsigned)(**p - '0');
    }
    *ret_value = value;
    return 0;
}

static int letter(const char **p, char c)
{
    if (**p != c)
        return -EINVAL;
    (*p)++;
    return 0;
}

/* Proleptic Gregorian; years begin in March so that the odd day comes last. */
int64_t when_days(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? (int64_t)month + 9 : (int64_t)month - 3;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + (int64_t)day - 1 - 719468;
}

void when_civil(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    int64_t year = 1970 + days / 366;

    while (when_days(year + 1, 1, 1) <= days)
        year++;
    *ret_year = year;
    *ret_month = 1;
    while (*ret_month < 12 && when_days(year, *ret_month + 1, 1) <= days)
        (*ret_month)++;
    *ret_day = (unsigned)(days - when_days(year, *ret_month, 1)) + 1;
}

static bool is_date(unsigned year, unsigned month, unsigned day)
{
    int64_t y;
    unsigned m, d;

    if (year < 1970 || year > 2999 || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    when_civil(when_days(year, month, day), &y, &m, &d);
    return m == month && d == day;
}

static int date(const char **p, int64_t *ret_days)
{
    unsigned year, month, day;

    if (digits(p, 4, &year) < 0 || letter(p, '-') < 0 || digits(p, 2, &month) < 0 ||
        letter(p, '-') < 0 || digits(p, 2, &day) < 0 || !is_date(year, month, day))
        return -EINVAL;
    *ret_days = when_days(year, month, day);
    return 0;
}

static int clock_time(const char **p, int64_t *ret_s)
{
    unsigned hour, minute, second;

    if (digits(p, 2, &hour) < 0 || letter(p, ':') < 0 || digits(p, 2, &minute) < 0 ||
        letter(p, ':') < 0 || digits(p, 2, &second) < 0 || hour > 23 || minute > 59 || second > 60)
        return -EINVAL;
    if (**p == '.') {
        size_t count = strspn(*p + 1, "0123456789");

        if (count == 0 || count > 9)
            return -EINVAL;
        *p += 1 + count;
    }
    *ret_s = (int64_t)hour * 3600 + (int64_t)minute * 60 + second;
    return 0;
}

int when_offset(const char *text, int32_t *ret_min)
{
    const char *p = text + 1;
    unsigned hour, minute;

    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0) {
        *ret_min = 0;
        return 0;
    }
    if ((text[0] != '+' && text[0] != '-') || digits(&p, 2, &hour) < 0 || letter(&p, ':') < 0 ||
        digits(&p, 2, &minute) < 0 || *p || hour > OFFSET_MAX_H || minute > 59)
        return -EINVAL;
    *ret_min = (text[0] == '-' ? -1 : 1) * (int32_t)(hour * 60 + minute);
    return 0;
}

int when_parse(const char *text, int64_t *ret_s)
{
    int64_t days = 0, seconds = 0;
    int32_t offset = 0;

    if (date(&text, &days) < 0)
        return -EINVAL;
    if (*text != 'T' && *text != 't' && *text != ' ')
        return -EINVAL;
    text++;
    if (clock_time(&text, &seconds) < 0 || when_offset(text, &offset) < 0)
        return -EINVAL;
    *ret_s = days * DAY_S + seconds - (int64_t)offset * 60;
    return 0;
}

int when_duration(const char *text, int64_t *ret_s)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY_S}};
    size_t count = strspn(text, "0123456789");
    int64_t value = 0;

    if (count == 0 || count > 9 || !text[count] || text[count + 1])
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].unit != text[count])
            continue;
        if (value == 0 || value > DURATION_MAX_S / units[i].seconds)
            return -EINVAL;
        *ret_s = value * units[i].seconds;
        return 0;
    }
    return -EINVAL;
}
