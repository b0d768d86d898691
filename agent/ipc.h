/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper <-> proxy: a SOCK_SEQPACKET Unix socket (the proxy's descriptor 3),
 * one fixed-layout message a packet, descriptors by SCM_RIGHTS. Both sides are
 * the same binary; `version` still guards against an upgrade in between: a side
 * that reads another version closes the socket and starts over.
 * The helper trusts nothing the proxy says beyond these bounded requests.
 */
#pragma once

#include "agent/caller.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_VERSION 1
#define IPC_FD 3
#define IPC_FDS_MAX 32
#define IPC_REASON_LEN 24
/* Namespaces that are served, and what each has one of for either family. */
#define IPC_NETNS_MAX 4096
#define IPC_NETNS_KEYS_MAX (2 * IPC_NETNS_MAX)

enum ipc_type {
    IPC_HELLO = 1,    /* helper -> proxy; fds: origin ring, beat, taken (maps) */
    IPC_LISTENER,     /* helper -> proxy; fds: 1 listening socket */
    IPC_SOCKETS,      /* helper -> proxy; fds: unconnected non-blocking TCP sockets */
    IPC_NETNS_GONE,   /* helper -> proxy: close what belongs to this namespace */
    IPC_CALLER,       /* helper -> proxy: answer to IPC_WHO */
    IPC_CENSUS,       /* helper -> proxy: one row of census deltas */
    IPC_DRAIN,        /* helper -> proxy: a newer generation serves; finish and exit */
    IPC_READY,        /* proxy -> helper: hello understood */
    IPC_NEED_SOCKETS, /* proxy -> helper */
    IPC_WHO,          /* proxy -> helper */
    IPC_CENSUS_ACK,   /* proxy -> helper: the row with this id is in the spool */
};

struct ipc_hello {
    uint32_t generation;
    uint32_t ring_bytes; /* data size of the origin ring */
};

struct ipc_netns {
    uint64_t netns_cookie;
    uint32_t family; /* AF_INET or AF_INET6 */
    uint32_t port;   /* LISTENER: where it listens, host order */
    uint32_t count;  /* NEED_SOCKETS: wanted; SOCKETS: passed */
};

struct ipc_who {
    uint64_t query;
    uint64_t cgroup_id;
    uint64_t netns_cookie;
    uint32_t pid;
    uint32_t uid;
};

struct ipc_caller {
    uint64_t query;
    struct caller caller;
};

/* Connections to `provider` by this workload since the last row told about it. */
struct ipc_census {
    uint64_t id;     /* grows; for IPC_CENSUS_ACK */
    char gap_id[37]; /* deterministic UUID of (census epoch, key, counters): re-sent rows keep it */
    char provider[32];
    char reason[IPC_REASON_LEN]; /* empty: `connections` is what the census saw; "steered": steered;
                                    else a gap reason, as lectr.v1.Gap.reason */
    uint64_t connections;
    uint64_t start_unix_ns, end_unix_ns;
    struct caller caller; /* as far as known */
};

struct ipc_msg {
    uint32_t version;
    uint32_t type;
    union {
        struct ipc_hello hello;
        struct ipc_netns netns;
        struct ipc_who who;
        struct ipc_caller caller;
        struct ipc_census census;
        uint64_t census_ack_id;
        uint32_t drain_grace_ms;
    };
};

/* Sends one message with up to IPC_FDS_MAX descriptors, which stay the
 * caller's. -EAGAIN when the socket is full, -EPIPE when the other side is gone. */
int ipc_send(int fd, const struct ipc_msg *msg, const int *fds, unsigned fds_count) LECTR_MUST_USE;

/* Reads one message. ret_fds (IPC_FDS_MAX long, close-on-exec) become the
 * caller's. -EAGAIN: none there; -EPIPE: closed; -EMFILE: a message was lost
 * because its descriptors found no room here (those that did are closed);
 * -EPROTO: another version or a malformed packet (descriptors in it are closed). */
int ipc_recv(int fd, struct ipc_msg *ret_msg, int *ret_fds, unsigned *ret_fds_count) LECTR_MUST_USE;
