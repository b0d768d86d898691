/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every map. "Pinned" ones are kept across helpers, under their ABI version. */
#pragma once

/* Configuration; written by the helper at start. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct lectr_settings);
} settings SEC(".maps");

/* What a new helper must know of the last one. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct lectr_meta);
} meta SEC(".maps");

/* Provider names -> provider; written by the helper, which refuses to start
 * with more than fit. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 4096);
    __type(key, struct lectr_name_key);
    __type(value, __u32);
} names SEC(".maps");

/* Provider -> its name, so that old census rows keep theirs. Helper. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, __u32);
    __type(value, struct lectr_provider_name);
} providers SEC(".maps");

/* Port -> provider that speaks HTTP in clear there, at whatever address; written
 * by the helper, which refuses to start with more than fit. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, LECTR_CLEAR_PORTS_MAX);
    __type(key, __u32);
    __type(value, __u32);
} clear_ports SEC(".maps");

/* Learned addresses; written by the DNS reader. The longest unused goes when
 * full: its next connections pass unseen until the name is resolved again. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct lectr_addr_key);
    __type(value, struct lectr_addr);
} addrs SEC(".maps");

/* Name -> last address, for a connection's second try; written by the DNS
 * reader. The longest unused goes when full: those have no second try. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct lectr_name_addr_key);
    __type(value, struct lectr_name_addr);
} name_addrs SEC(".maps");

/* Counts; written by the census and by steering, emptied of dead workloads by
 * the helper. When full the connection is counted in meta.census_lost. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, LECTR_CENSUS_MAX);
    __type(key, struct lectr_census_key);
    __type(value, struct lectr_census);
} census SEC(".maps");

/* How many of a row's steered connections a proxy took, by the row's slot;
 * written by the proxies, which map it. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, LECTR_CENSUS_MAX + 1);
    __type(key, __u32);
    __type(value, __u64);
} taken SEC(".maps");

/* Slots that no row has; filled and refilled by the helper. Never empty before
 * the census is full. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __uint(max_entries, LECTR_CENSUS_MAX);
    __type(value, __u32);
} free_slots SEC(".maps");

/* What was told of them; helper only, here because it must survive it. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, LECTR_CENSUS_MAX);
    __type(key, struct lectr_census_key);
    __type(value, struct lectr_told);
} census_told SEC(".maps");

/* Marks Lectr's own sockets; only who may use bpf() can write it. Pinned, since
 * the sockets of a proxy that outlives its helper stay Lectr's. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct lectr_own);
} own_sock SEC(".maps");

/* A connection to a provider between its connect() and its SYN, which is when it
 * is counted: one that fails before, for want of a route, was none. Pinned. */
struct seen {
    __u64 cgroup_id;
    __u64 netns_cookie;
    __u32 provider;
    __u32 verdict; /* enum lectr_verdict; 0: steering was not there to give one */
};
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct seen);
} seen_sock SEC(".maps");

/* Marks a UDP socket that was counted as QUIC already. Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u32);
} quic_sock SEC(".maps");

/* Namespace of a socket, where a packet cannot tell (compat.bpf.h). Pinned. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u64);
} sock_netns SEC(".maps");

/* The DNS reader's working space; a packet is read with preemption of another
 * packet on this CPU excluded. */
struct dns_scratch {
    struct lectr_name_key key;
    __u8 wire[LECTR_NAME_MAX]; /* the question's name as it came */
    __u8 text[LECTR_NAME_MAX]; /* lower case, dots */
    struct lectr_addr_key addr;
    __u64 name_hash;
    __u32 offset, label_left, length, answers, skipping;
};
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct dns_scratch);
} scratch SEC(".maps");

/* Signs of life; mmapped by both processes. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct lectr_beat);
} beat SEC(".maps");

/* Consenting cgroups (with all below them) and namespaces; helper. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, __u64);
    __type(value, __u32);
} consent_cgroup SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, __u64);
    __type(value, __u32);
} consent_netns SEC(".maps");

/* Namespace -> listeners; helper. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, __u64);
    __type(value, struct lectr_netns);
} netns SEC(".maps");

/* When a namespace was last reported, so that it is not with every socket. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, __u64);
    __type(value, __u64);
} netns_told SEC(".maps");

/* New namespaces, to the helper. Full: the next socket there reports again. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 64 * 1024);
} netns_events SEC(".maps");

/* Where a steered connection was going; lives and dies with the socket. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct lectr_origin);
} origin_sock SEC(".maps");

/* The same, to the proxy. Steering stops when it is three quarters full. */
#define ORIGINS_BYTES (512 * 1024)
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, ORIGINS_BYTES);
} origins SEC(".maps");
