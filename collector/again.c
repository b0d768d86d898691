/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/again.h"

#include "collector/ingest.h"
#include "collector/store_lane.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Held at a time: STORE_MALFORMED_BYTES_MAX each at most. */
#define AT_ONCE 64

struct letter {
    struct intake_message message;
    char *subject;
    uint8_t *data;
};

struct pile {
    const struct again *again;
    struct event_arena arena;
    struct letter letters[AT_ONCE];
    unsigned count;
    uint64_t last_seq; /* looked at */
    unsigned seen;
};

static void clear(struct pile *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        free(p->letters[i].subject);
        free(p->letters[i].data);
    }
    p->count = p->seen = 0;
}

static int keep(struct pile *p, const struct store_malformed *m, unsigned lane)
{
    struct letter *l = &p->letters[p->count];

    l->subject = strdup(m->subject);
    l->data = malloc(m->payload.len + 1);
    p->count++;
    if (!l->subject || !l->data)
        return -ENOMEM;
    memcpy(l->data, m->payload.data, m->payload.len);
    l->message = (struct intake_message){.subject = l->subject,
                                         .data = slice_of(l->data, m->payload.len),
                                         .stream_seq = m->stream_seq,
                                         .lane = lane};
    return 0;
}

/* Those that are understood, whole, and of our lanes. */
static int look(void *ctx, const struct store_malformed *m)
{
    struct pile *p = ctx;
    const char *reason = NULL;
    struct record rec;
    int64_t lane;
    int r;

    p->last_seq = m->stream_seq;
    p->seen++;
    if (m->payload.len != m->bytes)
        return 0;
    r = ingest_decode(&p->arena, m->subject, m->payload, &rec, &reason);
    if (r == -EBADMSG || (r == 0 && rec.kind == RECORD_OTHER))
        return 0;
    if (r < 0)
        return r;
    if (rec.end_ns > clock_wall_ns() + INTAKE_AHEAD_MAX_NS)
        return 0; /* its time has not come: it stays */
    lane = store_lane_of(p->again->store, rec.part);
    return p->again->lanes >> lane & 1 ? keep(p, m, (unsigned)lane) : 0;
}

static int write_pile(const struct pile *p)
{
    struct store *s = p->again->store;
    int r = store_begin(s);

    if (r < 0)
        return r;
    r = intake_write(p->again->intake);
    for (unsigned i = 0; i < p->count && r == 0; i++)
        r = store_remove_malformed(s, p->letters[i].message.stream_seq);
    if (r == 0)
        r = store_commit(s);
    if (r < 0)
        store_rollback(s);
    return r;
}

static int take_pile(const struct pile *p)
{
    struct intake *in = p->again->intake;
    int r = 0;

    if (p->count == 0)
        return 0;
    intake_begin(in);
    for (unsigned i = 0; i < p->count && r == 0; i++)
        r = intake_message(in, &p->letters[i].message);
    if (r == 0)
        r = intake_prepare(in);
    if (r == 0)
        r = write_pile(p);
    if (r == 0)
        intake_commit(in);
    else
        intake_roll_back(in);
    return r;
}

int again_malformed(const struct again *again, uint64_t *ret_taken)
{
    struct pile p = {.again = again};
    uint64_t taken = 0;
    int r;

    do {
        clear(&p);
        r = store_each_malformed(again->store, p.last_seq, AT_ONCE, look, &p);
        if (r == 0)
            r = take_pile(&p);
        if (r == 0)
            taken += p.count;
    } while (r == 0 && p.seen == AT_ONCE);
    clear(&p);
    event_arena_fini(&p.arena);
    if (r == 0)
        *ret_taken = taken;
    return r;
}
