// SPDX-License-Identifier: Apache-2.0
/*
 * What receivers are sent, byte by byte and by hostile names.
 *
 * LINK: collector/notice.c collector/cloudevent.c collector/alertmanager.c
 * LINK: collector/slack.c collector/pagerduty.c collector/text.c
 * LINK: collector/alert.c collector/ruling.c collector/letter.c collector/sign.c
 */
#include "collector/alert.h"
#include "collector/alertmanager.h"
#include "collector/cloudevent.h"
#include "collector/letter.h"
#include "collector/pagerduty.h"
#include "collector/slack.h"
#include "proto/base/clock.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define START_NS (UINT64_C(1767268800) * NSEC_PER_SEC) /* 2026-01-01T12:00:00Z */
#define MIN_NS (60 * NSEC_PER_SEC)

#define SET(field, value) (s->alert.has_##field = true, s->alert.field = (value))

struct sample {
    Lectr__V1__Alert alert;
    Lectr__V1__Alert__Label label[3], *labels[3];
    uint32_t windows[2];
    Lectr__V1__Alert__Attribution part, *parts[1];
    char *related[1], *limits[1];
};

static void set_label(struct sample *s, int i, char *name, char *value)
{
    lectr__v1__alert__label__init(&s->label[i]);
    s->label[i].name = name;
    s->label[i].value = value;
    s->labels[i] = &s->label[i];
}

static void make(struct sample *s)
{
    memset(s, 0, sizeof(*s));
    lectr__v1__alert__init(&s->alert);
    set_label(s, 0, "feature", "chat");
    set_label(s, 1, "provider", "openai");
    set_label(s, 2, "model", "gpt-4o");
    s->alert.labels = s->labels;
    s->alert.n_labels = 3;
    s->alert.id = "11111111-1111-8111-8111-111111111111";
    s->alert.fingerprint = "22222222-2222-8222-8222-222222222222";
    SET(status, LECTR__V1__ALERT__STATUS__STATUS_FIRING);
    s->alert.severity = "warning";
    s->alert.rule = "cost.spike";
    s->alert.org = "acme";
    s->alert.metric = "cost_usd";
    s->alert.unit = "USD";
    SET(window_start_unix_nano, START_NS);
    SET(window_end_unix_nano, START_NS + 5 * MIN_NS);
    SET(observed, 12.4);
    SET(samples, 812);
    SET(baseline, 4.1);
    SET(baseline_lower, 3.1);
    SET(baseline_upper, 5.5);
    s->alert.baseline_method = "hour_of_week+local";
    SET(history_hours, 168.0);
    SET(baseline_samples, 160);
    SET(deviation_absolute, 8.3);
    SET(deviation_ratio, 3.02);
    SET(deviation_sigmas, 8.9);
    s->alert.direction = "up";
    s->alert.confidence = "calibrated";
    s->alert.reason = "Cost was $12.40, 3.0x the usual $4.10.";
    SET(starts_at_unix_nano, START_NS);
    SET(detected_at_unix_nano, START_NS + 4 * MIN_NS + 500 * NSEC_PER_MSEC);
    SET(return_period_weeks, 100.0);
    SET(beyond_seen, true);
    SET(tail_events_seen, 57);
    SET(min_detectable_ratio, 1.7);
    s->alert.level = "model";
    SET(samples_expected, 790.5);
    SET(baseline_band_pct, 96.0);
    SET(baseline_slot_samples, 3);
    s->alert.baseline_season = "weekly";
    SET(detection_delay_seconds, 240);
    SET(impact_excess_usd, 8.3);
    SET(impact_excess_usd_per_hour, 99.6);
    lectr__v1__alert__attribution__init(&s->part);
    s->part.dimension = "price";
    s->part.has_amount = s->part.has_share = true;
    s->part.amount = 8.1;
    s->part.share = 0.98;
    s->parts[0] = &s->part;
    s->alert.attribution = s->parts;
    s->alert.n_attribution = 1;
    s->related[0] = "33333333-3333-8333-8333-333333333333";
    s->alert.related = s->related;
    s->alert.n_related = 1;
    s->limits[0] = "only 3 prior samples of this hour of week";
    s->alert.limits = s->limits;
    s->alert.n_limits = 1;
    s->windows[0] = 300;
    s->windows[1] = 90;
    s->alert.windows_agreeing_seconds = s->windows;
    s->alert.n_windows_agreeing_seconds = 2;
}

