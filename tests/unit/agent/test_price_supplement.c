/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price.c agent/price_match.c agent/price_rule.c agent/price_table.c */
/* LINK: agent/price_supplement.c agent/yamldoc.c */
/*
 * The shipped table with the shipped supplement: what each tier and unit costs,
 * worked out by hand. USD 1 per million tokens is 1,000 nano-USD a token.
 */
#include "agent/price.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Unix times */
#define Y2024 1704067200ULL
#define JUN_2025 1748736000ULL
#define NOV_2026 1793491200ULL

static struct price_table *table;

static int setup(void **state)
{
    struct price_error error;
    int r = price_load("agent/prices.json", &table, &error);

    (void)state;
    if (r < 0)
        print_error("%s\n", error.text);
    return r;
}

static int teardown(void **state)
{
    (void)state;
    price_table_free(&table);
    return 0;
}

struct example {
    const char *provider, *model, *tier, *raw; /* raw: "usage.speed=fast" */
    const char *rows;                          /* "kind:unit:count,…", "kind:unit:low-high" */
    uint64_t unix_s;
    const char *basis;
    int64_t low, expected, high; /* [nano-USD], -1: unknown */
};

static char kinds[16][32], units[16][16];

static void add_row(struct call *call, const char *text)
{
    struct usage_row *row = &call->usage[call->usage_count];
    char *kind = kinds[call->usage_count], *unit = units[call->usage_count];
    unsigned long long a, b;

    call->usage_count++;
    if (sscanf(text, "%31[^:]:%15[^:]:%llu-%llu", kind, unit, &a, &b) == 4) {
        row->low = opt_u64(a);
        row->high = opt_u64(b);
    } else {
        assert_int_equal(sscanf(text, "%31[^:]:%15[^:]:%llu", kind, unit, &a), 3);
        row->count = opt_u64(a);
    }
    row->kind = kind;
    row->unit = unit;
    row->modality = strcmp(unit, "image") == 0 ? "image" : strcmp(unit, "token") == 0 ? "text" : "";
    if (strcmp(kind, "video") == 0) {
        row->kind = "output";
        row->modality = "video";
    }
}

static struct call call_of(const struct example *e, const char *operation)
{
    struct call call = {.operation = operation, .status_code = 200, .outcome = CALL_OK};
    char rows[256], *at = rows, *row;

    snprintf(call.provider, sizeof(call.provider), "%s", e->provider);
    snprintf(call.model_responded, sizeof(call.model_responded), "%s", e->model);
    snprintf(call.service_tier, sizeof(call.service_tier), "%s", e->tier);
    if (e->raw) {
        size_t len = strcspn(e->raw, "=");

        snprintf(call.reported.raw[0].path, sizeof(call.reported.raw[0].path), "%.*s", (int)len,
                 e->raw);
        snprintf(call.reported.raw[0].value, sizeof(call.reported.raw[0].value), "%s",
                 e->raw + len + 1);
        call.reported.raw_count = 1;
    }
    snprintf(rows, sizeof(rows), "%s", e->rows);
    while ((row = strsep(&at, ",")))
        add_row(&call, row);
    return call;
}

static void check(const struct example *e, size_t count, const char *operation)
{
    for (size_t i = 0; i < count; i++) {
        struct call call = call_of(&e[i], operation);
        const struct call_cost *c = &call.cost;

        price_call(table, &call, e[i].unix_s);
        print_message("%s %s %s %s: %s %lld %lld %lld\n", e[i].provider, e[i].model, e[i].tier,
                      e[i].rows, c->basis, (long long)c->low_nanousd.value,
                      (long long)c->expected_nanousd.value, (long long)c->high_nanousd.value);
        assert_string_equal(c->basis, e[i].basis);
        assert_int_equal(c->expected_nanousd.known, e[i].expected >= 0);
        assert_int_equal(c->low_nanousd.known, e[i].expected >= 0);
        assert_int_equal(c->high_nanousd.known, e[i].expected >= 0);
        if (e[i].expected < 0)
            continue;
        assert_int_equal(c->low_nanousd.value, e[i].low);
        assert_int_equal(c->expected_nanousd.value, e[i].expected);
        assert_int_equal(c->high_nanousd.value, e[i].high);
    }
}

#define SAME(n) n, n, n
#define NONE -1, -1, -1

