/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/guard.c */
#include "collector/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct guard_settings small = {
    .limits = {[GUARD_ORG] = 2,
               [GUARD_FEATURE] = 3,
               [GUARD_PROVIDER] = 4,
               [GUARD_MODEL] = 5,
               [GUARD_WORKLOAD] = 6,
               [GUARD_SERIES] = 1000},
    .series_all = 2000,
    .seed = 42,
};

static struct record call(const char *org, const char *feature, const char *model,
                          const char *workload)
{
    struct record rec = {.kind = RECORD_CALL, .provider = "openai"};

    snprintf(rec.org, sizeof(rec.org), "%s", org);
    snprintf(rec.feature, sizeof(rec.feature), "%s", feature);
    snprintf(rec.model, sizeof(rec.model), "%s", model);
    snprintf(rec.workload, sizeof(rec.workload), "%s", workload);
    return rec;
}

static uint32_t pass(struct guard *g, struct record *rec)
{
    uint32_t first = UINT32_MAX;

    assert_int_equal(guard_pass(g, rec, &first), 0);
    return first;
}

static struct guard_stats stats_of(const struct guard *g, enum guard_dimension d)
{
    struct guard_stats s;

    guard_get_stats(g, d, &s);
    return s;
}

static void only_the_full_dimension_is_folded(void **state)
{
    CLEAN_GUARD struct guard *g = NULL;
    struct record rec;
    char model[32];

    (void)state;
    assert_int_equal(guard_new(&small, &g), 0);
    for (int i = 0; i < 5; i++) {
        snprintf(model, sizeof(model), "m%d", i);
        rec = call("acme", "search", model, "w");
        assert_int_equal(pass(g, &rec), 0);
        assert_string_equal(rec.model, model);
    }
    rec = call("acme", "search", "m5", "w");
    assert_int_equal(pass(g, &rec), 1 << GUARD_MODEL);
    assert_string_equal(rec.model, GUARD_OTHER);
    assert_string_equal(rec.feature, "search");
    assert_string_equal(rec.workload, "w");
    assert_string_equal(rec.provider, "openai");

    /* Told once, counted always; who was there before stays. */
    rec = call("acme", "search", "m6", "w");
    assert_int_equal(pass(g, &rec), 0);
    rec = call("acme", "search", "m0", "w");
    assert_int_equal(pass(g, &rec), 0);
    assert_string_equal(rec.model, "m0");
    assert_int_equal(stats_of(g, GUARD_MODEL).folded, 2);
    assert_int_equal(stats_of(g, GUARD_MODEL).names, 5);
    assert_int_equal(stats_of(g, GUARD_MODEL).full, 1);
    assert_int_equal(stats_of(g, GUARD_FEATURE).folded, 0);

    /* Another organisation has its own room. */
    rec = call("globex", "search", "m6", "w");
    pass(g, &rec);
    assert_string_equal(rec.model, "m6");
}

static void organisations_are_bounded(void **state)
{
    CLEAN_GUARD struct guard *g = NULL;
    struct record rec;
    unsigned kept = 0;

    (void)state;
    assert_int_equal(guard_new(&small, &g), 0);
    for (int i = 0; i < 1000; i++) {
        char org[32];

        snprintf(org, sizeof(org), "org%d", i);
        rec = call(org, "f", "m", "w");
        assert_int_equal(pass(g, &rec), i == 2 ? 1 << GUARD_ORG : 0);
        kept += strcmp(rec.org, org) == 0;
    }
    assert_int_equal(kept, 2);
    assert_string_equal(rec.org, GUARD_OTHER);
    assert_int_equal(stats_of(g, GUARD_ORG).names, 2);
    assert_int_equal(stats_of(g, GUARD_ORG).folded, 998);
    /* What shares "(other)" is bounded as one organisation. */
    assert_int_equal(stats_of(g, GUARD_FEATURE).names, 1);
}

