/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LINK: collector/api.c collector/api_query.c collector/guard.c collector/metrics.c
 * collector/exposed.c collector/view.c collector/config.c collector/places.c collector/yamlread.c
 * LINK: @store
 */
#include "collector/api.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/unit/collector/store_fill.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOON_S INT64_C(1767268800)

static char path[] = "/tmp/lectr-test-api-XXXXXX";
static struct config *config;
static struct store *store;
static struct pipeline_stats stats;
static struct exposed *exposed;

static int prepare(void **state)
{
    struct config_error error;
    struct record known = {
        .org = "acme",
        .feature = "chat",
        .provider = "openai",
        .model = "gpt-4o",
        .model_billed = "gpt-4o",
        .workload = "a",
        .end_ns = (uint64_t)(NOON_S - 30) * NSEC_PER_SEC,
        .cost = {.known = true, .low_nanousd = 1e9, .expected_nanousd = 2e9, .high_nanousd = 3e9},
        .tokens = {.input_total = {.known = true, .value = 7}},
        .latency_us = {.known = true, .value = 1000000},
        .usage = {{"input.audio/token/reported", 7}},
        .usage_count = 1,
        .is_retry = true,
    };
    struct record unknown = known, gap = known, evil = known;

    (void)state;
    if (!mkdtemp(path) || config_load(NULL, &config, &error) < 0)
        return -1;
    free(config->store.path);
    if (asprintf(&config->store.path, "%s/db", path) < 0)
        return -1;
    if (store_open(config->store.path, &store) < 0)
        return -1;
    stats = (struct pipeline_stats){
        .connected = true, .store_ok = true, .tick_mono_ns = clock_mono_ns()};
    stats.names[GUARD_MODEL] =
        (struct guard_stats){.limit = 5, .names = 5, .full = 1, .folded = UINT64_C(1) << 40};
    fill_calls(store, &known, 2);
    snprintf(known.workload, sizeof(known.workload), "b");
    fill_calls(store, &known, 1);
    unknown.cost.known = false;
    unknown.tokens.input_total.known = false;
    fill_calls(store, &unknown, 4);
    snprintf(unknown.cost_basis, sizeof(unknown.cost_basis), "unknown_model");
    for (unsigned i = 0; i < 3; i++)
        if (store_add_unpriced(store, 0, &unknown, 1) < 0)
            return -1;
    snprintf(unknown.cost_basis, sizeof(unknown.cost_basis), "unknown_tier");
    if (store_add_unpriced(store, 0, &unknown, 1) < 0)
        return -1;
    evil = unknown;
    snprintf(evil.feature, sizeof(evil.feature), "a\"} 1\\");
    snprintf(evil.error_type, sizeof(evil.error_type), "timeout");
    fill_calls(store, &evil, 1);
    snprintf(gap.reason, sizeof(gap.reason), "ech");
    gap.connections = 2;
    gap.seen = 10;
    gap.metered = 8;
    return store_add_gap(store, 0, &gap) < 0 || store_add_coverage(store, 0, &gap) < 0;
}

static int clean(void **state)
{
    char command[128];

    (void)state;
    store_close(&store);
    config_free(&config);
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    return system(command);
}

/* "name=value" pairs, NULL-terminated. */
static const char *param(void *ctx, const char *name)
{
    size_t len = strlen(name);

    for (const char *const *pair = ctx; *pair; pair++)
        if (strncmp(*pair, name, len) == 0 && (*pair)[len] == '=')
            return *pair + len + 1;
    return NULL;
}

static int ask(const char *route, const char *const *params, struct buf *out)
{
    struct api_request req = {
        .config = config,
        .stats = &stats,
        .exposed = exposed,
        .store = store,
        .wall_ns = (uint64_t)NOON_S * NSEC_PER_SEC,
        .param = param,
        .param_ctx = (void *)(uintptr_t)params,
    };
    const struct api_route *found = api_find(route);

    buf_init(out, 1 << 20);
    assert_non_null(found);
    return found->answer(&req, out);
}

static json_t *ask_json(const char *route, const char *const *params)
{
    struct buf out;
    json_t *root;

    assert_int_equal(ask(route, params, &out), 0);
    root = json_loadb((const char *)out.data, out.len, 0, NULL);
    assert_non_null(root);
    buf_fini(&out);
    return root;
}

static const char *const none[] = {NULL};

static const json_t *row_of(const json_t *root, const char *feature)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "feature")), feature) == 0)
            return row;
    }
    return NULL;
}

