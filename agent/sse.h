/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text/event-stream in pieces of any size: LF, CR, CRLF, comments, multi-line
 * data, byte order mark. Data is handed on as it comes, never collected; only
 * the event name is kept, cut at SSE_NAME_MAX.
 */
#pragma once

#include "proto/base/slice.h"

#define SSE_NAME_MAX 64

struct sse_events {
    void *user;
    /* A piece of the current event's data; lines are joined by "\n". */
    void (*on_data)(void *user, struct slice piece);
    /* The event that had data ends. `name` is "" without an event field.
     * `cut`: the input ended before the blank line did. */
    void (*on_event)(void *user, const char *name, bool cut);
};

struct sse {
    struct sse_events events;
    uint8_t state;
    uint8_t field;
    bool last_was_cr;
    bool has_data;
    uint8_t bom;
    uint8_t name_len, field_len;
    char field_name[8];
    char name[SSE_NAME_MAX];
};

void sse_init(struct sse *s, const struct sse_events *events);
void sse_fini(struct sse *s);
void sse_feed(struct sse *s, struct slice bytes);
/* End of input: an event that awaits its blank line ends as `cut`. */
void sse_finish(struct sse *s);
