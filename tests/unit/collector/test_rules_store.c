/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules of the file keep in the store.
 *
 * LINK: @store collector/rules_store.c collector/store_rules.c collector/silence.c
 * LINK: collector/ruleset.c collector/ruleset_feed.c collector/ruleset_judge.c
 * LINK: collector/ruleset_alert.c collector/ruleset_save.c collector/burn.c
 * LINK: collector/budget.c collector/quiet.c collector/share.c collector/ruling.c
 * LINK: collector/alert.c collector/alerting.c collector/alerting_schema.c
 * LINK: collector/alerting_check.c collector/places.c collector/yamlread.c collector/when.c
 * LINK: collector/sightings.c
 */
#include "collector/rules_store.h"
#include "collector/sightings.h"
#include "collector/store_prune.h"
#include "collector/store_query.h"
#include "collector/store_rules.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define NOON_S INT64_C(1767268800)

/* --- values ever seen --- */

static struct record call_of(const char *model, const char *key)
{
    struct record rec = {.kind = RECORD_CALL,
                         .org = "acme",
                         .feature = "chat",
                         .provider = "openai",
                         .region = "eu",
                         .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC};

    snprintf(rec.model, sizeof(rec.model), "%s", model);
    snprintf(rec.key_fingerprint, sizeof(rec.key_fingerprint), "%s", key);
    return rec;
}

static int count_news(void *ctx, const struct sighting *s)
{
    unsigned *counts = ctx;

    counts[s->dimension]++;
    assert_string_equal(s->org, "acme");
    assert_int_equal(s->first_s, NOON_S);
    return 0;
}

/* A value is news until its batch is committed, and in the batch that comes again. */
static void test_sightings(void **state)
{
    struct sightings *s = NULL;
    struct record first = call_of("gpt-4o", "k1"), second = call_of("gpt-5", "k1");
    struct record other = call_of("(other)", "");

    (void)state;
    assert_int_equal(sightings_new(7, &s), 0);
    assert_int_equal(sightings_learn(s, "acme", ALERTING_DIM_REGION, "eu"), 0);
    for (int i = 0; i < 2; i++) {
        unsigned counts[ALERTING_DIM__COUNT] = {0};

        sightings_begin(s);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(sightings_take(s, &first), 0);
            assert_int_equal(sightings_take(s, &second), 0);
            assert_int_equal(sightings_take(s, &other), 0);
        }
        assert_int_equal(sightings_each(s, count_news, counts), 0);
        assert_int_equal(counts[ALERTING_DIM_MODEL], 2);
        assert_int_equal(counts[ALERTING_DIM_PROVIDER], 1);
        assert_int_equal(counts[ALERTING_DIM_KEY], 1);
        assert_int_equal(counts[ALERTING_DIM_FEATURE], 1);
        assert_int_equal(counts[ALERTING_DIM_REGION], 0);
    }
    sightings_commit(s);
    for (int i = 0; i < 2; i++) {
        unsigned counts[ALERTING_DIM__COUNT] = {0};

        sightings_begin(s);
        assert_int_equal(sightings_take(s, &first), 0);
        assert_int_equal(sightings_take(s, &second), 0);
        assert_int_equal(sightings_each(s, count_news, counts), 0);
        for (int d = 0; d < ALERTING_DIM__COUNT; d++)
            assert_int_equal(counts[d], 0);
    }
    sightings_free(&s);
}

/* Whoever makes up names does not get more than his share of memory. */
static void test_sightings_are_bounded(void **state)
{
    struct sightings *s = NULL;
    unsigned total = 0;

    (void)state;
    assert_int_equal(sightings_new(7, &s), 0);
    for (int i = 0; i < 2 * SIGHTINGS_VALUES_MAX; i++) {
        struct record rec;
        unsigned counts[ALERTING_DIM__COUNT] = {0};
        char key[32];

        snprintf(key, sizeof(key), "key-%d", i);
        rec = call_of("m", key);
        sightings_begin(s);
        assert_int_equal(sightings_take(s, &rec), 0);
        assert_int_equal(sightings_each(s, count_news, counts), 0);
        total += counts[ALERTING_DIM_KEY];
        sightings_commit(s);
    }
    assert_int_equal(total, SIGHTINGS_VALUES_MAX);
    sightings_free(&s);
}

