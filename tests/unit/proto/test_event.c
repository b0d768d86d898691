// SPDX-License-Identifier: Apache-2.0
/* LINK: */
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID "018f0000-0000-7000-8000-000000000001"
#define INSTANCE "018f0000-0000-7000-8000-0000000000aa"

static char id[] = ID, instance[] = INSTANCE;

static Lectr__V1__Call small_call(void)
{
    Lectr__V1__Call c = LECTR__V1__CALL__INIT;

    c.id = id;
    c.agent_instance = instance;
    c.has_part = c.has_seq = true;
    c.part = 3;
    c.seq = 1;
    c.has_start_time_unix_nano = c.has_end_time_unix_nano = true;
    c.start_time_unix_nano = 1000;
    c.end_time_unix_nano = 2000;
    return c;
}

static int unpack_call(const Lectr__V1__Call *c, ProtobufCMessage **ret_message)
{
    static uint8_t packed[EVENT_MAX_BYTES];
    size_t len;

    assert_int_equal(event_pack(&c->base, packed, sizeof(packed), &len), 0);
    return event_unpack(EVENT_CALL, slice_of(packed, len), ret_message);
}

static void assert_json(const ProtobufCMessage *message, const char *expected)
{
    struct buf out;

    buf_init(&out, 1 << 16);
    assert_int_equal(event_json(message, &out), 0);
    assert_int_equal(buf_append(&out, slice_of("", 1)), 0);
    assert_string_equal((const char *)out.data, expected);
    buf_fini(&out);
}

static void a_call_survives_the_wire(void **state)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    Lectr__V1__Usage row = LECTR__V1__USAGE__INIT, *rows[] = {&row, &row};
    Lectr__V1__Call c = small_call();
    const Lectr__V1__Call *got;

    (void)state;
    row.has_count = true;
    row.count = 0;
    c.usage = rows;
    c.n_usage = 2;
    c.has_status_code = true;
    assert_int_equal(unpack_call(&c, &message), 0);
    got = (const Lectr__V1__Call *)message;
    assert_string_equal(got->id, ID);
    assert_int_equal(got->n_usage, 2);
    assert_true(got->usage[1]->has_count);
    assert_false(got->usage[1]->has_low);
    assert_true(got->has_status_code);
    assert_false(got->has_attempt);
}

/* Small and large in turns: each is whole, and the arena ends as large as the largest. */
static void an_arena_is_used_again(void **state)
{
    enum { ROWS = 3000 };
    static Lectr__V1__Usage row = LECTR__V1__USAGE__INIT, *rows[ROWS];
    static uint8_t packed[2][EVENT_MAX_BYTES];
    CLEAN_EVENT_ARENA struct event_arena arena = {0};
    Lectr__V1__Call c = small_call();
    size_t len[2], size = 0;

    (void)state;
    row.kind = (char *)"input";
    for (int i = 0; i < ROWS; i++)
        rows[i] = &row;
    c.usage = rows;
    assert_int_equal(event_pack(&c.base, packed[0], EVENT_MAX_BYTES, &len[0]), 0);
    c.n_usage = ROWS;
    assert_int_equal(event_pack(&c.base, packed[1], EVENT_MAX_BYTES, &len[1]), 0);
    for (int i = 0; i < 6; i++) {
        ProtobufCMessage *message = NULL;
        const Lectr__V1__Call *got;

        assert_int_equal(
            event_unpack_in(&arena, EVENT_CALL, slice_of(packed[i % 2], len[i % 2]), &message), 0);
        got = (const Lectr__V1__Call *)message;
        assert_string_equal(got->id, ID);
        assert_int_equal(got->n_usage, i % 2 ? ROWS : 0);
        if (i % 2)
            assert_string_equal(got->usage[ROWS - 1]->kind, "input");
        if (i == 2)
            size = arena.size;
        assert_int_equal(
            event_unpack_in(&arena, EVENT_CALL, slice_of(packed[0], len[0] - 1), &message),
            -EBADMSG);
    }
    assert_int_equal(arena.size, size);
}

