/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/sketch.c */
#include "collector/sketch.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define VALUES 20000

static uint64_t random_state = 7;

static double random_unit(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static int compare_values(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The stated error: every quantile within 1% of a value of that rank. */
static void test_quantiles_keep_their_error(void **state)
{
    static const double quantiles[] = {0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1};
    static uint64_t values[VALUES];
    struct sketch s = {0};

    (void)state;
    for (int i = 0; i < VALUES; i++) {
        values[i] = (uint64_t)(exp(2 + 18 * random_unit()));
        assert_int_equal(sketch_add(&s, values[i]), 0);
    }
    qsort(values, VALUES, sizeof(values[0]), compare_values);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double truth = (double)values[(int)(quantiles[i] * (VALUES - 1))];
        double told = sketch_quantile(&s, quantiles[i]);

        assert_true(fabs(told - truth) <= truth * SKETCH_RELATIVE_ERROR * 1.0001);
    }
    sketch_fini(&s);
}

/* The definition; what sketch_add() does must be the same. */
static uint32_t bucket_by_logarithm(uint64_t value)
{
    const double gamma_ratio = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);
    double index = value <= 1 ? 0 : ceil(log((double)value) / log(gamma_ratio) - 1e-9);

    return index >= SKETCH_BUCKETS - 1 ? SKETCH_BUCKETS - 1 : (uint32_t)index;
}

static void assert_bucket(uint64_t value)
{
    struct sketch s = {0};
    struct sketch_walk w = {0};
    uint32_t wanted = bucket_by_logarithm(value);

    assert_int_equal(sketch_add(&s, value), 0);
    assert_true(sketch_walk(&s, &w));
    assert_int_equal(w.bucket, wanted);
    assert_int_equal(w.calls, 1);
    assert_false(sketch_walk(&s, &w));
    sketch_fini(&s);
}

static void test_buckets_are_those_of_the_logarithm(void **state)
{
    const double gamma_ratio = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);

    (void)state;
    for (uint64_t value = 0; value < 20000; value++)
        assert_bucket(value);
    /* Around every bound: the tolerance is some dozen integers wide at the upper end. */
    for (uint32_t i = 0; i < SKETCH_BUCKETS + 10; i++) {
        uint64_t bound = (uint64_t)pow(gamma_ratio, i);

        for (uint64_t value = bound > 100 ? bound - 100 : 0; value < bound + 100; value++)
            assert_bucket(value);
    }
    for (unsigned bit = 0; bit < 64; bit++)
        for (int step = -3; step <= 3; step++)
            assert_bucket((UINT64_C(1) << bit) + (uint64_t)(int64_t)step);
    for (int i = 0; i < 100000; i++)
        assert_bucket((uint64_t)exp2(64 * random_unit()));
}

static void fill(struct sketch *s, int from, int to)
{
    for (int i = from; i < to; i++)
        assert_int_equal(sketch_add(s, (uint64_t)i * (uint64_t)i), 0);
}

/* Merged in any order, it is what one sketch of everything would be. */
static void test_merge_is_exact(void **state)
{
    struct sketch all = {0}, left = {0}, right = {0}, merged = {0};

    (void)state;
    fill(&all, 0, 3000);
    fill(&left, 0, 100);
    fill(&right, 100, 3000);
    assert_int_equal(sketch_merge(&merged, &right), 0);
    assert_int_equal(sketch_merge(&merged, &left), 0);
    assert_int_equal(merged.count, all.count);
    assert_int_equal(merged.sum, all.sum);
    for (int i = 0; i <= 100; i++)
        assert_true(sketch_quantile(&merged, i / 100.0) == sketch_quantile(&all, i / 100.0));
    sketch_fini(&all);
    sketch_fini(&left);
    sketch_fini(&right);
    sketch_fini(&merged);
}

static void test_encoding_comes_back(void **state)
{
    struct sketch s = {0}, back = {0};
    struct buf b;

    (void)state;
    buf_init(&b, SKETCH_ENCODED_MAX);
    fill(&s, 0, 5000);
    assert_int_equal(sketch_add(&s, UINT64_MAX), 0);
    assert_int_equal(sketch_encode(&s, &b), 0);
    assert_int_equal(sketch_decode_merge(&back, buf_slice(&b)), 0);
    assert_int_equal(sketch_decode_merge(&back, buf_slice(&b)), 0);
    assert_int_equal(back.count, 2 * s.count);
    assert_true(sketch_quantile(&back, 0.5) == sketch_quantile(&s, 0.5));
    buf_fini(&b);
    sketch_fini(&s);
    sketch_fini(&back);
}

/* What a sketch is, told plainly. */
struct plain {
    uint64_t calls[SKETCH_BUCKETS];
    uint64_t count, sum;
};

static void assert_is(const struct sketch *s, const struct plain *p)
{
    struct sketch_walk w = {0};
    uint32_t next = 0;

    assert_int_equal(s->count, p->count);
    assert_int_equal(s->sum, p->sum);
    while (sketch_walk(s, &w)) {
        for (; next < w.bucket; next++)
            assert_int_equal(p->calls[next], 0);
        assert_int_equal(p->calls[next++], w.calls);
    }
    for (; next < SKETCH_BUCKETS; next++)
        assert_int_equal(p->calls[next], 0);
}