static void test_tiers_of_openai(void **state)
{
    static const struct example EXAMPLES[] = {
        /* gpt-5: 1.25 in, 0.125 cached, 10 out: 1,000 × 1,250 + 2,000 × 125 + 300 × 10,000 */
        {"openai", "gpt-5-2025-08-07", "default", NULL,
         "input:token:1000,cached_input:token:2000,output:token:300", NOV_2026, "table",
         SAME(4500000)},
        /* flex, half of each: 1,000 × 625 + 2,000 × 62.5 + 300 × 5,000 */
        {"openai", "gpt-5-2025-08-07", "flex", NULL,
         "input:token:1000,cached_input:token:2000,output:token:300", NOV_2026, "supplement",
         SAME(2250000)},
        /* batch: the same */
        {"openai", "gpt-5-2025-08-07", "batch", NULL,
         "input:token:1000,cached_input:token:2000,output:token:300", NOV_2026, "supplement",
         SAME(2250000)},
        /* priority 2.5, 0.25, 20: 1,000 × 2,500 + 2,000 × 250 + (200 + 100) × 20,000 */
        {"openai", "gpt-5-2025-08-07", "priority", NULL,
         "input:token:1000,cached_input:token:2000,output:token:200,reasoning:token:100", NOV_2026,
         "supplement", SAME(9000000)},
        /* gpt-4.1-nano priority 0.2, 0.05, 0.8: 7 × 200 + 11 × 50 + 13 × 800 */
        {"openai", "gpt-4.1-nano-2025-04-14", "priority", NULL,
         "input:token:7,cached_input:token:11,output:token:13", NOV_2026, "supplement",
         SAME(12350)},
        /* o4-mini flex, half of 1.1, 0.275, 4.4: 10 × 550 + 3 × 137.5 + 2 × 2,200 = 10,312.5 */
        {"openai", "o4-mini-2025-04-16", "flex", NULL,
         "input:token:10,cached_input:token:3,output:token:2", NOV_2026, "supplement", SAME(10313)},
        /* gpt-4o batch, half of 2.5 and 10: 1,000 × 1,250 + 10 × 5,000 */
        {"openai", "gpt-4o-2024-08-06", "batch", NULL, "input:token:1000,output:token:10", NOV_2026,
         "supplement", SAME(1300000)},
        /* … but what a cached token costs then is not said for it */
        {"openai", "gpt-4o-2024-08-06", "batch", NULL, "input:token:1000,cached_input:token:1",
         NOV_2026, "unknown_tier", NONE},
        /* nor was there batch before April 2024, nor flex for gpt-4o, nor a price for scale */
        {"openai", "gpt-4o-2024-08-06", "batch", NULL, "input:token:1000", Y2024, "unknown_tier",
         NONE},
        {"openai", "gpt-4o-2024-08-06", "flex", NULL, "input:token:1000", NOV_2026, "unknown_tier",
         NONE},
        {"openai", "gpt-5-2025-08-07", "scale", NULL, "input:token:1000", NOV_2026, "unknown_tier",
         NONE},
        /* gpt-5.4 priority 5 and 30: 271,999 × 5,000 + 10 × 30,000; above it has no figure */
        {"openai", "gpt-5.4-2026-03-05", "priority", NULL, "input:token:271999,output:token:10",
         NOV_2026, "supplement", SAME(1360295000)},
        {"openai", "gpt-5.4-2026-03-05", "priority", NULL, "input:token:272000,output:token:10",
         NOV_2026, "unknown_tier", NONE},
        /* flex keeps the cliff: 272,000 × 5,000 / 2 + 10 × 22,500 / 2 */
        {"openai", "gpt-5.4-2026-03-05", "flex", NULL, "input:token:272000,output:token:10",
         NOV_2026, "supplement", SAME(680112500)},
        /* 3 searches at 10 per 1,000 are 30,000,000, whatever the tier of the tokens */
        {"openai", "gpt-5-2025-08-07", "flex", NULL, "input:token:1000,input:search:3", NOV_2026,
         "supplement", SAME(30625000)},
        /* Azure's batch is half of the model's own price: 1,000 × 1,250 */
        {"azure", "gpt-4o-2024-08-06", "batch", NULL, "input:token:1000", NOV_2026, "supplement",
         SAME(1250000)},
    };

    (void)state;
    check(EXAMPLES, sizeof(EXAMPLES) / sizeof(EXAMPLES[0]), "chat");
}

