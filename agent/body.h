/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content decoding: identity, gzip, deflate (with or without its wrapper), br,
 * zstd, in pieces of any size. Output comes in pieces of at most
 * BODY_PIECE_BYTES, wiped after each. A decoder is made when the first byte
 * comes and its memory is wiped when it is released.
 *
 * Limits: gzip and deflate hold 48 KiB; br and zstd grow with what the body's
 * window really uses, at most BODY_WINDOW_MAX_BYTES, beyond that the body fails.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#define BODY_PIECE_BYTES 4096
#define BODY_WINDOW_MAX_BYTES (10 * 1024 * 1024)

enum body_coding {
    BODY_IDENTITY,
    BODY_GZIP,
    BODY_DEFLATE,
    BODY_BROTLI,
    BODY_ZSTD,
    BODY_UNKNOWN, /* a coding, or a pile of them, that is not known here */
};

typedef void (*body_sink)(void *user, struct slice piece);

struct body {
    enum body_coding coding;
    bool failed;
    bool member_ended; /* gzip, zstd: another may follow */
    bool raw_deflate;
    void *decoder;
    size_t allocated_bytes;
};

/* `value` of a content-encoding header; empty is identity. */
enum body_coding body_coding_of(struct slice value);
void body_init(struct body *b, enum body_coding coding);
void body_fini(struct body *b);
/* -EPROTO when the bytes are no such coding, -ENOMEM beyond the limit; from
 * then on nothing comes out. */
int body_feed(struct body *b, struct slice bytes, body_sink sink, void *user) LECTR_MUST_USE;
