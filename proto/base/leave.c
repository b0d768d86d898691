/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/leave.h"

#include "proto/base/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

static unsigned patience_s;

static void *wait_and_leave(void *status)
{
    struct timespec left = {.tv_sec = patience_s};

    while (nanosleep(&left, &left) < 0)
        ;
    log_warn("left without waiting any longer", "seconds=%u", patience_s);
    _exit((int)(intptr_t)status);
}

void leave_within(unsigned seconds, int status)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;

    patience_s = seconds;
    if (pthread_attr_init(&attr) != 0)
        return;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)!pthread_create(&thread, &attr, wait_and_leave, (void *)(intptr_t)status);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}
