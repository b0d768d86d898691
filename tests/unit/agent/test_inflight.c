/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/inflight.c */
#include "agent/inflight.h"

#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/lectr-inflight-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static unsigned files(bool remove_them)
{
    char path[128], file[512];
    struct dirent *entry;
    unsigned count = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/inflight", dir);
    d = opendir(path);
    while (d && (entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (remove_them)
            unlink(file);
    }
    if (d)
        closedir(d);
    return count;
}

static int teardown(void **state)
{
    char path[128];

    (void)state;
    files(true);
    snprintf(path, sizeof(path), "%s/inflight", dir);
    rmdir(path);
    rmdir(dir);
    return 0;
}

struct losses {
    struct inflight_loss all[8];
    unsigned count;
    int answer;
};

static int on_loss(void *user, const struct inflight_loss *loss)
{
    struct losses *l = user;

    assert_true(l->count < 8);
    l->all[l->count++] = *loss;
    return l->answer;
}

static struct inflight_slot *open_call(struct inflight *i, uint64_t cgroup, const char *provider,
                                       uint32_t calls)
{
    struct inflight_slot *slot = inflight_take(i);

    assert_non_null(slot);
    slot->caller.cgroup_id = cgroup;
    snprintf(slot->provider, sizeof(slot->provider), "%s", provider);
    slot->calls_open = calls;
    return slot;
}

/* A process that opens some and is killed. */
static void die_with(const char *instance)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct inflight *i;
        struct inflight_slot *ended;

        if (inflight_open(dir, instance, &i) < 0)
            _exit(3);
        open_call(i, 1, "openai", 2);
        open_call(i, 1, "openai", 1);
        open_call(i, 2, "anthropic", 0); /* no call, but no verdict either */
        open_call(i, 2, "openai", 4)->noted = 1;
        ended = open_call(i, 3, "openai", 0);
        ended->decided = 1;
        inflight_note(i);
        inflight_end(i, ended);
        inflight_beat(i, 123456789);
        kill(getpid(), SIGKILL);
        _exit(4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_death_is_told_once(void **state)
{
    struct losses losses = {0};

    (void)state;
    die_with("dead-1");
    assert_int_equal(inflight_adopt(dir, on_loss, &losses), 1);
    assert_int_equal(losses.count, 3);
    assert_int_equal(losses.all[0].calls, 3);
    assert_int_equal(losses.all[0].connections, 2);
    assert_string_equal(losses.all[0].provider, "openai");
    assert_int_equal(losses.all[0].start_wall_ns, 123456789);
    assert_int_equal(losses.all[1].calls, 0);
    assert_int_equal(losses.all[1].connections, 1);
    assert_int_equal(losses.all[2].calls, 4);
    assert_int_equal(losses.all[2].connections, 0);
    assert_int_equal(strlen(losses.all[0].id), 36);
    assert_string_not_equal(losses.all[0].id, losses.all[1].id);
    losses.count = 0;
    assert_int_equal(inflight_adopt(dir, on_loss, &losses), 0);
    assert_int_equal(losses.count, 0);
}

static void test_failure_keeps_it_and_its_ids(void **state)
{
    struct losses first = {.answer = -ENOSPC}, second = {0};

    (void)state;
    die_with("dead-2");
    assert_int_equal(inflight_adopt(dir, on_loss, &first), -ENOSPC);
    assert_int_equal(first.count, 1);
    assert_int_equal(inflight_adopt(dir, on_loss, &second), 1);
    assert_string_equal(first.all[0].id, second.all[0].id);
}

static void test_the_living_are_left_alone(void **state)
{
    struct losses losses = {0};
    struct inflight *i;

    (void)state;
    assert_int_equal(inflight_open(dir, "alive", &i), 0);
    open_call(i, 1, "openai", 1);
    assert_int_equal(inflight_adopt(dir, on_loss, &losses), 0);
    assert_int_equal(losses.count, 0);
    inflight_close(&i);
    /* Closed with something in it: that is told as of a dead process. */
    assert_int_equal(inflight_adopt(dir, on_loss, &losses), 1);
    assert_int_equal(losses.all[0].calls, 1);
}

static void test_clean_end_leaves_nothing(void **state)
{
    struct inflight_slot *slot;
    struct inflight *i;

    (void)state;
    assert_int_equal(inflight_open(dir, "clean", &i), 0);
    slot = open_call(i, 1, "openai", 0);
    slot->decided = 1;
    inflight_end(i, slot);
    assert_int_equal(slot->state, INFLIGHT_ENDED);
    inflight_note(i);
    assert_int_equal(slot->state, INFLIGHT_FREE);
    assert_int_equal(files(false), 1);
    inflight_close(&i);
    assert_int_equal(files(false), 0);
}

static void test_bounded_and_reused(void **state)
{
    struct inflight_slot *slot = NULL;
    struct inflight *i;

    (void)state;
    assert_int_equal(inflight_open(dir, "full", &i), 0);
    for (unsigned k = 0; k < INFLIGHT_SLOTS; k++) {
        slot = inflight_take(i);
        assert_non_null(slot);
    }
    assert_null(inflight_take(i));
    slot->noted = 1;
    slot->caller.pid = 77;
    inflight_end(i, slot);
    assert_ptr_equal(inflight_take(i), slot);
    assert_int_equal(slot->caller.pid, 0);
    inflight_close(&i);
}

static void test_foreign_files(void **state)
{
    struct losses losses = {0};
    struct inflight *i;
    char path[128];
    FILE *f;

    (void)state;
    assert_int_equal(inflight_open(dir, "x", &i), 0);
    inflight_close(&i);
    snprintf(path, sizeof(path), "%s/inflight/garbage", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("not a table", f);
    fclose(f);
    assert_int_equal(inflight_adopt(dir, on_loss, &losses), 1);
    assert_int_equal(losses.count, 0);
    assert_int_equal(files(false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_death_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_keeps_it_and_its_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_living_are_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clean_end_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounded_and_reused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_files, setup, teardown),
    };

    return cmocka_run_group_tests_name("inflight", tests, NULL, NULL);
}
