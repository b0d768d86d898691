/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notice.h"

#include "collector/text.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REAL_DIGITS 15

const char *notice_status(const Lectr__V1__Alert *a)
{
    switch (a->status) {
    case LECTR__V1__ALERT__STATUS__STATUS_FIRING:
        return "firing";
    case LECTR__V1__ALERT__STATUS__STATUS_RESOLVED:
        return "resolved";
    default:
        return "updated";
    }
}

const char *notice_text(const char *text)
{
    return text ? text : "";
}

const char *notice_label(const Lectr__V1__Alert *a, const char *name)
{
    for (size_t i = 0; i < a->n_labels; i++)
        if (a->labels[i]->name && strcmp(a->labels[i]->name, name) == 0)
            return notice_text(a->labels[i]->value);
    return "";
}

void notice_time(uint64_t unix_ns, char ret_text[NOTICE_TIME_BYTES])
{
    time_t second = (time_t)(unix_ns / NSEC_PER_SEC);
    uint32_t fraction = (uint32_t)(unix_ns % NSEC_PER_SEC);
    char digits[10] = "";
    struct tm tm;
    size_t len;

    gmtime_r(&second, &tm);
    len = strftime(ret_text, NOTICE_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    if (fraction) {
        snprintf(digits, sizeof(digits), "%09u", fraction);
        for (size_t n = strlen(digits); digits[n - 1] == '0'; n--)
            digits[n - 1] = '\0';
    }
    snprintf(ret_text + len, NOTICE_TIME_BYTES - len, "%s%sZ", fraction ? "." : "", digits);
}

void notice_title(const Lectr__V1__Alert *a, char ret_title[NOTICE_TITLE_BYTES])
{
    const char *name = notice_text(a->rule_name);
    char text[2 * NOTICE_TITLE_BYTES];
    size_t len = (size_t)snprintf(text, sizeof(text), "%.64s%s%.96s%s:", notice_text(a->rule),
                                  name[0] ? " (" : "", name, name[0] ? ")" : "");

    for (size_t i = 0; i < a->n_labels && len < sizeof(text); i++)
        if (notice_text(a->labels[i]->value)[0])
            len += (size_t)snprintf(text + len, sizeof(text) - len, " %.64s=%.192s",
                                    notice_text(a->labels[i]->name), a->labels[i]->value);
    /* Also mends a character that was cut above. */
    text_copy(ret_title, NOTICE_TITLE_BYTES, text);
}

void notice_value(bool known, double value, const char *unit, char *ret_text, size_t size)
{
    bool bare = !unit || !unit[0] || strcmp(unit, "ratio") == 0;

    if (!known || !isfinite(value))
        snprintf(ret_text, size, "?");
    else
        snprintf(ret_text, size, "%.6g%s%s", value, bare ? "" : " ", bare ? "" : unit);
}

void notice_runbook(const struct notice *n, char *ret_url, size_t size)
{
    const char *rule = notice_text(n->alert->rule);

    ret_url[0] = '\0';
    if (!notice_text(n->runbook_url)[0])
        return;
    snprintf(ret_url, size, "%s#%s", n->runbook_url, rule);
    /* As anchors of headings are made from "cost.spike". */
    for (char *p = strrchr(ret_url, '#'); *p; p++)
        if (*p == '.' || *p == '_')
            *p = '-';
}

size_t notice_clip(const char *text, size_t max)
{
    size_t len = strlen(text);

    if (len <= max)
        return len;
    while (max > 0 && ((uint8_t)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

int notice_set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0 ? 0 : -ENOMEM;
}

int notice_set_text(json_t *object, const char *key, const char *text)
{
    return notice_set(object, key, text ? json_string(text) : json_null());
}

int notice_set_clipped(json_t *object, const char *key, const char *text, size_t max)
{
    return notice_set(object, key, json_stringn(text, notice_clip(text, max)));
}

int notice_set_real(json_t *object, const char *key, bool known, double value)
{
    return notice_set(object, key, known && isfinite(value) ? json_real(value) : json_null());
}

int notice_set_count(json_t *object, const char *key, bool known, uint64_t value)
{
    return notice_set(object, key, known ? json_integer((json_int_t)value) : json_null());
}

int notice_set_time(json_t *object, const char *key, bool known, uint64_t unix_ns)
{
    char text[NOTICE_TIME_BYTES];

    if (known)
        notice_time(unix_ns, text);
    return notice_set(object, key, known ? json_string(text) : json_null());
}

static int append_text(const char *bytes, size_t len, void *ctx)
{
    return buf_append(ctx, slice_of((const uint8_t *)bytes, len)) == 0 ? 0 : -1;
}

int notice_dump(const json_t *root, struct buf *out)
{
    return json_dump_callback(root, append_text, out,
                              JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS)) == 0
               ? 0
               : -ENOMEM;
}
