/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/conn_impl.h"

#include "agent/origin.h"
#include "agent/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>

#define INDEX_BITS 13
_Static_assert(CONNS_MAX == 1 << INDEX_BITS, "an id holds the index in its low bits");
#define ORIGIN_SPINS 16
/* Connections that are over give way to new ones. */
#define PLACES_KEPT_FREE 512

int conns_new(const struct conn_env *env, struct conns **ret_conns)
{
    struct conns *cs = calloc(1, sizeof(*cs));
    int r;

    if (!cs)
        return -ENOMEM;
    r = pipes_new(&cs->pipes);
    if (r < 0) {
        free(cs);
        return r;
    }
    cs->env = *env;
    cs->bodies.memory_limit_bytes = BODIES_MEMORY_BYTES;
    cs->bodies.output_left_bytes = BODIES_OUTPUT_BYTES_PER_TICK;
    cs->wall_minus_mono_ns = event_clock_offset();
    /* Ids of another process of this machine do not begin at the same place. */
    cs->serial = clock_wall_ns() / 1000;
    for (uint32_t i = 0; i < CONNS_MAX; i++)
        cs->free_index[cs->free_count++] = CONNS_MAX - 1 - i;
    *ret_conns = cs;
    return 0;
}

void conns_free(struct conns **conns)
{
    struct conns *cs = *conns;

    *conns = NULL;
    if (!cs)
        return;
    conns_cut(cs);
    pipes_free(&cs->pipes);
    explicit_bzero(cs->io, sizeof(cs->io));
    free(cs);
}

void conns_set_origin(struct conns *cs, struct origin *origin)
{
    cs->env.origin = origin;
}

/* --- lists --- */

static struct conn_list *list_of(struct conn *c)
{
    return c->young ? &c->owner->young : &c->owner->settled;
}

