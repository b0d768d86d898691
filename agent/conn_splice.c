/* SPDX-License-Identifier: Apache-2.0 */
/* The connection is not ours to read: bytes pass by themselves. */
#include "agent/conn_impl.h"

#include <sys/socket.h>

/* What one direction asks for next. */
struct wish {
    bool read, write, soon;
};

static bool run(struct conn *c, struct splice_flow *f, struct side *from, struct side *to,
                bool readable, struct wish *ret_wish)
{
    *ret_wish = (struct wish){0};
    switch (splice_run(c->owner->pipes, f, from->fd, to->fd, readable)) {
    case SPLICE_WAIT_READ:
    case SPLICE_AGAIN:
        ret_wish->read = true;
        return true;
    case SPLICE_WAIT_WRITE:
        ret_wish->write = true;
        return true;
    case SPLICE_WAIT_PIPE:
        ret_wish->soon = true;
        return true;
    case SPLICE_END:
        shutdown(to->fd, SHUT_WR);
        if (from == &c->client && !c->down.source_ended)
            conn_watch_half_closed(from);
        return true;
    case SPLICE_SOURCE_BROKE:
    case SPLICE_SINK_BROKE:
        break;
    }
    return false;
}

/* The opposite way's bytes that stand in a pipe would be lost by a reset; they
 * were on their way to a peer that broke the connection, as they would be
 * without Lectr. Those that were read from the broken source are passed on. */
static void advance(struct conn *c, const struct side *readable)
{
    struct wish up = {0}, down = {0};
    uint64_t before = c->up.bytes + c->down.bytes;
    bool alive = true;

    if (!c->up.source_ended)
        alive = run(c, &c->up, &c->client, &c->upstream, readable == &c->client, &up);
    if (alive && !c->down.source_ended)
        alive = run(c, &c->down, &c->upstream, &c->client, readable == &c->upstream, &down);
    c->owner->stats.spliced_bytes += c->up.bytes + c->down.bytes - before;
    if (!alive) {
        conn_reset(c);
        return;
    }
    if (c->up.source_ended && c->down.source_ended) {
        conn_destroy(c);
        return;
    }
    /* Deadline 0 of the past: looked at by the next tick. */
    conn_set_deadline(c, up.soon || down.soon ? 1 : 0);
    conn_watch(c, &c->client,
               (up.read ? (unsigned)LOOP_READ : 0) | (down.write ? (unsigned)LOOP_WRITE : 0));
    conn_watch(c, &c->upstream,
               (down.read ? (unsigned)LOOP_READ : 0) | (up.write ? (unsigned)LOOP_WRITE : 0));
    if (c->up.source_ended && !down.write)
        conn_watch(c, &c->client, LOOP_ERROR);
    if (c->down.source_ended && !up.write)
        conn_watch(c, &c->upstream, LOOP_ERROR);
}

void conn_splice_event(struct conn *c, struct side *side, unsigned events)
{
    const struct splice_flow *from = side == &c->client ? &c->up : &c->down;

    if ((events & LOOP_ERROR) && from->source_ended) {
        conn_reset(c);
        return;
    }
    advance(c, events & LOOP_READ ? side : NULL);
}

void conn_splice_start(struct conn *c)
{
    int on = 1;

    /* Urgent data stays in its place in the stream. */
    setsockopt(c->client.fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
    setsockopt(c->upstream.fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
    c->stage = CONN_SPLICE;
    free(c->opening);
    c->opening = NULL;
    conn_set_deadline(c, 0);
    advance(c, NULL);
}

void conn_splice_resume(struct conn *c)
{
    advance(c, NULL);
}