static void json_follows_the_mapping(void **state)
{
    Lectr__V1__Usage row = LECTR__V1__USAGE__INIT, *rows[] = {&row, &row};
    Lectr__V1__Reported reported = LECTR__V1__REPORTED__INIT;
    Lectr__V1__Latency empty = LECTR__V1__LATENCY__INIT;
    Lectr__V1__Cost cost = LECTR__V1__COST__INIT;
    char kind[] = "cached_input", path[] = "q\"\\\n\x01\x7f\xe2\x82\xac\xff"
                                           "end";
    Lectr__V1__Call c = small_call();

    (void)state;
    row.kind = kind;
    row.has_count = row.has_source = true;
    row.count = UINT64_MAX;
    row.source = LECTR__V1__SOURCE__SOURCE_REPORTED;
    c.usage = rows;
    c.n_usage = 2;
    c.has_outcome = true;
    c.outcome = (Lectr__V1__Outcome)99; /* newer than this reader */
    c.has_streaming = c.has_status_code = true;
    c.provider = path;
    c.latency = &empty;
    cost.has_low_nanousd = true;
    cost.low_nanousd = INT64_MIN;
    c.cost = &cost;
    reported.has_audio_seconds = reported.has_search_units = true;
    reported.audio_seconds = 0.1;
    reported.search_units = -INFINITY;
    c.reported = &reported;
    assert_json(&c.base,
                "{\"id\":\"" ID "\",\"agent_instance\":\"" INSTANCE "\",\"part\":3,\"seq\":\"1\","
                "\"start_time_unix_nano\":\"1000\",\"end_time_unix_nano\":\"2000\","
                "\"provider\":\"q\\\"\\\\\\u000a\\u0001\x7f\xe2\x82\xac\\ufffdend\","
                "\"streaming\":false,\"status_code\":0,\"outcome\":99,\"latency\":{},"
                "\"reported\":{\"audio_seconds\":0.1,\"search_units\":\"-Infinity\"},"
                "\"usage\":[{\"kind\":\"cached_input\",\"count\":\"18446744073709551615\","
                "\"source\":\"SOURCE_REPORTED\"},{\"kind\":\"cached_input\","
                "\"count\":\"18446744073709551615\",\"source\":\"SOURCE_REPORTED\"}],"
                "\"cost\":{\"low_nanousd\":\"-9223372036854775808\"}}");
}

static void json_prints_every_type(void **state)
{
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    Lectr__V1__Coverage coverage = LECTR__V1__COVERAGE__INIT;
    Lectr__V1__Alert alert = LECTR__V1__ALERT__INIT;
    Lectr__V1__Alert__Label label = LECTR__V1__ALERT__LABEL__INIT, *labels[] = {&label};
    Lectr__V1__Rollup rollup = LECTR__V1__ROLLUP__INIT;
    char reason[] = "ech", name[] = "feature", value[] = "x y";

    (void)state;
    gap.reason = reason;
    gap.has_connections = true;
    gap.connections = 2;
    assert_json(&gap.base, "{\"reason\":\"ech\",\"connections\":\"2\"}");
    coverage.has_seen_connections = true;
    assert_json(&coverage.base, "{\"seen_connections\":\"0\"}");
    label.name = name;
    label.value = value;
    alert.labels = labels;
    alert.n_labels = 1;
    alert.has_status = true;
    alert.status = LECTR__V1__ALERT__STATUS__STATUS_FIRING;
    alert.has_observed = alert.has_baseline = true;
    alert.observed = 1e300;
    alert.baseline = 1.0 / 3;
    assert_json(&alert.base, "{\"status\":\"STATUS_FIRING\",\"labels\":[{\"name\":\"feature\","
                             "\"value\":\"x y\"}],\"observed\":1e+300,"
                             "\"baseline\":0.33333333333333331}");
    assert_json(&rollup.base, "{}");
}