static void resolve(struct sample *s)
{
    SET(status, LECTR__V1__ALERT__STATUS__STATUS_RESOLVED);
    SET(ends_at_unix_nano, START_NS + 60 * MIN_NS);
}

/* The text of `b`, which is emptied; the caller frees. */
static char *text_of(struct buf *b)
{
    char *text;

    assert_int_equal(buf_append(b, slice_of((const uint8_t *)"", 1)), 0);
    text = strdup((const char *)b->data);
    assert_non_null(text);
    buf_fini(b);
    return text;
}

static char *cloudevent(const struct sample *s)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(cloudevent_format(&s->alert, &b), 0);
    return text_of(&b);
}

static char *alertmanager(const struct sample *s, size_t count)
{
    struct notice n[2] = {
        {&s->alert, "https://lectr.example/alerts", "https://runbooks.example/lectr"},
        {&s->alert, "", ""},
    };
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(alertmanager_format(n, count, START_NS + 10 * MIN_NS, &b), 0);
    return text_of(&b);
}

static char *slack(const struct sample *s, const char *url)
{
    struct notice n = {&s->alert, url, ""};
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(slack_format(&n, &b), 0);
    return text_of(&b);
}

static char *pagerduty(const struct sample *s)
{
    struct notice n = {&s->alert, "https://lectr.example/alerts", "https://runbooks.example/lectr"};
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(pagerduty_format(&n, "key1", &b), 0);
    return text_of(&b);
}

static json_t *parsed(char *text)
{
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);

    if (!root)
        fail_msg("no JSON: %s in %s", error.text, text);
    free(text);
    return root;
}

/* "a/b/0/c" */
static const json_t *at(const json_t *root, const char *path)
{
    char copy[256], *save = NULL;

    snprintf(copy, sizeof(copy), "%s", path);
    for (char *key = strtok_r(copy, "/", &save); key; key = strtok_r(NULL, "/", &save)) {
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(key))
                                   : json_object_get(root, key);
        if (!root)
            fail_msg("no %s", path);
    }
    return root;
}

static void assert_text(const json_t *root, const char *path, const char *expected)
{
    const char *got = json_string_value(at(root, path));

    if (!got)
        fail_msg("%s is no text", path);
    assert_string_equal(got, expected);
}

static void cloudevent_is_the_envelope_and_the_data(void **state)
{
    static const char expected[] =
        "{\"specversion\":\"1.0\",\"id\":\"11111111-1111-8111-8111-111111111111\","
        "\"source\":\"/lectr/alert/acme\",\"type\":\"lectr.anomaly.v1.firing\","
        "\"subject\":\"22222222-2222-8222-8222-222222222222\","
        "\"time\":\"2026-01-01T12:04:00.5Z\",\"datacontenttype\":\"application/json\","
        "\"dataschema\":\"urn:lectr:anomaly:v1\",\"data\":{"
        "\"fingerprint\":\"22222222-2222-8222-8222-222222222222\",\"status\":\"firing\","
        "\"severity\":\"warning\",\"rule\":\"cost.spike\",\"rule_name\":null,\"level\":\"model\","
        "\"labels\":{\"metric\":\"cost_usd\",\"org\":\"acme\",\"feature\":\"chat\","
        "\"provider\":\"openai\",\"model\":\"gpt-4o\"},"
        "\"starts_at\":\"2026-01-01T12:00:00Z\",\"detected_at\":\"2026-01-01T12:04:00.5Z\","
        "\"ends_at\":null,\"detection_delay_s\":240.0,"
        "\"window\":{\"start\":\"2026-01-01T12:00:00Z\",\"end\":\"2026-01-01T12:05:00Z\","
        "\"seconds\":300},"
        "\"observed\":{\"value\":12.4,\"unit\":\"USD\",\"samples\":812,\"samples_expected\":790.5},"
        "\"baseline\":{\"value\":4.1,\"lower\":3.1,\"upper\":5.5,\"band_pct\":96.0,"
        "\"method\":\"hour_of_week+local\",\"samples\":160,\"slot_samples\":3,"
        "\"season\":\"weekly\",\"history_weeks\":1.0},"
        "\"deviation\":{\"absolute\":8.3,\"ratio\":3.02,\"sigmas\":8.9,\"direction\":\"up\"},"
        "\"evidence\":{\"return_period_weeks\":100.0,\"tail_events_seen\":57,"
        "\"beyond_seen\":true,\"min_detectable_ratio\":1.7,\"confidence\":\"calibrated\","
        "\"windows_agreeing\":[\"5m\",\"90s\"]},"
        "\"impact\":{\"excess_usd_so_far\":8.3,\"excess_usd_per_hour\":99.6,"
        "\"affected_series\":null},"
        "\"attribution\":[{\"dimension\":\"price\",\"value\":null,\"amount\":8.1,\"share\":0.98}],"
        "\"context\":{\"last_change\":null,\"last_change_at\":null,"
        "\"unusual_pattern_score\":null,\"feedback\":null,"
        "\"related\":[\"33333333-3333-8333-8333-333333333333\"]},"
        "\"reason\":\"Cost was $12.40, 3.0x the usual $4.10.\","
        "\"limits\":[\"only 3 prior samples of this hour of week\"],\"synthetic\":false}}";
    struct sample s;
    char *text;

    (void)state;
    make(&s);
    text = cloudevent(&s);
    assert_string_equal(text, expected);
    free(text);
}

