/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/eventstream.h"

#include <zlib.h>

enum message_state {
    PRELUDE,
    HEADERS,
    PAYLOAD,
    TRAILER,
};

enum header_state {
    HEADER_NAME_LEN,
    HEADER_NAME,
    HEADER_TYPE,
    HEADER_VALUE_LEN,
    HEADER_VALUE,
};

enum unwrap_state {
    UNWRAP_OUTSIDE,
    UNWRAP_STRING,
    UNWRAP_ESCAPE,
    UNWRAP_SLASH, /* within "bytes": base64 has no escape but that of "/" */
};

#define PRELUDE_BYTES 12u
#define TRAILER_BYTES 4u

void eventstream_init(struct eventstream *e, const struct eventstream_events *events)
{
    memset(e, 0, sizeof(*e));
    e->events = *events;
}

void eventstream_fini(struct eventstream *e)
{
    explicit_bzero(e, sizeof(*e));
}

bool eventstream_whole(const struct eventstream *e)
{
    return !e->broken && e->state == PRELUDE && e->have == 0;
}

static uint32_t number_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void message_begin(struct eventstream *e)
{
    struct eventstream_events events = e->events;

    explicit_bzero(e, sizeof(*e));
    e->events = events;
}

static void headers_end(struct eventstream *e)
{
    e->broken |= e->header_state != HEADER_NAME_LEN;
    e->wrapped = strcmp(e->name, "chunk") == 0 && !e->is_error;
    e->state = e->payload_len ? PAYLOAD : TRAILER;
    e->left = e->payload_len ? e->payload_len : TRAILER_BYTES;
    e->have = 0;
}

static void prelude_end(struct eventstream *e)
{
    uint32_t total = number_at(e->fixed), headers = number_at(e->fixed + 4);

    e->sum = (uint32_t)crc32(0, e->fixed, 8);
    if (e->sum != number_at(e->fixed + 8) || total > EVENTSTREAM_MESSAGE_MAX ||
        total < PRELUDE_BYTES + TRAILER_BYTES || headers > total - PRELUDE_BYTES - TRAILER_BYTES) {
        e->broken = true;
        return;
    }
    e->sum = (uint32_t)crc32(e->sum, e->fixed + 8, 4);
    e->payload_len = total - headers - PRELUDE_BYTES - TRAILER_BYTES;
    e->state = HEADERS;
    e->left = headers;
    e->have = 0;
    if (!headers)
        headers_end(e);
}

static void header_end(struct eventstream *e)
{
    struct slice name = slice_of(e->header_name, e->header_name_len);

    if (slice_eq(name, slice_str(":message-type")))
        e->is_error = strcmp(e->header_value, "event") != 0;
    else if (slice_eq(name, slice_str(":event-type")) ||
             slice_eq(name, slice_str(":exception-type")) ||
             slice_eq(name, slice_str(":error-code")))
        memcpy(e->name, e->header_value, sizeof(e->name));
    explicit_bzero(e->header_value, sizeof(e->header_value));
    e->header_name_len = 0;
    e->header_state = HEADER_NAME_LEN;
}

/* true, false, byte, short, integer, long, bytes, string, timestamp, UUID */
static void header_type(struct eventstream *e, uint8_t type)
{
    static const uint8_t lengths[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};

    e->have = 0;
    if (type >= sizeof(lengths)) {
        e->broken = true;
    } else if (type == 6 || type == 7) {
        e->header_state = HEADER_VALUE_LEN;
    } else {
        e->header_left = lengths[type];
        e->header_state = HEADER_VALUE;
        if (!e->header_left)
            header_end(e);
    }
}

