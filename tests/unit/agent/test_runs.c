/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/runs.c agent/cgroup.c */
/* Moves a child about in cgroups of its own making; that part needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/runs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    char root[CGROUP_PATH_MAX], top[256], service[300], outside[256], run_dir[64];
    uint64_t made, gone;
    unsigned made_count, gone_count;
} st;

static void parents(void **state)
{
    const struct {
        const char *own, *parent;
        bool below;
    } rows[] = {
        {"/c/lab/web.service", "/c/lab/web.service", true},
        {"/c/lab/a/b", "/c/lab/a/b", true},
        /* a command run by a command: beside it */
        {"/c/lab/web.service/lectr-run-sh-1-1", "/c/lab/web.service", true},
        {"/c/lab/web.service/lectr-run-sh-1-1/lectr-run-x-2-2", "/c/lab/web.service", true},
        {"/c/lab/lectr-run-sh-1-1", "/c/lab/lectr-run", false},
        /* from the top, from ours, from outside */
        {"/c/lab", "/c/lab/lectr-run", false},
        {"/c/lab/lectr-run/node-1-1", "/c/lab/lectr-run", false},
        {"/c/lab/lectr-run", "/c/lab/lectr-run", false},
        {"/c/laboratory/x", "/c/lab/lectr-run", false},
        {"/c", "/c/lab/lectr-run", false},
        {"/c/lab/web.service (deleted)", "/c/lab/lectr-run", false},
        /* named alike, not ours */
        {"/c/lab/lectr-runner", "/c/lab/lectr-runner", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char parent[CGROUP_PATH_MAX];
        bool below = runs_parent("/c/lab", rows[i].own, parent);

        if (below != rows[i].below || strcmp(parent, rows[i].parent) != 0)
            fail_msg("%s: %s", rows[i].own, parent);
    }
}

static void on_made(void *user, uint64_t id)
{
    (void)user;
    st.made = id;
    st.made_count++;
}

static void on_gone(void *user, uint64_t id)
{
    (void)user;
    st.gone = id;
    st.gone_count++;
}

static const struct runs_notice notice = {.made = on_made, .gone = on_gone};

static int write_pid(const char *cgroup, int pid)
{
    char path[CGROUP_PATH_MAX + 16];
    FILE *f;
    int r;

    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    f = fopen(path, "we");
    if (!f)
        return -errno;
    r = fprintf(f, "%d", pid) < 0 ? -EIO : 0;
    return fclose(f) == 0 ? r : -errno;
}

static bool is_it(void *user, int pid)
{
    int *wanted = user;

    if (*wanted == pid)
        *wanted = 0;
    return *wanted != 0;
}

static bool is_in(const char *cgroup, int pid)
{
    cgroup_each_pid(cgroup, 10000, is_it, &pid);
    return pid == 0;
}

static pid_t start_child(const char *cgroup)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    assert_int_equal(write_pid(cgroup, pid), 0);
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void it_stays_within_its_limits(void **state)
{
    char path[CGROUP_PATH_MAX], list[128];
    struct runs *r = NULL;
    uint64_t id = 0, seen;
    pid_t pid = start_child(st.service);

    (void)state;
    snprintf(list, sizeof(list), "%s/runs", st.run_dir);
    assert_int_equal(runs_new(st.run_dir, st.root, st.top, &notice, &r), 0);
    assert_int_equal(st.made_count, 0);
    assert_int_equal(runs_place(r, pid, "node", &id), 0);
    snprintf(path, sizeof(path), "%s/lectr-run-node-%d-1", st.service, (int)pid);
    assert_true(is_in(path, pid));
    assert_int_equal(cgroup_id_of(path, &seen), 0);
    assert_int_equal(seen, id);
    assert_int_equal(st.made, id);
    /* Used: it stays; the next daemon knows it. */
    runs_tidy(r);
    assert_int_equal(st.gone_count, 0);
    runs_free(&r);
    assert_int_equal(access(list, F_OK), 0);
    st.made = 0;
    assert_int_equal(runs_new(st.run_dir, st.root, st.top, &notice, &r), 0);
    assert_int_equal(st.made, id);
    end_child(pid);
    runs_tidy(r);
    assert_int_equal(st.gone, id);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(list, F_OK), -1);
    runs_free(&r);
}

static void who_comes_from_outside(void **state)
{
    char path[CGROUP_PATH_MAX];
    struct runs *r = NULL;
    uint64_t id = 0;
    pid_t pid = start_child(st.outside);

    (void)state;
    assert_int_equal(runs_new(st.run_dir, st.root, st.top, &notice, &r), 0);
    assert_int_equal(runs_place(r, pid, "node", &id), 0);
    snprintf(path, sizeof(path), "%s/lectr-run/node-%d-1", st.top, (int)pid);
    assert_true(is_in(path, pid));
    end_child(pid);
    snprintf(path, sizeof(path), "%s", runs_shared(r));
    runs_free(&r);
    assert_int_equal(access(path, F_OK), -1);
}

static void count_told(void *user, const char *path, int error)
{
    (void)path;
    assert_int_equal(error, 0);
    ++*(unsigned *)user;
}

static void cleaning_up_moves_commands_back(void **state)
{
    struct runs *r = NULL;
    unsigned told = 0;
    uint64_t id = 0;
    pid_t pid = start_child(st.service);
    char shared[CGROUP_PATH_MAX];

    (void)state;
    assert_int_equal(runs_new(st.run_dir, st.root, st.top, &notice, &r), 0);
    assert_int_equal(runs_place(r, pid, "node", &id), 0);
    snprintf(shared, sizeof(shared), "%s", runs_shared(r));
    runs_free(&r);
    runs_clean(st.run_dir, count_told, &told);
    assert_int_equal(told, 1);
    assert_true(is_in(st.service, pid));
    end_child(pid);
    assert_int_equal(rmdir(st.service), 0); /* nothing below it */
    assert_int_equal(mkdir(st.service, 0755), 0);
    runs_clean(st.run_dir, count_told, &told);
    assert_int_equal(told, 1);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(st.run_dir, sizeof(st.run_dir), "/tmp/lectr-runs-XXXXXX");
    if (geteuid() != 0 || cgroup_find_root(st.root, sizeof(st.root)) < 0 || !mkdtemp(st.run_dir))
        return -1;
    snprintf(st.top, sizeof(st.top), "%.200s/lectr-runs-%d", st.root, (int)getpid());
    snprintf(st.outside, sizeof(st.outside), "%.200s/lectr-out-%d", st.root, (int)getpid());
    snprintf(st.service, sizeof(st.service), "%s/web.service", st.top);
    return mkdir(st.top, 0755) | mkdir(st.outside, 0755) | mkdir(st.service, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(st.service) | rmdir(st.top) | rmdir(st.outside) | rmdir(st.run_dir);
}

int main(void)
{
    const struct CMUnitTest pure[] = {cmocka_unit_test(parents)};
    const struct CMUnitTest moving[] = {
        cmocka_unit_test(it_stays_within_its_limits),
        cmocka_unit_test(who_comes_from_outside),
        cmocka_unit_test(cleaning_up_moves_commands_back),
    };
    int r = cmocka_run_group_tests(pure, NULL, NULL);

    if (r != 0)
        return r;
    if (geteuid() != 0) {
        puts("SKIP - cgroups need root");
        return 0;
    }
    return cmocka_run_group_tests(moving, set_up, tear_down);
}
