/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP without TLS, told from the first bytes of a connection, and whom it asks
 * for. Pure and stateless: call again with a longer prefix of the same stream
 * while it answers CLEAR_MORE. Any byte string is safe to give.
 */
#pragma once

#include "proto/base/slice.h"

/* With so many bytes the answer is never CLEAR_MORE. */
#define CLEAR_MAX_BYTES 16384
#define CLEAR_HOST_MAX 240

enum clear_result {
    CLEAR_HTTP1,    /* ret_head is filled */
    CLEAR_HTTP2,    /* the preface of HTTP/2 without negotiation; the host is not known */
    CLEAR_MORE,     /* may become one of them */
    CLEAR_NOT_HTTP, /* will not */
};

struct clear_head {
    char host[CLEAR_HOST_MAX]; /* lower case, without port and brackets; empty: not said */
};

enum clear_result clear_parse(struct slice bytes, struct clear_head *ret_head);
