/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the file, from minutes to alerts.
 *
 * LINK: collector/ruleset.c collector/ruleset_feed.c collector/ruleset_judge.c
 * LINK: collector/ruleset_alert.c collector/ruleset_save.c collector/burn.c
 * LINK: collector/budget.c collector/quiet.c collector/share.c collector/ruling.c
 * LINK: collector/alert.c collector/alerting.c collector/alerting_schema.c
 * LINK: collector/alerting_check.c collector/places.c collector/yamlread.c collector/when.c
 * LINK: collector/sketch.c collector/tally.c collector/text.c
 */
#include "tests/unit/collector/ruleset_told.h"

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

/* A dimension that brings something new all the time is told of all the time. */
static void test_first_seen_goes_on(void **state)
{
    struct ruleset *set =
        begin("rules:\n- {name: keys, kind: first_seen, dimension: key, warmup_h: 1}\n");
    unsigned told = 0;
    char key[16];

    (void)state;
    for (int i = 0; i < 600; i++) {
        struct ruleset_new_value value = {.org = "acme",
                                          .dimension = ALERTING_DIM_KEY,
                                          .value = key,
                                          .feature = "chat",
                                          .provider = "openai",
                                          .model = "gpt-4o",
                                          .age_s = 86400};

        snprintf(key, sizeof(key), "key%d", i);
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        assert_int_equal(ruleset_add_new_value(set, &value), 0);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
        assert_int_equal(heard_count, 1);
        told += heard_count;
        heard_count = 0;
    }
    assert_int_equal(told, 600);
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

/* What is low and then gone for good does not stay an alert for ever. */
static void test_coverage_gone(void **state)
{
    struct ruleset *set =
        begin("rules:\n- {name: cover, kind: coverage, below: 0.5, for_min: 3}\n");
    struct store_coverage_row row = {"acme", "w", "openai", 10, 1};

    (void)state;
    for (int i = 0; i < 5 * 1440; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        if (i < 120)
            assert_int_equal(ruleset_add_coverage(set, &row), 0);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
        if (i == 23 * 60)
            assert_int_equal(count_heard(ALERT_COVERAGE_LOW, ALERT_RESOLVED), 0);
    }
    assert_int_equal(count_heard(ALERT_COVERAGE_LOW, ALERT_FIRING), 1);
    assert_int_equal(count_heard(ALERT_COVERAGE_LOW, ALERT_RESOLVED), 1);
    assert_says(1, "Over (no connection was seen for a day)");
    assert_int_equal(ruleset_groups(set), 0);
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

/* A rule that joins others is told the past that they know already. */
static void test_added_rule(void **state)
{
    struct ruleset *set = begin("rules:\n- {name: daily, kind: budget, usd: 400, period: day}\n");
    struct traffic t = {.calls = 10};
    struct alerting *old;
    struct buf saved;
    unsigned told;

    (void)state;
    run_mixed(set, 0, 600);
    buf_init(&saved, 16 << 20);
    assert_int_equal(ruleset_save(set, &saved), 0);
    ruleset_free(&set);
    old = TAKE_PTR(file);
    told = heard_count;
    set = begin("rules:\n- {name: daily, kind: budget, usd: 400, period: day}\n"
                "- {name: slo, kind: burn_rate, objective: 99}\n");
    assert_int_equal(ruleset_load(set, buf_slice(&saved)), 0);
    buf_fini(&saved);
    assert_true(ruleset_history_h(set) > 0);
    for (int i = 240; i < 600; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        tell_cell(set, &t, 1);
        assert_int_equal(ruleset_close(set, true, NULL, NULL), 0);
    }
    assert_int_equal(ruleset_groups(set), 2);
    assert_int_equal(ruleset_begin(set, START_S + 599 * 60), -EINVAL);
    run_mixed(set, 600, 10 * 1440);
    assert_true(told < TOLD_MAX && heard_count > 0);
    ruleset_free(&set);
    alerting_free(&old);
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
        cmocka_unit_test(test_burn_rate),    cmocka_unit_test(test_latency_burn_rate),
        cmocka_unit_test(test_budget),       cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_first_seen),   cmocka_unit_test(test_first_seen_goes_on),
        cmocka_unit_test(test_silent),       cmocka_unit_test(test_unpriced),
        cmocka_unit_test(test_coverage),     cmocka_unit_test(test_coverage_gone),
        cmocka_unit_test(test_retries),      cmocka_unit_test(test_restart),
        cmocka_unit_test(test_news_apart),   cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_changed_rule), cmocka_unit_test(test_recall),
        cmocka_unit_test(test_added_rule),   cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, end);
}
