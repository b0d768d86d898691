/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/ingest.c collector/region.c collector/text.c */
#include "collector/ingest.h"
#include "proto/subject.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define INSTANCE "0190b5a0-0000-7000-8000-000000000001"
#define ID "0190b5a0-0000-7000-8000-000000000002"

static char text[][256] = {"acme", "openai", "gpt-4o", "checkout", "shop", "web", "input"};

struct parts {
    Lectr__V1__Call call;
    Lectr__V1__Feature feature;
    Lectr__V1__Workload workload;
    Lectr__V1__Usage usage[4];
    Lectr__V1__Usage *list[4];
    Lectr__V1__Cost cost;
    Lectr__V1__Latency latency;
    char instance[64], id[64];
};

#define SET(m, field, value) ((m)->has_##field = true, (m)->field = (value))

static void make_call(struct parts *p)
{
    static char kinds[4][16] = {"input", "cached_input", "output", "image"};

    memset(p, 0, sizeof(*p));
    lectr__v1__call__init(&p->call);
    lectr__v1__feature__init(&p->feature);
    lectr__v1__workload__init(&p->workload);
    lectr__v1__cost__init(&p->cost);
    lectr__v1__latency__init(&p->latency);
    strcpy(p->instance, INSTANCE);
    strcpy(p->id, ID);
    p->call.id = p->id;
    p->call.agent_instance = p->instance;
    SET(&p->call, part, 3);
    SET(&p->call, seq, 7);
    SET(&p->call, start_time_unix_nano, 1000);
    SET(&p->call, end_time_unix_nano, 5000);
    p->call.org = text[0];
    p->call.provider = text[1];
    p->call.model_requested = text[2];
    p->call.feature = &p->feature;
    p->feature.value = text[3];
    p->call.workload = &p->workload;
    p->workload.namespace_ = text[4];
    p->workload.owner = text[5];
    for (int i = 0; i < 4; i++) {
        lectr__v1__usage__init(&p->usage[i]);
        p->usage[i].kind = kinds[i];
        SET(&p->usage[i], count, (uint64_t)(i + 1) * 10);
        p->list[i] = &p->usage[i];
    }
    p->usage[3].unit = kinds[3];
    p->call.usage = p->list;
    p->call.n_usage = 4;
    p->call.cost = &p->cost;
    SET(&p->cost, expected_nanousd, 500);
    SET(&p->cost, low_nanousd, 400);
    p->cost.basis = (char *)"table";
    p->call.latency = &p->latency;
    SET(&p->latency, total_us, 4);
    SET(&p->call, input_tokens_total, 30);
    SET(&p->call, status_code, 200);
    SET(&p->call, outcome, LECTR__V1__OUTCOME__OUTCOME_OK);
}

static int decode(const char *subject, struct slice data, struct record *ret_record,
                  const char **ret_reason)
{
    CLEAN_EVENT_ARENA struct event_arena arena = {0};

    return ingest_decode(&arena, subject, data, ret_record, ret_reason);
}

static int decode_as(const ProtobufCMessage *m, const char *subject, struct record *ret_record,
                     const char **ret_reason)
{
    uint8_t packed[4096];
    size_t bytes = 0;

    assert_int_equal(event_pack(m, packed, sizeof(packed), &bytes), 0);
    return decode(subject, slice_of(packed, bytes), ret_record, ret_reason);
}

static void test_call(void **state)
{
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_int_equal(rec.kind, RECORD_CALL);
    assert_string_equal(rec.instance, INSTANCE);
    assert_int_equal(rec.part, 3);
    assert_int_equal(rec.seq, 7);
    assert_int_equal(rec.end_ns, 5000);
    assert_string_equal(rec.feature, "checkout");
    assert_string_equal(rec.model, "gpt-4o");
    assert_string_equal(rec.workload, "shop/web");
    assert_string_equal(rec.error_type, "");
    assert_int_equal(rec.tokens.input, 10);
    assert_int_equal(rec.tokens.cached_input, 20);
    /* A row of images is no token. */
    assert_int_equal(rec.tokens.output, 30);
    assert_true(rec.tokens.input_total.known);
    assert_false(rec.tokens.output_total.known);
    assert_true(rec.cost.known);
    assert_int_equal(rec.cost.low_nanousd, 400);
    assert_int_equal(rec.cost.high_nanousd, 500);
    assert_string_equal(rec.cost_basis, "table");
    assert_true(rec.latency_us.known);
    assert_false(rec.ttft_us.known);
}

