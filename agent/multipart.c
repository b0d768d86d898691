/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/multipart.h"

enum multipart_state {
    OUTSIDE, /* before a boundary, or in a part of no interest */
    HEADERS,
    VALUE,
};

static bool contains_nocase(struct slice s, const char *what)
{
    for (size_t i = 0; i < s.len; i++)
        if (slice_starts_nocase(slice_of(s.data + i, s.len - i), what))
            return true;
    return false;
}

static struct slice parameter(struct slice s, const char *name)
{
    size_t skip = strlen(name);

    for (size_t i = 0; i < s.len; i++) {
        struct slice at = slice_of(s.data + i, s.len - i);
        size_t len = 0;
        bool quoted;

        if (!slice_starts_nocase(at, name))
            continue;
        at = slice_of(at.data + skip, at.len - skip);
        quoted = at.len && at.data[0] == '"';
        if (quoted)
            at = slice_of(at.data + 1, at.len - 1);
        while (len < at.len && (quoted ? at.data[len] != '"' : !strchr("; \t", at.data[len])))
            len++;
        return slice_of(at.data, len);
    }
    return slice_of(NULL, 0);
}

bool multipart_init(struct multipart *m, struct slice content_type,
                    void (*on_model)(void *user, struct slice value), void *user)
{
    struct slice boundary = parameter(content_type, "boundary=");

    memset(m, 0, sizeof(*m));
    if (!slice_starts_nocase(content_type, "multipart/form-data") || !boundary.len ||
        boundary.len > sizeof(m->boundary) - 2)
        return false;
    memcpy(m->boundary, "--", 2);
    memcpy(m->boundary + 2, boundary.data, boundary.len);
    m->boundary_len = boundary.len + 2;
    m->on_model = on_model;
    m->user = user;
    return true;
}

void multipart_fini(struct multipart *m)
{
    explicit_bzero(m, sizeof(*m));
}

static void line_end(struct multipart *m)
{
    struct slice line = slice_of(m->line, m->line_len);

    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len >= m->boundary_len &&
        slice_eq(slice_of(line.data, m->boundary_len), slice_of(m->boundary, m->boundary_len))) {
        m->state = HEADERS;
        m->is_model = false;
    } else if (m->state == HEADERS && line.len == 0) {
        m->state = m->is_model ? VALUE : OUTSIDE;
    } else if (m->state == HEADERS) {
        if (slice_starts_nocase(line, "content-disposition:") && contains_nocase(line, " name="))
            m->is_model = slice_eq(parameter(line, " name="), slice_str("model"));
    } else if (m->state == VALUE) {
        m->on_model(m->user, line);
        m->state = OUTSIDE;
    }
    explicit_bzero(m->line, m->line_len);
    m->line_len = 0;
}

void multipart_feed(struct multipart *m, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] == '\n')
            line_end(m);
        else if (m->line_len < sizeof(m->line))
            m->line[m->line_len++] = bytes.data[i];
    }
}
