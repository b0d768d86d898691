/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/once.c */
#include "agent/once.h"
#include "proto/event.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ME "00000000-0000-8000-8000-0000000000aa"
#define DEAD "00000000-0000-8000-8000-0000000000dd"

static char dir[64], file[128];
static uint64_t spool_came_to;
static int spool_answer;
static unsigned asked;

static int last_seq(void *user, const char *instance, uint64_t *ret_last_seq)
{
    (void)user;
    assert_true(event_is_uuid(instance));
    asked++;
    *ret_last_seq = spool_came_to;
    return spool_answer;
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/lectr-once-XXXXXX");
    spool_came_to = asked = 0;
    spool_answer = 0;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/inflight/.once", dir);
    return 0;
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

static struct once *open_as(const char *instance)
{
    struct once *o = NULL;

    assert_int_equal(once_open(dir, instance, last_seq, NULL, &o), 0);
    return o;
}

static const char *id_of(unsigned n)
{
    static char id[37];

    snprintf(id, sizeof(id), "11111111-1111-8111-8111-%012x", n);
    return id;
}

/* What once_begin() said; when it is ours, it is told. */
static int tell(struct once *o, unsigned n, uint64_t seq)
{
    uint64_t *cell = NULL;
    int r = once_begin(o, id_of(n), &cell);

    if (r == 0) {
        *cell = seq;
        once_end(o, true);
    }
    return r;
}

/* A process that dies within: `seq` 0 is before it promised. */
static void die_telling(unsigned n, uint64_t seq)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct once *o = NULL;
        uint64_t *cell = NULL;

        if (once_open(dir, DEAD, last_seq, NULL, &o) < 0 || once_begin(o, id_of(n), &cell) != 0)
            _exit(3);
        *cell = seq;
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_what_was_told_is_not_told_again(void **state)
{
    struct once *a = open_as(ME), *b = open_as(DEAD);

    (void)state;
    assert_int_equal(tell(a, 1, 1), 0);
    assert_int_equal(tell(a, 1, 2), ONCE_TOLD);
    /* By whoever it is, and whoever comes after both. */
    assert_int_equal(tell(b, 1, 1), ONCE_TOLD);
    assert_int_equal(tell(b, 2, 1), 0);
    assert_int_equal(tell(a, 2, 2), ONCE_TOLD);
    once_close(&a);
    once_close(&b);
    assert_null(b);
    a = open_as(ME);
    assert_int_equal(tell(a, 1, 3), ONCE_TOLD);
    assert_int_equal(tell(a, 2, 3), ONCE_TOLD);
    assert_int_equal(asked, 0);
    once_close(&a);
}

static void test_what_failed_is_told_later(void **state)
{
    struct once *o = open_as(ME);
    uint64_t *cell = NULL;

    (void)state;
    for (unsigned i = 0; i < 2 * ONCE_ROWS; i++) {
        assert_int_equal(once_begin(o, id_of(1), &cell), 0);
        once_end(o, false);
    }
    /* And took no room. */
    assert_int_equal(tell(o, 2, 1), 0);
    assert_int_equal(once_begin(o, id_of(1), &cell), 0);
    once_end(o, false);
    assert_int_equal(tell(o, 2, 2), ONCE_TOLD);
    assert_int_equal(tell(o, 1, 2), 0);
    once_close(&o);
}

static void test_the_newest_are_known(void **state)
{
    struct once *o = open_as(ME);

    (void)state;
    for (unsigned i = 0; i < ONCE_ROWS + 10; i++)
        assert_int_equal(tell(o, i, i + 1), 0);
    for (unsigned i = 10; i < ONCE_ROWS + 10; i++)
        assert_int_equal(tell(o, i, 1), ONCE_TOLD);
    assert_int_equal(tell(o, 0, 1), 0);
    once_close(&o);
}

static void test_killed_after_the_append(void **state)
{
    struct once *o = open_as(ME);

    (void)state;
    die_telling(1, 7);
    spool_came_to = 7;
    assert_int_equal(tell(o, 1, 1), ONCE_TOLD);
    spool_came_to = 0; /* from here on it is known */
    assert_int_equal(tell(o, 1, 1), ONCE_TOLD);
    assert_int_equal(asked, 1);
    once_close(&o);
}

static void test_killed_before_the_append(void **state)
{
    struct once *o = open_as(ME);

    (void)state;
    die_telling(1, 7);
    spool_came_to = 6;
    assert_int_equal(tell(o, 1, 1), 0);
    assert_int_equal(tell(o, 1, 2), ONCE_TOLD);
    die_telling(2, 0);
    assert_int_equal(tell(o, 2, 2), 0);
    assert_int_equal(asked, 1);
    once_close(&o);
}

static void test_not_known_yet(void **state)
{
    struct once *o = open_as(ME);

    (void)state;
    die_telling(1, 7);
    spool_answer = -EAGAIN;
    assert_int_equal(tell(o, 1, 1), -EAGAIN);
    assert_int_equal(once_settle(o, DEAD), -EAGAIN);
    /* Of others it says nothing. */
    assert_int_equal(tell(o, 2, 1), 0);
    assert_int_equal(once_settle(o, ME), 0);
    spool_answer = 0;
    spool_came_to = 7;
    assert_int_equal(tell(o, 1, 2), ONCE_TOLD);
    once_close(&o);
}

/* The spool of the dead is forgotten after that. */
static void test_settled_is_known_for_good(void **state)
{
    struct once *o = open_as(ME);

    (void)state;
    die_telling(1, 7);
    die_telling(2, 8);
    spool_came_to = 7;
    assert_int_equal(once_settle(o, DEAD), 0);
    spool_came_to = 0;
    assert_int_equal(tell(o, 1, 1), ONCE_TOLD);
    assert_int_equal(tell(o, 2, 1), 0);
    assert_int_equal(asked, 2);
    once_close(&o);
}

/* Another process is within its moment, or was stopped there. */
static void test_one_at_a_time(void **state)
{
    struct once *a = open_as(ME), *b = open_as(DEAD);
    uint64_t *cell = NULL;

    (void)state;
    assert_int_equal(once_begin(a, id_of(1), &cell), 0);
    assert_int_equal(tell(b, 1, 1), -EAGAIN);
    assert_int_equal(tell(b, 2, 1), -EAGAIN);
    assert_int_equal(once_settle(b, ME), -EAGAIN);
    *cell = 1;
    once_end(a, true);
    assert_int_equal(tell(b, 1, 1), ONCE_TOLD);
    once_close(&a);
    once_close(&b);
}

static void write_file(const void *data, size_t bytes)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}

