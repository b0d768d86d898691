// SPDX-License-Identifier: Apache-2.0
/*
 * From alerts in the store to letters, and what becomes of them.
 *
 * LINK: collector/routing.c collector/retry.c collector/notice.c
 * LINK: collector/alerting.c collector/alerting_check.c collector/alerting_schema.c
 * LINK: collector/places.c collector/yamlread.c collector/when.c
 * LINK: @store
 */
#include "collector/retry.h"
#include "collector/routing.h"
#include "collector/store_deliver.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

enum {
    FIRING = LECTR__V1__ALERT__STATUS__STATUS_FIRING,
    UPDATED = LECTR__V1__ALERT__STATUS__STATUS_UPDATED,
    RESOLVED = LECTR__V1__ALERT__STATUS__STATUS_RESOLVED,
};

static struct store *store;
static struct alerting *alerting;

static const char receivers[] = "receivers:\n"
                                "  - {name: am, type: alertmanager, url: 'http://127.0.0.1:9'}\n"
                                "  - {name: hook, type: webhook, url: 'http://127.0.0.1:9/h',"
                                " send_updates: false}\n"
                                "  - {name: chat, type: slack, url: 'http://127.0.0.1:9/s',"
                                " send_resolved: false}\n";

static void read_rules(const char *rest)
{
    struct alerting_error error = {.text = ""};
    char text[4096];

    alerting_free(&alerting);
    snprintf(text, sizeof(text), "%s%s", receivers, rest);
    if (alerting_parse("test", slice_str(text), &alerting, &error) < 0)
        fail_msg("%s", error.text);
}

static int prepare(void **state)
{
    (void)state;
    if (!stores_where[0])
        return 0;
    assert_int_equal(store_open(stores_where, &store), 0);
    read_rules("");
    return 0;
}

static int clean(void **state)
{
    store_close(&store);
    alerting_free(&alerting);
    return stores_empty(state);
}

static char *silenced_by; /* of the next alerts */

/* A transition of the feature's episode. */
static void add(const char *feature, int status, const char *severity)
{
    static unsigned number;
    Lectr__V1__Alert__Label label = LECTR__V1__ALERT__LABEL__INIT, *labels = &label;
    Lectr__V1__Alert m = LECTR__V1__ALERT__INIT;
    char id[EVENT_UUID_BYTES], name[64], fingerprint[64];
    uint8_t packed[1024];
    size_t bytes = 0;
    struct store_alert row;

    snprintf(name, sizeof(name), "%u", number++);
    event_uuid_named(slice_str(name), id);
    snprintf(fingerprint, sizeof(fingerprint), "episode-%s", feature);
    label.name = (char[]){"feature"};
    label.value = (char *)(uintptr_t)feature;
    m.labels = &labels;
    m.n_labels = 1;
    m.id = id;
    m.severity = (char *)(uintptr_t)severity;
    m.silenced_by = silenced_by;
    m.rule = (char[]){"cost.spike"};
    assert_int_equal(event_pack(&m.base, packed, sizeof(packed), &bytes), 0);
    row = (struct store_alert){.id = id,
                               .fingerprint = fingerprint,
                               .status = status,
                               .org = "acme",
                               .kind = "cost",
                               .at_ns = 1767268800 * INT64_C(1000000000),
                               .payload = slice_of(packed, bytes)};
    assert_int_equal(store_add_alert(store, &row), 0);
}

static void route(unsigned expected)
{
    unsigned routed = 0;

    assert_int_equal(routing_turn(store, alerting, &routed), 0);
    assert_int_equal(routed, expected);
}

/* --- reading letters: "chat:firing cost:resolved" --- */

struct list {
    char text[512];
    int64_t ids[16];
    unsigned count, outdated;
};

static int take(void *ctx, const struct store_letter *l)
{
    static const char *const words[] = {"", "firing", "updated", "resolved"};
    struct list *list = ctx;
    size_t len = strlen(list->text);

    snprintf(list->text + len, sizeof(list->text) - len, "%s%s:%s", len ? " " : "",
             l->fingerprint + strlen("episode-"), words[l->status]);
    assert_true(l->payload.len > 0);
    list->ids[list->count++] = l->id;
    list->outdated += l->is_outdated;
    return 0;
}

