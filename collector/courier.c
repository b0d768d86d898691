/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/courier.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

/* Longer than a message that was sent together may stay without an answer. */
#define CAREFUL_NS (60 * NSEC_PER_SEC)
/* Messages of a subject have no order here. */
#define ANY 1

void courier_begin(struct courier *c, struct bus *bus, uint64_t now_ns)
{
    c->bus = bus;
    c->now_ns = now_ns;
    c->has_pending = false;
    c->failure = 0;
    if (!bus || !c->careful_until_ns || now_ns < c->careful_until_ns)
        return;
    c->careful_until_ns = 0;
    /* What it tells is of messages that were sent again since. */
    if (bus_flush(bus, 1) < 0)
        c->careful_until_ns = now_ns + CAREFUL_NS;
}

bool courier_is_careful(const struct courier *c)
{
    return c->careful_until_ns != 0;
}

bool courier_is_due(const struct courier *c)
{
    return hold_next(&c->hold, c->now_ns) != 0;
}

static enum hold_verdict send_alone(struct courier *c, const char *subject, const char *id,
                                    struct slice data)
{
    bool was_held = hold_has(&c->hold, subject);
    int r = bus_publish(c->bus, subject, id, data);
    enum hold_verdict verdict;

    if (r == 0) {
        hold_taken(&c->hold, subject);
        c->is_news |= was_held;
        return HOLD_GO;
    }
    c->failure = r;
    verdict = hold_failed(&c->hold, subject, ANY, c->now_ns);
    c->is_news |= verdict == HOLD_GIVE_UP;
    if (verdict == HOLD_GIVE_UP && hold_given_up(&c->hold, subject) == 1)
        log_warn("messages are given up", "subject=%s id=%s error=%s", subject, id,
                 bus_error(c->bus));
    return verdict;
}

enum hold_verdict courier_send(struct courier *c, const char *subject, const char *id,
                               struct slice data)
{
    enum hold_verdict verdict = hold_ask(&c->hold, subject, ANY, c->now_ns);

    if (verdict != HOLD_GO)
        return verdict;
    if (c->careful_until_ns || hold_has(&c->hold, subject))
        return send_alone(c, subject, id, data);
    c->failure = bus_publish_async(c->bus, subject, id, data);
    if (c->failure < 0) {
        c->careful_until_ns = c->now_ns + CAREFUL_NS;
        return HOLD_WAIT;
    }
    c->has_pending = true;
    return HOLD_GO;
}

int courier_end(struct courier *c, uint32_t wait_ms)
{
    int r = c->has_pending ? bus_flush(c->bus, wait_ms) : 0;

    if (r < 0)
        c->careful_until_ns = c->now_ns + CAREFUL_NS;
    else if (c->has_pending)
        hold_note_taken(&c->hold);
    return r;
}
