/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/seqs.c collector/recent.c collector/hash.c */
#include "collector/seqs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NUMBERS 4000
#define STREAMS 3

/* A store as plain as can be: pieces by their first number, and the copy that a rollback brings
 * back. */
struct shelf {
    uint64_t hi[STREAMS][NUMBERS]; /* by `lo`; 0: no such piece */
};

static struct shelf now, before;
static bool fails;
static unsigned loads, looks, claims, writes;

static unsigned index_of(const char *instance)
{
    return (unsigned)(instance[0] - 'a');
}

static int shelf_load(void *ctx, const char *instance, uint32_t part,
                      int (*each)(void *each_ctx, uint64_t lo, uint64_t hi), void *each_ctx)
{
    (void)ctx;
    (void)part;
    loads++;
    for (uint64_t lo = 0; lo < NUMBERS; lo++) {
        uint64_t hi = now.hi[index_of(instance)][lo];
        int r = hi ? each(each_ctx, lo, hi) : 0;

        if (r < 0)
            return r;
    }
    return fails ? -EIO : 0;
}

static int shelf_put(void *ctx, const char *instance, uint32_t part, uint64_t lo, uint64_t hi)
{
    (void)ctx;
    (void)part;
    writes++;
    if (fails)
        return -EIO;
    now.hi[index_of(instance)][lo] = hi;
    return 0;
}

static int shelf_drop(void *ctx, const char *instance, uint32_t part, uint64_t lo)
{
    (void)ctx;
    (void)part;
    assert_true(now.hi[index_of(instance)][lo] != 0);
    now.hi[index_of(instance)][lo] = 0;
    return 0;
}

static bool on_shelf(unsigned stream, uint64_t seq)
{
    for (uint64_t lo = 0; lo <= seq; lo++)
        if (now.hi[stream][lo] >= seq)
            return true;
    return false;
}

static int shelf_has(void *ctx, const char *instance, uint32_t part, uint64_t seq, bool *ret_has)
{
    (void)ctx;
    (void)part;
    looks++;
    *ret_has = on_shelf(index_of(instance), seq);
    return 0;
}

/* Leaves a piece for each number: what is claimed one by one need not be joined here. */
static int shelf_claim(void *ctx, const char *instance, uint32_t part, uint64_t seq)
{
    (void)ctx;
    (void)part;
    claims++;
    assert_false(on_shelf(index_of(instance), seq));
    now.hi[index_of(instance)][seq] = seq;
    return 0;
}

static const struct seqs_store shelf = {.load = shelf_load,
                                        .put = shelf_put,
                                        .drop = shelf_drop,
                                        .has = shelf_has,
                                        .claim = shelf_claim};

static int setup(void **state)
{
    (void)state;
    memset(&now, 0, sizeof(now));
    memset(&before, 0, sizeof(before));
    fails = false;
    loads = looks = claims = writes = 0;
    return 0;
}

static bool claims_new(struct seqs *q, const char *instance, uint64_t seq)
{
    bool is_new = false;

    assert_int_equal(seqs_claim(q, 0, instance, 1, seq, &is_new), 0);
    return is_new;
}

static void commit(struct seqs *q)
{
    assert_int_equal(seqs_save(q), 0);
    seqs_committed(q);
    before = now;
}

static void test_one_piece_when_in_order(void **state)
{
    struct seqs *q = NULL;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    for (uint64_t seq = 1; seq <= 1000; seq++)
        assert_true(claims_new(q, "a", seq));
    assert_false(claims_new(q, "a", 500));
    commit(q);
    assert_int_equal(now.hi[0][1], 1000);
    assert_int_equal(writes, 1);
    assert_true(claims_new(q, "a", 1001));
    assert_false(claims_new(q, "a", 1001));
    commit(q);
    assert_int_equal(now.hi[0][1], 1001);
    assert_int_equal(writes, 2);
    assert_int_equal(loads, 1);
    seqs_free(&q);
}

static void test_pieces_join(void **state)
{
    struct seqs *q = NULL;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    assert_true(claims_new(q, "a", 10));
    assert_true(claims_new(q, "a", 12));
    commit(q);
    assert_true(claims_new(q, "a", 9));
    commit(q);
    assert_int_equal(now.hi[0][9], 10);
    assert_int_equal(now.hi[0][10], 0);
    assert_true(claims_new(q, "a", 11));
    assert_false(claims_new(q, "a", 12));
    commit(q);
    assert_int_equal(now.hi[0][9], 12);
    assert_int_equal(now.hi[0][12], 0);
    seqs_free(&q);
}

