/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD: the process kills itself (SIGKILL) at a chosen step of a commit.
 * LECTR_KILL is STEP:N, and the N-th time is meant:
 *
 *   frame       half of a write to a file "…-wal" is done
 *   page        half of a write to a file "….db" (a checkpoint) is done
 *   sync        before a file is synced
 *   synced      a file was synced: in SQLite the transaction is permanent now
 *   ack         at the first write to a socket after that, none of it is sent
 *   commit      before COMMIT goes to PostgreSQL
 *   committed   COMMIT was sent, its answer was not read
 *   answered    at the first write to another socket after that
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/* Prototypes of what is put in place of the C library's. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at);
int fsync(int fd);
int fdatasync(int fd);

static struct {
    char step[16];
    long n;
    atomic_long seen;
    atomic_int commit_fd; /* plus 1: a COMMIT went out here and the next write tells */
    atomic_bool is_synced;
} plan;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void read_plan(void)
{
    const char *text = getenv("LECTR_KILL");

    if (text && sscanf(text, "%15[a-z]:%ld", plan.step, &plan.n) != 2)
        plan.step[0] = '\0';
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static bool is_step(const char *step)
{
    return strcmp(plan.step, step) == 0;
}

static bool is_due(void)
{
    return atomic_fetch_add(&plan.seen, 1) + 1 == plan.n;
}

static bool ends_with(int fd, const char *end)
{
    char link[64], path[4096];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path));
    return len >= (ssize_t)strlen(end) && memcmp(path + len - strlen(end), end, strlen(end)) == 0;
}

static bool is_torn(int fd)
{
    return ((is_step("frame") && ends_with(fd, "-wal")) ||
            (is_step("page") && ends_with(fd, ".db"))) &&
           is_due();
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    static __typeof__(&pwrite) real;

    real = real ? real : REAL(pwrite);
    if (!is_torn(fd))
        return real(fd, data, len, at);
    if (real(fd, data, len / 2, at) >= 0)
        die();
    return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    static __typeof__(&pwrite64) real;

    real = real ? real : REAL(pwrite64);
    if (!is_torn(fd))
        return real(fd, data, len, at);
    if (real(fd, data, len / 2, at) >= 0)
        die();
    return -1;
}

static int synced(int fd, int (*real)(int))
{
    bool is_due_now = (is_step("sync") || is_step("synced") || is_step("ack")) && is_due();
    int r;

    if (is_due_now && is_step("sync"))
        die();
    r = real(fd);
    if (is_due_now && is_step("synced"))
        die();
    if (is_due_now)
        atomic_store(&plan.is_synced, true);
    return r;
}

int fsync(int fd)
{
    static int (*real)(int);

    real = real ? real : REAL(fsync);
    return synced(fd, real);
}

int fdatasync(int fd)
{
    static int (*real)(int);

    real = real ? real : REAL(fdatasync);
    return synced(fd, real);
}

static bool is_commit(const void *data, size_t len)
{
    return (is_step("commit") || is_step("committed") || is_step("answered")) &&
           memmem(data, len, "COMMIT", 6) != NULL;
}

static void before_send(int fd, const void *data, size_t len, bool *ret_dies_after)
{
    int commit_fd = atomic_load(&plan.commit_fd);

    if (atomic_load(&plan.is_synced) || (commit_fd && commit_fd != fd + 1))
        die();
    if (!is_commit(data, len) || !is_due())
        return;
    if (is_step("commit"))
        die();
    *ret_dies_after = is_step("committed");
    if (is_step("answered"))
        atomic_store(&plan.commit_fd, fd + 1);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    static __typeof__(&send) real;
    bool dies_after = false;
    ssize_t r;

    real = real ? real : REAL(send);
    before_send(fd, data, len, &dies_after);
    r = real(fd, data, len, flags);
    if (dies_after)
        die();
    return r;
}

/* OpenSSL writes to its socket so. */
ssize_t write(int fd, const void *data, size_t len)
{
    static __typeof__(&write) real;
    int type, saved = errno;
    socklen_t size = sizeof(type);
    bool dies_after = false;

    real = real ? real : REAL(write);
    if (plan.step[0] && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
        before_send(fd, data, len, &dies_after);
    errno = saved;
    return real(fd, data, len);
}
