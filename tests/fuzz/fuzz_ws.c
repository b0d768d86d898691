/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/realtime.c agent/realtime_turn.c agent/realtime_overlap.c agent/ws.c */
/* LINK: agent/ws_extensions.c agent/body.c */
/* LINK: agent/answer.c agent/usage.c agent/gaps.c agent/json.c agent/json_paths.c agent/text.c */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c */
/* Targets: ws_extensions_add(), ws_agree(), ws_feed(), and a session over it. Input: a byte of
 * choices, the answer's sec-websocket-extensions up to a newline, then frames; those of the
 * client and those of the provider are told apart by their mask bit only in that both parsers
 * read all of them. Any split tells the same; every call that begins ends. */
#include "agent/provider.h"
#include "agent/realtime.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, begins, calls;
    struct call call;
};

static void mix(struct sum *s, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        s->hash = (s->hash ^ p[i]) * 1099511628211ULL;
}

static void on_begin(void *user, const char *operation)
{
    struct sum *s = user;

    s->begins++;
    mix(s, operation, strlen(operation));
}

static struct call *blank(void *user)
{
    struct sum *s = user;

    memset(&s->call, 0, sizeof(s->call));
    return &s->call;
}

static void on_call(void *user, const struct call *call)
{
    struct sum *s = user;

    s->calls++;
    assert(call->usage_count <= CALL_USAGE_MAX);
    mix(s, &call->outcome, sizeof(call->outcome));
    mix(s, call->response_id, strlen(call->response_id));
    mix(s, &call->stream_events, sizeof(call->stream_events));
    mix(s, &call->reported.input_tokens, sizeof(uint64_t));
}

static const struct profile_family *family(uint8_t choice)
{
    static struct provider_set *set;
    struct provider_error error;
    struct provider_route route;
    const char *host = choice & 1 ? "api.openai.com" : "generativelanguage.googleapis.com";
    const char *path = choice & 1 ? "/v1/realtime" : "/ws/x.BidiGenerateContent";

    if (!set && provider_set_load("agent/providers", &set, &error))
        abort();
    if (provider_route(provider_by_host(set, slice_str(host)), slice_str("GET"), slice_str(path),
                       &route))
        abort();
    return route.operation->family;
}

static struct sum run(uint8_t choice, const struct ws_deflate *client,
                      const struct ws_deflate *server, const uint8_t *data, size_t size,
                      size_t piece)
{
    struct body_budget budget = {.memory_limit_bytes = 96 * 1024, .output_left_bytes = 16u << 20};
    static struct sum sum;
    const struct realtime_env env = {&sum, on_begin, blank, on_call};
    struct realtime *rt = NULL;
    int said = 0, heard = 0;

    memset(&sum, 0, sizeof(sum));
    if (realtime_new(&env, family(choice), client, server, &budget, "", &rt))
        abort();
    for (size_t i = 0; i < size; i += piece) {
        struct slice bytes = slice_of(data + i, size - i < piece ? size - i : piece);

        if (!said && choice & 2)
            said = realtime_client(rt, bytes, i);
        if (!heard && choice & 4)
            heard = realtime_server(rt, bytes, i);
    }
    realtime_close(rt, REALTIME_END_PROVIDER, size);
    assert(sum.begins == sum.calls);
    mix(&sum, &said, sizeof(said));
    mix(&sum, &heard, sizeof(heard));
    realtime_free(&rt);
    assert(budget.memory_used_bytes == 0);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_extensions offer = {.deflate = true}, answer = {0};
    struct ws_deflate client = {0}, server = {0};
    const uint8_t *end;
    size_t head;
    struct sum whole;

    if (size < 2 || !(end = memchr(data + 1, '\n', size - 1)))
        return 0;
    ws_extensions_add(&answer, slice_of(data + 1, (size_t)(end - data) - 1));
    if (ws_agree(&offer, &answer, &client, &server))
        return 0;
    assert(!client.on || (client.window_bits >= 8 && client.window_bits <= 15));
    head = (size_t)(end - data) + 1;
    whole = run(data[0], &client, &server, data + head, size - head, size);
    /* Both at once are read alternately: then the pieces matter. */
    if ((data[0] & 6) == 6)
        return 0;
    for (size_t piece = 1; piece < 8; piece += 3) {
        struct sum pieces = run(data[0], &client, &server, data + head, size - head, piece);

        assert(pieces.hash == whole.hash && pieces.calls == whole.calls);
    }
    return 0;
}
