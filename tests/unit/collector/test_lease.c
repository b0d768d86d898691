/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store collector/lease.c */
/* Several leases on one store, as the processes of several collectors would have them. */
#include "collector/lease.h"
#include "collector/store_lane.h"
#include "collector/store_lease.h"
#include "proto/base/clock.h"
#include "tests/harness/stores.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define ALL (~UINT64_C(0))
/* Far beyond what a test waits for. */
#define PATIENCE_NS (20 * NSEC_PER_SEC)
#define LONG_TTL_MS 60000
#define SHORT_TTL_MS 300

struct collector {
    struct store *store;
    struct lease *lease;
    struct lease_lanes held; /* by what its turns told */
};

static void join(struct collector *c, const char *id, uint32_t ttl_ms)
{
    const struct lease_settings settings = {.id = id, .ttl_ms = ttl_ms};

    *c = (struct collector){0};
    assert_int_equal(store_open(stores_where, &c->store), 0);
    assert_int_equal(lease_new(c->store, &settings, &c->lease), 0);
}

/* What a kill would leave: nobody says goodbye. */
static void vanish(struct collector *c)
{
    lease_free(&c->lease);
    store_close(&c->store);
}

static struct lease_turn turn_once(struct collector *c)
{
    struct lease_turn turn = {0};

    assert_int_equal(lease_turn(c->lease, &turn), 0);
    assert_int_equal(c->held.parts & turn.gained.parts, 0);
    assert_int_equal(turn.lost.parts & ~c->held.parts, 0);
    c->held.parts = (c->held.parts & ~turn.lost.parts) | turn.gained.parts;
    c->held.judge = (c->held.judge && !turn.lost.judge) || turn.gained.judge;
    return turn;
}

/* A turn of one who lets go at once of what it is to leave. */
static void turn(struct collector *c)
{
    struct lease_turn t = turn_once(c);

    assert_int_equal(lease_release(c->lease, t.leaving), 0);
    c->held.parts &= ~t.leaving.parts;
    assert_true(lease_held(c->lease).parts == c->held.parts);
    assert_true(lease_held(c->lease).judge == c->held.judge);
}

static unsigned count(const struct collector *c)
{
    return (unsigned)__builtin_popcountll(c->held.parts);
}

/* --- the plan --- */

static void test_plan_is_fair(void **state)
{
    (void)state;
    for (unsigned alive = 1; alive <= 70; alive++) {
        uint64_t taken = 0;

        for (unsigned me = 0; me < alive; me++) {
            struct lease_view view = {.lanes = STORE_PARTS, .alive = alive, .me = me};
            uint64_t take, give;
            unsigned lanes;

            for (unsigned i = 0; i < STORE_PARTS; i++)
                view.owner[i] = taken >> i & 1 ? (int)alive : LEASE_NOBODY;
            lease_plan(&view, &take, &give);
            lanes = (unsigned)__builtin_popcountll(take);
            assert_int_equal(give, 0);
            assert_true(lanes == STORE_PARTS / alive || lanes == STORE_PARTS / alive + 1);
            taken |= take;
        }
        assert_true(taken == ALL);
    }
}

static void test_plan_gives_only_what_is_too_much(void **state)
{
    struct lease_view view = {.lanes = STORE_PARTS, .alive = 3, .me = 1};
    uint64_t take, give;

    (void)state;
    for (unsigned i = 0; i < STORE_PARTS; i++)
        view.owner[i] = 1;
    lease_plan(&view, &take, &give);
    assert_int_equal(take, 0);
    assert_int_equal(__builtin_popcountll(give), STORE_PARTS - 21);
    for (unsigned i = 0; i < STORE_PARTS; i++)
        view.owner[i] = i < 21 ? 1 : i < 43 ? 0 : 2;
    lease_plan(&view, &take, &give);
    assert_int_equal(take | give, 0);
}

/* --- one process --- */

