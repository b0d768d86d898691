/* SPDX-License-Identifier: Apache-2.0 */
/* A session on a bench: said and heard in every carriage. */
#pragma once

#include "agent/realtime.h"
#include "tests/unit/agent/profiles.h"
#include "tests/unit/agent/ws_frames.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000000ULL
#define CALLS_MAX 24

/* How the session is carried; every one must tell the same. */
struct carriage {
    bool deflate, takeover;
    size_t piece; /* 0: whole */
    unsigned frames;
};

static const struct carriage carriages[] = {
    {false, false, 0, 1}, {false, false, 1, 1}, {false, false, 3, 3},
    {true, true, 0, 1},   {true, true, 1, 2},   {true, false, 5, 1},
};
#define EVERY(c)                                                                                   \
    for (const struct carriage *c = carriages;                                                     \
         c < carriages + sizeof(carriages) / sizeof(carriages[0]); c++)

struct bench {
    const struct carriage *how;
    struct realtime *rt;
    struct deflater said, heard;
    unsigned begins, calls;
    char begun[32];
    struct call blank;
    struct call *call[CALLS_MAX];
};

static inline void on_begin(void *user, const char *operation)
{
    struct bench *b = user;

    b->begins++;
    snprintf(b->begun, sizeof(b->begun), "%s", operation);
}

static inline struct call *blank(void *user)
{
    struct bench *b = user;

    memset(&b->blank, 0, sizeof(b->blank));
    strcpy(b->blank.provider, "given");
    return &b->blank;
}

static inline void on_call(void *user, const struct call *call)
{
    struct bench *b = user;

    assert_in_range(b->calls, 0, CALLS_MAX - 1);
    assert_ptr_equal(call, &b->blank);
    assert_string_equal(call->provider, "given");
    b->call[b->calls] = malloc(sizeof(*call));
    assert_non_null(b->call[b->calls]);
    *b->call[b->calls++] = *call;
}

static inline void open_session(struct bench *b, const struct carriage *how, const char *host,
                                const char *path, const char *model)
{
    const struct realtime_env env = {b, on_begin, blank, on_call};
    const struct ws_deflate deflate = {how->deflate, how->takeover, 15};
    struct provider_route route;

    memset(b, 0, sizeof(*b));
    b->how = how;
    deflater_init(&b->said, 15, how->takeover);
    deflater_init(&b->heard, 15, how->takeover);
    assert_int_equal(provider_route(provider_by_host(set, slice_str(host)), slice_str("GET"),
                                    slice_str(path), &route),
                     0);
    assert_string_equal(route.operation->operation, "realtime_session");
    assert_int_equal(
        realtime_new(&env, route.operation->family, &deflate, &deflate, NULL, model, &b->rt), 0);
}

static inline int feed(struct bench *b, bool client, const struct wire *w, uint64_t at_ms)
{
    size_t step = b->how->piece ? b->how->piece : w->len + 1;
    int r = 0;

    for (size_t i = 0; !r && i < w->len; i += step) {
        struct slice piece = slice_of(w->data + i, w->len - i < step ? w->len - i : step);

        r = client ? realtime_client(b->rt, piece, at_ms * MS)
                   : realtime_server(b->rt, piece, at_ms * MS);
    }
    return r;
}

static inline void message(struct bench *b, bool client, uint64_t at_ms, const char *json)
{
    struct deflater *d = !b->how->deflate ? NULL : client ? &b->said : &b->heard;
    struct wire w = {0};

    wire_message(&w, client, 1, json, strlen(json), d, b->how->frames);
    assert_int_equal(feed(b, client, &w, at_ms), 0);
    wire_free(&w);
}

#define say(b, at_ms, json) message(b, true, at_ms, json)
#define hear(b, at_ms, json) message(b, false, at_ms, json)

static inline void close_frame(struct bench *b, bool client, unsigned code, uint64_t at_ms)
{
    const uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    struct wire w = {0};

    wire_frame(&w, client, 0x88, payload, 2);
    assert_int_equal(feed(b, client, &w, at_ms), 0);
    wire_free(&w);
}

static inline void close_session(struct bench *b, enum realtime_end end, uint64_t at_ms)
{
    realtime_close(b->rt, end, at_ms * MS);
    assert_int_equal(b->begins, b->calls);
    realtime_close(b->rt, end, at_ms * MS);
    assert_int_equal(b->begins, b->calls);
}

static inline void finish(struct bench *b)
{
    realtime_free(&b->rt);
    assert_null(b->rt);
    deflateEnd(&b->said.z);
    deflateEnd(&b->heard.z);
    for (unsigned i = 0; i < b->calls; i++)
        free(b->call[i]);
}

/* "input.text=40 input.audio=60 …" with unknown counts as "?". */
static inline void assert_rows(const struct call *call, const char *want)
{
    char rows[512] = "";

    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *row = &call->usage[i];
        size_t len = strlen(rows);

        snprintf(rows + len, sizeof(rows) - len, "%s%s.%s%s", i ? " " : "", row->kind,
                 row->modality, strcmp(row->unit, "token") == 0 ? "" : ".");
        len = strlen(rows);
        snprintf(rows + len, sizeof(rows) - len,
                 "%s=", strcmp(row->unit, "token") == 0 ? "" : row->unit);
        len = strlen(rows);
        if (row->count.known)
            snprintf(rows + len, sizeof(rows) - len, "%llu", (unsigned long long)row->count.value);
        else
            snprintf(rows + len, sizeof(rows) - len, "?");
    }
    assert_string_equal(rows, want);
}
