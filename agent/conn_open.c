/* SPDX-License-Identifier: Apache-2.0 */
/* From the accepted socket to two legs that can be pumped, or to a splice. */
#include "agent/conn_impl.h"

#include "agent/config.h"
#include "agent/origin.h"
#include "agent/peer.h"
#include "agent/provider.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

/* Woken so often with nothing new, something is odd. */
#define SHORT_WAKES_MAX 16
/* So long an address may be silent when there is another. */
#define ALT_AFTER_NS (1000 * NSEC_PER_MSEC)
#define ALT_AFTER_IPV6_NS (300 * NSEC_PER_MSEC)

static void advance(struct conn *c);

static uint64_t mono_ms(void)
{
    return clock_mono_ns() / NSEC_PER_MSEC;
}

static struct address_hint *hint_of(struct conn *c)
{
    uint64_t words[2];

    memcpy(words, c->origin.daddr, sizeof(words));
    words[0] = (words[0] ^ words[1] ^ c->netns_cookie) * 0x9e3779b97f4a7c15ULL;
    return &c->owner->hints[words[0] >> 56];
}

static const char *hinted_provider(struct conn *c)
{
    const struct address_hint *hint = hint_of(c);

    if (hint->provider && hint->netns_cookie == c->netns_cookie &&
        memcmp(hint->daddr, c->origin.daddr, sizeof(hint->daddr)) == 0)
        return hint->provider;
    return "";
}

static void remember_hint(struct conn *c, const char *provider)
{
    struct address_hint *hint = hint_of(c);

    hint->netns_cookie = c->netns_cookie;
    memcpy(hint->daddr, c->origin.daddr, sizeof(hint->daddr));
    hint->provider = provider;
}

/* --- the hello --- */

static struct refuse_key refuse_key(const struct conn *c)
{
    return (struct refuse_key){
        .cgroup_id = c->origin.cgroup_id,
        .fingerprint = c->opening->hello.fingerprint,
        .host = c->opening->hello.sni,
    };
}

static void set_lowat(struct conn *c, int lowat)
{
    if (c->opening->lowat != lowat &&
        setsockopt(c->client.fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof(lowat)) == 0)
        c->opening->lowat = lowat;
}

/* Peeking is over: a single byte is news again. */
static void set_plan(struct conn *c, enum conn_plan plan)
{
    c->plan = plan;
    if (c->opening->lowat > 1)
        set_lowat(c, 1);
}

static void plan_splice(struct conn *c, enum verdict why)
{
    set_plan(c, PLAN_SPLICE);
    conn_decide(c, why);
}

/* What may be terminated: a provider's host, in clear, whose name our
 * certificates may bear, for a client that did not refuse them. */
static void plan_by_hello(struct conn *c)
{
    struct conns *cs = c->owner;
    const struct hello *hello = &c->opening->hello;
    const struct provider *provider =
        hello->sni[0] ? provider_by_host(cs->env.providers, slice_str(hello->sni)) : NULL;
    struct refuse_key key = refuse_key(c);
    struct cert_leaf leaf;
    int r;

    if (!provider) {
        conn_set_provider(c, hinted_provider(c));
        plan_splice(c, hello->ech && c->provider[0] ? VERDICT_ECH : VERDICT_NOT_PROVIDER);
        return;
    }
    conn_set_provider(c, provider_name(provider));
    remember_hint(c, c->provider);
    if (hello->ech) {
        plan_splice(c, VERDICT_ECH);
        return;
    }
    r = cert_leaf_get(cs->env.ca, hello->sni, clock_wall_ns() / NSEC_PER_SEC, &leaf);
    if (r < 0) {
        plan_splice(c, r == -ENOMEM ? VERDICT_OVERLOAD : VERDICT_OUTSIDE_CA);
        return;
    }
    switch (refuse_ask(cs->env.refuse, &key, mono_ms())) {
    case REFUSE_SPLICE:
        plan_splice(c, VERDICT_UNTRUSTED_CA);
        return;
    case REFUSE_PROBE:
        c->opening->probing = true;
        break;
    case REFUSE_NO:
        break;
    }
    /* A client that cannot do better gets its own refusal from the provider. */
    if (hello->tls12_or_newer)
        set_plan(c, PLAN_TLS);
    else
        plan_splice(c, VERDICT_UPSTREAM_UNTRUSTED);
}

