/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, <run_dir>/control.sock, open to every local user: who is
 * on the other end is told by the kernel, and a request acts on that process
 * only. A connection carries one request; at most CONTROL_CLIENTS_MAX wait,
 * CONTROL_CLIENTS_PER_UID of one user, each for CONTROL_WAIT_MS.
 *
 *   "run NAME"  moves the asking process into a consenting cgroup of its own,
 *               below the one that it is in (runs.h); answer "ok CA-DIRECTORY".
 *               Refused to the proxy and its user.
 *   "ping"      answer "ok"
 * Anything else, and failures: "error TEXT".
 */
#pragma once

#include "agent/runs.h"
#include "proto/base/cleanup.h"

#include <stdint.h>
#include <sys/types.h>

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_CLIENTS_PER_UID 8
#define CONTROL_WAIT_MS 5000
#define CONTROL_MESSAGE_MAX 512
#define CONTROL_NAME_MAX RUNS_NAME_MAX

struct control;
struct config;

/* A process was moved to a cgroup: its namespace is about to be used. */
typedef void (*control_run_fn)(void *user, pid_t pid, uint64_t cgroup_id);

/* Creates the socket; `runs` is borrowed. -EADDRINUSE: somebody answers there. */
int control_new(const struct config *config, struct runs *runs, control_run_fn on_run, void *user,
                struct control **ret_control) LECTR_MUST_USE;
/* Removes the socket. */
void control_free(struct control **control);

/* For epoll; readable: control_serve(). */
int control_fd(const struct control *c);
void control_serve(struct control *c);
/* From now on nobody is promised to be captured. */
void control_refuse(struct control *c);
/* Whose requests to run are refused; 0: nobody's. */
void control_proxy(struct control *c, pid_t pid);
/* Call now and then: drops who has waited too long. */
void control_expire(struct control *c, uint64_t now_ns);

/* For `run`, doctor: one request. -ENOENT, -ECONNREFUSED: no agent runs.
 * ret_answer gets the text behind "ok"; -EREMOTE: the text behind "error". */
int control_ask(const char *run_dir, const char *request, char *ret_answer,
                size_t size) LECTR_MUST_USE;
/* Letters, digits, '.', '_' of the command's name; never empty. */
void control_run_name(const char *command, char ret_name[CONTROL_NAME_MAX + 1]);
