/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the file, from minutes to alerts.
 *
 * LINK: collector/ruleset.c collector/ruleset_feed.c collector/ruleset_judge.c
 * LINK: collector/ruleset_alert.c collector/ruleset_save.c collector/burn.c
 * LINK: collector/budget.c collector/quiet.c collector/share.c collector/ruling.c
 * LINK: collector/alert.c collector/alerting.c collector/alerting_schema.c
 * LINK: collector/alerting_check.c collector/places.c collector/when.c
 * LINK: collector/sketch.c collector/tally.c collector/text.c
 */
#include "collector/ruleset.h"
#include "proto/event.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_S INT64_C(1774828800) /* 2026-03-30, a Monday, 00:00 UTC */
#define TOLD_MAX 200

/* --- what was told --- */

struct told_alert {
    enum alert_status status;
    enum alert_rule rule;
    int64_t at_s;
    double observed;
    char severity[12], fingerprint[37], feature[96], model[160];
    char reason[600];
    int64_t from_s, to_s; /* its window */
    uint64_t samples;
    Lectr__V1__Alert__BurnRate burn; /* without its pointers */
    Lectr__V1__Alert__Budget budget;
};

static struct told_alert heard[TOLD_MAX];
static unsigned heard_count;

static int hear(void *ctx, const struct alert *a)
{
    struct told_alert *t = &heard[heard_count];
    struct buf packed;
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;

    (void)ctx;
    assert_true(heard_count < TOLD_MAX);
    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(alert_pack(a, &packed), 0);
    assert_int_equal(event_unpack(EVENT_ALERT, buf_slice(&packed), &message), 0);
    buf_fini(&packed);
    m = (const Lectr__V1__Alert *)message;
    assert_true(isfinite(m->observed) && isfinite(m->baseline));
    assert_true(m->window_start_unix_nano < m->window_end_unix_nano);
    assert_true(m->starts_at_unix_nano <= m->detected_at_unix_nano);
    *t = (struct told_alert){
        .status = a->status, .rule = a->rule, .at_s = a->detected_s, .observed = a->observed};
    t->from_s = a->window_start_s;
    t->to_s = a->window_end_s;
    t->samples = a->samples;
    if (m->burn_rate)
        t->burn = *m->burn_rate;
    if (m->budget)
        t->budget = *m->budget;
    snprintf(t->severity, sizeof(t->severity), "%s", m->severity);
    snprintf(t->fingerprint, sizeof(t->fingerprint), "%s", m->fingerprint);
    snprintf(t->feature, sizeof(t->feature), "%s", a->feature);
    snprintf(t->model, sizeof(t->model), "%s", a->model);
    snprintf(t->reason, sizeof(t->reason), "%s", m->reason);
    heard_count++;
    return 0;
}

static unsigned count_heard(enum alert_rule rule, enum alert_status status)
{
    unsigned count = 0;

    for (unsigned i = 0; i < heard_count; i++)
        count += heard[i].rule == rule && heard[i].status == status;
    return count;
}

/* --- traffic --- */

struct traffic {
    const char *feature, *provider, *model;
    uint64_t calls, errors, client_aborts, retries, unknown;
    int64_t nanousd;
    uint64_t slow; /* calls of 9 s; the others take 1 s */
};

static void tell_cell(struct ruleset *set, const struct traffic *t, unsigned times)
{
    struct store_series_name name = {.org = "acme",
                                     .feature = t->feature ? t->feature : "chat",
                                     .provider = t->provider ? t->provider : "openai",
                                     .model = t->model ? t->model : "gpt-4o",
                                     .workload = "w"};
    struct rollup_cell cell = {.sums = {.calls = t->calls * times,
                                        .errors = (t->errors + t->client_aborts) * times,
                                        .retries = t->retries * times,
                                        .cost_unknown = t->unknown * times,
                                        .cost_low_nanousd = t->nanousd * times,
                                        .cost_expected_nanousd = t->nanousd * times,
                                        .cost_high_nanousd = t->nanousd * times}};

    if (t->errors)
        assert_int_equal(tally_add(&cell.error_types, "server_error", t->errors * times), 0);
    if (t->client_aborts)
        assert_int_equal(tally_add(&cell.error_types, "client_abort", t->client_aborts * times), 0);
    for (uint64_t i = 0; i < t->calls * times && t->slow; i++)
        assert_int_equal(sketch_add(&cell.latency, i < t->slow * times ? 9000000 : 1000000), 0);
    assert_int_equal(ruleset_add(set, &name, &cell), 0);
    tally_fini(&cell.error_types);
    sketch_fini(&cell.latency);
}

