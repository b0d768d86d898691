/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/retries.c */
#include "agent/retries.h"

#include "proto/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct retries *table;
static struct caller who;
static char id[RETRIES_ID_MAX];

static int setup(void **state)
{
    (void)state;
    table = calloc(1, sizeof(*table));
    memset(id, 0, sizeof(id));
    who = (struct caller){.cgroup_id = 1, .netns_cookie = 2, .pid = 3};
    return table ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(table);
    return 0;
}

static struct call attempt(uint32_t n, uint64_t start_s, enum call_outcome outcome)
{
    struct call c = {.attempt = n,
                     .attempt_counted = true,
                     .start_mono_ns = start_s * NSEC_PER_SEC,
                     .end_mono_ns = (start_s + 1) * NSEC_PER_SEC,
                     .request_body_bytes = 100,
                     .server_address = "api.openai.com",
                     .api = "openai.chat",
                     .model_requested = "gpt",
                     .outcome = outcome};

    return c;
}

/* The call's id, or NULL. */
static const char *join(struct call c, const char *fresh)
{
    return retries_join(table, &c, &who, fresh, id) ? id : NULL;
}

static void attempts_of_one_call_share_the_id_of_the_first(void **state)
{
    (void)state;
    assert_string_equal(join(attempt(1, 10, CALL_PROVIDER_ERROR), "a"), "a");
    assert_string_equal(join(attempt(2, 20, CALL_CLIENT_ABORT), "b"), "a");
    assert_string_equal(join(attempt(3, 30, CALL_OK), "c"), "a");
    /* It is over: the next one is another. */
    assert_null(join(attempt(4, 40, CALL_OK), "d"));
    assert_string_equal(join(attempt(1, 50, CALL_PROVIDER_ERROR), "e"), "e");
}

static void a_call_that_succeeds_at_once_has_none(void **state)
{
    (void)state;
    assert_null(join(attempt(1, 10, CALL_OK), "a"));
    assert_null(join(attempt(2, 20, CALL_OK), "b"));
}

static void whoever_does_not_count_is_left_out(void **state)
{
    struct call c = attempt(1, 10, CALL_PROVIDER_ERROR);

    (void)state;
    c.attempt_counted = false;
    assert_null(join(c, "a"));
    assert_null(join(attempt(2, 20, CALL_OK), "b"));
}

static void every_mark_tells_calls_apart(void **state)
{
    struct call other = attempt(2, 20, CALL_OK);

    (void)state;
    assert_string_equal(join(attempt(1, 10, CALL_PROVIDER_ERROR), "a"), "a");
    other.request_body_bytes = 101;
    assert_null(join(other, "b"));
    other = attempt(2, 20, CALL_OK);
    strcpy(other.model_requested, "gpt-5");
    assert_null(join(other, "b"));
    other = attempt(2, 20, CALL_OK);
    strcpy(other.server_address, "api.groq.com");
    assert_null(join(other, "b"));
    other = attempt(2, 20, CALL_OK);
    strcpy(other.api, "openai.responses");
    assert_null(join(other, "b"));
    other = attempt(2, 20, CALL_OK);
    strcpy(other.key_fingerprint, "00");
    assert_null(join(other, "b"));
    who.pid = 4;
    assert_null(join(attempt(2, 20, CALL_OK), "b"));
    who.pid = 3;
    who.cgroup_id = 4;
    assert_null(join(attempt(2, 20, CALL_OK), "b"));
    who.cgroup_id = 1;
    assert_string_equal(join(attempt(2, 20, CALL_OK), "b"), "a");
}

static void number_and_time_must_follow(void **state)
{
    (void)state;
    assert_string_equal(join(attempt(1, 10, CALL_PROVIDER_ERROR), "a"), "a");
    assert_null(join(attempt(3, 20, CALL_OK), "b"));
    assert_null(join(attempt(2, 10, CALL_OK), "b")); /* began before the first had ended */
    assert_null(join(attempt(2, 12 + RETRIES_WAIT_S, CALL_OK), "b"));
    assert_string_equal(join(attempt(2, 11 + RETRIES_WAIT_S, CALL_OK), "b"), "a");
}

static void two_that_look_alike_are_not_joined(void **state)
{
    (void)state;
    assert_string_equal(join(attempt(1, 10, CALL_PROVIDER_ERROR), "a"), "a");
    assert_null(join(attempt(1, 10, CALL_PROVIDER_ERROR), "b"));
    assert_null(join(attempt(2, 20, CALL_PROVIDER_ERROR), "c"));
    assert_null(join(attempt(2, 20, CALL_OK), "d"));
    assert_null(join(attempt(3, 30, CALL_OK), "e"));
    /* Long after they are forgotten. */
    assert_string_equal(join(attempt(1, 500, CALL_PROVIDER_ERROR), "f"), "f");
    assert_string_equal(join(attempt(2, 510, CALL_OK), "g"), "f");
}

static void a_later_attempt_begins_a_chain_when_the_first_was_not_seen(void **state)
{
    (void)state;
    assert_string_equal(join(attempt(2, 10, CALL_PROVIDER_ERROR), "a"), "a");
    assert_string_equal(join(attempt(3, 20, CALL_OK), "b"), "a");
}

static void a_full_table_forgets_and_never_joins_wrongly(void **state)
{
    unsigned joined = 0;
    char name[16];

    (void)state;
    for (unsigned i = 0; i < 4 * RETRIES_MAX; i++) {
        struct call c = attempt(1, 10, CALL_PROVIDER_ERROR);

        c.request_body_bytes = i;
        snprintf(name, sizeof(name), "%u", i);
        assert_string_equal(join(c, name), name);
    }
    for (unsigned i = 0; i < 4 * RETRIES_MAX; i++) {
        struct call c = attempt(2, 20, CALL_OK);

        c.request_body_bytes = i;
        snprintf(name, sizeof(name), "%u", i);
        if (!join(c, "x"))
            continue;
        assert_string_equal(id, name);
        joined++;
    }
    assert_true(joined > 0 && joined <= RETRIES_MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(attempts_of_one_call_share_the_id_of_the_first),
        TEST(a_call_that_succeeds_at_once_has_none),
        TEST(whoever_does_not_count_is_left_out),
        TEST(every_mark_tells_calls_apart),
        TEST(number_and_time_must_follow),
        TEST(two_that_look_alike_are_not_joined),
        TEST(a_later_attempt_begins_a_chain_when_the_first_was_not_seen),
        TEST(a_full_table_forgets_and_never_joins_wrongly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
