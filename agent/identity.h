/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is calling: (pid, cgroup, netns) -> struct caller, from /proc and the
 * cgroup tree. Answers are kept (IDENTITY_CACHE_MAX each for processes and
 * cgroups, the least recently used go), since both may be gone by the time they
 * are asked for. Of the environment two variables are looked at; it passes
 * through a buffer that is wiped.
 *
 * Processes may be looked up in several threads at once; all else is for one.
 */
#pragma once

#include "agent/caller.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>

#define IDENTITY_CACHE_MAX 1024

struct identity;
struct config;

/* `config` must outlive it. */
int identity_new(const struct config *config, const char *cgroup_root,
                 struct identity **ret_identity) LECTR_MUST_USE;
void identity_free(struct identity **identity);

/* What a process is told apart by; empty: not known. */
struct identity_process {
    char comm[16];
    char feature[96];
    char org[64];
};

/* (any thread) May wait for the process, see identity_worker.h. */
void identity_look(struct identity *id, uint32_t pid, struct identity_process *ret_process);
void identity_add_process(struct caller *caller, const struct identity_process *p);

/* Never fails: what cannot be found stays empty. `pid` 0: the workload only,
 * for which nobody is waited for. */
void identity_resolve(struct identity *id, uint64_t cgroup_id, uint64_t netns_cookie, uint32_t pid,
                      uint32_t uid, struct caller *ret_caller);

/* ---- pure parts ---- */

/* Fills owner, pod and container from a cgroup path, of either kubelet driver,
 * of docker and podman, of systemd; else the owner is the last component. */
void identity_parse_cgroup(const char *path, struct caller *caller);

/* Finds NAME=value pairs in an environment fed in pieces of any size. */
#define IDENTITY_ENV_VALUE_MAX 256
struct identity_env {
    char var[IDENTITY_ENV_VALUE_MAX + 32];
    size_t len;
    bool too_long;
    char feature[96]; /* sanitised */
    char org_key[IDENTITY_ENV_VALUE_MAX];
};
void identity_env_feed(struct identity_env *env, struct slice piece);
void identity_env_end(struct identity_env *env);