static void test_tiers_of_the_others(void **state)
{
    static const struct example EXAMPLES[] = {
        /* Sonnet 4.5 batch, half of 3, 0.3, 3.75 (5 min), 6 (1 h), 15:
         * 100 × 1,500 + 1,000 × 150 + 200 × 1,875 + 300 × 3,000 + 50 × 7,500 */
        {"anthropic", "claude-sonnet-4-5-20250929", "batch", NULL,
         "input:token:100,cached_input:token:1000,cache_write_5m:token:200,"
         "cache_write_1h:token:300,output:token:50",
         NOV_2026, "supplement", SAME(1950000)},
        /* at list price: twice that */
        {"anthropic", "claude-sonnet-4-5-20250929", "standard", NULL,
         "input:token:100,cached_input:token:1000,cache_write_5m:token:200,"
         "cache_write_1h:token:300,output:token:50",
         NOV_2026, "table", SAME(3900000)},
        /* a search costs the same in a batch: 100 × 1,500 + 2 × 10,000,000 */
        {"anthropic", "claude-sonnet-4-5-20250929", "batch", NULL, "input:token:100,input:search:2",
         NOV_2026, "supplement", SAME(20150000)},
        /* priority is what a contract says */
        {"anthropic", "claude-sonnet-4-5-20250929", "priority", NULL, "input:token:100", NOV_2026,
         "unknown_tier", NONE},
        /* Opus 4.6 fast, 6 × 5, 0.5 and 25: 1,000 × 30,000 + 10 × 3,000 + 100 × 150,000 */
        {"anthropic", "claude-opus-4-6", "standard", "usage.speed=fast",
         "input:token:1000,cached_input:token:10,output:token:100", NOV_2026, "supplement",
         SAME(45030000)},
        /* a model whose fast price no document gives */
        {"anthropic", "claude-opus-4-8", "standard", "usage.speed=fast", "input:token:1000",
         NOV_2026, "unknown_tier", NONE},
        /* US only, 1.1 × 3 and 15: 1,000 × 3,300 + 100 × 16,500 */
        {"anthropic", "claude-sonnet-4-6", "standard", "usage.inference_geo=us",
         "input:token:1000,output:token:100", NOV_2026, "supplement", SAME(4950000)},
        {"anthropic", "claude-sonnet-4-6", "standard", "usage.inference_geo=global",
         "input:token:1000,output:token:100", NOV_2026, "table", SAME(4500000)},
        /* both: 0.5 × 1.1 × 3 × 1,000 tokens */
        {"anthropic", "claude-sonnet-4-6", "batch", "usage.inference_geo=us", "input:token:1000",
         NOV_2026, "supplement", SAME(1650000)},
        /* Gemini 2.5 Flash 0.3, 0.03, 2.5; batch half: 1,000 × 150 + 100 × 1,250 */
        {"gemini", "gemini-2.5-flash", "batch", NULL, "input:token:1000,output:token:100", NOV_2026,
         "supplement", SAME(275000)},
        {"gemini", "gemini-2.5-flash", "flex", NULL, "input:token:1000,output:token:100", NOV_2026,
         "supplement", SAME(275000)},
        /* what Vertex calls it; 1,000 × 150 */
        {"vertex", "gemini-2.5-flash", "ON_DEMAND_FLEX", NULL, "input:token:1000", NOV_2026,
         "supplement", SAME(150000)},
        /* priority is 75% to 100% more: 1,000 × 525, 562.5, 600 */
        {"gemini", "gemini-2.5-flash", "priority", NULL, "input:token:1000", NOV_2026, "supplement",
         525000, 562500, 600000},
        {"vertex", "gemini-2.5-flash", "PROVISIONED_THROUGHPUT", NULL, "input:token:1000", NOV_2026,
         "unknown_tier", NONE},
        /* Groq's flex costs as on demand (0.59, 0.79), its batch half */
        {"groq", "llama-3.3-70b-versatile", "flex", NULL, "input:token:1000,output:token:100",
         NOV_2026, "supplement", SAME(669000)},
        {"groq", "llama-3.3-70b-versatile", "batch", NULL, "input:token:1000,output:token:100",
         NOV_2026, "supplement", SAME(334500)},
        {"groq", "llama-3.3-70b-versatile", "performance", NULL, "input:token:1000", NOV_2026,
         "unknown_tier", NONE},
        /* Sonar: 1 in, 1 out, and a fee of 5, 8, 12 per 1,000 requests by what it searched:
         * 10 × 1,000 + 5,000,000 */
        {"perplexity", "sonar", "", "usage.search_context_size=low", "input:token:10", NOV_2026,
         "supplement", SAME(5010000)},
        {"perplexity", "sonar", "", "usage.search_context_size=high", "input:token:10", NOV_2026,
         "supplement", SAME(12010000)},
        /* not said: the table's figure, and the range */
        {"perplexity", "sonar", "", NULL, "input:token:10", NOV_2026, "supplement", 5010000,
         12010000, 12010000},
        /* somebody else's tier */
        {"deepseek", "deepseek-chat", "priority", NULL, "input:token:10", NOV_2026, "unknown_tier",
         NONE},
    };

    (void)state;
    check(EXAMPLES, sizeof(EXAMPLES) / sizeof(EXAMPLES[0]), "chat");
}

