/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price.c agent/price_match.c agent/price_rule.c agent/price_table.c */
/* LINK: agent/price_supplement.c agent/yamldoc.c */
/* Every expected cost is worked out by hand in the comment beside it. */
#include "agent/price.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Unix times */
#define JAN_2025 1735689600ULL
#define JUL_2025 1751328000ULL
#define DAY 86400ULL

static const char TABLE[] =
    "{\"format\":1,\"version\":\"test 1\",\"providers\":["
    "{\"id\":\"openai\",\"host\":\"^(https://api\\\\.openai\\\\.com)\",\"models\":["
    " {\"id\":\"gpt-a\",\"match\":{\"or\":[{\"equals\":\"gpt-a\"},"
    "   {\"regex\":\"^gpt-a-[0-9]{4}-[0-9]{2}-[0-9]{2}$\"}]},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":\"0.15\",\"cache_read_mtok\":\"0.075\",\"output_mtok\":\"0.6\"}}]},"
    " {\"id\":\"gpt-audio\",\"match\":{\"starts_with\":\"gpt-audio\"},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":\"2.5\",\"cache_read_mtok\":\"1.25\",\"input_audio_mtok\":\"40\","
    "    \"cache_audio_read_mtok\":\"20\",\"output_mtok\":\"10\",\"output_audio_mtok\":\"80\"}}]},"
    " {\"id\":\"dated\",\"match\":{\"equals\":\"dated\"},\"prices\":["
    "   {\"usd\":{\"input_mtok\":\"10\",\"output_mtok\":\"40\"}},"
    "   {\"from_unix_s\":1751328000,\"usd\":{\"input_mtok\":\"2\",\"output_mtok\":\"8\"}}]},"
    " {\"id\":\"embed\",\"match\":{\"contains\":\"embed\"},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":\"0.02\"}}]}]},"
    "{\"id\":\"anthropic\",\"models\":["
    " {\"id\":\"claude\",\"match\":{\"and\":[{\"starts_with\":\"claude\"},"
    "   {\"not\":{\"ends_with\":\"-advisor\"}}]},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":{\"base\":\"3\",\"tiers\":[{\"above\":200000,\"price\":\"6\"}]},"
    "    \"cache_read_mtok\":{\"base\":\"0.3\",\"tiers\":[{\"above\":200000,\"price\":\"0.6\"}]},"
    "    \"cache_write_mtok\":\"3.75\",\"cache_write_1h_mtok\":\"6\",\"output_mtok\":\"15\","
    "    \"web_searches_kcount\":\"10\"}}]},"
    " {\"id\":\"advisor\",\"match\":{\"ends_with\":\"-advisor\"},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":\"5\",\"output_mtok\":\"25\"}}]}]},"
    "{\"id\":\"google\",\"names\":[\"gemini\",\"vertex\"],\"fallback\":[\"anthropic\"],"
    " \"models\":["
    " {\"id\":\"gemini-x\",\"match\":{\"starts_with\":\"gemini-x\"},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":\"0.3\",\"output_mtok\":\"2.5\",\"input_image_mtok\":\"0.6\"}}]}]},"
    "{\"id\":\"groq\",\"models\":["
    " {\"id\":\"whisper\",\"match\":{\"equals\":\"whisper\"},\"min_seconds\":10,\"prices\":["
    "   {\"usd\":{\"audio_hours\":\"0.111\"}}]}]},"
    "{\"id\":\"perplexity\",\"models\":["
    " {\"id\":\"sonar\",\"match\":{\"equals\":\"sonar\"},\"prices\":[{\"usd\":"
    "   {\"input_mtok\":\"1\",\"output_mtok\":\"1\",\"requests_kcount\":\"12\"}}]}]},"
    "{\"id\":\"deepseek\",\"models\":["
    " {\"id\":\"night\",\"match\":{\"equals\":\"night\"},\"prices\":["
    "   {\"usd\":{\"input_mtok\":\"1\",\"some_future_key\":\"7\"}},"
    "   {\"daily\":[79200,3600],\"usd\":{\"input_mtok\":\"2\"}}]}]}"
    "]}";

static char dir[] = "/tmp/lectr-test-price-XXXXXX";
static char file[64];
static struct price_table *table;

static void write_file(const char *text)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    struct price_error error;

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/prices.json", dir);
    write_file(TABLE);
    if (price_table_load(file, &table, &error) < 0) {
        print_error("%s\n", error.text);
        return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    price_table_free(&table);
    assert_null(table);
    unlink(file);
    return rmdir(dir);
}

static struct call call_of(const char *provider, const char *model)
{
    struct call call = {.operation = "chat", .status_code = 200, .outcome = CALL_OK};

    snprintf(call.provider, sizeof(call.provider), "%s", provider);
    snprintf(call.model_responded, sizeof(call.model_responded), "%s", model);
    return call;
}

static struct usage_row *add(struct call *call, const char *kind, const char *modality,
                             const char *unit, uint64_t count)
{
    struct usage_row *row = &call->usage[call->usage_count++];

    *row = (struct usage_row){
        .kind = kind, .modality = modality, .unit = unit, .count = opt_u64(count)};
    return row;
}

static void tokens(struct call *call, const char *kind, uint64_t count)
{
    add(call, kind, NULL, NULL, count);
}

static void check(struct call *call, uint64_t unix_s, int64_t nanousd)
{
    price_call(table, call, unix_s);
    assert_string_equal(call->cost.basis, "table");
    assert_string_equal(call->cost.price_version, "test 1");
    assert_true(call->cost.expected_nanousd.known);
    assert_int_equal(call->cost.expected_nanousd.value, nanousd);
    assert_int_equal(call->cost.low_nanousd.value, nanousd);
    assert_int_equal(call->cost.high_nanousd.value, nanousd);
}

static void check_unknown(struct call *call, const char *basis)
{
    call->cost = (struct call_cost){.expected_nanousd = {.value = 1, .known = true}};
    price_call(table, call, JAN_2025);
    assert_string_equal(call->cost.basis, basis);
    assert_false(call->cost.low_nanousd.known);
    assert_false(call->cost.expected_nanousd.known);
    assert_false(call->cost.high_nanousd.known);
}

static void test_disjoint_rows_each_have_their_price(void **state)
{
    struct call call = call_of("openai", "gpt-a");

    (void)state;
    tokens(&call, "input", 1000);        /* × 150 nano   = 150,000 */
    tokens(&call, "cached_input", 2000); /* ×  75 nano   = 150,000 */
    tokens(&call, "output", 10);         /* × 600 nano   =   6,000 */
    tokens(&call, "reasoning", 90);      /* no price of its own: 600 nano = 54,000 */
    check(&call, JAN_2025, 360000);
}

/* 0.075 USD a million is 75 nano-USD a token; a third of a nano must not be lost or made. */
static void test_one_rounding_at_the_end(void **state)
{
    struct call call = call_of("deepseek", "night");
    struct call fee = call_of("groq", "whisper");

    (void)state;
    tokens(&call, "input", 1); /* 1 USD a million: 1,000 nano */
    check(&call, JAN_2025 + 7200, 1000);
    /* 11 s × 0.111 USD / 3600 s = 0.00033916666… USD = 339,166.67 nano */
    add(&fee, "input", "audio", "second", 11);
    check(&fee, JAN_2025, 339167);
    /* Two rows of 11 s: 678,333.33, and not 2 × 339,167 = 678,334 */
    add(&fee, "input", "audio", "second", 11);
    check(&fee, JAN_2025, 678333);
}

static void test_large_counts_stay_exact(void **state)
{
    struct call call = call_of("openai", "gpt-a");

    (void)state;
    tokens(&call, "input", 999999999999); /* × 150; a double would lose the last digits */
    tokens(&call, "output", 1);           /* × 600 */
    check(&call, JAN_2025, 149999999999850 + 600);
    call.usage[0].count = opt_u64(PRICE_COUNT_MAX + 1);
    check_unknown(&call, "unknown_usage");
    call.usage[0].count = opt_u64(UINT64_MAX);
    check_unknown(&call, "unknown_usage");
}

static void test_modalities_fall_back_one_dimension_at_a_time(void **state)
{
    struct call call = call_of("openai", "gpt-audio");

    (void)state;
    add(&call, "input", "text", "token", 100);         /* ×  2,500 =   250,000 */
    add(&call, "input", "audio", "token", 10);         /* × 40,000 =   400,000 */
    add(&call, "cached_input", "audio", "token", 10);  /* × 20,000 =   200,000 */
    add(&call, "cached_input", "", "", 100);           /* ×  1,250 =   125,000 */
    add(&call, "input", "image", "token", 10);         /* no image price: 2,500 = 25,000 */
    add(&call, "tool_use_input", "audio", "token", 1); /* audio input: 40,000 */
    add(&call, "output", "audio", "token", 10);        /* × 80,000 =   800,000 */
    add(&call, "reasoning", NULL, NULL, 10);           /* × 10,000 =   100,000 */
    check(&call, JAN_2025, 1940000);
}

static void test_cache_writes(void **state)
{
    struct call call = call_of("anthropic", "claude-4");

    (void)state;
    tokens(&call, "input", 10);          /* × 3,000 = 30,000 */
    tokens(&call, "cache_write", 10);    /* × 3,750 = 37,500 */
    tokens(&call, "cache_write_5m", 10); /* the same */
    tokens(&call, "cache_write_1h", 10); /* × 6,000 = 60,000 */
    tokens(&call, "cached_input", 10);   /* ×   300 =  3,000 */
    tokens(&call, "output", 10);         /* × 15,000 = 150,000 */
    check(&call, JAN_2025, 318000);
}

static void test_cache_without_a_price_costs_as_input(void **state)
{
    struct call call = call_of("openai", "dated");

    (void)state;
    tokens(&call, "cached_input", 100); /* × 10,000 */
    check(&call, JAN_2025, 1000000);
}

/* Long context is a cliff on all input, cached and written included. */
static void test_tiers_are_cliffs_on_the_whole_input(void **state)
{
    struct call call = call_of("anthropic", "claude-4");

    (void)state;
    tokens(&call, "input", 100000);
    tokens(&call, "cached_input", 100000);
    tokens(&call, "output", 1);
    /* 200,000 is not above: 100,000 × 3,000 + 100,000 × 300 + 15,000 */
    check(&call, JAN_2025, 330015000);
    tokens(&call, "cache_write", 1);
    /* above: 100,000 × 6,000 + 100,000 × 600 + 1 × 3,750 + 15,000 */
    check(&call, JAN_2025, 660018750);
}

static void test_dates_and_hours(void **state)
{
    struct call call = call_of("openai", "dated");
    struct call night = call_of("deepseek", "night");

    (void)state;
    tokens(&call, "input", 1);
    check(&call, JAN_2025, 10000);
    check(&call, JUL_2025 - 1, 10000);
    check(&call, JUL_2025, 2000);
    tokens(&night, "input", 1);
    check(&night, JAN_2025 + DAY - 7201, 1000); /* 21:59:59 */
    check(&night, JAN_2025 + DAY - 7200, 2000); /* 22:00:00 */
    check(&night, JAN_2025 + 3599, 2000);       /* 00:59:59 */
    check(&night, JAN_2025 + 3600, 1000);       /* 01:00:00 */
}

static void test_finding_the_model(void **state)
{
    static const struct {
        const char *provider, *model;
        int64_t nanousd; /* of one input token; -1: unknown_model */
    } CASES[] = {
        {"openai", "gpt-a", 150},
        {"openai", "GPT-A ", 150},
        {"openai", "gpt-a-2024-07-18", 150},
        {"openai", "gpt-a-20240718", 150}, /* the other spelling of a date */
        {"openai", "gpt-a-20240732", -1},  /* which is no date */
        {"openai", "gpt-a-2024-07-18x", -1},
        {"openai", "xgpt-a", -1},
        {"openai", "my-embedding", 20},
        {"openai", "claude-4", -1}, /* somebody else's */
        {"anthropic", "claude-4", 3000},
        {"anthropic", "claude-advisor", 5000},
        {"gemini", "gemini-x-flash", 300},
        {"vertex", "gemini-x", 300},
        {"gemini", "models/gemini-x", 300},
        {"gemini", "models/", -1},
        {"vertex", "claude-4", 3000}, /* serves the other's models */
        {"nobody", "gpt-a", -1},
        {"openai-compatible", "gpt-a", -1}, /* somebody else's prices */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct call call = call_of(CASES[i].provider, CASES[i].model);

        tokens(&call, "input", 1);
        if (CASES[i].nanousd < 0)
            check_unknown(&call, "unknown_model");
        else
            check(&call, JAN_2025, CASES[i].nanousd);
    }
}

static void test_the_host_and_the_requested_model_help(void **state)
{
    struct call call = call_of("my-profile", "");

    (void)state;
    tokens(&call, "input", 1);
    snprintf(call.server_address, sizeof(call.server_address), "api.openai.com");
    check_unknown(&call, "unknown_model"); /* no model was named at all */
    snprintf(call.model_requested, sizeof(call.model_requested), "gpt-a");
    check(&call, JAN_2025, 150);
    /* What answered is billed, not what was asked for. */
    snprintf(call.model_responded, sizeof(call.model_responded), "dated");
    check(&call, JAN_2025, 10000);
}

static void test_a_row_of_another_model(void **state)
{
    struct call call = call_of("anthropic", "claude-4");
    struct usage_row *row;

    (void)state;
    tokens(&call, "input", 200000);        /* × 3,000: the advisor's input is not in this total */
    row = add(&call, "input", "", "", 10); /* × 5,000 */
    snprintf(row->model, sizeof(row->model), "claude-advisor");
    check(&call, JAN_2025, 600050000);
    snprintf(row->model, sizeof(row->model), "mystery");
    check_unknown(&call, "unknown_model");
}

static void test_searches_requests_and_short_recordings(void **state)
{
    struct call search = call_of("anthropic", "claude-4");
    struct call sonar = call_of("perplexity", "sonar");
    struct call whisper = call_of("groq", "whisper");

    (void)state;
    tokens(&search, "output", 1);            /* 15,000 */
    add(&search, "output", "", "search", 2); /* × 0.01 USD = 20,000,000 */
    check(&search, JAN_2025, 20015000);
    tokens(&sonar, "input", 1); /* 1,000, and 0.012 USD a request */
    check(&sonar, JAN_2025, 12001000);
    whisper.operation = "transcription";
    add(&whisper, "input", "", "second", 1); /* billed as 10 s: 308,333.3 */
    check(&whisper, JAN_2025, 308333);
    whisper.usage[0].count = opt_u64(0);
    check(&whisper, JAN_2025, 0);
}

static void test_intervals(void **state)
{
    struct call call = call_of("openai", "gpt-a");

    (void)state;
    call.usage_count = 1;
    call.usage[0] = (struct usage_row){.kind = "output", .low = opt_u64(100), .high = opt_u64(301)};
    price_call(table, &call, JAN_2025);
    assert_string_equal(call.cost.basis, "table");
    assert_int_equal(call.cost.low_nanousd.value, 60000);       /* 100 × 600 */
    assert_int_equal(call.cost.expected_nanousd.value, 120600); /* 201 × 600 */
    assert_int_equal(call.cost.high_nanousd.value, 180600);     /* 301 × 600 */
    call.usage[0].count = opt_u64(150);
    tokens(&call, "input", 1000); /* 150,000 in all three */
    price_call(table, &call, JAN_2025);
    assert_int_equal(call.cost.low_nanousd.value, 210000);
    assert_int_equal(call.cost.expected_nanousd.value, 240000); /* 150 × 600 */
    assert_int_equal(call.cost.high_nanousd.value, 330600);
    call.usage[0] = (struct usage_row){.kind = "output", .low = opt_u64(100)};
    check_unknown(&call, "unknown_usage");
}

static void test_the_provider_knows_best(void **state)
{
    struct call call = call_of("openai", "mystery");

    (void)state;
    call.reported.cost_nanousd = (struct opt_i64){.value = 4321, .known = true};
    snprintf(call.service_tier, sizeof(call.service_tier), "flex");
    price_call(table, &call, JAN_2025);
    assert_string_equal(call.cost.basis, "provider");
    assert_string_equal(call.cost.price_version, "");
    assert_int_equal(call.cost.low_nanousd.value, 4321);
    assert_int_equal(call.cost.expected_nanousd.value, 4321);
    assert_int_equal(call.cost.high_nanousd.value, 4321);
}

static void check_free(struct call *call)
{
    price_call(table, call, JAN_2025);
    assert_string_equal(call->cost.basis, "free");
    assert_true(call->cost.expected_nanousd.known);
    assert_int_equal(call->cost.expected_nanousd.value, 0);
}

static void test_what_is_not_billed(void **state)
{
    static const char *const OPERATIONS[] = {"count_tokens", "models", "moderation"};
    struct call refused = call_of("openai", "");
    struct call unsent = call_of("openai", "");
    struct call session = call_of("openai", "mystery");

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct call call = call_of("openai", "mystery");

        call.operation = OPERATIONS[i];
        check_free(&call);
    }
    refused.outcome = CALL_PROVIDER_ERROR;
    refused.status_code = 429;
    check_free(&refused);
    refused.status_code = 500; /* it may have worked before it failed */
    check_unknown(&refused, "unknown_model");
    unsent.outcome = CALL_NETWORK_ERROR;
    unsent.status_code = 0;
    check_free(&unsent);
    unsent.request_complete = true; /* it may have worked, the answer was lost */
    check_unknown(&unsent, "unknown_model");
    session.operation = "realtime_session";
    check_free(&session); /* its turns are billed */
    session.outcome = CALL_UNMETERABLE;
    check_unknown(&session, "unknown_model"); /* nobody saw them */
}

