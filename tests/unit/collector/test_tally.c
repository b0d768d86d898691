/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/tally.c */
#include "collector/tally.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_text(const struct tally *t, const char *expected)
{
    struct buf b;

    buf_init(&b, TALLY_ENCODED_MAX);
    assert_int_equal(tally_encode(t, &b), 0);
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.len ? (const char *)b.data : "", expected, b.len);
    buf_fini(&b);
}

static void test_counts_by_name(void **state)
{
    struct tally t = {0};

    (void)state;
    assert_text(&t, "");
    assert_int_equal(tally_add(&t, "timeout", 2), 0);
    assert_int_equal(tally_add(&t, "rate_limit", 1), 0);
    assert_int_equal(tally_add(&t, "timeout", 3), 0);
    assert_int_equal(tally_get(&t, "timeout"), 5);
    assert_int_equal(tally_get(&t, "no such"), 0);
    assert_int_equal(tally_sum(&t), 6);
    assert_text(&t, "rate_limit\t1\ntimeout\t5\n");
    tally_fini(&t);
    assert_int_equal(tally_sum(&t), 0);
}

/* A place that is remembered is a hint: names that came meanwhile, or the wrong one, do no harm. */
static void test_adds_at_a_place(void **state)
{
    struct tally t = {0};
    uint8_t of_m = 0, wrong = TALLY_NAMES_MAX;

    (void)state;
    assert_int_equal(tally_add_at(&t, "m", 1, &of_m), 0);
    assert_int_equal(tally_add_at(&t, "a", 10, &wrong), 0);
    assert_int_equal(tally_add_at(&t, "m", 2, &of_m), 0);
    assert_int_equal(of_m, 1);
    assert_int_equal(tally_add_at(&t, "m", 4, &of_m), 0);
    assert_int_equal(tally_add_at(&t, "b", 20, &of_m), 0);
    assert_int_equal(tally_add_at(&t, "m", 8, &of_m), 0);
    assert_text(&t, "a\t10\nb\t20\nm\t15\n");
    tally_fini(&t);
}

/* Names are shared by what was merged: whoever goes first, the others keep theirs. */
static void test_merged_ones_outlive_each_other(void **state)
{
    struct tally cells[4] = {0};

    (void)state;
    for (unsigned gone = 0; gone < 4; gone++) {
        assert_int_equal(tally_add(&cells[0], "m", 1), 0);
        assert_int_equal(tally_add(&cells[0], "b", 2), 0);
        assert_int_equal(tally_add(&cells[1], "z", 8), 0);
        for (unsigned i = 1; i < 4; i++)
            assert_int_equal(tally_merge(&cells[i], &cells[0]), 0);
        assert_int_equal(tally_add(&cells[0], "a", 4), 0);
        assert_int_equal(tally_merge(&cells[1], &cells[0]), 0);
        tally_fini(&cells[gone]);
        if (gone != 0)
            assert_text(&cells[0], "a\t4\nb\t2\nm\t1\n");
        if (gone != 1)
            assert_text(&cells[1], "a\t4\nb\t4\nm\t2\nz\t8\n");
        if (gone != 2)
            assert_text(&cells[2], "b\t2\nm\t1\n");
        for (unsigned i = 0; i < 4; i++)
            tally_fini(&cells[i]);
    }
}

/* However many names there are, what is kept is bounded and nothing is lost. */
static void test_names_are_bounded(void **state)
{
    struct tally a = {0}, b = {0};
    char name[32];

    (void)state;
    for (unsigned i = 0; i < 3 * TALLY_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_int_equal(tally_add(i % 2 ? &a : &b, name, i), 0);
    }
    assert_int_equal(a.count, TALLY_NAMES_MAX);
    assert_int_equal(tally_merge(&a, &b), 0);
    assert_int_equal(a.count, TALLY_NAMES_MAX);
    assert_int_equal(tally_sum(&a), 3 * TALLY_NAMES_MAX * (3 * TALLY_NAMES_MAX - 1) / 2);
    assert_true(tally_get(&a, TALLY_OTHER) > 0);
    assert_int_equal(tally_get(&a, "n1"), 1);
    tally_fini(&a);
    tally_fini(&b);
}

/* A name cannot break the text it is stored in. */
static void test_hostile_names(void **state)
{
    struct tally t = {0}, again = {0};
    char longer[2 * TALLY_NAME_BYTES_MAX];
    struct buf b;

    (void)state;
    buf_init(&b, TALLY_ENCODED_MAX);
    memset(longer, 'x', sizeof(longer));
    memcpy(longer + TALLY_NAME_BYTES_MAX - 1, "\xc3\xa9", 3);
    assert_int_equal(tally_add(&t, "a\t7\nb", 1), 0);
    assert_int_equal(tally_add(&t, longer, 1), 0);
    assert_int_equal(tally_add(&t, "", UINT64_MAX), 0);
    assert_int_equal(tally_get(&t, ""), INT64_MAX);
    assert_int_equal(tally_encode(&t, &b), 0);
    assert_int_equal(tally_decode_merge(&again, buf_slice(&b)), 0);
    assert_int_equal(again.count, 3);
    assert_int_equal(tally_get(&again, "a?7?b"), 1);
    longer[TALLY_NAME_BYTES_MAX - 1] = '\0';
    assert_int_equal(tally_get(&again, longer), 1);
    buf_fini(&b);
    tally_fini(&t);
    tally_fini(&again);
}

static void test_damaged_text(void **state)
{
    static const char *const damaged[] = {
        "a",  "a\t",    "a\t\n", "a\tb\n", "a\t1", "a\t-1\n", "a\t9223372036854775808\n",
        "\n", "a\t1\nb"};

    (void)state;
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        struct tally t = {0};

        assert_int_equal(tally_decode_merge(&t, slice_str(damaged[i])), -EBADMSG);
        tally_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_by_name),
        cmocka_unit_test(test_adds_at_a_place),
        cmocka_unit_test(test_merged_ones_outlive_each_other),
        cmocka_unit_test(test_names_are_bounded),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_damaged_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
