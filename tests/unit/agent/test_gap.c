/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/gap.c agent/once.c agent/inflight.c */
/* The spools are played by this test: in memory that processes share and that
 * outlives them, so that they can be killed at a chosen step. */
#include "agent/config.h"
#include "agent/event.h"
#include "agent/gap.h"
#include "agent/inflight.h"
#include "agent/ipc.h"
#include "agent/publish.h"
#include "proto/event.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PROCESSES 3
#define EVENTS_MAX 64

enum step {
    STEP_NONE,
    STEP_PROMISED,
    STEP_APPENDED,
};

struct event {
    char id[37];
    uint64_t seen, connections, calls;
    unsigned process;
};

struct world {
    struct event events[EVENTS_MAX];
    unsigned count;
    uint64_t last_seq[PROCESSES];
    int last_answer; /* of publish_last_seq() */
    int refuse;      /* what appending says instead */
    unsigned lost;   /* refused events that nobody offers again */
};

static struct world *world;
static char dir[64];
static struct config config;

/* ---- the publisher ---- */

struct publish {
    unsigned process;
    uint64_t *cell;
    bool is_attempt;
    enum step die_at;
};

static const char *instance_of(unsigned process)
{
    static char text[37];

    snprintf(text, sizeof(text), "00000000-0000-8000-8000-%012x", process);
    return text;
}

const char *publish_instance(const struct publish *p)
{
    return instance_of(p->process);
}

void publish_promise(struct publish *p, uint64_t *cell, uint64_t base)
{
    (void)base;
    p->cell = cell;
}

void publish_attempt(struct publish *p, uint64_t *cell)
{
    p->cell = cell;
    p->is_attempt = true;
}

int publish_last_seq(struct publish *p, const char *instance, uint64_t *ret_seq)
{
    (void)p;
    for (unsigned i = 0; world->last_answer == 0 && i < PROCESSES; i++)
        if (strcmp(instance, instance_of(i)) == 0)
            *ret_seq = world->last_seq[i];
    return world->last_answer;
}

static int append(struct publish *p, const struct event *event)
{
    uint64_t *cell = p->cell;

    p->cell = NULL;
    if (world->refuse) {
        world->lost += !p->is_attempt;
        return world->refuse;
    }
    assert_non_null(cell);
    *cell = world->last_seq[p->process] + 1;
    if (p->die_at == STEP_PROMISED)
        kill(getpid(), SIGKILL);
    assert_true(world->count < EVENTS_MAX);
    world->events[world->count] = *event;
    world->events[world->count++].process = p->process;
    world->last_seq[p->process]++;
    if (p->die_at == STEP_APPENDED)
        kill(getpid(), SIGKILL);
    return 0;
}

int publish_gap(struct publish *p, Lectr__V1__Gap *gap)
{
    struct event event = {.connections = gap->connections, .calls = gap->calls_in_flight};

    snprintf(event.id, sizeof(event.id), "%s", gap->id ? gap->id : "");
    return append(p, &event);
}

int publish_coverage(struct publish *p, Lectr__V1__Coverage *coverage)
{
    struct event event = {.seen = coverage->seen_connections};

    snprintf(event.id, sizeof(event.id), "%s", coverage->id ? coverage->id : "");
    return append(p, &event);
}

void event_workload(const struct caller *who, const struct event_context *ctx,
                    Lectr__V1__Workload *ret_workload)
{
    (void)who, (void)ctx;
    *ret_workload = (Lectr__V1__Workload)LECTR__V1__WORKLOAD__INIT;
}

/* ---- processes ---- */

struct process {
    struct publish publish;
    struct inflight *inflight;
    struct gap *gap;
};

static struct process start(unsigned number)
{
    struct process p = {.publish = {.process = number}};

    assert_int_equal(inflight_open(dir, instance_of(number), &p.inflight), 0);
    return p;
}

/* What it publishes with moves no more. */
static void start_gap(struct process *p)
{
    assert_int_equal(gap_new(&config, &p->publish, p->inflight, &p->gap), 0);
}

static void stop(struct process *p)
{
    gap_free(&p->gap);
    inflight_close(&p->inflight);
}

static const struct ipc_census *row(unsigned n, const char *reason)
{
    static struct ipc_census census;

    census = (struct ipc_census){.id = n, .connections = 95};
    snprintf(census.gap_id, sizeof(census.gap_id), "22222222-2222-8222-8222-%012x", n);
    snprintf(census.reason, sizeof(census.reason), "%s", reason);
    return &census;
}

/* Process `number` with one call open is killed at `step` of row 1, or of adopting. */
static void die(unsigned number, enum step step, bool adopting)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct process p = start(number);
        struct inflight_slot *slot = inflight_take(p.inflight);

        inflight_set_calls(slot, 1);
        start_gap(&p);
        p.publish.die_at = step;
        if (adopting)
            gap_adopt(p.gap);
        else
            (void)!gap_census(p.gap, row(1, ""));
        _exit(3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/lectr-gap-XXXXXX");
    memset(world, 0, sizeof(*world));
    config = (struct config){.state_dir = dir};
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t seen(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < world->count; i++)
        sum += world->events[i].seen;
    return sum;
}