static void test_sqlite_has_one_owner(void **state)
{
    struct collector a;
    CLEAN_STORE struct store *s = NULL;
    struct lease *lease = NULL;
    struct lease_turn t;

    (void)state;
    join(&a, "a", LONG_TTL_MS);
    t = turn_once(&a);
    assert_int_equal(t.gained.parts, 1);
    assert_true(t.gained.judge);
    t = turn_once(&a);
    assert_int_equal(t.gained.parts | t.lost.parts | t.leaving.parts, 0);
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(lease_new(s, &(struct lease_settings){"b", LONG_TTL_MS}, &lease), -EBUSY);
    assert_non_null(strstr(store_error(s), "another collector"));
    vanish(&a);
    assert_int_equal(lease_new(s, &(struct lease_settings){"b", LONG_TTL_MS}, &lease), 0);
    lease_free(&lease);
}

/* --- several --- */

static void test_lanes_are_shared_out(void **state)
{
    struct collector c[3];
    struct lease_turn t;

    (void)state;
    STORES_NEEDED();
    join(&c[0], "a", LONG_TTL_MS);
    turn(&c[0]);
    assert_true(c[0].held.parts == ALL && c[0].held.judge);
    join(&c[1], "b", LONG_TTL_MS);
    turn(&c[1]);
    assert_int_equal(count(&c[1]), 0);
    /* What is leaving stays until it is released. */
    t = turn_once(&c[0]);
    assert_int_equal(t.collectors, 2);
    assert_int_equal(__builtin_popcountll(t.leaving.parts), 32);
    turn(&c[1]);
    assert_int_equal(count(&c[1]), 0);
    turn(&c[0]);
    turn(&c[1]);
    assert_int_equal(count(&c[0]), 32);
    assert_true((c[0].held.parts ^ c[1].held.parts) == ALL);
    join(&c[2], "c", LONG_TTL_MS);
    for (int i = 0; i < 9; i++)
        turn(&c[i % 3]);
    assert_true((c[0].held.parts ^ c[1].held.parts ^ c[2].held.parts) == ALL);
    assert_int_equal(count(&c[0]), 22);
    assert_int_equal(count(&c[1]), 21);
    assert_int_equal(count(&c[2]), 21);
    assert_true(c[0].held.judge && !c[1].held.judge && !c[2].held.judge);
    /* One goes in good order: nobody waits for its time to run out. */
    assert_int_equal(lease_leave(c[0].lease), 0);
    turn(&c[1]);
    turn(&c[2]);
    assert_true((c[1].held.parts ^ c[2].held.parts) == ALL);
    assert_true(c[1].held.judge);
    for (int i = 0; i < 3; i++)
        vanish(&c[i]);
}

static void test_the_dead_are_taken_over_from(void **state)
{
    struct collector a, b;
    uint64_t until_ns;

    (void)state;
    STORES_NEEDED();
    join(&a, "a", SHORT_TTL_MS);
    join(&b, "b", SHORT_TTL_MS);
    for (int i = 0; i < 4; i++)
        turn(i % 2 ? &b : &a);
    vanish(&a);
    until_ns = clock_mono_ns() + PATIENCE_NS;
    while ((b.held.parts != ALL || !b.held.judge) && clock_mono_ns() < until_ns) {
        turn(&b);
        usleep(lease_turn_ms(b.lease) * 1000);
    }
    assert_true(b.held.parts == ALL && b.held.judge);
    vanish(&b);
}

/* --- fencing --- */

static const struct lease_lanes lane_3 = {.parts = 1 << 3};

static int write_lane(struct collector *c, uint64_t lo)
{
    const struct store_interval interval = {.instance = "i", .part = 3, .lo = lo, .hi = lo};

    return store_put_interval(c->store, &interval);
}

static uint64_t written(struct collector *c)
{
    struct store_loss loss;

    assert_int_equal(store_loss(c->store, &loss), 0);
    return loss.received;
}

static int find_3(void *ctx, int64_t lane, const char *owner, int64_t epoch)
{
    (void)owner;
    if (lane == 3)
        *(int64_t *)ctx = epoch;
    return 0;
}

static bool try_to_take(struct collector *c, const char *id)
{
    int64_t epoch = 0;
    bool taken = false;

    assert_int_equal(store_each_lease(c->store, find_3, &epoch), 0);
    assert_int_equal(store_take_lease(c->store, 3, epoch, id, &taken), 0);
    return taken;
}

