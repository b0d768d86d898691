/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/child.h"

#include "agent/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define IPC_BUFFER_BYTES (1024 * 1024)

/* Between fork and exec: async-signal-safe calls only. */
static __attribute__((noreturn)) void become_proxy(int fd, const char *config_path)
{
    char name[] = "lectr-agent", command[] = "proxy", flag[] = "-c";
    char *argv[] = {name, command, NULL, NULL, NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpriority(PRIO_PROCESS, 0, 0);
    if (fd == IPC_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, IPC_FD) < 0)
        _exit(127);
    if (config_path) {
        union {
            const char *in;
            char *out;
        } path = {.in = config_path};

        argv[2] = flag;
        argv[3] = path.out;
    }
    execv("/proc/self/exe", argv);
    _exit(127);
}

int child_start(const char *config_path, pid_t *ret_pid, int *ret_ipc_fd)
{
    int pair[2], bytes = IPC_BUFFER_BYTES;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    /* Room for the listeners and pools of many namespaces at once. */
    for (int i = 0; i < 2; i++)
        if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
            (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    pid = fork();
    if (pid < 0) {
        int r = -errno;

        close(pair[0]);
        close(pair[1]);
        return r;
    }
    if (pid == 0)
        become_proxy(pair[1], config_path);
    close(pair[1]);
    *ret_pid = pid;
    *ret_ipc_fd = pair[0];
    return 0;
}