static void plan_unreadable(struct conn *c, enum verdict why)
{
    conn_set_provider(c, hinted_provider(c));
    plan_splice(c, why);
}

static bool client_ended(const struct conn *c)
{
    struct pollfd client = {.fd = c->client.fd, .events = POLLRDHUP};

    return poll(&client, 1, 0) == 1 && (client.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* A part of a hello: the rest may take its time. Only the client's own event
 * with its end says that there will be none. */
static void await_rest(struct conn *c, size_t have, bool woken)
{
    struct opening *o = c->opening;

    if (woken && client_ended(c)) {
        plan_unreadable(c, VERDICT_NOT_HTTP);
        return;
    }
    if (woken && o->lowat > (int)have && ++o->short_wakes > SHORT_WAKES_MAX) {
        plan_unreadable(c, VERDICT_NOT_HTTP);
        return;
    }
    set_lowat(c, (int)have + 1);
}

/* In clear a provider is told by the host that is asked for, or by the port. */
static void plan_by_head(struct conn *c, const struct clear_head *head)
{
    const struct provider_set *providers = c->owner->env.providers;
    char *name = c->opening->hello.sni;
    const struct provider *provider;

    snprintf(name, sizeof(c->opening->hello.sni), "%s:%u", head->host, c->origin.dport);
    provider = provider_by_host(providers, slice_str(name));
    if (!provider) {
        plan_unreadable(c, VERDICT_NOT_PROVIDER);
        return;
    }
    c->by_port = provider_by_host(providers, slice_str(head->host)) != provider;
    conn_set_provider(c, provider_name(provider));
    if (!c->by_port)
        remember_hint(c, c->provider);
    set_plan(c, PLAN_CLEAR);
}

static void plan_in_clear(struct conn *c, struct slice bytes, bool woken)
{
    struct clear_head head;

    switch (clear_parse(bytes, &head)) {
    case CLEAR_HTTP2:
        c->opening->http2_clear = true;
        plan_by_head(c, &head);
        break;
    case CLEAR_HTTP1:
        plan_by_head(c, &head);
        break;
    case CLEAR_NOT_HTTP:
        plan_unreadable(c, VERDICT_NOT_HTTP);
        break;
    case CLEAR_MORE:
        await_rest(c, bytes.len, woken);
        break;
    }
}

static void plan_by_bytes(struct conn *c, struct slice bytes, bool woken)
{
    switch (hello_parse(bytes, &c->opening->hello)) {
    case HELLO_OK:
        plan_by_hello(c);
        break;
    case HELLO_NOT_TLS:
        plan_in_clear(c, bytes, woken);
        break;
    case HELLO_MORE:
        await_rest(c, bytes.len, woken);
        break;
    }
}

/* `woken`: by the client's own event. False: the connection is gone. */
static bool peek(struct conn *c, bool woken)
{
    uint8_t *io = c->owner->io;
    ssize_t n = recv(c->client.fd, io, HELLO_MAX_BYTES, MSG_PEEK | MSG_DONTWAIT);

    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return true;
        conn_reset(c);
        return false;
    }
    if (n == 0) {
        /* It will never ask for anything: nothing is missed. */
        plan_unreadable(c, VERDICT_METERED);
        return true;
    }
    plan_by_bytes(c, slice_of(io, (size_t)n), woken);
    /* It may have been no hello, but a request in clear. */
    explicit_bzero(io, (size_t)n);
    return true;
}

/* --- the upstream connection --- */

static bool begin_upstream(struct conn *c);

/* Which of the two addresses is the next to be tried; false: neither. */
static bool next_address(struct conn *c, int error)
{
    struct opening *o = c->opening;

    if (c->origin.alt_family == 0)
        return false;
    switch (o->address) {
    case ADDRESS_ORIGINAL:
        o->original_silent = error == -ETIMEDOUT && c->upstream.fd >= 0;
        o->address = ADDRESS_OTHER;
        return true;
    case ADDRESS_OTHER:
        /* It may only have been slow, while the other cannot be reached at all. */
        if (!o->original_silent || error == -ETIMEDOUT)
            return false;
        o->address = ADDRESS_ORIGINAL_AGAIN;
        return true;
    case ADDRESS_ORIGINAL_AGAIN:
        break;
    }
    return false;
}

/* True: another address is being tried. False: the connection is gone. */
static bool upstream_failed(struct conn *c, int error)
{
    if (next_address(c, error)) {
        c->owner->stats.upstream_other_address++;
        conn_close_side(&c->upstream);
        return begin_upstream(c);
    }
    c->owner->stats.upstream_failed++;
    /* No socket to be had is our failure; anything else is the network's. */
    if (error == -ETIMEDOUT && c->upstream.fd < 0)
        conn_decide(c, VERDICT_OVERLOAD);
    conn_reset(c);
    return false;
}

static void on_upstream(void *user, unsigned events)
{
    struct conn *c = user;

    conn_dispatch(c, &c->upstream, events);
}

/* False: the connection is gone. */
static bool adopt_upstream(struct conn *c, int fd)
{
    int r;

    c->upstream.fd = fd;
    r = loop_poll_new(c->owner->env.loop, fd, on_upstream, c, &c->upstream.poll);
    if (r < 0)
        return upstream_failed(c, r);
    if (c->origin.alt_family != 0 && c->opening->address == ADDRESS_ORIGINAL)
        conn_set_deadline(c,
                          clock_mono_ns() + (c->origin.family == LECTR_AF_INET6 ? ALT_AFTER_IPV6_NS
                                                                                : ALT_AFTER_NS));
    return true;
}

static void on_upstream_socket(void *user, int fd)
{
    struct conn *c = user;

    if (fd < 0 ? upstream_failed(c, fd) : adopt_upstream(c, fd))
        advance(c);
}

/* False: the connection is gone. */
static bool begin_upstream(struct conn *c)
{
    struct conns *cs = c->owner;
    uint64_t now_ns = clock_mono_ns();
    struct lectr_origin to = c->origin;
    int fd;

    if (c->opening->address == ADDRESS_OTHER) {
        to.family = to.alt_family;
        memcpy(to.daddr, to.alt_daddr, sizeof(to.daddr));
    }
    c->upstream_connected = false;
    c->opening->connect_start_ns = now_ns;
    conn_set_deadline(c, now_ns + cs->env.config->upstream.connect_timeout_ms * NSEC_PER_MSEC);
    fd = upstream_connect(cs->env.upstreams, &to, on_upstream_socket, c, now_ns / NSEC_PER_MSEC,
                          &c->wait);
    if (fd == -EINPROGRESS)
        return true;
    return fd < 0 ? upstream_failed(c, fd) : adopt_upstream(c, fd);
}

/* False: the connection is gone. */
static bool finish_connect(struct conn *c)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(c->upstream.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error)
        return upstream_failed(c, -error);
    c->upstream_connected = true;
    c->connect_us = opt_u64((clock_mono_ns() - c->opening->connect_start_ns) / 1000);
    conn_set_deadline(c, 0);
    return true;
}

