/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/alerting.c collector/alerting_schema.c collector/alerting_check.c
 * collector/places.c collector/yamlread.c collector/when.c */
#include "collector/alerting.h"
#include "collector/when.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct alerting *parse(const char *text)
{
    struct alerting *a = NULL;
    struct alerting_error error = {.text = ""};

    if (alerting_parse("a.yaml", slice_str(text), &a, &error) < 0)
        fail_msg("%s", error.text);
    return a;
}

static void test_nothing_is_the_default(void **state)
{
    static const char *const texts[] = {"", "\n", "# only words\n", "{}\n", "rules: []\n"};
    struct alerting_error error = {.text = ""};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CLEAN_ALERTING struct alerting *a = parse(texts[i]);

        assert_int_equal(a->rules_count + a->silences_count + a->receivers_count + a->routes_count,
                         0);
        assert_int_equal(alerting_route(a, &(struct alerting_scope){.org = "o"}), 0);
    }
    CLEAN_ALERTING struct alerting *none = NULL;

    assert_int_equal(alerting_load(NULL, &none, &error), 0);
    assert_int_equal(none->rules_count, 0);
    assert_int_equal(alerting_load("/nonexistent/a.yaml", &none, &error), -EINVAL);
    assert_non_null(strstr(error.text, "/nonexistent/a.yaml"));
}

