/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/watchdog.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/watchdog.h"

#define MS 1000000ull
#define S (1000 * MS)
#define STALE (500 * MS)

/* Looks each 100 ms from `from` to `to`; the time of the first action that is
 * not nothing, 0: none. The proxy's heartbeat stands at `beat`, or is always
 * fresh when that is 0. */
static uint64_t look_until(struct watchdog *w, uint64_t beat, uint64_t from, uint64_t to,
                           enum watchdog_action *ret_action)
{
    for (uint64_t now = from; now <= to; now += 100 * MS) {
        *ret_action = watchdog_look(w, beat ? beat : now, STALE, now);
        if (*ret_action != WATCHDOG_NOTHING)
            return now;
    }
    return 0;
}

static struct watchdog ready_at(uint64_t now)
{
    struct watchdog w;

    watchdog_init(&w, 500);
    watchdog_started(&w, now);
    watchdog_ready(&w, now);
    return w;
}

static void starts_at_once_and_sheds_until_ready(void **state)
{
    struct watchdog w;

    (void)state;
    watchdog_init(&w, 500);
    assert_true(watchdog_sheds(&w));
    assert_int_equal(watchdog_look(&w, 0, STALE, S), WATCHDOG_START);
    watchdog_started(&w, S);
    assert_true(watchdog_sheds(&w));
    watchdog_ready(&w, 2 * S);
    assert_false(watchdog_sheds(&w));
}

static void a_stopped_one_sheds_at_once_and_is_killed_later(void **state)
{
    struct watchdog w = ready_at(S);
    enum watchdog_action action;
    uint64_t at;

    (void)state;
    watchdog_stopped(&w, true, 10 * S);
    assert_true(watchdog_sheds(&w));
    at = look_until(&w, 10 * S, 10 * S, 20 * S, &action);
    assert_int_equal(action, WATCHDOG_KILL);
    assert_true(at > 12 * S && at <= 12 * S + 200 * MS);
}

static void a_continued_one_serves_again(void **state)
{
    struct watchdog w = ready_at(S);
    enum watchdog_action action;

    (void)state;
    watchdog_stopped(&w, true, 10 * S);
    assert_int_equal(look_until(&w, 10 * S, 10 * S, 11 * S, &action), 0);
    watchdog_stopped(&w, false, 11 * S);
    assert_false(watchdog_sheds(&w));
    assert_int_equal(look_until(&w, 0, 11 * S + 100 * MS, 20 * S, &action), 0);
}

static void a_silent_one_is_killed(void **state)
{
    struct watchdog w = ready_at(S);
    enum watchdog_action action;
    uint64_t at;

    (void)state;
    at = look_until(&w, 10 * S, 10 * S, 20 * S, &action);
    assert_int_equal(action, WATCHDOG_KILL);
    assert_true(at > 12 * S && at < 13 * S);
}

/* After a pause of our own nothing is known of the proxy. */
static void our_own_pause_is_not_held_against_it(void **state)
{
    struct watchdog w = ready_at(S);

    (void)state;
    assert_int_equal(watchdog_look(&w, 10 * S, STALE, 10 * S), WATCHDOG_NOTHING);
    assert_int_equal(watchdog_look(&w, 10 * S, STALE, 60 * S), WATCHDOG_NOTHING);
    assert_int_equal(watchdog_look(&w, 60 * S, STALE, 60 * S + 100 * MS), WATCHDOG_NOTHING);
    assert_int_equal(w.amiss_since_ns, 0);
}

static void one_that_never_gets_ready(void **state)
{
    struct watchdog w;
    enum watchdog_action action;

    (void)state;
    watchdog_init(&w, 500);
    watchdog_started(&w, S);
    assert_true(look_until(&w, 0, S, 60 * S, &action) > 30 * S);
    assert_int_equal(action, WATCHDOG_KILL);
}

static void waits_longer_each_time_and_forgives(void **state)
{
    const uint64_t waits[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct watchdog w;
    uint64_t now = S;

    (void)state;
    watchdog_init(&w, 500);
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        watchdog_started(&w, now);
        watchdog_ended(&w, now);
        assert_int_equal(watchdog_look(&w, 0, STALE, now + waits[i] * MS - 1), WATCHDOG_NOTHING);
        now += waits[i] * MS;
        assert_int_equal(watchdog_look(&w, 0, STALE, now), WATCHDOG_START);
    }
    watchdog_started(&w, now);
    watchdog_ready(&w, now);
    now += 11 * S;
    watchdog_ended(&w, now);
    assert_int_equal(watchdog_look(&w, 0, STALE, now + 100 * MS), WATCHDOG_START);
}

static void draining(void **state)
{
    struct watchdog w = ready_at(S);
    enum watchdog_action action;

    (void)state;
    w.draining = true;
    assert_true(watchdog_sheds(&w));
    assert_int_equal(look_until(&w, 2 * S, 2 * S, 20 * S, &action), 0);
    watchdog_ended(&w, 20 * S);
    assert_int_equal(look_until(&w, 2 * S, 20 * S, 40 * S, &action), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_at_once_and_sheds_until_ready),
        cmocka_unit_test(a_stopped_one_sheds_at_once_and_is_killed_later),
        cmocka_unit_test(a_continued_one_serves_again),
        cmocka_unit_test(a_silent_one_is_killed),
        cmocka_unit_test(our_own_pause_is_not_held_against_it),
        cmocka_unit_test(one_that_never_gets_ready),
        cmocka_unit_test(waits_longer_each_time_and_forgives),
        cmocka_unit_test(draining),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