static void what_is_not_known_is_null(void **state)
{
    struct sample s;
    json_t *root;

    (void)state;
    make(&s);
    s.alert.has_deviation_ratio = false;
    s.alert.observed = NAN;
    s.alert.reason = NULL;
    resolve(&s);
    root = parsed(cloudevent(&s));
    assert_text(root, "type", "lectr.anomaly.v1.resolved");
    assert_text(root, "data/ends_at", "2026-01-01T13:00:00Z");
    assert_true(json_is_null(at(root, "data/deviation/ratio")));
    assert_true(json_is_null(at(root, "data/observed/value")));
    assert_true(json_is_null(at(root, "data/reason")));
    json_decref(root);
}

/* What a rule of the file adds, and its name where two of them would be one otherwise. */
static void rules_of_the_file_are_told_apart(void **state)
{
    Lectr__V1__Alert__Budget budget = LECTR__V1__ALERT__BUDGET__INIT;
    Lectr__V1__Alert__BurnRate burn = LECTR__V1__ALERT__BURN_RATE__INIT;
    Lectr__V1__Alert__FirstSeen first = LECTR__V1__ALERT__FIRST_SEEN__INIT;
    char *values[] = {"gpt-5", "o9"};
    struct sample s;
    json_t *root;

    (void)state;
    make(&s);
    s.alert.rule_name = "monthly";
    budget.has_limit_usd = budget.has_from_unix_nano = true;
    budget.limit_usd = 5000;
    budget.from_unix_nano = START_NS;
    burn.has_long_burn = burn.has_long_calls = true;
    burn.long_burn = 14.5;
    burn.long_calls = 1000;
    first.values = values;
    first.n_values = 2;
    s.alert.budget = &budget;
    s.alert.burn_rate = &burn;
    s.alert.first_seen = &first;
    root = parsed(cloudevent(&s));
    assert_text(root, "data/rule_name", "monthly");
    assert_text(root, "data/budget/from", "2026-01-01T12:00:00Z");
    assert_true(json_real_value(at(root, "data/budget/limit_usd")) == 5000);
    assert_true(json_is_null(at(root, "data/budget/spent_usd")));
    assert_true(json_real_value(at(root, "data/burn_rate/long_burn")) == 14.5);
    assert_int_equal(json_integer_value(at(root, "data/burn_rate/long_calls")), 1000);
    assert_text(root, "data/first_seen/values/1", "o9");
    json_decref(root);
    root = parsed(alertmanager(&s, 1));
    assert_text(root, "0/labels/rule", "monthly");
    assert_text(root, "0/labels/alertname", "cost.spike");
    json_decref(root);
    root = parsed(slack(&s, ""));
    assert_non_null(strstr(json_string_value(at(root, "text")), "cost.spike (monthly):"));
    json_decref(root);
}

