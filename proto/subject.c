// SPDX-License-Identifier: Apache-2.0
#include "proto/subject.h"

#include <errno.h>

/* What follows <org> in the subject of each type. */
static const struct {
    bool has_name;
    bool has_part;
    bool may_end; /* right after <org>, as it once did */
} shapes[EVENT__COUNT] = {
    [EVENT_CALL] = {.has_name = true, .has_part = true},
    [EVENT_GAP] = {.has_name = true, .has_part = true, .may_end = true},
    [EVENT_COVERAGE] = {.has_name = true, .has_part = true, .may_end = true},
    [EVENT_ALERT] = {.has_name = true},
    [EVENT_ROLLUP] = {.has_name = true},
    [EVENT_CLOUDEVENT] = {.has_name = true},
};

static bool is_plain(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

int subject_token(const char *name, char ret_token[SUBJECT_TOKEN_BYTES])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = name ? strlen(name) : 0;
    char *out = ret_token;

    if (len > SUBJECT_NAME_BYTES)
        return -ENAMETOOLONG;
    if (len == 0)
        *out++ = '=';
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)name[i];

        if (is_plain(c)) {
            *out++ = (char)c;
        } else {
            *out++ = '=';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
    }
    *out = '\0';
    return 0;
}

static int build(enum event_type type, const char *org, const char *name, uint32_t part,
                 char ret_subject[SUBJECT_BYTES])
{
    char org_token[SUBJECT_TOKEN_BYTES], name_token[SUBJECT_TOKEN_BYTES];
    int r, len;

    r = subject_token(org, org_token);
    if (r < 0)
        return r;
    r = subject_token(name, name_token);
    if (r < 0)
        return r;
    if (shapes[type].has_part && part >= EVENT_PARTS)
        return -EINVAL;
    len = snprintf(ret_subject, SUBJECT_BYTES, SUBJECT_ROOT ".%s.%s", event_type_name(type),
                   org_token);
    if (shapes[type].has_name)
        len += snprintf(ret_subject + len, SUBJECT_BYTES - (size_t)len, ".%s", name_token);
    if (shapes[type].has_part)
        snprintf(ret_subject + len, SUBJECT_BYTES - (size_t)len, ".%u", part);
    return 0;
}

int subject_call(const char *org, const char *provider, uint32_t part,
                 char ret_subject[SUBJECT_BYTES])
{
    return build(EVENT_CALL, org, provider, part, ret_subject);
}

int subject_gap(const char *org, const char *provider, uint32_t part,
                char ret_subject[SUBJECT_BYTES])
{
    return build(EVENT_GAP, org, provider, part, ret_subject);
}

int subject_coverage(const char *org, const char *provider, uint32_t part,
                     char ret_subject[SUBJECT_BYTES])
{
    return build(EVENT_COVERAGE, org, provider, part, ret_subject);
}

int subject_alert(const char *org, const char *kind, char ret_subject[SUBJECT_BYTES])
{
    return build(EVENT_ALERT, org, kind, 0, ret_subject);
}

int subject_cloudevent(const char *org, const char *kind, char ret_subject[SUBJECT_BYTES])
{
    return build(EVENT_CLOUDEVENT, org, kind, 0, ret_subject);
}

int subject_rollup(const char *org, const char *window, char ret_subject[SUBJECT_BYTES])
{
    return build(EVENT_ROLLUP, org, window, 0, ret_subject);
}

/* The bytes up to the next '.', which is taken too. */
static struct slice take_token(struct cursor *c)
{
    const uint8_t *dot = c->rest.len ? memchr(c->rest.data, '.', c->rest.len) : NULL;
    size_t len = dot ? (size_t)(dot - c->rest.data) : c->rest.len;
    struct slice token = cursor_take(c, len);

    if (len == 0)
        c->failed = true;
    if (c->rest.len > 0) {
        cursor_take(c, 1);
        if (c->rest.len == 0)
            c->failed = true; /* a dot at the end */
    }
    return token;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void take_name(struct cursor *c, char ret_name[SUBJECT_NAME_BYTES + 1])
{
    struct cursor t = cursor_of(take_token(c));
    size_t len = 0;

    ret_name[0] = '\0';
    if (t.rest.len == 1 && t.rest.data[0] == '=')
        return;
    while (len < t.rest.len && len < SUBJECT_NAME_BYTES && is_plain(t.rest.data[len])) {
        ret_name[len] = (char)t.rest.data[len];
        len++;
    }
    cursor_take(&t, len);
    while (t.rest.len > 0 && !t.failed && len < SUBJECT_NAME_BYTES) {
        uint8_t byte = cursor_u8(&t);

        if (byte == '=') {
            int high = hex_digit(cursor_u8(&t)), low = hex_digit(cursor_u8(&t));

            byte = high < 0 || low < 0 ? 0 : (uint8_t)(high * 16 + low);
            /* NUL is in no name; a plain byte has only its plain form */
            if (byte == 0 || is_plain(byte))
                t.failed = true;
        } else if (!is_plain(byte)) {
            t.failed = true;
        }
        ret_name[len++] = (char)byte;
    }
    ret_name[len] = '\0';
    if (t.failed || t.rest.len > 0)
        c->failed = true;
}

static uint32_t take_part(struct cursor *c)
{
    struct slice token = take_token(c);
    uint32_t part = 0;

    if (token.len > 2 || (token.len == 2 && token.data[0] == '0'))
        c->failed = true;
    for (size_t i = 0; i < token.len && !c->failed; i++) {
        if (token.data[i] < '0' || token.data[i] > '9')
            c->failed = true;
        part = part * 10 + (uint32_t)(token.data[i] - '0');
    }
    if (part >= EVENT_PARTS)
        c->failed = true;
    return part;
}

static void take_type(struct cursor *c, enum event_type *ret_type)
{
    struct slice token = take_token(c);

    for (int i = 0; i < EVENT__COUNT; i++)
        if (slice_eq(token, slice_str(event_type_name((enum event_type)i)))) {
            *ret_type = (enum event_type)i;
            return;
        }
    c->failed = true;
}

int subject_parse(const char *text, struct subject *ret_subject)
{
    struct cursor c = cursor_of(slice_str(text));
    struct subject s = {0};
    bool is_short;

    if (!slice_eq(take_token(&c), slice_str("lectr")) || !slice_eq(take_token(&c), slice_str("v1")))
        return -EINVAL;
    take_type(&c, &s.type);
    take_name(&c, s.org);
    is_short = !c.failed && shapes[s.type].may_end && c.rest.len == 0;
    if (!c.failed && !is_short && shapes[s.type].has_name)
        take_name(&c, s.name);
    s.has_part = !c.failed && !is_short && shapes[s.type].has_part;
    if (s.has_part)
        s.part = take_part(&c);
    if (c.failed || c.rest.len > 0)
        return -EINVAL;
    *ret_subject = s;
    return 0;
}

int subject_lane(const char *text)
{
    static const char *const others[] = {SUBJECT_ROOT ".alert.", SUBJECT_ROOT ".cloudevent.",
                                         SUBJECT_ROOT ".rollup."};
    const char *last = strrchr(text, '.');
    unsigned part = 0;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strncmp(text, others[i], strlen(others[i])) == 0)
            return -1;
    /* One or two digits. */
    if (!last || !last[1] || strspn(last + 1, "0123456789") != strlen(last + 1) ||
        strlen(last + 1) > 2)
        return 0;
    for (const char *p = last + 1; *p; p++)
        part = part * 10 + (unsigned)(*p - '0');
    return part < EVENT_PARTS ? (int)part : 0;
}
