/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counts connections to providers, before and apart from steering. Also the
 * facts about a connection that census and steering share. */
#pragma once

#include "bpf/steer.bpf.h"

#define CGROUP_LEVELS_MAX 12
#define NS_PER_S 1000000000ULL

struct dest {
    struct lectr_addr_key key;
    __u16 port;
    __u8 to_loopback;
};

static __always_inline void census_lose(void)
{
    __u32 zero = 0;
    struct lectr_meta *m = bpf_map_lookup_elem(&meta, &zero);

    if (m)
        __sync_fetch_and_add(&m->census_lost, 1);
}

static __always_inline struct lectr_census *census_row(const struct lectr_census_key *key)
{
    struct lectr_census *row = bpf_map_lookup_elem(&census, key);
    struct lectr_census fresh = {};

    if (row)
        return row;
    fresh.first_ns = bpf_ktime_get_ns();
    if (bpf_map_pop_elem(&free_slots, &fresh.slot) < 0)
        fresh.slot = 0;
    if (bpf_map_update_elem(&census, key, &fresh, BPF_NOEXIST) < 0 && fresh.slot)
        bpf_map_push_elem(&free_slots, &fresh.slot, 0);
    return bpf_map_lookup_elem(&census, key);
}

/* Counts one connection as seen, and what became of it unless that is 0.
 * Returns the row's slot. */
static __always_inline __u32 census_count(const struct seen *what, __u32 verdict)
{
    struct lectr_census_key key = {.cgroup_id = what->cgroup_id,
                                   .netns_cookie = what->netns_cookie,
                                   .provider = what->provider};
    struct lectr_census *row = census_row(&key);

    if (!row) {
        census_lose();
        return 0;
    }
    row->last_ns = bpf_ktime_get_ns();
    __sync_fetch_and_add(&row->count[LECTR_SEEN], 1);
    if (verdict > LECTR_SEEN && verdict < LECTR_VERDICT__COUNT)
        __sync_fetch_and_add(&row->count[verdict], 1);
    return row->slot;
}

static __always_inline __u8 port_listed(const struct lectr_settings *s, __u16 port)
{
    for (int i = 0; i < LECTR_PORTS_MAX; i++)
        if (i < (int)s->ports_count && s->ports[i] == port)
            return 1;
    return 0;
}

/* The provider that this namespace's DNS gave the address for; 0: none. Use
 * keeps an entry: clients cache names for longer than any TTL says. */
static __always_inline __u32 addr_provider(const struct lectr_settings *s,
                                           const struct lectr_addr_key *key)
{
    struct lectr_addr *a = bpf_map_lookup_elem(&addrs, key);
    __u64 now = bpf_ktime_get_ns();

    if (!a || a->expires_ns < now)
        return 0;
    if (a->expires_ns < now + s->dns_ttl_min_ns)
        a->expires_ns = now + s->dns_ttl_min_ns;
    return a->provider;
}

/* Consent is given to a cgroup with all below it, or to a namespace. */
static __always_inline __u8 caller_consents(__u64 cookie)
{
    __u64 id = bpf_get_current_cgroup_id();

    if (bpf_map_lookup_elem(&consent_netns, &cookie) || bpf_map_lookup_elem(&consent_cgroup, &id))
        return 1;
    for (int level = 0; level < CGROUP_LEVELS_MAX; level++) {
        id = bpf_get_current_ancestor_cgroup_id(level);
        if (!id)
            return 0;
        if (bpf_map_lookup_elem(&consent_cgroup, &id))
            return 1;
    }
    return 0;
}

static __always_inline void dest_of4(struct bpf_sock_addr *ctx, struct dest *d)
{
    __u32 addr = ctx->user_ip4;

    /* No address at all is this host, to the kernel. */
    if (addr == 0)
        addr = bpf_htonl(IPV4_LOOPBACK);
    __builtin_memcpy(d->key.addr, &addr, 4);
    d->key.family = AF_INET;
    d->key.netns_cookie = bpf_get_netns_cookie(ctx);
    d->port = bpf_ntohs((__u16)ctx->user_port);
    d->to_loopback = d->key.addr[0] == IPV4_LOOPBACK_NET;
}

