/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/identity_worker.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/identity_worker.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#define STUCK_FROM 1000 /* pids that do not answer until released */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static bool holding;
static unsigned looked;

static void look(void *user, uint32_t pid, struct identity_process *ret_process)
{
    pthread_mutex_lock(&lock);
    looked++;
    while (pid >= STUCK_FROM && holding)
        pthread_cond_wait(&released, &lock);
    pthread_mutex_unlock(&lock);
    *ret_process = (struct identity_process){0};
    snprintf(ret_process->comm, sizeof(ret_process->comm), "%s%u", (const char *)user, pid);
}

static void release(void)
{
    pthread_mutex_lock(&lock);
    holding = false;
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
}

static char prefix[] = "p";

static int set_up(void **state)
{
    struct identity_worker *w = NULL;

    holding = true;
    looked = 0;
    assert_int_equal(identity_worker_start(look, prefix, &w), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct identity_worker *w = *state;

    release();
    assert_true(identity_worker_stop(&w));
    return 0;
}

static int ask(struct identity_worker *w, uint64_t query, uint32_t pid)
{
    const struct ipc_who who = {.query = query, .pid = pid};

    return identity_worker_ask(w, &who, clock_mono_ns());
}

/* Waits for the next answer as the helper does. */
static void answer(struct identity_worker *w, uint64_t now_ns, struct ipc_who *ret_who,
                   struct identity_process *ret_process)
{
    struct pollfd p = {.fd = identity_worker_fd(w), .events = POLLIN};

    while (identity_worker_answer(w, now_ns, ret_who, ret_process) == -EAGAIN)
        assert_int_equal(poll(&p, 1, 30000), 1);
}

static void everybody_is_answered(void **state)
{
    struct identity_process process;
    struct ipc_who who;
    char expected[16];
    uint64_t sum = 0;

    for (unsigned i = 1; i <= 500; i++)
        assert_int_equal(ask(*state, i, i % 50 + 1), 0);
    for (unsigned i = 1; i <= 500; i++) {
        answer(*state, 0, &who, &process);
        snprintf(expected, sizeof(expected), "p%u", who.pid);
        assert_string_equal(process.comm, expected);
        sum += who.query;
    }
    assert_int_equal(sum, 500 * 501 / 2);
    assert_int_equal(identity_worker_answer(*state, 0, &who, &process), -EAGAIN);
}

/* One that does not answer keeps one thread however often it is asked for; the
 * others are answered meanwhile, and it without its process when time is up. */
static void a_stuck_process_holds_nobody_up(void **state)
{
    uint64_t late_ns = clock_mono_ns() + 3600 * NSEC_PER_SEC;
    struct identity_process process;
    struct ipc_who who;

    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(ask(*state, i, STUCK_FROM), 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(ask(*state, 100 + i, 7), 0);
        answer(*state, 0, &who, &process);
        assert_int_equal(who.query, 100 + i);
        assert_string_equal(process.comm, "p7");
    }
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(identity_worker_answer(*state, late_ns, &who, &process), 0);
        assert_int_equal(who.pid, STUCK_FROM);
        assert_string_equal(process.comm, "");
    }
    assert_int_equal(identity_worker_answer(*state, late_ns, &who, &process), -EAGAIN);
    assert_int_equal(looked, 21);
    /* What it says in the end is of no more use; its place is free again. */
    release();
    for (unsigned i = 0; i < IDENTITY_ASKED_MAX; i++) {
        assert_int_equal(ask(*state, 1000 + i, 8), 0);
        answer(*state, 0, &who, &process);
        assert_int_equal(who.pid, 8);
    }
}

static void the_queue_is_bounded(void **state)
{
    uint64_t late_ns = clock_mono_ns() + 3600 * NSEC_PER_SEC;
    struct identity_process process;
    struct ipc_who who;

    for (unsigned i = 0; i < IDENTITY_ASKED_MAX; i++)
        assert_int_equal(ask(*state, i, STUCK_FROM + i), 0);
    assert_int_equal(ask(*state, 0, 1), -ENOBUFS);
    for (unsigned i = 0; i < IDENTITY_ASKED_MAX; i++)
        assert_int_equal(identity_worker_answer(*state, late_ns, &who, &process), 0);
    assert_int_equal(ask(*state, 0, 1), 0);
}

static void stopping_does_not_wait_for_a_stuck_one(void **state)
{
    struct identity_worker *w = NULL;

    (void)state;
    holding = true;
    looked = 0;
    assert_int_equal(identity_worker_start(look, prefix, &w), 0);
    assert_int_equal(ask(w, 1, STUCK_FROM), 0);
    for (bool begun = false; !begun;) {
        pthread_mutex_lock(&lock);
        begun = looked == 1;
        pthread_mutex_unlock(&lock);
    }
    assert_false(identity_worker_stop(&w));
    assert_null(w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(everybody_is_answered),
        T(a_stuck_process_holds_nobody_up),
        T(the_queue_is_bounded),
        cmocka_unit_test(stopping_does_not_wait_for_a_stuck_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
