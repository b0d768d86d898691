/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds recorded exchanges through the meter, without a network, and compares
 * each call with the recording's `truth`, field by field.
 *
 *   meter_replay [--profiles DIR] [--split N|random|all]
 *                [--encode gzip|deflate|deflate-raw|br|zstd]
 *                [--http2] [--only PROVIDER,…] [--quiet] [--calls] FOLDER
 *
 * Prints "id field expected got" for every mismatch, at the end
 * "N passed, N failed, N skipped". Fails when anything failed or nothing passed.
 * --calls prints every call as well, for prices-compare.mjs: "CALL", id, and the
 * fields of price_probe.c, divided by tabs.
 */
/* LINK: @meter tests/harness/meter_check.c */
#include <brotli/encode.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

#include "agent/meter.h"
#include "agent/provider.h"
#include "proto/base/buf.h"
#include "tests/harness/meter_check.h"
#include "tests/harness/http2_writer.h"

#define BODY_LIMIT_BYTES (256u * 1024 * 1024)

struct options {
    const char *profiles, *only, *folder; /* profiles: directories joined by ":" */
    size_t split;                         /* 0: random, SIZE_MAX: whole */
    const char *encoding;                 /* NULL: as recorded */
    bool http2, quiet, calls;
};

struct totals {
    unsigned passed, failed, skipped, fields, fields_failed;
};

struct seen {
    struct call call;
    unsigned calls, begins;
};

/* Response bytes delivered before the body begin at this virtual microsecond;
 * from there on each byte of body is one. */
#define BASE_NS 1000000000ULL

static void die(const char *what)
{
    fprintf(stderr, "meter_replay: %s\n", what);
    exit(2);
}

static void on_begin(void *user, const struct request_head *head)
{
    (void)head;
    ((struct seen *)user)->begins++;
}

static void on_call(void *user, const struct call *call)
{
    struct seen *s = user;

    s->call = *call;
    s->calls++;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static void append(struct buf *b, const void *data, size_t len)
{
    if (buf_append(b, slice_of(data, len)))
        die("out of memory");
}

static void base64_decode(struct buf *b, const char *text)
{
    uint32_t bits = 0;
    int have = 0;

    for (; *text; text++) {
        int digit = base64_digit(*text);

        if (digit < 0)
            continue;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            uint8_t byte = (uint8_t)(bits >> (have - 8));

            have -= 8;
            append(b, &byte, 1);
        }
    }
}

static void body_of(const json_t *message, struct buf *b)
{
    const json_t *text = json_object_get(message, "body");
    const char *base64 = json_string_value(json_object_get(message, "body_base64"));

    if (json_is_string(text))
        append(b, json_string_value(text), json_string_length(text));
    else if (base64)
        base64_decode(b, base64);
}