static void test_a_file_that_is_none_is_made_anew(void **state)
{
    struct once *o = open_as(ME), *other;
    struct stat st;

    (void)state;
    write_file("not a table", 11);
    assert_int_equal(tell(o, 1, 1), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_in_range(st.st_size, 1024, 1024 * 1024);
    /* Removed under us: the next one and we share the new one. */
    assert_int_equal(unlink(file), 0);
    other = open_as(DEAD);
    assert_int_equal(tell(other, 2, 1), 0);
    assert_int_equal(tell(o, 2, 2), ONCE_TOLD);
    /* Of the right size, and empty: a kill while it was made. */
    assert_int_equal(unlink(file), 0);
    write_file("", 0);
    assert_int_equal(truncate(file, st.st_size), 0);
    assert_int_equal(tell(o, 3, 3), 0);
    assert_int_equal(tell(other, 3, 3), ONCE_TOLD);
    once_close(&other);
    once_close(&o);
}

/* Whatever it holds, nothing is read beyond it, and it goes on. */
static void test_garbage(void **state)
{
    struct once *o = open_as(ME);
    uint64_t magic, random = 88172645463325252ULL;
    struct stat st;
    int fd;

    (void)state;
    assert_int_equal(tell(o, 1, 1), 0);
    assert_int_equal(stat(file, &st), 0);
    fd = open(file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &magic, sizeof(magic), 0), sizeof(magic));
    for (unsigned round = 0; round < 20; round++) {
        CLEAN_FREE uint64_t *words = malloc((size_t)st.st_size);

        assert_non_null(words);
        words[0] = magic;
        for (size_t i = 1; i < (size_t)st.st_size / 8; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            words[i] = round % 4 == 0 ? UINT64_MAX : random >> round;
        }
        assert_int_equal(pwrite(fd, words, (size_t)st.st_size, 0), st.st_size);
        assert_int_equal(once_settle(o, DEAD), 0);
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(tell(o, 1000 * round + i, i + 1), 0);
            assert_int_equal(tell(o, 1000 * round + i, i + 1), ONCE_TOLD);
        }
    }
    close(fd);
    once_close(&o);
}

/* In a file system of its own, which is full: nothing is told, and no SIGBUS;
 * once there is room it is. */
static int on_full_disk(void)
{
    char path[128], block[4096] = {1};
    uint64_t *cell = NULL;
    struct once *o = NULL;
    int fd;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, "size=2m") < 0)
        return 77;
    if (once_open(dir, ME, last_seq, NULL, &o) < 0)
        return 1;
    snprintf(path, sizeof(path), "%s/filler", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof(block)) == sizeof(block))
        ;
    close(fd);
    if (once_begin(o, id_of(1), &cell) != -ENOSPC || once_settle(o, DEAD) != -ENOSPC)
        return 2;
    unlink(path);
    if (tell(o, 1, 1) != 0 || tell(o, 1, 2) != ONCE_TOLD)
        return 3;
    once_close(&o);
    return 0;
}

static void test_disk_is_full(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(on_full_disk());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIP - a full disk: mounting is not allowed here\n");
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_what_was_told_is_not_told_again),
        T(test_what_failed_is_told_later),
        T(test_the_newest_are_known),
        T(test_killed_after_the_append),
        T(test_killed_before_the_append),
        T(test_not_known_yet),
        T(test_settled_is_known_for_good),
        T(test_one_at_a_time),
        T(test_a_file_that_is_none_is_made_anew),
        T(test_garbage),
        T(test_disk_is_full),
    };

    return cmocka_run_group_tests_name("once", tests, NULL, NULL);
}