/* The file that is shipped is one. */
static void test_example(void **state)
{
    CLEAN_ALERTING struct alerting *a = NULL;
    struct alerting_error error = {.text = ""};

    (void)state;
    if (alerting_load("collector/alerting.yaml", &a, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(a->rules_count, 9);
    assert_int_equal(a->receivers_count, 0);
}

/* What a rule leaves out has the documented default. */
static void test_defaults_of_kinds(void **state)
{
    CLEAN_ALERTING struct alerting *a =
        parse("rules:\n"
              "- {name: slo, kind: burn_rate, objective: 99.5}\n"
              "- {name: slow, kind: burn_rate, objective: 95, latency_above_ms: 5000, by: []}\n"
              "- {name: month, kind: budget, usd: 5000, match: {feature: chat}}\n"
              "- {name: new, kind: first_seen, dimension: region}\n"
              "- {name: quiet, kind: silent, dimension: feature}\n"
              "- {name: free, kind: unpriced, enabled: false, severity: info}\n"
              "- {name: cover, kind: coverage}\n"
              "- {name: again, kind: retries, for_min: 3}\n");
    const struct alerting_rule *r = a->rules;

    (void)state;
    assert_int_equal(a->rules_count, 8);
    assert_true(r[0].enabled);
    assert_int_equal(r[0].severity, ALERTING_CRITICAL);
    assert_int_equal(r[0].by, ALERTING_BY_PROVIDER);
    assert_int_equal(r[0].burn.windows_count, 3);
    assert_int_equal(r[0].burn.windows[0].long_min, 60);
    assert_true(r[0].burn.windows[0].burn == 14.4);
    assert_int_equal(r[0].burn.windows[2].severity, ALERTING_WARNING);
    assert_int_equal(r[0].burn.period_d, 30);
    assert_int_equal(r[0].burn.except_count, 2);
    assert_string_equal(r[0].burn.except[0], "client_abort");
    assert_int_equal(r[0].calls_min, 20);
    assert_int_equal(r[0].burn.hits_min, 5);
    assert_int_equal(r[1].burn.latency_above_ms, 5000);
    assert_int_equal(r[1].burn.except_count, 0);
    assert_int_equal(r[1].by, 0);
    assert_int_equal(r[2].budget.period, ALERTING_MONTH);
    assert_int_equal(r[2].budget.thresholds_count, 3);
    assert_true(r[2].budget.thresholds[1] == 80);
    assert_true(r[2].budget.forecast);
    assert_string_equal(r[2].match.feature, "chat");
    assert_int_equal(r[3].dimension, ALERTING_DIM_REGION);
    assert_int_equal(r[3].warmup_h, 24);
    assert_int_equal(r[4].for_min, 60);
    assert_false(r[5].enabled);
    assert_int_equal(r[5].severity, ALERTING_INFO);
    assert_int_equal(r[5].by, ALERTING_BY_PROVIDER | ALERTING_BY_MODEL);
    assert_true(r[6].below == 0.9);
    assert_true(r[7].ratio == 0.3);
    assert_int_equal(r[7].for_min, 3);
}

static void test_receivers_and_routes(void **state)
{
    CLEAN_ALERTING struct alerting *a =
        parse("external_url: https://lectr.example\n"
              "receivers:\n"
              "- {name: am, type: alertmanager, url: 'http://am:9093'}\n"
              "- {name: pd, type: pagerduty, routing_key_file: /k, max_attempts: 3}\n"
              "- name: hook\n"
              "  type: webhook\n"
              "  url_file: /u\n"
              "  secret_file: /s\n"
              "  headers: [{name: X-Team, value: ai}, {name: Authorization, value_file: /t}]\n"
              "  send_resolved: false\n"
              "routes:\n"
              "- match: {severity: critical}\n"
              "  receivers: [pd]\n"
              "  continue: true\n"
              "- {match: {rule: 'cost.*', feature: 'chat*'}, receivers: [hook]}\n"
              "- {match: {org: test}, receivers: []}\n"
              "- {receivers: [am]}\n");
    struct alerting_scope s = {
        .org = "acme", .feature = "chat-eu", .severity = "warning", .rule = "cost.spike"};

    (void)state;
    assert_int_equal(a->receivers[0].max_attempts, 10);
    assert_int_equal(a->receivers[0].timeout_ms, 10000);
    assert_true(a->receivers[0].send_resolved);
    assert_int_equal(a->receivers[1].max_attempts, 3);
    assert_null(a->receivers[1].url);
    assert_false(a->receivers[2].send_resolved);
    assert_int_equal(a->receivers[2].headers_count, 2);
    assert_int_equal(alerting_route(a, &s), 1 << 2);
    s.severity = "critical";
    assert_int_equal(alerting_route(a, &s), 1 << 1 | 1 << 2);
    s.rule = "errors.rate";
    assert_int_equal(alerting_route(a, &s), 1 << 1 | 1 << 0);
    s.severity = "info";
    s.org = "test";
    assert_int_equal(alerting_route(a, &s), 0);
    s.org = "acme";
    assert_int_equal(alerting_route(a, &s), 1 << 0);
}

/* Receivers without a route hear everything. */
static void test_no_route(void **state)
{
    CLEAN_ALERTING struct alerting *a =
        parse("receivers:\n- {name: a, type: slack, url: 'https://a/'}\n"
              "- {name: b, type: slack, url: 'https://b/'}\n");

    (void)state;
    assert_int_equal(alerting_route(a, &(struct alerting_scope){.rule = "x"}), 3);
}

static void test_silences(void **state)
{
    CLEAN_ALERTING struct alerting *a = parse("silences:\n"
                                              "- match: {feature: chat, rule: errors-slo}\n"
                                              "  from: 2026-01-31T12:00:00+02:00\n"
                                              "  until: 2026-01-31T12:00:00Z\n"
                                              "  planned: true\n"
                                              "  comment: migration\n");
    struct alerting_scope s = {.feature = "chat", .rule = "errors.burn_rate", .name = "errors-slo"};

    (void)state;
    assert_int_equal(a->silences[0].from_s, 1769853600);
    assert_null(alerting_silenced(a, &s, 1769853599));
    assert_non_null(alerting_silenced(a, &s, 1769853600));
    assert_true(alerting_silenced(a, &s, 1769860799)->planned);
    assert_null(alerting_silenced(a, &s, 1769860800));
    s.feature = "search";
    assert_null(alerting_silenced(a, &s, 1769853600));
    s = (struct alerting_scope){.feature = "chat", .rule = "cost.spike"};
    assert_null(alerting_silenced(a, &s, 1769853600));
}

static void test_period_rule(void **state)
{
    CLEAN_ALERTING struct alerting *a =
        parse("rules:\n"
              "- {name: mute, kind: return_period, metric: cost, direction: down, enabled: false}\n"
              "- {name: chat, kind: return_period, metric: cost, match: {feature: chat},"
              " target_weeks: 10, ratio_min: 1.5}\n");
    struct alerting_scope chat = {.feature = "chat"}, other = {.feature = "search"};

    (void)state;
    assert_string_equal(alerting_period_rule(a, ALERTING_COST, true, &chat)->name, "mute");
    assert_false(alerting_period_rule(a, ALERTING_COST, true, &other)->enabled);
    assert_string_equal(alerting_period_rule(a, ALERTING_COST, false, &chat)->name, "chat");
    assert_true(alerting_period_rule(a, ALERTING_COST, false, &chat)->period.target_weeks == 10);
    assert_null(alerting_period_rule(a, ALERTING_COST, false, &other));
    assert_null(alerting_period_rule(a, ALERTING_CALLS, false, &chat));
}

/* A mistake is told with file, line and field. */
static const struct {
    const char *text, *told;
} mistakes[] = {
    {"rulez: []\n", "a.yaml:1: rulez: "},
    {"rules: [\n", "a.yaml:2: "},
    {"rules:\n- {name: a, kind: guess}\n", "a.yaml:2: rules[0].kind: "},
    {"rules:\n- name: a\n  kind: budget\n  usd: lots\n", "a.yaml:4: rules[0].usd: "},
    {"rules:\n- name: a\n  kind: budget\n", "a.yaml:2: rules[0].usd: "},
    {"rules:\n- name: a\n  kind: budget\n  usd: 1\n  ratio: 2\n", "a.yaml:5: rules[0].ratio: "},
    {"rules:\n- name: a\n  kind: budget\n  usd: .nan\n", "a.yaml:4: rules[0].usd: "},
    {"rules:\n- {kind: unpriced}\n", "a.yaml:2: rules[0].name: "},
    {"rules:\n- {name: a}\n", "a.yaml:2: rules[0].kind: "},
    {"rules:\n- {name: a, kind: unpriced}\n- {name: a, kind: unpriced}\n",
     "a.yaml:3: rules[1].name: "},
    {"rules:\n- name: a\n  kind: burn_rate\n  objective: 100\n", "a.yaml:4: rules[0].objective: "},
    {"rules:\n- name: a\n  kind: burn_rate\n  objective: 99\n  windows:\n"
     "  - {long_min: 5, short_min: 60, burn: 2}\n",
     "a.yaml:6: rules[0].windows[0]: "},
    {"rules:\n- name: a\n  kind: burn_rate\n  objective: 90\n  windows:\n"
     "  - {long_min: 60, short_min: 5, burn: 14.4}\n",
     "a.yaml:6: rules[0].windows[0]: burn: "},
    {"rules:\n- name: a\n  kind: burn_rate\n  objective: 99\n  error: [x]\n"
     "  latency_above_ms: 9\n",
     "a.yaml:6: rules[0].latency_above_ms: "},
    {"rules:\n- {name: a, kind: first_seen}\n", "rules[0].dimension: "},
    {"rules:\n- {name: a, kind: first_seen, dimension: moon}\n", "rules[0].dimension: "},
    {"rules:\n- {name: a, kind: silent, dimension: key}\n", "rules[0].dimension: "},
    {"rules:\n- {name: a, kind: coverage, match: {model: x}}\n", "rules[0].match: "},
    {"rules:\n- {name: a, kind: retries, ratio: 3}\n", "rules[0].ratio: "},
    {"rules:\n- {name: a, kind: budget, usd: 1, thresholds: [80, 50]}\n", "rules[0].thresholds: "},
    {"rules:\n- {name: a, kind: budget, usd: 1, utc_offset: Paris}\n", "rules[0].utc_offset: "},
    {"rules:\n- {name: a, kind: return_period}\n", "rules[0].metric: "},
    {"silences:\n- match: {feature: x}\n  from: yesterday\n", "a.yaml:3: silences[0].from: "},
    {"silences:\n- from: 2026-01-02T00:00:00Z\n  until: 2026-01-01T00:00:00Z\n",
     "a.yaml:3: silences[0].until: "},
    {"silences:\n- from: 2026-02-30T00:00:00Z\n", "a.yaml:2: silences[0].from: "},
    {"receivers:\n- {name: a, type: slack}\n", "receivers[0].url: "},
    {"receivers:\n- {name: a, url: 'http://x/'}\n", "receivers[0].type: "},
    {"receivers:\n- {name: a, type: slack, url: 'file:///etc/passwd'}\n", "receivers[0].url: "},
    {"receivers:\n- {name: a, type: pagerduty}\n", "receivers[0].routing_key_file: "},
    {"receivers:\n- name: a\n  type: webhook\n  url: 'http://x/'\n  headers:\n"
     "  - {name: A, value: b, value_file: c}\n",
     "a.yaml:6: receivers[0].headers[0]: "},
    {"rules:\n- {name: a, kind: budget, usd: 10k}\n", "a.yaml:2: rules[0].usd: "},
    {"rules:\n- {name: a, kind: budget, usd: '1,000'}\n", "a.yaml:2: rules[0].usd: "},
    {"rules:\n- {name: a, kind: budget, usd: nan}\n", "a.yaml:2: rules[0].usd: "},
    {"rules:\n- name: a\n  kind: unpriced\n  enabled: disabled\n", "a.yaml:4: rules[0].enabled: "},
    {"rules:\n- {name: a, kind: unpriced, calls_min: 010}\n", "a.yaml:2: rules[0].calls_min: "},
    {"rules:\n- {name: a, kind: budget, usd: 1, thresholds: [50, 80x]}\n",
     "a.yaml:2: rules[0].thresholds[1]: "},
    {"silences:\n- match: {severity: crit}\n", "a.yaml:2: silences[0].match.severity: "},
    {"routes:\n- match: {severity: page}\n  receivers: []\n",
     "a.yaml:2: routes[0].match.severity: "},
    {"routes:\n- receivers: [nobody]\n", "a.yaml:2: routes[0].receivers[0]: "},
    {"routes:\n- match: {severity: info}\n", "a.yaml:2: routes[0].receivers: "},
    {"routes:\n- match: {team: x}\n  receivers: []\n", "a.yaml:2: routes[0].match.team: "},
    {"rules: []\nrules: []\n", "a.yaml:2: rules: "},
    {"rules: &a []\nroutes: *a\n", "a.yaml:2: "},
    {"external_url: nowhere\n", "a.yaml:1: external_url: "},
    {"- a\n", "a.yaml:1: "},
    {"word\n", "a.yaml:1: "},
    {"{}\n---\n{}\n", "a.yaml:2: "},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct alerting *a = NULL;
        struct alerting_error error = {.text = ""};

        assert_int_equal(alerting_parse("a.yaml", slice_str(mistakes[i].text), &a, &error),
                         -EINVAL);
        assert_null(a);
        if (!strstr(error.text, mistakes[i].told))
            fail_msg("%zu: \"%s\" does not say \"%s\"", i, error.text, mistakes[i].told);
    }
}

static void test_glob(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"a*c", "abbc", true},
        {"a*c", "abbd", false},
        {"*b*", "abc", true},
        {"a**", "a", true},
        {"*aab", "aaaab", true},
        {"gpt-4*", "gpt-4o", true},
        {"gpt", "gpt-4o", false},
        {"a?", "ab", false},
        {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(alerting_glob(cases[i].pattern, cases[i].text), cases[i].matches);
    assert_true(alerting_glob(NULL, "x"));
    assert_true(alerting_glob("*", NULL));
}

static void test_when(void **state)
{
    static const char *const wrong[] = {
        "",  "2026-01-31",           "2026-01-31T12:00:00",       "2026-13-01T00:00:00Z",
        "x", "2026-02-29T00:00:00Z", "2026-01-31T24:00:00Z",      "2026-01-31T12:00:00+2",
        "1", "26-01-31T12:00:00Z",   "2026-01-31T12:00:00+02:00x"};
    int64_t s = 0, year;
    unsigned month, day;
    int32_t offset = 0;

    (void)state;
    assert_int_equal(when_parse("1970-01-01T00:00:00Z", &s), 0);
    assert_int_equal(s, 0);
    assert_int_equal(when_parse("2024-02-29t23:59:59.25-05:30", &s), 0);
    assert_int_equal(s, 1709270999);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(when_parse(wrong[i], &s), -EINVAL);
    for (int64_t d = 0; d < 400000; d += 13) {
        when_civil(d, &year, &month, &day);
        assert_int_equal(when_days(year, month, day), d);
    }
    assert_int_equal(when_duration("2h", &s), 0);
    assert_int_equal(s, 7200);
    assert_int_equal(when_duration("2", &s), -EINVAL);
    assert_int_equal(when_duration("0m", &s), -EINVAL);
    assert_int_equal(when_duration("99999d", &s), -EINVAL);
    assert_int_equal(when_duration("2hh", &s), -EINVAL);
    assert_int_equal(when_offset("-05:30", &offset), 0);
    assert_int_equal(offset, -330);
    assert_int_equal(when_offset("05:30", &offset), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_the_default),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_defaults_of_kinds),
        cmocka_unit_test(test_receivers_and_routes),
        cmocka_unit_test(test_no_route),
        cmocka_unit_test(test_silences),
        cmocka_unit_test(test_period_rule),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_when),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