static uint64_t usage_of(const struct record *rec, const char *name)
{
    for (uint32_t i = 0; i < rec->usage_count; i++)
        if (strcmp(rec->usage[i].name, name) == 0)
            return rec->usage[i].count;
    return UINT64_MAX;
}

static void test_usage_by_kind_and_source(void **state)
{
    static char modality[] = "audio", odd[] = "in/put\t1", page[] = "page";
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    SET(&p.usage[0], source, LECTR__V1__SOURCE__SOURCE_REPORTED);
    SET(&p.usage[1], source, LECTR__V1__SOURCE__SOURCE_ESTIMATED);
    p.usage[1].modality = modality;
    p.usage[2].kind = odd;
    p.usage[2].unit = page;
    SET(&p.usage[3], source, (Lectr__V1__Source)77);
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_int_equal(rec.usage_count, 4);
    assert_int_equal(usage_of(&rec, "input/token/reported"), 10);
    assert_int_equal(usage_of(&rec, "cached_input.audio/token/estimated"), 20);
    assert_int_equal(usage_of(&rec, "in_put_1/page/unknown"), 30);
    assert_int_equal(usage_of(&rec, "image/image/unknown"), 40);
    assert_true(rec.tokens.estimated);

    /* Rows of the same name are one; a count that is not known is none. */
    make_call(&p);
    p.usage[1].kind = p.usage[0].kind;
    p.usage[2].has_count = false;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_int_equal(rec.usage_count, 2);
    assert_int_equal(usage_of(&rec, "input/token/unknown"), 30);
}

static void test_usage_names_are_bounded(void **state)
{
    static char kinds[RECORD_USAGE_MAX + 9][128];
    Lectr__V1__Usage usage[RECORD_USAGE_MAX + 9];
    Lectr__V1__Usage *list[RECORD_USAGE_MAX + 9];
    struct parts p;
    struct record rec;
    const char *reason = NULL;
    uint64_t sum = 0;

    (void)state;
    make_call(&p);
    for (int i = 0; i < RECORD_USAGE_MAX + 9; i++) {
        memset(kinds[i], 'a' + i, sizeof(kinds[i]) - 1);
        lectr__v1__usage__init(&usage[i]);
        usage[i].kind = kinds[i];
        SET(&usage[i], count, 1);
        list[i] = &usage[i];
    }
    p.call.usage = list;
    p.call.n_usage = RECORD_USAGE_MAX + 9;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_int_equal(rec.usage_count, RECORD_USAGE_MAX);
    assert_int_equal(usage_of(&rec, "other"), 10);
    for (uint32_t i = 0; i < rec.usage_count; i++)
        sum += rec.usage[i].count;
    assert_int_equal(sum, RECORD_USAGE_MAX + 9);
}

static void test_attempt_region_and_key(void **state)
{
    static char fingerprint[] = "k1:0011";
    static const struct {
        const char *host, *region;
    } hosts[] = {
        {"api.openai.com", ""},
        {"eu.api.openai.com", "eu"},
        {"bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1"},
        {"bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
        {"bedrock-runtime..amazonaws.com", ""},
        {"bedrock-runtime.a.b.amazonaws.com", ""},
        {"aiplatform.googleapis.com", "global"},
        {"aiplatform.us.rep.googleapis.com", "us"},
        {"europe-west4-aiplatform.googleapis.com", "europe-west4"},
        {"us-east-1.api.x.ai", "us-east-1"},
        {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz.api.x.ai", ""},
        {"mine.openai.azure.com", ""},
        {"EVIL.api.x.ai", ""},
    };
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        make_call(&p);
        p.call.server_address = (char *)(uintptr_t)hosts[i].host;
        p.call.key_fingerprint = fingerprint;
        SET(&p.call, attempt, (uint32_t)i);
        assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
        assert_string_equal(rec.region, hosts[i].region);
        assert_string_equal(rec.key_fingerprint, fingerprint);
        assert_int_equal(rec.is_retry, i > 1);
    }
}

static void test_model_answered_when_none_was_asked_for(void **state)
{
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    p.call.model_requested = NULL;
    p.call.model_responded = text[2];
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.model, "gpt-4o");
}