static void add_seen(struct store *s, int dimension, const char *value, int64_t first_s)
{
    struct store_seen seen = {.org = "acme",
                              .dimension = dimension,
                              .value = value,
                              .first_s = first_s,
                              .feature = "chat",
                              .provider = "p",
                              .model = "m"};

    assert_int_equal(store_add_seen(s, &seen), 0);
}

static struct alerting *parse(const char *text)
{
    struct alerting_error error = {.text = ""};
    struct alerting *a = NULL;

    if (alerting_parse("a.yaml", slice_str(text), &a, &error) < 0)
        fail_msg("%s", error.text);
    return a;
}

static int hear(void *ctx, const struct alert *a)
{
    char *reason = ctx;

    alert_reason(a, reason, 600);
    return 0;
}

/* The first day's are none; later ones are told once, whoever saw them. */
static void test_news(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    CLEAN_ALERTING struct alerting *file =
        parse("rules: [{name: new, kind: first_seen, dimension: model, match: {feature: chat}}]");
    struct ruleset *set = NULL;
    char reason[600] = "";
    unsigned count = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(ruleset_new(file, NULL, NULL, &set), 0);
    assert_int_equal(store_begin(s), 0);
    add_seen(s, ALERTING_DIM_MODEL, "old", NOON_S);
    add_seen(s, ALERTING_DIM_MODEL, "of the first day", NOON_S + 86399);
    add_seen(s, ALERTING_DIM_MODEL, "new", NOON_S + 86400);
    add_seen(s, ALERTING_DIM_MODEL, "new", NOON_S + 50);
    add_seen(s, ALERTING_DIM_KEY, "new", NOON_S + 86400);
    add_seen(s, ALERTING_DIM_MODEL, "tomorrow's", NOON_S + 2 * 86400);
    assert_int_equal(store_commit(s), 0);
    for (int i = 0; i < 2; i++) {
        int64_t minute_s = NOON_S + 86400 + i * 60;

        reason[0] = '\0';
        assert_int_equal(store_begin(s), 0);
        assert_int_equal(rules_tell_minute(s, set, minute_s), 0);
        assert_int_equal(rules_tell_news(s, set, minute_s, &count), 0);
        assert_int_equal(ruleset_close(set, false, hear, reason), 0);
        assert_int_equal(store_commit(s), 0);
        assert_int_equal(count, i == 0 ? 4 : 0);
        assert_int_equal(strstr(reason, "1 model never seen before: new.") != NULL, i == 0);
    }
    ruleset_free(&set);
}

/* --- silences --- */

static int print_silence(void *ctx, const struct store_silence *s)
{
    char *text = ctx;
    size_t len = strlen(text);

    snprintf(text + len, 200 - len, "%s %s%s %lld;", s->id, s->feature,
             s->is_planned ? " planned" : "", (long long)(s->until_s - NOON_S));
    return 0;
}

static void add_silence(struct store *s, const char *id, const char *feature, int64_t until_s)
{
    struct store_silence silence = {.id = id,
                                    .org = "",
                                    .feature = feature,
                                    .provider = "",
                                    .model = "",
                                    .severity = "",
                                    .rule = "",
                                    .from_s = NOON_S,
                                    .until_s = until_s,
                                    .is_planned = id[0] == 'p',
                                    .comment = "why"};

    assert_int_equal(store_add_silence(s, &silence), 0);
}

