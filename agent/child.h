/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the proxy process, and nothing about when. */
#pragma once

#include "proto/base/cleanup.h"

#include <sys/types.h>

/* Forks and runs this very binary as `lectr-agent proxy [-c config_path]`, its
 * descriptor 3 being the other end of *ret_ipc_fd (IPC_FD). The child outlives
 * its parent: it must drain when the helper dies. */
int child_start(const char *config_path, pid_t *ret_pid, int *ret_ipc_fd) LECTR_MUST_USE;