/* Nothing at all must not crash or make broken JSON. */
static void an_empty_alert_is_told(void **state)
{
    struct sample s = {0};

    (void)state;
    lectr__v1__alert__init(&s.alert);
    json_decref(parsed(cloudevent(&s)));
    json_decref(parsed(alertmanager(&s, 1)));
    json_decref(parsed(slack(&s, "")));
    json_decref(parsed(pagerduty(&s)));
}

static void alertmanager_labels_are_the_identity(void **state)
{
    static const char expected[] =
        "[{\"labels\":{\"feature\":\"chat\",\"provider\":\"openai\",\"model\":\"gpt-4o\","
        "\"alertname\":\"cost.spike\",\"org\":\"acme\",\"severity\":\"warning\"},"
        "\"annotations\":{"
        "\"summary\":\"cost.spike: feature=chat provider=openai model=gpt-4o\","
        "\"description\":\"Cost was $12.40, 3.0x the usual $4.10.\","
        "\"fingerprint\":\"22222222-2222-8222-8222-222222222222\",\"metric\":\"cost_usd\","
        "\"unit\":\"USD\",\"direction\":\"up\",\"confidence\":\"calibrated\","
        "\"baseline_method\":\"hour_of_week+local\",\"level\":\"model\","
        "\"runbook_url\":\"https://runbooks.example/lectr#cost-spike\","
        "\"observed\":\"12.4\",\"baseline\":\"4.1\",\"baseline_lower\":\"3.1\","
        "\"baseline_upper\":\"5.5\",\"deviation_absolute\":\"8.3\",\"deviation_ratio\":\"3.02\","
        "\"deviation_sigmas\":\"8.9\",\"samples\":\"812\",\"history_weeks\":\"1\","
        "\"return_period_weeks\":\"100\",\"impact_excess_usd\":\"8.3\","
        "\"impact_excess_usd_per_hour\":\"99.6\","
        "\"window\":\"2026-01-01T12:00:00Z/2026-01-01T12:05:00Z\"},"
        "\"startsAt\":\"2026-01-01T12:00:00Z\",\"endsAt\":\"2026-01-01T12:10:00Z\","
        "\"generatorURL\":\"https://lectr.example/alerts\"}]";
    struct sample s;
    json_t *firing, *over;
    char *text;

    (void)state;
    make(&s);
    text = alertmanager(&s, 1);
    assert_string_equal(text, expected);
    firing = parsed(text);
    resolve(&s);
    over = parsed(alertmanager(&s, 2));
    assert_int_equal(json_array_size(over), 2);
    assert_true(json_equal(at(firing, "0/labels"), at(over, "0/labels")));
    assert_text(over, "0/endsAt", "2026-01-01T13:00:00Z");
    assert_null(json_object_get(at(over, "1"), "generatorURL"));
    json_decref(firing);
    json_decref(over);
}

/* Names that a client chose: they stay text and cannot become anything else. */
static void hostile_names_stay_text(void **state)
{
    static char evil[] = "a\"}],\n\t\x01\\u0000 </script><!channel> & \xf0\x9f\x92\xa5";
    struct sample s;
    json_t *root;

    (void)state;
    make(&s);
    set_label(&s, 0, "feature", evil);
    set_label(&s, 1, "9 b\xc3\xa9-d", "x");
    set_label(&s, 2, "severity", "harmless");
    s.alert.reason = evil;
    root = parsed(cloudevent(&s));
    assert_text(root, "data/labels/feature", evil);
    assert_text(root, "data/reason", evil);
    json_decref(root);

    root = parsed(alertmanager(&s, 1));
    assert_text(root, "0/labels/feature", evil);
    assert_text(root, "0/labels/_9_b___d", "x");
    assert_text(root, "0/labels/severity", "warning");
    json_decref(root);

    root = parsed(slack(&s, ""));
    assert_text(root, "blocks/2/text/text",
                "a\"}],\n\t\x01\\u0000 &lt;/script&gt;&lt;!channel&gt; &amp; \xf0\x9f\x92\xa5");
    assert_null(strchr(json_string_value(at(root, "text")), '<'));
    json_decref(root);

    root = parsed(pagerduty(&s));
    assert_text(root, "payload/source", evil);
    json_decref(root);
}

