/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts on their way to NATS: what waits is counted whatever keeps it waiting.
 *
 * LINK: @store collector/publish.c collector/cloudevent.c collector/notice.c
 */
#include "collector/publish.h"
#include "collector/publish_rollup.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

#include <errno.h>

#define ALERTS 130

/* --- a bus and roll-ups made up --- */

static bool is_connected, is_refusing;
static unsigned published;

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
    (void)b;
    (void)subject;
    (void)id;
    (void)data;
    published += !is_refusing;
    return is_refusing ? -EIO : 0;
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

int publish_rollup_turn(struct publish_rollup *p, struct bus *bus, int64_t closed_s)
{
    (void)p;
    (void)bus;
    (void)closed_s;
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

static void add_alerts(struct store *s)
{
    for (int i = 0; i < ALERTS; i++) {
        char id[16];

        snprintf(id, sizeof(id), "a%d", i);
        assert_int_equal(store_add_alert(s, &(struct store_alert){.id = id,
                                                                  .fingerprint = id,
                                                                  .org = "acme",
                                                                  .kind = "cost",
                                                                  .status = 1,
                                                                  .payload = slice_str("?")}),
                         0);
    }
}

static void test_pending(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = false}};
    struct publish *p = NULL;

    (void)state;
    STORES_NEEDED();
    published = 0;
    is_connected = is_refusing = false;
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(publish_new(&config, s, &p), 0);
    add_alerts(s);
    publish_turn(p, NULL, 0);
    assert_int_equal(publish_pending(p), ALERTS);
    publish_turn(p, some_bus, 0);
    assert_int_equal(publish_pending(p), ALERTS);
    is_connected = is_refusing = true;
    publish_turn(p, some_bus, 0);
    assert_int_equal(publish_pending(p), ALERTS);
    is_refusing = false;
    publish_turn(p, some_bus, 0);
    assert_int_equal(publish_pending(p), ALERTS - published);
    publish_turn(p, some_bus, 0);
    assert_int_equal(published, ALERTS);
    assert_int_equal(publish_pending(p), 0);
    publish_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_pending, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