static void test_unknown_is_never_zero(void **state)
{
    static const char *const TIERS[] = {"flex", "priority", "batch", "PROVISIONED_THROUGHPUT"};
    struct call call = call_of("openai", "gpt-a");

    (void)state;
    check_unknown(&call, "unknown_usage"); /* no rows at all */
    tokens(&call, "input", 10);
    call.usage_count = 2;
    call.usage[1] = (struct usage_row){.kind = "output"};
    check_unknown(&call, "unknown_usage");
    call.usage[1].count = opt_u64(0);
    check(&call, JAN_2025, 1500);
    call.usage[1].unit = "image";
    call.usage[1].count = opt_u64(1);
    check_unknown(&call, "unknown_unit");
    call.usage_count = 1;
    for (size_t i = 0; i < sizeof(TIERS) / sizeof(TIERS[0]); i++) {
        snprintf(call.service_tier, sizeof(call.service_tier), "%s", TIERS[i]);
        check_unknown(&call, "unknown_tier");
    }
    snprintf(call.service_tier, sizeof(call.service_tier), "default");
    check(&call, JAN_2025, 1500);
    snprintf(call.reported.raw[0].path, sizeof(call.reported.raw[0].path), "usage.speed");
    snprintf(call.reported.raw[0].value, sizeof(call.reported.raw[0].value), "fast");
    call.reported.raw_count = 1;
    check_unknown(&call, "unknown_tier");
    call.reported.raw_count = 0;
    price_call(NULL, &call, JAN_2025);
    assert_string_equal(call.cost.basis, "unknown_model");
    assert_false(call.cost.expected_nanousd.known);
}

