/* SPDX-License-Identifier: Apache-2.0 */
/* Both legs are up: plaintext goes across, the tap is fed. */
#include "agent/conn_impl.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#define DRAIN_NS (5 * NSEC_PER_SEC)
/* After so long the others, and the heartbeat, have their turn. */
#define TURN_NS (20 * NSEC_PER_MSEC)
/* A full record: more is likely to wait in the socket. */
#define RECORD_BYTES 16384

static struct side *other_side(struct conn *c, struct side *side)
{
    return side == &c->client ? &c->upstream : &c->client;
}

static struct flow *flow_from(struct conn *c, struct side *side)
{
    return side == &c->client ? &c->request : &c->response;
}

static void note_end(struct conn *c, struct side *side)
{
    if (c->first_end == 0)
        c->first_end = 1 + (side == &c->client ? METER_END_CLIENT : METER_END_UPSTREAM);
}

/* After the upstream's end nothing can be answered any more; after the
 * client's, an answer may still be under way. */
static void end_metering(struct conn *c, struct side *side, bool broken)
{
    if (side == &c->upstream || broken)
        conn_meter_end(c, (enum meter_end)(c->first_end - 1), clock_mono_ns());
}

static void drop_held(struct flow *f)
{
    if (!f->held)
        return;
    explicit_bzero(f->held, f->held_to);
    free(f->held);
    f->held = NULL;
    f->held_from = f->held_to = 0;
}

static void broke(struct conn *c, struct side *side)
{
    struct flow *out_of = flow_from(c, side), *into = flow_from(c, other_side(c, side));

    note_end(c, side);
    end_metering(c, side, true);
    if (side == &c->client)
        c->client_broke = true;
    out_of->end = FLOW_BROKEN;
    into->end = FLOW_BROKEN;
    drop_held(into);
    into->blocked = false;
}

/* Gives as much as the sink takes; what is left must be given again. */
static int give(struct side *sink, const uint8_t *bytes, size_t len, size_t *ret_given)
{
    *ret_given = 0;
    while (*ret_given < len) {
        size_t n = 0;

        switch (tls_write(&sink->tls, bytes + *ret_given, len - *ret_given, &n)) {
        case TLS_OK:
            *ret_given += n;
            break;
        case TLS_WANT_READ:
        case TLS_WANT_WRITE:
            return -EAGAIN;
        default:
            return -EPIPE;
        }
    }
    return 0;
}

static int keep(struct flow *f, const uint8_t *bytes, size_t len)
{
    f->held = malloc(len);
    if (!f->held)
        return -ENOMEM;
    memcpy(f->held, bytes, len);
    f->held_from = 0;
    f->held_to = (uint32_t)len;
    f->blocked = true;
    return 0;
}

/* False: the sink broke. */
static bool forward(struct conn *c, struct flow *f, struct side *sink, const uint8_t *bytes,
                    size_t len)
{
    size_t given;
    int r = give(sink, bytes, len, &given);

    if (r == -EAGAIN)
        r = keep(f, bytes + given, len - given);
    if (r == 0)
        return true;
    broke(c, sink);
    return false;
}

static bool flush_held(struct conn *c, struct flow *f, struct side *sink)
{
    size_t given;
    int r;

    f->blocked = false;
    if (!f->held)
        return true;
    r = give(sink, f->held + f->held_from, f->held_to - f->held_from, &given);
    f->held_from += (uint32_t)given;
    if (r == -EAGAIN) {
        f->blocked = true;
        return true;
    }
    drop_held(f);
    if (r == 0)
        return true;
    broke(c, sink);
    return false;
}

struct batch {
    size_t len;
    enum tls_io io; /* what stopped it; TLS_OK: enough for now */
    bool more;      /* the source has more at hand */
};

static struct batch fill(struct side *source, uint8_t *io)
{
    struct batch b = {.io = TLS_OK};
    size_t n = 0;