/* ::ffff:a.b.c.d is IPv4 by another name (Java's default). */
static __always_inline void dest_of6(struct bpf_sock_addr *ctx, struct dest *d)
{
    __u32 a0 = ctx->user_ip6[0], a1 = ctx->user_ip6[1];
    __u32 a2 = ctx->user_ip6[2], a3 = ctx->user_ip6[3];

    d->key.netns_cookie = bpf_get_netns_cookie(ctx);
    d->port = bpf_ntohs((__u16)ctx->user_port);
    if (a0 == 0 && a1 == 0 && a2 == bpf_htonl(0xffff)) {
        d->key.family = AF_INET;
        __builtin_memcpy(d->key.addr, &a3, 4);
        d->to_loopback = d->key.addr[0] == IPV4_LOOPBACK_NET;
        return;
    }
    d->key.family = AF_INET6;
    if ((a0 | a1 | a2 | a3) == 0)
        a3 = bpf_htonl(1);
    __builtin_memcpy(d->key.addr, &a0, 4);
    __builtin_memcpy(d->key.addr + 4, &a1, 4);
    __builtin_memcpy(d->key.addr + 8, &a2, 4);
    __builtin_memcpy(d->key.addr + 12, &a3, 4);
    d->to_loopback = a0 == 0 && a1 == 0 && a2 == 0 && a3 == bpf_htonl(1);
}

static __always_inline int loopback_listens(struct bpf_sock_addr *ctx, const struct dest *d)
{
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sk;
    int listens;

    if (d->key.family == AF_INET6) {
        tuple.ipv6.saddr[3] = tuple.ipv6.daddr[3] = bpf_htonl(1);
        tuple.ipv6.dport = bpf_htons(d->port);
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    } else {
        __builtin_memcpy(&tuple.ipv4.daddr, d->key.addr, 4);
        tuple.ipv4.saddr = tuple.ipv4.daddr;
        tuple.ipv4.dport = bpf_htons(d->port);
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    }
    if (!sk)
        return 0;
    listens = sk->state == STEER_TCP_LISTEN;
    bpf_sk_release(sk);
    return listens;
}

/* Fills the facts that steer_scope() needs, and consent; returns the provider. */
static __always_inline __u32 gather_scope(struct bpf_sock_addr *ctx, const struct dest *d,
                                          const struct lectr_settings *s, struct steer_facts *f)
{
    __u32 provider = 0, port = d->port;
    __u32 *clear;

    f->tcp = ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP;
    f->to_loopback = d->to_loopback;
    f->port_listed = port_listed(s, d->port);
    f->mode_all = s->mode_all != 0;
    if (!f->tcp)
        return 0;
    if (!f->to_loopback && f->port_listed)
        provider = addr_provider(s, &d->key);
    f->provider_known = provider != 0;
    clear = f->provider_known ? 0 : bpf_map_lookup_elem(&clear_ports, &port);
    if (clear) {
        f->clear_port = 1;
        provider = *clear;
    }
    if (!provider && !(f->mode_all && f->port_listed && !f->to_loopback))
        return 0;
    f->consent = caller_consents(d->key.netns_cookie);
    if (ctx->sk)
        f->own = bpf_sk_storage_get(&own_sock, ctx->sk, 0, 0) != 0;
    if (f->clear_port && f->to_loopback && f->consent && !f->own)
        f->unserved = !loopback_listens(ctx, d);
    return provider;
}

