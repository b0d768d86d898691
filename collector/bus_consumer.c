/* SPDX-License-Identifier: Apache-2.0 */
/* The stream and the consumer: where it begins, when it is made anew. */
#include "collector/bus_priv.h"

#include "proto/base/clock.h"
#include "proto/subject.h"

#include <stdio.h>

/* Nothing waits for it: what is not acked comes again when a consumer is made anew. */
#define ACK_WAIT_NS (INT64_C(600) * 1000000000)
#define ACKS_PENDING_MAX (4 * BUS_AHEAD_MAX)
/* One that nobody asks any more goes: its process is dead. */
#define INACTIVE_NS (INT64_C(120) * 1000000000)

uint64_t bus_larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void bus_consumer_name(const struct bus *b, unsigned which, char ret_name[CONSUMER_BYTES])
{
    snprintf(ret_name, CONSUMER_BYTES, "%s-%s", b->durable, which ? "b" : "a");
}

/* --- the stream --- */

/* Positions from `seq` on are none any more. What comes twice is recognised, what is passed over
 * is lost. */
void bus_forget_from(struct bus *b, uint64_t seq)
{
    bool is_any = b->seen.seq >= seq && b->seen.seq;

    for (unsigned i = 0; i < BUS_LANES; i++) {
        if (!b->parts[i].taken.seq || b->parts[i].taken.seq < seq)
            continue;
        b->parts[i].taken = (struct bus_position){0};
        is_any = true;
    }
    if (!is_any)
        return;
    b->state.cuts++;
    /* What was fetched since may be stored, but as nobody's position. */
    b->seen = (struct bus_position){0};
    b->reader.is_ready = false;
    b->reader.is_torn = true;
}

/* What went before anybody took it is waited for no longer. */
static void pass_gone(struct bus *b)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < BUS_LANES; i++) {
        struct bus_position *taken = &b->parts[i].taken;

        if (!b->parts[i].is_wanted || !taken->seq || taken->seq + 1 >= b->stream_first)
            continue;
        most = bus_larger(most, b->stream_first - 1 - taken->seq);
        *taken = (struct bus_position){.seq = b->stream_first - 1};
    }
    b->state.gone += most;
}

/* A stream that was deleted and made again counts from 1; one that lost its end, as a machine that
 * loses its power does, gives its numbers again. */
int bus_look(struct bus *b)
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus s;
    int r = bus_ensure_stream(b);

    if (r < 0)
        return r;
    s = js_GetStreamInfo(&info, b->js, b->stream, NULL, &code);
    if (s != NATS_OK)
        return bus_fail(b, "stream", s);
    if (b->stream_created && info->Created != b->stream_created) {
        b->reader.is_ready = false;
        b->reader.acked_seq = 0;
        bus_forget_from(b, 1);
    }
    b->stream_created = info->Created;
    b->stream_first = info->State.FirstSeq;
    b->stream_last = info->State.LastSeq;
    b->stream_consumers = info->State.Consumers;
    jsStreamInfo_Destroy(info);
    if (b->reader.acked_seq > b->stream_last)
        b->reader.acked_seq = 0;
    bus_forget_from(b, b->stream_last + 1);
    return 0;
}

int64_t bus_stream_made(const struct bus *b)
{
    return b->stream_created;
}

/* --- consumers --- */

/* What the server knows of a consumer. */
struct known {
    bool exists, is_ours; /* made as make_consumer() makes it */
    bool is_idle;         /* nobody waits, nothing is under way */
    uint64_t acked_seq, delivered;
};

/* Until its first ack, a consumer that was made to begin somewhere says that nothing was acked:
 * what came before its beginning was. */
static uint64_t floor_of(const jsConsumerInfo *info)
{
    uint64_t begin = info->Config->OptStartSeq;

    return bus_larger(info->AckFloor.Stream, begin ? begin - 1 : 0);
}

static natsStatus look_up(struct bus *b, const char *name, struct known *ret_known)
{
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus s = js_GetConsumerInfo(&info, b->js, b->stream, name, NULL, &code);

    *ret_known = (struct known){0};
    if (s == NATS_NOT_FOUND)
        return NATS_OK;
    if (s != NATS_OK)
        return s;
    *ret_known = (struct known){
        .exists = true,
        .is_ours = info->Config->AckPolicy == js_AckAll,
        .is_idle = info->NumAckPending == 0 && info->NumWaiting == 0,
        .acked_seq = floor_of(info),
        .delivered = info->Delivered.Consumer,
    };
    jsConsumerInfo_Destroy(info);
    return NATS_OK;
}

natsStatus bus_drop_consumer(struct bus *b, const char *name)
{
    jsErrCode code = 0;
    natsStatus s = js_DeleteConsumer(b->js, b->stream, name, NULL, &code);

    return s == NATS_NOT_FOUND ? NATS_OK : s;
}

