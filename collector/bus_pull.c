/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer: requests, deliveries, acks. */
#include "collector/bus_priv.h"

#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Nothing waits for it: what is not acked comes again when a consumer is made anew. */
#define ACK_WAIT_NS (INT64_C(600) * 1000000000)
#define ACKS_PENDING_MAX (4 * BUS_AHEAD_MAX)
/* One that nobody asks any more goes: its process is dead. */
#define INACTIVE_NS (INT64_C(120) * 1000000000)
#define EXPIRES_MS 20000
/* A request without an answer was lost. */
#define ANSWER_MS (EXPIRES_MS + 5000)
#define REQUEST_BYTES_MIN (1024 * 1024)
#define REQUEST_BYTES_MAX (UINT64_C(1) << 30)
/* Nobody is asked again at once who has just said no. */
#define REFUSED_MS UINT64_C(100)

static void consumer_name(const struct bus *b, unsigned which, char ret_name[CONSUMER_BYTES])
{
    snprintf(ret_name, CONSUMER_BYTES, "%s-%s", b->durable, which ? "b" : "a");
}

static int open_inbox(struct bus *b)
{
    natsInbox *inbox = NULL;
    char subject[80];
    natsStatus s;

    if (b->inbox)
        return 0;
    s = natsInbox_Create(&inbox);
    if (s != NATS_OK)
        return bus_fail(b, "inbox", s);
    snprintf(b->inbox_prefix, sizeof(b->inbox_prefix), "%s.", inbox);
    natsInbox_Destroy(inbox);
    snprintf(subject, sizeof(subject), "%s>", b->inbox_prefix);
    s = natsConnection_SubscribeSync(&b->inbox, b->connection, subject);
    /* What was asked for is bounded; the library would drop messages at a limit of its own. */
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(b->inbox, -1, -1);
    return s == NATS_OK ? 0 : bus_fail(b, "inbox", s);
}

/* A stream that lost its end, as a machine that loses its power does, gives its numbers again: what
 * is beyond is no position. What comes twice is recognised, what is passed over is lost. */
static uint64_t within_stream(const struct bus *b, uint64_t seq)
{
    return seq <= b->stream_last ? seq : 0;
}

/* A stream that was deleted and made again counts from 1. */
static int notice_stream(struct bus *b)
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
    if (info->Created != b->stream_created) {
        b->reader.acked_seq = b->seen_seq = 0;
        for (unsigned i = 0; i < BUS_LANES; i++)
            b->parts[i].taken_seq = 0;
    }
    b->stream_created = info->Created;
    b->stream_last = info->State.LastSeq;
    b->reader.acked_seq = within_stream(b, b->reader.acked_seq);
    b->seen_seq = within_stream(b, b->seen_seq);
    for (unsigned i = 0; i < BUS_LANES; i++)
        b->parts[i].taken_seq = within_stream(b, b->parts[i].taken_seq);
    b->stream_consumers = info->State.Consumers;
    jsStreamInfo_Destroy(info);
    return 0;
}

int bus_stream_made(struct bus *b, int64_t *ret_ns)
{
    int r = b->stream_created ? 0 : notice_stream(b);

    *ret_ns = b->stream_created;
    return r;
}

/* --- consumers --- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

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

    return larger(info->AckFloor.Stream, begin ? begin - 1 : 0);
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

static natsStatus drop_consumer(struct bus *b, const char *name)
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

    consumer_name(b, 0, names[0]);
    consumer_name(b, 1, names[1]);
    snprintf(names[2], sizeof(names[2]), "%s", b->durable);
    for (unsigned i = 0; i < 3 && s == NATS_OK; i++) {
        s = look_up(b, names[i], &known[i]);
        floor = larger(floor, known[i].acked_seq);
    }
    if (s != NATS_OK)
        return s;
    r->current = known[1].exists && (!known[0].exists || known[1].acked_seq > known[0].acked_seq);
    if (!r->is_torn && known[0].exists != known[1].exists && !known[2].exists &&
        known[r->current].is_ours && known[r->current].is_idle) {
        r->next_delivery = known[r->current].delivered + 1;
        return NATS_OK;
    }
    next = known[r->current].exists ? 1 - r->current : r->current;
    if (known[next].exists)
        s = drop_consumer(b, names[next]);
    if (s == NATS_OK)
        s = make_consumer(b, names[next], floor);
    for (unsigned i = 0; i < 3 && s == NATS_OK; i++)
        if (i != next && known[i].exists)
            s = drop_consumer(b, names[i]);
    r->current = next;
    r->next_delivery = 1;
    return s;
}

/* Versions before had a consumer for each part, which would cost the server its work for ever. */
static natsStatus drop_old_consumers(struct bus *b)
{
    char name[CONSUMER_BYTES];
    natsStatus s = NATS_OK;

    for (unsigned i = 0; i < 2 * BUS_LANES && s == NATS_OK; i++) {
        snprintf(name, sizeof(name), "%s-%u-%s", b->named, i / 2, i % 2 ? "b" : "a");
        s = drop_consumer(b, name);
    }
    return s;
}