/* Taken between two transactions of the old owner: the second one is refused. */
static void test_who_lost_a_lane_writes_nothing(void **state)
{
    struct collector a, b;
    struct lease_turn t;

    (void)state;
    STORES_NEEDED();
    join(&a, "a", LONG_TTL_MS);
    turn(&a);
    join(&b, "b", LONG_TTL_MS);
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, lane_3), 0);
    assert_int_equal(write_lane(&a, 1), 0);
    assert_int_equal(store_commit(a.store), 0);
    assert_true(try_to_take(&b, "b"));
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, lane_3), -ESTALE);
    store_rollback(a.store);
    assert_int_equal(written(&b), 1);
    /* Other lanes go on. */
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, (struct lease_lanes){ALL ^ 1 << 3, true}), 0);
    store_rollback(a.store);
    t = turn_once(&a);
    assert_true(t.lost.parts == lane_3.parts);
    vanish(&a);
    vanish(&b);
}

/* Taken and given back: what the old epoch knew is not true any more. */
static void test_an_old_epoch_is_refused(void **state)
{
    struct collector a, b;

    (void)state;
    STORES_NEEDED();
    join(&a, "a", LONG_TTL_MS);
    turn(&a);
    join(&b, "b", LONG_TTL_MS);
    assert_true(try_to_take(&b, "b"));
    assert_true(try_to_take(&b, "a"));
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, lane_3), -ESTALE);
    store_rollback(a.store);
    vanish(&a);
    vanish(&b);
}

/* In the middle of a transaction that was checked nobody can take the lane. */
static void test_a_checked_transaction_is_whole(void **state)
{
    struct collector a, b;

    (void)state;
    STORES_NEEDED();
    join(&a, "a", LONG_TTL_MS);
    turn(&a);
    join(&b, "b", LONG_TTL_MS);
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, lane_3), 0);
    assert_false(try_to_take(&b, "b"));
    assert_int_equal(write_lane(&a, 1), 0);
    assert_false(try_to_take(&b, "b"));
    assert_int_equal(store_commit(a.store), 0);
    assert_int_equal(written(&b), 1);
    assert_true(try_to_take(&b, "b"));
    vanish(&a);
    vanish(&b);
}

/* Stopped in a transaction, with its rows locked, and taken for dead: its connection
 * is ended, and when it wakes its write is not there. */
static void test_who_hangs_is_cut_off(void **state)
{
    struct collector a, b;
    uint64_t until_ns;
    int r;

    (void)state;
    STORES_NEEDED();
    join(&a, "a", SHORT_TTL_MS);
    turn(&a);
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, lane_3), 0);
    assert_int_equal(write_lane(&a, 1), 0);
    join(&b, "b", SHORT_TTL_MS);
    until_ns = clock_mono_ns() + PATIENCE_NS;
    while (b.held.parts != ALL && clock_mono_ns() < until_ns) {
        turn(&b);
        usleep(lease_turn_ms(b.lease) * 1000);
    }
    assert_true(b.held.parts == ALL);
    r = write_lane(&a, 2);
    assert_true(r == 0 || r == -ENOTCONN);
    assert_int_equal(store_commit(a.store), -ENOTCONN);
    store_rollback(a.store);
    assert_int_equal(written(&b), 0);
    /* It comes back as one of two. */
    turn(&a);
    assert_int_equal(count(&a), 0);
    turn(&b);
    turn(&a);
    assert_int_equal(count(&a), 32);
    vanish(&a);
    vanish(&b);
}

/* Whether a commit has happened is not known: all is read again, under new epochs. */
static void test_doubt(void **state)
{
    struct collector a;
    struct lease_turn t;

    (void)state;
    STORES_NEEDED();
    join(&a, "a", LONG_TTL_MS);
    turn(&a);
    lease_doubt(a.lease);
    t = turn_once(&a);
    assert_true(t.lost.parts == ALL && t.lost.judge);
    assert_int_equal(lease_held(a.lease).parts, 0);
    t = turn_once(&a);
    assert_true(t.gained.parts == ALL && t.gained.judge);
    assert_int_equal(store_begin(a.store), 0);
    assert_int_equal(lease_check(a.lease, a.store, t.gained), 0);
    store_rollback(a.store);
    vanish(&a);
}