static void test_silences_are_kept(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    char text[200] = "";
    uint64_t rows = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_begin(s), 0);
    add_silence(s, "a", "chat", NOON_S + 100);
    add_silence(s, "p", "search", NOON_S + 200);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_each_silence(s, NOON_S + 50, print_silence, text), 0);
    assert_string_equal(text, "p search planned 200;a chat 100;");
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_end_silence(s, "p", NOON_S + 60), 0);
    assert_int_equal(store_end_silence(s, "p", NOON_S + 70), -ENOENT);
    assert_int_equal(store_end_silence(s, "x", NOON_S + 70), -ENOENT);
    assert_int_equal(store_commit(s), 0);
    text[0] = '\0';
    assert_int_equal(store_each_silence(s, NOON_S + 50, print_silence, text), 0);
    assert_string_equal(text, "a chat 100;p search planned 60;");
    assert_int_equal(
        store_prune_some(s, &(struct store_keep){.alerts_from_s = NOON_S + 90}, 10, &rows), 0);
    assert_int_equal(rows, 1);
    text[0] = '\0';
    assert_int_equal(store_each_silence(s, 0, print_silence, text), 0);
    assert_string_equal(text, "a chat 100;");
}

static void test_silences_cover(void **state)
{
    struct silences *list = NULL;
    struct alerting_silence all = {.from_s = 100, .until_s = 200};
    struct alerting_silence chat = {
        .match = {.feature = (char[]){"chat"}}, .from_s = 100, .until_s = 150, .planned = true};
    struct alerting_silence rule = {
        .match = {.rule = (char[]){"cost.*"}}, .from_s = 0, .until_s = 1000, .planned = true};
    struct alerting_scope s = {.feature = "chat", .rule = "errors.rate"};
    bool is_planned = false;

    (void)state;
    assert_int_equal(silences_new(&list), 0);
    assert_int_equal(silences_add(list, "all", &all), 0);
    assert_int_equal(silences_add(list, "chat", &chat), 0);
    assert_int_equal(silences_add(list, "rule", &rule), 0);
    assert_string_equal(silences_find(list, &s, 100, &is_planned), "chat");
    assert_true(is_planned);
    assert_string_equal(silences_find(list, &s, 150, &is_planned), "all");
    assert_false(is_planned);
    assert_null(silences_find(list, &s, 200, &is_planned));
    /* A silence about alerts says nothing of traffic. */
    assert_true(silences_is_planned(list, &s, 149));
    assert_false(silences_is_planned(list, &s, 150));
    s.rule = "cost.spike";
    assert_string_equal(silences_find(list, &s, 900, &is_planned), "rule");
    assert_false(silences_is_planned(list, &s, 900));
    silences_free(&list);
}

/* --- transitions --- */

static void add_alert_of(struct store *s, const char *feature, const char *silenced_by,
                         char ret_fingerprint[37])
{
    struct alert a = {.status = ALERT_FIRING,
                      .rule = ALERT_COST_SPIKE,
                      .org = "acme",
                      .provider = "p",
                      .model = "m",
                      .method = "x",
                      .confidence = "calibrated",
                      .unusual = -1,
                      .starts_s = NOON_S,
                      .detected_s = NOON_S + 60,
                      .window_start_s = NOON_S,
                      .window_end_s = NOON_S + 60};
    struct buf packed;

    snprintf(a.feature, sizeof(a.feature), "%s", feature);
    snprintf(a.silenced_by, sizeof(a.silenced_by), "%s", silenced_by);
    alert_name(&a);
    alert_number(&a);
    memcpy(ret_fingerprint, a.fingerprint, sizeof(a.fingerprint));
    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(alert_pack(&a, &packed), 0);
    assert_int_equal(store_add_alert(s, &(struct store_alert){.id = a.id,
                                                              .fingerprint = a.fingerprint,
                                                              .status = a.status,
                                                              .org = a.org,
                                                              .kind = "cost",
                                                              .payload = buf_slice(&packed)}),
                     0);
    buf_fini(&packed);
}

