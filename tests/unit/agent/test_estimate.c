/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/estimate.c agent/estimate_file.c agent/text.c */
/* Synthetic models with known habits: what is learned, and how often it holds. */
#include "agent/estimate.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct estimate_key gpt = {"openai.chat", "openai", "gpt-4o-2024-08-06"};

static double unit(void)
{
    return (rand() % 10000 + 0.5) / 10000;
}

static double normal(void)
{
    return sqrt(-2 * log(unit())) * cos(6.283185307 * unit());
}

/* A call of a model with `ratio` tokens to the unit and 15 % of noise. */
static struct estimate_report call(double ratio, struct estimate_sizes *z)
{
    double text = exp(3 + 2 * unit()), out = exp(3 + 2.5 * unit());

    memset(z, 0, sizeof(*z));
    z->request_whole = z->streaming = true;
    z->request.milliunits[EXTENT_TEXT] = (uint64_t)(1000 * text);
    z->request.messages = 1 + (uint32_t)(3 * unit());
    z->answer.milliunits[EXTENT_TEXT] = (uint64_t)(1000 * out);
    z->answer.deltas[EXTENT_TEXT] = (uint32_t)(out / 3) + 1;
    return (struct estimate_report){
        .input_tokens = opt_u64((uint64_t)fmax(1, (ratio * text + 4.0 * z->request.messages + 3) *
                                                      (1 + 0.15 * normal()))),
        .output_tokens = opt_u64((uint64_t)fmax(1, (ratio * out + 1) * (1 + 0.15 * normal()))),
    };
}

static struct estimator *taught(double ratio, int calls)
{
    struct estimator *e;
    struct estimate_sizes z;

    assert_int_equal(estimator_new(&e), 0);
    for (int i = 0; i < calls; i++) {
        struct estimate_report r = call(ratio, &z);

        estimator_learn(e, &gpt, &z, &r);
    }
    return e;
}

static void nine_of_ten_are_held(void **state)
{
    struct estimator *e = taught(1.3, 300);
    int in = 0, out = 0, calls = 2000;
    double width = 0;

    (void)state;
    for (int i = 0; i < calls; i++) {
        struct estimate_sizes z;
        struct estimate_report r = call(1.3, &z);
        struct estimate_range a, b;

        assert_int_equal(estimator_input(e, &gpt, &z, &a), 0);
        assert_int_equal(estimator_output(e, &gpt, &z, &b), 0);
        in += r.input_tokens.value >= round(a.low) && r.input_tokens.value <= round(a.high);
        out += r.output_tokens.value >= round(b.low) && r.output_tokens.value <= round(b.high);
        width += (b.high - b.low) / b.expected / calls;
        estimator_learn(e, &gpt, &z, &r);
    }
    print_message("held: input %.1f %%, output %.1f %%, width %.2f\n", 100.0 * in / calls,
                  100.0 * out / calls, width);
    assert_in_range(in, calls * 86 / 100, calls * 95 / 100);
    assert_in_range(out, calls * 86 / 100, calls * 95 / 100);
    assert_true(width < 0.8); /* 2 × 1.645 × 0.15 = 0.49 is the best there is */
    estimator_free(&e);
}

static void the_ratio_is_learned_and_inherited(void **state)
{
    const struct estimate_key sibling = {"openai.chat", "openai", "gpt-4o-mini"};
    const struct estimate_key stranger = {"anthropic.messages", "anthropic", "claude-9"};
    struct estimator *e = taught(2.0, 200), *fresh = taught(2.0, 0);
    struct estimate_range known, near, far, none;
    struct estimate_sizes z;

    (void)state;
    (void)call(2.0, &z);
    z.answer.milliunits[EXTENT_TEXT] = 100000;
    z.answer.deltas[EXTENT_TEXT] = 40;
    assert_int_equal(estimator_output(e, &gpt, &z, &known), 0);
    assert_int_equal(estimator_output(e, &sibling, &z, &near), 0);
    assert_int_equal(estimator_output(e, &stranger, &z, &far), 0);
    assert_int_equal(estimator_output(fresh, &gpt, &z, &none), 0);
    assert_true(fabs(known.expected - 200) < 20 && fabs(near.expected - 200) < 25);
    assert_true(none.expected < 120);
    assert_true(known.low > 100 && known.high < 300);
    estimator_free(&e);
    estimator_free(&fresh);
}

static void a_freak_report_does_little(void **state)
{
    struct estimator *e = taught(1.0, 100);
    struct estimate_range before, after;
    struct estimate_sizes z;
    struct estimate_report r = call(1.0, &z);

    (void)state;
    assert_int_equal(estimator_output(e, &gpt, &z, &before), 0);
    r.output_tokens = opt_u64(1000 * r.output_tokens.value);
    estimator_learn(e, &gpt, &z, &r);
    assert_int_equal(estimator_output(e, &gpt, &z, &after), 0);
    assert_true(fabs(after.expected / before.expected - 1) < 0.05);
    assert_true((after.high - after.low) < 1.3 * (before.high - before.low));
    estimator_free(&e);
}

static void nothing_supports_nothing(void **state)
{
    struct estimator *e = taught(1, 10);
    struct estimate_range range = {7, 7, 7};
    struct estimate_sizes z;

    (void)state;
    (void)call(1, &z);
    z.request.media = true;
    assert_int_equal(estimator_input(e, &gpt, &z, &range), -ENODATA);
    z.request.media = false;
    z.request.elsewhere = true;
    assert_int_equal(estimator_input(e, &gpt, &z, &range), -ENODATA);
    memset(&z, 0, sizeof(z));
    assert_int_equal(estimator_input(e, &gpt, &z, &range), -ENODATA);
    assert_int_equal(estimator_output(e, &gpt, &z, &range), -ENODATA);
    assert_int_equal(estimator_hidden(e, &gpt, &z, &range), -ENODATA);
    assert_true(range.low == 7 && range.high == 7);
    estimator_free(&e);
}

