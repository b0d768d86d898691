/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/inflight.c */
#include "agent/inflight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
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

static uint64_t spool_came_to;
static int spool_answer;

static int last_seq(void *user, const char *instance, uint64_t *ret_last_seq)
{
    (void)user;
    (void)instance;
    *ret_last_seq = spool_came_to;
    return spool_answer;
}

static char settled[64];
static int settle_answer;

static int settle(void *user, const char *instance)
{
    (void)user;
    snprintf(settled, sizeof(settled), "%.60s", instance);
    return settle_answer;
}

static int adopt(struct losses *losses)
{
    const struct inflight_adopter adopter = {
        .settle = settle, .last = last_seq, .loss = on_loss, .user = losses};

    return inflight_adopt(dir, &adopter);
}

static struct inflight_slot *open_call(struct inflight *i, uint64_t cgroup, const char *provider,
                                       uint32_t calls)
{
    struct inflight_slot *slot = inflight_take(i);

    assert_non_null(slot);
    slot->caller.cgroup_id = cgroup;
    snprintf(slot->provider, sizeof(slot->provider), "%s", provider);
    inflight_set_calls(slot, calls);
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
    assert_int_equal(adopt(&losses), 1);
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
    assert_int_equal(adopt(&losses), 0);
    assert_int_equal(losses.count, 0);
}

static void test_failure_keeps_it_and_its_ids(void **state)
{
    struct losses first = {.answer = -ENOSPC}, second = {0};

    (void)state;
    die_with("dead-2");
    assert_int_equal(adopt(&first), -ENOSPC);
    assert_int_equal(first.count, 1);
    assert_int_equal(adopt(&second), 1);
    assert_string_equal(first.all[0].id, second.all[0].id);
}

static void test_the_living_are_left_alone(void **state)
{
    struct losses losses = {0};
    struct inflight *i;

    (void)state;
    assert_int_equal(inflight_open(dir, "alive", &i), 0);
    open_call(i, 1, "openai", 1);
    assert_int_equal(adopt(&losses), 0);
    assert_int_equal(losses.count, 0);
    inflight_close(&i);
    /* Closed with something in it: that is told as of a dead process. */
    assert_int_equal(adopt(&losses), 1);
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
    assert_int_equal(adopt(&losses), 1);
    assert_int_equal(losses.count, 0);
    assert_int_equal(files(false), 0);
}

/* Killed when event 7 may or may not have been appended: of two calls one is
 * told by it, and so is the verdict of the other connection. */
static void die_at_seven(const char *instance)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct inflight_slot *slot;
        struct inflight *i;

        if (inflight_open(dir, instance, &i) < 0)
            _exit(3);
        slot = open_call(i, 1, "openai", 2);
        slot->noted = 1;
        slot->calls |= 7;
        open_call(i, 2, "groq", 0)->decided = 5;
        *inflight_tally(i, 5) = 7;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_a_kill_in_between(void **state)
{
    struct losses losses = {0};

    (void)state;
    die_at_seven("before");
    spool_came_to = 6;
    assert_int_equal(adopt(&losses), 1);
    assert_int_equal(losses.count, 2);
    assert_int_equal(losses.all[0].calls, 2);
    assert_int_equal(losses.all[1].connections, 1);
    die_at_seven("after");
    spool_came_to = 7;
    losses.count = 0;
    /* Not known yet: another time. */
    spool_answer = -EAGAIN;
    assert_int_equal(adopt(&losses), 0);
    assert_int_equal(losses.count, 0);
    spool_answer = 0;
    assert_int_equal(adopt(&losses), 1);
    assert_int_equal(losses.count, 1);
    assert_int_equal(losses.all[0].calls, 1);
    assert_int_equal(losses.all[0].connections, 0);
}

/* As long as the file is there, the dead process's spool is known. */
static void test_what_is_not_settled_keeps_the_file(void **state)
{
    struct losses losses = {0};

    (void)state;
    die_with("dead-3");
    settle_answer = -EAGAIN;
    assert_int_equal(adopt(&losses), 0);
    assert_string_equal(settled, "dead-3");
    assert_int_equal(losses.count, 0);
    assert_int_equal(files(false), 1);
    settle_answer = 0;
    assert_int_equal(adopt(&losses), 1);
    assert_int_equal(losses.count, 3);
    assert_int_equal(files(false), 0);
}

static void test_note_ends_promises(void **state)
{
    struct inflight_slot *slot;
    struct inflight *i;

    (void)state;
    assert_int_equal(inflight_open(dir, "note", &i), 0);
    slot = open_call(i, 1, "openai", 0);
    slot->decided = 3;
    *inflight_tally(i, 3) = 9;
    inflight_note(i);
    assert_int_equal(slot->noted, 1);
    assert_int_equal(*inflight_tally(i, 3), 0);
    inflight_close(&i);
}

/* A file system of its own, filled so that `left_bytes` remain. */
static bool fill_disk(size_t left_bytes)
{
    char path[128], block[4096] = {1};
    int fd;

    if (mount("none", dir, "tmpfs", 0, "size=4m") < 0)
        return false;
    snprintf(path, sizeof(path), "%s/filler", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof(block)) == sizeof(block))
        ;
    assert_int_equal(ftruncate(fd, (off_t)(4 * 1024 * 1024 - left_bytes)), 0);
    close(fd);
    return true;
}

/* In a process of its own: a SIGBUS is what must not happen. */
static void on_full_disk(size_t left_bytes, void (*fn)(struct inflight *i))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct inflight *i;

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            !fill_disk(left_bytes))
            _exit(77);
        assert_int_equal(inflight_open(dir, "full-disk", &i), 0);
        fn(i);
        inflight_close(&i);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIP - a full disk: mounting is not allowed here\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void no_room_at_all(struct inflight *i)
{
    assert_false(inflight_is_kept(i));
    for (unsigned k = 0; k < INFLIGHT_SLOTS; k++)
        open_call(i, k, "openai", 1);
}

static void room_for_some(struct inflight *i)
{
    struct inflight_slot *slot;
    unsigned got = 0;

    assert_true(inflight_is_kept(i));
    while ((slot = inflight_take(i)) != NULL) {
        memset(&slot->caller, 1, sizeof(slot->caller));
        got++;
    }
    assert_in_range(got, 256, INFLIGHT_SLOTS - 1);
    assert_int_equal(inflight_untracked(i), 1);
}

static void test_disk_is_full(void **state)
{
    (void)state;
    on_full_disk(8192, no_room_at_all);
}

static void test_disk_fills_up(void **state)
{
    (void)state;
    on_full_disk(1024 * 1024, room_for_some);
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
        cmocka_unit_test_setup_teardown(test_a_kill_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_settled_keeps_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_note_ends_promises, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_fills_up, setup, teardown),
    };

    return cmocka_run_group_tests_name("inflight", tests, NULL, NULL);
}