static void store_alert_of(struct store *s, const char *silenced_by, char ret_fingerprint[37])
{
    assert_int_equal(store_begin(s), 0);
    add_alert_of(s, "chat", silenced_by, ret_fingerprint);
    assert_int_equal(store_commit(s), 0);
}

struct last {
    unsigned count;
    int status;
    char silenced_by[64], feedback[16];
};

static int take_last(void *ctx, const struct store_alert *row)
{
    struct last *l = ctx;
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;

    if (l->count++)
        return 0;
    assert_int_equal(event_unpack(EVENT_ALERT, row->payload, &message), 0);
    m = (const Lectr__V1__Alert *)(const void *)message;
    l->status = row->status;
    snprintf(l->silenced_by, sizeof(l->silenced_by), "%s", m->silenced_by ? m->silenced_by : "");
    snprintf(l->feedback, sizeof(l->feedback), "%s", m->feedback ? m->feedback : "");
    return 0;
}

static struct last last_of(struct store *s)
{
    struct last l = {0};

    assert_int_equal(store_each_alert(s, 0, false, 100, take_last, &l), 0);
    return l;
}

/* What lasts longer than its silence is told, once. */
static void test_silence_ends(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct silences *list = NULL;
    struct alerting_silence chat = {
        .match = {.feature = (char[]){"chat"}}, .from_s = NOON_S, .until_s = NOON_S + 600};
    char fingerprint[37];
    bool has_silenced = false;
    struct last l;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(silences_new(&list), 0);
    assert_int_equal(silences_add(list, "chat", &chat), 0);
    store_alert_of(s, "chat", fingerprint);
    assert_int_equal(rules_end_silences(s, list, NOON_S + 599, &has_silenced), 0);
    assert_true(has_silenced);
    assert_int_equal(last_of(s).count, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rules_end_silences(s, list, NOON_S + 600 + i, &has_silenced), 0);
        l = last_of(s);
        assert_int_equal(l.count, 2);
        assert_int_equal(l.status, ALERT_UPDATED);
        assert_string_equal(l.silenced_by, "");
    }
    assert_false(has_silenced);
    silences_free(&list);
}

static int count_silenced(void *ctx, const struct store_alert *row)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;

    assert_int_equal(event_unpack(EVENT_ALERT, row->payload, &message), 0);
    m = (const Lectr__V1__Alert *)(const void *)message;
    *(unsigned *)ctx += m->silenced_by && m->silenced_by[0];
    return 0;
}

/* However many a silence holds back. */
static void test_silence_of_many_ends(void **state)
{
    enum { ALERTS = 10050 };
    CLEAN_STORE struct store *s = NULL;
    struct silences *list = NULL;
    char fingerprint[37], feature[32];
    unsigned silenced = 0;
    bool has_silenced = false;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(silences_new(&list), 0);
    assert_int_equal(store_begin(s), 0);
    for (unsigned i = 0; i < ALERTS; i++) {
        snprintf(feature, sizeof(feature), "f-%u", i);
        add_alert_of(s, feature, "chat", fingerprint);
    }
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(rules_end_silences(s, list, NOON_S + 600, &has_silenced), 0);
    assert_true(has_silenced);
    assert_int_equal(store_each_alert(s, 0, true, 2 * ALERTS, count_silenced, &silenced), 0);
    assert_int_equal(silenced, 0);
    silences_free(&list);
}

