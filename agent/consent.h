/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consenting cgroups: the configured ones, which may come, go and come
 * again, and that of `lectr-agent run`. Looked at again and again, which also
 * finds the namespaces of processes that were there before us.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>

struct consent;
struct capture;
struct config;

/* A process of a consenting cgroup, in a namespace of this inode. */
typedef void (*consent_pid_fn)(void *user, uint32_t pid, uint64_t netns_inode);

/* `run_cgroup` is the path of the cgroup under which runs are put. */
int consent_new(const struct config *config, struct capture *capture, const char *cgroup_root,
                const char *run_cgroup, struct consent **ret_consent) LECTR_MUST_USE;
void consent_free(struct consent **consent);

/* Gives consent to what is there by now; `fn` for each process found. */
void consent_refresh(struct consent *c, consent_pid_fn fn, void *user);

/* Processes that arrive in between are told within milliseconds: read when the
 * descriptor is readable, and after consent_wait_ms() (-1: not before). */
int consent_fd(const struct consent *c);
int consent_wait_ms(const struct consent *c, uint64_t now_ns);
void consent_arrivals(struct consent *c, uint64_t now_ns, consent_pid_fn fn, void *user);
