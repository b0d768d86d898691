/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/* What one connection holds at most, every allocation counted: a body of 200 MB, a
 * stream of 100,000 events, coded and not, over both versions of HTTP. */
#include "tests/unit/agent/meter_h2_bench.h"

#include <errno.h>
#include <malloc.h>
#include <zlib.h>

#define BODY_BYTES (200u * 1024 * 1024)
#define EVENTS 100000u

static size_t held_bytes, peak_bytes;

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
/* The C library's own, beneath those of this program. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *data);

static void *counted(void *data)
{
    held_bytes += data ? malloc_usable_size(data) : 0;
    peak_bytes = held_bytes > peak_bytes ? held_bytes : peak_bytes;
    return data;
}

void *malloc(size_t size)
{
    return counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return counted(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
    held_bytes -= old ? malloc_usable_size(old) : 0;
    return counted(__libc_realloc(old, size));
}

void free(void *data)
{
    held_bytes -= data ? malloc_usable_size(data) : 0;
    __libc_free(data);
}
#endif

struct flow {
    struct meter *m;
    bool http2, gzip;
    z_stream z;
    uint64_t wire_bytes, calls;
};

static uint8_t piece[16384], wire[32768];

/* The counting is of the meter alone: nothing of this program allocates while it is fed. */
static void send_wire(struct flow *f, const uint8_t *bytes, size_t len)
{
    uint8_t head[16];
    int n = f->http2 ? 9 : snprintf((char *)head, sizeof(head), "%zx\r\n", len);

    if (!len)
        return;
    if (f->http2)
        memcpy(
            head,
            (uint8_t[9]){(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, 0, 0, 1},
            9);
    meter_response(f->m, slice_of(head, (size_t)n), 3 * MS);
    meter_response(f->m, slice_of(bytes, len), 3 * MS);
    if (!f->http2)
        meter_response(f->m, slice_of("\r\n", 2), 3 * MS);
    f->wire_bytes += len;
}

static void send_body(struct flow *f, const uint8_t *bytes, size_t len, bool last)
{
    if (!f->gzip) {
        send_wire(f, bytes, len);
        return;
    }
    f->z.next_in = (Bytef *)(uintptr_t)bytes;
    f->z.avail_in = (unsigned)len;
    do {
        f->z.next_out = wire;
        f->z.avail_out = 16384;
        assert_true(deflate(&f->z, last ? Z_FINISH : Z_SYNC_FLUSH) >= 0 || f->z.avail_out);
        send_wire(f, wire, 16384 - f->z.avail_out);
    } while (!f->z.avail_out);
}

/* Numbers that do not shrink as a bomb does. */
static void numbers(void)
{
    static uint32_t seed = 1;

    for (size_t i = 0; i < sizeof(piece); i++) {
        seed = seed * 1664525 + 1013904223;
        piece[i] = i % 12 == 0 ? ',' : (uint8_t)('0' + (seed >> 24) % 10);
    }
}

static void embedding(struct flow *f)
{
    static const char begin[] =
        "{\"object\":\"list\",\"model\":\"e-1\",\"data\":[{\"embedding\":[0";
    static const char end[] = "]}],\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}";

    send_body(f, (const uint8_t *)begin, sizeof(begin) - 1, false);
    for (uint64_t sent = 0; sent < (f->gzip ? BODY_BYTES / 4 : BODY_BYTES); sent += sizeof(piece)) {
        numbers();
        send_body(f, piece, sizeof(piece), false);
    }
    send_body(f, (const uint8_t *)end, sizeof(end) - 1, true);
}

static void event_stream(struct flow *f)
{
    static const char end[] = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,"
                              "\"completion_tokens\":100000}}\n\ndata: [DONE]\n\n";

    for (unsigned i = 0; i < EVENTS; i++)
        send_body(f, (const uint8_t *)DELTA, sizeof(DELTA) - 1, false);
    send_body(f, (const uint8_t *)end, sizeof(end) - 1, true);
}

/* Written before anything is measured. */
static void write_h2(struct bench *b, const struct flow *f, const char *path, const char *type)
{
    const struct h2_block how = {.pad = NO_PAD};
    struct h2_fields fields = {0};

    head(b, 1, "POST", path, NULL, NULL, false);
    h2_data(&b->up, 1, STREAM, strlen(STREAM), true, NO_PAD);
    h2_field(&fields, ":status", "200");
    h2_field(&fields, "content-type", type);
    if (f->gzip)
        h2_field(&fields, "content-encoding", "gzip");
    h2_headers(&b->down, 1, &fields, &how);
}

/* The request, and the answer's head. */
static void begin(struct bench *b, const struct flow *f, const char *path, const char *type)
{
    char text[512];

    if (f->http2) {
        meter_request(b->m, buf_slice(&b->up.out), 1 * MS);
        meter_response(b->m, buf_slice(&b->down.out), 2 * MS);
        return;
    }
    snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", path,
             strlen(STREAM), STREAM);
    meter_request(b->m, slice_str(text), 1 * MS);
    snprintf(text, sizeof(text),
             "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%sTransfer-Encoding: chunked\r\n\r\n", type,
             f->gzip ? "Content-Encoding: gzip\r\n" : "");
    meter_response(b->m, slice_str(text), 2 * MS);
}

