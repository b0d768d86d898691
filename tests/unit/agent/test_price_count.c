/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price_count.c agent/text.c agent/price.c agent/price_match.c agent/price_rule.c */
/* LINK: agent/price_table.c agent/price_supplement.c agent/yamldoc.c */
#include "agent/price_count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t of_basis(const struct price_counts *c, const char *basis)
{
    for (unsigned i = 0; price_basis(i); i++)
        if (strcmp(price_basis(i), basis) == 0)
            return c->basis[i];
    fail_msg("no basis %s", basis);
    return 0;
}

static struct call said(const char *provider, int64_t said, int64_t list)
{
    struct call call = {.cost = {.expected_nanousd = {said, true},
                                 .list_nanousd = {list, list >= 0},
                                 .basis = "provider"}};

    snprintf(call.provider, sizeof(call.provider), "%s", provider);
    return call;
}

static void test_bases_are_counted(void **state)
{
    static const char *const BASES[] = {"table", "unknown_model", "table", "free"};
    struct price_counts counts = {.basis = {0}};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        price_count(&counts, &(struct call){.cost = {.basis = BASES[i]}});
    assert_int_equal(of_basis(&counts, "table"), 2);
    assert_int_equal(of_basis(&counts, "unknown_model"), 1);
    assert_int_equal(of_basis(&counts, "free"), 1);
    assert_int_equal(of_basis(&counts, "unknown_tier"), 0);
}

static void test_disagreements_are_counted_by_provider(void **state)
{
    struct price_counts counts = {.basis = {0}};
    struct call calls[] = {said("xai", 1000, 1000), said("xai", 1000, 2000), said("xai", 5, -1),
                           said("openrouter", 0, 7), said("xai", 3000, 2000)};

    (void)state;
    for (size_t i = 0; i < 5; i++)
        price_count(&counts, &calls[i]);
    assert_string_equal(counts.disagreements[0].provider, "xai");
    assert_int_equal(counts.disagreements[0].calls, 2);
    assert_string_equal(counts.disagreements[1].provider, "openrouter");
    assert_int_equal(counts.disagreements[1].calls, 1);
    assert_int_equal(counts.disagreements[2].calls, 0);
}

static void test_many_providers_share_the_last_place(void **state)
{
    struct price_counts counts = {.basis = {0}};
    uint64_t sum = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        struct call call;

        snprintf(name, sizeof(name), "p%u", i);
        call = said(name, 1, 2);
        price_count(&counts, &call);
    }
    for (unsigned i = 0; i < PRICE_COUNT_PROVIDERS_MAX; i++)
        sum += counts.disagreements[i].calls;
    assert_int_equal(sum, 100);
    assert_string_equal(counts.disagreements[PRICE_COUNT_PROVIDERS_MAX - 1].provider, "(other)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bases_are_counted),
        cmocka_unit_test(test_disagreements_are_counted_by_provider),
        cmocka_unit_test(test_many_providers_share_the_last_place),
    };

    return cmocka_run_group_tests_name("price_count", tests, NULL, NULL);
}
