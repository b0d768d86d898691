/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket (RFC 6455), one direction, in pieces of any size: frames, masks,
 * fragments, control frames between them, permessage-deflate (RFC 7692).
 * Messages are handed on as they come, unmasked and inflated, never collected.
 * Any split of the bytes gives the same messages.
 *
 * Limits: state is constant, with permessage-deflate at most 48 KiB more; what
 * messages inflate to is limited as agent/body.h says.
 */
#pragma once

#include "agent/body.h"

enum ws_from {
    WS_CLIENT, /* masked */
    WS_SERVER,
};

#define WS_CLOSE_NO_CODE 1005 /* a close frame without one */

struct ws_events {
    void *user;
    void (*on_data)(void *user, struct slice piece);
    /* The message ends; `text`: it said to be UTF-8. */
    void (*on_message)(void *user, bool text);
    void (*on_close)(void *user, uint16_t code);
};

/* What both sides agreed on for one direction. */
struct ws_deflate {
    bool on;
    bool takeover;       /* a message may refer back to those before it */
    uint8_t window_bits; /* 8 to 15 */
};

struct ws {
    struct ws_events events;
    enum ws_from from;
    struct ws_deflate deflate;
    struct body body;
    struct body_flow flow;
    uint8_t head[14];
    uint8_t head_len;
    bool in_payload, failed, closed;
    bool fin, control;
    bool in_message, message_text, message_deflated;
    uint8_t opcode;
    uint8_t mask[4], mask_at;
    uint8_t code_len;
    uint8_t code[2];
    uint64_t left; /* of the frame's payload */
    uint64_t payload_bytes;
};

/* `deflate` NULL: none. `budget` may be NULL: unlimited; outlives the parser. */
void ws_init(struct ws *w, enum ws_from from, const struct ws_deflate *deflate,
             struct body_budget *budget, const struct ws_events *events);
/* Wipes. */
void ws_fini(struct ws *w);
/* -EPROTO when it is no WebSocket; else as body_feed does. From then on -EPROTO
 * and nothing is told. What follows a close frame is let go. */
int ws_feed(struct ws *w, struct slice bytes) LECTR_MUST_USE;

/* The values of sec-websocket-extensions headers, one side's. */
struct ws_extensions {
    bool deflate; /* permessage-deflate stands among them */
    bool other;   /* something else does */
    bool malformed;
    bool server_no_takeover, client_no_takeover;
    uint8_t server_window_bits, client_window_bits; /* 0: not said */
};

/* Adds one header's value. */
void ws_extensions_add(struct ws_extensions *e, struct slice value);
/* What an answer makes of an offer. -EPROTO when nothing that is known here can
 * be made of it: what follows cannot be read. */
int ws_agree(const struct ws_extensions *offer, const struct ws_extensions *answer,
             struct ws_deflate *ret_client, struct ws_deflate *ret_server) LECTR_MUST_USE;