static void zlib_body(struct buf *b, int window_bits)
{
    z_stream z = {0};
    struct buf out;
    uint8_t piece[16384];
    int r;

    buf_init(&out, BODY_LIMIT_BYTES);
    if (deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        die("zlib");
    z.next_in = b->data;
    z.avail_in = (unsigned)b->len;
    do {
        z.next_out = piece;
        z.avail_out = sizeof(piece);
        r = deflate(&z, Z_FINISH);
        append(&out, piece, sizeof(piece) - z.avail_out);
    } while (r == Z_OK);
    deflateEnd(&z);
    buf_fini(b);
    *b = out;
}

static void brotli_body(struct buf *b)
{
    size_t size = BrotliEncoderMaxCompressedSize(b->len) + 64;
    uint8_t *coded = malloc(size);

    if (!coded || !BrotliEncoderCompress(5, 18, BROTLI_MODE_TEXT, b->len, b->data, &size, coded))
        die("brotli");
    buf_fini(b);
    buf_init(b, BODY_LIMIT_BYTES);
    append(b, coded, size);
    free(coded);
}

static void zstd_body(struct buf *b)
{
    size_t size = ZSTD_compressBound(b->len);
    uint8_t *coded = malloc(size);

    size = coded ? ZSTD_compress(coded, size, b->data, b->len, 3) : 0;
    if (!coded || ZSTD_isError(size))
        die("zstd");
    buf_fini(b);
    buf_init(b, BODY_LIMIT_BYTES);
    append(b, coded, size);
    free(coded);
}

static const struct {
    const char *name, *header;
    int window_bits; /* zlib's: 31 gzip, 15 deflate, -15 without its wrapper */
    void (*encode)(struct buf *b);
} encodings[] = {
    {"gzip", "gzip", 31, NULL},
    {"deflate", "deflate", 15, NULL},
    {"deflate-raw", "deflate", -15, NULL},
    {"br", "br", 0, brotli_body},
    {"zstd", "zstd", 0, zstd_body},
};

static const char *encode_body(struct buf *b, const char *name)
{
    for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
        if (strcmp(encodings[i].name, name) != 0)
            continue;
        if (encodings[i].encode)
            encodings[i].encode(b);
        else
            zlib_body(b, encodings[i].window_bits);
        return encodings[i].header;
    }
    die("--encode: use gzip, deflate, deflate-raw, br or zstd");
    return NULL;
}

static bool header_is(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(name, *list) == 0)
            return true;
    return false;
}

static void print_headers(struct buf *b, const json_t *message, const char *encoding)
{
    static const char *const dropped[] = {
        "content-length", "transfer-encoding", "content-encoding", "connection", "expect", NULL};
    const json_t *headers = json_object_get(message, "headers");
    size_t i;
    json_t *pair;

    json_array_foreach(headers, i, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));
        const char *value = json_string_value(json_array_get(pair, 1));

        if (!name || !value || header_is(name, dropped))
            continue;
        if (buf_printf(b, "%s: %s\r\n", name, value))
            die("out of memory");
    }
    if (encoding && buf_printf(b, "content-encoding: %s\r\n", encoding))
        die("out of memory");
}

static void make_request(struct buf *b, const json_t *request)
{
    struct buf body;

    buf_init(&body, BODY_LIMIT_BYTES);
    body_of(request, &body);
    if (buf_printf(b, "%s %s HTTP/1.1\r\n", json_string_value(json_object_get(request, "method")),
                   json_string_value(json_object_get(request, "path"))))
        die("out of memory");
    print_headers(b, request, NULL);
    if (buf_printf(b, "content-length: %zu\r\n\r\n", body.len))
        die("out of memory");
    append(b, body.data, body.len);
    buf_fini(&body);
}

/* Head into `head`, body as it goes over the wire into `body`. */
static void make_response(const struct options *o, const json_t *response, bool chunked,
                          struct buf *head, struct buf *body)
{
    const char *coding = json_string_value(json_object_get(response, "content_encoding"));
    bool encoded = json_is_true(json_object_get(response, "body_is_encoded"));
    struct buf plain;

    buf_init(&plain, BODY_LIMIT_BYTES);
    body_of(response, &plain);
    if (!encoded)
        coding = NULL;
    if (o->encoding && !encoded)
        coding = encode_body(&plain, o->encoding);
    if (buf_printf(head, "HTTP/1.1 %d Reason\r\n",
                   (int)json_integer_value(json_object_get(response, "status"))))
        die("out of memory");
    print_headers(head, response, coding);
    if (!chunked) {
        if (buf_printf(head, "content-length: %zu\r\n\r\n", plain.len))
            die("out of memory");
        append(body, plain.data, plain.len);
    } else {
        if (buf_append_str(head, "transfer-encoding: chunked\r\n\r\n"))
            die("out of memory");
        for (size_t at = 0; at < plain.len;) {
            size_t n = plain.len - at < 1000 ? plain.len - at : 1000;

            if (buf_printf(body, "%zx\r\n", n))
                die("out of memory");
            append(body, plain.data + at, n);
            append(body, "\r\n", 2);
            at += n;
        }
        append(body, "0\r\n\r\n", 5);
    }
    buf_fini(&plain);
}