static void check_call(const struct bench *b, bool gzip, bool events)
{
    assert_int_equal(b->calls, 1);
    assert_int_equal(b->call[0]->outcome, CALL_OK);
    assert_int_equal(b->call[0]->reported.input_tokens.value, 8);
    if (events)
        assert_int_equal(b->call[0]->stream_events, EVENTS + 2);
    else
        assert_true(gzip || b->call[0]->response_body_bytes > BODY_BYTES);
}

static void measure(bool http2, bool gzip, bool events)
{
    struct flow f = {.http2 = http2, .gzip = gzip};
    struct bench b = {.budget = {.memory_limit_bytes = 64u << 20, .output_left_bytes = UINT64_MAX}};
    const struct meter_env env = {.providers = set,
                                  .budget = &b.budget,
                                  .user = &b,
                                  .on_begin = on_begin,
                                  .on_call = on_call};
    const char *path = events ? "/v1/chat/completions" : "/v1/embeddings";
    const char *type = events ? "text/event-stream" : "application/json";
    size_t before;

    if (SANITIZED) {
        print_message("SKIP - the sanitizer's allocator stands in the way\n");
        skip();
    }
    h2_writer_init(&b.up, true);
    h2_writer_init(&b.down, false);
    assert_int_equal(deflateInit2(&f.z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    write_h2(&b, &f, path, type);
    before = peak_bytes = held_bytes;
    assert_int_equal(
        meter_new(&env, http2 ? METER_HTTP2 : METER_HTTP1, slice_str("api.openai.com"), &b.m), 0);
    f.m = b.m;
    begin(&b, &f, path, type);
    (events ? event_stream : embedding)(&f);
    print_message("peak of one connection, HTTP/%s, %s%s: %zu bytes (%llu on the wire)\n",
                  http2 ? "2" : "1.1",
                  events ? "100,000 events"
                  : gzip ? "50 MB body"
                         : "200 MB body",
                  gzip ? ", gzip" : "", peak_bytes - before, (unsigned long long)f.wire_bytes);
    assert_in_range(peak_bytes - before, 1, METER_STATE_MAX_BYTES);
    meter_response(b.m, http2 ? slice_of("\0\0\0\0\1\0\0\0\1", 9) : slice_str("0\r\n\r\n"), 4 * MS);
    check_call(&b, gzip, events);
    deflateEnd(&f.z);
    finish(&b);
}

static void a_large_body(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        measure(i & 1, i & 2, false);
}

static void a_long_stream(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        measure(i & 1, i & 2, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_body),
        cmocka_unit_test(a_long_stream),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
