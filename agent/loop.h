/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of the proxy: descriptors, timers, signals, deferred work.
 * One thread; nothing here may be called from another. libuv stays inside loop.c.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_poll;
struct loop_timer;
struct loop_signal;

enum loop_events {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    /* Reported together with the two above: the socket has an error. The poll is
     * stopped by then and must be set again if it is still wanted. Asked for
     * alone it watches for nothing else. */
    LOOP_ERROR = 4,
};

typedef void (*loop_poll_fn)(void *user, unsigned events);
typedef void (*loop_fn)(void *user);

int loop_new(struct loop **ret_loop) LECTR_MUST_USE;
/* Everything made from the loop must have been freed before. */
void loop_free(struct loop **loop);
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* CLOCK_MONOTONIC when the events now being handled became known. */
uint64_t loop_woke_ns(struct loop *loop);

/* Level-triggered. The descriptor stays the caller's, is non-blocking, and may
 * be closed only after loop_poll_free(). Nothing is watched until _set. */
int loop_poll_new(struct loop *loop, int fd, loop_poll_fn fn, void *user,
                  struct loop_poll **ret_poll) LECTR_MUST_USE;
/* 0: watch nothing. Costs nothing when it is as before. */
void loop_poll_set(struct loop_poll *poll, unsigned events);
/* No callback comes afterwards. NULL-safe. */
void loop_poll_free(struct loop_poll **poll);

int loop_timer_new(struct loop *loop, uint64_t period_ms, loop_fn fn, void *user,
                   struct loop_timer **ret_timer) LECTR_MUST_USE;
void loop_timer_free(struct loop_timer **timer);

int loop_signal_new(struct loop *loop, int signal_number, loop_fn fn, void *user,
                    struct loop_signal **ret_signal) LECTR_MUST_USE;
void loop_signal_free(struct loop_signal **handle);

/* Work to be done in the next turn of the loop; memory is the caller's. */
struct loop_task {
    struct loop_task *next;
    loop_fn fn;
    void *user;
    bool queued;
};

/* A task that is queued already stays queued once. */
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_cancel(struct loop *loop, struct loop_task *task);