static void reasoning_out_of_sight(void **state)
{
    const struct estimate_key thinker = {"openai.chat", "openai", "thinker-1"};
    struct estimator *e;
    struct estimate_range range;
    struct estimate_sizes z;

    (void)state;
    assert_int_equal(estimator_new(&e), 0);
    for (int i = 0; i < 100; i++) {
        struct estimate_report r = call(1, &z);
        uint64_t thought = (uint64_t)(200 * exp(0.5 * normal()));

        r.output_tokens.value += thought;
        r.reasoning_tokens = opt_u64(thought);
        estimator_learn(e, &thinker, &z, &r);
    }
    assert_int_equal(estimator_hidden(e, &thinker, &z, &range), 0);
    assert_in_range((uint64_t)range.expected, 100, 400);
    assert_true(range.low > 20 && range.high < 1500);
    /* Documented before anything was seen. */
    assert_int_equal(estimator_hidden(e,
                                      &(struct estimate_key){"openai.chat", "openai", "gpt-5-mini"},
                                      &z, &range),
                     0);
    assert_int_equal(estimator_hidden(e, &gpt, &z, &range), -ENODATA);
    estimator_free(&e);
}

static void the_table_is_bounded(void **state)
{
    struct estimator *e;
    struct estimator_stats stats;

    (void)state;
    assert_int_equal(estimator_new(&e), 0);
    for (int i = 0; i < 2000; i++) {
        char model[32];
        struct estimate_key key = {"openai.chat", "openai", model};
        struct estimate_sizes z;
        struct estimate_report r = call(1, &z);

        snprintf(model, sizeof(model), "made-up-%d-%d", i % 1500, i % 7);
        estimator_learn(e, &key, &z, &r);
    }
    estimator_stats(e, &stats);
    assert_int_equal(stats.entries, ESTIMATE_ENTRIES_MAX);
    assert_true(stats.evicted > 1000);
    estimator_free(&e);
}

static void the_file_keeps_it_and_damage_is_refused(void **state)
{
    struct estimator *e = taught(1.7, 100), *again = taught(1, 0);
    struct estimate_range a, b;
    struct estimate_sizes z;
    char *text;
    size_t len;

    (void)state;
    (void)call(1, &z);
    assert_int_equal(estimator_save(e, &text, &len), 0);
    assert_true(len < ESTIMATE_FILE_MAX_BYTES);
    assert_int_equal(estimator_load(again, slice_of(text, len)), 0);
    assert_int_equal(estimator_output(e, &gpt, &z, &a), 0);
    assert_int_equal(estimator_output(again, &gpt, &z, &b), 0);
    assert_true(fabs(a.low - b.low) < 0.01 * a.high && fabs(a.high - b.high) < 0.01 * a.high);
    for (size_t i = 0; i < len; i += 7) {
        text[i] ^= 4;
        assert_int_equal(estimator_load(again, slice_of(text, len)), -EBADMSG);
        text[i] ^= 4;
    }
    for (size_t i = 0; i < len; i += 11)
        assert_int_equal(estimator_load(again, slice_of(text, i)), -EBADMSG);
    assert_int_equal(estimator_output(again, &gpt, &z, &b), 0);
    assert_true(fabs(a.expected - b.expected) < 0.01 * a.expected);
    free(text);
    estimator_free(&e);
    estimator_free(&again);
}

/* Whatever a server claims, what is kept of it can be read again. */
static void claims_beyond_measure_are_kept_readable(void **state)
{
    const uint64_t claims[] = {1, 1000, 1000000000, 1000000000000, UINT64_MAX};
    const size_t count = sizeof(claims) / sizeof(claims[0]);
    struct estimator *e, *again;
    char *text;
    size_t len;

    (void)state;
    for (size_t first = 0; first < count; first++) {
        assert_int_equal(estimator_new(&e), 0);
        assert_int_equal(estimator_new(&again), 0);
        for (size_t i = 0; i < 400; i++) {
            struct estimate_sizes z;
            struct estimate_report r = call(1, &z);

            if (i % 2)
                z.answer.milliunits[EXTENT_TEXT] = i % 4 == 1 ? 1 : UINT64_MAX / 2;
            r.input_tokens = opt_u64(claims[(first + i / 3) % count]);
            r.output_tokens = opt_u64(claims[(first + i / 5) % count]);
            r.reasoning_tokens = opt_u64(claims[(first + i) % count]);
            estimator_learn(e, &gpt, &z, &r);
        }
        assert_int_equal(estimator_save(e, &text, &len), 0);
        assert_int_equal(estimator_load(again, slice_of(text, len)), 0);
        free(text);
        estimator_free(&e);
        estimator_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_of_ten_are_held),
        cmocka_unit_test(the_ratio_is_learned_and_inherited),
        cmocka_unit_test(a_freak_report_does_little),
        cmocka_unit_test(nothing_supports_nothing),
        cmocka_unit_test(reasoning_out_of_sight),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(the_file_keeps_it_and_damage_is_refused),
        cmocka_unit_test(claims_beyond_measure_are_kept_readable),
    };

    srand(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
