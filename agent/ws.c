/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ws.h"

#include <errno.h>

#define UNMASK_BYTES 1024

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

void ws_init(struct ws *w, enum ws_from from, const struct ws_deflate *deflate,
             struct body_budget *budget, const struct ws_events *events)
{
    memset(w, 0, sizeof(*w));
    w->events = *events;
    w->from = from;
    w->flow.budget = budget;
    if (deflate && deflate->on) {
        w->deflate = *deflate;
        body_init_messages(&w->body, deflate->window_bits, &w->flow);
    }
}

void ws_fini(struct ws *w)
{
    body_fini(&w->body);
    explicit_bzero(w, sizeof(*w));
    w->failed = true;
}

/* How long the head is that begins so; 2 until its second byte is there. */
static uint8_t head_size(const struct ws *w)
{
    uint8_t size = 2;

    if (w->head_len < 2)
        return size;
    if ((w->head[1] & 0x7f) == 126)
        size += 2;
    else if ((w->head[1] & 0x7f) == 127)
        size += 8;
    return size + (w->head[1] & 0x80 ? 4 : 0);
}

static int begin_control(struct ws *w, uint8_t reserved)
{
    if (w->opcode > WS_PONG || !w->fin || w->left > 125 || reserved)
        return -EPROTO;
    w->code_len = 0;
    return 0;
}

static int begin_data(struct ws *w, uint8_t reserved)
{
    if (w->opcode == WS_CONTINUATION)
        return w->in_message && !reserved ? 0 : -EPROTO;
    if (w->opcode > WS_BINARY || w->in_message || (reserved & 0x30))
        return -EPROTO;
    w->message_deflated = reserved & 0x40;
    if (w->message_deflated && !w->deflate.on)
        return -EPROTO;
    w->in_message = true;
    w->message_text = w->opcode == WS_TEXT;
    return 0;
}

static int begin_frame(struct ws *w)
{
    struct cursor c = cursor_of(slice_of(w->head, w->head_len));
    uint8_t first = cursor_u8(&c), second = cursor_u8(&c);
    struct slice mask;

    w->fin = first & 0x80;
    w->opcode = first & 0x0f;
    w->control = w->opcode & 0x08;
    w->left = second & 0x7f;
    if (w->left == 126)
        w->left = cursor_be16(&c);
    else if (w->left == 127)
        w->left = cursor_be64(&c);
    mask = cursor_take(&c, second & 0x80 ? 4 : 0);
    if (c.failed || w->left >> 63 || (mask.len == 4) != (w->from == WS_CLIENT))
        return -EPROTO;
    if (mask.len)
        memcpy(w->mask, mask.data, mask.len);
    w->mask_at = 0;
    w->in_payload = true;
    return w->control ? begin_control(w, first & 0x70) : begin_data(w, first & 0x70);
}

static int take_head(struct ws *w, struct slice *bytes)
{
    while (bytes->len && w->head_len < head_size(w)) {
        w->head[w->head_len++] = bytes->data[0];
        *bytes = slice_of(bytes->data + 1, bytes->len - 1);
    }
    return w->head_len == head_size(w) && w->head_len >= 2 ? begin_frame(w) : 0;
}

static int take_plain(struct ws *w, struct slice piece)
{
    if (w->control) {
        for (size_t i = 0; i < piece.len && w->code_len < sizeof(w->code); i++)
            w->code[w->code_len++] = piece.data[i];
        return 0;
    }
    w->payload_bytes += piece.len;
    if (w->message_deflated)
        return body_feed(&w->body, piece, w->events.on_data, w->events.user);
    w->events.on_data(w->events.user, piece);
    return 0;
}

static int take_masked(struct ws *w, struct slice bytes)
{
    uint8_t plain[UNMASK_BYTES];
    int r = 0;

    while (!r && bytes.len) {
        size_t len = bytes.len < sizeof(plain) ? bytes.len : sizeof(plain);

        for (size_t i = 0; i < len; i++)
            plain[i] = bytes.data[i] ^ w->mask[(w->mask_at + i) & 3];
        w->mask_at = (w->mask_at + len) & 3;
        r = take_plain(w, slice_of(plain, len));
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
    explicit_bzero(plain, sizeof(plain));
    return r;
}

static int end_frame(struct ws *w)
{
    int r = 0;

    w->in_payload = false;
    w->head_len = 0;
    if (w->control) {
        if (w->opcode != WS_CLOSE)
            return 0;
        if (w->code_len == 1)
            return -EPROTO;
        w->closed = true;
        w->events.on_close(w->events.user, w->code_len ? (uint16_t)(w->code[0] << 8 | w->code[1])
                                                       : WS_CLOSE_NO_CODE);
        return 0;
    }
    if (!w->fin)
        return 0;
    if (w->message_deflated)
        r = body_message_end(&w->body, w->deflate.takeover, w->events.on_data, w->events.user);
    w->in_message = false;
    if (!r)
        w->events.on_message(w->events.user, w->message_text);
    return r;
}

static int step(struct ws *w, struct slice *bytes)
{
    int r = w->in_payload ? 0 : take_head(w, bytes);
    size_t len;

    if (r || !w->in_payload)
        return r;
    len = w->left < bytes->len ? (size_t)w->left : bytes->len;
    if (len) {
        struct slice piece = slice_of(bytes->data, len);

        w->left -= len;
        *bytes = slice_of(bytes->data + len, bytes->len - len);
        r = w->from == WS_CLIENT ? take_masked(w, piece) : take_plain(w, piece);
    }
    return r || w->left ? r : end_frame(w);
}

int ws_feed(struct ws *w, struct slice bytes)
{
    int r = 0;

    if (w->failed)
        return -EPROTO;
    while (!r && bytes.len && !w->closed)
        r = step(w, &bytes);
    w->failed = r < 0;
    return r;
}