static json_int_t number(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

/* Workloads are summed; unknown is null or counted apart, never 0. */
static void test_top(void **state)
{
    json_t *root = ask_json("/api/v1/top", none);
    const json_t *row = row_of(root, "chat"), *cost = json_object_get(row, "cost_usd");

    (void)state;
    assert_int_equal(number(row, "calls"), 7);
    assert_int_equal(number(row, "cost_unknown"), 4);
    assert_true(json_real_value(json_object_get(cost, "low")) == 3);
    assert_true(json_real_value(json_object_get(cost, "expected")) == 6);
    assert_true(json_real_value(json_object_get(cost, "high")) == 9);
    assert_int_equal(number(row, "input_tokens"), 21);
    assert_int_equal(number(row, "input_unknown"), 4);
    assert_int_equal(number(row, "retries"), 7);
    assert_int_equal(number(json_object_get(row, "usage"), "input.audio/token/reported"), 49);
    assert_true(json_is_null(json_object_get(row, "output_tokens")));
    assert_int_equal(number(json_object_get(row, "latency_us"), "calls"), 7);
    assert_true(json_is_null(json_object_get(json_object_get(row, "ttft_us"), "p50")));
    row = row_of(root, "a\"} 1\\");
    assert_true(json_is_null(json_object_get(json_object_get(row, "cost_usd"), "expected")));
    assert_int_equal(number(row, "errors"), 1);
    assert_int_equal(json_array_size(json_object_get(root, "errors_by_type")), 1);
    json_decref(root);
}

static void test_windows(void **state)
{
    static const char *const early[] = {"window=5m", "to=1767268000", NULL};
    static const char *const bad[] = {"window=yesterday", NULL};
    static const char *const by[] = {"by=decade", NULL};
    static const char *const bad_times[] = {"to=-1", "to=now", "to=253402300800",
                                            "to=9223372036854775807", "to=99999999999999999999"};
    static const char *const last[] = {"to=253402300799", "window=3660d", NULL};
    static const char *const day[] = {"by=day", NULL};
    json_t *root = ask_json("/api/v1/top", early);
    struct buf out;

    (void)state;
    assert_int_equal(json_array_size(json_object_get(root, "rows")), 0);
    json_decref(root);
    assert_int_equal(ask("/api/v1/top", bad, &out), -EINVAL);
    buf_fini(&out);
    for (size_t i = 0; i < sizeof(bad_times) / sizeof(bad_times[0]); i++) {
        const char *const bad_time[] = {bad_times[i], NULL};

        assert_int_equal(ask("/api/v1/top", bad_time, &out), -EINVAL);
        assert_true(
            slice_eq(buf_slice(&out),
                     slice_str("{\"error\":\"to: use Unix seconds\",\"parameter\":\"to\"}\n")));
        buf_fini(&out);
    }
    root = ask_json("/api/v1/top", last);
    json_decref(root);
    assert_int_equal(ask("/api/v1/report", by, &out), -EINVAL);
    buf_fini(&out);
    root = ask_json("/api/v1/report", day);
    assert_int_equal(number(row_of(root, "chat"), "calls"), 7);
    assert_int_equal(number(row_of(root, "chat"), "time"), NOON_S - NOON_S % 86400);
    json_decref(root);
}

static size_t alerts_in(const char *const *params)
{
    json_t *root = ask_json("/api/v1/alerts", params);
    size_t count = json_array_size(json_object_get(root, "alerts"));

    json_decref(root);
    return count;
}

/* Times that nanoseconds have no room for. */
static void test_far_times(void **state)
{
    static const char *const all[] = {"window=3660d", NULL};
    static const char *const later[] = {"to=253402300799", "window=5m", NULL};
    Lectr__V1__Alert m = LECTR__V1__ALERT__INIT;
    uint8_t packed[256];
    size_t bytes = 0;

    (void)state;
    m.id = (char[]){"00000000-0000-4000-8000-000000000000"};
    assert_int_equal(event_pack(&m.base, packed, sizeof(packed), &bytes), 0);
    assert_int_equal(
        store_add_alert(store, &(struct store_alert){.id = m.id,
                                                     .fingerprint = "f",
                                                     .org = "acme",
                                                     .kind = "cost",
                                                     .status = 1,
                                                     .at_ns = NOON_S * (int64_t)NSEC_PER_SEC,
                                                     .payload = slice_of(packed, bytes)}),
        0);
    assert_int_equal(alerts_in(none), 1);
    assert_int_equal(alerts_in(all), 1);
    assert_int_equal(alerts_in(later), 0);
}

static void put_block(const struct call_block *block)
{
    assert_int_equal(store_add_call_block(store, 0, block), 0);
}

/* One call that can be read, one that is no Call, and a block that does not decode. */
static void test_unreadable_calls(void **state)
{
    const uint64_t at_ns = (uint64_t)(NOON_S - 30) * NSEC_PER_SEC;
    Lectr__V1__Call m = LECTR__V1__CALL__INIT;
    struct call_block block;
    uint8_t packed[256];
    size_t bytes = 0;
    json_t *root;

    (void)state;
    m.id = m.agent_instance = (char[]){"00000000-0000-7000-8000-000000000001"};
    m.has_part = m.has_seq = m.has_start_time_unix_nano = m.has_end_time_unix_nano = true;
    m.seq = 1;
    assert_int_equal(event_pack(&m.base, packed, sizeof(packed), &bytes), 0);
    call_block_init(&block);
    assert_int_equal(call_block_add(&block, at_ns, slice_of(packed, bytes)), 0);
    assert_int_equal(call_block_add(&block, at_ns, slice_str("\xff\xff")), 0);
    put_block(&block);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(call_block_add(&block, at_ns, slice_of(packed, bytes)), 0);
    block.raw.len--;
    put_block(&block);
    call_block_fini(&block);
    root = ask_json("/api/v1/calls", none);
    assert_int_equal(json_array_size(json_object_get(root, "calls")), 1);
    assert_int_equal(number(root, "unreadable"), 1 + 7);
    json_decref(root);
}

static void test_coverage(void **state)
{
    json_t *root = ask_json("/api/v1/coverage", none);
    const json_t *row = json_array_get(json_object_get(root, "workloads"), 0);

    (void)state;
    assert_int_equal(number(row, "seen"), 10);
    assert_int_equal(number(row, "metered"), 8);
    row = json_array_get(json_object_get(root, "gaps"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "reason")), "ech");
    assert_int_equal(number(row, "connections"), 2);
    row = json_array_get(json_object_get(root, "unpriced"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "basis")), "unknown_model");
    assert_string_equal(json_string_value(json_object_get(row, "provider")), "openai");
    assert_string_equal(json_string_value(json_object_get(row, "model")), "gpt-4o");
    assert_int_equal(number(row, "calls"), 3);
    row = json_array_get(json_object_get(root, "unpriced"), 1);
    assert_string_equal(json_string_value(json_object_get(row, "basis")), "unknown_tier");
    assert_int_equal(number(row, "calls"), 1);
    assert_int_equal(json_array_size(json_object_get(root, "unpriced")), 2);
    json_decref(root);
}

