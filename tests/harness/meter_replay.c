/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds recorded exchanges through the meter, without a network, and compares
 * each call with the recording's `truth`, field by field.
 *
 *   meter_replay [--profiles DIR] [--split N|random|all] [--encode gzip]
 *                [--only PROVIDER,…] [--quiet] FOLDER
 *
 * Prints "id field expected got" for every mismatch, at the end
 * "N passed, N failed, N skipped". Fails when anything failed or nothing passed.
 */
/* LINK: agent/meter.c agent/ask.c agent/reply.c agent/answer.c agent/usage.c agent/body.c */
/* LINK: agent/http1.c agent/json.c agent/json_paths.c agent/sse.c agent/multipart.c */
/* LINK: agent/keyhash.c agent/text.c agent/provider.c agent/provider_match.c agent/profile.c */
/* LINK: agent/tally.c agent/extent.c agent/estimate.c agent/call_estimate.c */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>
#include <zlib.h>

#include "agent/meter.h"
#include "agent/provider.h"
#include "proto/base/buf.h"

#define BODY_LIMIT_BYTES (256u * 1024 * 1024)

struct options {
    const char *profiles, *only, *folder;
    size_t split; /* 0: random, SIZE_MAX: whole */
    bool gzip, quiet;
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

static void gzip_body(struct buf *b)
{
    z_stream z = {0};
    struct buf out;
    uint8_t piece[16384];
    int r;

    buf_init(&out, BODY_LIMIT_BYTES);
    if (deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
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
    if (o->gzip && !encoded) {
        gzip_body(&plain);
        coding = "gzip";
    }
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

struct check {
    const char *id;
    const struct options *options;
    unsigned fields, failed;
};

static void mismatch(struct check *c, const char *field, const char *expected, const char *got)
{
    c->failed++;
    if (!c->options->quiet)
        printf("%s %s %s %s\n", c->id, field, expected, got);
}

static void check_text(struct check *c, const json_t *truth, const char *field, const char *got)
{
    const json_t *want = json_object_get(truth, field);
    char text[512] = "";

    c->fields++;
    if (json_is_string(want))
        snprintf(text, sizeof(text), "%s", json_string_value(want));
    else if (json_is_integer(want))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(want));
    if (strcmp(text, got) != 0)
        mismatch(c, field, text[0] ? text : "-", got[0] ? got : "-");
}

static void check_number(struct check *c, const json_t *truth, const char *field, bool known,
                         double got)
{
    const json_t *want = json_object_get(truth, field);
    char a[64] = "-", b[64] = "-";

    c->fields++;
    if (json_is_number(want))
        snprintf(a, sizeof(a), "%.6g", json_number_value(want));
    if (known)
        snprintf(b, sizeof(b), "%.6g", got);
    if (json_is_number(want) != known ||
        (known && fabs(json_number_value(want) - got) > 1e-9 * (1 + fabs(got))))
        mismatch(c, field, a, b);
}

static void check_flag(struct check *c, const json_t *truth, const char *field, bool got)
{
    bool want = json_is_true(json_object_get(truth, field));

    c->fields++;
    if (want != got)
        mismatch(c, field, want ? "true" : "false", got ? "true" : "false");
}

static void check_numbers(struct check *c, const json_t *truth, const struct call *call)
{
    const struct call_reported *r = &call->reported;
    const struct {
        const char *field;
        struct opt_u64 got;
        bool extra; /* compared only where the truth has it */
    } table[] = {
        {"input_tokens", r->input_tokens, false},
        {"output_tokens", r->output_tokens, false},
        {"total_tokens", r->total_tokens, false},
        {"cached_input_tokens", r->cached_input_tokens, false},
        {"cache_creation_tokens", r->cache_creation_tokens, false},
        {"cache_creation_5m_tokens", r->cache_creation_tokens_5m, false},
        {"cache_creation_1h_tokens", r->cache_creation_tokens_1h, false},
        {"reasoning_tokens", r->reasoning_tokens, false},
        {"audio_input_tokens", r->audio_input_tokens, false},
        {"audio_output_tokens", r->audio_output_tokens, false},
        {"image_input_tokens", r->image_input_tokens, false},
        {"image_output_tokens", r->image_output_tokens, false},
        {"tool_use_input_tokens", r->tool_use_input_tokens, false},
        {"input_tokens_total", call->input_tokens_total, false},
        {"output_tokens_total", call->output_tokens_total, false},
        {"counted_tokens", r->counted_tokens, true},
        {"images", r->images, true},
        {"web_search_requests", r->web_search_requests, true},
        {"pages_processed", r->pages_processed, true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (!table[i].extra || json_is_number(json_object_get(truth, table[i].field)))
            check_number(c, truth, table[i].field, table[i].got.known, (double)table[i].got.value);
    if (json_object_get(truth, "audio_seconds"))
        check_number(c, truth, "audio_seconds", r->audio_seconds.known, r->audio_seconds.value);
    if (json_object_get(truth, "search_units"))
        check_number(c, truth, "search_units", r->search_units.known, r->search_units.value);
    if (json_object_get(truth, "reported_cost_usd")) {
        double want = json_number_value(json_object_get(truth, "reported_cost_usd"));
        double got = (double)r->cost_nanousd.value / 1e9;

        c->fields++;
        if (!r->cost_nanousd.known || fabs(want - got) > 1e-9)
            mismatch(c, "reported_cost_usd", "cost", "other");
    }
}

/* Every token is in exactly one row: the rows of a direction sum up to its total.
 * Where the provider's parts are larger than the whole they say more, and nothing
 * is left for the base row. */
static void check_rows_of(struct check *c, const struct call *call, bool output,
                          const struct opt_u64 *total)
{
    const char *base = output ? "output" : "input";
    double sum = 0, rest = 0;
    char a[32], b[32];

    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *r = &call->usage[i];
        bool is_output = strcmp(r->kind, "output") == 0 || strcmp(r->kind, "reasoning") == 0;

        if (strcmp(r->unit, "token") != 0 || r->model[0] || !r->count.known || is_output != output)
            continue;
        sum += (double)r->count.value;
        if (strcmp(r->kind, base) == 0 && strcmp(r->modality, "text") == 0)
            rest += (double)r->count.value;
    }
    c->fields++;
    if (!total->known || sum == (double)total->value || (sum > (double)total->value && rest == 0))
        return;
    snprintf(a, sizeof(a), "%llu", (unsigned long long)total->value);
    snprintf(b, sizeof(b), "%.0f", sum);
    mismatch(c, output ? "rows(output)" : "rows(input)", a, b);
}

static void check_call(struct check *c, const json_t *exchange, const struct call *call)
{
    const json_t *truth = json_object_get(exchange, "truth");
    bool error = call->outcome == CALL_PROVIDER_ERROR;

    check_text(c, exchange, "provider", call->provider);
    check_text(c, truth, "api", call->api);
    check_text(c, truth, "operation", call->operation);
    check_text(c, truth, "model_requested", call->model_requested);
    check_text(c, truth, "model_responded", call->model_responded);
    check_flag(c, truth, "streaming", call->streaming);
    check_flag(c, truth, "streaming_requested", call->streaming_requested);
    check_number(c, truth, "status", true, call->status_code);
    check_flag(c, truth, "is_error", error);
    check_text(c, truth, "error_type", call->error_type);
    check_text(c, truth, "error_code", call->error_code);
    check_text(c, truth, "finish_reason", call->finish_reason);
    check_text(c, truth, "request_id", call->request_id);
    check_text(c, truth, "response_id", call->response_id);
    check_flag(c, truth, "usage_reported", call->usage_reported);
    check_flag(c, truth, "usage_final", call->usage_final);
    check_flag(c, truth, "stream_complete", call->stream_complete);
    check_number(c, truth, "tool_calls", true, call->tool_calls);
    if (json_is_number(json_object_get(truth, "stream_events")) || call->stream_events)
        check_number(c, truth, "stream_events", true, call->stream_events);
    if (json_is_string(json_object_get(truth, "service_tier")))
        check_text(c, truth, "service_tier", call->service_tier);
    check_numbers(c, truth, call);
    if (call->usage_reported && call->usage_count) {
        check_rows_of(c, call, false, &call->input_tokens_total);
        check_rows_of(c, call, true, &call->output_tokens_total);
    }
}

/* With single bytes of an uncoded body, first_token_us tells the offset. */
static void check_first(struct check *c, const json_t *truth, const struct call *call)
{
    const json_t *want = json_object_get(truth, "first_output_end_offset");
    double got = (double)call->latency.first_token_us.value;
    char a[32], b[32];

    c->fields++;
    snprintf(a, sizeof(a), "%.0f", json_number_value(want));
    snprintf(b, sizeof(b), call->latency.first_token_us.known ? "%.0f" : "-", got);
    /* An event ends with the CR of its CRLF or the LF: one byte either way. */
    if (json_is_number(want) != call->latency.first_token_us.known ||
        (json_is_number(want) && fabs(json_number_value(want) - got) > 2))
        mismatch(c, "first_output_end_offset", json_is_number(want) ? a : "-", b);
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
    struct check c = {json_string_value(json_object_get(exchange, "id")), o, 0, 0};
    struct seen seen = {0};
    struct meter_env env = {.providers = set,
                            .fingerprint_key = key,
                            .user = &seen,
                            .on_begin = on_begin,
                            .on_call = on_call};
    const char *host = json_string_value(json_object_get(request, "host"));
    struct slice name = slice_of(host, strcspn(host, ":"));
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
    make_response(o, response, stream && !clocked, &head, &body);
    if (meter_new(&env, name, &m))
        die("out of memory");
    feed(o, m, buf_slice(&up), true, &now_ns, false);
    feed(o, m, buf_slice(&head), false, &now_ns, false);
    feed(o, m, buf_slice(&body), false, &now_ns, true);
    meter_close(m, METER_END_CLEAN, now_ns);
    if (seen.calls != 1 || seen.begins != 1)
        mismatch(&c, "calls", "1", seen.calls ? "more" : "0");
    else
        check_call(&c, exchange, &seen.call);
    if (clocked && stream && !o->gzip &&
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
            o->gzip = strcmp(value, "gzip") == 0;
            i++;
        } else if (strcmp(arg, "--quiet") == 0) {
            o->quiet = true;
        } else {
            o->folder = arg;
        }
    }
    if (!o->folder)
        die("usage: meter_replay [--profiles DIR] [--split N|random|all] [--encode gzip] "
            "[--only PROVIDER,...] [--quiet] FOLDER");
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
