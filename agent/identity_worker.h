/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks who processes are, in threads of its own: reading another's environment
 * waits for that process's memory map, for as long as it likes to hold it, and
 * the helper's heartbeat must not. A process that does not answer keeps one
 * thread at most; who has waited IDENTITY_WAIT_MS is answered without.
 *
 * All functions are for one thread, the helper's.
 */
#pragma once

#include "agent/identity.h"
#include "agent/ipc.h"

#define IDENTITY_THREADS 4
#define IDENTITY_ASKED_MAX 1024
#define IDENTITY_WAIT_MS 500

struct identity_worker;

/* Looks a process up; may take any time. Called in several threads at once. */
typedef void (*identity_look_fn)(void *user, uint32_t pid, struct identity_process *ret_process);

int identity_worker_start(identity_look_fn look, void *user,
                          struct identity_worker **ret_worker) LECTR_MUST_USE;
/* False: a thread is stuck, and what `look` uses must be left alone. */
bool identity_worker_stop(struct identity_worker **worker);

/* For epoll; readable: there are answers. */
int identity_worker_fd(const struct identity_worker *w);
/* -ENOBUFS: too many wait. */
int identity_worker_ask(struct identity_worker *w, const struct ipc_who *who,
                        uint64_t now_ns) LECTR_MUST_USE;
/* The next answer, empty if it came too late; -EAGAIN: none now. */
int identity_worker_answer(struct identity_worker *w, uint64_t now_ns, struct ipc_who *ret_who,
                           struct identity_process *ret_process) LECTR_MUST_USE;
