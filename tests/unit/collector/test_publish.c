/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts on their way to NATS: what waits is counted whatever keeps it waiting, and what cannot go
 * keeps nothing else.
 *
 * LINK: @store collector/publish.c collector/publish_alert.c collector/hold.c
 * LINK: collector/cloudevent.c collector/notice.c
 */
#include "collector/publish.h"
#include "collector/hold.h"
#include "collector/publish_rollup.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

#include <errno.h>

#define ALERTS 130

/* --- a bus and roll-ups made up --- */

static bool is_connected, is_refusing, is_prefix_denied;
static const char *denied; /* subject that nobody may publish */
static unsigned published, rollup_turns, tries;
static uint64_t now_s;
static char told[64 * 1024]; /* "a1 a1.cloudevent a2 ..." */

bool bus_is_connected(const struct bus *b)
{
    (void)b;
    return is_connected;
}

const char *bus_error(const struct bus *b)
{
    (void)b;
    return "";
}

int bus_publish(struct bus *b, const char *subject, const char *id, struct slice data)
{
    size_t len = denied && is_prefix_denied ? strlen(denied) : SIZE_MAX;
    bool is_taken = !is_refusing && (!denied || strncmp(subject, denied, len) != 0);

    (void)b;
    (void)data;
    tries++;
    published += is_taken;
    if (is_taken)
        snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s ", id);
    return is_taken ? 0 : -ETIMEDOUT;
}

int publish_rollup_new(struct store *store, struct publish_rollup **ret_publish)
{
    (void)store;
    *ret_publish = NULL;
    return 0;
}

void publish_rollup_free(struct publish_rollup **publish)
{
    (void)publish;
}

void publish_rollup_note_taken(struct publish_rollup *p)
{
    (void)p;
}

int publish_rollup_turn(struct publish_rollup *p, struct bus *bus, int64_t closed_s,
                        uint64_t now_ns)
{
    (void)now_ns;
    (void)p;
    (void)bus;
    (void)closed_s;
    rollup_turns++;
    return 0;
}

unsigned publish_rollup_take_late(struct publish_rollup *p, int64_t *ret_from_s)
{
    (void)p;
    *ret_from_s = 0;
    return 0;
}

void publish_rollup_get_stats(const struct publish_rollup *p,
                              struct publish_rollup_stats *ret_stats)
{
    (void)p;
    *ret_stats = (struct publish_rollup_stats){0};
}

/* --- */

static struct bus *const some_bus = (struct bus *)&published;
static struct slice payload;

static void turn(struct publish *p, struct bus *bus)
{
    publish_turn(p, bus, 0, now_s * NSEC_PER_SEC);
}

static void add_alerts(struct store *s, const char *kind, int count)
{
    for (int i = 0; i < count; i++) {
        char id[64];

        snprintf(id, sizeof(id), "%s%d", kind, i);
        assert_int_equal(store_add_alert(s, &(struct store_alert){.id = id,
                                                                  .fingerprint = id,
                                                                  .org = "acme",
                                                                  .kind = kind,
                                                                  .status = 1,
                                                                  .payload = payload}),
                         0);
    }
}

static struct publish *begin(struct store **ret_store, const struct config *config)
{
    struct publish *p = NULL;

    published = rollup_turns = tries = 0;
    told[0] = '\0';
    now_s = 1000;
    denied = NULL;
    is_prefix_denied = false;
    payload = slice_str("?");
    is_connected = true;
    is_refusing = false;
    assert_int_equal(store_open(stores_where, ret_store), 0);
    assert_int_equal(publish_new(config, *ret_store, &p), 0);
    return p;
}

static void test_pending(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = false}};
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    is_connected = false;
    add_alerts(s, "cost", ALERTS);
    turn(p, NULL);
    assert_int_equal(publish_pending(p), ALERTS);
    turn(p, some_bus);
    assert_int_equal(publish_pending(p), ALERTS);
    is_connected = is_refusing = true;
    turn(p, some_bus);
    assert_int_equal(publish_pending(p), ALERTS);
    is_refusing = false;
    now_s += 1;
    turn(p, some_bus);
    assert_int_equal(publish_pending(p), ALERTS - published);
    turn(p, some_bus);
    assert_int_equal(published, ALERTS);
    assert_int_equal(publish_pending(p), 0);
    publish_free(&p);
}

static void what_is_denied_is_in_nobodys_way(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    denied = "lectr.v1.alert.acme.cost";
    add_alerts(s, "cost", ALERTS);
    add_alerts(s, "errors", 3);
    for (int i = 0; i < 5; i++)
        turn(p, some_bus);
    assert_string_equal(told, "errors0 errors1 errors2 ");
    assert_int_equal(tries, 4);
    assert_int_equal(publish_pending(p), ALERTS);
    assert_int_equal(rollup_turns, 5);
    /* allowed at last: in order */
    denied = NULL;
    told[0] = '\0';
    now_s += 1;
    add_alerts(s, "cost+", 1);
    for (int i = 0; i < 5; i++)
        turn(p, some_bus);
    assert_memory_equal(told, "cost0 cost1 cost2 ", 18);
    assert_int_equal(publish_pending(p), 0);
    assert_int_equal(publish_given_up(p), 0);
    publish_free(&p);
}

/* Turns until `given_up`, with something else published between. */
static void turn_until(struct store *s, struct publish *p, uint64_t given_up)
{
    static unsigned number;

    for (unsigned i = 0; i < 100 && publish_given_up(p) < given_up; i++) {
        char kind[32];

        snprintf(kind, sizeof(kind), "other%u-", number++);
        add_alerts(s, kind, 1);
        now_s += HOLD_WAIT_MAX_S;
        for (int k = 0; k < 3; k++)
            turn(p, some_bus);
    }
    assert_true(publish_given_up(p) >= given_up);
}