/* Every line of /metrics is a comment or "name{labels} value", quotes escaped. */
static void test_metrics(void **state)
{
    struct buf out;
    char *text, *line, *rest;
    unsigned lines = 0;

    (void)state;
    assert_int_equal(ask("/metrics", none, &out), 0);
    assert_int_equal(buf_append(&out, slice_of("", 1)), 0);
    text = (char *)out.data;
    assert_non_null(strstr(text,
                           "lectr_calls_total{lectr_org=\"acme\",lectr_feature=\"chat\","
                           "gen_ai_provider_name=\"openai\",gen_ai_request_model=\"gpt-4o\"} 7\n"));
    assert_non_null(strstr(text, "lectr_feature=\"a\\\"} 1\\\\\""));
    assert_non_null(strstr(text, "le=\"+Inf\"} 7\n"));
    assert_non_null(strstr(text, "\nlectr_collector_names_limit{dimension=\"model\"} 5\n"));
    assert_non_null(
        strstr(text, "\nlectr_collector_names_folded_total{dimension=\"model\"} 1099511627776\n"));
    assert_non_null(strstr(text, "le=\"0.64\"} 0\n"));
    assert_non_null(strstr(text, "le=\"1.28\"} 7\n"));
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++)
        assert_true(line[0] == '#' || strrchr(line, ' ') != NULL);
    assert_true(lines > 30);
    buf_fini(&out);
}

/* Beyond the limit series share one; the second answer, with a full table, is the same. */
static void test_metrics_fold(void **state)
{
    char *first = NULL;
    struct buf out;

    (void)state;
    assert_int_equal(exposed_new(1, &exposed), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask("/metrics", none, &out), 0);
        assert_int_equal(buf_append(&out, slice_of("", 1)), 0);
        assert_non_null(strstr((char *)out.data, "lectr_feature=\"(other)\""));
        assert_non_null(strstr((char *)out.data, "lectr_collector_metrics_series_shown 1\n"));
        assert_null(strstr((char *)out.data, "lectr_collector_metrics_series_folded 0\n"));
        if (first)
            assert_string_equal(first, (char *)out.data);
        else
            first = strdup((char *)out.data);
        buf_fini(&out);
    }
    free(first);
    exposed_free(&exposed);
}

static void test_probes(void **state)
{
    struct buf out;

    (void)state;
    assert_int_equal(ask("/healthz", none, &out), 0);
    buf_fini(&out);
    assert_int_equal(ask("/readyz", none, &out), 0);
    buf_fini(&out);
    stats.connected = false;
    assert_int_equal(ask("/healthz", none, &out), 0);
    buf_fini(&out);
    assert_int_equal(ask("/readyz", none, &out), -EAGAIN);
    buf_fini(&out);
    stats.connected = true;
    assert_null(api_find("/api/v1/nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_far_times),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_metrics_fold),
        cmocka_unit_test(test_unreadable_calls),
        cmocka_unit_test(test_probes),
    };

    return cmocka_run_group_tests(tests, prepare, clean);
}
