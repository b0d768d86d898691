/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the pure decisions in the kernel: a packet's bytes are the facts, the
 * return value is the verdict. */
#include "bpf/vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "bpf/steer.bpf.h"

#define BAD_INPUT 1000

SEC("tc")
int run_decide(struct __sk_buff *skb)
{
    struct steer_facts facts;

    if (bpf_skb_load_bytes(skb, 0, &facts, sizeof(facts)) < 0)
        return BAD_INPUT;
    return steer_decide(&facts);
}

struct alive_input {
    struct lectr_beat beat;
    __u64 now_ns, stale_ns;
};

SEC("tc")
int run_alive(struct __sk_buff *skb)
{
    struct alive_input in;

    if (bpf_skb_load_bytes(skb, 0, &in, sizeof(in)) < 0)
        return BAD_INPUT;
    return steer_alive(&in.beat, in.now_ns, in.stale_ns);
}

struct listener_input {
    struct lectr_own own;
    __u32 has_own, state, generation, pad;
};

SEC("tc")
int run_listener(struct __sk_buff *skb)
{
    struct listener_input in;

    if (bpf_skb_load_bytes(skb, 0, &in, sizeof(in)) < 0)
        return BAD_INPUT;
    return steer_listener(in.state, in.has_own ? &in.own : (void *)0, in.generation);
}

char _license[] SEC("license") = "Dual BSD/GPL";