static void expect_totals(const struct parts *p, bool known, uint64_t input, uint64_t output)
{
    struct record rec;
    const char *reason = NULL;

    assert_int_equal(decode_as(&p->call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_int_equal(rec.tokens.input_total.known, known);
    assert_int_equal(rec.tokens.output_total.known, known);
    assert_int_equal(rec.tokens.input_total.value, input);
    assert_int_equal(rec.tokens.output_total.value, output);
}

/* A stored answer that is read again, or a polled run, has totals but no rows. */
static void test_repeated_usage_is_not_counted_again(void **state)
{
    static char retrieve[] = "retrieve", chat[] = "chat";
    struct parts p;

    (void)state;
    make_call(&p);
    SET(&p.call, output_tokens_total, 40);
    p.call.operation = chat;
    expect_totals(&p, true, 30, 40);
    p.call.n_usage = 0;
    p.call.operation = retrieve;
    expect_totals(&p, true, 0, 0);
    /* Whatever it is called. */
    p.call.operation = chat;
    expect_totals(&p, true, 0, 0);
}

static void test_calls_that_spend_nothing_are_not_unknown(void **state)
{
    static char names[][16] = {"retrieve", "batch",      "files",       "models",
                               "cache",    "assistants", "count_tokens"};
    static char counted[] = "counted", chat[] = "chat";
    struct parts p;

    (void)state;
    make_call(&p);
    p.call.has_input_tokens_total = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        p.call.operation = names[i];
        p.call.n_usage = 0;
        expect_totals(&p, true, 0, 0);
        /* A row says that it did spend; how much is not known. */
        p.call.n_usage = 1;
        p.usage[0].has_count = false;
        expect_totals(&p, false, 0, 0);
    }
    p.usage[0].kind = counted;
    expect_totals(&p, true, 0, 0);
    p.call.n_usage = 0;
    p.call.operation = chat;
    expect_totals(&p, false, 0, 0);
    p.call.operation = NULL;
    expect_totals(&p, false, 0, 0);
}

static void test_errors(void **state)
{
    static char type[] = "rate_limit";
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    p.call.outcome = LECTR__V1__OUTCOME__OUTCOME_PROVIDER_ERROR;
    p.call.error_type = type;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.error_type, "rate_limit");
    p.call.outcome = LECTR__V1__OUTCOME__OUTCOME_CLIENT_ABORT;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.error_type, "client_abort");
    /* An outcome of the future with a status that says enough. */
    p.call.outcome = (Lectr__V1__Outcome)99;
    p.call.error_type = NULL;
    p.call.status_code = 503;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.error_type, "provider_error");
}

/* Nobody speaks for another organisation than his permissions are for. */
static void test_foreign_org_is_refused(void **state)
{
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.other.openai.3", &rec, &reason),
                     -EBADMSG);
    assert_non_null(strstr(reason, "org"));
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acmee.openai.3", &rec, &reason),
                     -EBADMSG);
}

static void test_terminal_escapes_do_not_get_in(void **state)
{
    static char evil[] = "a\033[2Jb\nc";
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    p.feature.value = evil;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.feature, "a?[2Jb?c");
}

static void test_malformed(void **state)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0x01, 0x02};
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    assert_int_equal(
        decode("lectr.v1.call.acme.openai.3", slice_of(garbage, sizeof(garbage)), &rec, &reason),
        -EBADMSG);
    assert_non_null(reason);
    assert_int_equal(decode("lectr.v1.call.acme.openai.3", slice_of(NULL, 0), &rec, &reason),
                     -EBADMSG);
    assert_int_equal(decode("lectr.v1.nonsense", slice_of(NULL, 0), &rec, &reason), -EBADMSG);
    make_call(&p);
    p.call.has_seq = false;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason),
                     -EBADMSG);
    make_call(&p);
    p.call.seq = UINT64_MAX;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason),
                     -EBADMSG);
}

/* Every cut of a good message is either refused or read: nothing falls over. */
static void test_every_cut(void **state)
{
    struct parts p;
    struct record rec;
    const char *reason = NULL;
    uint8_t packed[4096];
    size_t bytes = 0;

    (void)state;
    make_call(&p);
    assert_int_equal(event_pack(&p.call.base, packed, sizeof(packed), &bytes), 0);
    for (size_t n = 0; n < bytes; n++) {
        int r = decode("lectr.v1.call.acme.openai.3", slice_of(packed, n), &rec, &reason);

        assert_true(r == 0 || r == -EBADMSG);
    }
}

