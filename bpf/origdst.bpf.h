/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a steered connection was going: told to the proxy before the SYN
 * leaves, and to the application whenever it asks. */
#pragma once

SEC("sockops")
int lectr_sockops(struct bpf_sock_ops *ctx)
{
    struct lectr_origin *o;
    struct bpf_sock *sk;

    if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB)
        return 1;
    sk = ctx->sk;
    if (!sk)
        return 1;
    o = bpf_sk_storage_get(&origin_sock, sk, 0, 0);
    if (!o)
        return 1;
    o->sport = (__u16)ctx->local_port;
    if (o->family == AF_INET) {
        __u32 addr = ctx->local_ip4;

        __builtin_memcpy(o->saddr, &addr, 4);
    } else {
        __u32 a0 = ctx->local_ip6[0], a1 = ctx->local_ip6[1];
        __u32 a2 = ctx->local_ip6[2], a3 = ctx->local_ip6[3];

        __builtin_memcpy(o->saddr, &a0, 4);
        __builtin_memcpy(o->saddr + 4, &a1, 4);
        __builtin_memcpy(o->saddr + 8, &a2, 4);
        __builtin_memcpy(o->saddr + 12, &a3, 4);
    }
    /* Full in spite of the margin: the proxy finds no origin and closes. */
    bpf_ringbuf_output(&origins, o, sizeof(*o), 0);
    return 1;
}

SEC("cgroup/getpeername4")
int lectr_getpeername4(struct bpf_sock_addr *ctx)
{
    struct lectr_origin *o;
    __u32 addr;

    if (!ctx->sk)
        return 1;
    o = bpf_sk_storage_get(&origin_sock, ctx->sk, 0, 0);
    if (!o)
        return 1;
    __builtin_memcpy(&addr, o->daddr, 4);
    ctx->user_ip4 = addr;
    ctx->user_port = bpf_htons(o->dport);
    return 1;
}

SEC("cgroup/getpeername6")
int lectr_getpeername6(struct bpf_sock_addr *ctx)
{
    struct lectr_origin *o;
    __u32 a[4];

    if (!ctx->sk)
        return 1;
    o = bpf_sk_storage_get(&origin_sock, ctx->sk, 0, 0);
    if (!o)
        return 1;
    __builtin_memcpy(a, o->daddr, sizeof(a));
    if (o->family == AF_INET) {
        ctx->user_ip6[3] = a[0];
    } else {
        ctx->user_ip6[0] = a[0];
        ctx->user_ip6[1] = a[1];
        ctx->user_ip6[2] = a[2];
        ctx->user_ip6[3] = a[3];
    }
    ctx->user_port = bpf_htons(o->dport);
    return 1;
}
