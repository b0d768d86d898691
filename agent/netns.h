/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces: opening one, entering it, making sockets in it. The
 * functions below the line act on the *calling thread's* namespace.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define NETNS_NAMES_DIR "/run/netns"
#define NETNS_BACKLOG 1024

/* -ESRCH/-ENOENT: the process is gone. */
int netns_open_pid(uint32_t pid, int *ret_fd) LECTR_MUST_USE;
/* -EAGAIN: the file is there, no namespace is mounted on it (yet). */
int netns_open_name(const char *name, int *ret_fd) LECTR_MUST_USE;
/* Identity of an open namespace while it lives. */
int netns_inode(int fd, uint64_t *ret_inode) LECTR_MUST_USE;
/* "name" or "prefix*". */
bool netns_name_matches(const char *pattern, const char *name);

/* ---- in the calling thread's namespace ---- */

int netns_enter(int fd) LECTR_MUST_USE;
int netns_cookie(uint64_t *ret_cookie) LECTR_MUST_USE;
/* Ephemeral ports. */
struct netns_range {
    uint16_t low, high;
};
/* May `port` be listened on? */
bool netns_port_is_free_for_us(uint16_t port, struct netns_range ephemeral);
/* Is there any port that is? */
bool netns_range_leaves_room(struct netns_range ephemeral);
/* What a namespace begins with; reading the present one takes long. */
#define NETNS_RANGE_DEFAULT ((struct netns_range){32768, 60999})
struct netns_range netns_ephemeral(void);
/* Turns a fresh TCP socket into a listener on loopback, at a port of its own
 * choice, which works as soon as loopback is up. */
int netns_listen(int fd, int family, struct netns_range ephemeral,
                 uint16_t *ret_port) LECTR_MUST_USE;
/* A non-blocking, unconnected TCP socket. */
int netns_socket(int family, int *ret_fd) LECTR_MUST_USE;
/* Can connections of this family be steered now? Loopback must be up; for IPv6
 * there must be a default route as well: where there is none a client is to see
 * that at once and go on to IPv4. `fd` is any socket of the namespace. */
bool netns_reachable(int family, int fd);
/* Readable whenever netns_reachable() may have changed; read and forget. Keeps
 * the namespace alive. */
int netns_monitor(int *ret_fd) LECTR_MUST_USE;