/* --- killed for real --- */

/* Takes in numbers of part 3 for ever, each in a transaction with a gap of one
 * connection, whenever the lane is its own. */
static void work(void)
{
    struct store *s = NULL;
    struct lease *l = NULL;
    char id[LEASE_ID_BYTES];
    struct record gap = {.org = "acme", .reason = "test", .connections = 1, .end_ns = NSEC_PER_SEC};

    lease_make_id(id);
    if (store_open(stores_where, &s) < 0 ||
        lease_new(s, &(struct lease_settings){id, SHORT_TTL_MS}, &l) < 0)
        _exit(1);
    for (;;) {
        struct lease_turn t;
        struct store_loss loss;
        int r = lease_turn(l, &t);

        if (r < 0 || !(lease_held(l).parts & lane_3.parts)) {
            usleep(10000);
            continue;
        }
        for (int i = 0; i < 20 && r == 0; i++) {
            bool is_new = false;

            r = store_begin(s);
            if (r == 0)
                r = lease_check(l, s, lane_3);
            if (r == 0)
                r = store_loss(s, &loss);
            if (r == 0)
                r = store_claim(s, "i", 3, loss.received + 1, &is_new);
            if (r == 0 && is_new)
                r = store_add_gap(s, 3, &gap);
            if (r == 0)
                r = store_commit(s);
            if (r < 0)
                store_rollback(s);
        }
    }
}

static int add_connections(void *ctx, const struct store_gap_row *row)
{
    *(uint64_t *)ctx += row->connections;
    return 0;
}

static uint64_t wait_for_more(struct store *s, uint64_t than)
{
    uint64_t until_ns = clock_mono_ns() + PATIENCE_NS;
    struct store_loss loss = {0};

    while (loss.received <= than && clock_mono_ns() < until_ns) {
        usleep(5000);
        assert_int_equal(store_loss(s, &loss), 0);
    }
    assert_true(loss.received > than);
    return loss.received;
}

static pid_t spawn(void)
{
    pid_t pid = fork();

    if (pid == 0)
        work();
    assert_true(pid > 0);
    return pid;
}

/* One of two is killed, or stopped for longer than its time, again and again. */
static void test_kill_and_stop(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    pid_t pids[2];
    uint64_t received = 0, connections = 0;
    struct store_loss loss;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    pids[0] = spawn();
    pids[1] = spawn();
    for (int round = 0; round < 8; round++) {
        pid_t *victim = &pids[round % 2];

        received = wait_for_more(s, received);
        kill(*victim, round < 4 ? SIGKILL : SIGSTOP);
        if (round < 4) {
            assert_int_equal(waitpid(*victim, NULL, 0), *victim);
            *victim = spawn();
        }
        received = wait_for_more(s, received + 20);
        kill(*victim, SIGCONT);
    }
    for (int i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    }
    usleep(200000);
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.missing, 0);
    assert_int_equal(store_each_gap(s, ROLLUP_DAY, 0, INT64_MAX, add_connections, &connections), 0);
    assert_int_equal(connections, loss.received);
}

int main(void)
{
    const struct CMUnitTest sole[] = {
        cmocka_unit_test(test_plan_is_fair),
        cmocka_unit_test(test_plan_gives_only_what_is_too_much),
        cmocka_unit_test_teardown(test_sqlite_has_one_owner, stores_empty),
    };
    const struct CMUnitTest shared[] = {
        cmocka_unit_test_teardown(test_lanes_are_shared_out, stores_empty),
        cmocka_unit_test_teardown(test_the_dead_are_taken_over_from, stores_empty),
        cmocka_unit_test_teardown(test_who_lost_a_lane_writes_nothing, stores_empty),
        cmocka_unit_test_teardown(test_an_old_epoch_is_refused, stores_empty),
        cmocka_unit_test_teardown(test_a_checked_transaction_is_whole, stores_empty),
        cmocka_unit_test_teardown(test_who_hangs_is_cut_off, stores_empty),
        cmocka_unit_test_teardown(test_doubt, stores_empty),
        cmocka_unit_test_teardown(test_kill_and_stop, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", sole, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", shared, stores_setup_postgres,
                                       stores_teardown);
}