static void run(struct ruleset *set, int from_min, int to_min, const struct traffic *t)
{
    for (int i = from_min; i < to_min; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        tell_cell(set, t, 1);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
}

static struct alerting *file;

static struct ruleset *begin(const char *text)
{
    struct alerting_error error = {.text = ""};
    struct ruleset *set = NULL;

    heard_count = 0;
    alerting_free(&file);
    if (alerting_parse("rules.yaml", slice_str(text), &file, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(ruleset_new(file, NULL, NULL, &set), 0);
    return set;
}

static void assert_says(unsigned which, const char *what)
{
    if (!strstr(heard[which].reason, what))
        fail_msg("\"%s\" does not say \"%s\"", heard[which].reason, what);
}

/* --- scenarios --- */

/* Errors of providers burn, applications that go away do not. */
static void test_burn_rate(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: slo, kind: burn_rate, objective: 99.5}\n");
    struct traffic good = {.calls = 100}, aborts = {.calls = 100, .client_aborts = 40};
    struct traffic bad = {.calls = 100, .errors = 10};

    (void)state;
    run(set, 0, 120, &good);
    run(set, 120, 240, &aborts);
    assert_int_equal(heard_count, 0);
    run(set, 240, 290, &bad);
    assert_int_equal(heard_count, 1);
    assert_int_equal(heard[0].rule, ALERT_ERRORS_BURN_RATE);
    assert_int_equal(heard[0].status, ALERT_FIRING);
    assert_string_equal(heard[0].severity, "critical");
    /* 10 of 100 in the last m of 60 minutes: 7.2% of the hour after 44 of them. */
    assert_int_equal(heard[0].at_s, START_S + (240 + 44) * 60);
    assert_says(0, "provider openai: 440 of 6000 calls (7.33%) failed in 1 h to 04:44 UTC");
    assert_says(0, "burns 14.7 times");
    run(set, 290, 400, &good);
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[1].status, ALERT_RESOLVED);
    assert_string_equal(heard[0].fingerprint, heard[1].fingerprint);
    ruleset_free(&set);
}

static void test_latency_burn_rate(void **state)
{
    struct ruleset *set = begin("rules:\n- name: slow\n  kind: burn_rate\n  objective: 95\n"
                                "  latency_above_ms: 5000\n  by: [feature]\n"
                                "  windows: [{long_min: 10, short_min: 2, burn: 4}]\n");
    struct traffic fine = {.calls = 10, .slow = 1}, slow = {.calls = 10, .slow = 4};

    (void)state;
    run(set, 0, 30, &fine);
    assert_int_equal(heard_count, 0);
    run(set, 30, 50, &slow);
    assert_int_equal(heard_count, 1);
    assert_int_equal(heard[0].rule, ALERT_LATENCY_BURN_RATE);
    assert_string_equal(heard[0].feature, "chat");
    assert_says(0, "took longer than 5 s in 10 min");
    ruleset_free(&set);
}

/* One dollar a minute: each threshold is told once, and the next day begins anew. */
static void test_budget(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: daily, kind: budget, usd: 1000, period: day,"
                                " match: {feature: chat}}\n");
    struct traffic dollar = {.calls = 4, .unknown = 1, .nanousd = 1000000000};
    struct traffic other = {.feature = "search", .calls = 1, .nanousd = 9000000000};

    (void)state;
    for (int i = 0; i < 1500; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        tell_cell(set, &dollar, 1);
        tell_cell(set, &other, 1);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
    assert_int_equal(heard_count, 4);
    assert_int_equal(heard[0].at_s, START_S + 500 * 60);
    assert_string_equal(heard[0].severity, "info");
    assert_int_equal(heard[1].status, ALERT_UPDATED);
    assert_int_equal(heard[1].at_s, START_S + 800 * 60);
    assert_string_equal(heard[1].severity, "warning");
    assert_int_equal(heard[2].at_s, START_S + 1000 * 60);
    assert_string_equal(heard[2].severity, "critical");
    assert_says(2, "$1000.00 of the day's $1000.00 spent (100%)");
    assert_says(2, "4000 calls");
    assert_says(2, "1000 of them at unknown cost");
    assert_int_equal(heard[3].status, ALERT_RESOLVED);
    assert_says(3, "the period is over");
    assert_string_equal(heard[0].fingerprint, heard[3].fingerprint);
    ruleset_free(&set);
}

/* Double cost from the second week of April on: it is foretold before it is spent. */
static void test_forecast(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: monthly, kind: budget, usd: 6000}\n");
    struct traffic usual = {.calls = 4, .nanousd = 100000000};
    struct traffic twice = {.calls = 8, .nanousd = 200000000};
    unsigned at = 0;

    (void)state;
    run(set, 0, 9 * 1440, &usual);
    assert_int_equal(heard_count, 0);
    run(set, 9 * 1440, 20 * 1440, &twice);
    while (at < heard_count && heard[at].rule != ALERT_COST_FORECAST)
        at++;
    assert_true(at < heard_count);
    assert_int_equal(heard[at].status, ALERT_FIRING);
    assert_true(heard[at].at_s < START_S + 19 * 86400);
    assert_true(heard[at].observed > 6000);
    assert_says(at, "expected by its end");
    ruleset_free(&set);
}

