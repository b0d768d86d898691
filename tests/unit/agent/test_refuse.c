/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/refuse.c */
#include "agent/refuse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct refuse *make(void)
{
    struct refuse *r;

    assert_int_equal(refuse_new(&r), 0);
    return r;
}

static void test_remembers_then_probes_once(void **state)
{
    struct refuse_key key = {.cgroup_id = 1, .fingerprint = 2, .host = "api.openai.com"};
    struct refuse *r = make();
    uint64_t now = 1000;

    (void)state;
    assert_int_equal(refuse_ask(r, &key, now), REFUSE_NO);
    refuse_add(r, &key, now);
    assert_int_equal(refuse_ask(r, &key, now), REFUSE_SPLICE);
    assert_int_equal(refuse_ask(r, &key, now + REFUSE_MS - 1), REFUSE_SPLICE);
    now += REFUSE_MS;
    assert_int_equal(refuse_ask(r, &key, now), REFUSE_PROBE);
    assert_int_equal(refuse_ask(r, &key, now + 1), REFUSE_SPLICE);
    /* A probe that never came to anything is followed by another. */
    assert_int_equal(refuse_ask(r, &key, now + REFUSE_PROBE_MS), REFUSE_PROBE);
    refuse_free(&r);
}

static void test_probe_decides(void **state)
{
    struct refuse_key key = {.cgroup_id = 1, .fingerprint = 2, .host = "api.openai.com"};
    struct refuse *r = make();

    (void)state;
    refuse_add(r, &key, 0);
    assert_int_equal(refuse_ask(r, &key, REFUSE_MS), REFUSE_PROBE);
    refuse_add(r, &key, REFUSE_MS + 5);
    assert_int_equal(refuse_ask(r, &key, 2 * REFUSE_MS), REFUSE_SPLICE);
    assert_int_equal(refuse_count(r), 1);
    refuse_forget(r, &key);
    assert_int_equal(refuse_ask(r, &key, 2 * REFUSE_MS), REFUSE_NO);
    assert_int_equal(refuse_count(r), 0);
    refuse_free(&r);
}

static void test_key_has_all_parts(void **state)
{
    struct refuse_key key = {.cgroup_id = 1, .fingerprint = 2, .host = "api.openai.com"}, other;
    struct refuse *r = make();

    (void)state;
    refuse_add(r, &key, 0);
    other = key;
    other.cgroup_id = 3;
    assert_int_equal(refuse_ask(r, &other, 1), REFUSE_NO);
    other = key;
    other.fingerprint = 3;
    assert_int_equal(refuse_ask(r, &other, 1), REFUSE_NO);
    other = key;
    other.host = "api.anthropic.com";
    assert_int_equal(refuse_ask(r, &other, 1), REFUSE_NO);
    assert_int_equal(refuse_ask(r, &key, 1), REFUSE_SPLICE);
    refuse_free(&r);
}

static void test_bounded(void **state)
{
    struct refuse_key key = {.fingerprint = 2, .host = "api.openai.com"};
    struct refuse *r = make();

    (void)state;
    for (unsigned i = 0; i < 10 * REFUSE_MAX; i++) {
        key.cgroup_id = i;
        refuse_add(r, &key, i);
        assert_int_equal(refuse_ask(r, &key, i), REFUSE_SPLICE);
    }
    assert_true(refuse_count(r) <= REFUSE_MAX);
    assert_true(refuse_count(r) > REFUSE_MAX / 2);
    refuse_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remembers_then_probes_once),
        cmocka_unit_test(test_probe_decides),
        cmocka_unit_test(test_key_has_all_parts),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests_name("refuse", tests, NULL, NULL);
}