static void test_gap_and_coverage(void **state)
{
    static char instance[] = INSTANCE, id[] = ID, org[] = "default", reason_text[] = "ech";
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    Lectr__V1__Coverage cov = LECTR__V1__COVERAGE__INIT;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    gap.id = cov.id = id;
    gap.agent_instance = cov.agent_instance = instance;
    gap.org = cov.org = org;
    SET(&gap, part, 1);
    SET(&gap, seq, 2);
    SET(&gap, end_time_unix_nano, 9);
    SET(&gap, start_time_unix_nano, 8);
    SET(&cov, start_time_unix_nano, 8);
    SET(&gap, connections, 4);
    SET(&gap, calls_in_flight, 5);
    gap.reason = reason_text;
    assert_int_equal(decode_as(&gap.base, "lectr.v1.gap.default", &rec, &reason), 0);
    assert_int_equal(rec.kind, RECORD_GAP);
    assert_string_equal(rec.reason, "ech");
    assert_int_equal(rec.connections, 4);
    assert_int_equal(rec.calls_in_flight, 5);
    SET(&cov, part, 1);
    SET(&cov, seq, 3);
    SET(&cov, end_time_unix_nano, 9);
    SET(&cov, seen_connections, 10);
    SET(&cov, metered_connections, 8);
    assert_int_equal(decode_as(&cov.base, "lectr.v1.coverage.default.=.1", &rec, &reason), 0);
    assert_int_equal(rec.kind, RECORD_COVERAGE);
    assert_int_equal(rec.seen, 10);
    assert_int_equal(rec.metered, 8);
    assert_int_equal(decode_as(&cov.base, "lectr.v1.coverage.default.=.2", &rec, &reason),
                     -EBADMSG);
    assert_string_equal(reason, "part differs from the subject's");
}

static void test_own_messages_are_left_alone(void **state)
{
    struct record rec;
    const char *reason = NULL;

    (void)state;
    assert_int_equal(decode("lectr.v1.alert.acme.cost", slice_of("x", 1), &rec, &reason), 0);
    assert_int_equal(rec.kind, RECORD_OTHER);
    assert_int_equal(decode("lectr.v1.rollup.acme.1m", slice_of("x", 1), &rec, &reason), 0);
    assert_int_equal(rec.kind, RECORD_OTHER);
}

/* Sums of costs have to stay inside 63 bits, whoever writes the events. */
static void test_costs_are_bounded(void **state)
{
    static const struct {
        int64_t low, expected;
        bool known;
    } CASES[] = {
        {0, 0, true},
        {0, INT64_C(10000) * 1000000000, true},
        {0, INT64_C(10000) * 1000000000 + 1, false},
        {-1, 500, true}, /* the rest is what is expected */
        {-1, -1, false},
        {0, INT64_MAX, false},
        {INT64_MIN, INT64_MIN, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct parts p;
        struct record rec;
        const char *reason = NULL;

        make_call(&p);
        p.cost.low_nanousd = CASES[i].low;
        p.cost.expected_nanousd = CASES[i].expected;
        assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
        assert_int_equal(rec.cost.known, CASES[i].known);
    }
}

/* A model that the provider refuses may be called anything. */
static void test_invented_models_are_one(void **state)
{
    struct parts p;
    struct record rec;
    const char *reason = NULL;

    (void)state;
    make_call(&p);
    p.cost.basis = (char *)"unknown_model";
    p.cost.has_expected_nanousd = p.cost.has_low_nanousd = false;
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.model_billed, "gpt-4o");
    SET(&p.call, status_code, 404);
    SET(&p.call, outcome, LECTR__V1__OUTCOME__OUTCOME_PROVIDER_ERROR);
    assert_int_equal(decode_as(&p.call.base, "lectr.v1.call.acme.openai.3", &rec, &reason), 0);
    assert_string_equal(rec.model_billed, "(other)");
    assert_string_equal(rec.model, "gpt-4o");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_costs_are_bounded),
        cmocka_unit_test(test_invented_models_are_one),
        cmocka_unit_test(test_usage_by_kind_and_source),
        cmocka_unit_test(test_usage_names_are_bounded),
        cmocka_unit_test(test_attempt_region_and_key),
        cmocka_unit_test(test_model_answered_when_none_was_asked_for),
        cmocka_unit_test(test_repeated_usage_is_not_counted_again),
        cmocka_unit_test(test_calls_that_spend_nothing_are_not_unknown),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_foreign_org_is_refused),
        cmocka_unit_test(test_terminal_escapes_do_not_get_in),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_gap_and_coverage),
        cmocka_unit_test(test_own_messages_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