static void long_texts_are_cut_between_characters(void **state)
{
    static char big[9001];
    struct sample s;
    json_t *root;
    size_t len;

    (void)state;
    for (size_t i = 0; i + 3 < sizeof(big); i += 3)
        memcpy(big + i, "\xe2\x82\xac", 3);
    make(&s);
    set_label(&s, 0, "feature", big);
    s.alert.reason = big;
    s.alert.fingerprint = big;
    root = parsed(pagerduty(&s));
    len = json_string_length(at(root, "payload/summary"));
    assert_true(len <= 1024 && len > 1020);
    len = json_string_length(at(root, "dedup_key"));
    assert_true(len <= 255 && len > 250);
    json_decref(root);
    root = parsed(slack(&s, ""));
    assert_true(json_string_length(at(root, "blocks/0/text/text")) <= 150);
    assert_true(json_string_length(at(root, "blocks/2/text/text")) <= 3000);
    json_decref(root);
}

/* What stands for a character counts with its whole length, and is there as a whole. */
static void slack_is_cut_after_it_was_escaped(void **state)
{
    static char big[9001];
    static const char *const ends[] = {"&amp;", "&lt;", "&gt;", "\xe2\x82\xac"};
    struct sample s;

    (void)state;
    make(&s);
    s.alert.reason = big;
    for (size_t shift = 0; shift < 12; shift++) {
        const char *text, *last = NULL;
        json_t *root;
        size_t len;

        memset(big, 'x', shift);
        for (size_t i = shift; i + 6 < sizeof(big); i += 6)
            memcpy(big + i, "&<>\xe2\x82\xac", 6);
        root = parsed(slack(&s, ""));
        text = json_string_value(at(root, "blocks/2/text/text"));
        len = strlen(text);
        assert_true(len <= 3000 && len > 2994);
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
            if (strcmp(text + len - strlen(ends[i]), ends[i]) == 0)
                last = ends[i];
        assert_non_null(last);
        json_decref(root);
    }
}

/* Nobody is called by a feature that has the name of a channel. */
static void slack_makes_no_mentions_of_names(void **state)
{
    static const char *const texts[] = {"blocks/1/fields/0", "blocks/1/fields/1",
                                        "blocks/1/fields/2", "blocks/1/fields/3", "blocks/2/text"};
    struct sample s;
    json_t *root;

    (void)state;
    make(&s);
    s.alert.reason = "@here: #general, see https://evil.example of <!channel>";
    root = parsed(slack(&s, ""));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_string_equal(json_string_value(json_object_get(at(root, texts[i]), "type")),
                            "mrkdwn");
        assert_true(json_is_true(json_object_get(at(root, texts[i]), "verbatim")));
    }
    assert_text(root, "blocks/2/text/text",
                "@here: #general, see https://evil.example of &lt;!channel&gt;");
    json_decref(root);
}

static void slack_has_header_fields_reason_and_link(void **state)
{
    struct sample s;
    json_t *root;

    (void)state;
    make(&s);
    root = parsed(slack(&s, "https://lectr.example/alerts"));
    assert_text(root, "blocks/0/type", "header");
    assert_text(root, "blocks/0/text/text",
                "[firing] cost.spike: feature=chat provider=openai model=gpt-4o");
    assert_text(root, "blocks/1/fields/0/text", "*Observed*\n12.4 USD");
    assert_text(root, "blocks/1/fields/1/text", "*Expected*\n4.1 USD (3.1 to 5.5)");
    assert_text(root, "blocks/1/fields/2/text", "*Deviation*\n3.02 x");
    assert_text(root, "blocks/2/text/text", "Cost was $12.40, 3.0x the usual $4.10.");
    assert_text(root, "blocks/3/elements/0/url", "https://lectr.example/alerts");
    json_decref(root);
    root = parsed(slack(&s, ""));
    assert_int_equal(json_array_size(at(root, "blocks")), 3);
    json_decref(root);
}