static uint64_t calls_told(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < world->count; i++)
        sum += world->events[i].calls;
    return sum;
}

/* ---- tests ---- */

static void test_a_row_sent_again(void **state)
{
    struct process p = start(0);
    struct gap_stats stats;

    (void)state;
    start_gap(&p);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gap_census(p.gap, row(1, "")), 0);
    assert_int_equal(gap_census(p.gap, row(2, "no_listener")), 0);
    assert_int_equal(gap_census(p.gap, row(2, "no_listener")), 0);
    assert_int_equal(gap_census(p.gap, row(3, "steered")), 0);
    assert_int_equal(world->count, 2);
    assert_int_equal(seen(), 95);
    assert_int_equal(world->events[1].connections, 95);
    assert_string_equal(world->events[0].id, row(1, "")->gap_id);
    gap_stats(p.gap, &stats);
    assert_int_equal(stats.census_rows, 6);
    assert_int_equal(stats.told_before, 3);
    assert_int_equal(stats.coverages, 1);
    stop(&p);
}

/* The old proxy outlives its helper: which of the two comes first is chance. */
static void test_an_orphan_beside_its_successor(void **state)
{
    struct process orphan = start(0), new = start(1);

    (void)state;
    start_gap(&orphan);
    start_gap(&new);
    assert_int_equal(gap_census(orphan.gap, row(1, "")), 0);
    assert_int_equal(gap_census(new.gap, row(1, "")), 0);
    assert_int_equal(gap_census(new.gap, row(2, "")), 0);
    assert_int_equal(gap_census(orphan.gap, row(2, "")), 0);
    assert_int_equal(world->count, 2);
    assert_int_equal(world->events[0].process, 0);
    assert_int_equal(world->events[1].process, 1);
    stop(&orphan);
    stop(&new);
}

static void told_once_after(enum step step)
{
    struct process p;

    die(0, step, false);
    p = start(1);
    start_gap(&p);
    /* Its spool was not taken over yet. */
    world->last_answer = -EAGAIN;
    gap_adopt(p.gap);
    assert_int_equal(calls_told(), 0);
    assert_int_equal(gap_census(p.gap, row(1, "")), -EAGAIN);
    world->last_answer = 0;
    gap_adopt(p.gap);
    /* Now it is all sent, and nothing is known of it any more. */
    world->last_seq[0] = 0;
    assert_int_equal(gap_census(p.gap, row(1, "")), 0);
    assert_int_equal(gap_census(p.gap, row(1, "")), 0);
    assert_int_equal(seen(), 95);
    assert_int_equal(calls_told(), 1);
    stop(&p);
}

static void test_killed_between_promise_and_append(void **state)
{
    (void)state;
    told_once_after(STEP_PROMISED);
}

static void test_killed_between_append_and_ack(void **state)
{
    (void)state;
    told_once_after(STEP_APPENDED);
}

/* Of what a dead process left, too: its call, and the one of its adopter. */
static void losses_told_once_after(enum step step)
{
    struct process p;

    die(0, STEP_APPENDED, false);
    die(1, step, true);
    p = start(2);
    start_gap(&p);
    gap_adopt(p.gap);
    gap_adopt(p.gap);
    assert_int_equal(calls_told(), 2);
    stop(&p);
}

static void test_an_adopter_killed_before_it_told(void **state)
{
    (void)state;
    losses_told_once_after(STEP_PROMISED);
}

static void test_an_adopter_killed_after_it_told(void **state)
{
    (void)state;
    losses_told_once_after(STEP_APPENDED);
}

static void test_a_full_spool_loses_no_row(void **state)
{
    struct process p = start(1);
    struct gap_stats stats;

    (void)state;
    die(0, STEP_APPENDED, false);
    start_gap(&p);
    world->refuse = -ENOSPC;
    for (int i = 0; i < 3; i++)
        assert_int_equal(gap_census(p.gap, row(2, "")), -ENOSPC);
    gap_adopt(p.gap);
    world->refuse = 0;
    assert_int_equal(gap_census(p.gap, row(2, "")), 0);
    gap_adopt(p.gap);
    assert_int_equal(seen(), 2 * 95);
    assert_int_equal(calls_told(), 1);
    /* What comes again is not told as lost. */
    assert_int_equal(world->lost, 0);
    gap_stats(p.gap, &stats);
    assert_int_equal(stats.died_calls, 1);
    stop(&p);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_row_sent_again),
        T(test_an_orphan_beside_its_successor),
        T(test_killed_between_promise_and_append),
        T(test_killed_between_append_and_ack),
        T(test_an_adopter_killed_before_it_told),
        T(test_an_adopter_killed_after_it_told),
        T(test_a_full_spool_loses_no_row),
    };

    world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests_name("gap", tests, NULL, NULL);
}
