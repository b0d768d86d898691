/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/consent.h"

#include "agent/arrivals.h"
#include "agent/capture.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/netns_life.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define PIDS_MAX 8192 /* looked at in one cgroup */

struct place {
    char path[CGROUP_PATH_MAX];
    uint64_t id; /* that consent was given to; 0: it is not there */
};

struct consent {
    struct capture *capture;
    struct arrivals *arrivals;
    uint64_t home_inode; /* of our own namespace */
    consent_pid_fn fn;
    void *user;
    unsigned count;
    struct place places[];
};

int consent_new(const struct config *config, struct capture *capture, const char *cgroup_root,
                const char *run_cgroup, struct consent **ret_consent)
{
    const struct config_capture *cc = &config->capture;
    unsigned count = cc->consent_cgroups_count + 1;
    CLEAN_FREE struct consent *c = calloc(1, sizeof(*c) + count * sizeof(struct place));
    int r;

    if (!c)
        return -ENOMEM;
    c->capture = capture;
    c->count = count;
    snprintf(c->places[0].path, sizeof(c->places[0].path), "%s", run_cgroup);
    for (unsigned i = 1; i < count; i++) {
        r = cgroup_resolve(cgroup_root, cc->consent_cgroups[i - 1], c->places[i].path,
                           sizeof(c->places[i].path));
        if (r < 0)
            return r;
    }
    c->home_inode = netns_life_inode_of((uint32_t)getpid());
    r = arrivals_new(&c->arrivals);
    if (r < 0)
        return r;
    *ret_consent = TAKE_PTR(c);
    return 0;
}

void consent_free(struct consent **consent)
{
    if (!*consent)
        return;
    arrivals_free(&(*consent)->arrivals);
    free(*consent);
    *consent = NULL;
}

int consent_fd(const struct consent *c)
{
    return arrivals_fd(c->arrivals);
}

int consent_wait_ms(const struct consent *c, uint64_t now_ns)
{
    return arrivals_wait_ms(c->arrivals, now_ns);
}

void consent_arrivals(struct consent *c, uint64_t now_ns, consent_pid_fn fn, void *user)
{
    arrivals_read(c->arrivals, now_ns, c->home_inode, fn, user);
}

static bool on_pid(void *user, int pid)
{
    struct consent *c = user;
    uint64_t inode = netns_life_inode_of((uint32_t)pid);

    if (inode)
        c->fn(c->user, (uint32_t)pid, inode);
    return true;
}

void consent_refresh(struct consent *c, consent_pid_fn fn, void *user)
{
    c->fn = fn;
    c->user = user;
    for (unsigned i = 0; i < c->count; i++) {
        struct place *p = &c->places[i];
        uint64_t id = 0;

        if (cgroup_id_of(p->path, &id) < 0) {
            p->id = 0;
            continue;
        }
        if (id != p->id && capture_consent_cgroup(c->capture, id) == 0)
            p->id = id;
        arrivals_watch(c->arrivals, p->path);
        cgroup_each_pid(p->path, PIDS_MAX, on_pid, c);
    }
}