/* The bytes that the client sent are still in its socket: another upstream
 * connection, and it sees for itself what the provider says. */
static void start_over_spliced(struct conn *c, enum verdict why)
{
    conn_close_side(&c->upstream);
    plan_splice(c, why);
    c->stage = CONN_OPENING;
    conn_watch(c, &c->client, 0);
    if (begin_upstream(c))
        advance(c);
}

/* --- the two handshakes --- */

static void start_upstream_tls(struct conn *c)
{
    struct opening *o = c->opening;
    struct upstream_want want = {
        .cgroup_id = c->origin.cgroup_id,
        .host = o->hello.sni,
        .alpn = slice_of(o->hello.alpn, o->hello.alpn_len),
        .version_min = o->hello.version_min,
        .version_max = o->hello.version_max,
        .fd = c->upstream.fd,
    };

    o->tls_start_ns = clock_mono_ns();
    if (upstream_acquire(c->owner->env.tls, &want, &c->upstream.tls) < 0) {
        plan_splice(c, VERDICT_OVERLOAD);
        conn_splice_start(c);
        return;
    }
    c->stage = CONN_UPSTREAM_TLS;
    conn_set_deadline(c, o->tls_start_ns + HANDSHAKE_NS);
    conn_watch(c, &c->client, 0);
    conn_upstream_tls_event(c);
}

