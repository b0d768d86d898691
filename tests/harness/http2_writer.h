/* SPDX-License-Identifier: Apache-2.0 */
/* Writes one direction of an HTTP/2 connection, for tests: frames, and header
 * blocks by nghttp2's encoder. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_FIELDS_MAX 64

struct h2_writer {
    nghttp2_hd_deflater *deflater;
    struct buf out;
};

struct h2_fields {
    nghttp2_nv nv[H2_FIELDS_MAX];
    size_t count;
};

/* How a header block is carried. */
struct h2_block {
    bool end_stream;
    bool priority;
    int pad;         /* -1: not padded */
    size_t fragment; /* bytes a frame, 0: all in one */
};

static inline void h2_check(int r)
{
    if (r)
        abort();
}

static inline void h2_frame_head(struct h2_writer *w, size_t len, uint8_t type, uint8_t flags,
                                 uint32_t stream)
{
    const uint8_t head[9] = {(uint8_t)(len >> 16),
                             (uint8_t)(len >> 8),
                             (uint8_t)len,
                             type,
                             flags,
                             (uint8_t)(stream >> 24),
                             (uint8_t)(stream >> 16),
                             (uint8_t)(stream >> 8),
                             (uint8_t)stream};

    h2_check(buf_append(&w->out, slice_of(head, sizeof(head))));
}

static inline void h2_frame(struct h2_writer *w, uint8_t type, uint8_t flags, uint32_t stream,
                            const void *data, size_t len)
{
    h2_frame_head(w, len, type, flags, stream);
    h2_check(buf_append(&w->out, slice_of(data, len)));
}

