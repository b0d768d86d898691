/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sse.h"

enum sse_state {
    LINE_START,
    FIELD,
    SPACE, /* one space after the colon is no part of the value */
    VALUE,
};

enum sse_field {
    FIELD_OTHER,
    FIELD_DATA,
    FIELD_EVENT,
};

void sse_init(struct sse *s, const struct sse_events *events)
{
    memset(s, 0, sizeof(*s));
    s->events = *events;
}

void sse_fini(struct sse *s)
{
    explicit_bzero(s, sizeof(*s));
}

static void name_reset(struct sse *s)
{
    explicit_bzero(s->name, sizeof(s->name));
    s->name_len = 0;
}

static void event_end(struct sse *s, bool cut)
{
    if (s->has_data)
        s->events.on_event(s->events.user, s->name, cut);
    s->has_data = false;
    name_reset(s);
}

/* The field's name is complete: what is to be done with its value? */
static void field_known(struct sse *s)
{
    struct slice name = slice_of(s->field_name, s->field_len);

    s->field = FIELD_OTHER;
    if (slice_eq(name, slice_str("data"))) {
        s->field = FIELD_DATA;
        if (s->has_data)
            s->events.on_data(s->events.user, slice_str("\n"));
        s->has_data = true;
    } else if (slice_eq(name, slice_str("event"))) {
        s->field = FIELD_EVENT;
        name_reset(s);
    }
    s->field_len = 0;
}

static void line_end(struct sse *s)
{
    if (s->state == LINE_START)
        event_end(s, false);
    else if (s->state == FIELD)
        field_known(s);
    s->state = LINE_START;
}

static void field_char(struct sse *s, uint8_t c)
{
    if (c == ':') {
        field_known(s);
        s->state = SPACE;
        return;
    }
    /* A name that does not fit is none of ours; the cut one must not be either. */
    if (s->field_len < sizeof(s->field_name))
        s->field_name[s->field_len++] = (char)c;
    s->state = FIELD;
}

static size_t value_bytes(struct sse *s, const uint8_t *p, size_t len)
{
    size_t n = 0;

    while (n < len && p[n] != '\n' && p[n] != '\r')
        n++;
    if (n && s->field == FIELD_DATA)
        s->events.on_data(s->events.user, slice_of(p, n));
    for (size_t i = 0; i < n && s->field == FIELD_EVENT; i++)
        if (s->name_len < sizeof(s->name) - 1)
            s->name[s->name_len++] = (char)p[i];
    return n;
}

static bool skip_bom(struct sse *s, uint8_t c)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};

    if (s->bom >= sizeof(mark))
        return false;
    if (c == mark[s->bom]) {
        s->bom++;
        return true;
    }
    s->bom = sizeof(mark);
    return false;
}

void sse_feed(struct sse *s, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        uint8_t c = bytes.data[i];
        bool after_cr = s->last_was_cr;

        if (skip_bom(s, c)) {
            i++;
            continue;
        }
        s->last_was_cr = c == '\r';
        if (c == '\n' && after_cr) {
            i++;
        } else if (c == '\n' || c == '\r') {
            line_end(s);
            i++;
        } else if (s->state == LINE_START || s->state == FIELD) {
            field_char(s, c);
            i++;
        } else if (s->state == SPACE && c == ' ') {
            s->state = VALUE;
            i++;
        } else {
            s->state = VALUE;
            i += value_bytes(s, bytes.data + i, bytes.len - i);
        }
    }
}

void sse_finish(struct sse *s)
{
    bool cut = s->has_data;

    if (s->state == FIELD)
        field_known(s);
    s->state = LINE_START;
    event_end(s, cut || s->has_data);
}