/* Where lanes are shared: from the position on up to which all of them are taken. The name is
 * this process's alone. */
static natsStatus begin_anew(struct bus *b)
{
    struct reader *r = &b->reader;
    const unsigned next = r->is_made ? 1 - r->current : r->current;
    char names[2][CONSUMER_BYTES];
    uint64_t floor = UINT64_MAX;
    natsStatus s = NATS_OK;

    for (unsigned i = 0; i < BUS_LANES; i++)
        if (b->parts[i].is_wanted && b->parts[i].taken_seq < floor)
            floor = b->parts[i].taken_seq;
    consumer_name(b, 0, names[0]);
    consumer_name(b, 1, names[1]);
    if (!r->is_made && b->stream_consumers >= BUS_LANES)
        s = drop_old_consumers(b);
    /* It may have been made without an answer. */
    if (s == NATS_OK)
        s = drop_consumer(b, names[next]);
    if (s == NATS_OK)
        s = make_consumer(b, names[next], floor);
    if (s == NATS_OK && r->is_made)
        s = drop_consumer(b, names[1 - next]);
    if (s != NATS_OK)
        return s;
    r->current = next;
    r->is_made = true;
    r->next_delivery = 1;
    b->seen_seq = floor;
    return NATS_OK;
}

static int ready_reader(struct bus *b)
{
    struct reader *r = &b->reader;
    natsStatus s;

    r->requests_count = 0;
    s = b->is_shared ? begin_anew(b) : take_over(b);
    if (s != NATS_OK)
        return bus_fail(b, "consumer", s);
    r->is_ready = true;
    r->is_torn = false;
    return 0;
}

/* What it has sent already of a lane that was not attached is sent again. */
static void attach_shared(struct bus *b, unsigned lane, uint64_t taken_seq)
{
    struct reader *r = &b->reader;

    b->parts[lane] = (struct part){.is_wanted = true, .taken_seq = taken_seq};
    r->is_wanted = true;
    if (taken_seq >= b->seen_seq)
        return;
    r->is_ready = false;
    b->seen_seq = taken_seq;
}

int bus_attach(struct bus *b, unsigned lane, uint64_t taken_seq)
{
    struct reader *r = &b->reader;
    int ret = open_inbox(b);

    if (ret == 0)
        ret = notice_stream(b);
    if (ret < 0)
        return ret;
    if (!r->is_wanted)
        r->bytes_max = REQUEST_BYTES_MIN;
    if (b->is_shared) {
        attach_shared(b, lane, within_stream(b, taken_seq));
        return 0;
    }
    r->is_ready = false;
    ret = ready_reader(b);
    r->is_wanted |= ret == 0;
    return ret;
}

void bus_detach(struct bus *b, unsigned lane)
{
    bool is_wanted = false;

    b->parts[lane] = (struct part){0};
    for (unsigned i = 0; i < BUS_LANES; i++)
        is_wanted |= b->parts[i].is_wanted;
    /* Another one may have it meanwhile: what this one acked says nothing when it comes back. */
    if (!is_wanted)
        b->reader = (struct reader){.is_made = b->reader.is_made, .current = b->reader.current};
}

uint64_t bus_seen_seq(const struct bus *b)
{
    return b->seen_seq;
}

/* Out of step, as it is after a reconnect. */
static int repair(struct bus *b)
{
    unsigned reconnects = atomic_load(&b->reconnects);
    struct reader *r = &b->reader;
    int ret = 0;

    if (reconnects != b->reconnects_seen)
        r->is_ready = false;
    if (!r->is_wanted || r->is_ready)
        return 0;
    ret = notice_stream(b);
    if (ret == 0)
        ret = ready_reader(b);
    if (ret == 0)
        b->reconnects_seen = reconnects;
    return ret;
}

/* --- requests --- */

static void end_request(struct reader *r, unsigned index)
{
    r->requests_count--;
    for (unsigned i = index; i < r->requests_count; i++)
        r->requests[i] = r->requests[i + 1];
}

