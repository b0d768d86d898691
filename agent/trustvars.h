/* SPDX-License-Identifier: Apache-2.0 */
/* The environment that makes client libraries trust Lectr's authority. */
#pragma once

#include "proto/base/cleanup.h"

#include <stddef.h>

#define TRUSTVARS_PATH_MAX 1024

/* A variable that somebody set already, and that therefore stands. */
typedef void (*trustvars_kept_fn)(void *user, const char *variable, const char *value);

/*
 * Sets the process's variables to files of `ca_dir`, none that is set already:
 * `kept` (may be NULL) hears of those that name something else. Java's options
 * are added to JAVA_TOOL_OPTIONS unless a trust store is named there.
 * -ENOENT, -EACCES, …: ret_path names the file that cannot be read; the
 * variables before it are set. truststore.p12 may be missing.
 */
int trustvars_set(const char *ca_dir, trustvars_kept_fn kept, void *user,
                  char ret_path[TRUSTVARS_PATH_MAX]) LECTR_MUST_USE;
