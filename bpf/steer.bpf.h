/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Should this connection be steered? Pure: facts in, verdict out. Nothing but
 * abi.h is needed, so that tests run the same lines. */
#pragma once

#include "bpf/abi.h"

#define STEER_TCP_LISTEN 10

/* Each is 0 or 1. */
struct steer_facts {
    __u8 tcp; /* a plain TCP stream socket */
    __u8 own;
    __u8 to_loopback;
    __u8 port_listed;
    __u8 clear_port;     /* a provider speaks HTTP in clear on this port, wherever */
    __u8 unserved;       /* to loopback, where nobody listens on the port */
    __u8 provider_known; /* the address was learned from this namespace's DNS */
    __u8 mode_all;
    __u8 consent;
    __u8 device_bound;
    __u8 bound_source; /* marked, or bound to an address or port */
    __u8 alive;        /* both heartbeats fresh, not shedding */
    __u8 netns_known;
    __u8 ipv6;
    __u8 route;     /* can be reached: loopback up, and a default route where IPv6 leaves it */
    __u8 ring_room; /* origins will fit */
    __u8 listener;  /* see steer_listener() */
};

/* Does the connection concern Lectr at all? LECTR_SEEN: yes. */
static inline __attribute__((always_inline)) enum lectr_verdict
steer_scope(const struct steer_facts *f)
{
    if (f->own)
        return LECTR_OWN;
    if (!f->tcp)
        return LECTR_NOT_PROVIDER;
    /* A port alone says little: it counts for those who consented. Where nobody
     * listens the client must be refused as it would be, to try elsewhere. */
    if (f->clear_port && f->consent && !f->unserved)
        return LECTR_SEEN;
    if (f->to_loopback || !f->port_listed)
        return LECTR_NOT_PROVIDER;
    /* Mode all is for those who consented; of others, only providers count. */
    if (!f->provider_known && !(f->mode_all && f->consent))
        return LECTR_NOT_PROVIDER;
    return LECTR_SEEN;
}

/* `listener` is left out: looking for it costs, so it is asked for last. */
static inline __attribute__((always_inline)) enum lectr_verdict
steer_decide(const struct steer_facts *f)
{
    enum lectr_verdict scope = steer_scope(f);

    if (scope != LECTR_SEEN)
        return scope;
    if (!f->consent)
        return LECTR_NO_CONSENT;
    if (f->device_bound)
        return LECTR_DEVICE_BOUND;
    if (f->bound_source)
        return LECTR_BOUND_SOURCE;
    if (!f->alive)
        return LECTR_AGENT_DOWN;
    if (!f->netns_known)
        return LECTR_NO_LISTENER;
    if (!f->route)
        return f->ipv6 ? LECTR_NO_ROUTE : LECTR_NO_LISTENER;
    if (!f->ring_room)
        return LECTR_OVERLOAD;
    return LECTR_STEERED;
}

/* A listener found on the port may be a foreign one, or of a proxy that is gone. */
static inline __attribute__((always_inline)) int
steer_listener(__u32 state, const struct lectr_own *own, __u32 generation)
{
    return state == STEER_TCP_LISTEN && own && own->listener && own->generation == generation;
}

/* A beat from the future is one that was written after `now_ns` was read. */
static inline __attribute__((always_inline)) int steer_alive(const struct lectr_beat *beat,
                                                             __u64 now_ns, __u64 stale_ns)
{
    __u64 proxy_ns = beat->proxy_ns, helper_ns = beat->helper_ns;

    if (beat->shed || beat->proxy_shed || !proxy_ns || !helper_ns)
        return 0;
    return (proxy_ns >= now_ns || now_ns - proxy_ns < stale_ns) &&
           (helper_ns >= now_ns || now_ns - helper_ns < stale_ns);
}
