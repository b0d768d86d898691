/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only header shared by BPF and user space: keys, values, flags. Fixed
 * widths, host byte order. Any change of a pinned map's layout raises
 * LECTR_ABI_VERSION, which names the pin folder.
 */
#pragma once

#ifndef __bpf__
#include <linux/types.h>
#endif

#define LECTR_ABI_VERSION 3

#define LECTR_AF_INET 2
#define LECTR_AF_INET6 10

#define LECTR_PORTS_MAX 16
#define LECTR_CLEAR_PORTS_MAX 256
#define LECTR_NAME_MAX 256 /* a DNS name has at most 253 characters */

/* Where a steered connection was going and who made it. Kept in the client
 * socket's storage, and sent through the origin ring before its SYN leaves, so
 * that whoever accepts it can look it up by (netns_cookie, family, saddr, sport). */
struct lectr_origin {
    __u64 netns_cookie;
    __u64 cgroup_id;
    __u64 connect_ns; /* bpf_ktime_get_ns */
    __u8 daddr[16];   /* original destination; IPv4 in the first four bytes */
    __u8 saddr[16];   /* local address of the steered connection */
    /* Another address that this namespace's DNS gave for the same name. */
    __u8 alt_daddr[16];
    __u32 pid; /* tgid in the initial pid namespace */
    __u32 uid;
    __u16 dport;
    __u16 sport;
    __u8 family;     /* of the listener that the connection reaches: LECTR_AF_* */
    __u8 alt_family; /* of alt_daddr; 0: none is known */
    __u16 slot;      /* of its count among those taken; 0: none */
};
_Static_assert(sizeof(struct lectr_origin) == 88, "ring record layout");

/* One mmapable array element: the processes' signs of life. */
struct lectr_beat {
    __u64 proxy_ns;  /* CLOCK_MONOTONIC; written by the proxy */
    __u64 helper_ns; /* written by the helper */
    __u32 shed;      /* non-zero: steer nothing (set by the helper) */
    __u32 generation;
    __u32 proxy_shed; /* the same, set by the proxy, which has too much to do */
    __u32 pad;
};

/* What became of a connection that the census saw. Also the gap reasons that
 * the kernel side can tell. */
enum lectr_verdict {
    LECTR_SEEN = 0, /* counted by the census program: every connection to a provider */
    LECTR_STEERED,
    LECTR_NO_CONSENT,
    LECTR_NO_LISTENER, /* the namespace is not known (yet) */
    LECTR_AGENT_DOWN,  /* listener gone, foreign, or a heartbeat stale; or shed */
    LECTR_NO_ROUTE,    /* IPv6 without a default route */
    LECTR_DEVICE_BOUND,
    LECTR_OVERLOAD, /* origin ring nearly full, or no memory for the record */
    LECTR_QUIC,     /* UDP to a provider's port: seen, never steered */
    LECTR_OWN,      /* Lectr's own upstream socket: neither seen nor steered */
    LECTR_NOT_PROVIDER,
    LECTR_BOUND_SOURCE, /* the socket has a mark, or an address or port of its own choice */
    LECTR_VERDICT__COUNT,
};

/* What the programs were told by the configuration. A map, not constants: a
 * pinned program outlives the helper that loaded it. */
struct lectr_settings {
    __u64 dns_ttl_min_ns;
    __u64 stale_ns; /* a heartbeat older than this is no sign of life */
    __u32 mode_all;
    __u32 ports_count;
    __u16 ports[LECTR_PORTS_MAX];
};

/* A provider's name, reversed and in lower case. An exact one ends with NUL,
 * a suffix ("*.x.y" -> "y.x.") with the dot, so neither matches a look-alike. */
struct lectr_name_key {
    __u32 prefix_bits;
    __u8 name[LECTR_NAME_MAX];
};

/* Providers are told by a hash of their name, which stays the same when the
 * profiles change under a pinned map; 0 is "not known" (mode all). */
struct lectr_provider_name {
    char name[32];
};

/* An address that a namespace was given for a provider's name. */
struct lectr_addr_key {
    __u64 netns_cookie;
    __u8 addr[16]; /* IPv4 in the first four bytes, the rest zero */
    __u32 family;
    __u32 pad;
};

struct lectr_addr {
    __u64 expires_ns; /* bpf_ktime_get_ns */
    __u64 name;       /* hash of the name it was given for */
    __u32 provider;
    __u32 pad;
};

/* The last address of a family that a namespace was given for a name; its life
 * is told by its own entry among the addresses. */
struct lectr_name_addr_key {
    __u64 netns_cookie;
    __u64 name;
    __u32 family;
    __u32 pad;
};

struct lectr_name_addr {
    __u8 addr[16];
};

struct lectr_census_key {
    __u64 cgroup_id;
    __u64 netns_cookie;
    __u32 provider;
    __u32 pad;
};

#define LECTR_CENSUS_MAX 16384

struct lectr_census {
    __u64 count[LECTR_VERDICT__COUNT];
    __u64 first_ns, last_ns; /* bpf_ktime_get_ns */
    __u32 slot;              /* where proxies count what they took of it; 1… */
    __u32 pad;
};

/* How much of a census entry has been told. `pending` is written before a row
 * leaves, so that the row is the same one if it has to be sent again. The last
 * slots are for connections with no verdict, since nobody was there to give one,
 * and for steered ones that their proxy died before taking. */
#define LECTR_TOLD_UNDECIDED LECTR_VERDICT__COUNT
#define LECTR_TOLD_DIED (LECTR_VERDICT__COUNT + 1)
#define LECTR_TOLD__COUNT (LECTR_VERDICT__COUNT + 2)
struct lectr_told_slot {
    __u64 told;
    __u64 pending; /* == told: nothing under way */
    __u64 start_unix_ns, end_unix_ns;
};
struct lectr_told {
    struct lectr_told_slot slot[LECTR_TOLD__COUNT];
    __u64 died; /* as of the last change of proxies */
};

/* One mmapable pinned element: what a new helper must know of the last one. */
struct lectr_meta {
    __u64 epoch[2]; /* random, made with the pins */
    __u64 helper_mono_ns;
    __u64 helper_wall_ns;
    __u64 census_lost; /* connections not counted because the census was full */
};

/* A socket was made in a namespace that has no listener. */
struct lectr_netns_event {
    __u64 netns_cookie;
    __u64 cgroup_id;
    __u64 at_ns; /* bpf_ktime_get_ns */
    __u32 pid;
    __u32 pad;
};

#define LECTR_NETNS_V4 1u /* 127.0.0.1 can be reached */
#define LECTR_NETNS_V6 2u /* ::1 can be reached and there is an IPv6 default route */
struct lectr_netns {
    __u16 port4, port6; /* where the agent listens; 0: nowhere */
    __u32 flags;
};

/* Storage of Lectr's own sockets, set by the helper through their descriptor. */
struct lectr_own {
    __u32 generation; /* of the proxy it was made for */
    __u32 listener;   /* else an upstream socket */
};