static struct list due(const char *receiver, int64_t now_ms)
{
    struct list list = {.count = 0};

    assert_int_equal(store_each_due_letter(store, receiver, now_ms, 16, take, &list), 0);
    return list;
}

static void end_first(const char *receiver, const char *expected)
{
    struct list list = due(receiver, 1000);

    assert_string_equal(list.text, expected);
    assert_true(list.count > 0);
    assert_int_equal(store_end_letter(store, list.ids[0]), 0);
}

static int add_count(void *ctx, const struct store_letter_count *count)
{
    struct store_letter_count *sums = ctx;

    sums->pending += count->pending;
    sums->dead += count->dead;
    return 0;
}

static void assert_counts(uint64_t pending, uint64_t dead)
{
    struct store_letter_count sums = {.pending = 0};

    assert_int_equal(store_each_letter_count(store, add_count, &sums), 0);
    assert_int_equal(sums.pending, pending);
    assert_int_equal(sums.dead, dead);
}

/* --- routes --- */

static void an_alert_becomes_letters_once(void **state)
{
    (void)state;
    STORES_NEEDED();
    add("a", FIRING, "warning");
    route(1);
    route(0);
    assert_counts(3, 0);
    end_first("am", "a:firing");
    assert_string_equal(due("am", 1000).text, "");
    assert_string_equal(due("hook", 1000).text, "a:firing");
}

static void routes_choose_and_settings_leave_out(void **state)
{
    (void)state;
    STORES_NEEDED();
    read_rules("routes:\n"
               "  - {match: {severity: critical}, receivers: [am], continue: true}\n"
               "  - {match: {feature: a}, receivers: [hook]}\n"
               "  - {receivers: [chat]}\n");
    add("a", FIRING, "critical");
    add("a", UPDATED, "critical");
    add("b", FIRING, "warning");
    add("a", RESOLVED, "critical");
    add("b", RESOLVED, "warning");
    route(5);
    end_first("am", "a:firing");
    end_first("am", "a:updated");
    end_first("am", "a:resolved");
    end_first("hook", "a:firing"); /* send_updates: false */
    end_first("hook", "a:resolved");
    end_first("chat", "b:firing"); /* send_resolved: false */
    assert_counts(0, 0);
}

/* Who heard that it began hears that it ended, though the severity or a silence would
 * send it elsewhere by then; who did not hears nothing. */
static void the_end_follows_the_beginning(void **state)
{
    (void)state;
    STORES_NEEDED();
    read_rules("routes:\n"
               "  - {match: {severity: critical}, receivers: [am]}\n"
               "  - {receivers: [hook]}\n");
    add("a", FIRING, "critical");
    route(1);
    end_first("am", "a:firing");
    read_rules("routes:\n  - {receivers: [hook]}\n"
               "silences:\n"
               "  - {match: {feature: a}, from: 2020-01-01T00:00:00Z, until: 2030-01-01T00:00:00Z,"
               " comment: x}\n");
    add("a", UPDATED, "warning");
    add("b", FIRING, "warning");
    add("a", RESOLVED, "warning");
    route(3);
    assert_string_equal(due("am", 1000).text, "a:resolved");
    assert_string_equal(due("hook", 1000).text, "b:firing");
    assert_counts(2, 0);
}

/* Silenced at first: the next transition is its first word to the receiver. */
static void an_update_may_be_the_first_word(void **state)
{
    (void)state;
    STORES_NEEDED();
    read_rules("silences:\n"
               "  - {match: {feature: a}, from: 2020-01-01T00:00:00Z, until: 2030-01-01T00:00:00Z,"
               " comment: x}\n");
    add("a", FIRING, "warning");
    route(1);
    assert_counts(0, 0);
    read_rules("");
    add("a", UPDATED, "warning");
    add("a", UPDATED, "warning");
    route(2);
    end_first("hook", "a:updated");
    assert_string_equal(due("hook", 1000).text, "");
    end_first("am", "a:updated");
    end_first("am", "a:updated");
}