static void pagerduty_has_one_incident_an_episode(void **state)
{
    static const struct {
        char *severity;
        const char *told;
    } severities[] = {{"critical", "critical"}, {"warning", "warning"}, {"info", "info"},
                      {"error", "error"},       {"odd", "error"},       {NULL, "error"}};
    struct sample s;
    json_t *root;

    (void)state;
    make(&s);
    for (size_t i = 0; i < sizeof(severities) / sizeof(severities[0]); i++) {
        s.alert.severity = severities[i].severity;
        root = parsed(pagerduty(&s));
        assert_text(root, "payload/severity", severities[i].told);
        assert_text(root, "routing_key", "key1");
        assert_text(root, "event_action", "trigger");
        assert_text(root, "dedup_key", s.alert.fingerprint);
        assert_text(root, "payload/custom_details/rule", "cost.spike");
        assert_text(root, "payload/timestamp", "2026-01-01T12:00:00Z");
        assert_text(root, "links/0/href", "https://runbooks.example/lectr#cost-spike");
        json_decref(root);
    }
    resolve(&s);
    root = parsed(pagerduty(&s));
    assert_text(root, "event_action", "resolve");
    assert_text(root, "dedup_key", s.alert.fingerprint);
    assert_null(json_object_get(root, "payload"));
    json_decref(root);
}

static void times_have_the_digits_it_takes(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {START_NS + 1, "2026-01-01T12:00:00.000000001Z"},
        {START_NS + 120 * NSEC_PER_MSEC, "2026-01-01T12:00:00.12Z"},
    };
    char text[NOTICE_TIME_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        notice_time(cases[i].ns, text);
        assert_string_equal(text, cases[i].text);
    }
    notice_time(UINT64_MAX, text);
}

/* Where the links of alerts lead. */
static void every_rule_has_its_part_of_the_runbook(void **state)
{
    static char book[65536];
    FILE *f = fopen("collector/runbook.md", "re");

    (void)state;
    assert_non_null(f);
    assert_true(fread(book, 1, sizeof(book) - 1, f) > 0);
    fclose(f);
    for (int rule = 0; rule < ALERT_ANY__COUNT; rule++) {
        Lectr__V1__Alert a = LECTR__V1__ALERT__INIT;
        struct notice n = {.alert = &a, .runbook_url = "book"};
        char url[256], heading[300];

        a.rule = (char *)(uintptr_t)alert_rule_name((enum alert_rule)rule);
        notice_runbook(&n, url, sizeof(url));
        assert_memory_equal(url, "book#", 5);
        snprintf(heading, sizeof(heading), "\n## %s\n", url + 5);
        if (!strstr(book, heading))
            fail_msg("no part on %s", a.rule);
    }
}

/* A body beyond the buffer is refused, not cut. */
static void a_full_buffer_is_told(void **state)
{
    struct sample s;
    struct buf b;

    (void)state;
    make(&s);
    buf_init(&b, 100);
    assert_int_not_equal(cloudevent_format(&s.alert, &b), 0);
    buf_fini(&b);
}

/* An answer may repeat what it was sent. */
static void test_quoting(void **state)
{
    struct alerting_receiver to = {.type = ALERTING_WEBHOOK};

    (void)state;
    to.url = (char[]){"https://hooks.example/in"};
    assert_true(letter_may_quote(&to, "no such team"));
    assert_false(letter_may_quote(&to, "nothing at /in"));
    to.url = (char[]){"https://hooks.example/?key=s3cret"};
    assert_false(letter_may_quote(&to, "no such key: s3cret"));
    to.url = (char[]){"https://lectr:s3cret@hooks.example/in"};
    assert_false(letter_may_quote(&to, "not for Basic bGVjdHI6czNjcmV0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cloudevent_is_the_envelope_and_the_data),
        cmocka_unit_test(what_is_not_known_is_null),
        cmocka_unit_test(an_empty_alert_is_told),
        cmocka_unit_test(rules_of_the_file_are_told_apart),
        cmocka_unit_test(alertmanager_labels_are_the_identity),
        cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(slack_is_cut_after_it_was_escaped),
        cmocka_unit_test(slack_makes_no_mentions_of_names),
        cmocka_unit_test(slack_has_header_fields_reason_and_link),
        cmocka_unit_test(pagerduty_has_one_incident_an_episode),
        cmocka_unit_test(times_have_the_digits_it_takes),
        cmocka_unit_test(every_rule_has_its_part_of_the_runbook),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(test_quoting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