    do {
        b.io = tls_read(&source->tls, io + b.len, IO_BYTES - b.len, &n);
        if (b.io != TLS_OK)
            return b;
        b.len += n;
        b.more = tls_has_buffered(&source->tls);
    } while (b.more && b.len + RECORD_BYTES <= IO_BYTES);
    b.more = b.more || n >= RECORD_BYTES;
    return b;
}

static bool pass_request(struct conn *c, const uint8_t *bytes, size_t len, uint64_t from_ns)
{
    bool alive;

    c->owner->stats.request_bytes += len;
    if (c->metering && !c->meter)
        conn_meter_open(c);
    if (c->metering) {
        meter_request(c->meter, slice_of(bytes, len), clock_mono_ns());
        conn_meter_check(c);
    }
    alive = forward(c, &c->request, &c->upstream, bytes, len);
    if (c->metering && c->meter)
        meter_request_took(c->meter, clock_mono_ns() - from_ns);
    if (!c->client_spoke) {
        c->client_spoke = true;
        conn_opening_done(c);
    }
    return alive;
}

static bool pass_response(struct conn *c, const uint8_t *bytes, size_t len, uint64_t from_ns)
{
    bool alive = forward(c, &c->response, &c->client, bytes, len);
    uint64_t now_ns = clock_mono_ns();

    c->owner->stats.response_bytes += len;
    c->response_reads++;
    /* An HTTP/2 server speaks without being asked; without `opening` it speaks to a
     * client that ended without a word. */
    if (c->metering && !c->meter && c->opening && conn_speaks_http2(c))
        conn_meter_open(c);
    if (c->metering && c->meter) {
        meter_response_took(c->meter, now_ns - from_ns);
        meter_response(c->meter, slice_of(bytes, len), now_ns);
        conn_meter_check(c);
    }
    return alive;
}

static void read_end(struct conn *c, struct flow *f, struct side *source, enum tls_io io)
{
    if (io == TLS_RESET || io == TLS_FAILED) {
        broke(c, source);
        return;
    }
    f->end = source->tls.close_notify ? FLOW_NOTIFIED : FLOW_ENDED;
    note_end(c, source);
    end_metering(c, source, false);
}

/* After close_notify only the FIN is of interest. */
static void await_fin(struct conn *c, struct flow *f, struct side *source)
{
    uint8_t junk[256];
    ssize_t n = recv(source->fd, junk, sizeof(junk), MSG_DONTWAIT);

    if (n == 0)
        f->end = FLOW_ENDED;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        broke(c, source);
}

static void read_source(struct conn *c, struct flow *f, struct side *source)
{
    struct conns *cs = c->owner;
    uint64_t from_ns = loop_woke_ns(cs->env.loop), until_ns = clock_mono_ns() + TURN_NS;

    source->read_wants_write = false;
    for (unsigned i = 0; i < IO_ROUNDS_PER_TURN && f->end == FLOW_OPEN && !f->blocked; i++) {
        struct batch b = fill(source, cs->io);
        bool alive = true;

        if (b.len > 0) {
            alive = source == &c->client ? pass_request(c, cs->io, b.len, from_ns)
                                         : pass_response(c, cs->io, b.len, from_ns);
            explicit_bzero(cs->io, b.len);
        }
        if (!alive)
            return;
        if (b.io == TLS_WANT_WRITE)
            source->read_wants_write = true;
        if (b.io == TLS_WANT_READ || b.io == TLS_WANT_WRITE)
            return;
        if (b.io != TLS_OK) {
            read_end(c, f, source, b.io);
            return;
        }
        if (!b.more)
            return; /* the poll tells when there is more */
        from_ns = clock_mono_ns();
        if (from_ns >= until_ns)
            break;
    }
    if (f->end == FLOW_OPEN && !f->blocked)
        loop_defer(cs->env.loop, &c->again);
}

