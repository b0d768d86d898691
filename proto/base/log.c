/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 2048

static const char *const level_names[LOG_LEVEL__COUNT] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static const char *log_component = "lectr";
static enum log_level log_max_level = LOG_LEVEL_INFO;

struct line {
    char text[LINE_BYTES];
    size_t len;
};

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (int i = 0; i < LOG_LEVEL__COUNT; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    return -EINVAL;
}

void log_setup(const char *component, enum log_level max_level)
{
    log_component = component;
    log_max_level = max_level;
}

static void put_char(struct line *l, char c)
{
    if (l->len < LINE_BYTES - 4)
        l->text[l->len++] = c;
}

static void put_raw(struct line *l, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_char(l, s[i]);
}

static void put_string(struct line *l, const char *s, size_t n)
{
    put_char(l, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c == '"' || c == '\\') {
            put_char(l, '\\');
            put_char(l, (char)c);
        } else if (c >= 0x20) {
            put_char(l, (char)c);
        } else {
            char esc[8];

            put_raw(l, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", c));
        }
    }
    put_char(l, '"');
}

static bool is_number(const char *s, size_t n)
{
    if (n == 0 || n > 19 || (n > 1 && s[0] == '0'))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return true;
}

/* "a=1 b=two words" -> ,"a":1,"b":"two words": a space only ends a value when
 * another key= follows it. */
static const char *value_end(const char *v)
{
    for (const char *space = strchr(v, ' '); space; space = strchr(space + 1, ' ')) {
        const char *k = space + 1;

        while (isalnum((unsigned char)*k) || *k == '_')
            k++;
        if (k > space + 1 && *k == '=')
            return space;
    }
    return v + strlen(v);
}

static void put_fields(struct line *l, const char *text)
{
    while (*text) {
        const char *eq = strchr(text, '=');
        const char *end;

        if (!eq)
            break;
        end = value_end(eq + 1);
        put_char(l, ',');
        put_string(l, text, (size_t)(eq - text));
        put_char(l, ':');
        if (is_number(eq + 1, (size_t)(end - eq - 1)))
            put_raw(l, eq + 1, (size_t)(end - eq - 1));
        else
            put_string(l, eq + 1, (size_t)(end - eq - 1));
        text = *end ? end + 1 : end;
    }
}

static void put_time(struct line *l)
{
    struct timespec ts;
    struct tm tm;
    char stamp[64];
    size_t n;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(stamp + n, sizeof(stamp) - n, ".%03ldZ", ts.tv_nsec / 1000000);
    put_string(l, stamp, n);
}

void log_msg(enum log_level level, const char *msg, const char *fields, ...)
{
    struct line l = {.len = 0};
    char text[1024] = "";
    va_list args;

    if (level > log_max_level)
        return;
    if (fields) {
        va_start(args, fields);
        vsnprintf(text, sizeof(text), fields, args);
        va_end(args);
    }
    put_raw(&l, "{\"time\":", 8);
    put_time(&l);
    put_raw(&l, ",\"level\":", 9);
    put_string(&l, level_names[level], strlen(level_names[level]));
    put_raw(&l, ",\"component\":", 13);
    put_string(&l, log_component, strlen(log_component));
    put_raw(&l, ",\"msg\":", 7);
    put_string(&l, msg, strlen(msg));
    put_fields(&l, text);
    l.text[l.len++] = '}';
    l.text[l.len++] = '\n';
    if (write(STDERR_FILENO, l.text, l.len) < 0)
        return; /* nobody left to tell */
}