static int send_request(struct bus *b, uint32_t count)
{
    struct reader *r = &b->reader;
    char name[CONSUMER_BYTES], subject[CONSUMER_BYTES + 192], reply[128], body[160];
    natsStatus s;
    int len;

    b->request_ids++;
    consumer_name(b, r->current, name);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", b->stream, name);
    snprintf(reply, sizeof(reply), "%s%u", b->inbox_prefix, b->request_ids);
    len = snprintf(body, sizeof(body), "{\"batch\":%u,\"expires\":%llu,\"max_bytes\":%llu}", count,
                   EXPIRES_MS * 1000000ull, (unsigned long long)r->bytes_max);
    s = natsConnection_PublishRequest(b->connection, subject, reply, body, len);
    if (s != NATS_OK)
        return bus_fail(b, "request", s);
    r->requests[r->requests_count++] = (struct request){
        .id = b->request_ids,
        .left = count,
        .deadline_ns = clock_mono_ns() + (uint64_t)ANSWER_MS * NSEC_PER_MSEC,
    };
    return 0;
}

/* Fills up what the server may send. */
static int ask(struct bus *b)
{
    struct reader *r = &b->reader;
    uint64_t now_ns = clock_mono_ns();
    int ret = 0;

    if (!r->is_wanted || !r->is_ready || now_ns < r->quiet_until_ns)
        return 0;
    while (r->requests_count && r->requests[0].deadline_ns < now_ns)
        end_request(r, 0);
    r->bytes_max = larger(r->bytes_max, BUS_AHEAD_BYTES / REQUESTS_MAX);
    while (r->requests_count < REQUESTS_MAX && ret == 0)
        ret = send_request(b, BUS_AHEAD_MAX / REQUESTS_MAX);
    return ret;
}

/* Why a request was over before it had brought all. */
static void note_end(struct reader *r, natsMsg *msg)
{
    const char *status = "", *text = "";

    if (natsMsgHeader_Get(msg, "Status", &status) != NATS_OK || strcmp(status, "408") == 0)
        return;
    if (natsMsgHeader_Get(msg, "Description", &text) != NATS_OK)
        text = "";
    if (strcmp(status, "503") == 0 || strstr(text, "Deleted")) {
        r->is_ready = false;
        return;
    }
    /* One message may be larger than all that was asked for. */
    if (strstr(text, "MaxBytes") && r->bytes_max < REQUEST_BYTES_MAX)
        r->bytes_max *= 2;
    else
        r->quiet_until_ns = clock_mono_ns() + REFUSED_MS * NSEC_PER_MSEC;
}

/* "<inbox>.<request>": a word of the server about a request, mostly that it is over. */
static void on_status(struct bus *b, natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg), *text = NULL;
    struct reader *r = &b->reader;
    unsigned id;

    if (strncmp(subject, b->inbox_prefix, strlen(b->inbox_prefix)) != 0 ||
        sscanf(subject + strlen(b->inbox_prefix), "%u", &id) != 1)
        return;
    for (unsigned i = 0; i < r->requests_count; i++) {
        if (r->requests[i].id != id)
            continue;
        if (natsMsgHeader_Get(msg, "Status", &text) == NATS_OK && strcmp(text, "100") == 0)
            return;
        end_request(r, i);
        note_end(r, msg);
        return;
    }
}

/* --- deliveries --- */

static bool is_of_reader(const struct bus *b, struct slice consumer)
{
    const struct reader *r = &b->reader;
    const size_t at = strlen(b->durable);

    return consumer.len == at + 2 && memcmp(consumer.data, b->durable, at) == 0 &&
           consumer.data[at] == '-' && consumer.data[at + 1] == "ab"[r->current] && r->is_wanted &&
           r->is_ready;
}

static void count_down(struct reader *r)
{
    if (r->requests_count && --r->requests[0].left == 0)
        end_request(r, 0);
}

/* Whether it is the next delivery; else it is of no use to anybody. */
static bool is_due(struct bus *b, natsMsg *msg, struct bus_ref *ret_ref)
{
    const char *reply = natsMsg_GetReply(msg);
    struct reader *r = &b->reader;

    if (!reply || bus_ref_parse(reply, ret_ref) < 0) {
        on_status(b, msg);
        return false;
    }
    if (!is_of_reader(b, ret_ref->consumer))
        return false;
    if (ret_ref->delivery_seq != r->next_delivery) {
        r->is_ready = false;
        r->is_torn = true;
        return false;
    }
    return true;
}

/* Is it for this process to take, and in which lane? */
static bool is_wanted(const struct bus *b, natsMsg *msg, uint64_t stream_seq, unsigned *ret_lane)
{
    const struct part *p;
    int lane;

    if (!b->is_shared) {
        *ret_lane = 0;
        return true;
    }
    lane = subject_lane(natsMsg_GetSubject(msg));
    if (lane < 0)
        return false;
    p = &b->parts[lane];
    *ret_lane = (unsigned)lane;
    return p->is_wanted && stream_seq > p->taken_seq;
}

