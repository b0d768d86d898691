/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up what the proxy does not need: the user, capabilities, system calls. */
#pragma once

#include "proto/base/cleanup.h"

#include <sys/types.h>

struct seccomp_identity {
    uid_t uid;
    gid_t gid;
};

/* The identity of `user`. -ENOENT: there is no such user. */
int seccomp_identity(const char *user, struct seccomp_identity *ret_identity) LECTR_MUST_USE;
/* Becomes that user for good: no groups, no capability (bounding set included),
 * no way back, no core dump. Does nothing to the identity when not root. */
int seccomp_drop_identity(const struct seccomp_identity *identity) LECTR_MUST_USE;
/* Allows the system calls in the list of seccomp.c; all others fail with EPERM.
 * Threads started later inherit it. */
int seccomp_restrict(void) LECTR_MUST_USE;
