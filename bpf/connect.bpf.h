/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Steers: the destination becomes the agent's listener in the caller's own
 * namespace. Whatever is amiss, the connection is left alone.
 * Of an MPTCP socket the hooks see the first subflow: it is steered as any other,
 * but getpeername() asks the socket above it and tells the listener's address. */
#pragma once

/* A second connection, from the agent, would leave by another route or arrive
 * from another address than the application chose. */
static __always_inline __u8 chose_source(const struct bpf_sock *sk, __u32 socket_family)
{
    if (sk->mark || sk->src_port)
        return 1;
    if (socket_family == AF_INET)
        return sk->src_ip4 != 0;
    return (sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2] | sk->src_ip6[3]) != 0;
}

/* Fills what steer_decide() needs beyond gather_scope(). */
static __always_inline void gather_agent(struct bpf_sock_addr *ctx, const struct dest *d,
                                         const struct lectr_settings *s, const struct lectr_beat *b,
                                         const struct lectr_netns *n, struct steer_facts *f)
{
    f->ipv6 = d->key.family == AF_INET6;
    f->device_bound = ctx->sk && ctx->sk->bound_dev_if != 0;
    f->bound_source = ctx->sk && chose_source(ctx->sk, ctx->family);
    f->alive = steer_alive(b, bpf_ktime_get_ns(), s->stale_ns);
    f->ring_room = bpf_ringbuf_query(&origins, BPF_RB_AVAIL_DATA) < ORIGINS_BYTES / 4 * 3;
    if (!n)
        return;
    f->netns_known = (f->ipv6 ? n->port6 : n->port4) != 0;
    f->route = d->to_loopback || (n->flags & (f->ipv6 ? LECTR_NETNS_V6 : LECTR_NETNS_V4)) != 0;
}

static __always_inline int listener_is_ours(struct bpf_sock_addr *ctx, __u8 ipv6, __u16 port,
                                            __u32 generation)
{
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sk;
    int ours;

    if (ipv6) {
        tuple.ipv6.saddr[3] = tuple.ipv6.daddr[3] = bpf_htonl(1);
        tuple.ipv6.dport = bpf_htons(port);
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    } else {
        tuple.ipv4.saddr = tuple.ipv4.daddr = bpf_htonl(IPV4_LOOPBACK);
        tuple.ipv4.dport = bpf_htons(port);
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    }
    if (!sk)
        return 0;
    ours = steer_listener(sk->state, bpf_sk_storage_get(&own_sock, sk, 0, 0), generation);
    bpf_sk_release(sk);
    return ours;
}

static __always_inline int same_address(const __u8 a[16], const __u8 b[16])
{
    __u64 words[4];

    __builtin_memcpy(words, a, 16);
    __builtin_memcpy(words + 2, b, 16);
    return words[0] == words[2] && words[1] == words[3];
}

/* The last address of this family that was given for the name, unless it is the
 * destination itself or has expired. */
static __always_inline int alternative_of(const struct dest *d, __u64 name, __u32 family,
                                          struct lectr_origin *o)
{
    struct lectr_name_addr_key key = {
        .netns_cookie = d->key.netns_cookie, .name = name, .family = family};
    struct lectr_name_addr *last = bpf_map_lookup_elem(&name_addrs, &key);
    struct lectr_addr_key addr = {.netns_cookie = d->key.netns_cookie, .family = family};
    struct lectr_addr *known;

    if (!last)
        return 0;
    __builtin_memcpy(addr.addr, last->addr, sizeof(addr.addr));
    if (family == d->key.family && same_address(addr.addr, d->key.addr))
        return 0;
    known = bpf_map_lookup_elem(&addrs, &addr);
    if (!known || known->name != name || known->expires_ns < bpf_ktime_get_ns())
        return 0;
    __builtin_memcpy(o->alt_daddr, addr.addr, sizeof(o->alt_daddr));
    o->alt_family = family;
    return 1;
}

/* What a client that connects by itself would try next: the other family. */
static __always_inline void remember_alternative(const struct dest *d, struct lectr_origin *o)
{
    struct lectr_addr *a = bpf_map_lookup_elem(&addrs, &d->key);
    __u32 family = d->key.family;

    if (!a || !a->name)
        return;
    if (!alternative_of(d, a->name, family == AF_INET ? AF_INET6 : AF_INET, o))
        alternative_of(d, a->name, family, o);
}