/* A message that there is no memory for is missed by the next one, and comes again. */
static int take(struct bus *b, natsMsg *msg)
{
    struct bus_message message = {0};
    struct bus_ref ref;
    int r = 0;

    if (!is_due(b, msg, &ref))
        return 0;
    message.stream_seq = ref.stream_seq;
    if (is_wanted(b, msg, ref.stream_seq, &message.lane))
        r = batch_add(&b->batch, msg, &message);
    if (r < 0)
        return r;
    b->reader.next_delivery++;
    b->seen_seq = ref.stream_seq;
    count_down(&b->reader);
    return 0;
}

/* All that is there already. */
static int drain(struct bus *b, int max)
{
    natsStatus s = NATS_OK;
    int r = 0;

    while (b->batch.count < max && b->batch.bytes < BUS_BATCH_BYTES && r == 0) {
        natsMsg *msg = NULL;

        s = natsSubscription_NextMsg(&msg, b->inbox, 0);
        if (s == NATS_TIMEOUT)
            return 0;
        if (s != NATS_OK)
            return bus_fail(b, "fetch", s);
        r = take(b, msg);
        natsMsg_Destroy(msg);
    }
    return r;
}

static void linger(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

static int receive(struct bus *b, int max, uint32_t wait_ms)
{
    natsMsg *msg = NULL;
    natsStatus s = natsSubscription_NextMsg(&msg, b->inbox, wait_ms);
    int r;

    if (s == NATS_TIMEOUT)
        return 0;
    if (s != NATS_OK)
        return bus_fail(b, "fetch", s);
    r = take(b, msg);
    natsMsg_Destroy(msg);
    return r < 0 ? r : drain(b, max);
}

int bus_fetch(struct bus *b, int max, uint32_t wait_ms, struct bus_batch **ret_batch)
{
    int r = b->inbox ? 0 : open_inbox(b);

    bus_batch_free(b);
    if (r == 0 && !bus_is_connected(b))
        r = bus_fail(b, "fetch", NATS_CONNECTION_DISCONNECTED);
    if (r == 0)
        r = repair(b);
    if (r == 0)
        r = ask(b);
    if (r == 0)
        r = receive(b, max, wait_ms);
    /* What came before a failure is in order all the same. */
    if (r < 0 && b->batch.count == 0)
        return r;
    *ret_batch = &b->batch;
    return 0;
}

static bool is_in_step(const struct bus *b)
{
    return (!b->reader.is_wanted || b->reader.is_ready) && bus_is_connected(b) &&
           atomic_load(&b->reconnects) == b->reconnects_seen;
}

void bus_fetch_more(struct bus *b, int max, uint32_t linger_ms)
{
    const int before = b->batch.count;
    int r;

    if (!is_in_step(b) || ask(b) < 0)
        return;
    r = drain(b, before + max);
    if (r < 0 || b->batch.count > before || linger_ms == 0)
        return;
    linger(linger_ms);
    r = drain(b, before + max);
    (void)r; /* whatever failed fails again, or comes again */
}

void bus_ack(struct bus *b, const struct bus_batch *batch, unsigned lane)
{
    const struct bus_message *last = batch->count ? &batch->messages[batch->count - 1] : NULL;

    if (b->is_shared) {
        b->parts[lane].taken_seq = larger(b->parts[lane].taken_seq, b->seen_seq);
        return;
    }
    if (!last)
        return;
    b->reader.acked_seq = larger(b->reader.acked_seq, last->stream_seq);
    natsConnection_PublishString(b->connection, last->reply, "+ACK");
}

void bus_give_back(struct bus *b, unsigned lane)
{
    (void)lane; /* they come in one order */
    b->reader.is_ready = false;
    b->reader.is_torn = true;
}

void bus_batch_free(struct bus *b)
{
    batch_reset(&b->batch);
}

/* Nobody would go on with it. */
static void leave(struct bus *b)
{
    char name[CONSUMER_BYTES];
    natsStatus s;

    if (!b->is_shared || !b->reader.is_made || !bus_is_connected(b))
        return;
    consumer_name(b, b->reader.current, name);
    s = drop_consumer(b, name);
    (void)s; /* it goes by itself */
}

void bus_pull_close(struct bus *b)
{
    leave(b);
    batch_fini(&b->batch);
    natsSubscription_Destroy(b->inbox);
    b->inbox = NULL;
}
