/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that meets network namespaces: it reads the kernel's events and
 * the named namespaces, opens the listeners and sockets there and hands them to
 * the proxy. A thread of its own, of high priority, since a client's first
 * connection races with it; nothing slow may happen in it. At most
 * NETNS_KNOWN_MAX namespaces are served, later ones are left alone and told so.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>

#define NETNS_KNOWN_MAX 4096

struct netns_worker;
struct capture;
struct config;

/* A namespace now served. */
struct netns_met {
    uint64_t netns_cookie;
    uint64_t inode;
    uint64_t cgroup_id; /* of who was met there; 0: by its name */
    uint32_t pid;
    uint32_t ready_us; /* from the kernel's event to listening; 0: no event */
};

/* `capture` and `config` must outlive it. */
int netns_worker_start(struct capture *capture, const struct config *config,
                       struct netns_worker **ret_worker) LECTR_MUST_USE;
void netns_worker_stop(struct netns_worker **worker);

/* For the main loop: readable when there is something to report; -EAGAIN: no more. */
int netns_worker_fd(const struct netns_worker *w);
int netns_worker_report(struct netns_worker *w, struct netns_met *ret_met) LECTR_MUST_USE;

/* Orders, carried out in turn. The worker sends over a duplicate of `ipc_fd`;
 * -1: there is no proxy. A new proxy gets new listeners everywhere. */
void netns_worker_proxy(struct netns_worker *w, int ipc_fd, uint32_t generation);
void netns_worker_need(struct netns_worker *w, uint64_t netns_cookie, int family, unsigned count);
void netns_worker_meet(struct netns_worker *w, uint32_t pid);
/* Lets go of a namespace, and tells the proxy to. */
void netns_worker_gone(struct netns_worker *w, uint64_t netns_cookie);
