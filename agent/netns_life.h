/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which served namespaces still live: one that has neither a process nor a name
 * in two scans running is gone, our own descriptors aside. Also finds the
 * namespaces of processes that were there before us.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define NETNS_LIFE_MAX 4096

struct netns_life;

int netns_life_new(struct netns_life **ret_life) LECTR_MUST_USE;
void netns_life_free(struct netns_life **life);

void netns_life_add(struct netns_life *l, uint64_t cookie, uint64_t inode);
bool netns_life_has(const struct netns_life *l, uint64_t inode);
/* Inode of a process's namespace; 0: the process is gone. */
uint64_t netns_life_inode_of(uint32_t pid);

/* Looks at every process and name; calls `gone` for what went, and forgets it. */
typedef void (*netns_gone_fn)(void *user, uint64_t cookie);
void netns_life_scan(struct netns_life *l, netns_gone_fn gone, void *user);
/* Should netns_life_scan() be called soon? Something was missed last time, or a
 * name was removed. */
bool netns_life_doubts(struct netns_life *l);
