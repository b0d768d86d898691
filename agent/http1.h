/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x in pieces of any size, one direction of a connection. The sole
 * user of llhttp. Pure; calls back in the order of the bytes.
 *
 * Limits: a target is cut at HTTP1_TARGET_MAX, a header's name at
 * HTTP1_NAME_MAX (longer ones are dropped), its value at HTTP1_VALUE_MAX. Both
 * are wiped as soon as the callback has returned.
 *
 * A chunk with more than one extension, or with spaces around its size, is more
 * than the parser knows: it is said to be no HTTP.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#define HTTP1_TARGET_MAX 4096
#define HTTP1_NAME_MAX 64
#define HTTP1_VALUE_MAX 2048

struct http1;

enum http1_side {
    HTTP1_REQUEST,
    HTTP1_RESPONSE,
};

struct http1_head {
    struct slice method; /* requests */
    struct slice target;
    uint16_t status; /* answers */
    uint8_t major, minor;
};

enum http1_body {
    HTTP1_BODY_AS_SAID, /* as the head says */
    HTTP1_BODY_NONE,    /* there is none whatever the head says (HEAD) */
    HTTP1_BODY_OPAQUE,  /* from here on it is not HTTP any more */
};

struct http1_events {
    void *user;
    void (*on_begin)(void *user);
    /* Headers and trailers; `name` in any case, `value` borrowed. */
    void (*on_header)(void *user, struct slice name, struct slice value);
    /* What is borrowed is valid until the callback returns. */
    enum http1_body (*on_head)(void *user, const struct http1_head *head);
    void (*on_body)(void *user, struct slice piece);
    void (*on_end)(void *user);
};

int http1_new(enum http1_side side, const struct http1_events *events,
              struct http1 **ret_http) LECTR_MUST_USE;
void http1_free(struct http1 **http);

/* 0; -EPROTO when it is no HTTP/1.x; -EALREADY once it has become opaque.
 * After either nothing is parsed any more. */
int http1_feed(struct http1 *h, struct slice bytes) LECTR_MUST_USE;
/* Once it has become opaque: how many of the last bytes fed came after. */
size_t http1_rest(const struct http1 *h);
/* The peer closed: ends a message that lasts until then. */
void http1_finish(struct http1 *h);