static void new_value(struct ruleset *set, enum alerting_dimension dimension, const char *value,
                      int64_t age_s)
{
    struct ruleset_new_value v = {.org = "acme",
                                  .dimension = dimension,
                                  .value = value,
                                  .feature = "chat",
                                  .provider = "openai",
                                  .model = "m",
                                  .age_s = age_s};

    assert_int_equal(ruleset_add_new_value(set, &v), 0);
}

/* Thirty new models in a minute are one alert; the first day's are none. */
static void test_first_seen(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: new, kind: first_seen, dimension: model}\n"
                                "- {name: keys, kind: first_seen, dimension: key}\n");
    char name[32];

    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        if (i == 0)
            new_value(set, ALERTING_DIM_MODEL, "known", 86399);
        for (int k = 0; k < 30 && i == 10; k++) {
            snprintf(name, sizeof(name), "model-%02d", k);
            new_value(set, ALERTING_DIM_MODEL, name, 86400);
        }
        if (i == 40)
            new_value(set, ALERTING_DIM_MODEL, "late", 90000);
        if (i == 41)
            new_value(set, ALERTING_DIM_KEY, "k9", 90000);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
    assert_int_equal(count_heard(ALERT_MODEL_FIRST_SEEN, ALERT_FIRING), 1);
    assert_int_equal(heard[0].at_s, START_S + 11 * 60);
    assert_true(heard[0].observed == 30);
    assert_says(0, "30 models never seen before: model-00, model-01");
    assert_string_equal(heard[0].severity, "info");
    assert_int_equal(heard[1].status, ALERT_UPDATED);
    assert_true(heard[1].observed == 31);
    assert_int_equal(heard[2].rule, ALERT_KEY_FIRST_SEEN);
    assert_says(2, "1 key never seen before: k9");
    assert_int_equal(count_heard(ALERT_MODEL_FIRST_SEEN, ALERT_RESOLVED), 1);
    assert_int_equal(count_heard(ALERT_KEY_FIRST_SEEN, ALERT_RESOLVED), 1);
    assert_int_equal(heard_count, 5);
    ruleset_free(&set);
}