static void pass_end(struct conn *c, struct flow *f, struct side *source, struct side *sink)
{
    if (f->end == FLOW_OPEN || f->end == FLOW_BROKEN || f->held)
        return;
    if (!f->told_notify && source->tls.close_notify) {
        switch (tls_close_notify(&sink->tls)) {
        case TLS_OK:
            f->told_notify = true;
            break;
        case TLS_WANT_READ:
        case TLS_WANT_WRITE:
            f->blocked = true;
            return;
        default:
            broke(c, sink);
            return;
        }
    }
    if (f->end == FLOW_ENDED && !f->told_end) {
        f->told_end = true;
        shutdown(sink->fd, SHUT_WR);
        if (source == &c->client && !c->response.told_end)
            conn_watch_half_closed(source);
    }
}

static void run_flow(struct conn *c, struct side *source)
{
    struct side *sink = other_side(c, source);
    struct flow *f = flow_from(c, source);

    if (f->blocked && !flush_held(c, f, sink))
        return;
    if (f->blocked)
        return;
    if (f->end == FLOW_OPEN)
        read_source(c, f, source);
    else if (f->end == FLOW_NOTIFIED)
        await_fin(c, f, source);
    pass_end(c, f, source, sink);
}

/* A peer that broke must not take away what the other had already been sent:
 * RST discards what its socket has not read yet from ours. */
static bool may_reset(struct conn *c)
{
    uint64_t now_ns = clock_mono_ns();
    int unsent = 0;

    if (c->client_broke)
        return true;
    if (c->response.held)
        return false;
    if (ioctl(c->client.fd, SIOCOUTQ, &unsent) < 0 || unsent == 0)
        return true;
    if (c->deadline_ns == 0) {
        conn_set_deadline(c, now_ns + DRAIN_NS);
        return false;
    }
    return now_ns >= c->deadline_ns;
}

static unsigned wanted(const struct side *side, const struct flow *out_of, const struct flow *into)
{
    unsigned events = 0;

    if (!out_of->blocked && (out_of->end == FLOW_OPEN || out_of->end == FLOW_NOTIFIED))
        events |= LOOP_READ;
    if (into->blocked || side->read_wants_write)
        events |= LOOP_WRITE;
    if (events == 0 && out_of->end == FLOW_ENDED)
        events = LOOP_ERROR;
    return events;
}

/* Settles what the flows came to; the connection may be gone afterwards. */
static void settle(struct conn *c)
{
    bool broken = c->request.end == FLOW_BROKEN || c->response.end == FLOW_BROKEN;

    if (c->first_end != 0 && !c->client_spoke)
        conn_note_silence(c);
    if (broken && may_reset(c)) {
        conn_reset(c);
        return;
    }
    if (c->request.told_end && c->response.told_end) {
        conn_destroy(c);
        return;
    }
    conn_watch(c, &c->client, wanted(&c->client, &c->request, &c->response));
    conn_watch(c, &c->upstream, wanted(&c->upstream, &c->response, &c->request));
}

void conn_pump_event(struct conn *c, struct side *side, unsigned events)
{
    struct side *other = other_side(c, side);

    if ((events & LOOP_READ) || side->read_wants_write)
        run_flow(c, side);
    if ((events & LOOP_WRITE) && flow_from(c, other)->blocked)
        run_flow(c, other);
    /* Nothing is read from it any more, so the error is seen here only. */
    if ((events & LOOP_ERROR) && flow_from(c, side)->end == FLOW_ENDED)
        broke(c, side);
    settle(c);
}

static void on_again(void *user)
{
    struct conn *c = user;

    run_flow(c, &c->client);
    run_flow(c, &c->upstream);
    settle(c);
}

void conn_pump_start(struct conn *c)
{
    c->stage = CONN_PUMP;
    c->again = (struct loop_task){.fn = on_again, .user = c};
    conn_set_deadline(c, 0);
    /* The handshakes may have read more than they needed. */
    on_again(c);
}

void conn_pump_tick(struct conn *c)
{
    settle(c);
}

void conn_pump_fini(struct conn *c)
{
    loop_cancel(c->owner->env.loop, &c->again);
    drop_held(&c->request);
    drop_held(&c->response);
}