/* `spread`: how many buckets, about. */
static void draw(struct sketch *s, struct plain *p, int values, double spread)
{
    sketch_reset(s);
    *p = (struct plain){0};
    for (int i = 0; i < values; i++) {
        uint64_t value = (uint64_t)exp(9 + 0.02 * spread * random_unit());

        assert_int_equal(sketch_add(s, value), 0);
        p->calls[bucket_by_logarithm(value)]++;
        p->count++;
        p->sum += value;
    }
    assert_is(s, p);
}

/* A list of few buckets or places for many: nobody sees which. */
static void test_few_and_many_are_the_same(void **state)
{
    static struct plain all, one;
    struct sketch into = {0}, from = {0}, back = {0};
    struct buf b;

    (void)state;
    for (int round = 0; round < 400; round++) {
        if (round % 20 == 0) {
            sketch_fini(&into);
            all = (struct plain){0};
        }
        draw(&from, &one, (int)(200 * random_unit() * random_unit()), 150 * random_unit());
        assert_int_equal(sketch_merge(&into, &from), 0);
        for (uint32_t i = 0; i < SKETCH_BUCKETS; i++)
            all.calls[i] += one.calls[i];
        all.count += one.count;
        all.sum += one.sum;
        assert_is(&into, &all);
        buf_init(&b, SKETCH_ENCODED_MAX);
        assert_int_equal(sketch_encode(&into, &b), 0);
        assert_int_equal(sketch_decode_merge(&back, buf_slice(&b)), 0);
        assert_is(&back, &all);
        sketch_reset(&back);
        if (round % 3 == 0)
            sketch_fini(&back);
        if (round % 7 == 0)
            sketch_fini(&from);
        buf_fini(&b);
    }
    sketch_fini(&into);
    sketch_fini(&from);
    sketch_fini(&back);
}

/* Counts of a few buckets that no longer fit the list's 32 bits. */
static void test_few_buckets_hold_many_calls(void **state)
{
    static const uint8_t text[] = {1, 5, 7, 0xff, 0xff, 0xff, 0xff, 0x0f, 2, 0}; /* 2^32 - 1, 0 */
    struct sketch s = {0}, other = {0};
    struct sketch_walk w = {0};

    (void)state;
    assert_int_equal(sketch_decode_merge(&s, slice_of(text, sizeof(text))), 0);
    assert_int_equal(sketch_merge(&other, &s), 0);
    assert_int_equal(sketch_merge(&s, &other), 0);
    assert_int_equal(sketch_decode_merge(&other, slice_of(text, sizeof(text))), 0);
    assert_int_equal(s.count, 2 * (uint64_t)UINT32_MAX);
    assert_int_equal(other.count, s.count);
    assert_true(sketch_walk(&s, &w));
    assert_int_equal(w.bucket, 7);
    assert_int_equal(w.calls, 2 * (uint64_t)UINT32_MAX);
    assert_false(sketch_walk(&s, &w)); /* a bucket told with nothing is none */
    sketch_fini(&s);
    sketch_fini(&other);
}

static void test_empty_encodes_to_nothing(void **state)
{
    struct sketch s = {0};
    struct buf b;

    (void)state;
    buf_init(&b, SKETCH_ENCODED_MAX);
    assert_int_equal(sketch_encode(&s, &b), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(sketch_decode_merge(&s, buf_slice(&b)), 0);
    assert_int_equal(s.count, 0);
    assert_true(sketch_quantile(&s, 0.5) == 0);
    buf_fini(&b);
}

static void test_damage_is_refused(void **state)
{
    static const uint8_t versions[] = {9, 1, 1, 1}, cut[] = {1, 5, 0x80},
                         far[] = {1, 5, 0xff, 0x7f, 1};
    static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 1};
    struct sketch s = {0};

    (void)state;
    assert_int_equal(sketch_decode_merge(&s, slice_of(versions, sizeof(versions))), -EBADMSG);
    assert_int_equal(sketch_decode_merge(&s, slice_of(cut, sizeof(cut))), -EBADMSG);
    assert_int_equal(sketch_decode_merge(&s, slice_of(far, sizeof(far))), -EBADMSG);
    assert_int_equal(sketch_decode_merge(&s, slice_of(endless, sizeof(endless))), -EBADMSG);
    sketch_fini(&s);
}

static void test_count_above(void **state)
{
    struct sketch s = {0};

    (void)state;
    for (uint64_t v = 1; v <= 1000; v++)
        assert_int_equal(sketch_add(&s, v * 1000), 0);
    assert_int_equal(sketch_count_above(&s, 2e6), 0);
    assert_int_equal(sketch_count_above(&s, 10), 1000);
    assert_in_range(sketch_count_above(&s, 500e3), 480, 510);
    sketch_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_keep_their_error),
        cmocka_unit_test(test_buckets_are_those_of_the_logarithm),
        cmocka_unit_test(test_merge_is_exact),
        cmocka_unit_test(test_encoding_comes_back),
        cmocka_unit_test(test_few_and_many_are_the_same),
        cmocka_unit_test(test_few_buckets_hold_many_calls),
        cmocka_unit_test(test_empty_encodes_to_nothing),
        cmocka_unit_test(test_damage_is_refused),
        cmocka_unit_test(test_count_above),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
