/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/hold.h"

#include "proto/base/clock.h"

#include <stdio.h>
#include <string.h>

static int find(const struct hold *h, const char *subject)
{
    for (unsigned i = 0; i < h->count; i++)
        if (strcmp(h->entries[i].subject, subject) == 0)
            return (int)i;
    return -1;
}

static bool is_due(const struct hold *h, const struct hold_entry *e, uint64_t now_ns)
{
    return now_ns >= e->due_ns && now_ns >= h->retry_ns;
}

/* Not while the server may be away. */
static bool is_hopeless(const struct hold *h, const struct hold_entry *e)
{
    return e->given_up > 1 && h->taken > e->taken_seen;
}

/* 1, 2, 4 ... */
static uint64_t wait_ns(unsigned times, unsigned max_s)
{
    uint64_t s = times < 16 ? UINT64_C(1) << times : max_s;

    return (s < max_s ? s : max_s) * NSEC_PER_SEC;
}

enum hold_verdict hold_ask(struct hold *h, const char *subject, int64_t number, uint64_t now_ns)
{
    int at = find(h, subject);
    struct hold_entry *e = at >= 0 ? &h->entries[at] : NULL;

    if (!e)
        return h->count < HOLD_MAX || now_ns >= h->full_ns ? HOLD_GO : HOLD_FULL;
    if (e->number && e->number < number)
        return HOLD_WAIT;
    if (is_due(h, e, now_ns))
        return HOLD_GO;
    e->number = is_hopeless(h, e) ? 0 : number;
    return e->number ? HOLD_WAIT : HOLD_GIVE_UP;
}

void hold_taken(struct hold *h, const char *subject)
{
    int at = find(h, subject);

    h->taken++;
    if (at < 0)
        return;
    h->entries[at] = h->entries[--h->count];
    /* The server is there: the others need not wait for their turn. */
    h->retry_ns = 0;
}

void hold_note_taken(struct hold *h)
{
    h->taken++;
}

void hold_skip(struct hold *h, const char *subject, int64_t number)
{
    int at = find(h, subject);

    if (at >= 0 && h->entries[at].number == number)
        h->entries[at].number = 0;
}

static enum hold_verdict hold_new(struct hold *h, const char *subject, int64_t number,
                                  uint64_t now_ns)
{
    struct hold_entry *e = &h->entries[h->count];

    if (h->count == HOLD_MAX) {
        h->full_ns = now_ns + HOLD_RETRY_S * NSEC_PER_SEC;
        return HOLD_FULL;
    }
    h->count++;
    *e = (struct hold_entry){
        .number = number, .taken_seen = h->taken, .due_ns = now_ns + wait_ns(0, HOLD_AWAY_MAX_S)};
    snprintf(e->subject, sizeof(e->subject), "%s", subject);
    return HOLD_WAIT;
}

static enum hold_verdict give_up(struct hold_entry *e, uint64_t now_ns)
{
    /* The next one is tried at once, to see whether it was the message. */
    e->due_ns = now_ns + (e->given_up ? HOLD_WAIT_MAX_S * NSEC_PER_SEC : 0);
    e->given_up++;
    e->number = 0;
    e->tries = 0;
    return HOLD_GIVE_UP;
}

enum hold_verdict hold_failed(struct hold *h, const char *subject, int64_t number, uint64_t now_ns)
{
    int at = find(h, subject);
    struct hold_entry *e = at >= 0 ? &h->entries[at] : NULL;
    bool counts;

    if (!e)
        return hold_new(h, subject, number, now_ns);
    counts = h->taken > e->taken_seen;
    e->taken_seen = h->taken;
    e->number = number;
    h->retry_ns = now_ns + HOLD_RETRY_S * NSEC_PER_SEC;
    if (!counts) {
        e->due_ns = now_ns + wait_ns(++e->fails, HOLD_AWAY_MAX_S);
        return HOLD_WAIT;
    }
    e->fails = 0;
    if (++e->tries == HOLD_TRIES || e->given_up)
        return give_up(e, now_ns);
    e->due_ns = now_ns + wait_ns(e->tries, HOLD_WAIT_MAX_S);
    return HOLD_WAIT;
}

bool hold_has(const struct hold *h, const char *subject)
{
    return find(h, subject) >= 0;
}

unsigned hold_given_up(const struct hold *h, const char *subject)
{
    int at = find(h, subject);

    return at >= 0 ? h->entries[at].given_up : 0;
}

int64_t hold_next(const struct hold *h, uint64_t now_ns)
{
    const struct hold_entry *next = NULL;

    for (unsigned i = 0; i < h->count; i++) {
        const struct hold_entry *e = &h->entries[i];

        if (e->number && (is_due(h, e, now_ns) || is_hopeless(h, e)) &&
            (!next || e->due_ns < next->due_ns))
            next = e;
    }
    return next ? next->number : 0;
}
