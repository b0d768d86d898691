// SPDX-License-Identifier: Apache-2.0
/*
 * Which series /metrics tells apart.
 *
 * LINK: collector/exposed.c
 */
#include "collector/exposed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct exposed *e;

static int make(void **state)
{
    (void)state;
    return exposed_new(3, &e);
}

static int drop(void **state)
{
    (void)state;
    exposed_free(&e);
    return 0;
}

static void offer(const char *org, const char *feature, uint64_t calls)
{
    const struct store_series_name name = {org, feature, "p", "m", "w"};
    struct rollup_cell cell = {.sums = {.calls = calls}};

    assert_int_equal(exposed_offer(e, &name, &cell), 0);
}

static void check(const char *org, const char *feature, const char *org_told,
                  const char *feature_told)
{
    const struct store_series_name name = {org, feature, "p", "m", "w"};
    struct store_series_name told = exposed_name(e, &name);

    assert_string_equal(told.org, org_told);
    assert_string_equal(told.feature, feature_told);
    assert_string_equal(told.model, strcmp(feature_told, EXPOSED_OTHER) == 0 ? EXPOSED_OTHER : "m");
}

static void the_busiest_are_told_apart(void **state)
{
    (void)state;
    exposed_begin(e);
    for (int i = 0; i < 3; i++)
        offer("a", "small", 2); /* of three days */
    offer("a", "big", 100);
    offer("a", "tiny", 1);
    offer("b", "mid", 50);
    offer("c", "least", 1);
    exposed_settle(e);
    assert_int_equal(exposed_shown(e), 3);
    assert_int_equal(exposed_folded(e), 2);
    check("a", "big", "a", "big");
    check("b", "mid", "b", "mid");
    check("a", "small", "a", "small");
    check("a", "tiny", "a", EXPOSED_OTHER);
    /* an organisation without a series of its own has no label of its own */
    check("c", "least", EXPOSED_OTHER, EXPOSED_OTHER);
}

/* A counter never goes back: neither by leaving nor by joining. */
static void who_is_in_stays_and_who_is_out_waits(void **state)
{
    (void)state;
    exposed_begin(e);
    offer("a", "one", 1);
    offer("a", "two", 2);
    exposed_settle(e);
    exposed_begin(e);
    offer("a", "one", 1);
    offer("a", "two", 2);
    offer("a", "loud", 1000);
    offer("a", "louder", 2000);
    exposed_settle(e);
    check("a", "one", "a", "one");
    check("a", "louder", "a", "louder");
    check("a", "loud", "a", EXPOSED_OTHER);
    exposed_begin(e);
    offer("a", "loud", 1000000);
    exposed_settle(e);
    check("a", "loud", "a", EXPOSED_OTHER);
    check("a", "one", "a", "one");
    assert_int_equal(exposed_shown(e), 3);
    assert_int_equal(exposed_folded(e), 1);
}

/* However many names clients make up. */
static void a_flood_has_a_bound(void **state)
{
    char feature[32];

    (void)state;
    for (int round = 0; round < 3; round++) {
        exposed_begin(e);
        for (int i = 0; i < 5000; i++) {
            snprintf(feature, sizeof(feature), "f%d-%d", round, i);
            offer("a", feature, 1);
        }
        exposed_settle(e);
        assert_int_equal(exposed_shown(e), 3);
    }
    assert_int_equal(exposed_folded(e), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_busiest_are_told_apart, make, drop),
        cmocka_unit_test_setup_teardown(who_is_in_stays_and_who_is_out_waits, make, drop),
        cmocka_unit_test_setup_teardown(a_flood_has_a_bound, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