static void test_silent(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: quiet, kind: silent, for_min: 30}\n");
    struct traffic usual = {.calls = 3}, none = {.feature = "search", .calls = 1};
    int dead = 9 * 1440 + 600;

    (void)state;
    run(set, 0, dead, &usual);
    assert_int_equal(heard_count, 0);
    run(set, dead, dead + 100, &none);
    assert_int_equal(heard_count, 1);
    assert_int_equal(heard[0].rule, ALERT_FEATURE_SILENT);
    assert_string_equal(heard[0].feature, "chat");
    assert_int_equal(heard[0].at_s, START_S + (dead + 30) * 60);
    assert_says(0, "feature chat: no call since 2026-04-08 10:00 UTC (30 min)");
    run(set, dead + 100, dead + 110, &usual);
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[1].status, ALERT_RESOLVED);
    ruleset_free(&set);
}

/* A model without a price is told with its share; a count that is not known is no such thing. */
static void test_unpriced(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: free, kind: unpriced}\n");
    struct traffic usual = {.calls = 9};
    struct store_unpriced_row row = {"acme", "openai", "gpt-9", "unknown_usage", 1};

    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        tell_cell(set, &usual, 1);
        row.basis = i >= 60 && i < 100 ? "unknown_model" : "unknown_usage";
        assert_int_equal(ruleset_add_unpriced(set, &row), 0);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[0].rule, ALERT_MODEL_UNPRICED);
    assert_string_equal(heard[0].model, "gpt-9");
    assert_int_equal(heard[0].at_s, START_S + 61 * 60);
    assert_says(0, "1 calls in the hour to 01:01 UTC have no price, 0.185% of the provider's 540");
    assert_int_equal(heard[1].status, ALERT_RESOLVED);
    ruleset_free(&set);
}

static void test_coverage(void **state)
{
    struct ruleset *set =
        begin("rules:\n- {name: cover, kind: coverage, below: 0.5, drop: 0.2, for_min: 3}\n");
    struct store_coverage_row row = {"acme", "w", "openai", 10, 10};

    (void)state;
    for (int i = 0; i < 40 * 60; i++) {
        row.metered = i >= 30 * 60 ? 6 : 10;
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        assert_int_equal(ruleset_add_coverage(set, &row), 0);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
    /* 60% is above the bound but 20 points below the day before, after half an hour of it. */
    assert_true(heard_count >= 1);
    assert_int_equal(heard[0].rule, ALERT_COVERAGE_LOW);
    assert_int_equal(heard[0].at_s, START_S + (30 * 60 + 33) * 60);
    assert_says(0, "provider openai: 468 of 600 connections (78%) were metered");
    assert_says(0, "the day before had 100%");
    ruleset_free(&set);
}

static void test_retries(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: again, kind: retries, ratio: 0.5}\n");
    struct traffic usual = {.calls = 10, .retries = 1}, storm = {.calls = 10, .retries = 6};

    (void)state;
    run(set, 0, 60, &usual);
    assert_int_equal(heard_count, 0);
    run(set, 60, 120, &storm);
    run(set, 120, 240, &usual);
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[0].rule, ALERT_RETRIES_AMPLIFYING);
    assert_true(heard[0].observed >= 0.5);
    assert_int_equal(heard[1].status, ALERT_RESOLVED);
    ruleset_free(&set);
}

/* --- the numbers --- */

#define MADE_MIN (4 * 1440)

static struct traffic made[MADE_MIN];

/* Sums over the minutes that were told, apart from the code under test. */
static struct traffic sum_of(int64_t from_s, int64_t to_s)
{
    struct traffic sum = {0};

    for (int i = 0; i < MADE_MIN; i++) {
        int64_t at_s = START_S + i * 60;

        if (at_s < from_s || at_s >= to_s)
            continue;
        sum.calls += made[i].calls;
        sum.errors += made[i].errors;
        sum.retries += made[i].retries;
        sum.unknown += made[i].unknown;
        sum.nanousd += made[i].nanousd;
    }
    return sum;
}

