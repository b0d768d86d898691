/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @meter */
/*
 * Target: http2_feed() by way of meter_request() and meter_response(): frames, header
 * blocks and all that lies behind them. What begins ends, once, and nothing is left.
 * The input is a sequence of pieces, each one byte of how long it is and whose
 * (the lowest bit), and its bytes; the client's preface and both sides' SETTINGS are
 * given. The first byte says in what steps the pieces are fed and how it ends.
 */
#include "agent/body.h"
#include "agent/meter.h"
#include "agent/provider.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char profile[] =
    "families:\n"
    "  - id: f\n"
    "    request: {model: [model], stream: [stream]}\n"
    "    answer:\n"
    "      event: [type]\n"
    "      id: [id]\n"
    "      output_paths: [text]\n"
    "      end_events: [end]\n"
    "    usage:\n"
    "      roots: [usage]\n"
    "      numbers: [{field: input_tokens, path: [in]}, {field: output_tokens, path: [out]}]\n"
    "      input_total: [input_tokens]\n"
    "      rows: [{kind: input, sum: [input_tokens]}]\n"
    "providers:\n"
    "  - name: p\n"
    "    hosts: [a.example]\n"
    "    headers: {key: [authorization], request_id: [x-id]}\n"
    "    operations: [{path: \"*\", operation: chat, family: f}]\n";

struct count {
    unsigned begins, calls;
};

static void on_begin(void *user, const struct request_head *head)
{
    assert(head->operation && head->provider);
    ((struct count *)user)->begins++;
}

static void on_call(void *user, const struct call *call)
{
    struct count *c = user;

    c->calls++;
    assert(c->calls <= c->begins);
    assert(call->outcome != CALL_OUTCOME_UNSPECIFIED);
    assert(call->end_mono_ns >= call->start_mono_ns);
    assert(call->http_version[0] == '2' && !call->http_version[1]);
}

static void pass(struct meter *m, bool request, struct slice bytes, size_t step, uint64_t now_ns)
{
    for (size_t at = 0; at < bytes.len; at += step) {
        struct slice piece =
            slice_of(bytes.data + at, bytes.len - at < step ? bytes.len - at : step);

        if (request)
            meter_request(m, piece, now_ns);
        else
            meter_response(m, piece, now_ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    static struct provider_set *set;
    struct count count = {0};
    struct body_budget budget = {.memory_limit_bytes = 1 << 18, .output_left_bytes = 1 << 18};
    struct meter *m;
    uint64_t now_ns = 1;

    if (!set) {
        struct provider_error error;

        if (provider_set_parse(slice_str(profile), &set, &error))
            __builtin_trap();
    }
    if (size < 2)
        return 0;
    const struct meter_env env = {.providers = set,
                                  .fingerprint_key = (const uint8_t *)profile,
                                  .budget = &budget,
                                  .user = &count,
                                  .on_begin = on_begin,
                                  .on_call = on_call};
    const size_t step = 1 + data[0] % 64;
    const enum meter_end end = (enum meter_end)(data[0] >> 6);

    if (meter_new(&env, METER_HTTP2, slice_str("a.example"), &m))
        return 0;
    pass(m, true, slice_of(preface, sizeof(preface) - 1), 64, now_ns);
    pass(m, false, slice_of(settings, sizeof(settings) - 1), 64, now_ns);
    for (size_t at = 1; at < size;) {
        size_t left = size - at - 1, n = data[at] >> 1 < left ? data[at] >> 1 : left;

        pass(m, data[at] & 1, slice_of(data + at + 1, n), step, now_ns += 1000);
        meter_request_took(m, 1);
        assert(count.begins - count.calls == meter_calls_open(m));
        at += 1 + n;
    }
    meter_close(m, end, now_ns);
    assert(count.begins == count.calls);
    meter_free(&m);
    assert(budget.memory_used_bytes == 0);
    return 0;
}
