/* SPDX-License-Identifier: Apache-2.0 */
/*
 * High numbers for listeners. A process that dies closes its descriptors in
 * descending order: they are put in ascending order, but the last one put is
 * released first (kernel/task_work.c since commit 9da33de62431, v4.3).
 * Listeners must go before connections, or clients that were cut off reconnect
 * into a dying accept queue.
 */
#pragma once

/* Moves the descriptor to a number above those that connections get; `fd`
 * itself when there is none. Closed like any other. */
int highfd_take(int fd);