static void json_acts_on_no_terminal(void **state)
{
    Lectr__V1__Alert alert = LECTR__V1__ALERT__INIT;
    char reason[] = "\x1b[2J\xc2\x9b"
                    "2J\xc2\xa0\xc3\xa9";

    (void)state;
    alert.reason = reason;
    assert_json(&alert.base, "{\"reason\":\"\\u001b[2J\\u009b2J\xc2\xa0\xc3\xa9\"}");
}

static void json_stops_at_the_limit(void **state)
{
    Lectr__V1__Call c = small_call();
    struct buf out;

    (void)state;
    buf_init(&out, 50);
    assert_int_equal(event_json(&c.base, &out), -ENOSPC);
    assert_true(out.len <= 50);
    buf_fini(&out);
}

static void text_that_is_not_utf8_is_repaired(void **state)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    Lectr__V1__Workload workload = LECTR__V1__WORKLOAD__INIT;
    char process[] = "caf\xc3", fine[] = "caf\xc3\xa9";
    Lectr__V1__Call c = small_call();
    const Lectr__V1__Call *got;

    (void)state;
    workload.process = process;
    workload.owner = fine;
    c.workload = &workload;
    assert_int_equal(unpack_call(&c, &message), 0);
    got = (const Lectr__V1__Call *)message;
    assert_string_equal(got->workload->process, "caf?");
    assert_string_equal(got->workload->owner, "caf\xc3\xa9");
    assert_string_equal(process, "caf\xc3"); /* the caller's own is left alone */
}

static void foreign_text_that_is_not_utf8_is_refused(void **state)
{
    ProtobufCMessage *message = NULL;
    char provider[] = "\xff\xfe";
    Lectr__V1__Call c = small_call();
    uint8_t packed[256];
    size_t len;

    (void)state;
    c.provider = provider;
    len = protobuf_c_message_pack(&c.base, packed);
    assert_int_equal(event_unpack(EVENT_CALL, slice_of(packed, len), &message), -EILSEQ);
    assert_null(message);
}

static void unknown_fields_are_accepted(void **state)
{
    static const uint8_t unknown[] = {0xf8, 0x3e, 0x05}; /* field 1007, varint 5 */
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    Lectr__V1__Call c = small_call();
    uint8_t packed[256];
    size_t len;

    (void)state;
    assert_int_equal(event_pack(&c.base, packed, sizeof(packed), &len), 0);
    memcpy(packed + len, unknown, sizeof(unknown));
    assert_int_equal(event_unpack(EVENT_CALL, slice_of(packed, len + sizeof(unknown)), &message),
                     0);
}