static void assert_recomputes(const struct told_alert *t)
{
    struct traffic in_window = sum_of(t->from_s, t->to_s);
    double usd = 1e-9 * (double)in_window.nanousd;

    if (t->rule == ALERT_ERRORS_BURN_RATE) {
        struct traffic in_short = sum_of(t->to_s - t->burn.short_seconds, t->to_s);

        assert_int_equal(t->samples, in_window.calls);
        assert_int_equal(t->burn.long_calls, in_window.calls);
        assert_int_equal(t->burn.long_bad, in_window.errors);
        if (t->burn.short_seconds <= 6 * 3600)
            assert_int_equal(t->burn.short_bad, in_short.errors);
        assert_float_equal(t->observed, (double)in_window.errors / (double)in_window.calls, 1e-12);
        assert_float_equal(t->burn.long_burn, 100 * t->observed, 1e-9);
    } else if (t->rule == ALERT_COST_BUDGET) {
        assert_float_equal(t->observed, usd, 1e-6);
        assert_float_equal(t->budget.spent_usd, usd, 1e-6);
        assert_int_equal(t->budget.calls, in_window.calls);
        assert_int_equal(t->budget.calls_cost_unknown, in_window.unknown);
    } else if (t->rule == ALERT_RETRIES_AMPLIFYING) {
        uint64_t logical = in_window.calls - in_window.retries;

        assert_int_equal(t->samples, logical);
        assert_float_equal(t->observed, (double)in_window.retries / (double)logical, 1e-12);
    }
}

/* Whatever an alert says of its window can be had again from the minutes. */
static void test_numbers_recompute(void **state)
{
    uint64_t random = 42;
    unsigned kinds = 0;

    (void)state;
    for (int round = 0; round < 5; round++) {
        struct ruleset *set = begin("rules:\n- {name: slo, kind: burn_rate, objective: 99}\n"
                                    "- {name: daily, kind: budget, usd: 300, period: day}\n"
                                    "- {name: again, kind: retries, ratio: 0.4}\n");

        for (int i = 0; i < MADE_MIN; i++) {
            bool is_bad;

            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            is_bad = (i / 90 + round) % 7 == 3;
            made[i] = (struct traffic){
                .calls = 5 + (random >> 33) % 20,
                .errors = is_bad ? (random >> 40) % 5 : 0,
                .retries = is_bad ? (random >> 44) % 6 : 0,
                .unknown = (random >> 50) % 3,
                .nanousd = (int64_t)((random >> 20) % 600000000),
            };
            assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
            tell_cell(set, &made[i], 1);
            assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
        }
        ruleset_free(&set);
        assert_true(heard_count > 10);
        for (unsigned i = 0; i < heard_count; i++) {
            assert_recomputes(&heard[i]);
            kinds |= 1u << heard[i].rule % 32;
        }
    }
    assert_int_equal(__builtin_popcount(kinds), 3);
}

/* --- restart --- */

static const char all_rules[] = "rules:\n"
                                "- {name: slo, kind: burn_rate, objective: 99}\n"
                                "- {name: daily, kind: budget, usd: 400, period: day}\n"
                                "- {name: quiet, kind: silent, for_min: 30}\n"
                                "- {name: again, kind: retries, ratio: 0.5}\n"
                                "- {name: new, kind: first_seen, dimension: model}\n";

static struct traffic of_minute(int i)
{
    bool is_bad = i / 60 % 30 == 20, is_dead = i / 60 % 200 >= 195;

    return (struct traffic){.calls = is_dead ? 0 : 5 + (uint64_t)(i % 7),
                            .errors = is_bad ? 3 : 0,
                            .retries = is_bad ? 4 : 0,
                            .nanousd = is_dead ? 0 : 300000000};
}

