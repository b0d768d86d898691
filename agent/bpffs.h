/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF file system and the folder in it that keeps our pins. */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define BPFFS_PATH_MAX 512

/* Mounts one at `path` if there is none; then a mark in it says that it is ours. */
int bpffs_ensure(const char *path) LECTR_MUST_USE;
bool bpffs_is_mounted(const char *path);

/* <bpffs>/lectr-v<ABI> */
int bpffs_pin_dir(const char *path, char *ret_dir, size_t size) LECTR_MUST_USE;

/* Removes every pin of ours, of any version; unmounts when `unmount` and the
 * mount was made by bpffs_ensure(). `told` is called with each thing removed. */
typedef void (*bpffs_told_fn)(void *user, const char *what);
int bpffs_clean(const char *path, bool unmount, bpffs_told_fn told, void *user) LECTR_MUST_USE;