static void what_stays_denied_is_given_up(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    denied = "lectr.v1.alert.acme.cost";
    add_alerts(s, "cost", ALERTS);
    turn_until(s, p, 1);
    assert_true(publish_pending(p) > 0);
    turn_until(s, p, ALERTS);
    turn(p, some_bus);
    assert_int_equal(publish_given_up(p), ALERTS);
    assert_int_equal(publish_pending(p), 0);
    assert_null(strstr(told, "cost"));
    publish_free(&p);
    /* The next process leaves them. */
    assert_int_equal(publish_new(&config, s, &p), 0);
    denied = NULL;
    turn(p, some_bus);
    assert_null(strstr(told, "cost"));
    publish_free(&p);
}

static void nothing_is_given_up_while_nats_is_away(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    add_alerts(s, "cost", 2);
    add_alerts(s, "errors", 1);
    is_refusing = true;
    for (int i = 0; i < 500; i++, now_s += HOLD_AWAY_MAX_S)
        turn(p, some_bus);
    is_refusing = false;
    for (int i = 0; i < 5; i++)
        turn(p, some_bus);
    assert_int_equal(publish_given_up(p), 0);
    assert_int_equal(published, 3);
    publish_free(&p);
}

static void what_has_no_subject_is_given_up(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    char kind[SUBJECT_NAME_BYTES + 2];
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    memset(kind, 'k', sizeof(kind) - 1);
    kind[sizeof(kind) - 1] = '\0';
    assert_int_equal(store_add_alert(s, &(struct store_alert){.id = "1",
                                                              .fingerprint = "1",
                                                              .org = "acme",
                                                              .kind = kind,
                                                              .status = 1,
                                                              .payload = payload}),
                     0);
    add_alerts(s, "cost", 1);
    turn(p, some_bus);
    turn(p, some_bus);
    assert_string_equal(told, "cost0 ");
    assert_int_equal(publish_given_up(p), 1);
    assert_int_equal(publish_pending(p), 0);
    publish_free(&p);
}

/* Its message is not told again, and the next alerts do not wait for it. */
static void a_cloudevent_that_fails_is_tried_alone(void **state)
{
    Lectr__V1__Alert alert = LECTR__V1__ALERT__INIT;
    uint8_t packed[256];
    size_t bytes = 0;
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    alert.id = (char[]){"11111111-1111-8111-8111-111111111111"};
    assert_int_equal(event_pack(&alert.base, packed, sizeof(packed), &bytes), 0);
    payload = slice_of(packed, bytes);
    denied = "lectr.v1.cloudevent.acme.cost";
    add_alerts(s, "cost", 2);
    for (int i = 0; i < 3; i++)
        turn(p, some_bus);
    assert_string_equal(told, "cost0 cost1 ");
    assert_int_equal(publish_pending(p), 2);
    denied = NULL;
    now_s += 1;
    for (int i = 0; i < 3; i++)
        turn(p, some_bus);
    assert_string_equal(told, "cost0 cost1 cost0.cloudevent cost1.cloudevent ");
    assert_int_equal(publish_pending(p), 0);
    publish_free(&p);
}

/* More of them than are remembered: the rest goes without, and in nobody's way. */
static void many_cloudevents_that_fail_are_bounded(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    Lectr__V1__Alert alert = LECTR__V1__ALERT__INIT;
    uint8_t packed[256];
    size_t bytes = 0;
    struct publish *p;

    (void)state;
    STORES_NEEDED();
    p = begin(&s, &config);
    alert.id = (char[]){"11111111-1111-8111-8111-111111111111"};
    assert_int_equal(event_pack(&alert.base, packed, sizeof(packed), &bytes), 0);
    payload = slice_of(packed, bytes);
    for (int i = 0; i < 3; i++) {
        char kind[] = {'k', (char)('0' + i), '\0'};

        add_alerts(s, kind, 100);
    }
    denied = "lectr.v1.cloudevent.acme.k";
    is_prefix_denied = true;
    for (int i = 0; i < 20; i++)
        turn(p, some_bus);
    assert_int_equal(published, 300);
    assert_int_equal(publish_pending(p), 256);
    assert_int_equal(publish_given_up(p), 44);
    add_alerts(s, "k3", 2);
    for (int i = 0; i < 5; i++)
        turn(p, some_bus);
    assert_int_equal(publish_given_up(p), 46);
    is_prefix_denied = false;
    denied = NULL;
    add_alerts(s, "k3+", 1);
    for (int i = 0; i < 20; i++, now_s += HOLD_RETRY_S)
        turn(p, some_bus);
    assert_int_equal(publish_pending(p), 0);
    add_alerts(s, "k3", 4); /* two of them are there */
    for (int i = 0; i < 5; i++)
        turn(p, some_bus);
    assert_int_equal(publish_pending(p), 0);
    assert_non_null(strstr(told, "k33.cloudevent"));
    publish_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_pending, stores_empty),
        cmocka_unit_test_teardown(what_is_denied_is_in_nobodys_way, stores_empty),
        cmocka_unit_test_teardown(what_stays_denied_is_given_up, stores_empty),
        cmocka_unit_test_teardown(nothing_is_given_up_while_nats_is_away, stores_empty),
        cmocka_unit_test_teardown(what_has_no_subject_is_given_up, stores_empty),
        cmocka_unit_test_teardown(a_cloudevent_that_fails_is_tried_alone, stores_empty),
        cmocka_unit_test_teardown(many_cloudevents_that_fail_are_bounded, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
