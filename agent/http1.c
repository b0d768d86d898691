/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http1.h"

#include <errno.h>
#include <llhttp/llhttp.h>
#include <stdlib.h>

struct http1 {
    llhttp_t parser;
    llhttp_settings_t settings;
    struct http1_events events;
    enum http1_side side;
    int error;
    size_t rest;
    bool opaque;
    size_t target_len, name_len, value_len;
    bool name_too_long;
    uint8_t target[HTTP1_TARGET_MAX];
    uint8_t name[HTTP1_NAME_MAX];
    uint8_t value[HTTP1_VALUE_MAX];
};

static struct http1 *self(llhttp_t *parser)
{
    return parser->data;
}

static int on_begin(llhttp_t *parser)
{
    struct http1 *h = self(parser);

    h->target_len = h->name_len = h->value_len = 0;
    h->name_too_long = false;
    h->events.on_begin(h->events.user);
    return 0;
}

/* Appends what fits. False when something did not. */
static bool put(uint8_t *to, size_t *len, size_t size, const char *at, size_t count)
{
    size_t room = size - *len;
    size_t n = count < room ? count : room;

    memcpy(to + *len, at, n);
    *len += n;
    return n == count;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *h = self(parser);

    put(h->target, &h->target_len, sizeof(h->target), at, len);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *h = self(parser);

    if (!put(h->name, &h->name_len, sizeof(h->name), at, len))
        h->name_too_long = true;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *h = self(parser);

    put(h->value, &h->value_len, sizeof(h->value), at, len);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    struct http1 *h = self(parser);
    size_t len = h->value_len;

    while (len && (h->value[len - 1] == ' ' || h->value[len - 1] == '\t'))
        len--;
    if (!h->name_too_long)
        h->events.on_header(h->events.user, slice_of(h->name, h->name_len),
                            slice_of(h->value, len));
    explicit_bzero(h->value, h->value_len);
    explicit_bzero(h->name, h->name_len);
    h->name_len = h->value_len = 0;
    h->name_too_long = false;
    return 0;
}

static int on_head(llhttp_t *parser)
{
    struct http1 *h = self(parser);
    struct http1_head head = {
        .target = slice_of(h->target, h->target_len),
        .status = parser->status_code,
        .major = parser->http_major,
        .minor = parser->http_minor,
    };
    enum http1_body body;

    if (h->side == HTTP1_REQUEST)
        head.method = slice_str(llhttp_method_name(parser->method));
    body = h->events.on_head(h->events.user, &head);
    explicit_bzero(h->target, h->target_len);
    h->target_len = 0;
    if (body == HTTP1_BODY_OPAQUE) {
        h->opaque = true;
        return 2;
    }
    return body == HTTP1_BODY_NONE ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *h = self(parser);

    h->events.on_body(h->events.user, slice_of(at, len));
    return 0;
}

static int on_end(llhttp_t *parser)
{
    struct http1 *h = self(parser);

    h->events.on_end(h->events.user);
    return 0;
}

int http1_new(enum http1_side side, const struct http1_events *events, struct http1 **ret_http)
{
    struct http1 *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->events = *events;
    h->side = side;
    llhttp_settings_init(&h->settings);
    h->settings.on_message_begin = on_begin;
    h->settings.on_url = on_url;
    h->settings.on_header_field = on_name;
    h->settings.on_header_value = on_value;
    h->settings.on_header_value_complete = on_value_complete;
    h->settings.on_headers_complete = on_head;
    h->settings.on_body = on_body;
    h->settings.on_message_complete = on_end;
    llhttp_init(&h->parser, side == HTTP1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &h->settings);
    h->parser.data = h;
    /* An observer understands whatever the two ends do: it decides nothing. */
    llhttp_set_lenient_headers(&h->parser, 1);
    llhttp_set_lenient_chunked_length(&h->parser, 1);
    llhttp_set_lenient_keep_alive(&h->parser, 1);
    llhttp_set_lenient_transfer_encoding(&h->parser, 1);
    *ret_http = h;
    return 0;
}

void http1_free(struct http1 **http)
{
    if (!*http)
        return;
    explicit_bzero(*http, sizeof(**http));
    free(*http);
    *http = NULL;
}

int http1_feed(struct http1 *h, struct slice bytes)
{
    const char *at = (const char *)bytes.data;
    size_t left = bytes.len;

    while (!h->error && left) {
        llhttp_errno_t e = llhttp_execute(&h->parser, at, left);
        const char *stopped;

        if (e == HPE_OK)
            return 0;
        if (h->opaque) {
            stopped = llhttp_get_error_pos(&h->parser);
            h->rest = left - (size_t)(stopped - at);
            h->error = -EALREADY;
            break;
        }
        if (e != HPE_PAUSED_UPGRADE) {
            h->error = -EPROTO;
            break;
        }
        /* Only asked for: as long as the answer does not agree it is HTTP. */
        stopped = llhttp_get_error_pos(&h->parser);
        left -= (size_t)(stopped - at);
        at = stopped;
        llhttp_resume_after_upgrade(&h->parser);
    }
    return h->error;
}

size_t http1_rest(const struct http1 *h)
{
    return h->rest;
}

void http1_finish(struct http1 *h)
{
    if (!h->error && llhttp_message_needs_eof(&h->parser))
        (void)llhttp_finish(&h->parser);
}