static void header_byte(struct eventstream *e, uint8_t c)
{
    switch ((enum header_state)e->header_state) {
    case HEADER_NAME_LEN:
        e->header_left = c;
        e->header_state = c ? HEADER_NAME : HEADER_TYPE;
        break;
    case HEADER_NAME:
        /* A name that does not fit is none of ours: it is no longer counted either. */
        if (e->header_name_len < sizeof(e->header_name))
            e->header_name[e->header_name_len++] = (char)c;
        if (--e->header_left == 0)
            e->header_state = HEADER_TYPE;
        break;
    case HEADER_TYPE:
        header_type(e, c);
        break;
    case HEADER_VALUE_LEN:
        e->header_left = e->have ? e->header_left | c : (uint32_t)c << 8;
        if (++e->have < 2)
            break;
        e->have = 0;
        e->header_state = HEADER_VALUE;
        if (!e->header_left)
            header_end(e);
        break;
    case HEADER_VALUE:
        if (e->have < sizeof(e->header_value) - 1)
            e->header_value[e->have++] = (char)c;
        if (--e->header_left == 0)
            header_end(e);
        break;
    }
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

static void unwrap_digit(struct eventstream *e, uint8_t c)
{
    struct eventstream_unwrap *u = &e->unwrap;
    int digit = base64_digit(c);
    uint8_t byte;

    if (digit < 0)
        return;
    u->bits = (u->bits << 6 | (uint32_t)digit) & 0xffffff;
    u->bits_have += 6;
    if (u->bits_have < 8)
        return;
    u->bits_have -= 8;
    byte = (uint8_t)(u->bits >> u->bits_have);
    e->events.on_data(e->events.user, slice_of(&byte, 1));
}

static void unwrap_outside(struct eventstream_unwrap *u, uint8_t c)
{
    if (c == '"') {
        /* A string after "bytes": is its value; any other may be a key. */
        if (!u->ours)
            u->key_len = 0;
        u->state = UNWRAP_STRING;
    } else if (c == ':') {
        u->ours = u->depth == 1 && slice_eq(slice_of(u->key, u->key_len), slice_str("bytes"));
    } else if (c == ',') {
        u->ours = false;
    } else if (c == '{' || c == '[') {
        u->depth++;
        u->ours = false;
    } else if ((c == '}' || c == ']') && u->depth) {
        u->depth--;
    }
}

static void unwrap_byte(struct eventstream *e, uint8_t c)
{
    struct eventstream_unwrap *u = &e->unwrap;

    switch ((enum unwrap_state)u->state) {
    case UNWRAP_OUTSIDE:
        unwrap_outside(u, c);
        break;
    case UNWRAP_STRING:
        if (c == '"') {
            u->state = UNWRAP_OUTSIDE;
            u->ours = false;
        } else if (c == '\\') {
            u->state = u->ours ? UNWRAP_SLASH : UNWRAP_ESCAPE;
        } else if (u->ours) {
            unwrap_digit(e, c);
        } else if (u->key_len < sizeof(u->key)) {
            u->key[u->key_len++] = (char)c;
        }
        break;
    case UNWRAP_SLASH:
        if (c == '/')
            unwrap_digit(e, c);
        u->state = UNWRAP_STRING;
        break;
    case UNWRAP_ESCAPE:
        u->state = UNWRAP_STRING;
        u->key_len = sizeof(u->key);
        break;
    }
}

static void payload_piece(struct eventstream *e, struct slice piece)
{
    if (!e->wrapped) {
        e->events.on_data(e->events.user, piece);
        return;
    }
    for (size_t i = 0; i < piece.len; i++)
        unwrap_byte(e, piece.data[i]);
}

static void trailer_end(struct eventstream *e)
{
    if (e->sum == number_at(e->fixed))
        e->events.on_message(e->events.user, e->name, e->is_error);
    else
        e->broken = true;
    if (!e->broken)
        message_begin(e);
}

/* Fills the fixed-length field; true when it is whole. */
static bool fixed_byte(struct eventstream *e, uint8_t c, unsigned need)
{
    e->fixed[e->have++] = c;
    return e->have == need;
}

static size_t part_bytes(struct eventstream *e, const uint8_t *p, size_t len)
{
    size_t n = len < e->left ? len : e->left;

    e->sum = (uint32_t)crc32(e->sum, p, (uInt)n);
    e->left -= (uint32_t)n;
    if (e->state == PAYLOAD)
        payload_piece(e, slice_of(p, n));
    for (size_t i = 0; e->state == HEADERS && i < n && !e->broken; i++)
        header_byte(e, p[i]);
    if (e->left)
        return n;
    if (e->state == HEADERS) {
        headers_end(e);
    } else {
        e->state = TRAILER;
        e->have = 0;
    }
    return n;
}

void eventstream_feed(struct eventstream *e, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len && !e->broken;) {
        switch ((enum message_state)e->state) {
        case PRELUDE:
            if (fixed_byte(e, bytes.data[i++], PRELUDE_BYTES))
                prelude_end(e);
            break;
        case HEADERS:
        case PAYLOAD:
            i += part_bytes(e, bytes.data + i, bytes.len - i);
            break;
        case TRAILER:
            if (fixed_byte(e, bytes.data[i++], TRAILER_BYTES))
                trailer_end(e);
            break;
        }
    }
}
