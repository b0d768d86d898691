/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup2 tree: where it is mounted, ids and paths. No state. */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_PATH_MAX 512

/* Where cgroup2 is mounted: "/sys/fs/cgroup", or "…/unified" on a hybrid host.
 * -ENOENT: nowhere; -EXDEV: only a part of the tree (a cgroup namespace), whose
 * programs would not see the machine. */
int cgroup_find_root(char *ret_path, size_t size) LECTR_MUST_USE;

/* A configured cgroup, absolute or below the root, as an absolute path. "" is
 * the root. Need not exist. */
int cgroup_resolve(const char *root, const char *configured, char *ret_path,
                   size_t size) LECTR_MUST_USE;

/* The id that the kernel uses. -ENOENT; -EINVAL: not in a cgroup2 tree. */
int cgroup_id_of(const char *path, uint64_t *ret_id) LECTR_MUST_USE;

/* Path below the root, "/" for the root itself. -ESTALE when it is gone. */
int cgroup_path_of(const char *root, uint64_t id, char *ret_path, size_t size) LECTR_MUST_USE;

/* Calls `fn` for every process of the subtree, until it returns false; at most
 * `max`. Directories that go away meanwhile are no error. */
typedef bool (*cgroup_pid_fn)(void *user, int pid);
void cgroup_each_pid(const char *path, unsigned max, cgroup_pid_fn fn, void *user);