static void start_client_tls(struct conn *c)
{
    struct conns *cs = c->owner;
    struct opening *o = c->opening;
    struct cert_leaf leaf;
    int r;

    r = cert_leaf_get(cs->env.ca, o->hello.sni, clock_wall_ns() / NSEC_PER_SEC, &leaf);
    if (r == 0)
        r = tls_open_client(cs->env.tls, c->client.fd, &leaf, c->upstream.tls.alpn, &c->client.tls);
    if (r < 0) {
        start_over_spliced(c, VERDICT_OVERLOAD);
        return;
    }
    o->client_tls_start_ns = clock_mono_ns();
    c->stage = CONN_CLIENT_TLS;
    conn_set_deadline(c, o->client_tls_start_ns + HANDSHAKE_NS);
    conn_watch(c, &c->upstream, 0);
    conn_client_tls_event(c);
}

void conn_upstream_tls_event(struct conn *c)
{
    struct conns *cs = c->owner;
    struct tls_leg *tls = &c->upstream.tls;
    enum tls_io io = tls_handshake(tls);

    switch (io) {
    case TLS_OK:
        c->tls_us = opt_u64((clock_mono_ns() - c->opening->tls_start_ns) / 1000);
        cs->stats.upstream_tls_resumed += tls_resumed(tls);
        start_client_tls(c);
        return;
    case TLS_WANT_READ:
        conn_watch(c, &c->upstream, LOOP_READ);
        return;
    case TLS_WANT_WRITE:
        conn_watch(c, &c->upstream, LOOP_WRITE);
        return;
    default:
        break;
    }
    cs->stats.upstream_tls_failed++;
    if (tls->cert_wanted)
        start_over_spliced(c, VERDICT_CLIENT_CERT);
    else if (tls_untrusted(tls))
        start_over_spliced(c, VERDICT_UPSTREAM_UNTRUSTED);
    else if (io == TLS_RESET || io == TLS_CLOSED)
        conn_reset(c); /* what the provider did, it did to the client */
    else
        /* It wants another hello than ours: the client's own may do. */
        start_over_spliced(c, VERDICT_UPSTREAM_TLS);
}

static void refused(struct conn *c)
{
    struct refuse_key key = refuse_key(c);

    refuse_add(c->owner->env.refuse, &key, mono_ms());
    conn_decide(c, VERDICT_UNTRUSTED_CA);
}

static void client_tls_failed(struct conn *c, enum tls_io io)
{
    const struct tls_leg *tls = &c->client.tls;
    bool left = io == TLS_CLOSED || io == TLS_RESET;

    c->owner->stats.client_tls_failed++;
    /* Gone before it saw anything of ours, or after it had accepted it: no
     * refusal. Any other end is one, be it only that it knows no algorithm of
     * our certificate. */
    if (!left || (tls->flight_sent && !tls_peer_finished(tls)))
        refused(c);
    conn_destroy(c);
}

static void established(struct conn *c)
{
    struct conns *cs = c->owner;
    struct opening *o = c->opening;

    o->settled_ns = clock_mono_ns();
    c->client_tls_us = opt_u64((o->settled_ns - o->client_tls_start_ns) / 1000);
    cs->stats.tls_established++;
    cs->stats.client_tls_resumed += tls_resumed(&c->client.tls);
    c->metering = true;
    conn_pump_start(c);
}

static void start_clear(struct conn *c)
{
    const char *alpn = c->opening->http2_clear ? "h2" : "";

    tls_open_plain(c->client.fd, alpn, &c->client.tls);
    tls_open_plain(c->upstream.fd, alpn, &c->upstream.tls);
    if (c->opening->http2_clear)
        conn_decide(c, VERDICT_HTTP2_UNMETERED);
    else
        c->metering = true;
    conn_pump_start(c);
}

void conn_client_tls_event(struct conn *c)
{
    enum tls_io io = tls_handshake(&c->client.tls);

    switch (io) {
    case TLS_OK:
        established(c);
        return;
    case TLS_WANT_READ:
        conn_watch(c, &c->client, LOOP_READ);
        return;
    case TLS_WANT_WRITE:
        conn_watch(c, &c->client, LOOP_WRITE);
        return;
    default:
        client_tls_failed(c, io);
    }
}

void conn_opening_done(struct conn *c)
{
    if (c->opening->probing) {
        struct refuse_key key = refuse_key(c);

        refuse_forget(c->owner->env.refuse, &key);
    }
    free(c->opening);
    c->opening = NULL;
}