static inline void h2_setting(struct h2_writer *w, uint16_t id, uint32_t value)
{
    const uint8_t s[6] = {(uint8_t)(id >> 8),     (uint8_t)id,           (uint8_t)(value >> 24),
                          (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

    h2_frame(w, NGHTTP2_SETTINGS, 0, 0, s, sizeof(s));
}

/* Begins with the preface, if it is the client's, and SETTINGS. */
static inline void h2_writer_init(struct h2_writer *w, bool client)
{
    buf_init(&w->out, 512u * 1024 * 1024);
    h2_check(nghttp2_hd_deflate_new(&w->deflater, 4096));
    if (client)
        h2_check(buf_append_str(&w->out, H2_PREFACE));
    h2_setting(w, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000);
}

static inline void h2_writer_fini(struct h2_writer *w)
{
    nghttp2_hd_deflate_del(w->deflater);
    buf_fini(&w->out);
}

/* `name` and `value` are borrowed until the block is written. */
static inline void h2_field(struct h2_fields *f, const char *name, const char *value)
{
    if (f->count == H2_FIELDS_MAX)
        abort();
    f->nv[f->count++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value,
                                     strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static inline void h2_piece(struct h2_writer *w, uint8_t type, uint8_t flags, uint32_t stream,
                            const struct h2_block *how, const uint8_t *bytes, size_t len)
{
    const uint8_t zeros[256] = {0}, priority[5] = {0, 0, 0, 0, 15};
    bool padded = type != NGHTTP2_CONTINUATION && how->pad >= 0;
    bool weighted = type == NGHTTP2_HEADERS && how->priority;
    const uint8_t pad = padded ? (uint8_t)how->pad : 0;

    flags |= padded ? NGHTTP2_FLAG_PADDED : 0;
    flags |= weighted ? NGHTTP2_FLAG_PRIORITY : 0;
    h2_frame_head(w, len + padded + pad + (weighted ? 5u : 0u), type, flags, stream);
    if (padded)
        h2_check(buf_append(&w->out, slice_of(&pad, 1)));
    if (weighted)
        h2_check(buf_append(&w->out, slice_of(priority, 5)));
    h2_check(buf_append(&w->out, slice_of(bytes, len)));
    h2_check(buf_append(&w->out, slice_of(zeros, pad)));
}

static inline void h2_headers(struct h2_writer *w, uint32_t stream, const struct h2_fields *f,
                              const struct h2_block *how)
{
    size_t bound = nghttp2_hd_deflate_bound(w->deflater, f->nv, f->count), at = 0, step;
    uint8_t *block = malloc(bound);
    ssize_t len = block ? nghttp2_hd_deflate_hd(w->deflater, block, bound, f->nv, f->count) : -1;

    if (len < 0)
        abort();
    step = how->fragment ? how->fragment : (size_t)len + 1;
    do {
        size_t left = (size_t)len - at, n = left < step ? left : step;
        uint8_t flags = n == left ? NGHTTP2_FLAG_END_HEADERS : 0;

        if (at == 0 && how->end_stream)
            flags |= NGHTTP2_FLAG_END_STREAM;
        h2_piece(w, at == 0 ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION, flags, stream, how,
                 block + at, n);
        at += n;
    } while (at < (size_t)len);
    free(block);
}

static inline void h2_data(struct h2_writer *w, uint32_t stream, const void *data, size_t len,
                           bool end, int pad)
{
    const struct h2_block how = {.pad = pad};

    h2_piece(w, NGHTTP2_DATA, end ? NGHTTP2_FLAG_END_STREAM : 0, stream, &how, data, len);
}

static inline void h2_reset(struct h2_writer *w, uint32_t stream, uint32_t code)
{
    const uint8_t be[4] = {(uint8_t)(code >> 24), (uint8_t)(code >> 16), (uint8_t)(code >> 8),
                           (uint8_t)code};

    h2_frame(w, NGHTTP2_RST_STREAM, 0, stream, be, sizeof(be));
}

static inline void h2_goaway(struct h2_writer *w, uint32_t last)
{
    const uint8_t be[8] = {(uint8_t)(last >> 24), (uint8_t)(last >> 16), (uint8_t)(last >> 8),
                           (uint8_t)last};

    h2_frame(w, NGHTTP2_GOAWAY, 0, 0, be, sizeof(be));
}

/* --- an HTTP/1.1 message as HTTP/2 --- */

static inline char *h2_copy(const char *at, size_t len)
{
    char *text = strndup(at, len);

    if (!text)
        abort();
    return text;
}

/* The names of a head, "method path …" or "version status …" and fields, in lower
 * case and without those that HTTP/2 does not have. Ends at the blank line. */
static inline void h2_fields_of(const char *head, bool request, struct h2_fields *f)
{
    const char *first_end = strchr(head, ' ') + 1;
    const char *second_end = first_end + strcspn(first_end, " \r"), *line;

    if (request) {
        h2_field(f, ":method", h2_copy(head, (size_t)(first_end - 1 - head)));
        h2_field(f, ":scheme", h2_copy("https", 5));
        h2_field(f, ":path", h2_copy(first_end, (size_t)(second_end - first_end)));
    } else {
        h2_field(f, ":status", h2_copy(first_end, (size_t)(second_end - first_end)));
    }
    for (line = strstr(head, "\r\n") + 2; line[0] != '\r'; line = strstr(line, "\r\n") + 2) {
        size_t name_len = strcspn(line, ":"), skip = name_len + 1 + (line[name_len + 1] == ' ');
        char *name = h2_copy(line, name_len);

        for (char *c = name; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
        if (strcmp(name, "host") == 0)
            strcpy(name = realloc(name, 11), ":authority");
        h2_field(f, name, h2_copy(line + skip, strcspn(line + skip, "\r")));
    }
}

static inline void h2_fields_free(struct h2_fields *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->nv[i].name[0] != ':')
            free(f->nv[i].name);
        free(f->nv[i].value);
    }
}

/* `pieces`: the body in frames of so many bytes at most, each preceded by frames
 * that say nothing; 0: in a single one, whose bytes end the output. */
static inline void h2_message(struct h2_writer *w, uint32_t stream, bool request, const char *head,
                              struct slice body, size_t pieces)
{
    struct h2_block how = {.end_stream = !body.len, .pad = -1, .fragment = pieces % 50};
    struct h2_fields f = {0};

    h2_fields_of(head, request, &f);
    h2_headers(w, stream, &f, &how);
    h2_fields_free(&f);
    for (size_t at = 0; at < body.len;) {
        size_t left = body.len - at, n = pieces && pieces < left ? pieces : left;

        if (pieces)
            h2_frame(w, NGHTTP2_WINDOW_UPDATE, 0, stream, "\0\0\1", 4);
        if (at % 3 == 1)
            h2_frame(w, NGHTTP2_PING, 0, 0, "pingpong", 8);
        h2_data(w, stream, body.data + at, n, n == left, pieces && at % 2 ? (int)(at % 256) : -1);
        at += n;
    }
}

/* A request, an answer's head and its body, as they would be with HTTP/1.1 and
 * without chunks. `pieces` as above; with 0 `body` stays what it is. */
static inline void h2_translate(struct buf *up, struct buf *head, struct buf *body, size_t pieces)
{
    struct h2_writer client, server;
    const uint8_t *end;
    size_t kept;

    h2_check(buf_append(up, slice_of("", 1)));
    h2_check(buf_append(head, slice_of("", 1)));
    end = (const uint8_t *)memmem(up->data, up->len, "\r\n\r\n", 4) + 4;
    h2_writer_init(&client, true);
    h2_writer_init(&server, false);
    h2_message(&client, 1, true, (const char *)up->data,
               slice_of(end, (size_t)(up->data + up->len - 1 - end)), pieces);
    h2_message(&server, 1, false, (const char *)head->data, buf_slice(body), pieces);
    kept = pieces ? 0 : body->len;
    buf_reset(up);
    h2_check(buf_append(up, buf_slice(&client.out)));
    buf_reset(head);
    h2_check(buf_append(head, slice_of(server.out.data, server.out.len - kept)));
    if (pieces)
        buf_reset(body);
    h2_writer_fini(&client);
    h2_writer_fini(&server);
}