static void run_mixed(struct ruleset *set, int from_min, int to_min)
{
    for (int i = from_min; i < to_min; i++) {
        struct traffic t = of_minute(i);

        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        if (t.calls)
            tell_cell(set, &t, 1);
        if (i % 5000 == 3000)
            new_value(set, ALERTING_DIM_MODEL, "m", 100000);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
}

/* Saved and loaded at any minute, the alerts are the same ones. */
static void test_restart(void **state)
{
    static const int stops[] = {1, 1201, 1205, 1230, 3001, 3030, 11700, 11760, 12000, 14399};
    struct ruleset *set = begin(all_rules);
    static struct told_alert whole[TOLD_MAX];
    unsigned whole_count;
    struct buf saved;
    int at = 0;

    (void)state;
    run_mixed(set, 0, 10 * 1440);
    ruleset_free(&set);
    memcpy(whole, heard, sizeof(whole));
    whole_count = heard_count;
    assert_true(whole_count > 20);
    assert_true(count_heard(ALERT_FEATURE_SILENT, ALERT_FIRING) > 0);
    assert_true(count_heard(ALERT_ERRORS_BURN_RATE, ALERT_RESOLVED) > 0);
    assert_true(count_heard(ALERT_COST_BUDGET, ALERT_UPDATED) > 0);
    set = begin(all_rules);
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        run_mixed(set, at, stops[i]);
        at = stops[i];
        buf_init(&saved, 16 << 20);
        assert_int_equal(ruleset_save(set, &saved), 0);
        ruleset_free(&set);
        assert_int_equal(ruleset_new(file, NULL, NULL, &set), 0);
        assert_int_equal(ruleset_load(set, buf_slice(&saved)), 0);
        buf_fini(&saved);
        assert_int_equal(ruleset_history_h(set), 0);
        assert_int_equal(ruleset_next_s(set), START_S + at * 60);
    }
    run_mixed(set, at, 10 * 1440);
    ruleset_free(&set);
    assert_int_equal(heard_count, whole_count);
    for (unsigned i = 0; i < whole_count; i++) {
        assert_string_equal(heard[i].reason, whole[i].reason);
        assert_string_equal(heard[i].fingerprint, whole[i].fingerprint);
        assert_int_equal(heard[i].at_s, whole[i].at_s);
    }
}

/* The newer state of first_seen rules goes before the older state of all. */
static void test_news_apart(void **state)
{
    struct ruleset *set = begin(all_rules);
    struct buf all, news;

    (void)state;
    run_mixed(set, 0, 2990);
    buf_init(&all, 16 << 20);
    buf_init(&news, 1 << 20);
    assert_int_equal(ruleset_save(set, &all), 0);
    run_mixed(set, 2990, 3010);
    assert_int_equal(count_heard(ALERT_MODEL_FIRST_SEEN, ALERT_FIRING), 1);
    assert_int_equal(ruleset_save_news(set, &news), 0);
    assert_true(news.len < all.len / 4);
    ruleset_free(&set);
    assert_int_equal(ruleset_new(file, NULL, NULL, &set), 0);
    assert_int_equal(ruleset_load(set, buf_slice(&news)), 0);
    assert_int_equal(ruleset_load(set, buf_slice(&all)), 0);
    assert_int_equal(ruleset_next_s(set), START_S + 2990 * 60);
    assert_int_equal(ruleset_history_h(set), 0);
    run_mixed(set, 2990, 3100);
    assert_int_equal(count_heard(ALERT_MODEL_FIRST_SEEN, ALERT_FIRING), 1);
    assert_int_equal(count_heard(ALERT_MODEL_FIRST_SEEN, ALERT_RESOLVED), 1);
    ruleset_free(&set);
    buf_fini(&all);
    buf_fini(&news);
}

/* A damaged state is refused, whatever is damaged, and touches nothing it should not. */
static void test_damaged_state(void **state)
{
    struct ruleset *set = begin(all_rules);
    struct buf saved;

    (void)state;
    run_mixed(set, 0, 100);
    buf_init(&saved, 16 << 20);
    assert_int_equal(ruleset_save(set, &saved), 0);
    ruleset_free(&set);
    for (size_t len = 0; len < saved.len; len += 1 + len / 20) {
        assert_int_equal(ruleset_new(file, NULL, NULL, &set), 0);
        assert_int_equal(ruleset_load(set, slice_of(saved.data, len)), -EBADMSG);
        ruleset_free(&set);
    }
    buf_fini(&saved);
}

