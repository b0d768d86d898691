/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reads DNS answers as they come in, before the resolver that asked does. What
 * counts is the *question*: if it is a provider's name, every address of the
 * answer section was given to this namespace for it, at the end of whatever
 * CNAME chain. Owner names are therefore skipped, never followed, and a
 * compression pointer ends the skipping: there is no loop to be led into.
 *
 * The state of the loops is kept in the map value, not in registers, or the
 * verifier would follow each combination.
 */
#pragma once

#define DNS_PORT 53
#define DNS_HEADER_BYTES 12
#define DNS_ANSWERS_MAX 64
#define DNS_STEPS_MAX 512 /* labels skipped and records read, together */
#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 28
#define DNS_CLASS_IN 1
#define NAME_MASK (LECTR_NAME_MAX - 1)
#define NAME_HASH_START 0xcbf29ce484222325ULL
#define NAME_HASH_TIMES 0x100000001b3ULL

struct dns_header {
    __be16 id, flags, questions, answers, authorities, additional;
};

struct dns_record {
    __be16 type, class;
    __be32 ttl;
    __be16 length;
} __attribute__((packed));

enum dns_flags {
    DNS_RESPONSE = 0x8000,
    DNS_OPCODE = 0x7800,
    DNS_RCODE = 0x000f,
};

/* Where the UDP payload begins; 0 when it is not from a DNS server. */
static __always_inline __u32 dns_payload(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    struct udphdr udp;
    __u32 offset;

    if (skb->protocol == bpf_htons(0x0800)) {
        struct iphdr *ip = data;

        if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_UDP)
            return 0;
        offset = ip->ihl * 4;
    } else if (skb->protocol == bpf_htons(0x86dd)) {
        struct ipv6hdr *ip6 = data;

        if ((void *)(ip6 + 1) > end || ip6->nexthdr != IPPROTO_UDP)
            return 0;
        offset = sizeof(*ip6);
    } else {
        return 0;
    }
    if (bpf_skb_load_bytes(skb, offset, &udp, sizeof(udp)) < 0 || udp.source != bpf_htons(DNS_PORT))
        return 0;
    return offset + sizeof(udp);
}

/* Reads the question's name at w->offset into w->text (length w->length) and
 * moves behind it. False: malformed, compressed, or not a host name. */
static __always_inline int dns_read_name(struct __sk_buff *skb, volatile struct dns_scratch *w)
{
    __u32 offset = w->offset, room, i;

    if (skb->len <= offset)
        return 0;
    room = skb->len - offset;
    if (room >= LECTR_NAME_MAX)
        room = LECTR_NAME_MAX;
    /* Clamped in a form that an older verifier understands. */
    room = ((room - 1) & NAME_MASK) + 1;
    if (bpf_skb_load_bytes(skb, offset, (void *)w->wire, room) < 0)
        return 0;
    w->label_left = 0;
    w->length = 0;
    for (i = 0; i < LECTR_NAME_MAX - 1; i++) {
        __u8 c = w->wire[i];

        if (i >= room)
            return 0;
        if (w->label_left == 0) {
            if (c == 0)
                break;
            if (c > 63)
                return 0;
            w->label_left = c;
            if (i > 0) {
                w->text[w->length & NAME_MASK] = '.';
                w->length++;
            }
            continue;
        }
        w->label_left--;
        /* A dot or NUL inside of a label would make it look like another name. */
        if (c <= '.' && c != '-')
            return 0;
        if (c >= 'A' && c <= 'Z')
            c += 'a' - 'A';
        w->text[w->length & NAME_MASK] = c;
        w->length++;
    }
    if (i >= LECTR_NAME_MAX - 1 || w->length == 0)
        return 0;
    w->offset = offset + i + 1;
    return 1;
}

/* The provider of the name in w->text; 0: none. Also takes its hash (FNV-1a). */
static __always_inline __u32 dns_provider(struct dns_scratch *w)
{
    volatile struct dns_scratch *vw = w;
    __u32 length = vw->length, i;
    __u32 *provider;

    vw->name_hash = NAME_HASH_START;
    for (i = 0; i < LECTR_NAME_MAX - 1; i++) {
        if (i >= length)
            break;
        vw->key.name[i] = vw->text[(length - 1 - i) & NAME_MASK];
        vw->name_hash = (vw->name_hash ^ vw->key.name[i]) * NAME_HASH_TIMES;
    }
    vw->key.name[i & NAME_MASK] = 0;
    w->key.prefix_bits = ((i & NAME_MASK) + 1) * 8;
    provider = bpf_map_lookup_elem(&names, &w->key);
    return provider ? *provider : 0;
}