static void test_bad_tables_are_refused(void **state)
{
#define HEAD "{\"format\":1,\"version\":\"v\",\"providers\":[{\"id\":\"p\",\"models\":["
#define MODEL(match, usd)                                                                          \
    HEAD "{\"id\":\"m\",\"match\":" match ",\"prices\":[{\"usd\":" usd "}]}]}]}"
    static const struct {
        const char *text, *problem;
    } CASES[] = {
        {"", "line 1"},
        {"{}", "format"},
        {"{\"format\":2}", "format"},
        {"{\"format\":1,\"version\":\"v\",\"providers\":[]}", "no providers"},
        {"{\"format\":1,\"version\":\"v\",\"providers\":[{}]}", "id must be a text"},
        {HEAD "{\"id\":\"m\",\"match\":{\"equals\":\"m\"},\"prices\":[]}]}]}",
         "p, model m: has no"},
        {MODEL("{}", "{}"), "match must be one of"},
        {MODEL("{\"equals\":\"a\",\"or\":[]}", "{}"), "match must be one of"},
        {MODEL("{\"or\":[]}", "{}"), "empty match"},
        {MODEL("{\"regex\":\"(\"}", "{}"), "regular expression"},
        {MODEL("{\"regex\":\"a{5000}\"}", "{}"), "repeats more than"},
        {MODEL("{\"regex\":\"a{1,5000}\"}", "{}"), "repeats more than"},
        {MODEL("{\"regex\":\"(((a{20}){20}){20}){20}\"}", "{}"), "repeats more than"},
        {MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":0.1}"), "must be a text"},
        {MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":\"1e3\"}"), "\"1e3\""},
        {MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":\"-1\"}"), "\"-1\""},
        {MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":\"0.0000000000001\"}"), "12 decimals"},
        {MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":\"1000001\"}"), "too high"},
        {MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":\"99999999999999999999999\"}"), "no price"},
        {MODEL("{\"equals\":\"m\"}",
               "{\"input_mtok\":{\"base\":\"1\",\"tiers\":["
               "{\"above\":5,\"price\":\"1\"},{\"above\":5,\"price\":\"2\"}]}}"),
         "rising order"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct price_table *none = NULL;
        struct price_error error = {.text = ""};

        write_file(CASES[i].text);
        assert_int_equal(price_table_load(file, &none, &error), -EINVAL);
        print_message("    %s\n", error.text);
        assert_null(none);
        assert_non_null(strstr(error.text, "prices.json: "));
        assert_non_null(strstr(error.text, CASES[i].problem));
    }
    write_file(MODEL("{\"equals\":\"m\"}", "{\"input_mtok\":\"1000000\"}"));
    {
        struct price_table *most = NULL;
        struct price_error error;

        assert_int_equal(price_table_load(file, &most, &error), 0);
        price_table_free(&most);
    }
}