/* As it was found under a silence of the store, which this file does not know. */
static void what_was_silenced_when_it_was_found_is_not_told(void **state)
{
    (void)state;
    STORES_NEEDED();
    silenced_by = (char[]){"maintenance"};
    add("a", FIRING, "warning");
    silenced_by = NULL;
    add("a", RESOLVED, "warning");
    route(2);
    assert_counts(0, 0);
}

/* --- letters --- */

static void letters_of_an_episode_keep_their_order(void **state)
{
    struct list list;

    (void)state;
    STORES_NEEDED();
    add("a", FIRING, "warning");
    add("b", FIRING, "warning");
    add("a", RESOLVED, "warning");
    route(3);
    list = due("am", 1000);
    assert_string_equal(list.text, "a:firing b:firing");
    /* tried in vain: it waits, and what comes after it does */
    assert_int_equal(store_put_letter(store, list.ids[0], 1, 5000, false, "no"), 0);
    assert_string_equal(due("am", 1000).text, "b:firing");
    assert_string_equal(due("am", 5000).text, "a:firing b:firing");
    /* no other receiver waits for it */
    assert_string_equal(due("hook", 1000).text, "a:firing b:firing");
    /* dead: the next one may go */
    assert_int_equal(store_put_letter(store, list.ids[0], 2, 0, true, "no"), 0);
    assert_string_equal(due("am", 1000).text, "b:firing a:resolved");
}

static void a_clock_that_was_put_back_delays_nothing(void **state)
{
    struct list list;

    (void)state;
    STORES_NEEDED();
    add("a", FIRING, "warning");
    route(1);
    list = due("am", 0);
    assert_int_equal(
        store_put_letter(store, list.ids[0], 1, 10 * (int64_t)STORE_WAIT_MAX_MS, false, ""), 0);
    assert_string_equal(due("am", 8 * (int64_t)STORE_WAIT_MAX_MS).text, "a:firing");
    assert_string_equal(due("am", 9 * (int64_t)STORE_WAIT_MAX_MS).text, "");
}