static size_t next_piece(const struct options *o, size_t left)
{
    size_t n = o->split ? o->split : 1 + (size_t)rand() % 700;

    return n < left ? n : left;
}

/* `now_ns` moves by a microsecond for each byte when `clocked`. */
static void feed(const struct options *o, struct meter *m, struct slice s, bool request,
                 uint64_t *now_ns, bool clocked)
{
    for (size_t at = 0; at < s.len;) {
        size_t n = next_piece(o, s.len - at);

        at += n;
        if (clocked)
            *now_ns += 1000 * n;
        if (request)
            meter_request(m, slice_of(s.data + at - n, n), *now_ns);
        else
            meter_response(m, slice_of(s.data + at - n, n), *now_ns);
    }
}

/* Divided by commas, as price_probe.c reads them. */
static void print_rows(const struct call *call)
{
    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *u = &call->usage[i];

        printf("%s%s:%s:%s:", i ? "," : "", u->kind, u->modality ? u->modality : "",
               u->unit ? u->unit : "");
        if (u->count.known)
            printf("%llu", (unsigned long long)u->count.value);
        printf(":%s", u->model);
    }
}

static void print_call(const char *id, const struct call *call)
{
    printf("CALL\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t0\t", id, call->provider, call->server_address,
           call->operation ? call->operation : "", call->model_requested, call->model_responded,
           call->service_tier);
    print_rows(call);
    printf("\t%u\t%d\t%d\t", call->status_code, (int)call->outcome, call->usage_reported);
    if (call->reported.cost_nanousd.known)
        printf("%lld", (long long)call->reported.cost_nanousd.value);
    putchar('\t');
    for (uint32_t i = 0; i < call->reported.raw_count; i++)
        printf("%s%s=%s", i ? "," : "", call->reported.raw[i].path, call->reported.raw[i].value);
    putchar('\n');
}

static bool provider_wanted(const struct options *o, const char *name)
{
    size_t len = strlen(name);

    if (!o->only)
        return true;
    for (const char *at = o->only; (at = strstr(at, name)); at += len)
        if ((at == o->only || at[-1] == ',') && (at[len] == ',' || !at[len]))
            return true;
    return false;
}

static void replay(const struct options *o, const struct provider_set *set, const json_t *exchange,
                   struct totals *t)
{
    static const uint8_t key[32] = {1, 2, 3};
    const json_t *request = json_object_get(exchange, "request");
    const json_t *response = json_object_get(exchange, "response");
    const json_t *truth = json_object_get(exchange, "truth");
    struct check c = {json_string_value(json_object_get(exchange, "id")), o->quiet, 0, 0};
    struct seen seen = {0};
    struct meter_env env = {.providers = set,
                            .fingerprint_key = key,
                            .user = &seen,
                            .on_begin = on_begin,
                            .on_call = on_call};
    const char *host = json_string_value(json_object_get(request, "host"));
    /* Without TLS the port tells the provider. */
    bool plain = strcmp(json_string_value(json_object_get(request, "scheme")), "http") == 0;
    struct slice name = slice_of(host, plain ? strlen(host) : strcspn(host, ":"));
    /* Clocked runs need the body's own bytes on the wire: no chunks. */
    bool stream = json_is_true(json_object_get(truth, "streaming")), clocked = o->split == 1;
    struct buf up, head, body;
    struct meter *m;
    uint64_t now_ns = BASE_NS;

