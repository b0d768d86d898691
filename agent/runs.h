/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroups of commands that `lectr-agent run` put under capture. Each is made
 * below the cgroup that the command is in already, so that the limits set there
 * go on to hold: <its cgroup>/lectr-run-NAME-PID-N. Only one that comes from
 * outside of the captured subtree, or from its top, goes to
 * <capture cgroup>/lectr-run/NAME-PID-N.
 *
 * The former are listed in <run_dir>/runs, for the next daemon and for cleanup.
 * At most RUNS_MAX of them.
 */
#pragma once

#include "agent/cgroup.h"

#define RUNS_MAX 1024
#define RUNS_SHARED "lectr-run"
#define RUNS_PREFIX RUNS_SHARED "-"
#define RUNS_NAME_MAX 40

struct runs;

/* A cgroup that is to consent, and one that is no more. */
struct runs_notice {
    void (*made)(void *user, uint64_t cgroup_id);
    void (*gone)(void *user, uint64_t cgroup_id);
    void *user;
};

/* Makes <capture_cgroup>/lectr-run and takes over what an earlier daemon left;
 * all paths are absolute. */
int runs_new(const char *run_dir, const char *cgroup_root, const char *capture_cgroup,
             const struct runs_notice *notice, struct runs **ret_runs) LECTR_MUST_USE;
/* Removes the empty cgroups. NULL-safe. */
void runs_free(struct runs **runs);

/* Moves the process; `name` is of control_run_name(). -ENOSPC: too many. */
int runs_place(struct runs *r, int pid, const char *name, uint64_t *ret_cgroup_id) LECTR_MUST_USE;
/* Removes the cgroups of commands that ended. */
void runs_tidy(struct runs *r);
/* Every process of the listed cgroups. */
void runs_each_pid(struct runs *r, cgroup_pid_fn fn, void *user);
/* <capture_cgroup>/lectr-run: the subtree is to consent. */
const char *runs_shared(const struct runs *r);

/* For cleanup, without a daemon: moves what still runs to where it came from and
 * removes the listed cgroups. `told` gets each with 0 or -errno. */
typedef void (*runs_told_fn)(void *user, const char *path, int error);
void runs_clean(const char *run_dir, runs_told_fn told, void *user);

/* Pure: where a process of the cgroup `own` is put. True: below its own cgroup. */
bool runs_parent(const char *capture_cgroup, const char *own, char ret_parent[CGROUP_PATH_MAX]);
