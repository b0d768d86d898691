// SPDX-License-Identifier: Apache-2.0
/* LINK: agent/event.c */
#include "agent/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID "018f0000-0000-7000-8000-000000000001"

static struct call call;
static struct caller who;
static struct event_context ctx;
static struct event_record record;

static int reset(void **state)
{
    (void)state;
    memset(&call, 0, sizeof(call));
    memset(&who, 0, sizeof(who));
    memset(&ctx, 0, sizeof(ctx));
    memset(&record, 0xa5, sizeof(record));
    return 0;
}

static const Lectr__V1__Call *make(void)
{
    event_call(&call, &who, &ctx, &record);
    return &record.call;
}

#define PUT(field, text) snprintf(field, sizeof(field), "%s", text)

static void assert_feature(const char *header, const char *value, Lectr__V1__Feature__From from)
{
    Lectr__V1__Feature f;

    event_feature(&who, header, &f);
    if (value)
        assert_string_equal(f.value, value);
    else
        assert_null(f.value);
    assert_true(f.has_source);
    assert_int_equal(f.source, from);
}

static void the_feature_has_its_order(void **state)
{
    (void)state;
    assert_feature("", NULL, LECTR__V1__FEATURE__FROM__FROM_UNKNOWN);
    assert_feature(NULL, NULL, LECTR__V1__FEATURE__FROM__FROM_UNKNOWN);
    PUT(who.process, "python3");
    assert_feature("", "python3", LECTR__V1__FEATURE__FROM__FROM_COMMAND);
    PUT(who.owner, "billing");
    assert_feature("", "billing", LECTR__V1__FEATURE__FROM__FROM_OWNER);
    PUT(who.feature_pod, "pod");
    assert_feature("", "pod", LECTR__V1__FEATURE__FROM__FROM_POD);
    PUT(who.feature_env, "env");
    assert_feature("", "env", LECTR__V1__FEATURE__FROM__FROM_ENVIRONMENT);
    assert_feature("header", "header", LECTR__V1__FEATURE__FROM__FROM_HEADER);
}

static void unknown_stays_absent(void **state)
{
    const Lectr__V1__Call *m = make();

    (void)state;
    assert_null(m->id);
    assert_null(m->org);
    assert_null(m->model_requested);
    assert_null(m->trace_id);
    assert_null(m->rate_limit);
    assert_null(m->policy);
    assert_false(m->has_seq);
    assert_false(m->has_max_output_tokens);
    assert_false(m->has_attempt);
    assert_false(m->has_server_port);
    assert_false(m->has_stream_events);
    assert_false(m->has_stream_complete);
    assert_false(m->has_input_tokens_total);
    assert_false(m->has_synthetic);
    assert_false(m->workload->has_pid);
    assert_false(m->workload->has_uid);
    assert_false(m->latency->has_connect_us);
    assert_false(m->latency->has_total_us);
    assert_false(m->reported->has_input_tokens);
    assert_false(m->cost->has_expected_nanousd);
    assert_int_equal(m->n_usage, 0);
    /* what is known to be nothing is said */
    assert_true(m->has_status_code && m->status_code == 0);
    assert_true(m->has_usage_reported && !m->usage_reported);
    assert_true(m->has_streaming && !m->streaming);
}

/* A downloaded file of results: nobody streamed it, its lines were counted. */
static void lines_are_events_too(void **state)
{
    const Lectr__V1__Call *m;

    (void)state;
    call.stream_events = 2;
    m = make();
    assert_true(m->has_streaming && !m->streaming);
    assert_true(m->has_stream_events && m->stream_events == 2);
    assert_true(m->has_stream_complete && !m->stream_complete);
}

static void times_become_unix_time(void **state)
{
    const Lectr__V1__Call *m;

    (void)state;
    call.start_mono_ns = 5000;
    call.end_mono_ns = 9000;
    ctx.wall_minus_mono_ns = 1700000000000000000;
    m = make();
    assert_true(m->start_time_unix_nano == 1700000000000005000ULL);
    assert_true(m->end_time_unix_nano == 1700000000000009000ULL);
    ctx.wall_minus_mono_ns = -1000; /* a clock set before the boot */
    m = make();
    assert_int_equal(m->start_time_unix_nano, 4000);
    assert_int_equal(m->end_time_unix_nano, 8000);
}