    if (!provider_wanted(o, json_string_value(json_object_get(exchange, "provider"))) ||
        !provider_by_host(set, name)) {
        t->skipped++;
        return;
    }
    buf_init(&up, BODY_LIMIT_BYTES);
    buf_init(&head, BODY_LIMIT_BYTES);
    buf_init(&body, BODY_LIMIT_BYTES);
    make_request(&up, request);
    make_response(o, response, stream && !clocked && !o->http2, &head, &body);
    if (o->http2)
        h2_translate(&up, &head, &body, clocked ? 0 : 1 + (size_t)rand() % 3000);
    if (meter_new(&env, o->http2 ? METER_HTTP2 : METER_HTTP1, name, &m))
        die("out of memory");
    feed(o, m, buf_slice(&up), true, &now_ns, false);
    feed(o, m, buf_slice(&head), false, &now_ns, false);
    feed(o, m, buf_slice(&body), false, &now_ns, true);
    meter_close(m, METER_END_CLEAN, now_ns);
    if (seen.calls != 1 || seen.begins != 1)
        check_mismatch(&c, "calls", "1", seen.calls ? "more" : "0");
    else
        check_call(&c, exchange, &seen.call);
    c.fields++;
    if (seen.calls && strcmp(seen.call.http_version, o->http2 ? "2" : "1.1") != 0)
        check_mismatch(&c, "http_version", o->http2 ? "2" : "1.1", seen.call.http_version);
    if (o->calls && seen.calls)
        print_call(c.id, &seen.call);
    if (clocked && stream && !o->encoding &&
        !json_is_true(json_object_get(response, "body_is_encoded")))
        check_first(&c, truth, &seen.call);
    meter_free(&m);
    buf_fini(&up);
    buf_fini(&head);
    buf_fini(&body);
    t->fields += c.fields;
    t->fields_failed += c.failed;
    c.failed ? t->failed++ : t->passed++;
}

static void replay_file(const struct options *o, const struct provider_set *set, const char *path,
                        struct totals *t)
{
    json_error_t error;
    json_t *exchange = json_load_file(path, JSON_ALLOW_NUL, &error);

    if (!exchange) {
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        t->failed++;
        return;
    }
    if (json_is_object(exchange) && json_object_get(exchange, "truth"))
        replay(o, set, exchange, t);
    json_decref(exchange);
}

static void replay_folder(const struct options *o, const struct provider_set *set,
                          const char *folder, struct totals *t)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);

    if (count < 0) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name, *dot = strrchr(name, '.');
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        if (name[0] != '.' && entries[i]->d_type == DT_DIR)
            replay_folder(o, set, path, t);
        else if (dot && strcmp(dot, ".json") == 0)
            replay_file(o, set, path, t);
        free(entries[i]);
    }
    free(entries);
}

static void parse_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.profiles = "agent/providers", .split = SIZE_MAX};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(arg, "--profiles") == 0) {
            o->profiles = value;
            i++;
        } else if (strcmp(arg, "--only") == 0) {
            o->only = value;
            i++;
        } else if (strcmp(arg, "--split") == 0) {
            o->split = strcmp(value, "random") == 0 ? 0
                       : strcmp(value, "all") == 0  ? SIZE_MAX
                                                    : strtoul(value, NULL, 10);
            i++;
        } else if (strcmp(arg, "--encode") == 0) {
            o->encoding = value;
            i++;
        } else if (strcmp(arg, "--http2") == 0) {
            o->http2 = true;
        } else if (strcmp(arg, "--quiet") == 0) {
            o->quiet = true;
        } else if (strcmp(arg, "--calls") == 0) {
            o->calls = true;
        } else {
            o->folder = arg;
        }
    }
    if (!o->folder)
        die("usage: meter_replay [--profiles DIR] [--split N|random|all] [--encode CODING] "
            "[--http2] [--only PROVIDER,...] [--quiet] FOLDER");
}

int main(int argc, char **argv)
{
    struct options o;
    struct totals t = {0};
    struct provider_set *set;
    struct provider_error error;

    parse_options(argc, argv, &o);
    if (provider_set_load(o.profiles, &set, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    srand(1);
    replay_folder(&o, set, o.folder, &t);
    printf("%u of %u fields right\n%u passed, %u failed, %u skipped\n", t.fields - t.fields_failed,
           t.fields, t.passed, t.failed, t.skipped);
    provider_set_free(&set);
    return t.failed || !t.passed;
}
