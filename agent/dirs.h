/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "proto/base/cleanup.h"

struct config;

/* Makes state_dir (with what the proxy keeps in it, owned by its user) and
 * run_dir. -EINVAL: the configured user does not exist. */
int dirs_make(const struct config *config) LECTR_MUST_USE;