static natsStatus make_consumer(struct bus *b, const char *name, uint64_t floor)
{
    jsConsumerConfig config;
    jsErrCode code = 0;
    natsStatus s = jsConsumerConfig_Init(&config);

    if (s != NATS_OK)
        return s;
    config.Durable = name;
    config.FilterSubject = SUBJECT_ALL;
    if (b->is_shared) {
        config.AckPolicy = js_AckNone;
        config.InactiveThreshold = INACTIVE_NS;
    } else {
        config.AckPolicy = js_AckAll;
        config.AckWait = ACK_WAIT_NS;
        config.MaxAckPending = ACKS_PENDING_MAX;
    }
    config.DeliverPolicy = floor ? js_DeliverByStartSequence : js_DeliverAll;
    config.OptStartSeq = floor ? floor + 1 : 0;
    return js_AddConsumer(NULL, b->js, b->stream, &config, NULL, &code);
}

/* A consumer has one of two names. The next one is made before the last one is deleted, so that
 * one of them always knows what was acked, whenever this process dies; and what was on its way
 * from the last one is told by its name. Versions before the lanes had the name without an end. */
static natsStatus take_over(struct bus *b)
{
    struct reader *r = &b->reader;
    char names[3][CONSUMER_BYTES];
    struct known known[3] = {0};
    uint64_t floor = r->acked_seq;
    natsStatus s = NATS_OK;
    unsigned next;

    bus_consumer_name(b, 0, names[0]);
    bus_consumer_name(b, 1, names[1]);
    snprintf(names[2], sizeof(names[2]), "%s", b->durable);
    for (unsigned i = 0; i < 3 && s == NATS_OK; i++) {
        s = look_up(b, names[i], &known[i]);
        floor = bus_larger(floor, known[i].acked_seq);
    }
    if (s != NATS_OK)
        return s;
    r->current = known[1].exists && (!known[0].exists || known[1].acked_seq > known[0].acked_seq);
    if (!r->is_torn && known[0].exists != known[1].exists && !known[2].exists &&
        known[r->current].is_ours && known[r->current].is_idle) {
        r->next_delivery = known[r->current].delivered + 1;
        b->seen = (struct bus_position){.seq = floor};
        return NATS_OK;
    }
    next = known[r->current].exists ? 1 - r->current : r->current;
    if (known[next].exists)
        s = bus_drop_consumer(b, names[next]);
    if (s == NATS_OK)
        s = make_consumer(b, names[next], floor);
    for (unsigned i = 0; i < 3 && s == NATS_OK; i++)
        if (i != next && known[i].exists)
            s = bus_drop_consumer(b, names[i]);
    r->current = next;
    r->next_delivery = 1;
    b->seen = (struct bus_position){.seq = floor};
    return s;
}

/* Versions before had a consumer for each part, which would cost the server its work for ever. */
static natsStatus drop_old_consumers(struct bus *b)
{
    char name[CONSUMER_BYTES];
    natsStatus s = NATS_OK;

    for (unsigned i = 0; i < 2 * BUS_LANES && s == NATS_OK; i++) {
        snprintf(name, sizeof(name), "%s-%u-%s", b->named, i / 2, i % 2 ? "b" : "a");
        s = bus_drop_consumer(b, name);
    }
    return s;
}

/* Where lanes are shared: from the position on up to which all of them are taken, with the message
 * that is there: whether it is the one that was taken is seen by its time. The name is this
 * process's alone. */
static natsStatus begin_anew(struct bus *b)
{
    struct reader *r = &b->reader;
    const unsigned next = r->is_made ? 1 - r->current : r->current;
    char names[2][CONSUMER_BYTES];
    struct bus_position floor = {.seq = UINT64_MAX};
    natsStatus s = NATS_OK;

    pass_gone(b);
    b->marks_until = 0;
    for (unsigned i = 0; i < BUS_LANES; i++) {
        if (!b->parts[i].is_wanted)
            continue;
        if (b->parts[i].taken.seq < floor.seq)
            floor = b->parts[i].taken;
        b->marks_until = bus_larger(b->marks_until, b->parts[i].taken.seq);
    }
    bus_consumer_name(b, 0, names[0]);
    bus_consumer_name(b, 1, names[1]);
    if (!r->is_made && b->stream_consumers >= BUS_LANES)
        s = drop_old_consumers(b);
    /* It may have been made without an answer. */
    if (s == NATS_OK)
        s = bus_drop_consumer(b, names[next]);
    if (s == NATS_OK)
        s = make_consumer(b, names[next], floor.seq ? floor.seq - 1 : 0);
    if (s == NATS_OK && r->is_made)
        s = bus_drop_consumer(b, names[1 - next]);
    if (s != NATS_OK)
        return s;
    r->current = next;
    r->is_made = true;
    r->next_delivery = 1;
    b->seen = floor;
    return NATS_OK;
}

/* Of the consumer before the last one, whose name is used again. */
static void empty_inbox(struct bus *b)
{
    natsMsg *msg = NULL;

    while (natsSubscription_NextMsg(&msg, b->inbox, 0) == NATS_OK)
        natsMsg_Destroy(msg);
}

int bus_ready_consumer(struct bus *b)
{
    struct reader *r = &b->reader;
    natsStatus s;

    r->requests_count = 0;
    empty_inbox(b);
    s = b->is_shared ? begin_anew(b) : take_over(b);
    if (s != NATS_OK)
        return bus_fail(b, "consumer", s);
    r->is_ready = true;
    r->is_torn = false;
    r->heard_ns = r->delivered_ns = clock_mono_ns();
    return 0;
}