static void the_org_of_the_caller_wins(void **state)
{
    (void)state;
    ctx.org = "configured";
    assert_string_equal(make()->org, "configured");
    PUT(who.org, "keyed");
    assert_string_equal(make()->org, "keyed");
}

static void fill_everything(void)
{
    PUT(call.provider, "anthropic");
    PUT(call.server_address, "api.anthropic.com");
    PUT(call.api, "anthropic.messages");
    call.operation = "chat";
    PUT(call.model_requested, "a");
    PUT(call.model_responded, "b");
    call.streaming = call.streaming_requested = call.stream_complete = true;
    PUT(call.http_version, "1.1");
    call.status_code = 529;
    call.outcome = CALL_UPSTREAM_ABORT;
    PUT(call.error_type, "overloaded_error");
    PUT(call.error_code, "code");
    PUT(call.finish_reason, "stop");
    PUT(call.request_id, "req");
    PUT(call.response_id, "resp");
    PUT(call.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    PUT(call.service_tier, "standard");
    PUT(call.sdk, "openai/5");
    PUT(call.billed_organization, "bo");
    PUT(call.billed_project, "bp");
    PUT(call.key_fingerprint, "0123456789abcdef");
    call.max_output_tokens = opt_u64(100);
    call.attempt = 2;
    call.latency.first_token_us = opt_u64(0);
    call.reported.output_tokens = opt_u64(7);
    call.reported.cost_nanousd = (struct opt_i64){.value = -1, .known = true};
    call.reported.audio_seconds = (struct opt_double){.value = 1.5, .known = true};
    call.reported.raw_count = 1;
    PUT(call.reported.raw[0].path, "usage.output_tokens");
    PUT(call.reported.raw[0].value, "7");
    call.usage_reported = call.usage_final = true;
    call.usage_count = 1;
    call.usage[0] = (struct usage_row){.kind = "output",
                                       .count = opt_u64(7),
                                       .low = opt_u64(6),
                                       .high = opt_u64(8),
                                       .source = USAGE_ESTIMATED};
    call.output_tokens_total = opt_u64(7);
    call.cost.expected_nanousd = (struct opt_i64){.value = 99, .known = true};
    call.cost.basis = "table";
    PUT(call.cost.price_version, "v1");
    call.request_body_bytes = 11;
    call.response_body_bytes = 12;
    call.retry_after_ms = opt_u64(1500);
    call.tool_calls = 1;
    call.stream_events = 9;
    who.pid = 42;
    who.uid = 0;
    PUT(who.cgroup, "system.slice/x.service");
    PUT(who.namespace_name, "ns");
    ctx.cluster = "c";
    ctx.node = "n";
    ctx.connection_id = "conn";
    ctx.server_port = 443;
    ctx.connect_us = opt_u64(1);
    ctx.tls_us = opt_u64(2);
    ctx.client_tls_us = opt_u64(3);
    ctx.added_us = opt_u64(4);
    ctx.policy_decision = "allow";
}

static void everything_arrives(void **state)
{
    struct buf out;

    (void)state;
    fill_everything();
    buf_init(&out, 1 << 16);
    assert_int_equal(event_json(&make()->base, &out), 0);
    assert_int_equal(buf_append(&out, slice_of("", 1)), 0);
    assert_string_equal(
        (const char *)out.data,
        "{\"start_time_unix_nano\":\"0\",\"end_time_unix_nano\":\"0\","
        "\"feature\":{\"source\":\"FROM_UNKNOWN\"},"
        "\"workload\":{\"cluster\":\"c\",\"node\":\"n\",\"namespace\":\"ns\",\"pid\":42,\"uid\":0,"
        "\"cgroup\":\"system.slice/x.service\"},\"provider\":\"anthropic\","
        "\"server_address\":\"api.anthropic.com\",\"server_port\":443,"
        "\"api\":\"anthropic.messages\",\"operation\":\"chat\",\"model_requested\":\"a\","
        "\"model_responded\":\"b\",\"streaming\":true,\"streaming_requested\":true,"
        "\"http_version\":\"1.1\",\"status_code\":529,\"outcome\":\"OUTCOME_UPSTREAM_ABORT\","
        "\"error_type\":\"overloaded_error\",\"error_code\":\"code\",\"finish_reason\":\"stop\","
        "\"request_id\":\"req\",\"response_id\":\"resp\","
        "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"service_tier\":\"standard\","
        "\"max_output_tokens\":\"100\",\"attempt\":2,\"sdk\":\"openai/5\","
        "\"billed_organization\":\"bo\",\"billed_project\":\"bp\","
        "\"key_fingerprint\":\"0123456789abcdef\","
        "\"latency\":{\"connect_us\":\"1\",\"tls_us\":\"2\",\"first_token_us\":\"0\","
        "\"added_us\":\"4\",\"client_tls_us\":\"3\"},"
        "\"reported\":{\"output_tokens\":\"7\",\"audio_seconds\":1.5,\"cost_nanousd\":\"-1\","
        "\"raw\":[{\"path\":\"usage.output_tokens\",\"value\":\"7\"}]},"
        "\"usage_reported\":true,\"usage_final\":true,"
        "\"usage\":[{\"kind\":\"output\",\"count\":\"7\",\"low\":\"6\",\"high\":\"8\","
        "\"source\":\"SOURCE_ESTIMATED\"}],"
        "\"cost\":{\"expected_nanousd\":\"99\",\"price_version\":\"v1\",\"basis\":\"table\"},"
        "\"request_body_bytes\":\"11\",\"response_body_bytes\":\"12\","
        "\"rate_limit\":{\"retry_after_ms\":\"1500\"},\"policy\":{\"decision\":\"allow\"},"
        "\"tool_calls\":1,\"stream_events\":9,\"stream_complete\":true,"
        "\"connection_id\":\"conn\",\"output_tokens_total\":\"7\"}");
    buf_fini(&out);
}

/* The largest call there can be, of bytes that are no UTF-8, still fits. */
static void the_largest_call_fits(void **state)
{
    static char id[] = ID;
    static uint8_t packed[EVENT_MAX_BYTES];
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    size_t len = 0;

    (void)state;
    fill_everything();
    memset(call.model_requested, 0xff, sizeof(call.model_requested) - 1);
    memset(call.request_id, 0xff, sizeof(call.request_id) - 1);
    memset(call.response_id, 0xff, sizeof(call.response_id) - 1);
    memset(call.server_address, 0xff, sizeof(call.server_address) - 1);
    memset(who.cgroup, 0xff, sizeof(who.cgroup) - 1);
    call.usage_count = UINT32_MAX; /* a count out of range is cut */
    call.reported.raw_count = UINT32_MAX;
    for (int i = 0; i < CALL_USAGE_MAX; i++) {
        call.usage[i] = call.usage[0];
        memset(call.usage[i].model, 0xff, sizeof(call.usage[i].model) - 1);
        call.usage[i].count = opt_u64(UINT64_MAX);
    }
    for (int i = 0; i < CALL_RAW_MAX; i++) {
        memset(call.reported.raw[i].path, 0xff, sizeof(call.reported.raw[i].path) - 1);
        memset(call.reported.raw[i].value, 0xff, sizeof(call.reported.raw[i].value) - 1);
    }
    make();
    assert_int_equal(record.call.n_usage, CALL_USAGE_MAX);
    record.call.id = record.call.agent_instance = id;
    record.call.has_part = record.call.has_seq = true;
    record.call.part = 1;
    record.call.seq = UINT64_MAX;
    assert_int_equal(event_pack(&record.call.base, packed, sizeof(packed), &len), 0);
    assert_true(len > 8000 && len < EVENT_MAX_BYTES / 2);
    assert_int_equal(event_unpack(EVENT_CALL, slice_of(packed, len), &message), 0);
    assert_memory_equal(((Lectr__V1__Call *)message)->request_id, "??????", 6);
}

#define T(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_feature_has_its_order), T(unknown_stays_absent),       T(lines_are_events_too),
        T(times_become_unix_time),    T(the_org_of_the_caller_wins), T(everything_arrives),
        T(the_largest_call_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