/* What changed begins anew, the rest goes on. */
static void test_changed_rule(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: slo, kind: burn_rate, objective: 99}\n"
                                "- {name: daily, kind: budget, usd: 400, period: day}\n");
    struct alerting *old;
    struct buf saved;

    (void)state;
    run_mixed(set, 0, 300);
    buf_init(&saved, 16 << 20);
    assert_int_equal(ruleset_save(set, &saved), 0);
    ruleset_free(&set);
    old = TAKE_PTR(file);
    set = begin("rules:\n- {name: daily, kind: budget, usd: 500, period: day}\n"
                "- {name: slo, kind: burn_rate, objective: 99, by: [feature]}\n");
    assert_int_equal(ruleset_load(set, buf_slice(&saved)), 0);
    buf_fini(&saved);
    assert_int_equal(ruleset_groups(set), 1);
    assert_int_equal(ruleset_history_h(set), 30 * 24);
    ruleset_free(&set);
    alerting_free(&old);
}

/* Hours of the past and then its last minutes give what minutes alone give. */
static void test_recall(void **state)
{
    const char *text = "rules:\n- {name: slo, kind: burn_rate, objective: 99}\n"
                       "- {name: weekly, kind: budget, usd: 4000, period: week}\n"
                       "- {name: quiet, kind: silent, for_min: 30}\n";
    struct ruleset *set = begin(text);
    static struct told_alert whole[TOLD_MAX];
    unsigned whole_count, tail = 0;
    const int until_h = 9 * 24 + 2;

    (void)state;
    run_mixed(set, 0, 12 * 1440);
    ruleset_free(&set);
    memcpy(whole, heard, sizeof(whole));
    whole_count = heard_count;
    set = begin(text);
    assert_true(ruleset_history_h(set) >= 59 * 24);
    for (int h = 0; h < until_h; h++) {
        ruleset_recall_begin(set, START_S + h * 3600);
        for (int i = h * 60; i < h * 60 + 60; i++) {
            struct traffic t = of_minute(i);

            if (t.calls)
                tell_cell(set, &t, 1);
        }
        assert_int_equal(ruleset_recall_end(set), 0);
    }
    run_mixed(set, until_h * 60, 12 * 1440);
    ruleset_free(&set);
    while (tail < whole_count && whole[tail].at_s <= START_S + (until_h + 6) * 3600)
        tail++;
    assert_true(tail < whole_count);
    for (unsigned i = 0; i < heard_count; i++) {
        if (heard[i].at_s <= START_S + (until_h + 6) * 3600)
            continue;
        assert_int_equal(heard[i].at_s, whole[tail].at_s);
        assert_string_equal(heard[i].reason, whole[tail].reason);
        tail++;
    }
    assert_int_equal(tail, whole_count);
}

/* Names without end: groups are bounded, the rest is counted. */
static void test_bounded(void **state)
{
    struct ruleset *set =
        begin("rules:\n- {name: again, kind: retries, by: [model], ratio: 0.5}\n");
    char model[32];

    (void)state;
    assert_int_equal(ruleset_begin(set, START_S), 0);
    for (int i = 0; i < RULESET_GROUPS_MAX + 100; i++) {
        struct traffic t = {.model = model, .calls = 1};

        snprintf(model, sizeof(model), "m%d", i);
        tell_cell(set, &t, 1);
    }
    assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    assert_int_equal(ruleset_groups(set), RULESET_GROUPS_MAX);
    assert_int_equal(ruleset_refused(set), 100);
    assert_int_equal(ruleset_begin(set, START_S), -EINVAL);
    ruleset_free(&set);
}

static int end(void **state)
{
    (void)state;
    alerting_free(&file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burn_rate),
        cmocka_unit_test(test_latency_burn_rate),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_first_seen),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_unpriced),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_numbers_recompute),
        cmocka_unit_test(test_news_apart),
        cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_changed_rule),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, end);
}