static void what_has_no_identity_is_refused(void **state)
{
    ProtobufCMessage *message = NULL;
    char no_uuid[] = "018F0000-0000-7000-8000-000000000001";
    Lectr__V1__Call c[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        c[i] = small_call();
    c[0].id = NULL;
    c[1].id = no_uuid;
    c[2].agent_instance = NULL;
    c[3].part = EVENT_PARTS;
    c[4].has_part = false;
    c[5].seq = 0;
    c[6].end_time_unix_nano = 999;
    c[7].has_end_time_unix_nano = false;
    for (int i = 0; i < 8; i++)
        assert_int_equal(unpack_call(&c[i], &message), -EINVAL);
    assert_null(message);
}

static void sizes_are_bounded(void **state)
{
    static uint8_t packed[2 * EVENT_MAX_BYTES];
    static char big[EVENT_MAX_BYTES + 1];
    ProtobufCMessage *message = NULL;
    Lectr__V1__Call c = small_call();
    size_t len = 4711;

    (void)state;
    assert_int_equal(event_pack(&c.base, packed, 10, &len), -EMSGSIZE);
    memset(big, 'x', EVENT_MAX_BYTES);
    c.provider = big;
    assert_int_equal(event_pack(&c.base, packed, sizeof(packed), &len), -EMSGSIZE);
    assert_int_equal(len, 4711);
    len = protobuf_c_message_pack(&c.base, packed);
    assert_int_equal(event_unpack(EVENT_CALL, slice_of(packed, len), &message), -EMSGSIZE);
    assert_int_equal(event_unpack(EVENT_CALL, slice_str("\xff\xff\xff"), &message), -EBADMSG);
    assert_int_equal(event_unpack(EVENT_CALL, slice_str(""), &message), -EINVAL);
    assert_null(message);
}

static void uuid7_carries_the_time(void **state)
{
    uint64_t wall_ns = 0x017f22e279b0ULL * NSEC_PER_MSEC; /* the RFC's example */
    char a[EVENT_UUID_BYTES], b[EVENT_UUID_BYTES];

    (void)state;
    assert_int_equal(event_uuid7(wall_ns, a), 0);
    assert_memory_equal(a, "017f22e2-79b0-7000-", 19);
    assert_non_null(strchr("89ab", a[19]));
    assert_true(event_is_uuid(a));
    for (int i = 0; i < 1000; i++) {
        wall_ns += 300;
        assert_int_equal(event_uuid7(wall_ns, b), 0);
        assert_true(strcmp(a, b) < 0);
        memcpy(a, b, sizeof(a));
    }
}

static void named_uuids_repeat(void **state)
{
    char a[EVENT_UUID_BYTES], b[EVENT_UUID_BYTES];

    (void)state;
    event_uuid_named(slice_str("gap 1"), a);
    event_uuid_named(slice_str("gap 1"), b);
    assert_string_equal(a, b);
    assert_true(event_is_uuid(a));
    assert_int_equal(a[14], '8');
    event_uuid_named(slice_str("gap 2"), b);
    assert_string_not_equal(a, b);
}

static void uuids_are_told_apart_from_other_text(void **state)
{
    (void)state;
    assert_true(event_is_uuid(ID));
    assert_false(event_is_uuid(NULL));
    assert_false(event_is_uuid(""));
    assert_false(event_is_uuid(ID "0"));
    assert_false(event_is_uuid("018f0000-0000-7000-8000_000000000001"));
    assert_false(event_is_uuid("../f0000-0000-7000-8000-000000000001"));
}

static void parts_are_spread(void **state)
{
    unsigned seen[EVENT_PARTS] = {0};
    char uuid[EVENT_UUID_BYTES];

    (void)state;
    for (int i = 0; i < 64 * 100; i++) {
        assert_int_equal(event_uuid7(clock_wall_ns(), uuid), 0);
        assert_true(event_part(uuid) < EVENT_PARTS);
        seen[event_part(uuid)]++;
    }
    for (int i = 0; i < EVENT_PARTS; i++)
        assert_true(seen[i] > 40); /* 100 on average, spread 10 */
    assert_int_equal(event_part(ID), event_part(ID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_survives_the_wire),
        cmocka_unit_test(an_arena_is_used_again),
        cmocka_unit_test(json_follows_the_mapping),
        cmocka_unit_test(json_prints_every_type),
        cmocka_unit_test(json_acts_on_no_terminal),
        cmocka_unit_test(json_stops_at_the_limit),
        cmocka_unit_test(text_that_is_not_utf8_is_repaired),
        cmocka_unit_test(foreign_text_that_is_not_utf8_is_refused),
        cmocka_unit_test(unknown_fields_are_accepted),
        cmocka_unit_test(what_has_no_identity_is_refused),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(uuid7_carries_the_time),
        cmocka_unit_test(named_uuids_repeat),
        cmocka_unit_test(uuids_are_told_apart_from_other_text),
        cmocka_unit_test(parts_are_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
