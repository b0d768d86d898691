/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/points.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIME_MAX_S INT64_C(253402300799) /* the last of year 9999 */
#define BOM "\xef\xbb\xbf"

void points_fini(struct points *p)
{
    free(p->list);
    *p = (struct points){0};
}

/* "", "Z", "+02:00"; -1 for anything else. */
static int zone_of(const char *text, long *ret_offset_s)
{
    int hours, minutes, length = 0;

    *ret_offset_s = 0;
    if (!*text || strcmp(text, "Z") == 0)
        return 0;
    if ((*text != '+' && *text != '-') || strspn(text + 1, "0123456789:") != strlen(text + 1) ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &length) != 2 || text[1 + length] ||
        hours > 14 || minutes > 59)
        return -1;
    *ret_offset_s = (*text == '-' ? -1 : 1) * (hours * 3600L + minutes * 60L);
    return 0;
}

static int time_of(const char *text, int64_t *ret_time_s)
{
    struct tm tm = {0};
    const char *rest;
    char *end;
    long offset_s;
    long long seconds;

    rest = strptime(text, "%Y-%m-%d %H:%M", &tm);
    if (!rest)
        rest = strptime(text, "%Y-%m-%dT%H:%M", &tm);
    if (!rest) {
        errno = 0;
        seconds = strtoll(text, &end, 10);
        if (end == text || *end || errno || seconds < -TIME_MAX_S || seconds > TIME_MAX_S)
            return -1;
        *ret_time_s = seconds;
        return 0;
    }
    if (*rest == ':')
        rest = strptime(rest, ":%S", &tm);
    if (rest && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (!rest || zone_of(rest, &offset_s) < 0)
        return -1;
    *ret_time_s = (int64_t)timegm(&tm) - offset_s;
    return 0;
}

/* What is wrong with the line; NULL when nothing is. */
static const char *parse_line(char *line, struct point *ret_point)
{
    char *comma = strchr(line, ',');
    size_t length;
    char *end;

    if (!comma)
        return "expected timestamp,value";
    *comma = 0;
    length = strlen(line);
    if (length >= sizeof(ret_point->text) || time_of(line, &ret_point->time_s) < 0)
        return "not a timestamp (2026-01-31 12:00:00 or Unix seconds)";
    memcpy(ret_point->text, line, length + 1);
    ret_point->value = strtod(comma + 1, &end);
    if (end == comma + 1 || *end)
        return "the value is not a number";
    return isfinite(ret_point->value) ? NULL : "the value is not finite";
}

static int append(struct points *p, size_t *room, const struct point *point)
{
    struct point *more;

    if (p->count == *room) {
        *room = *room ? 2 * *room : 1024;
        more = realloc(p->list, *room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        p->list = more;
    }
    p->list[p->count++] = *point;
    return 0;
}

/* 1: a line, without its end, 0: there is none any more; *ret_wrong for one that is none. */
static int next_line(FILE *file, char *ret_line, size_t size, const char **ret_wrong)
{
    size_t len = 0;
    int c;

    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        if (c == 0 || len + 1 == size) {
            *ret_wrong = c == 0 ? "a NUL byte" : "the line is too long";
            return 1;
        }
        ret_line[len++] = (char)c;
    }
    if (len && ret_line[len - 1] == '\r')
        len--;
    ret_line[len] = '\0';
    return len || c != EOF;
}

/* The first one may be a heading, and begin with what Windows puts there. */
static bool is_heading(const char *line)
{
    static const char *const headings[] = {"timestamp,", "\"timestamp\","};

    for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++)
        if (strncmp(line, headings[i], strlen(headings[i])) == 0)
            return true;
    return false;
}

static int load_lines(FILE *file, struct points *p, size_t *ret_line, const char **ret_wrong)
{
    char buffer[256];
    size_t room = 0;

    for (*ret_line = 1; next_line(file, buffer, sizeof(buffer), ret_wrong) > 0; ++*ret_line) {
        const size_t skip = *ret_line == 1 && strncmp(buffer, BOM, 3) == 0 ? 3 : 0;
        char *line = buffer + skip;
        struct point point;
        int r;

        if (*ret_wrong)
            return -EINVAL;
        if (!line[0] || (*ret_line == 1 && is_heading(line)))
            continue;
        *ret_wrong = parse_line(line, &point);
        if (!*ret_wrong && p->count && point.time_s < p->list[p->count - 1].time_s)
            *ret_wrong = "timestamps must not go back";
        if (!*ret_wrong && p->count >= POINTS_MAX)
            *ret_wrong = "more than 10000000 lines";
        if (*ret_wrong)
            return -EINVAL;
        r = append(p, &room, &point);
        if (r < 0)
            return r;
    }
    return ferror(file) ? -EIO : 0;
}

int points_load(const char *path, struct points *ret_points, char *ret_error, size_t error_size)
{
    struct points p = {0};
    const char *wrong = NULL;
    size_t line = 0;
    FILE *file = fopen(path, "re");
    int r = file ? 0 : -errno;

    if (r == 0)
        r = load_lines(file, &p, &line, &wrong);
    if (file)
        fclose(file);
    if (r == 0 && p.count == 0) {
        r = -EINVAL;
        line = 1;
        wrong = "no line with timestamp,value";
    }
    if (r < 0) {
        if (wrong)
            snprintf(ret_error, error_size, "%s:%zu: %s", path, line, wrong);
        else
            snprintf(ret_error, error_size, "%s: %s", path, strerror(-r));
        points_fini(&p);
        return r;
    }
    *ret_points = p;
    return 0;
}