static __always_inline void dns_learn(const struct lectr_settings *s, struct dns_scratch *w,
                                      __u32 provider, __u32 ttl_s)
{
    __u64 ttl_ns = ttl_s * NS_PER_S;
    struct lectr_addr value = {.provider = provider, .name = w->name_hash};
    struct lectr_name_addr_key name = {
        .netns_cookie = w->addr.netns_cookie, .name = w->name_hash, .family = w->addr.family};
    struct lectr_name_addr last;

    if (ttl_ns < s->dns_ttl_min_ns)
        ttl_ns = s->dns_ttl_min_ns;
    value.expires_ns = bpf_ktime_get_ns() + ttl_ns;
    bpf_map_update_elem(&addrs, &w->addr, &value, BPF_ANY);
    __builtin_memcpy(last.addr, w->addr.addr, sizeof(last.addr));
    bpf_map_update_elem(&name_addrs, &name, &last, BPF_ANY);
}

/* Reads the record whose fixed part is at w->offset and moves behind it. */
static __always_inline int dns_read_record(struct __sk_buff *skb, const struct lectr_settings *s,
                                           struct dns_scratch *w, __u32 provider)
{
    volatile struct dns_scratch *vw = w;
    struct dns_record record;
    __u32 offset = vw->offset;

    if (bpf_skb_load_bytes(skb, offset, &record, sizeof(record)) < 0)
        return 0;
    offset += sizeof(record);
    vw->offset = offset + bpf_ntohs(record.length);
    vw->answers--;
    vw->skipping = 1;
    if (record.class != bpf_htons(DNS_CLASS_IN))
        return 1;
    __builtin_memset(w->addr.addr, 0, sizeof(w->addr.addr));
    if (record.type == bpf_htons(DNS_TYPE_A) && record.length == bpf_htons(4)) {
        w->addr.family = AF_INET;
        if (bpf_skb_load_bytes(skb, offset, w->addr.addr, 4) < 0)
            return 0;
    } else if (record.type == bpf_htons(DNS_TYPE_AAAA) && record.length == bpf_htons(16)) {
        w->addr.family = AF_INET6;
        if (bpf_skb_load_bytes(skb, offset, w->addr.addr, 16) < 0)
            return 0;
    } else {
        return 1;
    }
    dns_learn(s, w, provider, bpf_ntohl(record.ttl));
    return 1;
}

/* One label of an owner name, or what ends it. */
static __always_inline int dns_skip_label(struct __sk_buff *skb, volatile struct dns_scratch *w)
{
    __u8 length;

    if (bpf_skb_load_bytes(skb, w->offset, &length, 1) < 0)
        return 0;
    if (length == 0) {
        w->offset += 1;
        w->skipping = 0;
    } else if ((length & 0xc0) == 0xc0) {
        w->offset += 2;
        w->skipping = 0;
    } else if (length > 63) {
        return 0;
    } else {
        w->offset += 1u + length;
    }
    return 1;
}

SEC("cgroup_skb/ingress")
int lectr_dns(struct __sk_buff *skb)
{
    __u32 zero = 0, payload = dns_payload(skb), provider;
    struct lectr_settings *s;
    struct dns_scratch *w;
    volatile struct dns_scratch *vw;
    struct dns_header header;
    __be16 question[2];
    __u16 flags;

    if (!payload || bpf_skb_load_bytes(skb, payload, &header, sizeof(header)) < 0)
        return 1;
    flags = bpf_ntohs(header.flags);
    if (!(flags & DNS_RESPONSE) || (flags & (DNS_OPCODE | DNS_RCODE)) ||
        header.questions != bpf_htons(1) || header.answers == 0)
        return 1;
    s = bpf_map_lookup_elem(&settings, &zero);
    vw = w = bpf_map_lookup_elem(&scratch, &zero);
    if (!s || !w)
        return 1;
    vw->offset = payload + DNS_HEADER_BYTES;
    if (!dns_read_name(skb, vw) || bpf_skb_load_bytes(skb, vw->offset, question, 4) < 0)
        return 1;
    vw->offset += 4;
    provider = dns_provider(w);
    if (!provider)
        return 1;
    w->addr.netns_cookie = skb_netns_cookie(skb);
    w->addr.pad = 0;
    if (!w->addr.netns_cookie)
        return 1;
    vw->answers = bpf_ntohs(header.answers);
    if (vw->answers > DNS_ANSWERS_MAX)
        vw->answers = DNS_ANSWERS_MAX;
    vw->skipping = 1;
    for (int i = 0; i < DNS_STEPS_MAX; i++) {
        if (vw->answers == 0)
            break;
        if (!(vw->skipping ? dns_skip_label(skb, vw) : dns_read_record(skb, s, w, provider)))
            break;
    }
    return 1;
}