static void test_feedback(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    char fingerprint[37], verdict[16], text[200] = "";
    struct last l;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    store_alert_of(s, "", fingerprint);
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(rules_tell_feedback(s, "nobody", "true", NOON_S + 100), -ENOENT);
    assert_int_equal(rules_tell_feedback(s, fingerprint, "planned", NOON_S + 100), 0);
    assert_int_equal(store_put_feedback(s, fingerprint, "planned", NOON_S + 100), 0);
    assert_int_equal(store_commit(s), 0);
    l = last_of(s);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.feedback, "planned");
    assert_int_equal(store_get_feedback(s, fingerprint, verdict, sizeof(verdict)), 0);
    assert_string_equal(verdict, "planned");
    assert_int_equal(store_get_feedback(s, "nobody", verdict, sizeof(verdict)), 0);
    assert_string_equal(verdict, "");
    /* From its beginning on, for a day. */
    assert_int_equal(store_each_silence(s, 0, print_silence, text), 0);
    assert_non_null(strstr(text, "chat planned 86500;"));
    /* It is taken back, and given once more. */
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(rules_tell_feedback(s, fingerprint, "false", NOON_S + 200), 0);
    assert_int_equal(store_put_feedback(s, fingerprint, "false", NOON_S + 200), 0);
    assert_int_equal(store_commit(s), 0);
    text[0] = '\0';
    assert_int_equal(store_each_silence(s, NOON_S + 200, print_silence, text), 0);
    assert_null(strstr(text, "planned"));
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(rules_tell_feedback(s, fingerprint, "planned", NOON_S + 300), 0);
    assert_int_equal(store_put_feedback(s, fingerprint, "planned", NOON_S + 300), 0);
    assert_int_equal(store_commit(s), 0);
    text[0] = '\0';
    assert_int_equal(store_each_silence(s, NOON_S + 300, print_silence, text), 0);
    assert_non_null(strstr(text, "chat planned 86700;"));
}

/* What a person says of a silenced alert is no reason to tell receivers of it. */
static void test_feedback_of_silenced(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    char fingerprint[37];
    struct last l;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    store_alert_of(s, "chat", fingerprint);
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(rules_tell_feedback(s, fingerprint, "false", NOON_S + 100), 0);
    assert_int_equal(store_commit(s), 0);
    l = last_of(s);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.feedback, "false");
    assert_string_equal(l.silenced_by, "chat");
}

/* --- two connections --- */

struct person {
    struct store *store;
    const char *fingerprint, *verdict;
    int result;
    pthread_t thread;
    atomic_bool is_done;
};

static void *say(void *ctx)
{
    struct person *p = ctx;

    p->result = store_begin(p->store);
    if (p->result == 0)
        p->result = rules_tell_feedback(p->store, p->fingerprint, p->verdict, NOON_S + 100);
    if (p->result == 0)
        p->result = store_put_feedback(p->store, p->fingerprint, p->verdict, NOON_S + 100);
    if (p->result == 0)
        p->result = store_commit(p->store);
    if (p->result < 0)
        store_rollback(p->store);
    p->is_done = true;
    return NULL;
}

/* Returns when the person is through, or waits for another's transaction. */
static void begin_saying(struct person *p)
{
    PGconn *conn = PQconnectdb(stores_where);
    bool waits = false;

    assert_int_equal(pthread_create(&p->thread, NULL, say, p), 0);
    while (!p->is_done && !waits) {
        PGresult *result =
            PQexec(conn, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");

        waits = PQntuples(result) > 0;
        PQclear(result);
        usleep(1000);
    }
    PQfinish(conn);
}

static void end_saying(struct person *p)
{
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    assert_int_equal(p->result, 0);
}

static int copy_payload(void *ctx, const struct store_alert *row)
{
    return buf_append(ctx, row->payload);
}

/* What the judge writes of an alert that is over. */
static void resolve(struct store *s, const char *fingerprint)
{
    struct buf first, packed;
    char id[EVENT_UUID_BYTES];
    int64_t number;

    buf_init(&first, EVENT_MAX_BYTES);
    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(store_each_alert(s, 0, false, 1, copy_payload, &first), 0);
    assert_int_equal(
        alert_pack_resolved(buf_slice(&first), NOON_S + 100, "It is over.", &packed, id), 0);
    assert_int_equal(store_add_alert(s, &(struct store_alert){.id = id,
                                                              .fingerprint = fingerprint,
                                                              .status = ALERT_RESOLVED,
                                                              .org = "acme",
                                                              .kind = "cost",
                                                              .payload = buf_slice(&packed)}),
                     0);
    /* Writes are not waited for, readings are. */
    assert_int_equal(store_number_get(s, "x", &number), 0);
    buf_fini(&first);
    buf_fini(&packed);
}

/* What a person says while the judge ends the episode does not begin it anew. */
static void test_feedback_beside_the_judge(void **state)
{
    CLEAN_STORE struct store *judge = NULL;
    CLEAN_STORE struct store *hand = NULL;
    struct person person = {.verdict = "true"};
    char fingerprint[37];
    struct last l;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &judge), 0);
    assert_int_equal(store_open(stores_where, &hand), 0);
    store_alert_of(judge, "", fingerprint);
    assert_int_equal(store_begin(judge), 0);
    resolve(judge, fingerprint);
    person.store = hand;
    person.fingerprint = fingerprint;
    begin_saying(&person);
    assert_int_equal(store_commit(judge), 0);
    end_saying(&person);
    l = last_of(judge);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.status, ALERT_RESOLVED);
    assert_string_equal(l.feedback, "true");
}

