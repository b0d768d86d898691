/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, <run_dir>/control.sock, open to every local user: who is
 * on the other end is told by the kernel, and a request acts on that process
 * only. A connection carries one request; at most CONTROL_CLIENTS_MAX wait.
 * Moving a process into a cgroup of ours takes it out of its own, and of the
 * limits set there, so the socket belongs on the host and not into containers.
 *
 *   "run NAME"  moves the asking process into a consenting cgroup of its own;
 *               answer "ok CA-DIRECTORY"
 *   "ping"      answer "ok"
 * Anything else, and failures: "error TEXT".
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>
#include <sys/types.h>

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_MESSAGE_MAX 512
#define CONTROL_RUN_CGROUP "lectr-run"
#define CONTROL_NAME_MAX 40

struct control;
struct config;

/* A process was moved to a cgroup: its namespace is about to be used. */
typedef void (*control_run_fn)(void *user, pid_t pid, uint64_t cgroup_id);

/* Creates the socket and <capture_cgroup>/lectr-run. */
int control_new(const struct config *config, const char *capture_cgroup, control_run_fn on_run,
                void *user, struct control **ret_control) LECTR_MUST_USE;
/* Removes the socket and the empty cgroups. */
void control_free(struct control **control);

/* For epoll; readable: control_serve(). */
int control_fd(const struct control *c);
void control_serve(struct control *c);
/* From now on nobody is promised to be captured. */
void control_refuse(struct control *c);
/* Removes the cgroups of commands that ended. */
void control_tidy(struct control *c);
/* The cgroup under which runs are put: the subtree is to consent. */
const char *control_cgroup(const struct control *c);

/* For `run`, doctor: one request. -ENOENT, -ECONNREFUSED: no agent runs.
 * ret_answer gets the text behind "ok"; -EREMOTE: the text behind "error". */
int control_ask(const char *run_dir, const char *request, char *ret_answer,
                size_t size) LECTR_MUST_USE;
/* Letters, digits, '.', '_' of the command's name; never empty. */
void control_run_name(const char *command, char ret_name[CONTROL_NAME_MAX + 1]);
