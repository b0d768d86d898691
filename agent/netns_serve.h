/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a served namespace is given: a listener for each family and unconnected
 * sockets, made here and handed to the proxy. All of it acts on the calling
 * thread's namespace, which must be the served one.
 */
#pragma once

#include "agent/netns.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define NETNS_FAMILIES 2
#define NETNS_POOL_MAX 256 /* sockets that one request can get */

struct capture;
struct ipc_msg;

/* Who serves. */
struct netns_server {
    struct capture *capture;
    uint32_t pool_size, generation;
    int ipc_fd; /* -1: there is no proxy */
};

/* One namespace; index 0 is IPv4. */
struct netns_served {
    uint64_t cookie, inode;
    struct netns_range ephemeral;
    int ns_fd, monitor_fd;
    uint16_t port[NETNS_FAMILIES];
    uint32_t flags;    /* LECTR_NETNS_* */
    uint32_t filled;   /* the same bits: that pool was filled for this proxy */
    uint64_t ready_ns; /* since when IPv4 is served; 0: not yet */
    bool incomplete;   /* the proxy could not be given everything */
    bool finished;     /* what may wait until nobody else does was done */
};

/* A proxy that does not read for 50 ms goes without: -EAGAIN. */
int netns_serve_send(struct netns_server *s, const struct ipc_msg *msg, const int *fds,
                     unsigned count) LECTR_MUST_USE;
/* Up to `count` upstream sockets. */
int netns_serve_pool(struct netns_server *s, const struct netns_served *k, int family,
                     unsigned count) LECTR_MUST_USE;
/* Brings everything to what it should be; may be repeated. False: do so later. */
bool netns_serve_equip(struct netns_server *s, struct netns_served *k);
/* Listeners whose port lies in the ephemeral range are to be replaced. */
void netns_serve_check_range(struct netns_served *k);
/* Another proxy is to get everything anew. */
void netns_serve_forget_proxy(struct netns_served *k);
