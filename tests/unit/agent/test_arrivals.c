/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/arrivals.c agent/cgroup.c agent/netns_life.c agent/netns.c */
#include "agent/arrivals.h"
#include "agent/cgroup.h"
#include "agent/netns_life.h"
#include "proto/base/clock.h"

#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct seen {
    uint32_t pid;
    bool told;
};

static void on_arrival(void *user, uint32_t pid, uint64_t inode)
{
    struct seen *s = user;

    s->told = s->told || (pid == s->pid && inode == netns_life_inode_of(pid));
}

static void write_pid(const char *cgroup, pid_t pid)
{
    char path[CGROUP_PATH_MAX + 16];
    CLEAN_FILE FILE *f = NULL;

    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "%d\n", pid);
}

/* Enters the cgroup first and the namespace later, as starters do. */
static pid_t start_program(const char *cgroup, int delay_ms)
{
    pid_t pid = fork();

    if (pid == 0) {
        write_pid(cgroup, getpid());
        usleep((useconds_t)delay_ms * 1000);
        if (unshare(CLONE_NEWNET) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    return pid;
}

static bool wait_told(struct arrivals *a, struct seen *s, uint64_t home_inode)
{
    uint64_t until_ns = clock_mono_ns() + 5 * NSEC_PER_SEC;

    while (!s->told && clock_mono_ns() < until_ns) {
        struct pollfd p = {.fd = arrivals_fd(a), .events = POLLIN};
        int wait_ms = arrivals_wait_ms(a, clock_mono_ns());

        poll(&p, 1, wait_ms >= 0 && wait_ms < 200 ? wait_ms : 200);
        arrivals_read(a, clock_mono_ns(), home_inode, on_arrival, s);
    }
    return s->told;
}

struct place {
    char top[CGROUP_PATH_MAX], pod[CGROUP_PATH_MAX + 8];
};

static bool make_place(struct place *p)
{
    char root[CGROUP_PATH_MAX / 2];

    if (geteuid() != 0 || cgroup_find_root(root, sizeof(root)) < 0)
        return false;
    snprintf(p->top, sizeof(p->top), "%s/lectr-test-arrivals.%d", root, getpid());
    snprintf(p->pod, sizeof(p->pod), "%s/pod", p->top);
    return mkdir(p->top, 0755) == 0;
}

static void end_place(const struct place *p, pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    for (int i = 0; i < 50 && rmdir(p->pod) < 0 && rmdir(p->top) < 0; i++)
        usleep(10000);
    rmdir(p->top);
}

static void arrival_in(bool before_watch, int delay_ms)
{
    struct arrivals *a = NULL;
    struct place place;
    struct seen seen = {0};
    bool told;

    if (!make_place(&place)) {
        print_message("SKIP - needs root and cgroup2\n");
        skip();
    }
    assert_int_equal(arrivals_new(&a), 0);
    if (before_watch)
        mkdir(place.pod, 0755);
    arrivals_watch(a, place.top);
    if (!before_watch)
        mkdir(place.pod, 0755);
    arrivals_read(a, clock_mono_ns(), 0, on_arrival, &seen);
    seen.pid = (uint32_t)start_program(place.pod, delay_ms);
    told = wait_told(a, &seen, netns_life_inode_of((uint32_t)getpid()));
    end_place(&place, (pid_t)seen.pid);
    arrivals_free(&a);
    assert_true(told);
}

static void a_process_in_a_cgroup_that_was_there(void **state)
{
    (void)state;
    arrival_in(true, 0);
}

static void a_process_in_a_new_cgroup(void **state)
{
    (void)state;
    arrival_in(false, 0);
}

static void the_namespace_may_come_later(void **state)
{
    (void)state;
    arrival_in(false, 60);
}

static void a_cgroup_that_went_is_forgotten(void **state)
{
    struct arrivals *a = NULL;
    struct place place;
    struct seen seen = {0};

    (void)state;
    if (!make_place(&place)) {
        print_message("SKIP - needs root and cgroup2\n");
        skip();
    }
    assert_int_equal(arrivals_new(&a), 0);
    arrivals_watch(a, place.top);
    for (int i = 0; i < ARRIVALS_WATCHED_MAX + 50; i++) {
        assert_int_equal(mkdir(place.pod, 0755), 0);
        arrivals_read(a, clock_mono_ns(), 0, on_arrival, &seen);
        assert_int_equal(rmdir(place.pod), 0);
        arrivals_read(a, clock_mono_ns(), 0, on_arrival, &seen);
    }
    assert_int_equal(mkdir(place.pod, 0755), 0);
    arrivals_read(a, clock_mono_ns(), 0, on_arrival, &seen);
    seen.pid = (uint32_t)start_program(place.pod, 0);
    seen.told = wait_told(a, &seen, 0);
    end_place(&place, (pid_t)seen.pid);
    arrivals_free(&a);
    assert_true(seen.told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_in_a_cgroup_that_was_there),
        cmocka_unit_test(a_process_in_a_new_cgroup),
        cmocka_unit_test(the_namespace_may_come_later),
        cmocka_unit_test(a_cgroup_that_went_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