/* What a batch claimed that was rolled back is new again. */
static void test_rollback(void **state)
{
    struct seqs *q = NULL;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    assert_true(claims_new(q, "a", 1));
    commit(q);
    assert_true(claims_new(q, "a", 2));
    assert_true(claims_new(q, "b", 1));
    seqs_rolled_back(q);
    assert_false(claims_new(q, "a", 1));
    assert_true(claims_new(q, "a", 2));
    assert_true(claims_new(q, "b", 1));
    fails = true;
    assert_int_equal(seqs_save(q), -EIO);
    fails = false;
    now = before;
    seqs_rolled_back(q);
    assert_true(claims_new(q, "b", 1));
    seqs_free(&q);
}

static void test_load_fails(void **state)
{
    struct seqs *q = NULL;
    bool is_new = false;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    fails = true;
    assert_int_equal(seqs_claim(q, 0, "a", 1, 1, &is_new), -EIO);
    fails = false;
    assert_true(claims_new(q, "a", 1));
    seqs_free(&q);
}

/* Every second number: more pieces than are held. */
static void test_wide_streams_are_the_stores(void **state)
{
    struct seqs *q = NULL;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    for (uint64_t seq = 1; seq <= 2 * (SEQS_PIECES_MAX + 10); seq += 2)
        assert_true(claims_new(q, "a", seq));
    assert_int_equal(looks, 0);
    commit(q);
    assert_true(seqs_bytes(q) < SEQS_PIECES_MAX);
    assert_false(claims_new(q, "a", 1));
    assert_true(claims_new(q, "a", 2));
    assert_false(claims_new(q, "a", 2));
    assert_int_equal(looks, 3);
    assert_int_equal(claims, 0);
    commit(q);
    assert_int_equal(claims, 1);
    assert_true(claims_new(q, "a", 6));
    seqs_rolled_back(q);
    assert_true(claims_new(q, "a", 6));
    seqs_rolled_back(q);
    seqs_free(&q);
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    assert_false(claims_new(q, "a", 2));
    assert_true(claims_new(q, "a", 4));
    commit(q);
    assert_int_equal(claims, 2);
    seqs_free(&q);
}

static void test_lost_lane_is_read_again(void **state)
{
    struct seqs *q = NULL;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1 << 20, &q), 0);
    assert_true(claims_new(q, "a", 1));
    commit(q);
    now.hi[0][1] = 5; /* another collector had it meanwhile */
    seqs_drop_lane(q, 1);
    assert_true(claims_new(q, "a", 2));
    seqs_rolled_back(q);
    seqs_drop_lane(q, 0);
    assert_false(claims_new(q, "a", 5));
    seqs_free(&q);
}

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

/* Random numbers, rollbacks and a cache that holds next to nothing: as a set of numbers does. */
static void test_like_a_set(void **state)
{
    static bool set[STREAMS][NUMBERS], set_before[STREAMS][NUMBERS];
    struct seqs *q = NULL;

    (void)state;
    assert_int_equal(seqs_new(&shelf, 1, &q), 0);
    for (int batch = 0; batch < 400; batch++) {
        uint64_t base = random_below(NUMBERS - 200);

        for (int i = 0; i < 60; i++) {
            const char name[] = {(char)('a' + random_below(STREAMS)), 0};
            uint64_t seq = 1 + base + random_below(150);
            bool *member = &set[index_of(name)][seq];

            assert_int_equal(claims_new(q, name, seq), !*member);
            *member = true;
        }
        assert_int_equal(seqs_save(q), 0);
        if (random_below(4) == 0) {
            now = before;
            memcpy(set, set_before, sizeof(set));
            seqs_rolled_back(q);
        } else {
            seqs_committed(q);
            before = now;
            memcpy(set_before, set, sizeof(set));
        }
    }
    for (unsigned s = 0; s < STREAMS; s++)
        for (uint64_t seq = 1; seq < NUMBERS; seq++) {
            assert_int_equal(on_shelf(s, seq), set[s][seq]);
            /* no two pieces touch */
            if (now.hi[s][seq] && now.hi[s][seq] + 1 < NUMBERS)
                assert_int_equal(now.hi[s][now.hi[s][seq] + 1], 0);
        }
    seqs_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_piece_when_in_order, setup),
        cmocka_unit_test_setup(test_pieces_join, setup),
        cmocka_unit_test_setup(test_rollback, setup),
        cmocka_unit_test_setup(test_load_fails, setup),
        cmocka_unit_test_setup(test_wide_streams_are_the_stores, setup),
        cmocka_unit_test_setup(test_lost_lane_is_read_again, setup),
        cmocka_unit_test_setup(test_like_a_set, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
