/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon a machine and run_dir: <run_dir>/daemon.lock is locked while it
 * lives, stopped or not, and holds its pid.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <sys/types.h>

/* Takes the lock; closing the descriptor gives it back. -EWOULDBLOCK: the
 * process *ret_holder has it (0: unknown); -ENOENT: there is no run_dir. */
int lock_take(const char *run_dir, int *ret_fd, pid_t *ret_holder) LECTR_MUST_USE;
/* Removes the file; the lock must be held. -errno. */
int lock_remove(const char *run_dir) LECTR_MUST_USE;