static void test_the_shipped_table_loads(void **state)
{
    struct price_table *shipped = NULL;
    struct price_error error = {.text = ""};
    struct price_summary summary;

    (void)state;
    if (price_table_load("agent/prices.json", &shipped, &error) < 0)
        fail_msg("%s", error.text);
    price_table_summary(shipped, &summary);
    assert_memory_equal(summary.version, "genai-prices ", 13);
    assert_true(summary.providers >= 26);
    assert_true(summary.models >= 1000);
    price_table_free(&shipped);
    assert_int_equal(price_table_load("/nonexistent", &shipped, &error), -ENOENT);
    assert_non_null(strstr(error.text, "data.prices_file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disjoint_rows_each_have_their_price),
        cmocka_unit_test(test_one_rounding_at_the_end),
        cmocka_unit_test(test_large_counts_stay_exact),
        cmocka_unit_test(test_modalities_fall_back_one_dimension_at_a_time),
        cmocka_unit_test(test_cache_writes),
        cmocka_unit_test(test_cache_without_a_price_costs_as_input),
        cmocka_unit_test(test_tiers_are_cliffs_on_the_whole_input),
        cmocka_unit_test(test_dates_and_hours),
        cmocka_unit_test(test_finding_the_model),
        cmocka_unit_test(test_the_host_and_the_requested_model_help),
        cmocka_unit_test(test_a_row_of_another_model),
        cmocka_unit_test(test_searches_requests_and_short_recordings),
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_the_provider_knows_best),
        cmocka_unit_test(test_what_is_not_billed),
        cmocka_unit_test(test_unknown_is_never_zero),
        cmocka_unit_test(test_bad_tables_are_refused),
        cmocka_unit_test(test_the_shipped_table_loads),
    };

    return cmocka_run_group_tests_name("price", tests, setup, teardown);
}