static void test_units_other_than_tokens(void **state)
{
    static const struct example EXAMPLES[] = {
        /* 2 images; size and quality are not told: 0.04 each, up to 0.12 */
        {"openai", "dall-e-3", "", NULL, "output:image:2", NOV_2026, "supplement", 80000000,
         80000000, 240000000},
        {"openai", "dall-e-2", "", NULL, "output:image:1", NOV_2026, "supplement", 16000000,
         20000000, 20000000},
        {"gemini", "imagen-4.0-generate-001", "", NULL, "output:image:3", NOV_2026, "supplement",
         SAME(120000000)},
        /* 15 per 1,000,000 characters: 4,096 × 15,000 */
        {"openai", "tts-1", "", NULL, "input:character:4096", NOV_2026, "supplement",
         SAME(61440000)},
        /* 0.36 an hour: 90 s are 0.009 */
        {"openai", "whisper-1", "", NULL, "input:second:90", NOV_2026, "table", SAME(9000000)},
        /* 8 s of video at 0.1 */
        {"openai", "sora-2", "", NULL, "video:second:8", NOV_2026, "supplement", SAME(800000000)},
        /* a model with prices, but none for this */
        {"openai", "gpt-4o", "", NULL, "input:token:1,output:image:1", NOV_2026, "unknown_unit",
         NONE},
        {"openai", "dall-e-9", "", NULL, "output:image:1", NOV_2026, "unknown_model", NONE},
        /* somebody else's dall-e-3 */
        {"groq", "dall-e-3", "", NULL, "output:image:1", NOV_2026, "unknown_model", NONE},
    };

    (void)state;
    check(EXAMPLES, sizeof(EXAMPLES) / sizeof(EXAMPLES[0]), "image_generation");
}

static void test_rerank_is_billed_by_search(void **state)
{
    static const struct example EXAMPLES[] = {
        /* 2 per 1,000 searches: 3 × 2,000,000 */
        {"cohere", "rerank-v3.5", "", NULL, "input:search:3", NOV_2026, "supplement",
         SAME(6000000)},
    };

    (void)state;
    check(EXAMPLES, 1, "rerank");
}

static void test_results_of_a_batch_cost_as_a_batch(void **state)
{
    static const struct example EXAMPLES[] = {
        /* no tier is said: 1,000 × 1,500 + 10 × 7,500 */
        {"anthropic", "claude-sonnet-4-5", "", NULL, "input:token:1000,output:token:10", NOV_2026,
         "supplement", SAME(1575000)},
        {"deepseek", "deepseek-chat", "", NULL, "input:token:10", NOV_2026, "unknown_tier", NONE},
    };

    (void)state;
    check(EXAMPLES, 2, "batch");
}