/* Of two who say different things at once the second knows what the first has said. */
static void test_feedback_of_two(void **state)
{
    CLEAN_STORE struct store *first = NULL;
    CLEAN_STORE struct store *second = NULL;
    struct person person = {.verdict = "false"};
    char fingerprint[37], text[200] = "";

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &first), 0);
    assert_int_equal(store_open(stores_where, &second), 0);
    store_alert_of(first, "", fingerprint);
    assert_int_equal(store_begin(first), 0);
    assert_int_equal(rules_tell_feedback(first, fingerprint, "planned", NOON_S + 90), 0);
    assert_int_equal(store_put_feedback(first, fingerprint, "planned", NOON_S + 90), 0);
    person.store = second;
    person.fingerprint = fingerprint;
    begin_saying(&person);
    assert_int_equal(store_commit(first), 0);
    end_saying(&person);
    assert_string_equal(last_of(first).feedback, "false");
    /* The silence of what was planned is over. */
    assert_int_equal(store_each_silence(first, NOON_S + 100, print_silence, text), 0);
    assert_string_equal(text, "");
}

static void test_rule_state(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct buf out;
    int64_t at_s = 1;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    buf_init(&out, 100);
    assert_int_equal(store_get_rule_state(s, "x", &at_s, &out), 0);
    assert_int_equal(at_s, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_begin(s), 0);
        assert_int_equal(store_put_rule_state(s, "x", NOON_S + i, slice_of("a\0b", 3)), 0);
        assert_int_equal(store_commit(s), 0);
    }
    assert_int_equal(store_get_rule_state(s, "x", &at_s, &out), 0);
    assert_int_equal(at_s, NOON_S + 1);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "a\0b", 3);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_news, stores_empty),
        cmocka_unit_test_teardown(test_silences_are_kept, stores_empty),
        cmocka_unit_test_teardown(test_silence_ends, stores_empty),
        cmocka_unit_test_teardown(test_silence_of_many_ends, stores_empty),
        cmocka_unit_test_teardown(test_feedback, stores_empty),
        cmocka_unit_test_teardown(test_feedback_of_silenced, stores_empty),
        cmocka_unit_test_teardown(test_rule_state, stores_empty),
    };
    const struct CMUnitTest shared[] = {
        cmocka_unit_test_teardown(test_feedback_beside_the_judge, stores_empty),
        cmocka_unit_test_teardown(test_feedback_of_two, stores_empty),
    };
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(test_sightings),
        cmocka_unit_test(test_sightings_are_bounded),
        cmocka_unit_test(test_silences_cover),
    };

    return cmocka_run_group_tests(pure, NULL, NULL) +
           cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres,
                                       stores_teardown) +
           cmocka_run_group_tests_name("Two of PostgreSQL", shared, stores_setup_postgres,
                                       stores_teardown);
}
