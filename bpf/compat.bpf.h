/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Kernel differences. Flags are set by the loader from what it probed; code that
 * a flag excludes is never verified. */
#pragma once

#define AF_INET LECTR_AF_INET
#define AF_INET6 LECTR_AF_INET6
#define IPV4_LOOPBACK_NET 127
#define IPV4_LOOPBACK 0x7f000001
#define SK_STORAGE_CREATE 1 /* BPF_SK_STORAGE_GET_F_CREATE */

/* bpf_get_netns_cookie() in cgroup_skb programs came in about 6.15. Before, the
 * cookie is noted when the socket is made; sockets older than the programs have
 * none, and their answers are not read. */
const volatile bool has_skb_netns_cookie = false;

static __always_inline __u64 skb_netns_cookie(struct __sk_buff *skb)
{
    struct bpf_sock *sk;
    __u64 *cookie;

    if (has_skb_netns_cookie)
        return bpf_get_netns_cookie(skb);
    sk = skb->sk;
    if (!sk)
        return 0;
    sk = bpf_sk_fullsock(sk);
    if (!sk)
        return 0;
    cookie = bpf_sk_storage_get(&sock_netns, sk, 0, 0);
    return cookie ? *cookie : 0;
}

/* Loaded only where the above needs it. */
SEC("cgroup/sock_create")
int lectr_stamp(struct bpf_sock *sk)
{
    __u64 *cookie = bpf_sk_storage_get(&sock_netns, sk, 0, SK_STORAGE_CREATE);

    if (cookie)
        *cookie = bpf_get_netns_cookie(sk);
    return 1;
}
