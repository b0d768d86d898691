/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/lock.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/lock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/lectr-lock-XXXXXX";

static void one_at_a_time(void **state)
{
    pid_t holder = 0;
    int fd = -1, other = -1;

    (void)state;
    assert_int_equal(lock_take(dir, &fd, &holder), 0);
    assert_int_equal(lock_take(dir, &other, &holder), -EWOULDBLOCK);
    assert_int_equal(other, -1);
    assert_int_equal(holder, getpid());
    close(fd);
    assert_int_equal(lock_take(dir, &fd, &holder), 0);
    assert_int_equal(lock_remove(dir), 0);
    /* The file is another now: the old lock is worth nothing. */
    assert_int_equal(lock_take(dir, &other, &holder), 0);
    assert_int_equal(lock_remove(dir), 0);
    close(fd);
    close(other);
    assert_int_equal(lock_take("/nowhere/at/all", &fd, &holder), -ENOENT);
}

/* A stopped one holds it still; a dead one does not. */
static void stopped_and_dead(void **state)
{
    int ready[2], fd = -1, status;
    pid_t child, holder = 0;
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        if (lock_take(dir, &fd, &holder) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(child, SIGSTOP);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_int_equal(lock_take(dir, &fd, &holder), -EWOULDBLOCK);
    assert_int_equal(holder, child);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(lock_take(dir, &fd, &holder), 0);
    assert_int_equal(lock_remove(dir), 0);
    close(fd);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(stopped_and_dead),
    };
    int r;

    if (!mkdtemp(dir))
        return 1;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return r;
}