static void test_long_context_and_dates_are_the_tables(void **state)
{
    static const struct example EXAMPLES[] = {
        /* Opus 4.6 in February 2026, 200,001 tokens of input: all at 10, output at 37.5:
         * 200,000 × 10,000 + 1 × 1,000 (cached) + 10 × 37,500 */
        {"anthropic", "claude-opus-4-6", "", NULL,
         "input:token:200000,cached_input:token:1,output:token:10", 1771000000, "table",
         SAME(2000376000)},
        /* one token less: 199,999 × 5,000 + 500 + 10 × 25,000 */
        {"anthropic", "claude-opus-4-6", "", NULL,
         "input:token:199999,cached_input:token:1,output:token:10", 1771000000, "table",
         SAME(1000245500)},
        /* and the cliff is gone since March: 200,000 × 5,000 + 500 + 250,000 */
        {"anthropic", "claude-opus-4-6", "", NULL,
         "input:token:200000,cached_input:token:1,output:token:10", NOV_2026, "table",
         SAME(1000250500)},
        /* o3 before its price fell on 2025-06-10: 1,000 × 10,000; later 1,000 × 2,000 */
        {"openai", "o3", "", NULL, "input:token:1000", JUN_2025, "table", SAME(10000000)},
        {"openai", "o3", "", NULL, "input:token:1000", NOV_2026, "table", SAME(2000000)},
        /* an estimate across the cliff: 150,000 × 5,000, 200,000 × 5,000, 250,000 × 10,000 */
        {"anthropic", "claude-opus-4-6", "", NULL, "input:token:150000-250000", 1771000000, "table",
         750000000, 1000000000, 2500000000},
    };

    (void)state;
    check(EXAMPLES, sizeof(EXAMPLES) / sizeof(EXAMPLES[0]), "chat");
}

static void test_bounds_are_in_order_and_do_not_overflow(void **state)
{
    const struct example e = {"openai",          "gpt-5",  "default", NULL,
                              "output:token:10", NOV_2026, "table",   SAME(0)};
    struct call call = call_of(&e, "chat");

    (void)state;
    /* A count beyond its own bounds widens them: 5 … 20, then 4 … 10. */
    call.usage[0].low = opt_u64(5);
    call.usage[0].high = opt_u64(20);
    price_call(table, &call, NOV_2026);
    assert_int_equal(call.cost.low_nanousd.value, 50000);
    assert_int_equal(call.cost.expected_nanousd.value, 100000);
    assert_int_equal(call.cost.high_nanousd.value, 200000);
    call.usage[0].low = opt_u64(12);
    call.usage[0].high = opt_u64(4);
    price_call(table, &call, NOV_2026);
    assert_int_equal(call.cost.low_nanousd.value, 40000);
    assert_int_equal(call.cost.high_nanousd.value, 120000);
    /* The most that may be counted, in every row. */
    for (unsigned i = 0; i < CALL_USAGE_MAX; i++)
        call.usage[i] = (struct usage_row){
            .kind = "output", .low = opt_u64(0), .high = opt_u64(PRICE_COUNT_MAX)};
    call.usage_count = CALL_USAGE_MAX;
    price_call(table, &call, NOV_2026);
    assert_true(call.cost.low_nanousd.known && call.cost.low_nanousd.value == 0);
    /* 24 × 10^12 × 10,000 */
    assert_int_equal(call.cost.high_nanousd.value, 240000000000000000);
    call.usage[3].high = opt_u64(PRICE_COUNT_MAX + 1);
    price_call(table, &call, NOV_2026);
    assert_string_equal(call.cost.basis, "unknown_usage");
    assert_false(call.cost.high_nanousd.known);
}

static void test_the_provider_is_compared_with_the_table(void **state)
{
    /* 1,000 × 1,250 + 100 × 10,000 = 2,250,000 */
    const struct example e = {
        "openai", "gpt-5",    "",     NULL, "input:token:1000,output:token:100",
        NOV_2026, "provider", SAME(0)};
    static const struct {
        int64_t said;
        bool disagrees;
    } CASES[] = {{2250000, false}, {2250001, false}, {2272727, false}, {2272728, true},
                 {2227500, false}, {2227499, true},  {0, true}};

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct call call = call_of(&e, "chat");

        call.reported.cost_nanousd = (struct opt_i64){CASES[i].said, true};
        price_call(table, &call, NOV_2026);
        assert_string_equal(call.cost.basis, "provider");
        assert_int_equal(call.cost.expected_nanousd.value, CASES[i].said);
        assert_int_equal(call.cost.list_nanousd.value, 2250000);
        assert_int_equal(price_disagrees(&call.cost), CASES[i].disagrees);
    }
    {
        struct call call = call_of(&e, "chat");

        snprintf(call.model_responded, sizeof(call.model_responded), "no-such-model");
        call.reported.cost_nanousd = (struct opt_i64){5, true};
        price_call(table, &call, NOV_2026);
        assert_false(call.cost.list_nanousd.known);
        assert_false(price_disagrees(&call.cost));
    }
}

#define HEAD                                                                                       \
    "format: 1\nversion: 2026-01-01\nsources:\n"                                                   \
    "  - {id: s, title: T, date: 2026-01-01}\nrules:\n"