void conn_note_silence(struct conn *c)
{
    bool client_first = c->first_end == 1 + METER_END_CLIENT;

    if (!c->opening || !client_first)
        return;
    /* With a resumed session there was no certificate to refuse. Some clients
     * look at it only after the handshake, without an alert. */
    if (c->plan == PLAN_TLS && !tls_resumed(&c->client.tls) &&
        (tls_refused(&c->client.tls) || clock_mono_ns() - c->opening->settled_ns < REFUSAL_NS))
        refused(c);
    free(c->opening);
    c->opening = NULL;
}

/* --- coordination --- */

/* Goes on as far as what is known allows. */
static void advance(struct conn *c)
{
    if (c->upstream_connected && c->plan == PLAN_SPLICE) {
        conn_splice_start(c);
        return;
    }
    if (c->upstream_connected && c->plan == PLAN_TLS) {
        start_upstream_tls(c);
        return;
    }
    if (c->upstream_connected && c->plan == PLAN_CLEAR) {
        start_clear(c);
        return;
    }
    conn_watch(c, &c->client, c->plan == PLAN_UNKNOWN ? (unsigned)LOOP_READ : 0);
    if (c->upstream.poll)
        conn_watch(c, &c->upstream, c->upstream_connected ? LOOP_READ : LOOP_WRITE);
}

void conn_opening_event(struct conn *c, struct side *side, unsigned events)
{
    (void)events;
    if (side == &c->client) {
        if (c->plan == PLAN_UNKNOWN && !peek(c, true))
            return;
    } else if (!c->upstream_connected) {
        if (!finish_connect(c))
            return;
        /* The hello is often there by now; it saves a turn of the loop. */
        if (c->plan == PLAN_UNKNOWN && !peek(c, false))
            return;
    } else if (c->plan == PLAN_UNKNOWN) {
        /* The server speaks first, or is gone: either way it is no HTTP. */
        plan_unreadable(c, VERDICT_NOT_HTTP);
    }
    advance(c);
}

void conn_opening_timeout(struct conn *c)
{
    switch (c->stage) {
    case CONN_OPENING:
        upstream_cancel(c->owner->env.upstreams, &c->wait);
        if (upstream_failed(c, -ETIMEDOUT))
            advance(c);
        break;
    case CONN_UPSTREAM_TLS:
        c->owner->stats.upstream_tls_failed++;
        conn_reset(c);
        break;
    case CONN_CLIENT_TLS:
        c->owner->stats.client_tls_failed++;
        conn_reset(c);
        break;
    default:
        break;
    }
}

static bool take_slot(struct conn *c)
{
    struct conns *cs = c->owner;

    c->slot = inflight_take(cs->env.inflight);
    if (!c->slot) {
        /* Ended ones wait for their verdicts to be told. */
        gap_flush(cs->env.gap, clock_wall_ns());
        c->slot = inflight_take(cs->env.inflight);
    }
    if (c->slot) {
        c->slot->start_wall_ns = conn_wall_ns(cs, c->accepted_ns);
        return true;
    }
    c->own_caller = calloc(1, sizeof(*c->own_caller));
    return c->own_caller != NULL;
}

static void ask_who(struct conn *c)
{
    struct caller *caller = conn_caller(c);
    struct ipc_who who = {
        .query = c->id,
        .cgroup_id = c->origin.cgroup_id,
        .netns_cookie = c->netns_cookie,
        .pid = c->origin.pid,
        .uid = c->origin.uid,
    };

    caller->cgroup_id = c->origin.cgroup_id;
    caller->netns_cookie = c->netns_cookie;
    caller->pid = c->origin.pid;
    caller->uid = c->origin.uid;
    /* Not answered: told after CALLER_WAIT_NS with what is known here. */
    (void)!peer_who(c->owner->env.peer, &who);
}

void conn_open(struct conn *c)
{
    c->stage = CONN_OPENING;
    c->opening = calloc(1, sizeof(*c->opening));
    if (!c->opening || !take_slot(c)) {
        conn_reset(c);
        return;
    }
    origin_took(c->owner->env.origin, &c->origin);
    ask_who(c);
    conn_set_provider(c, hinted_provider(c));
    if (begin_upstream(c) && peek(c, false))
        advance(c);
}
