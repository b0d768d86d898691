/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/highfd.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The kernel's table grows with the number: 8 bytes each. */
#define BASE_MAX 32768

int highfd_take(int fd)
{
    struct rlimit limit;
    int base = BASE_MAX, high;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return fd;
    if (limit.rlim_cur / 2 < BASE_MAX)
        base = (int)(limit.rlim_cur / 2);
    high = fcntl(fd, F_DUPFD_CLOEXEC, base);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}