#define RULE(text) HEAD "  - {provider: p, source: s, " text "}\n"

static void test_bad_supplements_are_refused_with_line_and_field(void **state)
{
    static const struct {
        const char *text, *problem;
    } CASES[] = {
        {"", ":"},
        {"format: 2\nversion: 2026-01-01\nsources: [{id: s, title: T, date: 2026-01-01}]\n"
         "rules: [{provider: p, source: s, usd: {images: \"1\"}}]\n",
         ":1: format: must be 1"},
        {"format: 1\nversion: soon\nsources: [{id: s, title: T, date: 2026-01-01}]\n"
         "rules: [{provider: p, source: s, usd: {images: \"1\"}}]\n",
         ":2: version"},
        {"format: 1\nversion: 2026-01-01\nsources: [{id: s, title: T, date: 2026-02-30}]\n"
         "rules: [{provider: p, source: s, usd: {images: \"1\"}}]\n",
         ":3: sources[0].date"},
        {RULE("usd: {images: \"1\"}, teir: x"), ":6: rules[0].teir"},
        {RULE("usd: {imagse: \"1\"}"), ":6: rules[0].usd.imagse"},
        {RULE("usd: {images: \"cheap\"}"), ":6: rules[0].usd.images"},
        {RULE("usd: {images: \"-1\"}"), ":6: rules[0].usd.images"},
        {RULE("usd: {images: \"1\"}, usd_low: {images: \"2\"}"), ":6: rules[0].usd.images"},
        {RULE("tier: batch, factor: \"0.5\""), ":6: rules[0].factor"},
        {RULE("tier: batch, for: [input]"), ":6: rules[0].factor"},
        {RULE("tier: batch, for: [inputs], factor: \"1\""), ":6: rules[0].for"},
        {RULE("tier: batch, for: [input], factor: \"11\""), ":6: rules[0].factor"},
        {RULE("tier: batch, for: [input], factor: \"0\""), ":6: rules[0].factor"},
        {RULE("tier: batch, for: [input], factor: \"0.33333\""), ":6: rules[0].factor"},
        {RULE("tier: b, for: [input], factor: \"1\", factor_low: \"2\""), ":6: rules[0].factor"},
        {RULE("for: [input], factor: \"1\""), ":6: rules[0]: a factor needs"},
        {RULE("tier: batch"), ":6: rules[0]: says neither"},
        {RULE("models: [GPT-5], usd: {images: \"1\"}"), ":6: rules[0].models[0]"},
        {RULE("when: fast, usd: {images: \"1\"}"), ":6: rules[0].when"},
        {RULE("since: 2026-13-01, usd: {images: \"1\"}"), ":6: rules[0].since"},
        {RULE("since: 2026-03-01, until: 2026-03-01, usd: {images: \"1\"}"), ":6: rules[0]: until"},
        {HEAD "  - {provider: p, source: t, usd: {images: \"1\"}}\n", ":6: rules[0].source"},
    };
    char path[] = "/tmp/lectr-test-supplement-XXXXXX";
    int fd = mkstemp(path);
    struct price_summary before, after;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    price_table_summary(table, &before);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct price_error error = {.text = ""};
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        assert_true(fputs(CASES[i].text, f) >= 0);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(price_supplement_load(path, table, &error), -EINVAL);
        print_message("%s\n", error.text);
        assert_memory_equal(error.text, path, strlen(path));
        assert_non_null(strstr(error.text, CASES[i].problem));
    }
    price_table_summary(table, &after);
    assert_int_equal(before.rules, after.rules);
    assert_true(after.rules > 40);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(price_supplement_load(path, table, &(struct price_error){.text = ""}),
                     -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers_of_openai),
        cmocka_unit_test(test_tiers_of_the_others),
        cmocka_unit_test(test_units_other_than_tokens),
        cmocka_unit_test(test_rerank_is_billed_by_search),
        cmocka_unit_test(test_results_of_a_batch_cost_as_a_batch),
        cmocka_unit_test(test_long_context_and_dates_are_the_tables),
        cmocka_unit_test(test_bounds_are_in_order_and_do_not_overflow),
        cmocka_unit_test(test_the_provider_is_compared_with_the_table),
        cmocka_unit_test(test_bad_supplements_are_refused_with_line_and_field),
    };

    return cmocka_run_group_tests_name("price_supplement", tests, setup, teardown);
}