static __always_inline int remember_origin(struct bpf_sock_addr *ctx, const struct dest *d)
{
    struct lectr_origin *o;

    if (!ctx->sk)
        return 0;
    o = bpf_sk_storage_get(&origin_sock, ctx->sk, 0, SK_STORAGE_CREATE);
    if (!o)
        return 0;
    __builtin_memset(o, 0, sizeof(*o));
    o->netns_cookie = d->key.netns_cookie;
    o->cgroup_id = bpf_get_current_cgroup_id();
    o->connect_ns = bpf_ktime_get_ns();
    __builtin_memcpy(o->daddr, d->key.addr, sizeof(o->daddr));
    o->pid = bpf_get_current_pid_tgid() >> 32;
    o->uid = (__u32)bpf_get_current_uid_gid();
    o->dport = d->port;
    o->family = d->key.family;
    remember_alternative(d, o);
    return 1;
}

/* The port to steer to, host order; 0: leave the connection alone. */
static __always_inline __u16 steer_connect(struct bpf_sock_addr *ctx, const struct dest *d)
{
    __u32 zero = 0;
    struct lectr_settings *s = bpf_map_lookup_elem(&settings, &zero);
    struct lectr_beat *b = bpf_map_lookup_elem(&beat, &zero);
    struct lectr_netns *n;
    struct steer_facts f = {};
    enum lectr_verdict verdict;
    struct seen *seen;
    __u16 port = 0;

    /* A socket may have been steered before, failed, and now go elsewhere. */
    if (ctx->sk && bpf_sk_storage_get(&origin_sock, ctx->sk, 0, 0))
        bpf_sk_storage_delete(&origin_sock, ctx->sk);
    if (!s || !b)
        return 0;
    gather_scope(ctx, d, s, &f);
    if (steer_scope(&f) != LECTR_SEEN)
        return 0;
    n = bpf_map_lookup_elem(&netns, &d->key.netns_cookie);
    gather_agent(ctx, d, s, b, n, &f);
    verdict = steer_decide(&f);
    if (verdict == LECTR_STEERED && n) {
        port = f.ipv6 ? n->port6 : n->port4;
        if (!listener_is_ours(ctx, f.ipv6, port, b->generation))
            verdict = LECTR_AGENT_DOWN;
        else if (!remember_origin(ctx, d))
            verdict = LECTR_OVERLOAD;
    }
    seen = ctx->sk ? bpf_sk_storage_get(&seen_sock, ctx->sk, 0, 0) : 0;
    if (seen)
        seen->verdict = verdict;
    return verdict == LECTR_STEERED ? port : 0;
}

SEC("cgroup/connect4")
int lectr_connect4(struct bpf_sock_addr *ctx)
{
    struct dest d = {};
    __u16 port;

    dest_of4(ctx, &d);
    port = steer_connect(ctx, &d);
    if (port) {
        ctx->user_ip4 = bpf_htonl(IPV4_LOOPBACK);
        ctx->user_port = bpf_htons(port);
    }
    return 1;
}

SEC("cgroup/connect6")
int lectr_connect6(struct bpf_sock_addr *ctx)
{
    struct dest d = {};
    __u16 port;

    dest_of6(ctx, &d);
    port = steer_connect(ctx, &d);
    if (!port)
        return 1;
    if (d.key.family == AF_INET) {
        ctx->user_ip6[3] = bpf_htonl(IPV4_LOOPBACK);
    } else {
        ctx->user_ip6[0] = ctx->user_ip6[1] = ctx->user_ip6[2] = 0;
        ctx->user_ip6[3] = bpf_htonl(1);
    }
    ctx->user_port = bpf_htons(port);
    return 1;
}

/* Tells the helper of a consenting caller's namespace that has no listener,
 * again after a second if still so. */
SEC("cgroup/sock_create")
int lectr_meet(struct bpf_sock *sk)
{
    __u64 cookie, now;
    __u64 *told;
    struct lectr_netns_event *e;

    if (sk->family != AF_INET && sk->family != AF_INET6)
        return 1;
    cookie = bpf_get_netns_cookie(sk);
    if (bpf_map_lookup_elem(&netns, &cookie))
        return 1;
    now = bpf_ktime_get_ns();
    told = bpf_map_lookup_elem(&netns_told, &cookie);
    if (told && now - *told < NS_PER_S)
        return 1;
    if (!caller_consents(cookie))
        return 1;
    e = bpf_ringbuf_reserve(&netns_events, sizeof(*e), 0);
    if (!e)
        return 1;
    *e = (struct lectr_netns_event){
        .netns_cookie = cookie,
        .cgroup_id = bpf_get_current_cgroup_id(),
        .at_ns = now,
        .pid = bpf_get_current_pid_tgid() >> 32,
    };
    bpf_ringbuf_submit(e, BPF_RB_FORCE_WAKEUP);
    bpf_map_update_elem(&netns_told, &cookie, &now, BPF_ANY);
    return 1;
}
