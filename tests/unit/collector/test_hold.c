/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/hold.c */
#include "collector/hold.h"
#include "proto/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct hold h;
static uint64_t now_s;

static int setup(void **state)
{
    (void)state;
    memset(&h, 0, sizeof(h));
    now_s = 1000;
    return 0;
}

static enum hold_verdict ask(const char *subject, int64_t number)
{
    return hold_ask(&h, subject, number, now_s * NSEC_PER_SEC);
}

static enum hold_verdict refuse(const char *subject, int64_t number)
{
    return hold_failed(&h, subject, number, now_s * NSEC_PER_SEC);
}

/* How long until the message may be tried again. */
static unsigned wait_for(const char *subject, int64_t number)
{
    unsigned waited = 0;

    while (ask(subject, number) == HOLD_WAIT && waited < 10000) {
        now_s++;
        waited++;
    }
    assert_int_equal(ask(subject, number), HOLD_GO);
    assert_int_equal(hold_next(&h, now_s * NSEC_PER_SEC), number);
    return waited;
}

static void only_the_same_subject_waits(void **state)
{
    (void)state;
    assert_int_equal(ask("a", 1), HOLD_GO);
    assert_int_equal(refuse("a", 1), HOLD_WAIT);
    assert_int_equal(ask("a", 1), HOLD_WAIT);
    assert_int_equal(ask("b", 2), HOLD_GO);
    hold_taken(&h, "b");
    assert_int_equal(wait_for("a", 1), 1);
    assert_int_equal(ask("a", 3), HOLD_WAIT); /* not before the first one */
    hold_taken(&h, "a");
    assert_int_equal(ask("a", 3), HOLD_GO);
    assert_int_equal(h.count, 0);
}

static void waits_double_and_it_is_given_up(void **state)
{
    static const unsigned waits[HOLD_TRIES] = {1, 10, 10, 10, 16, 32, 64, 128, 256, 300};

    (void)state;
    assert_int_equal(refuse("a", 1), HOLD_WAIT);
    for (unsigned i = 0; i < HOLD_TRIES; i++) {
        assert_int_equal(wait_for("a", 1), waits[i]);
        hold_taken(&h, "b");
        assert_int_equal(refuse("a", 1), i < HOLD_TRIES - 1 ? HOLD_WAIT : HOLD_GIVE_UP);
    }
}

/* However long: nothing else gets through either. */
static void nothing_is_given_up_while_the_server_is_away(void **state)
{
    (void)state;
    assert_int_equal(refuse("a", 1), HOLD_WAIT);
    assert_int_equal(refuse("b", 2), HOLD_WAIT);
    for (int i = 0; i < 200; i++) {
        assert_true(wait_for("a", 1) <= HOLD_AWAY_MAX_S);
        assert_int_equal(refuse("a", 1), HOLD_WAIT);
        now_s += HOLD_RETRY_S;
        assert_int_equal(refuse("b", 2), HOLD_WAIT);
    }
    now_s += HOLD_AWAY_MAX_S;
    assert_int_equal(ask("b", 2), HOLD_GO);
    hold_taken(&h, "b");
    assert_int_equal(ask("a", 1), HOLD_GO);
}

static void give_up(const char *subject, int64_t number)
{
    enum hold_verdict verdict = HOLD_WAIT;

    for (int i = 0; i < 2 * HOLD_TRIES && verdict != HOLD_GIVE_UP; i++) {
        now_s += HOLD_WAIT_MAX_S;
        assert_int_equal(ask(subject, number), HOLD_GO);
        hold_note_taken(&h);
        verdict = refuse(subject, number);
    }
    assert_int_equal(verdict, HOLD_GIVE_UP);
}

/* One message that is too large says nothing of the next one. */
static void after_one_that_was_given_up_the_next_is_tried(void **state)
{
    (void)state;
    give_up("a", 1);
    assert_int_equal(wait_for("a", 2), HOLD_RETRY_S);
    hold_taken(&h, "a");
    assert_int_equal(ask("a", 3), HOLD_GO);
}

static void after_two_the_rest_is_not_tried(void **state)
{
    (void)state;
    give_up("a", 1);
    now_s += HOLD_RETRY_S;
    hold_note_taken(&h);
    assert_int_equal(refuse("a", 2), HOLD_GIVE_UP);
    /* Not known yet whether the server is still there. */
    assert_int_equal(ask("a", 3), HOLD_WAIT);
    assert_int_equal(ask("a", 4), HOLD_WAIT);
    assert_int_equal(hold_next(&h, now_s * NSEC_PER_SEC), 0);
    hold_note_taken(&h);
    assert_int_equal(hold_next(&h, now_s * NSEC_PER_SEC), 3);
    assert_int_equal(ask("a", 3), HOLD_GIVE_UP);
    assert_int_equal(ask("a", 4), HOLD_GIVE_UP);
    assert_int_equal(hold_next(&h, now_s * NSEC_PER_SEC), 0);
    now_s += HOLD_WAIT_MAX_S;
    assert_int_equal(ask("a", 5), HOLD_GO);
    hold_taken(&h, "a");
    assert_int_equal(ask("a", 6), HOLD_GO);
}

static void no_more_than_some_are_held(void **state)
{
    char subject[32];

    (void)state;
    for (int i = 0; i < HOLD_MAX; i++) {
        snprintf(subject, sizeof(subject), "s%d", i);
        assert_int_equal(ask(subject, i + 1), HOLD_GO);
        assert_int_equal(refuse(subject, i + 1), HOLD_WAIT);
    }
    assert_int_equal(ask("x", 100), HOLD_GO);
    assert_int_equal(refuse("x", 100), HOLD_FULL);
    assert_int_equal(ask("x", 100), HOLD_FULL);
    now_s += HOLD_RETRY_S;
    assert_int_equal(ask("x", 100), HOLD_GO);
    assert_int_equal(refuse("x", 100), HOLD_FULL);
    hold_taken(&h, "s7");
    assert_int_equal(ask("x", 100), HOLD_GO);
    assert_int_equal(refuse("x", 100), HOLD_WAIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_the_same_subject_waits, setup),
        cmocka_unit_test_setup(waits_double_and_it_is_given_up, setup),
        cmocka_unit_test_setup(nothing_is_given_up_while_the_server_is_away, setup),
        cmocka_unit_test_setup(after_one_that_was_given_up_the_next_is_tried, setup),
        cmocka_unit_test_setup(after_two_the_rest_is_not_tried, setup),
        cmocka_unit_test_setup(no_more_than_some_are_held, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