static void dead_letters_can_be_tried_again(void **state)
{
    struct list list;
    uint64_t count = 0;

    (void)state;
    STORES_NEEDED();
    add("a", FIRING, "warning");
    add("b", FIRING, "warning");
    route(2);
    assert_int_equal(store_bury_letters(store, "hook", "gone"), 0);
    assert_counts(4, 2);
    list = (struct list){.count = 0};
    assert_int_equal(store_each_dead_letter(store, 10, take, &list), 0);
    assert_string_equal(list.text, "a:firing b:firing");
    assert_int_equal(store_revive_letters(store, NULL, list.ids[1], &count), 0);
    assert_int_equal(count, 1);
    assert_string_equal(due("hook", 1000).text, "b:firing");
    assert_int_equal(store_revive_letters(store, "am", 0, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(store_revive_letters(store, "hook", 0, &count), 0);
    assert_int_equal(count, 1);
    assert_counts(6, 0);
}

/* Tried again after its episode's end arrived: whoever keeps states must not be told. */
static void an_outdated_letter_is_known(void **state)
{
    struct list list;
    uint64_t count = 0;

    (void)state;
    STORES_NEEDED();
    add("a", FIRING, "warning");
    add("a", RESOLVED, "warning");
    route(2);
    list = due("am", 0);
    assert_int_equal(list.outdated, 0);
    assert_int_equal(store_put_letter(store, list.ids[0], 9, 0, true, "no"), 0);
    end_first("am", "a:resolved");
    assert_int_equal(store_revive_letters(store, NULL, 0, &count), 0);
    list = due("am", 1000);
    assert_string_equal(list.text, "a:firing");
    assert_int_equal(list.outdated, 1);
    /* not where the end waits still */
    assert_int_equal(due("hook", 1000).outdated, 0);
}

static void queues_have_a_bound(void **state)
{
    char feature[32];
    struct list list;
    uint64_t dropped = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_begin(store), 0);
    for (int i = 0; i < STORE_DEAD_MAX + 2; i++) {
        struct store_alert a = {.row = 100000 + i, .fingerprint = feature};

        snprintf(feature, sizeof(feature), "episode-%d", i);
        assert_int_equal(store_add_letter(store, "hook", &a), 0);
    }
    assert_int_equal(store_commit(store), 0);
    assert_int_equal(store_bury_letters(store, "hook", "x"), 0);
    add("last", FIRING, "warning");
    route(1);
    list = due("hook", 0);
    assert_int_equal(store_put_letter(store, list.ids[0], 1, 0, true, "x"), 0);
    assert_int_equal(store_trim_dead(store, "hook", &dropped), 0);
    assert_int_equal(dropped, 3);
    list = (struct list){.count = 0};
    assert_int_equal(store_each_dead_letter(store, 2, take, &list), 0);
    assert_string_equal(list.text, "last:firing"); /* the newest is among those that are kept */
}

/* What Alertmanager is told again: the newest transition of what it was told. */
struct active {
    char text[256];
    int64_t last;
};

static int take_active(void *ctx, const struct store_alert *a)
{
    struct active *active = ctx;
    size_t len = strlen(active->text);

    snprintf(active->text + len, sizeof(active->text) - len, "%s%s:%d", len ? " " : "",
             a->fingerprint + strlen("episode-"), a->status);
    active->last = a->row;
    return 0;
}

static void active_episodes_are_known(void **state)
{
    struct active active = {.last = 0};

    (void)state;
    STORES_NEEDED();
    add("a", FIRING, "warning");
    add("b", FIRING, "warning");
    add("c", FIRING, "warning");
    add("a", UPDATED, "warning");
    add("b", RESOLVED, "warning");
    route(5);
    assert_int_equal(store_each_told(store, "am", 0, 10, take_active, &active), 0);
    assert_string_equal(active.text, "c:1 a:2");
    active.text[0] = '\0';
    assert_int_equal(store_each_told(store, "am", active.last - 1, 10, take_active, &active), 0);
    assert_string_equal(active.text, "a:2");
}

/* --- when it is tried again --- */

static void answers_have_their_verdict(void **state)
{
    static const struct {
        unsigned status;
        enum retry_verdict verdict;
    } cases[] = {
        {200, RETRY_DELIVERED}, {202, RETRY_DELIVERED}, {204, RETRY_DELIVERED}, {301, RETRY_NEVER},
        {400, RETRY_NEVER},     {401, RETRY_NEVER},     {404, RETRY_NEVER},     {408, RETRY_LATER},
        {425, RETRY_LATER},     {429, RETRY_LATER},     {500, RETRY_LATER},     {503, RETRY_LATER},
        {0, RETRY_LATER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(retry_judge(cases[i].status), cases[i].verdict);
}

static void waits_double_up_to_a_bound(void **state)
{
    (void)state;
    for (uint32_t attempts = 1; attempts < 100; attempts++) {
        uint64_t full = attempts > 9 ? RETRY_MOST_MS : UINT64_C(1000) << (attempts - 1);

        assert_int_equal(retry_wait_ms(attempts, 0, 0), full / 2);
        for (uint32_t random = 1; random < 2000000000; random = random * 3 + 1) {
            uint64_t ms = retry_wait_ms(attempts, 0, random);

            assert_true(ms >= full / 2 && ms <= full);
        }
    }
    assert_true(retry_wait_ms(1, 120, 77) >= 120000);
    assert_true(retry_wait_ms(UINT32_MAX, 1, 77) <= RETRY_MOST_MS);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, prepare, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(an_alert_becomes_letters_once),
        WITH_STORE(routes_choose_and_settings_leave_out),
        WITH_STORE(the_end_follows_the_beginning),
        WITH_STORE(an_update_may_be_the_first_word),
        WITH_STORE(what_was_silenced_when_it_was_found_is_not_told),
        WITH_STORE(letters_of_an_episode_keep_their_order),
        WITH_STORE(a_clock_that_was_put_back_delays_nothing),
        WITH_STORE(dead_letters_can_be_tried_again),
        WITH_STORE(an_outdated_letter_is_known),
        WITH_STORE(queues_have_a_bound),
        WITH_STORE(active_episodes_are_known),
        cmocka_unit_test(answers_have_their_verdict),
        cmocka_unit_test(waits_double_up_to_a_bound),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
