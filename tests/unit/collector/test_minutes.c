/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/minutes.c */
#include "collector/minutes.h"
#include "proto/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define S NSEC_PER_SEC
#define NOON UINT64_C(1767268800)

static struct minutes fresh(bool event_clock)
{
    return (struct minutes){.event_clock = event_clock, .lateness_ns = 2 * S, .idle_ns = 3 * S / 2};
}

static void test_nothing_known(void **state)
{
    struct minutes m = fresh(false);

    (void)state;
    assert_int_equal(minutes_due(&m, NOON * S), 0);
}

/* Event time closes a minute, two seconds after its end. */
static void test_event_time(void **state)
{
    struct minutes m = fresh(true);

    (void)state;
    assert_false(minutes_note(&m, (NOON + 61) * S, 5 * S));
    assert_int_equal(minutes_due(&m, 5 * S), NOON);
    assert_false(minutes_note(&m, (NOON + 62) * S, 5 * S));
    assert_int_equal(minutes_due(&m, 5 * S), NOON + 60);
    /* However late it is on the wall. */
    assert_int_equal(minutes_due(&m, (NOON + 9000) * S), NOON + 60);
}

/* A replay does not let the wall clock close what it has not told yet. */
static void test_replay_is_not_live(void **state)
{
    struct minutes m = fresh(false);
    const uint64_t wall = (NOON + 26 * 3600) * S;

    (void)state;
    minutes_note(&m, (NOON + 70) * S, wall);
    assert_int_equal(minutes_due(&m, wall + 100 * S), NOON + 60);
}

/* Traffic that is recent and stops: the wall clock goes on. */
static void test_idle(void **state)
{
    struct minutes m = fresh(false);
    const uint64_t wall = (NOON + 31) * S;

    (void)state;
    minutes_note(&m, (NOON + 30) * S, wall);
    assert_int_equal(minutes_due(&m, wall + S), NOON - 60 + 60);
    assert_int_equal(minutes_due(&m, (NOON + 61) * S), NOON);
    assert_int_equal(minutes_due(&m, (NOON + 62) * S), NOON + 60);
    assert_int_equal(minutes_due(&m, (NOON + 3600) * S), NOON + 3540);
}

/* One node's clock runs ahead: minutes are not closed before their time. */
static void test_clock_ahead(void **state)
{
    struct minutes m = fresh(false);
    const uint64_t wall = (NOON + 30) * S;

    (void)state;
    minutes_note(&m, (NOON + 7200) * S, wall);
    assert_int_equal(minutes_due(&m, wall), NOON);
}

static void test_late(void **state)
{
    struct minutes m = fresh(true);

    (void)state;
    minutes_note(&m, (NOON + 200) * S, 0);
    m.closed_s = NOON + 180;
    assert_true(minutes_note(&m, (NOON + 179) * S, 0));
    assert_false(minutes_note(&m, (NOON + 180) * S, 0));
    assert_int_equal(m.watermark_ns, (NOON + 200) * S);
}

static void test_resume(void **state)
{
    struct minutes m = fresh(false);

    (void)state;
    minutes_resume(&m, NOON, (NOON + 30) * S, (NOON + 40) * S);
    assert_true(m.is_live);
    assert_int_equal(minutes_due(&m, (NOON + 62) * S), NOON + 60);
    minutes_resume(&m, NOON, (NOON + 30) * S, (NOON + 86400) * S);
    assert_false(m.is_live);
    assert_int_equal(minutes_due(&m, (NOON + 86500) * S), NOON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_event_time),
        cmocka_unit_test(test_replay_is_not_live),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_clock_ahead),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_resume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
