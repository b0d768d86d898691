/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/meter.c agent/ask.c agent/reply.c agent/answer.c agent/usage.c agent/body.c */
/* LINK: agent/http1.c agent/json.c agent/json_paths.c agent/sse.c agent/multipart.c */
/* LINK: agent/keyhash.c agent/text.c agent/provider.c agent/provider_match.c agent/profile.c */
/* LINK: agent/tally.c agent/extent.c agent/estimate.c agent/call_estimate.c */
/*
 * Target: meter_request(), meter_response(), meter_close(): HTTP/1.x and all that lies
 * behind it. What begins ends, once. The input is the request, a NUL, the answer.
 */
#include "agent/body.h"
#include "agent/meter.h"
#include "agent/provider.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char profile[] =
    "families:\n"
    "  - id: f\n"
    "    request: {model: [model], stream: [stream], max_output_tokens: [max]}\n"
    "    answer:\n"
    "      event: [type]\n"
    "      model: [model]\n"
    "      id: [id]\n"
    "      finish: [\"choices[].finish\", status]\n"
    "      choice_index: \"choices[].index\"\n"
    "      error_mark: [error]\n"
    "      error_type: [error.type]\n"
    "      output_paths: [\"choices[].text\"]\n"
    "      output_events: [\"*.delta\"]\n"
    "      end_events: [end]\n"
    "      tool_calls: [{each: \"tools[]\", by_index: true}, {each: t, type: \"*_call\"}]\n"
    "    usage:\n"
    "      roots: [usage, x.usage]\n"
    "      numbers: [{field: input_tokens, path: [in]}, {field: output_tokens, path: [out]}]\n"
    "      modalities: [{of: input, each: \"d[]\", name: m, count: n}]\n"
    "      entries: [{field: input_tokens, path: [in]}]\n"
    "      entries_each: \"i[]\"\n"
    "      entries_types: [other]\n"
    "      input_total: [input_tokens]\n"
    "      rows: [{kind: input, sum: [input_tokens, -audio_input_tokens]}]\n"
    "providers:\n"
    "  - name: p\n"
    "    hosts: [a.example]\n"
    "    query_key: key\n"
    "    headers: {key: [authorization], request_id: [x-id], limit_tokens: [x-limit]}\n"
    "    operations: [{path: \"*/{model}:s\", operation: chat, family: f, streams: true},\n"
    "                 {path: \"*\", operation: chat, family: f}]\n";

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
    assert(call->usage_count <= CALL_USAGE_MAX && call->reported.raw_count <= CALL_RAW_MAX);
    assert(call->outcome != CALL_OUTCOME_UNSPECIFIED);
    assert(call->end_mono_ns >= call->start_mono_ns);
    assert(strnlen(call->model_responded, sizeof(call->model_responded)) <
           sizeof(call->model_responded));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct provider_set *set;
    struct count count = {0};
    struct body_budget budget = {.memory_limit_bytes = 1 << 24, .output_left_bytes = 1 << 18};
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
    const size_t piece = 1 + data[0] % 64;
    const enum meter_end end = (enum meter_end)(data[0] >> 6);
    const uint8_t *nul = memchr(data + 1, 0, size - 1);
    size_t asked = nul ? (size_t)(nul - data) : size;
    size_t up = 1, down = asked + 1;

    if (meter_new(&env, slice_str("a.example"), &m))
        return 0;
    while (up < asked || down < size) {
        if (up < asked) {
            size_t n = asked - up < piece ? asked - up : piece;

            meter_request(m, slice_of(data + up, n), now_ns += 1000);
            up += n;
        } else {
            size_t n = size - down < piece ? size - down : piece;

            meter_response(m, slice_of(data + down, n), now_ns += 1000);
            down += n;
        }
        assert(count.begins - count.calls == meter_calls_open(m));
    }
    meter_close(m, end, now_ns);
    assert(count.begins == count.calls);
    meter_free(&m);
    assert(budget.memory_used_bytes == 0 && budget.output_left_bytes <= 1 << 18);
    return 0;
}
