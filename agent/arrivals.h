/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that arrive in watched cgroups, told within milliseconds: by the
 * time a program makes its first socket, its namespace is served. A cgroup that
 * gets its first process says so in cgroup.events (Documentation/admin-guide/
 * cgroup-v2.rst, "Un-populated Notification"); it is then looked at again and
 * again for ARRIVALS_BURST_MS, since a starter enters the namespace only later.
 * At most ARRIVALS_WATCHED_MAX cgroups; of others the sockets' own events tell.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>

#define ARRIVALS_WATCHED_MAX 1024
#define ARRIVALS_BURST_MS 400

struct arrivals;

/* A process in a namespace of this inode; told more than once. */
typedef void (*arrivals_fn)(void *user, uint32_t pid, uint64_t netns_inode);

int arrivals_new(struct arrivals **ret_arrivals) LECTR_MUST_USE;
void arrivals_free(struct arrivals **arrivals);

/* This cgroup with all below it, now and later; may be repeated. */
void arrivals_watch(struct arrivals *a, const char *cgroup_path);
/* For epoll. */
int arrivals_fd(const struct arrivals *a);
/* How long until arrivals_read() should be called again; -1: when readable. */
int arrivals_wait_ms(const struct arrivals *a, uint64_t now_ns);
/* Processes still in the namespace `home_inode` are told at the burst's end only. */
void arrivals_read(struct arrivals *a, uint64_t now_ns, uint64_t home_inode, arrivals_fn fn,
                   void *user);