/* What an attacker may reach: every combination of names that have a place. */
static void combinations_are_bounded(void **state)
{
    struct guard_settings s = small;
    CLEAN_GUARD struct guard *g = NULL;
    char seen[512][512];
    unsigned seen_count = 0;

    (void)state;
    s.limits[GUARD_SERIES] = 20;
    assert_int_equal(guard_new(&s, &g), 0);
    for (int i = 0; i < 100000; i++) {
        char names[3][32], key[512];
        struct record rec;
        unsigned at;

        snprintf(names[0], sizeof(names[0]), "f%d", i % 7);
        snprintf(names[1], sizeof(names[1]), "m%d", i % 11);
        snprintf(names[2], sizeof(names[2]), "w%d", i % 13);
        rec = call("acme", names[0], names[1], names[2]);
        pass(g, &rec);
        snprintf(key, sizeof(key), "%s|%s|%s|%s", rec.feature, rec.provider, rec.model,
                 rec.workload);
        for (at = 0; at < seen_count && strcmp(seen[at], key) != 0; at++)
            ;
        assert_true(at < 512);
        if (at == seen_count)
            memcpy(seen[seen_count++], key, sizeof(key));
    }
    /* The provider without the rest would be let in on top. */
    assert_in_range(seen_count, 20, 21);
    assert_int_equal(stats_of(g, GUARD_SERIES).names, seen_count);
    assert_true(stats_of(g, GUARD_SERIES).folded > 0);
}

static void one_organisation_leaves_room_for_the_others(void **state)
{
    struct guard_settings s = small;
    CLEAN_GUARD struct guard *g = NULL;
    struct record rec;

    (void)state;
    s.limits[GUARD_SERIES] = 4;
    assert_int_equal(guard_new(&s, &g), 0);
    for (int i = 0; i < 100; i++) {
        char workload[32];

        snprintf(workload, sizeof(workload), "w%d", i % 6);
        rec = call("loud", i % 2 ? "a" : "b", "m", workload);
        pass(g, &rec);
    }
    rec = call("quiet", "f", "m", "w");
    assert_int_equal(pass(g, &rec), 0);
    assert_string_equal(rec.workload, "w");
}

static void a_restart_changes_nothing(void **state)
{
    CLEAN_GUARD struct guard *before = NULL, *after = NULL;
    struct guard_settings s = small;

    (void)state;
    assert_int_equal(guard_new(&s, &before), 0);
    s.seed = 7; /* another process has another one */
    assert_int_equal(guard_new(&s, &after), 0);
    for (int i = 0; i < 40; i++) {
        char model[32];
        struct record rec;

        snprintf(model, sizeof(model), "m%d", i);
        rec = call("acme", "f", model, "w");
        pass(before, &rec);
        /* What was stored is what came out. */
        assert_int_equal(
            guard_learn(after, &(struct guard_names){rec.org, rec.feature, rec.provider, rec.model,
                                                     rec.workload}),
            0);
    }
    for (int i = 39; i >= 0; i--) {
        char model[32];
        struct record rec, again;

        snprintf(model, sizeof(model), "m%d", i);
        rec = again = call("acme", "f", model, "w");
        pass(before, &rec);
        pass(after, &again);
        assert_string_equal(rec.model, again.model);
    }
    assert_int_equal(stats_of(after, GUARD_SERIES).names, stats_of(before, GUARD_SERIES).names);
    /* A name that coverage told first has its place, too; it is no series. */
    assert_int_equal(
        guard_learn(after, &(struct guard_names){"acme", NULL, "openai", NULL, "w-early"}), 0);
    assert_int_equal(stats_of(after, GUARD_WORKLOAD).names, 2);
    assert_int_equal(stats_of(after, GUARD_SERIES).names, stats_of(before, GUARD_SERIES).names);
}

static void nothing_is_no_name(void **state)
{
    CLEAN_GUARD struct guard *g = NULL;
    struct record rec = call("acme", "", "", "");

    (void)state;
    assert_int_equal(guard_new(&small, &g), 0);
    pass(g, &rec);
    assert_string_equal(rec.model, "");
    assert_int_equal(stats_of(g, GUARD_MODEL).names, 0);
    /* Coverage has a workload and a provider, and makes no series. */
    rec = call("acme", "", "", "w");
    rec.kind = RECORD_COVERAGE;
    pass(g, &rec);
    assert_int_equal(stats_of(g, GUARD_WORKLOAD).names, 1);
    assert_int_equal(stats_of(g, GUARD_SERIES).names, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_full_dimension_is_folded),
        cmocka_unit_test(organisations_are_bounded),
        cmocka_unit_test(combinations_are_bounded),
        cmocka_unit_test(one_organisation_leaves_room_for_the_others),
        cmocka_unit_test(a_restart_changes_nothing),
        cmocka_unit_test(nothing_is_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