static __always_inline int census_connect(struct bpf_sock_addr *ctx, const struct dest *d)
{
    struct steer_facts f = {};
    __u32 zero = 0, provider;
    struct lectr_settings *s = bpf_map_lookup_elem(&settings, &zero);
    struct seen *seen;

    if (!s || !ctx->sk)
        return 1;
    provider = gather_scope(ctx, d, s, &f);
    if (steer_scope(&f) != LECTR_SEEN) {
        /* The socket may have failed at a provider before. */
        if (bpf_sk_storage_get(&seen_sock, ctx->sk, 0, 0))
            bpf_sk_storage_delete(&seen_sock, ctx->sk);
        return 1;
    }
    seen = bpf_sk_storage_get(&seen_sock, ctx->sk, 0, SK_STORAGE_CREATE);
    if (!seen) {
        census_lose();
        return 1;
    }
    seen->cgroup_id = bpf_get_current_cgroup_id();
    seen->netns_cookie = d->key.netns_cookie;
    seen->provider = provider;
    seen->verdict = 0;
    return 1;
}

SEC("cgroup/connect4")
int lectr_census4(struct bpf_sock_addr *ctx)
{
    struct dest d = {};

    dest_of4(ctx, &d);
    return census_connect(ctx, &d);
}

SEC("cgroup/connect6")
int lectr_census6(struct bpf_sock_addr *ctx)
{
    struct dest d = {};

    dest_of6(ctx, &d);
    return census_connect(ctx, &d);
}

/* The SYN leaves: seen, and its verdict, are counted together. */
SEC("sockops")
int lectr_census_syn(struct bpf_sock_ops *ctx)
{
    struct lectr_origin *o;
    struct bpf_sock *sk;
    struct seen *seen;
    __u32 slot;

    if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB)
        return 1;
    sk = ctx->sk;
    if (!sk)
        return 1;
    seen = bpf_sk_storage_get(&seen_sock, sk, 0, 0);
    if (!seen)
        return 1;
    slot = census_count(seen, seen->verdict);
    bpf_sk_storage_delete(&seen_sock, sk);
    o = bpf_sk_storage_get(&origin_sock, sk, 0, 0);
    if (o)
        o->slot = (__u16)slot;
    return 1;
}

/* QUIC is counted by its first datagram: resolvers connect() UDP sockets merely
 * to sort addresses, and send nothing. */
SEC("cgroup_skb/egress")
int lectr_census_quic(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    struct lectr_addr_key key = {};
    struct seen seen = {};
    struct bpf_sock *sk = skb->sk;
    struct lectr_settings *s;
    struct udphdr udp;
    __u32 zero = 0, provider, offset;
    __u32 *counted;

    if (skb->protocol == bpf_htons(0x0800)) {
        struct iphdr *ip = data;

        if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_UDP)
            return 1;
        offset = ip->ihl * 4;
        key.family = AF_INET;
        __builtin_memcpy(key.addr, &ip->daddr, 4);
    } else if (skb->protocol == bpf_htons(0x86dd)) {
        struct ipv6hdr *ip6 = data;

        if ((void *)(ip6 + 1) > end || ip6->nexthdr != IPPROTO_UDP)
            return 1;
        offset = sizeof(*ip6);
        key.family = AF_INET6;
        __builtin_memcpy(key.addr, &ip6->daddr, 16);
    } else {
        return 1;
    }
    s = bpf_map_lookup_elem(&settings, &zero);
    if (!s || bpf_skb_load_bytes(skb, offset, &udp, sizeof(udp)) < 0 ||
        !port_listed(s, bpf_ntohs(udp.dest)))
        return 1;
    key.netns_cookie = skb_netns_cookie(skb);
    provider = addr_provider(s, &key);
    if (!provider || !sk)
        return 1;
    sk = bpf_sk_fullsock(sk);
    if (!sk)
        return 1;
    counted = bpf_sk_storage_get(&quic_sock, sk, 0, SK_STORAGE_CREATE);
    if (!counted || *counted)
        return 1;
    *counted = 1;
    seen.cgroup_id = bpf_skb_cgroup_id(skb);
    seen.netns_cookie = key.netns_cookie;
    seen.provider = provider;
    census_count(&seen, LECTR_QUIC);
    return 1;
}