static void list_remove(struct conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        list_of(c)->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void list_add(struct conn *c, bool young)
{
    struct conn_list *list;

    c->young = young;
    list = list_of(c);
    c->prev = NULL;
    c->next = list->first;
    if (c->next)
        c->next->prev = c;
    list->first = c;
}

static void place(struct conn *c)
{
    bool young = c->deadline_ns != 0 || !c->caller_known;

    if (young == c->young)
        return;
    list_remove(c);
    list_add(c, young);
}

void conn_set_deadline(struct conn *c, uint64_t deadline_ns)
{
    c->deadline_ns = deadline_ns;
    place(c);
}

void conn_watch(struct conn *c, struct side *side, unsigned events)
{
    (void)c;
    if (side->poll)
        loop_poll_set(side->poll, events);
}

/* --- ends --- */

void conn_watch_half_closed(const struct side *side)
{
    int on = 1, idle_s = 15, interval_s = 15;

    setsockopt(side->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(side->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(side->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
}

void conn_close_side(struct side *side)
{
    tls_leg_fini(&side->tls);
    loop_poll_free(&side->poll);
    if (side->fd >= 0)
        close(TAKE_FD(side->fd));
}

static void forget(struct conn *c)
{
    struct conns *cs = c->owner;
    uint32_t index = (uint32_t)c->id & (CONNS_MAX - 1);

    conn_tell(c, true);
    if (c->slot)
        inflight_end(cs->env.inflight, c->slot);
    list_remove(c);
    cs->by_index[index] = NULL;
    cs->free_index[cs->free_count++] = index;
    free(c->own_caller);
    free(c);
}

void conn_destroy(struct conn *c)
{
    struct conns *cs = c->owner;
    bool known = c->slot || c->own_caller; /* its origin, at least */

    upstream_cancel(cs->env.upstreams, &c->wait);
    conn_pump_fini(c);
    splice_fini(cs->pipes, &c->up);
    splice_fini(cs->pipes, &c->down);
    conn_meter_end(c, c->first_end ? (enum meter_end)(c->first_end - 1) : METER_END_CLEAN,
                   clock_mono_ns());
    /* Without a verdict: no byte passed by unmetered. */
    if (known && c->verdict == VERDICT_NONE)
        conn_decide(c, VERDICT_METERED);
    meter_free(&c->meter);
    conn_close_side(&c->client);
    conn_close_side(&c->upstream);
    free(c->opening);
    c->opening = NULL;
    cs->stats.open--;
    c->deadline_ns = 0;
    c->stage = CONN_GONE;
    if (!known || c->caller_known || !peer_is_alive(cs->env.peer) ||
        cs->free_count < PLACES_KEPT_FREE) {
        forget(c);
        return;
    }
    /* Only what is to be told remains, until it is known of whom. */
    place(c);
}

void conn_reset(struct conn *c)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    if (c->client.fd >= 0)
        setsockopt(c->client.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    if (c->upstream.fd >= 0)
        setsockopt(c->upstream.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    conn_destroy(c);
}

/* --- events --- */

void conn_dispatch(struct conn *c, struct side *side, unsigned events)
{
    switch (c->stage) {
    case CONN_OPENING:
        conn_opening_event(c, side, events);
        break;
    case CONN_UPSTREAM_TLS:
        if (side == &c->upstream)
            conn_upstream_tls_event(c);
        break;
    case CONN_CLIENT_TLS:
        if (side == &c->client)
            conn_client_tls_event(c);
        break;
    case CONN_PUMP:
        conn_pump_event(c, side, events);
        break;
    case CONN_SPLICE:
        conn_splice_event(c, side, events);
        break;
    default:
        break;
    }
}

static void on_client(void *user, unsigned events)
{
    struct conn *c = user;

    conn_dispatch(c, &c->client, events);
}

static void key_of(const struct sockaddr_storage *from, uint64_t netns_cookie,
                   struct origin_key *ret_key)
{
    struct origin_key key = {.netns_cookie = netns_cookie};

    if (from->ss_family == AF_INET) {
        struct sockaddr_in in4;

        memcpy(&in4, from, sizeof(in4));
        key.family = LECTR_AF_INET;
        key.sport = ntohs(in4.sin_port);
        memcpy(key.saddr, &in4.sin_addr, 4);
    } else {
        struct sockaddr_in6 in6;

        memcpy(&in6, from, sizeof(in6));
        key.family = LECTR_AF_INET6;
        key.sport = ntohs(in6.sin6_port);
        memcpy(key.saddr, &in6.sin6_addr, 16);
    }
    *ret_key = key;
}

/* Where the connection was going: -ENOENT, it was never steered. */
static int find_origin(struct conn *c, unsigned spins)
{
    struct origin_key key = {
        .netns_cookie = c->netns_cookie,
        .family = c->origin.family,
        .sport = c->origin.sport,
    };
    int r;

    memcpy(key.saddr, c->origin.saddr, sizeof(key.saddr));
    do {
        r = origin_take(c->owner->env.origin, &key, &c->origin);
        if (r != -EAGAIN)
            break;
        sched_yield();
    } while (spins-- > 0);
    return r;
}

static void not_steered(struct conn *c)
{
    c->owner->stats.no_origin++;
    conn_reset(c);
}

static int conn_new(struct conns *cs, int fd, struct conn **ret_conn)
{
    struct conn *c;
    uint32_t index;
    int r;

    if (cs->free_count == 0)
        return -ENFILE;
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->owner = cs;
    c->client.fd = fd;
    c->upstream.fd = -1;
    c->provider = "";
    splice_init(&c->up);
    splice_init(&c->down);
    r = loop_poll_new(cs->env.loop, fd, on_client, c, &c->client.poll);
    if (r < 0) {
        free(c);
        return r;
    }
    index = cs->free_index[--cs->free_count];
    c->id = ++cs->serial << INDEX_BITS | index;
    cs->by_index[index] = c;
    list_add(c, true);
    cs->stats.open++;
    *ret_conn = c;
    return 0;
}

void conns_accept(struct conns *cs, int fd, const struct sockaddr_storage *from,
                  uint64_t netns_cookie)
{
    struct origin_key key;
    struct conn *c;
    int r;

    cs->stats.accepted++;
    r = cs->env.origin ? conn_new(cs, fd, &c) : -ENOENT;
    if (r < 0) {
        cs->stats.no_origin++;
        close(fd);
        return;
    }
    c->accepted_ns = clock_mono_ns();
    c->netns_cookie = netns_cookie;
    key_of(from, netns_cookie, &key);
    c->origin.family = key.family;
    c->origin.sport = key.sport;
    memcpy(c->origin.saddr, key.saddr, sizeof(key.saddr));
    r = find_origin(c, ORIGIN_SPINS);
    if (r == 0) {
        conn_open(c);
        return;
    }
    if (r != -EAGAIN) {
        not_steered(c);
        return;
    }
    c->stage = CONN_ORIGIN;
    conn_set_deadline(c, c->accepted_ns + ORIGIN_WAIT_NS);
}

bool conns_full(const struct conns *cs)
{
    return cs->free_count == 0;
}

void conns_caller(struct conns *cs, uint64_t query, const struct caller *caller)
{
    struct conn *c = cs->by_index[query & (CONNS_MAX - 1)];

    if (!c || c->id != query || c->caller_known)
        return;
    *conn_caller(c) = *caller;
    c->caller_known = true;
    if (c->stage == CONN_GONE) {
        forget(c);
        return;
    }
    conn_tell(c, false);
    place(c);
}

static void tick_one(struct conn *c, uint64_t now_ns)
{
    if (!c->caller_known && c->stage != CONN_ORIGIN && now_ns - c->accepted_ns >= CALLER_WAIT_NS) {
        conn_tell(c, true);
        /* A late answer changes nothing that was told; take it as final. */
        c->caller_known = true;
        if (c->stage == CONN_GONE) {
            forget(c);
            return;
        }
        place(c);
    }
    if (c->deadline_ns == 0)
        return;
    if (c->stage == CONN_ORIGIN) {
        int r = find_origin(c, 0);

        if (r == 0)
            conn_open(c);
        else if (r != -EAGAIN || now_ns >= c->deadline_ns)
            not_steered(c);
        return;
    }
    if (c->stage == CONN_PUMP)
        conn_pump_tick(c);
    else if (c->stage == CONN_SPLICE)
        conn_splice_resume(c);
    else if (now_ns >= c->deadline_ns)
        conn_opening_timeout(c);
}

void conns_tick(struct conns *cs)
{
    uint64_t now_ns = clock_mono_ns();
    struct conn *c = cs->young.first, *next;

    cs->wall_minus_mono_ns = event_clock_offset();
    cs->bodies.output_left_bytes = BODIES_OUTPUT_BYTES_PER_TICK;
    for (; c; c = next) {
        next = c->next;
        tick_one(c, now_ns);
    }
}

void conns_cut(struct conns *cs)
{
    while (cs->young.first || cs->settled.first) {
        struct conn *c = cs->young.first ? cs->young.first : cs->settled.first;

        if (c->stage == CONN_GONE) {
            forget(c);
            continue;
        }
        cs->stats.cut_by_drain++;
        /* To the application the answer breaks off. */
        if (c->first_end == 0)
            c->first_end = 1 + METER_END_UPSTREAM;
        c->caller_known = true; /* nobody is waited for any more */
        conn_reset(c);
    }
}

const struct conns_stats *conns_stats(const struct conns *cs)
{
    return &cs->stats;
}

const struct body_budget *conns_bodies(const struct conns *cs)
{
    return &cs->bodies;
}
